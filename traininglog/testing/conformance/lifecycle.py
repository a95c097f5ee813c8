"""A log's life: flushed, committed, closed, shared by threads."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Mapping
from uuid import UUID

import pytest

from traininglog import LogClosed, TrainingLogBase
from traininglog.testing.conformance.fixtures import LogFixtures, OpenLog


class LifecycleConformance(LogFixtures):
    """What a log does from its opening to its end."""

    def test_a_closed_log_refuses_everything(self, log: TrainingLogBase) -> None:
        log[1]["x"] = 1
        row, status, view = log[1], log.status, log[:]
        empty = log[7]
        log.close()
        log.close()
        assert log.closed
        for act in (
            lambda: log[1],
            lambda: log[1].copy(),
            lambda: log[2].__setitem__("x", 2),
            lambda: log.__setitem__(2, {"x": 2}),
            lambda: log.__delitem__(1),
            lambda: row.__setitem__("x", 2),
            lambda: empty.__setitem__("x", 2),
            lambda: row.update(x=2),
            lambda: 1 in log,
            lambda: len(log),
            lambda: list(log),
            lambda: log.to_dict(),
            lambda: log.to_dataframe(),
            lambda: log.to_dataframe(index="wall"),
            lambda: view["x"],
            lambda: len(view),
            lambda: log.keys_seen(),
            lambda: log.last("x"),
            lambda: dict(log.status),
            lambda: status.__setitem__("x", 1),
            lambda: log.flush(),
            lambda: log.commit(),
            lambda: log.resume(),
            lambda: log.resume(at=1),
            lambda: log.lineage(),
            lambda: log.state_dict(),
            lambda: pickle.dumps(log),
        ):
            with pytest.raises(LogClosed):
                _use(act())
        assert isinstance(log.uuid, UUID)
        assert log.h_uuid in repr(log)

    def test_a_log_is_a_context(self, open_log: OpenLog) -> None:
        with open_log() as log:
            log[1]["x"] = 1
        assert log.closed
        failing = open_log()
        with pytest.raises(ZeroDivisionError), failing:
            failing[1]["x"] = 1 // 0
        assert failing.closed

    def test_flush_and_commit_change_nothing_that_is_seen(self, log: TrainingLogBase) -> None:
        log[1]["x"] = 1
        log.flush()
        log.flush()
        log.commit()
        log.commit()
        log[2]["x"] = 2
        log.commit()
        assert log == {1: {"x": 1}, 2: {"x": 2}}

    def test_many_values(self, log: TrainingLogBase, open_log: OpenLog) -> None:
        for time in range(3_000):
            row = log[time]
            for key in "abcdefgh":
                row[key] = time + ord(key) / 128
        log.close()
        frame = open_log(log.uuid).to_dataframe()
        assert frame.shape == (3_000, 8)
        assert frame["c"].to_list() == [time + ord("c") / 128 for time in range(3_000)]

    def test_several_threads_may_assign(self, log: TrainingLogBase) -> None:
        def work(key: str) -> None:
            for time in range(500):
                log[time][key] = time
                log.status[key] = time

        threads = [threading.Thread(target=work, args=(key,)) for key in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(log) == 500
        for key in "abcd":
            assert log[:][key].to_list() == list(range(500))
            assert log.status[key] == 499


def _use(result: object) -> object:
    """Look at what was returned, for a store that only then looks at its data."""
    return dict(result) if isinstance(result, Mapping) else result
