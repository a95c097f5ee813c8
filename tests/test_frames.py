"""Frames: exact dtypes, and no confusion of what is absent, None and NaN."""

import copy
import math
import sqlite3
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from traininglog import SQLiteLog, TrainingLog
from traininglog.columns import union

NAN = float("nan")
BIG = 2**53 + 1  # the first integer that float64 does not hold


@pytest.fixture(params=["memory", "sqlite", "flushed"])
def log(request, tmp_path):
    """A new log; what holds for frames holds for every store, flushed or not."""
    with TrainingLog() if request.param == "memory" else SQLiteLog(tmp_path / "runs.db") as opened:
        if request.param == "flushed":
            original = opened._read_columns

            def read_columns(*args, **kwargs):
                opened.flush()
                return original(*args, **kwargs)

            opened._read_columns = read_columns
        yield opened


def fill(log, key, values, start=1):
    for time, value in enumerate(values, start):
        log[time][key] = value


def items(series):
    """Return values with their types, in a form in which NaN equals NaN."""
    shown = []
    for value in series.tolist():
        kind = next((kind for kind in (list, dict) if isinstance(value, kind)), type(value))
        shown.append((kind, repr(value) if kind in (list, dict, float) else value))
    return shown


# values of one key at consecutive times -> dtype of the column and what is in it
FULL = [
    ([0.5, NAN, math.inf], "float64", [0.5, NAN, math.inf]),
    ([1, 2, BIG], "int64", [1, 2, BIG]),
    ([2**63 - 1, -(2**63)], "int64", [2**63 - 1, -(2**63)]),
    ([True, False], "bool", [True, False]),
    ([1, 2.5], "float64", [1.0, 2.5]),
    ([1, None], "float64", [1.0, NAN]),
    ([0.5, None], "float64", [0.5, NAN]),
    ([BIG, 0.5], "object", [BIG, 0.5]),
    ([BIG, None], "object", [BIG, None]),
    ([True, None], "object", [True, None]),
    ([True, 1], "object", [True, 1]),
    ([True, 0.5], "object", [True, 0.5]),
    ([1, "a"], "object", [1, "a"]),
    ([None, None], "object", [None, None]),
    ([[1, 2], [3]], "object", [[1, 2], [3]]),
    ([[1, 2], [3, 4]], "object", [[1, 2], [3, 4]]),
    ([{"a": 1}, {}], "object", [{"a": 1}, {}]),
    ([b"a", b"b"], "object", [b"a", b"b"]),
]


@pytest.mark.parametrize(("values", "dtype", "shown"), FULL)
def test_a_column_without_gaps_has_the_dtype_of_its_values(log, values, dtype, shown):
    fill(log, "x", values)
    frame = log.to_dataframe()
    assert str(frame["x"].dtype) == dtype
    assert items(frame["x"]) == items(pd.Series(shown, dtype=object))
    assert frame.index.dtype == np.int64
    assert frame.index.name == "time"
    series = log[:]["x"]
    assert str(series.dtype) == dtype
    assert series.name == "x"
    assert items(series) == items(frame["x"])
    assert series.index.equals(frame.index)


GAPS = [
    ([0.5, NAN], "float64", [0.5, NAN, NAN]),
    ([1, 2], "float64", [1.0, 2.0, NAN]),
    ([2**53, -(2**53)], "float64", [2.0**53, -(2.0**53), NAN]),
    ([1, BIG], "Int64", [1, BIG, pd.NA]),
    ([True, False], "boolean", [True, False, pd.NA]),
    ([None, 1], "float64", [NAN, 1.0, NAN]),
    ([1, "a"], "object", [1, "a", NAN]),
    ([[1, 2], [3]], "object", [[1, 2], [3], NAN]),
]


@pytest.mark.parametrize(("values", "dtype", "shown"), GAPS)
def test_a_column_with_a_gap_is_still_exact(log, values, dtype, shown):
    fill(log, "x", values)
    log[9]["other"] = 1.0
    frame = log.to_dataframe()
    assert str(frame["x"].dtype) == dtype
    assert items(frame["x"]) == items(pd.Series(shown, dtype=object))
    assert list(frame.columns) == ["x", "other"]


def test_texts_and_dates_come_as_pandas_has_them(log):
    fill(log, "text", ["a", "b\0c", ""])
    fill(log, "date", [datetime(2024, 1, 2, 3, 4, 5, 6)] * 3)
    fill(log, "aware", [datetime(2024, 1, 2, tzinfo=UTC)] * 3)
    frame = log.to_dataframe()
    assert frame["text"].to_list() == ["a", "b\0c", ""]
    assert frame["text"].dtype == pd.DataFrame({"x": ["a"]})["x"].dtype
    assert frame["date"].dtype.kind == "M"
    assert frame["date"].to_list() == [datetime(2024, 1, 2, 3, 4, 5, 6)] * 3
    assert frame["aware"].to_list() == [datetime(2024, 1, 2, tzinfo=UTC)] * 3


def test_arrays_stay_arrays(log):
    log[1]["weights"] = np.arange(3.0)
    log[2]["weights"] = np.arange(3.0) * 2
    log[3]["loss"] = 1.0
    for column in (log.to_dataframe()["weights"], log[:3]["weights"]):
        assert column.dtype == object
        assert isinstance(column[1], np.ndarray)
        assert column[2].tolist() == [0.0, 2.0, 4.0]


# -- the long layout ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        [None, NAN, 1.0],
        ["a", None],
        ["a", NAN, None, "b"],
        [datetime(2024, 1, 1), None],
        [datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC)],
        [None, None],
        [None, NAN],
        [1, 1.0, True, "1", b"1"],
        [BIG, 0.5, None],
        [2**63 - 1, None],
        [[None], [NAN, 1]],
        [{"a": None}],
    ],
)
def test_the_long_layout_tells_every_value_from_every_other(log, values):
    fill(log, "x", values)
    log[99]["other"] = "present"  # so that x is absent at a time
    frame = log.to_dataframe(layout="long")
    assert list(frame.columns) == ["time", "key", "value"]
    assert frame["time"].dtype == np.int64
    assert str(frame["key"].dtype) == "category"
    assert items(frame["value"]) == items(pd.Series([*values, "present"], dtype=object))
    assert frame["time"].to_list() == [*range(1, len(values) + 1), 99]
    own = log.to_dataframe("x", layout="long")
    assert items(own["value"]) == items(pd.Series(values, dtype=object))


@pytest.mark.parametrize(
    ("values", "dtype"), [([0.5, NAN], "float64"), ([1, BIG], "int64"), ([True, False], "bool")]
)
def test_the_long_layout_of_one_type_of_number_has_its_dtype(log, values, dtype):
    fill(log, "x", values)
    assert str(log.to_dataframe(layout="long")["value"].dtype) == dtype


def test_the_long_layout_goes_by_key_and_then_by_time(log):
    log[3]["b"] = 3
    log[1]["b"], log[1]["a"] = 1, 1
    frame = log.to_dataframe(layout="long")
    assert list(zip(frame["key"], frame["time"], strict=True)) == [("b", 1), ("b", 3), ("a", 1)]
    assert frame["key"].cat.categories.to_list() == ["b", "a"]


# -- what to take ---------------------------------------------------------------------------


@pytest.fixture
def curves(log):
    for t in range(1, 7):
        log[t].update({"train/loss": 1 / t, "train/acc": t / 10})
        if t % 2 == 0:
            log[t]["test/loss"] = 2 / t
    log[4]["epoch"] = 2
    log[2]["epoch"] = 1
    return log


def test_keys_are_names_and_globs_in_the_order_asked_for(curves):
    def columns(keys):
        return list(curves.to_dataframe(keys).columns)

    assert columns(None) == ["train/loss", "train/acc", "test/loss", "epoch"]
    assert columns("train/loss") == ["train/loss"]
    assert columns(["test/loss", "train/loss"]) == ["test/loss", "train/loss"]
    assert columns("train/*") == ["train/loss", "train/acc"]
    assert columns(["*loss", "epoch", "train/loss"]) == ["train/loss", "test/loss", "epoch"]
    assert columns(["t[er]*/loss", "?poch"]) == ["train/loss", "test/loss", "epoch"]
    assert columns("nothing*") == []
    assert columns([]) == []
    assert columns(iter(["epoch"])) == ["epoch"]


def test_a_key_that_looks_like_a_glob_is_taken_by_its_name(log):
    log[1].update({"a*": 1, "ab": 2, "[x]": 3})
    assert list(log.to_dataframe("a*").columns) == ["a*"]
    assert list(log.to_dataframe("[x]").columns) == ["[x]"]


def test_a_name_that_is_not_there_is_a_key_error_that_lists_what_is(curves):
    for act in (
        lambda: curves.to_dataframe("train/los"),
        lambda: curves.to_dataframe(index="train/los"),
        lambda: curves[:]["train/los"],
        lambda: curves.last("train/los"),
    ):
        with pytest.raises(KeyError, match="train/loss"):
            act()
    with pytest.raises(TypeError):
        curves.to_dataframe([3])
    with pytest.raises(ValueError, match="layout"):
        curves.to_dataframe(layout="tall")
    with pytest.raises(ValueError, match="index"):
        curves.to_dataframe(layout="long", index="epoch")


def test_a_name_that_is_not_there_is_a_key_error_in_the_long_layout_too(curves):
    with pytest.raises(KeyError, match="train/loss"):
        curves.to_dataframe(["epoch", "train/los"], layout="long")


def test_start_and_stop_bound_the_times(curves):
    assert list(curves.to_dataframe(start=2, stop=5).index) == [2, 3, 4]
    assert list(curves.to_dataframe(start=5).index) == [5, 6]
    assert list(curves.to_dataframe(stop=2).index) == [1]
    assert list(curves.to_dataframe(start=5, stop=5).index) == []
    assert list(curves.to_dataframe(start=5, stop=2).index) == []
    assert curves[2:5].to_dataframe().equals(curves.to_dataframe(start=2, stop=5))
    assert curves.to_dataframe(start=2, stop=5, layout="long")["time"].max() == 4
    for wrong in (-1, 1.5, "1", True):
        with pytest.raises(ValueError, match="time"):
            curves.to_dataframe(start=wrong)


def test_a_row_is_there_only_if_one_of_the_columns_has_a_value(curves):
    assert list(curves.to_dataframe("test/loss").index) == [2, 4, 6]
    assert list(curves.to_dataframe(["test/loss", "epoch"]).index) == [2, 4, 6]


def test_a_known_key_without_a_value_in_the_range_is_a_column_of_missing(curves):
    frame = curves.to_dataframe(["train/loss", "epoch"], start=5)
    assert list(frame.columns) == ["train/loss", "epoch"]
    assert frame["epoch"].isna().all()
    assert len(frame) == 2


def test_any_key_can_be_the_index(curves):
    frame = curves.to_dataframe(index="epoch")
    assert frame.index.name == "epoch"
    assert frame.index.to_list() == [1, 2]
    assert frame.index.dtype == np.int64
    assert list(frame.columns) == ["train/loss", "train/acc", "test/loss"]
    assert frame.loc[2, "test/loss"] == 0.5
    assert list(curves.to_dataframe("*loss", index="epoch").columns) == ["train/loss", "test/loss"]
    assert list(curves.to_dataframe(["epoch", "train/acc"], index="epoch").columns) == ["train/acc"]
    by_loss = curves.to_dataframe(index="train/loss")
    assert by_loss.index.to_list() == [1 / t for t in range(1, 7)]


def test_an_index_without_a_value_in_the_range_leaves_no_row(curves):
    frame = curves.to_dataframe(start=5, index="epoch")
    assert len(frame) == 0
    assert frame.index.name == "epoch"
    assert list(frame.columns) == ["train/loss", "train/acc", "test/loss"]
    frame = curves.to_dataframe("train/loss", start=5, index="epoch")
    assert len(frame) == 0
    assert list(frame.columns) == ["train/loss"]
    assert len(curves.to_dataframe("epoch", start=9, index="epoch")) == 0


def test_an_empty_log_gives_empty_frames(log):
    wide = log.to_dataframe()
    assert wide.shape == (0, 0)
    assert wide.index.name == "time"
    assert wide.index.dtype == np.int64
    long = log.to_dataframe(layout="long")
    assert long.shape == (0, 3)
    assert list(long.columns) == ["time", "key", "value"]
    assert long["time"].dtype == np.int64
    with pytest.raises(KeyError, match="none yet"):
        log[:]["loss"]
    with pytest.raises(KeyError):
        log.to_dataframe(index="loss")


# -- series ---------------------------------------------------------------------------------


def test_a_slice_by_key_is_a_series_over_time(curves):
    series = curves[2:5]["test/loss"]
    assert isinstance(series, pd.Series)
    assert series.to_dict() == {2: 1.0, 4: 0.5}
    assert series.name == "test/loss"
    assert series.index.name == "time"
    assert series.index.dtype == np.int64
    empty = curves[5:6]["epoch"]
    assert len(empty) == 0
    assert empty.dtype == np.float64
    assert empty.index.dtype == np.int64


def test_a_frame_is_the_callers_own(curves):
    frame = curves.to_dataframe()
    frame.loc[:, "train/loss"] = 0.0
    series = curves[:]["train/loss"]
    series.iloc[:] = 0.0
    assert curves[1]["train/loss"] == 1.0
    assert curves.to_dataframe()["train/loss"].to_list() == [1 / t for t in range(1, 7)]


# -- wall time ------------------------------------------------------------------------------


def test_where_no_mark_was_kept_the_wall_time_is_missing(tmp_path):
    with SQLiteLog(tmp_path / "runs.db") as log:
        log[1]["x"] = 1
        log.flush()
        log[2]["x"] = 2
        uuid = log.uuid
    connection = sqlite3.connect(tmp_path / "runs.db")
    connection.execute("DELETE FROM marks WHERE time = 2")
    connection.commit()
    with SQLiteLog(tmp_path / "runs.db", uuid, readonly=True) as log:
        assert log.to_dataframe(index="wall").index.isna().tolist() == [False, True]
    connection.execute("DELETE FROM marks")
    connection.commit()
    connection.close()
    with SQLiteLog(tmp_path / "runs.db", uuid, readonly=True) as log:
        frame = log.to_dataframe(wall=True)
        assert frame["wall"].isna().all()
        assert str(frame["wall"].dtype) == "datetime64[us, UTC]"
        assert log.to_dataframe(index="elapsed").index.isna().all()
        assert log.to_dataframe(layout="long", wall=True)["wall"].isna().all()
        pytest.importorskip("pyarrow")
        assert log.to_arrow(wall=True)["wall"].to_pylist() == [None, None]
        assert log.to_arrow(index="elapsed")["elapsed"].to_pylist() == [None, None]


def test_an_unpickled_log_that_is_not_in_the_file_yet_has_wall_times(tmp_path):
    with SQLiteLog(tmp_path / "runs.db") as log:
        log[1]["x"] = 1
        log.flush()
        walls = log.to_dataframe(index="wall").index
        with copy.deepcopy(log) as other:
            assert other.to_dataframe(index="wall").index.equals(walls)
            assert other.to_dataframe(index="elapsed", lineage=False).empty


# -- lineage and order ----------------------------------------------------------------------


def test_a_resumed_log_is_one_curve_and_its_own_part_can_be_had(curves):
    curves.resume(at=3)
    curves[4]["train/loss"] = 0.0
    curves[5]["new"] = 1
    del curves[2]["epoch"]
    whole = curves.to_dataframe()
    assert list(whole.index) == [1, 2, 3, 4, 5]
    assert whole["train/loss"].to_list()[:4] == [1.0, 0.5, 1 / 3, 0.0]
    assert "epoch" not in whole
    own = curves.to_dataframe(lineage=False)
    assert list(own.index) == [4, 5]
    assert list(own.columns) == ["train/loss", "new"]
    assert curves.to_dataframe(layout="long", lineage=False).to_numpy().tolist() == [
        [4, "train/loss", 0.0],
        [5, "new", 1],
    ]


def test_rows_come_by_time_and_columns_as_first_written(log):
    for time in (5, 1, 9, 3):
        log[time][f"k{time}"] = time
        log[time]["all"] = time
    frame = log.to_dataframe()
    assert list(frame.index) == [1, 3, 5, 9]
    assert list(frame.columns) == ["k5", "all", "k1", "k9", "k3"]
    assert frame["all"].to_list() == [1, 3, 5, 9]


def test_times_up_to_the_last_one_fit(log):
    log[0]["x"] = 0
    log[2**63 - 1]["x"] = 1
    assert log.to_dataframe().index.to_list() == [0, 2**63 - 1]
    assert log.to_dataframe(stop=2**63 - 1).index.to_list() == [0]


def test_pandas_takes_a_log_in_memory_for_a_dict():
    log = TrainingLog()
    log[2].update(a=2, b=0.5)
    log[1]["a"] = 1
    frame = pd.DataFrame.from_dict(log, orient="index")
    assert frame.index.to_list() == [1, 2]
    assert frame["a"].to_list() == [1, 2]
    assert frame["b"].isna().to_list() == [True, False]
    assert pd.DataFrame.from_dict(dict(log), orient="index").equals(frame)


def test_last_and_best_are_points(curves):
    assert curves.last("test/loss") == (6, 2 / 6)
    assert curves.best("train/acc", "max") == (6, 0.6)
    assert curves.best("train/loss") == (6, 1 / 6)
    assert curves.last("epoch").value == 2


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([[1, 2], [1, 2]], [1, 2]),
        ([[0, 1, 2], [1, 2], [1, 2]], [0, 1, 2]),
        ([[5], [1, 9], [], [5, 7]], [1, 5, 7, 9]),
    ],
)
@pytest.mark.parametrize("kind", [list, lambda part: np.array(part, np.int64)])
def test_the_times_of_columns_are_put_together_in_order_and_once(parts, expected, kind):
    assert list(union([kind(part) for part in parts])) == expected
