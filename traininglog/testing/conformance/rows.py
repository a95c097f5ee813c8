"""Rows: assignment, replacement, deletion, order; the times and keys that they take."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import pytest

from traininglog import InvalidKey, InvalidTime, TrainingLogBase
from traininglog.testing.conformance.fixtures import LogFixtures
from traininglog.testing.samples import BAD_KEYS, BAD_TIMES, GOOD_TIMES, HOSTILE_KEYS


class RowConformance(LogFixtures):
    """The rows of a log, and the times and keys that they take."""

    def test_what_was_assigned_is_there(self, log: TrainingLogBase) -> None:
        log[1]["loss"] = 0.5
        assert log[1]["loss"] == 0.5
        assert log[1] == {"loss": 0.5}
        assert log == {1: {"loss": 0.5}}

    def test_it_is_a_mutable_mapping_of_mutable_mappings(self, log: TrainingLogBase) -> None:
        log[1]["loss"] = 0.5
        assert isinstance(log, MutableMapping)
        assert isinstance(log[1], MutableMapping)
        assert isinstance(log.status, MutableMapping)
        assert isinstance(log[:], Mapping)

    def test_reading_creates_nothing(self, log: TrainingLogBase) -> None:
        assert log[5] == {}
        assert not log[5]
        assert len(log[5]) == 0
        assert list(log[5]) == []
        assert log[5].get("loss") is None
        assert "loss" not in log[5]
        assert log.get(5) is None
        assert log.get(5, "nothing") == "nothing"
        assert 5 not in log
        with pytest.raises(KeyError):
            log[5]["loss"]
        assert len(log) == 0
        assert list(log) == []
        assert log == {}
        assert not log
        assert len(log.to_dataframe()) == 0

    def test_a_missing_key_is_a_key_error(self, log: TrainingLogBase) -> None:
        log[1]["loss"] = 0.5
        with pytest.raises(KeyError):
            log[1]["accuracy"]
        with pytest.raises(KeyError):
            del log[1]["accuracy"]
        with pytest.raises(KeyError):
            del log[2]
        with pytest.raises(KeyError):
            log.pop(2)
        with pytest.raises(KeyError):
            log[1].pop("accuracy")
        assert log == {1: {"loss": 0.5}}

    def test_the_last_write_wins(self, log: TrainingLogBase) -> None:
        log[1]["loss"] = 0.5
        log.flush()
        log[1]["loss"] = 0.25
        assert log[1]["loss"] == 0.25
        log.flush()
        assert log[1]["loss"] == 0.25
        assert len(log) == 1

    def test_times_come_in_ascending_order_whatever_the_order_of_writes(
        self, log: TrainingLogBase
    ) -> None:
        for time in (5, 1, 2**40, 3, 0):
            log[time]["loss"] = float(time)
        assert list(log) == [0, 1, 3, 5, 2**40]
        assert list(reversed(log)) == [2**40, 5, 3, 1, 0]
        assert list(log.to_dataframe().index) == [0, 1, 3, 5, 2**40]
        assert log.last("loss") == (2**40, float(2**40))

    def test_keys_come_in_first_written_order(self, log: TrainingLogBase) -> None:
        log[2]["z"] = 1
        log[2]["a"] = 2
        log[1].update(m=3, a=4, z=5)
        assert list(log[2]) == ["z", "a"]
        assert list(log[1]) == ["z", "a", "m"]
        assert [key for key, _ in log[1].items()] == ["z", "a", "m"]
        assert list(log[1].values()) == [5, 4, 3]
        assert log.keys_seen() == ["z", "a", "m"]
        assert list(log.to_dataframe().columns) == ["z", "a", "m"]
        log.flush()
        assert list(log[1]) == ["z", "a", "m"]
        assert log.keys_seen() == ["z", "a", "m"]
        assert list(log.to_dataframe().columns) == ["z", "a", "m"]

    def test_a_row_can_be_updated_replaced_and_deleted(self, log: TrainingLogBase) -> None:
        log[1].update({"a": 1}, b=2)
        log[1].update([("c", 3)])
        assert log[1] == {"a": 1, "b": 2, "c": 3}
        log[1] |= {"d": 4}
        assert log[1] == {"a": 1, "b": 2, "c": 3, "d": 4}
        log[1] = {"b": 5, "e": 6}
        assert log[1] == {"b": 5, "e": 6}
        del log[1]["b"]
        assert log[1] == {"e": 6}
        log[1] = log[1]
        assert log[1] == {"e": 6}
        del log[1]
        assert log == {}
        log[1] = {}
        assert log == {}
        assert len(log) == 0

    def test_the_methods_of_a_row(self, log: TrainingLogBase) -> None:
        row = log[1]
        assert row.setdefault("a", 1) == 1
        assert row.setdefault("a", 2) == 1
        row["b"] = 2
        assert row.pop("a") == 1
        assert row.pop("a", "gone") == "gone"
        assert row.popitem() == ("b", 2)
        with pytest.raises(KeyError):
            row.popitem()
        row["c"] = 3
        assert row.copy() == {"c": 3}
        assert type(row.copy()) is dict
        row.copy()["c"] = 4
        assert row["c"] == 3
        assert row | {"d": 4} == {"c": 3, "d": 4}
        assert {"d": 4} | row == {"c": 3, "d": 4}
        assert dict(row) == {"c": 3}
        assert {**row} == {"c": 3}
        assert repr(row) == "{'c': 3}"
        row.clear()
        assert row == {}
        assert log == {}

    def test_the_methods_of_a_log(self, log: TrainingLogBase) -> None:
        log.update({1: {"a": 1}, 2: {"a": 2}})
        log |= {3: {"a": 3}}
        assert log.setdefault(3, {"a": 9}) == {"a": 3}
        assert log.setdefault(4, {"a": 4}) == {"a": 4}
        assert log.pop(1) == {"a": 1}
        assert log.pop(1, None) is None
        assert log.popitem() == (4, {"a": 4})
        assert log.get(2) == {"a": 2}
        assert list(log.keys()) == [2, 3]
        assert [dict(row) for row in log.values()] == [{"a": 2}, {"a": 3}]
        assert {time: dict(row) for time, row in log.items()} == {2: {"a": 2}, 3: {"a": 3}}
        assert log.to_dict() == {2: {"a": 2}, 3: {"a": 3}}
        assert log != {2: {"a": 2}}
        log.update({2: {"b": 5}})
        assert log[2] == {"b": 5}
        log.clear()
        assert log == {}
        with pytest.raises(KeyError):
            log.popitem()

    def test_what_becomes_empty_is_not_counted(self, log: TrainingLogBase) -> None:
        for time in range(4):
            log[time]["a"] = time
        log.flush()
        del log[0]
        del log[1]["a"]
        log[2] = {}
        assert list(log) == [3]
        assert len(log) == 1
        assert 0 not in log
        log.flush()
        assert list(log) == [3]
        assert log.keys_seen() == ["a"]
        del log[3]
        assert log.keys_seen() == []
        assert log.to_dataframe().empty

    def test_a_row_is_bound_to_its_log(self, log: TrainingLogBase) -> None:
        """A row that was taken before a write sees it, and so does one emptied in between."""
        one, two = log[5], log[5]
        one["a"] = 1
        assert two == {"a": 1}
        log[5] = {"b": 2}
        assert one == two == {"b": 2}
        del log[5]
        assert one == two == {}
        log[5]["c"] = 3
        assert one == two == {"c": 3}
        two["d"] = 4
        assert one == log[5] == {"c": 3, "d": 4}

    def test_rows_go_to_json_as_they_are(self, log: TrainingLogBase) -> None:
        log[1].update(a=1, b=[1.5, None], c={"d": "e"})
        as_json = json.dumps({time: dict(row) for time, row in log.items()})
        assert as_json == '{"1": {"a": 1, "b": [1.5, null], "c": {"d": "e"}}}'

    @pytest.mark.parametrize("time", GOOD_TIMES, ids=repr)
    def test_times_it_takes(self, log: TrainingLogBase, time: Any) -> None:
        log[time]["loss"] = 1.0
        assert list(log) == [int(time)]
        assert type(next(iter(log))) is int
        assert time in log
        assert log[int(time)]["loss"] == 1.0

    @pytest.mark.parametrize("time", BAD_TIMES, ids=repr)
    def test_times_it_refuses(self, log: TrainingLogBase, time: Any) -> None:
        """This holds although a dict takes True for 1."""
        log[1]["loss"] = log[0]["loss"] = 0.5
        with pytest.raises(InvalidTime, match="time must be a non-negative integer") as caught:
            log[time]["loss"] = 1.0
        assert isinstance(caught.value, ValueError)
        for act in (
            lambda: log[time],
            lambda: log.get(time),
            lambda: time in log,
            lambda: log.pop(time, None),
            lambda: log.update({time: {"loss": 1.0}}),
            lambda: log.__setitem__(time, {"loss": 1.0}),
            lambda: log.__delitem__(time),
            lambda: log.resume(at=time) if time is not None else time in log,
            lambda: log.to_dataframe(start=time) if time is not None else time in log,
        ):
            with pytest.raises(InvalidTime):
                act()
        assert log == {0: {"loss": 0.5}, 1: {"loss": 0.5}}

    @pytest.mark.parametrize("key", BAD_KEYS, ids=repr)
    def test_keys_it_refuses(self, log: TrainingLogBase, key: Any) -> None:
        log[1]["loss"] = 0.5
        acts: list[Callable[[], object]] = [
            lambda: log[1].__setitem__(key, 1.0),
            lambda: log[1].update({"good": 1.0, key: 1.0}),
            lambda: log.__setitem__(1, {"good": 1.0, key: 1.0}),
            lambda: log.update({2: {"good": 1.0}, 3: {key: 1.0}}),
            lambda: log.status.__setitem__(key, 1.0),
            lambda: log.status.update({"good": 1, key: 1}),
        ]
        for act in acts:
            with pytest.raises(InvalidKey):
                act()
        assert key not in log[1]
        assert log[1].get(key) is None
        with pytest.raises(KeyError):
            log[1][key]
        assert log == {1: {"loss": 0.5}}
        assert "good" not in log.status
        assert log.keys_seen() == ["loss"]

    def test_hostile_keys_are_kept_verbatim(self, log: TrainingLogBase) -> None:
        expected = {key: number for number, key in enumerate(HOSTILE_KEYS)}
        log[1].update(expected)
        log.status.update(expected)
        for _ in range(2):
            assert log[1] == expected
            assert list(log[1]) == HOSTILE_KEYS
            assert log.keys_seen() == HOSTILE_KEYS
            assert list(log.to_dataframe().columns) == HOSTILE_KEYS
            for key, number in expected.items():
                assert log[1][key] == number
                assert log.status[key] == number
                assert log[:][key].to_list() == [number]
                assert log.to_dataframe(keys=[key]).columns.to_list() == [key]
            log.flush()
