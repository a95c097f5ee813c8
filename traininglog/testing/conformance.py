"""The contract of `TrainingLogBase`, as tests that any store must pass."""

from __future__ import annotations

import copy
import json
import math
import pickle
import threading
import time as clock
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest

from traininglog import (
    InvalidKey,
    InvalidState,
    InvalidTime,
    InvalidUUID,
    LogClosed,
    ReadOnlyValue,
    RunNotFound,
    TrainingLogBase,
    TrainingLogError,
    ValueTypeError,
)
from traininglog.testing.samples import (
    ARRAYS,
    BAD_KEYS,
    BAD_TIMES,
    EXACT_VALUES,
    GOOD_TIMES,
    HOSTILE_KEYS,
    PLAIN_VALUES,
    REFUSED_VALUES,
    same,
)

OpenLog = Callable[..., TrainingLogBase]


def _name(value: object) -> str:
    return type(value).__name__


class LogConformance:
    """Subclass it, and give it the fixture `open_log`; see `traininglog.testing`."""

    @pytest.fixture
    def open_log(self) -> OpenLog:
        """Return a callable that opens a new log, or with a UUID an existing one, of one store."""
        raise NotImplementedError("override the fixture open_log")

    @pytest.fixture
    def log(self, open_log: OpenLog) -> TrainingLogBase:
        """Return a new log."""
        return open_log()

    # -- rows -------------------------------------------------------------------------------

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
        """One taken before a write sees it afterwards, and so does one that was emptied between."""
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
        """Also where a dict would take True for 1."""
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
            lambda: log.resume(at=time) if time is not None else log[time],
            lambda: log.to_dataframe(start=time) if time is not None else log[time],
        ):
            with pytest.raises(InvalidTime):
                act()
        assert log == {0: {"loss": 0.5}, 1: {"loss": 0.5}}

    @pytest.mark.parametrize("key", BAD_KEYS, ids=repr)
    def test_keys_it_refuses(self, log: TrainingLogBase, key: Any) -> None:
        log[1]["loss"] = 0.5
        for act in (
            lambda: log[1].__setitem__(key, 1.0),
            lambda: log[1].update({"good": 1.0, key: 1.0}),
            lambda: log.__setitem__(1, {"good": 1.0, key: 1.0}),
            lambda: log.update({2: {"good": 1.0}, 3: {key: 1.0}}),
            lambda: log.status.__setitem__(key, 1.0),
            lambda: log.status.update({"good": 1, key: 1}),
        ):
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

    # -- values -----------------------------------------------------------------------------

    @pytest.mark.parametrize("value", EXACT_VALUES, ids=lambda value: repr(value)[:40])
    def test_values_come_back_exactly(self, log: TrainingLogBase, value: Any) -> None:
        log[1]["x"] = value
        log.status["x"] = value
        for _ in range(2):
            assert same(log[1]["x"], value)
            assert same(log.status["x"], value)
            assert same(log.to_dict()[1]["x"], value)
            log.flush()

    @pytest.mark.parametrize(
        ("value", "expected"), PLAIN_VALUES, ids=lambda value: repr(value)[:40]
    )
    def test_values_come_back_plain(self, log: TrainingLogBase, value: Any, expected: Any) -> None:
        log[1]["x"] = value
        log.status["x"] = value
        for _ in range(2):
            assert same(log[1]["x"], expected)
            assert same(log.status["x"], expected)
            log.flush()

    @pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
    def test_arrays_come_back_as_arrays(self, log: TrainingLogBase, array: Any) -> None:
        original = array.copy()
        log[1]["x"] = array
        log[1]["nested"] = {"inner": [array]}
        for _ in range(2):
            for found in (log[1]["x"], log[1]["nested"]["inner"][0]):
                assert same(found, original)
                with pytest.raises(ValueError, match=r"read-only|WRITEABLE"):
                    found[...] = array
            log.flush()

    @pytest.mark.parametrize(
        ("value", "error", "remedy"), REFUSED_VALUES, ids=lambda value: _name(value)
    )
    def test_values_it_refuses(
        self, log: TrainingLogBase, value: Any, error: type[Exception], remedy: str
    ) -> None:
        """At the assignment, with a remedy, and leaving everything as it was."""
        log[1]["x"] = 0.5
        status = log.status.copy()
        for act in (
            lambda: log[1].__setitem__("x", value),
            lambda: log[2].update(good=1, bad=value),
            lambda: log.__setitem__(1, {"good": 1, "bad": value}),
            lambda: log.update({2: {"good": 1}, 3: {"bad": value}}),
            lambda: log.status.update(good=1, bad=value),
        ):
            with pytest.raises(error, match=remedy) as caught:
                act()
            assert isinstance(caught.value, TrainingLogError)
            assert len(str(caught.value)) < 300
        assert log == {1: {"x": 0.5}}
        assert log.status == status
        assert log.keys_seen() == ["x"]

    def test_a_library_s_scalar_is_taken_at_the_assignment(self, log: TrainingLogBase) -> None:
        class Tensor:
            def __init__(self, values: list[float]) -> None:
                self.values = values

            def item(self) -> float:
                (value,) = self.values
                return value

        loss = Tensor([0.5])
        log[1]["loss"] = loss
        loss.values[0] = 9.0
        assert same(log[1]["loss"], 0.5)
        with pytest.raises(ValueTypeError, match=r"detach\(\)\.cpu\(\)\.numpy\(\)"):
            log[1]["loss"] = Tensor([1.0, 2.0])
        assert same(log[1]["loss"], 0.5)

    def test_the_limit_on_size_is_an_option(self, open_log: OpenLog) -> None:
        log = open_log(max_value_bytes=100)
        log[1]["x"] = "x" * 100
        for value in ("x" * 101, b"x" * 101, "é" * 51, np.zeros(13), [0.0] * 20):
            with pytest.raises(TrainingLogError, match="100 bytes"):
                log[1]["x"] = value
        assert log[1]["x"] == "x" * 100

    def test_none_nan_and_absent_are_three_things(self, log: TrainingLogBase) -> None:
        log[1]["x"] = None
        log[2]["x"] = math.nan
        log[3]["y"] = 1.0
        for _ in range(2):
            assert log[1]["x"] is None
            assert math.isnan(log[2]["x"])
            assert "x" not in log[3]
            long = log.to_dataframe(layout="long")
            found = [(time, key, repr(value)) for time, key, value in long.itertuples(index=False)]
            assert found == [(1, "x", "None"), (2, "x", "nan"), (3, "y", "1.0")]
            log.flush()

    def test_what_is_read_is_not_a_handle(self, log: TrainingLogBase) -> None:
        given = [1, {"a": [2]}]
        log[1]["x"] = given
        log.status["x"] = given
        given.append(3)
        given[1]["a"].append(4)  # type: ignore[index]
        for _ in range(2):
            for found in (log[1]["x"], log.status["x"], log.to_dict()[1]["x"]):
                assert found == [1, {"a": [2]}]
                assert isinstance(found, list)
                for act in _changes(found):
                    with pytest.raises(ReadOnlyValue, match=r"assign a new one|work on a copy"):
                        act()
                assert list(found) == copy.deepcopy(found) == [1, {"a": [2]}]
                copy.deepcopy(found)[1]["a"].append(5)
                assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301 - our own
            log.flush()
        assert log[1]["x"] == [1, {"a": [2]}]
        log[1]["x"] += [3]
        assert log[1]["x"] == [1, {"a": [2]}, 3]

    # -- slices and frames ------------------------------------------------------------------

    def test_a_slice_is_a_view_of_rows(self, log: TrainingLogBase) -> None:
        for time in range(10):
            log[time]["x"] = float(time)
        view = log[3:6]
        assert list(view) == [3, 4, 5]
        assert len(view) == 3
        assert 3 in view
        assert 6 not in view
        assert view[4] == {"x": 4.0}
        with pytest.raises(KeyError):
            view[7]
        log[4] = {"y": 1}
        assert view[4] == {"y": 1}
        assert list(view["x"].index) == [3, 5]
        assert view["x"].to_list() == [3.0, 5.0]
        assert view.to_dataframe().index.to_list() == [3, 4, 5]
        assert list(log[:2]) == [0, 1]
        assert list(log[8:]) == [8, 9]
        assert list(log[6:3]) == []
        assert log[:]["x"].name == "x"
        assert log[:]["x"].index.name == "time"
        with pytest.raises(ValueError, match="step"):
            log[::2]
        with pytest.raises(InvalidTime):
            log[-1:]

    def test_a_series_of_an_unknown_key_is_a_key_error(self, log: TrainingLogBase) -> None:
        log[1]["loss"] = 0.5
        with pytest.raises(KeyError, match="loss"):
            log[:]["los"]
        assert log[5:]["loss"].empty

    def test_a_wide_frame(self, log: TrainingLogBase) -> None:
        for time in range(1, 4):
            log[time].update(loss=1 / time, n=time, good=time > 1)
        log[2]["rare"] = 7
        log[3]["note"] = "best"
        for _ in range(2):
            frame = log.to_dataframe()
            assert list(frame.columns) == ["loss", "n", "good", "rare", "note"]
            assert frame.index.to_list() == [1, 2, 3]
            assert frame.index.name == "time"
            assert [str(dtype) for dtype in frame.dtypes[:4]] == [
                "float64", "int64", "bool", "float64",
            ]  # fmt: skip
            assert frame["loss"].to_list() == [1.0, 0.5, 1 / 3]
            assert frame["rare"].isna().to_list() == [True, False, True]
            assert frame.loc[3, "note"] == "best"
            log.flush()

    def test_a_frame_of_some_keys_and_times(self, log: TrainingLogBase) -> None:
        for time in range(6):
            log[time].update({"train/loss": 1.0, "train/acc": 2.0, "lr": 3.0})
        assert list(log.to_dataframe(keys="train/*").columns) == ["train/loss", "train/acc"]
        assert list(log.to_dataframe(keys=["lr", "train/*"]).columns) == [
            "lr", "train/loss", "train/acc",
        ]  # fmt: skip
        assert log.to_dataframe(keys="lr", start=2, stop=4).index.to_list() == [2, 3]
        assert log.to_dataframe(keys="nothing*").shape == (0, 0)
        with pytest.raises(KeyError, match="train/loss"):
            log.to_dataframe(keys=["lr", "loss"])
        indexed = log.to_dataframe(keys="lr", index="train/loss")
        assert indexed.index.name == "train/loss"
        assert list(indexed.columns) == ["lr"]
        with pytest.raises(KeyError):
            log.to_dataframe(index="epoch")

    def test_an_arrow_table(self, log: TrainingLogBase) -> None:
        pyarrow = pytest.importorskip("pyarrow")
        for time in range(1, 4):
            log[time].update(loss=1 / time, n=time, good=time > 1)
        log[2].update(rare=7, nan=math.nan, raw=b"\0", none=None)
        log[3].update(note="best", nan=1.0, mixed=[1, None], none=2.5)
        for _ in range(2):
            table = log.to_arrow()
            assert table.to_pydict() | {"nan": None} == {
                "time": [1, 2, 3], "loss": [1.0, 0.5, 1 / 3], "n": [1, 2, 3],
                "good": [False, True, True], "rare": [None, 7, None], "nan": None,
                "raw": [None, b"\0", None], "none": [None, None, 2.5],
                "note": [None, None, "best"], "mixed": [None, None, "[1, null]"],
            }  # fmt: skip
            assert table["nan"].null_count == 1
            assert math.isnan(table["nan"][1].as_py())
            assert [str(type_) for type_ in table.schema.types] == [
                "int64", "double", "int64", "bool", "int64", "double", "binary", "double",
                "string", "string",
            ]  # fmt: skip
            long = log.to_arrow(["none", "note", "n"], layout="long").to_pylist()
            assert [tuple(line.values()) for line in long] == [
                (1, "n", 1.0, None, "int"), (2, "n", 2.0, None, "int"), (3, "n", 3.0, None, "int"),
                (2, "none", None, None, "none"), (3, "none", 2.5, None, "float"),
                (3, "note", None, "best", "text"),
            ]  # fmt: skip
            assert isinstance(log.to_arrow("n", start=2, index="loss"), pyarrow.Table)
            assert log.to_arrow("n", start=2, index="loss").to_pydict() == {
                "loss": [0.5, 1 / 3], "n": [2, 3],
            }  # fmt: skip
            log.flush()

    def test_when_a_row_was_logged(self, log: TrainingLogBase, open_log: OpenLog) -> None:
        """To within a flush, whatever reads it later."""
        moments = [clock.time()]
        for time in (1, 2, 7):
            log[time].update(loss=1.0, n=time)
            log.flush()
            moments.append(_later())
        log[8]["loss"] = 0.5  # not flushed yet
        moments.append(_later())
        for _ in range(2):
            frame = log.to_dataframe(index="wall")
            assert frame.index.name == "wall"
            assert str(frame.index.dtype) == "datetime64[us, UTC]"
            assert list(frame.columns) == ["loss", "n"]
            walls = [moment.timestamp() for moment in frame.index]
            assert len(walls) == 4
            for number, wall in enumerate(walls[:3]):
                assert moments[number] - 1e-5 <= wall <= moments[number + 1]
            assert moments[3] - 1e-5 <= walls[3] <= clock.time()
            log.flush()
        before = frame.index[:3].to_list()
        uuid = log.uuid
        log.close()
        again = open_log(uuid)
        assert again.to_dataframe(index="wall").index[:3].to_list() == before
        assert again.to_dataframe("n", start=2, stop=8, index="wall").index.to_list() == before[1:]

    def test_how_long_after_the_start_a_row_was_logged(self, log: TrainingLogBase) -> None:
        log[1]["loss"] = 1.0
        log.flush()
        _later(0.1)
        log.resume()
        log[2]["loss"] = 0.5
        log.flush()
        frame = log.to_dataframe(index="elapsed", wall=True)
        assert frame.index.name == "elapsed"
        assert list(frame.columns) == ["wall", "loss"]
        one, two = frame.index
        assert one >= 0
        assert two - one >= 0.1
        assert two - one == pytest.approx(
            (frame["wall"].iloc[1] - frame["wall"].iloc[0]).total_seconds(), abs=1e-5
        )
        own = log.to_dataframe(index="elapsed", lineage=False)
        assert len(own) == 1
        assert 0 <= own.index[0] <= two - 0.1

    def test_a_row_that_is_inherited_was_logged_by_the_ancestor(
        self, log: TrainingLogBase, open_log: OpenLog
    ) -> None:
        log[1]["loss"] = 1.0
        log.flush()
        log[4]["loss"] = 0.5
        log.flush()
        walls = log.to_dataframe(index="wall").index
        fork = _later()
        log.resume(at=2)
        log[3]["loss"] = 0.25
        log[1]["more"] = 1
        log.flush()
        found = log.to_dataframe("loss", index="wall").index
        assert found[0] == walls[0]
        assert fork - 1e-5 <= found[1].timestamp() <= clock.time()
        own = log.to_dataframe(index="wall", lineage=False).index
        assert min(own).timestamp() >= fork - 1e-5

    def test_wall_times_are_a_column_of_every_layout(self, log: TrainingLogBase) -> None:
        log[1].update(a=1, b=2)
        log[2]["a"] = 3
        log.flush()
        frame = log.to_dataframe(wall=True)
        assert list(frame.columns) == ["wall", "a", "b"]
        assert frame.index.to_list() == [1, 2]
        by_key = log.to_dataframe(index="b", wall=True)
        assert by_key["wall"].to_list() == frame["wall"].to_list()[:1]
        long = log.to_dataframe(layout="long", wall=True)
        assert list(long.columns) == ["time", "wall", "key", "value"]
        assert long["wall"].to_list() == [frame["wall"][time] for time in long["time"]]
        assert str(long["wall"].dtype) == "datetime64[us, UTC]"
        pytest.importorskip("pyarrow")
        walls = frame["wall"].to_list()
        table = log.to_arrow(wall=True)
        assert table.column_names == ["time", "wall", "a", "b"]
        assert table["wall"].to_pylist() == walls
        assert str(table.schema.field("wall").type) == "timestamp[us, tz=UTC]"
        assert log.to_arrow(index="wall").column_names == ["wall", "a", "b"]
        elapsed = log.to_arrow("a", index="elapsed")
        assert elapsed.column_names == ["elapsed", "a"]
        assert elapsed["elapsed"].to_pylist() == log.to_dataframe(index="elapsed").index.to_list()
        table = log.to_arrow(layout="long", wall=True)
        assert table.column_names == ["time", "wall", "key", "value", "text", "type"]
        assert table["wall"].to_pylist() == long["wall"].to_list()

    def test_a_key_called_wall_is_meant_before_the_wall_time(self, log: TrainingLogBase) -> None:
        log[1].update(wall=5, elapsed=0.5, x=1)
        assert log.to_dataframe(index="wall").index.to_list() == [5]
        assert log.to_dataframe(index="elapsed").index.to_list() == [0.5]
        with pytest.raises(ValueError, match="key 'wall'"):
            log.to_dataframe(wall=True)
        assert list(log.to_dataframe("x", wall=True).columns) == ["wall", "x"]
        assert list(log.to_dataframe(layout="long", wall=True)["key"]) == ["wall", "elapsed", "x"]
        log[2]["x"] = 2  # also where the key has no value
        assert log.to_dataframe("x", start=2, index="wall").empty

    def test_an_empty_log_has_empty_wall_times(self, log: TrainingLogBase) -> None:
        assert str(log.to_dataframe(index="wall").index.dtype) == "datetime64[us, UTC]"
        assert log.to_dataframe(index="elapsed").index.dtype == np.float64
        assert log.to_dataframe(layout="long", wall=True).shape == (0, 4)

    def test_last_and_best(self, log: TrainingLogBase) -> None:
        for time, loss in enumerate([3.0, math.nan, 1.0, None, 2, "text", 1.0]):
            log[time]["loss"] = loss
        assert log.last("loss") == (6, 1.0)
        assert log.best("loss") == (2, 1.0)
        assert log.best("loss", mode="max") == (0, 3.0)
        assert log.best("loss").time == 2
        assert log.best("loss").value == 1.0
        log[0]["note"] = "no number"
        for key, find in (("los", log.last), ("los", log.best), ("note", log.best)):
            with pytest.raises(KeyError):
                find(key)
        with pytest.raises(ValueError, match="mode"):
            log.best("loss", mode="lowest")  # type: ignore[arg-type]

    # -- status -----------------------------------------------------------------------------

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

    # -- identity and lineage ---------------------------------------------------------------

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

    # -- lifecycle --------------------------------------------------------------------------

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


def _changes(found: Any) -> list[Callable[[], object]]:
    """Return ways to change [1, {"a": [2]}] in place."""
    return [
        lambda: found.append(3),
        lambda: found.extend([3]),
        lambda: found.insert(0, 3),
        lambda: found.__setitem__(0, 3),
        lambda: found.__delitem__(0),
        lambda: found.clear(),
        lambda: found.sort(),
        lambda: found.reverse(),
        lambda: found[1].update(b=1),
        lambda: found[1].__setitem__("a", 1),
        lambda: found[1].setdefault("b", 1),
        lambda: found[1].pop("a"),
        lambda: found[1]["a"].pop(),
    ]


def _later(seconds: float = 0.02) -> float:
    """Let some time pass, and return a moment in the midst of it."""
    clock.sleep(seconds / 2)
    moment = clock.time()
    clock.sleep(seconds / 2)
    return moment


def _use(result: object) -> object:
    """Look at what was returned, for a store that only then looks at its data."""
    return dict(result) if isinstance(result, Mapping) else result
