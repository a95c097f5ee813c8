"""The run of a log: opened again, resumed, loaded from a state, copied."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from traininglog import (
    InvalidState,
    InvalidTime,
    InvalidUUID,
    RunNotFound,
    TrainingLogBase,
    ValueTypeError,
)
from traininglog.testing.conformance.fixtures import LogFixtures, OpenLog
from traininglog.testing.samples import ARRAYS, EXACT_VALUES, PLAIN_VALUES, same


class LineageConformance(LogFixtures):
    """The run of a log, and the runs that it sees."""

    def test_a_log_has_a_uuid(self, log: TrainingLogBase, open_log: OpenLog) -> None:
        assert isinstance(log.uuid, UUID)
        assert log.h_uuid == log.uuid.hex
        assert open_log().uuid != log.uuid
        assert log.h_uuid in repr(log)

    def test_a_log_can_be_opened_again(self, log: TrainingLogBase, open_log: OpenLog) -> None:
        log[1].update(loss=0.5, note="é")
        log.status["iterations_done"] = 1
        log.close()
        for name in (log.uuid, log.uuid.hex, log.uuid.hex.upper(), str(log.uuid)):
            again = open_log(name)
            assert again.uuid == log.uuid
            assert again == {1: {"loss": 0.5, "note": "é"}}
            assert again.status["iterations_done"] == 1
            again.close()
        again = open_log(log.uuid)
        again[2]["loss"] = 0.25
        again.close()
        assert open_log(log.uuid) == {1: {"loss": 0.5, "note": "é"}, 2: {"loss": 0.25}}

    def test_a_log_that_was_never_written_can_be_opened_again(self, open_log: OpenLog) -> None:
        log = open_log()
        log.close()
        assert open_log(log.uuid) == {}

    def test_an_unknown_uuid_is_an_error(self, open_log: OpenLog) -> None:
        open_log()
        with pytest.raises(RunNotFound):
            open_log(uuid4())
        for name in ("", "abc", "g" * 32, "0" * 33, 5, b"0" * 16, 1.5):
            with pytest.raises(InvalidUUID):
                open_log(name)

    def test_a_resumed_log_sees_its_parent_up_to_the_resume_point(
        self, log: TrainingLogBase, open_log: OpenLog
    ) -> None:
        for time in range(10):
            log[time].update(x=time, y=-time)
        parent = log.uuid
        log.resume(at=5)
        assert log.uuid != parent
        assert log.status["resumed_from"] == parent.hex
        assert list(log) == [0, 1, 2, 3, 4, 5]
        assert log.lineage() == [(log.uuid, 5), (parent, None)]
        log[6]["x"] = 60
        log[3]["x"] = 30
        del log[2]["y"]
        del log[1]
        log[0] = {"z": 1}
        expected = {
            0: {"z": 1}, 2: {"x": 2}, 3: {"x": 30, "y": -3}, 4: {"x": 4, "y": -4},
            5: {"x": 5, "y": -5}, 6: {"x": 60},
        }  # fmt: skip
        for _ in range(2):
            assert log == expected
            assert list(log) == list(expected)
            assert log[:]["x"].to_dict() == {2: 2, 3: 30, 4: 4, 5: 5, 6: 60}
            assert log.to_dataframe(lineage=False)["x"].dropna().to_dict() == {3: 30, 6: 60}
            assert log.keys_seen() == ["x", "y", "z"]
            assert 1 not in log
            assert log[1] == {}
            assert list(log[:3]) == [0, 2]
            log.flush()
        old = open_log(parent)
        assert list(old) == list(range(10))
        assert old[1] == {"x": 1, "y": -1}
        assert old[9] == {"x": 9, "y": -9}

    def test_what_the_parent_gains_past_the_resume_point_is_not_seen(
        self, log: TrainingLogBase, open_log: OpenLog
    ) -> None:
        log[1]["x"] = 1
        log.flush()
        child = open_log(log.uuid)
        child.resume()
        log[2]["x"] = 2
        log.flush()
        assert child == {1: {"x": 1}}
        assert child[2] == {}
        other = open_log(log.uuid)
        other.resume(at=1)
        child[3]["x"] = 30
        other[3]["x"] = 300
        for one in (child, other, log):
            one.flush()
        assert child == {1: {"x": 1}, 3: {"x": 30}}
        assert other == {1: {"x": 1}, 3: {"x": 300}}
        assert log == {1: {"x": 1}, 2: {"x": 2}}

    def test_the_status_is_copied_and_cut_on_resume(
        self, log: TrainingLogBase, open_log: OpenLog
    ) -> None:
        log[9]["x"] = 1
        log.status.update(iterations_done=9, epochs_done=3, _epoch_ends=[3, 6, 9], note="a")
        parent = log.uuid
        log.resume(at=6)
        assert log.status == {
            "iterations_done": 6, "epochs_done": 2, "_epoch_ends": [3, 6],
            "resumed_from": parent.hex, "note": "a",
        }  # fmt: skip
        log.status["note"] = "b"
        log.flush()
        assert open_log(parent).status == {
            "iterations_done": 9, "epochs_done": 3, "_epoch_ends": [3, 6, 9],
            "resumed_from": None, "note": "a",
        }  # fmt: skip
        log.resume()
        assert log.status["iterations_done"] == 6

    def test_a_log_without_rows_can_be_resumed(self, log: TrainingLogBase) -> None:
        parent = log.uuid
        log.resume()
        assert log == {}
        assert log.lineage() == [(log.uuid, -1), (parent, None)]
        log[0]["x"] = 1
        assert log == {0: {"x": 1}}

    def test_a_chain_of_resumes_reads_as_one_curve(self, log: TrainingLogBase) -> None:
        for start in range(0, 50, 5):
            for time in range(start, start + 8):  # each goes three steps past its resume point
                log[time]["x"] = start
            log.resume(at=start + 4)
        expected = {time: time - time % 5 for time in range(50)}
        assert log[:]["x"].to_dict() == expected
        assert {time: row["x"] for time, row in log.items()} == expected
        assert [at for _, at in log.lineage()] == [*range(49, 0, -5), None]
        assert log[50:] == {}
        log.flush()
        assert log.to_dataframe()["x"].to_dict() == expected

    def test_a_chain_is_cut_at_the_nearest_point_that_cuts_it(self, log: TrainingLogBase) -> None:
        for time in range(10):
            log[time]["x"] = "root"
        log.resume(at=8)
        log[9]["x"] = "child"
        log[2]["x"] = "child"
        log.resume(at=3)
        assert log[:]["x"].to_dict() == {0: "root", 1: "root", 2: "child", 3: "root"}
        log[2]["x"] = "grandchild"
        del log[3]
        assert log[:]["x"].to_dict() == {0: "root", 1: "root", 2: "grandchild"}

    def test_a_state_dict_resumes_exactly_there(
        self, log: TrainingLogBase, open_log: OpenLog
    ) -> None:
        for time in range(1, 6):
            log[time]["loss"] = 1 / time
            log.status["iterations_done"] = time
        log.status["note"] = ["kept"]
        state = json.loads(json.dumps(log.state_dict()))
        assert set(state) == {"store", "uuid", "time", "status"}
        assert state["uuid"] == log.h_uuid
        assert state["time"] == 5
        for time in range(6, 9):  # what the killed run did after its last checkpoint
            log[time]["loss"] = 99.0
            log.status["iterations_done"] = time
        parent = log.uuid
        log.close()
        again = open_log()
        again.load_state_dict(state)
        assert again.lineage() == [(again.uuid, 5), (parent, None)]
        assert again.status["iterations_done"] == 5
        assert again.status["note"] == ["kept"]
        assert again.status["resumed_from"] == parent.hex
        assert list(again) == [1, 2, 3, 4, 5]
        again[6]["loss"] = 0.1
        assert again[:]["loss"].to_list() == [1.0, 0.5, 1 / 3, 0.25, 0.2, 0.1]
        assert list(open_log(parent)) == list(range(1, 9))

    def test_a_state_dict_is_plain_to_the_bottom(
        self, log: TrainingLogBase, open_log: OpenLog
    ) -> None:
        """A checkpoint contains only types of JSON, whatever the status holds."""
        values = [*EXACT_VALUES, *(value for value, _ in PLAIN_VALUES), *ARRAYS]
        for number, value in enumerate(values):
            log.status[f"value {number}"] = value
            log.status[f"nested {number}"] = {"in": [value]}
        log[1]["x"] = 1
        expected = log.status.copy()
        state = log.state_dict()
        assert is_plain(state)
        assert json.loads(json.dumps(state, allow_nan=False)) == state
        again = open_log()
        again.load_state_dict(json.loads(json.dumps(state)))
        for key, value in expected.items():
            if key != "resumed_from":
                assert same(again.status[key], value), key
        assert list(again.status) == list(expected)

    def test_states_with_every_value_as_it_was_are_loaded(
        self, log: TrainingLogBase, open_log: OpenLog
    ) -> None:
        """Older versions made these states. What looks like a code in them is a plain value."""
        log[1]["x"] = 1
        state = log.state_dict()
        assert set(state) == {"store", "uuid", "time", "status"}
        values = [*EXACT_VALUES, *(given for given, _ in PLAIN_VALUES), *ARRAYS]
        for value in [{"$float": "nan"}, {"$dict": [["a", 1]]}, {"$path": "x"}, *values]:
            again = open_log()
            again.load_state_dict(state | {"status": state["status"] | {"note": value}})
            log.status["note"] = value
            assert same(again.status["note"], log.status["note"])
            again.close()

    def test_a_state_of_an_empty_log_sees_nothing(
        self, log: TrainingLogBase, open_log: OpenLog
    ) -> None:
        state = log.state_dict()
        assert state["time"] is None
        log[1]["x"] = 1
        log.flush()
        again = open_log()
        again.load_state_dict(state)
        assert again == {}

    def test_a_state_that_is_none_is_refused(self, log: TrainingLogBase) -> None:
        log[1]["x"] = 1
        good = log.state_dict()
        uuid = log.uuid
        for state, error in (
            ({}, InvalidState),
            (None, InvalidState),
            ([], InvalidState),
            (good | {"extra": 1}, InvalidState),
            (good | {"status": None}, InvalidState),
            (good | {"uuid": "abc"}, InvalidUUID),
            (good | {"uuid": uuid4().hex}, RunNotFound),
            (good | {"time": -2}, InvalidTime),
            (good | {"status": {"x": {1}}}, ValueTypeError),
            (good | {"coded": "resumed_from"}, InvalidState),
            (good | {"coded": ["missing"]}, InvalidState),
            (good | {"status": {"x": {"$path": 5}}, "coded": ["x"]}, InvalidState),
            (good | {"status": {"x": {"$array": "AA"}}, "coded": ["x"]}, InvalidState),
        ):
            with pytest.raises(error):
                log.load_state_dict(state)  # type: ignore[arg-type]
        assert log.uuid == uuid
        assert log == {1: {"x": 1}}

    @pytest.mark.parametrize(
        "duplicate",
        [copy.copy, copy.deepcopy, lambda log: pickle.loads(pickle.dumps(log))],  # noqa: S301
        ids=["copy", "deepcopy", "pickle"],
    )
    def test_a_copy_goes_on_by_itself(
        self, open_log: OpenLog, duplicate: Callable[[TrainingLogBase], TrainingLogBase]
    ) -> None:
        log = open_log()
        log[1].update(x=[1, {"a": 2}], y=0.5)
        log.status["iterations_done"] = 1
        uuid = log.uuid
        other = duplicate(log)
        assert log.uuid == uuid
        assert other.uuid != uuid
        assert other == log
        assert other.status["iterations_done"] == 1
        assert other.status["resumed_from"] == uuid.hex
        assert other.lineage() == [(other.uuid, 1), (uuid, None)]
        assert other.keys_seen() == log.keys_seen()
        assert other.last("y") == (1, 0.5)
        other[1]["x"] = "changed"
        other[2]["x"] = 2
        other.status["iterations_done"] = 2
        log[2]["y"] = 3.0
        assert other == {1: {"x": "changed", "y": 0.5}, 2: {"x": 2}}
        assert log == {1: {"x": [1, {"a": 2}], "y": 0.5}, 2: {"y": 3.0}}
        assert log.status["iterations_done"] == 1
        held = duplicate(other)  # a run in memory lives as long as its log
        state = held.state_dict()
        again = open_log()
        again.load_state_dict(state)
        assert again == other
        other.close()


def is_plain(value: Any) -> bool:
    """Return whether a value consists of JSON's own types, not of their subclasses."""
    if type(value) is dict:
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    if type(value) is list:
        return all(map(is_plain, value))
    return value is None or type(value) in (bool, int, float, str)
