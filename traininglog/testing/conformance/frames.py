"""Many rows: slices, DataFrames, Arrow tables, wall times, the last and the best values."""

from __future__ import annotations

import importlib.util
import math
import time as clock
from typing import Any

import numpy as np
import pytest

from traininglog import InvalidTime, TrainingLogBase
from traininglog.testing.conformance.fixtures import LogFixtures, OpenLog

#: The names that this package or pandas gives to columns, to an index or to a level of one.
RESERVED = (
    "time", "wall", "elapsed", "run", "key", "value", "text", "type", "index", "level_0", "uuid",
    "name",
)  # fmt: skip


class FrameConformance(LogFixtures):
    """Reading many rows at once."""

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
        """The wall time is exact to within a flush, and the same for every later reader."""
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

    def test_columns_are_what_a_frame_is_made_of(self, log: TrainingLogBase) -> None:
        for time in range(4):
            log[time].update(loss=time / 2, note=None if time else "first")
        log.flush()
        assert [tuple(column) for column in log.columns()] == [
            ("loss", [0, 1, 2, 3], [0.0, 0.5, 1.0, 1.5]),
            ("note", [0, 1, 2, 3], ["first", None, None, None]),
        ]
        assert [tuple(column) for column in log.columns("lo*", start=1, stop=3)] == [
            ("loss", [1, 2], [0.5, 1.0])
        ]
        assert log.columns("note", start=4) == []
        with pytest.raises(KeyError, match="los"):
            log.columns("los")

    def test_a_slice_has_the_frames_of_its_rows(self, log: TrainingLogBase) -> None:
        for time in range(5):
            log[time].update(loss=time / 2, other=1)
        log.flush()
        rows = log[1:4]
        for options in ({}, {"keys": "loss"}, {"wall": True}, {"index": "elapsed"},
                        {"layout": "long", "wall": True}):  # fmt: skip
            given: dict[str, Any] = options
            whole = log.to_dataframe(start=1, stop=4, **given)
            assert rows.to_dataframe(**given).equals(whole)
            assert rows.to_arrow(**given) == log.to_arrow(start=1, stop=4, **given)

    @pytest.mark.parametrize("name", ["time", "wall", "elapsed"])
    def test_a_key_is_meant_before_an_index_of_its_name(
        self, log: TrainingLogBase, name: str
    ) -> None:
        log[1].update({name: 5, "x": 1})
        log[2]["x"] = 2
        for _ in range(2):
            frame = log.to_dataframe(index=name)
            assert frame.index.to_list() == [5]
            assert frame.index.name == name
            assert list(frame.columns) == ["x"]
            assert log.to_dataframe("x", index=name)["x"].to_dict() == {5: 1}
            assert log.to_dataframe("x", start=2, index=name).empty
            assert log.to_dataframe().index.to_list() == [1, 2]
            if importlib.util.find_spec("pyarrow") is not None:
                assert log.to_arrow(index=name).to_pydict() == {name: [5], "x": [1]}
            log.flush()

    @pytest.mark.parametrize(
        "keys",
        [[name] for name in RESERVED] + [list(RESERVED), ["time", "log.time", "wall", "log.wall"]],
        ids=lambda keys: keys[0] if len(keys) == 1 else f"{len(keys)} keys",
    )
    def test_no_two_columns_have_one_name(self, log: TrainingLogBase, keys: list[str]) -> None:
        """A key keeps its name, whatever that is; a column of our own gets another name."""
        log[1].update(dict.fromkeys(keys, 5))
        log[3].update(dict.fromkeys(keys, 7), other=1)
        for wall in (False, True):
            frame = log.to_dataframe(wall=wall)
            assert frame.index.to_list() == [1, 3]
            shown = [*keys, "other"]
            assert list(frame.columns)[wall:] == shown
            flat = frame.reset_index()
            assert len(set(flat.columns)) == len(shown) + 1 + wall
            for key in keys:
                assert frame[key].to_list() == [5, 7]
                assert frame.sort_values(key, ascending=False)[key].to_list() == [7, 5]
                assert flat[key].to_list() == [5, 7]
                series = log[:][key]
                assert series.to_dict() == {1: 5, 3: 7}
                assert len(series.reset_index().columns) == 2
                by_key = log.to_dataframe(index=key, wall=wall).reset_index()
                assert len(set(by_key.columns)) == len(shown) + wall
                assert by_key[key].to_list() == [5, 7]
            long = log.to_dataframe(layout="long", wall=wall)
            assert list(long.columns) == ["time", *(["wall"] if wall else []), "key", "value"]
            assert list(zip(long["time"], long["key"], long["value"], strict=True)) == [
                *((time, key, value) for key in keys for time, value in ((1, 5), (3, 7))),
                (3, "other", 1),
            ]  # fmt: skip
            if importlib.util.find_spec("pyarrow") is not None:
                table = log.to_arrow(wall=wall)
                assert table.column_names == list(flat.columns)
                assert table[0].to_pylist() == [1, 3]
                assert table.select(keys).to_pydict() == {key: [5, 7] for key in keys}
                assert log.to_arrow(index=keys[0], wall=wall).column_names == [
                    *log.to_dataframe(index=keys[0], wall=wall).reset_index().columns
                ]
        if "time" in keys:
            assert log.to_dataframe().index.name not in keys
        else:
            assert log.to_dataframe().index.name == "time"
        assert log.to_dataframe("other").index.name == "time"  # none of these keys is shown

    def test_an_empty_log_has_empty_wall_times(self, log: TrainingLogBase) -> None:
        assert str(log.to_dataframe(index="wall").index.dtype) == "datetime64[us, UTC]"
        assert log.to_dataframe(index="elapsed").index.dtype == np.float64
        assert log.to_dataframe(layout="long", wall=True).shape == (0, 4)

    def test_times_past_what_a_float_holds_are_exact(
        self, log: TrainingLogBase, open_log: OpenLog
    ) -> None:
        """A float cannot tell 2**53 from 2**53 + 1, so no time may ever become one."""
        times = [0, 2**53, 2**53 + 1, 2**53 + 2, 2**62 + 1, 2**63 - 2, 2**63 - 1]
        for number, time in enumerate(times):
            log[time]["x"] = number
            log[time]["n"] = time
            if number % 2:
                log[time]["gaps"] = float(number)
                log[time]["text"] = str(time)
            log.flush()
        for _ in range(3):
            assert list(log) == times
            frame = log.to_dataframe()
            assert frame.index.to_list() == times
            assert frame["gaps"].dropna().index.to_list() == times[1::2]
            assert frame["n"].to_list() == times
            long = log.to_dataframe(layout="long", wall=True)
            assert long["time"].to_list() == [*times, *times, *times[1::2], *times[1::2]]
            assert log.to_dataframe("x", index="n").index.to_list() == times
            assert log[:]["gaps"].index.to_list() == times[1::2]
            assert list(log[2**53 + 1 : 2**63 - 1]) == times[2:-1]
            assert log.to_dataframe(start=2**53 + 1, stop=2**53 + 2).index.to_list() == times[2:3]
            walls = log.to_dataframe(wall=True)["wall"]
            assert not walls.isna().any()
            assert walls.is_monotonic_increasing
            assert walls.to_list() == log.to_dataframe(index="wall").index.to_list()
            assert log.last("x") == (2**63 - 1, 6)
            assert log.best("gaps", mode="max") == (2**63 - 2, 5.0)
            assert log.best("n") == (0, 0)
            assert log.best("n", mode="max").value == 2**63 - 1
            if importlib.util.find_spec("pyarrow") is not None:
                assert log.to_arrow()["time"].to_pylist() == times
                assert log.to_arrow()["n"].to_pylist() == times
                table = log.to_arrow(layout="long", wall=True)
                assert table["time"].to_pylist() == long["time"].to_list()
            state = log.state_dict()
            assert state["time"] == 2**63 - 1
            log.close()
            log = open_log(log.uuid)
        log.resume(at=2**53 + 1)
        assert list(log) == times[:3]
        log[2**53 + 3]["x"] = 1
        log.resume(at=2**53 + 2)
        assert list(log) == times[:4][:3]
        assert [at for _, at in log.lineage()] == [2**53 + 2, 2**53 + 1, None]
        again = open_log()
        again.load_state_dict(state | {"time": 2**63 - 2})
        assert list(again) == times[:-1]

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


def _later(seconds: float = 0.02) -> float:
    """Sleep a little, and return a moment in the middle of that."""
    clock.sleep(seconds / 2)
    moment = clock.time()
    clock.sleep(seconds / 2)
    return moment
