"""The status, and the rows that follow it."""

from __future__ import annotations

import pytest

from traininglog import TrainingLogBase
from traininglog.testing.conformance.fixtures import LogFixtures


class StatusConformance(LogFixtures):
    """The first status of a run, and changes of it."""

    def test_the_status_starts_as_the_contract_says(self, log: TrainingLogBase) -> None:
        assert log.status == {
            "iterations_done": 0, "epochs_done": 0, "_epoch_ends": [], "resumed_from": None,
        }  # fmt: skip
        assert list(log.status) == ["iterations_done", "epochs_done", "_epoch_ends", "resumed_from"]

    def test_the_status_is_a_mapping(self, log: TrainingLogBase) -> None:
        log.status["note"] = "first try"
        log.status["_epoch_ends"] += [10]
        assert log.status["note"] == "first try"
        assert log.status["_epoch_ends"] == [10]
        log.flush()
        assert log.status.pop("note") == "first try"
        assert "note" not in log.status
        log.flush()
        assert "note" not in log.status
        with pytest.raises(KeyError):
            log.status["note"]
        with pytest.raises(KeyError):
            del log.status["note"]
        log.status.update(a=1, b=2)
        del log.status["a"]
        log.status["a"] = 3
        assert list(log.status)[-2:] == ["b", "a"]
        assert len(log.status) == 6

    def test_rows_that_follow_the_status(self, log: TrainingLogBase) -> None:
        log[0]["x"], log[1]["x"], log[2]["x"] = 0, 1, 2
        assert log.current_row == {"x": 0}
        with pytest.raises(ValueError, match="no previous row"):
            _ = log.previous_row
        with pytest.raises(IndexError, match="no last epoch"):
            _ = log.last_epoch_row
        log.status["iterations_done"] = 2
        log.status["_epoch_ends"] = [1]
        assert log.current_row == {"x": 2}
        assert log.previous_row == {"x": 1}
        assert log.last_epoch_row == {"x": 1}
        log.current_row["y"] = 5
        assert log[2] == {"x": 2, "y": 5}
