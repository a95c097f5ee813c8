"""Imported runs: they happened elsewhere or earlier, and are only stored now."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from traininglog import InvalidTime, LogClosed, TrainingLogBase
from traininglog.testing.conformance.fixtures import LogFixtures, OpenLog

START = 1.6e9  # unix seconds


def walls(log: TrainingLogBase, **options: Any) -> list[float | None]:
    """Return the wall times of the rows of a log."""
    index = log.to_dataframe(index="wall", **options).index
    return [None if missing else moment.timestamp() for moment, missing in
            zip(index, index.isna(), strict=True)]  # fmt: skip


class ImportConformance(LogFixtures):
    """The contract for importers of runs."""

    def test_without_marks_a_wall_time_is_missing(self, open_log: OpenLog) -> None:
        for options in ({"created": START}, {"host": "elsewhere"}, {"outcome": "failed"}):
            log = open_log(**options)
            log[1]["x"], log[2]["x"] = 1, 2
            for _ in range(2):
                assert walls(log) == [None, None]
                frame = log.to_dataframe(index="elapsed")
                assert np.isnan(frame.index.to_numpy()).all()
                log.flush()
            log.close()
            assert walls(log) == [None, None]
            assert walls(open_log(log.uuid)) == [None, None]

    def test_marks_tell_when_rows_were_logged(self, open_log: OpenLog) -> None:
        """A mark covers the rows after the mark before it; rows after the last mark have none."""
        log = open_log(created=START)
        for at in range(1, 8):
            log[at]["x"] = at
        log.mark(2, START + 20)
        log.mark(5, START + 40.5)
        log.flush()
        log.mark(3, START + 30)  # in any order, and in the place of earlier marks
        log.mark(5, START + 50)
        expected = [20.0, 20.0, 30.0, 50.0, 50.0]
        for _ in range(2):
            assert walls(log) == [*(START + each for each in expected), None, None]
            assert walls(log, start=3, stop=5) == [START + 30, START + 50]
            assert list(log.to_dataframe(index="elapsed").index[:5]) == expected
            log.flush()
        log.close()
        for one in (log, open_log(log.uuid)):
            assert walls(one) == [*(START + each for each in expected), None, None]
            assert one.to_dict() == {at: {"x": at} for at in range(1, 8)}

    def test_marks_may_come_before_their_rows(self, open_log: OpenLog) -> None:
        log = open_log(created=START)
        log.mark(10, START + 1)
        log.flush()
        log[10]["x"] = 1
        log[11]["x"] = 2
        log.flush()
        assert walls(log) == [START + 1, None]
        assert len(log) == 2

    def test_a_mark_is_no_row(self, open_log: OpenLog) -> None:
        log = open_log(created=START)
        log.mark(3, START)
        assert log == {}
        assert len(log) == 0
        assert log.to_dataframe().empty
        assert log.state_dict()["time"] is None

    def test_a_mark_by_hand_counts_in_any_run(self, log: TrainingLogBase) -> None:
        log[1]["x"] = 1
        log.mark(1, START)
        log.flush()
        log[2]["x"] = 2
        log.flush()
        first, second = walls(log)
        assert first == START
        assert second is not None
        assert abs(second - time.time()) < 3600

    def test_what_was_imported_goes_on_here_and_now(self, open_log: OpenLog) -> None:
        """Later rows get a wall time, which says nothing of the rows before."""
        log = open_log(created=START)
        for at in (1, 2, 3):
            log[at]["x"] = at
        log.mark(2, START + 5)
        log.close()
        child = open_log(log.uuid)
        child.resume()
        child[4]["x"] = 4
        child.flush()
        *before, last = walls(child)
        assert before == [START + 5, START + 5, None]
        assert last is not None
        assert abs(last - time.time()) < 3600

    @pytest.mark.parametrize(
        ("moment", "seconds"),
        [
            (0, 0.0),
            (1700000000, 1700000000.0),
            (1700000000.25, 1700000000.25),
            (np.float64(1.5), 1.5),
            (np.int64(7), 7.0),
            (datetime(2024, 1, 1, tzinfo=UTC), 1704067200.0),
            (datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), 1704067200.0),
        ],
        ids=repr,
    )
    def test_moments_it_takes(self, open_log: OpenLog, moment: Any, seconds: float) -> None:
        log = open_log(created=moment)
        log[1]["x"] = 1
        log.mark(1, moment)
        assert walls(log) == [seconds]
        assert list(log.to_dataframe(index="elapsed").index) == [0.0]

    @pytest.mark.parametrize(
        "moment",
        [
            math.nan, math.inf, -math.inf, -1, -0.5, 1.7e12, 2**70, True, "2024-01-01", None, [],
            datetime(2024, 1, 1), datetime(1960, 1, 1, tzinfo=UTC), timedelta(1),
            np.datetime64("2024-01-01"), np.bool_(True), 1j,
        ],
        ids=repr,
    )  # fmt: skip
    def test_moments_it_refuses(self, open_log: OpenLog, moment: Any) -> None:
        log = open_log(created=START)
        log[1]["x"] = 1
        with pytest.raises((TypeError, ValueError), match="wall"):
            log.mark(1, moment)
        assert walls(log) == [None]
        if moment is not None:
            with pytest.raises((TypeError, ValueError), match="created"):
                open_log(created=moment)

    def test_what_else_it_refuses(self, open_log: OpenLog) -> None:
        acts: list[Callable[[], Any]] = [
            lambda: open_log(outcome="running"),
            lambda: open_log(outcome="done"),
            lambda: open_log(host=""),
            lambda: open_log(host="a\nb"),
            lambda: open_log(host=7),
        ]
        log = open_log(created=START)
        acts += [lambda: open_log(log.uuid, created=START)]
        for act in acts:
            with pytest.raises(ValueError, match=r"outcome|host"):
                act()
        for at in (-1, True, 1.5, "1", None, 2**63):
            with pytest.raises(InvalidTime):
                log.mark(at, START)  # type: ignore[arg-type]
        log.close()
        with pytest.raises(LogClosed):
            log.mark(1, START)
