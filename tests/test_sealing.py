"""What becomes of the numbers of a run in its file: few segments, whatever way it was written."""

import sqlite3
from contextlib import closing

import pytest

from traininglog import CorruptLog, SQLiteLog, Store
from traininglog.packing import BLOCK
from traininglog.sqlite.database.database import Database

KEYS = ("loss", "accuracy")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


@pytest.fixture
def seals_early(monkeypatch):
    """Have logs seal every few hundred steps, where others wait for a thousand."""
    import numpy as np  # noqa: F401 - without, a small run waits

    monkeypatch.setattr("traininglog.sqlite.sink.compaction.ENOUGH", 256)
    monkeypatch.setattr("traininglog.sqlite.sink.compaction.FEWEST", 512)


def sizes(path, key="loss"):
    """Return how many numbers each segment of a key holds, by time."""
    query = (
        "SELECT size FROM segments JOIN keys ON keys.run_id = segments.run_id"
        " AND keys.id = segments.key_id WHERE keys.name = ? ORDER BY first"
    )
    with closing(sqlite3.connect(path)) as connection:
        return [size for (size,) in connection.execute(query, [key])]


def rows(path):
    """Return id, first time and size of all segments."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT id, first, size FROM segments").fetchall()


def write(log, start, stop):
    for time in range(start, stop):
        log[time] = {key: time / (place + 3) for place, key in enumerate(KEYS)}


def check(path, uuid, stop):
    with SQLiteLog(path, uuid, readonly=True) as log:
        frame = log.to_dataframe()
    assert frame.index.tolist() == list(range(stop))
    for place, key in enumerate(KEYS):
        assert frame[key].tolist() == [time / (place + 3) for time in range(stop)]


def write_slowly(path, steps=6_000, flush=300):
    """Write a run that is sealed bit by bit, as one is that takes days."""
    with SQLiteLog(path) as log:
        for start in range(0, steps, flush):
            write(log, start, start + flush)
            log.seal()
        return log.uuid


def test_a_slow_run_is_gathered_as_it_goes(path, seals_early):
    with SQLiteLog(path) as log:
        for start in range(0, 80 * 300, 300):
            write(log, start, start + 300)
            log.flush()
        assert len(sizes(path)) < 20
        assert max(sizes(path)) > 4_000
        assert sum(sizes(path)) > 11_000
    check(path, log.uuid, 24_000)


def test_one_that_is_closed_has_few_segments(path):
    uuid = write_slowly(path)
    assert len(sizes(path)) <= 4
    assert sum(sizes(path)) == 6_000
    check(path, uuid, 6_000)


def test_one_that_is_opened_and_closed_again_and_again_has_few_segments(path):
    with SQLiteLog(path) as log:
        uuid = log.uuid
    for start in range(0, 6_000, 60):
        with SQLiteLog(path, uuid) as log:
            write(log, start, start + 60)
    assert len(sizes(path)) <= 8
    check(path, uuid, 6_000)


def test_large_ones_are_left_alone(path, monkeypatch):
    # A flush amid the first would part it in two that are not large.
    monkeypatch.setattr("traininglog.writer.owner.Owner.schedule", lambda *_, **__: None)
    with SQLiteLog(path) as log:
        write(log, 0, 6_000)
        log.seal()
        before = rows(path)
        write(log, 6_000, 6_100)
        log.seal()
    large = {row for row in before if row[2] > BLOCK // 4}
    assert large
    assert large < set(rows(path))


def test_a_damaged_one_is_no_reason_to_stop(path, seals_early):
    uuid = write_slowly(path, 600)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE segments SET data = CAST(data || x'00' AS BLOB)")
    with SQLiteLog(path, uuid) as log:
        for start in range(600, 40 * 300, 300):
            write(log, start, start + 300)
            log.flush()
        assert len(sizes(path)) < 20
        frame = log.to_dataframe(start=600)
        assert frame.index.tolist() == list(range(600, 12_000))
    with SQLiteLog(path, uuid, readonly=True) as log, pytest.raises(CorruptLog, match="damaged"):
        log.to_dataframe()


def test_sealing_twice_moves_nothing_more(path):
    uuid = write_slowly(path)
    before = sizes(path)
    with Store(path) as store:
        assert store.seal(uuid).values == 0
    assert sizes(path) == before


@pytest.mark.parametrize("parts_first", [False, True])
def test_totals_that_are_worked_out_key_by_key_are_those_of_the_whole(
    path, monkeypatch, parts_first
):
    """As they are of a run that is too large to be held at once; `check` works them out again."""
    at_once = {True: 0, False: 10**9}
    monkeypatch.setattr("traininglog.sql.runs.totals._AT_ONCE", at_once[parts_first])
    with SQLiteLog(path) as log:
        for time in range(3000):
            log[time]["loss"] = time * 7919 % 3001 / 8
            if time % 3 == 1:
                log[time]["seldom"] = -time
        log[5000].update(loss=float("nan"), text="x", one=1)
    monkeypatch.setattr("traininglog.sql.runs.totals._AT_ONCE", at_once[not parts_first])
    with Store(path) as store:
        assert store.check().ok
        listed = store.runs(["loss", "text"], best="seldom").iloc[0]
    assert (listed["rows"], listed["values"]) == (3001, 3000 + 1000 + 3)
    assert (listed["text"], listed["best.seldom"]) == ("x", -2998)


def test_a_short_run_costs_two_transactions(path, monkeypatch):
    begun = []
    write = Database.write

    def counted(database, **options):
        begun.append(options)
        return write(database, **options)

    monkeypatch.setattr(Database, "write", counted)
    with SQLiteLog(path) as log:
        log[1]["loss"] = 0.5
    assert len(begun) == 2
    with Store(path) as store:
        (run,) = store.iter_runs()
        assert (run.state, run.rows, run.values) == ("finished", 1, 1)


def test_a_short_run_without_room_for_its_totals_ends_all_the_same(path, monkeypatch):
    def fail(*_):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr("traininglog.sql.runs.totals.totals_of", fail)
    with SQLiteLog(path) as log:
        log[1]["loss"] = 0.5
    monkeypatch.undo()
    with Store(path) as store:
        (run,) = store.iter_runs()
        assert (run.state, run.rows, run.values) == ("finished", 1, 1)
