"""A NaN keeps its 64 bits: its sign and its payload come back from wherever a log may be."""

import contextlib
import signal
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traininglog import CorruptLog, SQLiteLog, Store, TrainingLog
from traininglog.encoding import Kind, decode, encode, fits
from traininglog.floats import NAN, from_text, to_text
from traininglog.jsonfile.document import Document
from traininglog.jsonfile.log import FileLog
from traininglog.sqlite.repair.repair import repair
from traininglog.testing.samples import NANS

VALUES = [NAN, *NANS, 0.5]


def bits(value):
    return struct.pack(">d", value).hex()


def all_bits(values):
    return [bits(value) for value in values]


WANTED = all_bits(VALUES)

nans = st.integers(1, 2**52 - 1).map(
    lambda payload: struct.unpack(">d", (0x7FF0000000000000 | payload).to_bytes(8, "big"))[0]
)


def fill(log, times=1):
    """Assign the values singly, in rows, in containers, and to the status."""
    for at in range(times * len(VALUES)):
        value = VALUES[at % len(VALUES)]
        log[at]["single"] = value
        log[at].update(first=value, second=1.0)
        log[at].update(mixed=value, text="t")
        log[at]["list"] = [value, {"x": value}]
    log.status["value"] = VALUES[1]
    log.status["values"] = VALUES


def check(log, times=1):
    wanted = WANTED * times
    for key in ("single", "first", "mixed"):
        assert all_bits(log[at][key] for at in range(len(wanted))) == wanted
        assert all_bits(log[:][key].to_numpy()) == wanted
    assert all_bits(log[at]["list"][0] for at in range(len(wanted))) == wanted
    assert all_bits(log[at]["list"][1]["x"] for at in range(len(wanted))) == wanted
    assert all_bits(log.to_dataframe(["single"])["single"]) == wanted
    assert bits(log.status["value"]) == WANTED[1]
    assert all_bits(log.status["values"]) == WANTED


@given(nans | st.floats())
def test_a_float_has_a_text_and_a_stored_form_that_are_exact(value):
    for one in (value, -value):
        assert bits(from_text(to_text(one))) == bits(one)
        kind, stored = encode(one)
        assert kind == Kind.FLOAT
        assert fits(kind, stored)
        with contextlib.closing(sqlite3.connect(":memory:")) as connection:
            (back,) = connection.execute("SELECT ?", [stored]).fetchone()
        assert bits(decode(kind, back)) == bits(one)


def test_the_usual_nan_stays_cheap_and_as_it_was():
    assert to_text(NAN) == "nan"
    assert all_bits([encode(NAN)[1]]) == all_bits([NAN])
    assert bits(decode(Kind.FLOAT, None)) == bits(NAN)


@pytest.mark.parametrize(
    "text",
    ["nan:", "nan:7ff8000000000000", "nan:3ff0000000000000", "nan:FFF8000000000000", "nan:xyz",
     "nan: fff8000000000000", "nan", "0.5"],
)  # fmt: skip
def test_what_is_no_text_of_another_nan_is_damage(text):
    assert not fits(Kind.FLOAT, text)
    with pytest.raises(CorruptLog):
        decode(Kind.FLOAT, text)


@contextlib.contextmanager
def opened(where, uuid=None):
    """Give a log in memory, in a database or in a JSON document."""
    if where.name == "memory":
        yield TrainingLog()
    elif where.suffix == ".db":
        with SQLiteLog(where, uuid) as log:
            yield log
    else:
        with FileLog(Document(where, readonly=False), uuid) as log:
            yield log


@pytest.mark.parametrize("name", ["memory", "runs.db", "runs.json"])
def test_every_store_keeps_it(tmp_path, name):
    with opened(tmp_path / name) as log:
        fill(log)
        check(log)  # as it was put into the journal
        log.flush()
        check(log)  # as it is stored, in rows
        if name == "memory":
            return
    with opened(tmp_path / name, log.uuid) as again:
        check(again)


def test_so_do_segments_and_what_is_made_rows_again(tmp_path):
    path = tmp_path / "runs.db"
    with SQLiteLog(path) as log:
        fill(log, 20)
        log.flush()
        log.seal()
        check(log, 20)
        log[0]["single"] = VALUES[0]  # an entry over a segment
        check(log, 20)
        log.flush()
        check(log, 20)
    with Store(path) as store:
        assert store.check().problems == []
        with store.log(log.uuid) as again:
            check(again, 20)


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from traininglog import SQLiteLog
from test_nan import fill
log = SQLiteLog(sys.argv[1])
print(log.h_uuid, flush=True)
fill(log)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_recovery_puts_it_back(tmp_path):
    path = tmp_path / "runs.db"
    script = KILLED.format(tests=str(Path(__file__).parent))
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    with SQLiteLog(path, done.stdout.strip(), readonly=True) as log:
        check(log)


def test_a_merge_a_backup_and_a_repair_keep_it(tmp_path):
    path, other, copy = tmp_path / "runs.db", tmp_path / "other.db", tmp_path / "copy.db"
    with SQLiteLog(path) as log:
        fill(log)
    with SQLiteLog(path) as sealed:
        fill(sealed, 20)
    with Store(path) as store:
        store.backup(copy)
    with Store(other, create=True) as store:
        store.merge(path)
        assert store.check().problems == []
    with contextlib.closing(sqlite3.connect(path)) as connection:
        ((page,),) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'trials_by_hash'"
        ).fetchall()
        ((size,),) = connection.execute("PRAGMA page_size").fetchall()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    repair(path, tmp_path / "repaired.db")
    for where in (copy, other, tmp_path / "repaired.db"):
        for run, times in ((log, 1), (sealed, 20)):
            with SQLiteLog(where, run.uuid, readonly=True) as again:
                check(again, times)


def test_arrow_and_parquet_have_it(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    with SQLiteLog(tmp_path / "runs.db") as log:
        fill(log)
        log.flush()
        table = log.to_arrow(["single"])
        assert table["single"].null_count == 0
        assert all_bits(table["single"].to_numpy()) == WANTED
        parquet.write_table(table, tmp_path / "runs.parquet")
    back = parquet.read_table(tmp_path / "runs.parquet")
    assert all_bits(back["single"].to_numpy()) == WANTED


def test_people_who_use_sql_see_what_it_is(tmp_path):
    with SQLiteLog(tmp_path / "runs.db") as log:
        fill(log)
    with contextlib.closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        found = connection.execute(
            "SELECT value, type FROM log WHERE key = 'single' ORDER BY time"
        ).fetchall()
    assert found == [("NaN", "float"), *((f"nan:{bits(value)}", "float") for value in NANS),
                     (0.5, "float")]  # fmt: skip


def test_a_listing_shows_a_run_that_ended_with_one(tmp_path):
    with SQLiteLog(tmp_path / "runs.db") as log:
        log[1]["loss"] = NANS[0]
    with Store(tmp_path / "runs.db") as store:
        (last,) = store.runs(keys=["loss"])["loss"]
        assert store.check().problems == []
    assert bits(last) == bits(NANS[0])
