"""Arrow tables: exact types, no copies, no pandas; and Parquet that is written some at a time."""

import math
import subprocess
import sys
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traininglog import MissingExtra, SQLiteLog, Store, TrainingLog, ValueTooLarge
from traininglog.arrays import content
from traininglog.clock import Clock, Marks
from traininglog.columns import Column
from traininglog.encoding import Kind
from traininglog.kinds import KINDS
from traininglog.selection import Selection
from traininglog.sql.runs.stream import stretches
from traininglog.sqlite.stream import streaming
from traininglog.testing.samples import same

pa = pytest.importorskip("pyarrow")

from pyarrow import parquet  # noqa: E402 - after it is known to be there

from traininglog import arrow  # noqa: E402

NAN = math.nan
BIG = 2**53 + 1  # the first integer that float64 does not hold


@pytest.fixture(params=["memory", "sqlite", "sealed"])
def log(request, tmp_path):
    """A new log; what holds for tables holds for every store, sealed or not."""
    with TrainingLog() if request.param == "memory" else SQLiteLog(tmp_path / "runs.db") as opened:
        if request.param == "sealed":
            original = opened._read_columns

            def read_columns(*args, **kwargs):
                opened.seal()
                return original(*args, **kwargs)

            opened._read_columns = read_columns
        yield opened


def fill(log, key, values, times=20):
    """Log the values over and over: so many that they are worth sealing."""
    for time in range(times):
        log[time][key] = values[time % len(values)]


# values of one key -> type of its column and what is in it, None for null
TYPES = [
    ([0.5, NAN, -math.inf], "double", [0.5, NAN, -math.inf]),
    ([-0.0, 0.5], "double", [-0.0, 0.5]),
    ([1, 2**63 - 1, -(2**63)], "int64", [1, 2**63 - 1, -(2**63)]),
    ([True, False], "bool", [True, False]),
    ([1, 2.5], "double", [1.0, 2.5]),
    ([1, None], "int64", [1, None]),
    ([BIG, None], "int64", [BIG, None]),
    ([0.5, None, NAN], "double", [0.5, None, NAN]),
    ([True, None], "bool", [True, None]),
    ([1, 2.5, None], "double", [1.0, 2.5, None]),
    ([None], "double", [None]),
    ([BIG, 0.5], "string", [str(BIG), "0.5"]),
    ([True, 1], "string", ["true", "1"]),
    ([1, "a"], "string", ["1", "a"]),
    (["a", None, "", "é\0漢"], "string", ["a", None, "", "é\0漢"]),
    (["\ud800"], "string", ["\\ud800"]),
    ([b"a\xff", None, b""], "binary", [b"a\xff", None, b""]),
    ([b"\xff", "a"], "string", ["/w==", "a"]),
    ([[1, None, NAN], {"a": b"\xff"}], "string", ['[1, null, "NaN"]', '{"a": "/w=="}']),
    ([datetime(2026, 1, 2, tzinfo=UTC)], "string", ["2026-01-02T00:00:00+00:00"]),
    ([np.arange(2.0), Path("/x")], "string", ["[0.0, 1.0]", "/x"]),
]


@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "with gaps"])
@pytest.mark.parametrize(("values", "type_", "shown"), TYPES)
def test_a_column_has_the_type_of_its_values(log, values, type_, shown, gaps):
    fill(log, "x", values)
    if gaps:
        log[99]["y"] = 1.0
    table = log.to_arrow()
    table.validate(full=True)
    assert str(table.schema.field("x").type) == type_
    expected = [shown[time % len(shown)] for time in range(20)] + [None] * gaps
    assert all(map(same, table["x"].to_pylist(), expected))
    assert table["time"].to_pylist() == [*range(20), *[99] * gaps]


def test_the_long_layout_has_one_schema_and_mixes_nothing_up(log):
    values = [0.5, NAN, None, 7, BIG, True, "NaN", b"\xff", [1, None], {}, datetime(2026, 1, 2)]
    fill(log, "x", values, len(values))
    fill(log, "y", [0.25], 3)
    table = log.to_arrow(layout="long")
    table.validate(full=True)
    label = "dictionary<values=string, indices=int32, ordered=0>"
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("time", "int64"), ("key", label), ("value", "double"), ("text", "string"),
        ("type", label),
    ]  # fmt: skip
    lines = [tuple(line.values()) for line in table.to_pylist()]
    assert math.isnan(lines[1][2])
    lines[1] = (1, "x", "NaN", None, "float")
    assert lines == [
        (0, "x", 0.5, None, "float"), (1, "x", "NaN", None, "float"), (2, "x", None, None, "none"),
        (3, "x", 7.0, None, "int"), (4, "x", float(BIG), str(BIG), "int"),
        (5, "x", 1.0, None, "bool"), (6, "x", None, "NaN", "text"), (7, "x", None, "/w==", "bytes"),
        (8, "x", None, "[1, null]", "json"), (9, "x", None, "{}", "json"),
        (10, "x", None, "2026-01-02T00:00:00", "datetime"),
        (0, "y", 0.25, None, "float"), (1, "y", 0.25, None, "float"), (2, "y", 0.25, None, "float"),
    ]  # fmt: skip
    assert log.to_arrow("y", layout="long").schema == table.schema
    assert TrainingLog().to_arrow(layout="long").schema == table.schema


def test_integers_past_2_to_the_53_have_their_digits_in_the_long_layout(log):
    fill(log, "n", [BIG, -BIG, 2**53])
    table = log.to_arrow(layout="long").to_pydict()
    assert table["text"][:3] == [str(BIG), str(-BIG), None]
    assert set(table["type"]) == {"int"}


def test_rows_and_arguments_are_those_of_a_frame(log):
    for time in range(1, 7):
        log[time].update({"train/loss": 1 / time, "train/acc": time / 10})
    log[4]["epoch"], log[2]["epoch"] = 2, 1
    for arguments in (
        {}, {"keys": "train/*"}, {"keys": ["epoch", "train/loss"], "start": 5}, {"stop": 3},
        {"index": "epoch"}, {"keys": "train/acc", "index": "epoch"}, {"keys": []},
        {"keys": "epoch", "start": 5, "index": "epoch"}, {"start": 9},
    ):  # fmt: skip
        frame = log.to_dataframe(**arguments)
        table = log.to_arrow(**arguments)
        assert table.column_names == [frame.index.name, *frame.columns], arguments
        back = table.to_pandas().set_index(frame.index.name)
        assert back.index.to_list() == frame.index.to_list()
        for key in frame.columns:
            np.testing.assert_array_equal(back[key].astype(float), frame[key].astype(float))
    for arguments in ({"keys": "los"}, {"index": "los"}):
        with pytest.raises(KeyError, match="train/loss"):
            log.to_arrow(**arguments)
    for arguments in ({"layout": "tall"}, {"layout": "long", "index": "epoch"}, {"start": -1}):
        with pytest.raises(ValueError):  # noqa: PT011 - whatever the frame says
            log.to_arrow(**arguments)


def test_an_empty_log_gives_empty_tables(log):
    assert log.to_arrow().shape == (0, 1)
    assert log.to_arrow(layout="long").shape == (0, 5)


def address(array):
    return array.chunk(0).buffers()[1].address


def test_arrays_are_handed_over_without_a_copy():
    times, floats = np.arange(100_000), np.linspace(0.0, 1.0, 100_000)
    ints = times[::-1].copy()
    columns = [Column("x", times, floats), Column("n", times, ints)]
    table = arrow.wide(Selection(columns, None, "time", "time", None, wall=False))
    for name, array in (("time", times), ("x", floats), ("n", ints)):
        assert address(table[name]) == array.ctypes.data
    table = arrow.long(columns)
    assert address(table["time"]) == times.ctypes.data
    assert address(table["value"]) == floats.ctypes.data


NO_PANDAS = """
import sys
from traininglog import SQLiteLog, Store, TrainingLog
for log in (TrainingLog(), SQLiteLog(sys.argv[1])):
    for t in range(50):
        log[t].update(x=t / 2, n=t, good=True, text="a", none=None, raw=b"b", mixed=[t])
    log[60]["x"] = 1.0
    for index in ("time", "wall", "elapsed", "n"):
        log.to_arrow(index=index, wall=True)
    log.to_arrow(layout="long", wall=True)
    log.close()
with Store(sys.argv[1]) as store:
    store.to_arrow()
    store.to_arrow(layout="wide")
assert "pyarrow" in sys.modules and "pandas" not in sys.modules
"""


def test_no_pandas_is_imported_for_it(tmp_path):
    subprocess.run([sys.executable, "-c", NO_PANDAS, tmp_path / "runs.db"], check=True)


def test_without_pyarrow_the_extra_is_named(tmp_path):
    script = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from traininglog import MissingExtra, TrainingLog\n"
        "try:\n    TrainingLog().to_arrow()\n"
        "except MissingExtra as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert 'pip install "traininglog[parquet]"' in done.stdout
    assert issubclass(MissingExtra, ImportError)


def test_more_text_than_an_array_can_hold_is_said(monkeypatch):
    monkeypatch.setattr(arrow, "_LONGEST", 100)
    log = TrainingLog()
    log[1]["x"] = "x" * 100
    assert log.to_arrow()["x"].to_pylist() == ["x" * 100]
    log[2]["x"] = "y"
    with pytest.raises(ValueTooLarge, match="start and stop"):
        log.to_arrow()


# -- many runs ------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    """A store of four runs: of floats, a variant, of ints and others, and one without rows."""
    path = tmp_path / "runs.db"
    with SQLiteLog(path) as log:
        for time in range(100):
            log[time].update(loss=1 / (time + 1), n=time)
        uuid = log.uuid
    with SQLiteLog(path, uuid=uuid) as log:
        log.resume(at=50, variant=True)
        log[51]["loss"] = NAN
        del log[3]["n"]
    with SQLiteLog(path, seal=False) as log:
        for time in range(30):
            log[time].update(loss=time, text="a")
        log[30]["loss"] = None
    SQLiteLog(path).close()
    with Store(path) as opened:
        yield opened


def test_many_runs_as_one_table(store):
    frame = store.to_dataframe()
    table = store.to_arrow()
    table.validate(full=True)
    assert table.column_names == ["run", "time", "key", "value", "text", "type", "own"]
    for name in ("run", "time", "key", "own"):
        assert table[name].to_pylist() == frame[name].to_list()
    kinds = table["type"].to_pylist()
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "float": 152, "int": 180, "text": 30, "none": 1,
    }  # fmt: skip
    first = store.runs(heads=False)["uuid"][0]
    assert store.to_arrow([first[:8]], "n", start=5, stop=7).to_pylist() == [
        {
            "run": first,
            "time": time,
            "key": "n",
            "value": time,
            "text": None,
            "type": "int",
            "own": True,
        }
        for time in (5, 6)
    ]
    own = store.to_arrow(keys="loss", lineage=False)
    assert len(own) == 100 + 1 + 31
    with pytest.raises(KeyError, match="'loss'"):
        store.to_arrow(keys="los")
    with pytest.raises(ValueError, match="layout"):
        store.to_arrow(layout="tall")


def test_many_runs_as_one_wide_table(store):
    frame = store.to_dataframe(layout="wide")
    table = store.to_arrow(layout="wide")
    table.validate(full=True)
    assert table.column_names == ["run", "time", "loss", "n", "text"]
    assert [str(type_) for type_ in table.schema.types[1:]] == [
        "int64", "double", "int64", "string",
    ]  # fmt: skip
    assert list(zip(table["run"].to_pylist(), table["time"].to_pylist(), strict=True)) == (
        frame.index.to_list()
    )
    np.testing.assert_array_equal(table["loss"].to_pandas(), frame["loss"].astype(float))
    assert table["n"].null_count == 31 + 1 + 1


# -- a part after the other -----------------------------------------------------------------


@given(
    pieces=st.lists(
        st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.integers(1, 5000)),
        max_size=8,
    ),
    bounds=st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1)),
    most=st.integers(1, 500),
)
def test_stretches_cover_every_time_once(pieces, bounds, most):
    pieces = [(min(a, b), max(a, b), size) for a, b, size in pieces]
    low, high = sorted(bounds)
    found = stretches(pieces, low, high, most)
    assert found[0][0] == low
    assert found[-1][1] == high
    assert all(one[1] + 1 == other[0] for one, other in pairwise(found))
    assert all(first <= last for first, last in found)


def test_a_stretch_holds_no_more_than_it_should():
    pieces = [(start, start + 999, 1000) for start in range(0, 100_000, 1000)] * 5
    found = stretches(pieces, 0, 2**63 - 1, 10_000)
    assert len(found) == 50
    assert all(last - first < 2001 for first, last in found[:-1])


VALUES = st.one_of(
    st.floats(), st.integers(-5, 5), st.just(BIG), st.booleans(), st.none(), st.just("text")
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 60), st.sampled_from("abc"), VALUES),
        st.tuples(st.just("fill"), st.integers(0, 60), st.sampled_from("abc"), VALUES),
        st.tuples(st.just("delete"), st.integers(0, 60), st.sampled_from("abc"), st.none()),
        st.tuples(st.just("resume"), st.integers(0, 60), st.none(), st.none()),
        st.tuples(st.just("seal"), st.none(), st.none(), st.none()),
    ),
    max_size=12,
)


@given(
    steps=STEPS, most=st.integers(1, 100), bounds=st.tuples(st.integers(0, 70), st.integers(0, 70))
)
def test_what_a_stream_gives_and_foretells_is_what_is_there(tmp_path_factory, steps, most, bounds):
    path = tmp_path_factory.mktemp("stream") / "runs.db"
    start, stop = sorted(bounds)
    with SQLiteLog(path) as log:
        for act, time, key, value in steps:
            if act == "set":
                log[time][key] = value
            elif act == "fill":
                for more in range(time, time + 20):
                    log[more][key] = value
            elif act == "delete":
                log[time].pop(key, None)
            elif act == "resume":
                log.resume(at=time)
            else:
                log.seal()
        log.flush()
        expected = {
            column.key: column for column in log._read_columns(None, start, stop, lineage=True)
        }
        with (
            Store(path) as store,
            streaming(store, [log.uuid], None, start, stop, most=most) as stream,
        ):
            contents = stream.contents()
            parts = list(stream.parts())
            assert len(parts) == len(stream)
        assert list(contents) == list(expected)
        for key, column in expected.items():
            times, values = [], []
            for run, columns in parts:
                assert run == log.h_uuid
                for part in columns:
                    if part.key == key:
                        times += part.times
                        values += part.values
            assert times == column.times
            assert all(map(same, values, column.values))
            known, real = contents[key], content(column)
            assert known.kinds - {"none"} == real.kinds - {"none"}
            if {"float", "int"} <= real.kinds:
                assert known.big == real.big


def test_parquet_is_written_a_row_group_at_a_time(store, tmp_path, monkeypatch):
    monkeypatch.setattr(arrow, "_ROW_GROUP", 100)
    monkeypatch.setattr(arrow, "_CHUNK", 30)
    for long in (True, False):
        path = tmp_path / f"{long}.parquet"
        with streaming(store, most=50) as stream:
            shape = (
                arrow.Long(with_run=True, shares=stream.shares())
                if long
                else arrow.Wide(stream.contents(), with_run=True)
            )
            arrow.write_parquet(path, stream.parts(), shape)
        file = parquet.ParquetFile(path)
        assert file.num_row_groups > 2
        assert all(
            file.metadata.row_group(number).num_rows <= 150 for number in range(file.num_row_groups)
        )
        found = parquet.read_table(path)
        expected = store.to_arrow(layout="long" if long else "wide")
        assert found.schema.equals(expected.schema)
        order = [(name, "ascending") for name in ("run", "time", *(["key"] if long else []))]
        one, other = (
            table.cast(pa.schema([
                (field.name, pa.string() if pa.types.is_dictionary(field.type) else field.type)
                for field in table.schema
            ])).sort_by(order).to_pylist()
            for table in (found, expected)
        )  # fmt: skip
        assert all(
            same(list(a.values()), list(b.values())) for a, b in zip(one, other, strict=True)
        )


# -- wall time ------------------------------------------------------------------------------


@given(
    times=st.lists(st.integers(0, 40), unique=True, max_size=20).map(sorted),
    runs=st.lists(
        st.tuples(
            st.integers(-1, 40), st.lists(st.integers(0, 40), unique=True, max_size=6).map(sorted)
        ),
        max_size=4,
    ),
)
def test_a_row_has_the_wall_time_of_the_first_mark_at_or_after_it(times, runs):
    runs = [
        Marks(cut, marks, [100.0 * number + mark for mark in marks])
        for number, (cut, marks) in enumerate(sorted(runs, key=lambda run: run[0]))
    ]

    def expected(time):
        for run in runs:  # from the root on, the first that is seen there and had got so far
            marks = [wall for at, wall in zip(run.times, run.walls, strict=True) if at >= time]
            if time <= run.cut and marks:
                return marks[0]
        return NAN

    clock = Clock(50.0, runs)
    assert same(clock.walls(times).tolist(), list(map(expected, times)))
    assert same(clock.elapsed(times).tolist(), [expected(time) - 50.0 for time in times])
    assert np.isnan(Clock(None, runs).elapsed(times)).all()


def test_kinds_have_the_same_names_in_a_file_and_in_a_table():
    assert {kind.name.lower() for kind in Kind if kind} == set(KINDS)


@pytest.mark.parametrize("start", [0, 2**53 - 7, 2**53, 2**60, 2**63 - 1 - 200])
def test_stretches_of_times_past_what_a_float_holds(start):
    """Each time is in one of them, and none has much more than it may."""
    pieces = [
        (start, start + 99, 100),
        (start + 100, start + 149, 100),
        (start + 120, start + 120, 9),
    ]
    found = stretches(pieces, start, 2**63 - 1, 50)
    assert [first for first, _ in found[1:]] == [last + 1 for _, last in found[:-1]]
    assert (found[0][0], found[-1][1]) == (start, 2**63 - 1)
    assert len(found) == 5
    assert found[0] == (start, start + 40)
    apart = [(0, 0, 100), (start, start, 100), (2**63 - 1, 2**63 - 1, 100)]
    found = stretches(apart, 0, 2**63 - 1, 100)
    assert [first for first, _ in found[1:]] == [last + 1 for _, last in found[:-1]]
    assert (found[0][0], found[-1][1]) == (0, 2**63 - 1)


def test_a_slice_of_rows_is_a_table_of_its_own(tmp_path):
    with SQLiteLog(tmp_path / "runs.db") as log:
        for time in range(6):
            log[time].update(loss=time / 2, other=1)
        log.flush()
        assert log[2:4].to_arrow("loss").to_pylist() == [
            {"time": 2, "loss": 1.0}, {"time": 3, "loss": 1.5}
        ]  # fmt: skip
        for options in ({"wall": True}, {"layout": "long", "wall": True}, {"index": "elapsed"}):
            part, whole = log[2:4].to_arrow(**options), log.to_arrow(start=2, stop=4, **options)
            assert part == whole
