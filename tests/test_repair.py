"""Repairing: what a damaged file still holds, in a new file, and the old one as it was."""

import json
import os
import random
import sqlite3
import struct
import subprocess
import sys
from contextlib import closing
from zlib import crc32

import pexpect
import pytest
from command_line import run
from hypothesis import given
from hypothesis import strategies as st
from patience import GUARD
from typer.testing import CliRunner

from traininglog import (
    CorruptLog,
    NotATrainingLog,
    RunBusy,
    SchemaTooNew,
    SchemaTooOld,
    SQLiteLog,
    Store,
    StoreLocked,
    StoreNotFound,
    StoreUnwritable,
)
from traininglog.cli.app import app
from traininglog.encoding import encode
from traininglog.packing import Block, pack, unpack
from traininglog.sql.tables import REVISION
from traininglog.sqlite.repair.rebuild import LOST_NAME
from traininglog.sqlite.repair.repair import LeftOut, repair
from traininglog.sqlite.repair.salvage import ascending
from traininglog.sqlite.repair.segments import seed_of
from traininglog.testing.samples import ARRAYS, EXACT_VALUES, PLAIN_VALUES, same

PAGE = 4096
KEYS_BY_NAME, RUNS_BY_UUID = "sqlite_autoindex_keys_2", "sqlite_autoindex_runs_1"
TRIALS = 60


# -- stores, and what is in them ------------------------------------------------------------


def number(run, time, key):
    """Return a float that tells where it was logged, so that its bytes can be looked for."""
    return run * 1_000_000.0 + time + key / 8 + 1 / 1024


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store of a lineage of three runs of floats, a run of everything else, and a sealed one.

    Only the last one has segments.
    """
    path = tmp_path_factory.mktemp("made") / "runs.db"
    uuid = None
    for place in range(3):
        options = {"at": 300 * place - 1} if place else {}
        with SQLiteLog(path, uuid, seal=False, **options) as log:
            for time in range(300 * place, 300 * place + 400):
                for key in range(5):
                    log[time][f"metric{key}"] = number(place, time, key)
            for time in range(300 * place + 390, 300 * place + 400):
                del log[time]["metric0"]
            log.status["name"] = f"run number {place}"
            log.status["config"] = {"place": place, "betas": [0.9, 0.999], "none": None}
            log.status["deleted"] = 1
            del log.status["deleted"]
            uuid = log.uuid
    with SQLiteLog(path, seal=False) as log:
        values = [*EXACT_VALUES, *(value for value, _ in PLAIN_VALUES), *ARRAYS]
        for time, value in enumerate(values):
            log[time]["value"] = value
            log.status[f"status {time}"] = value
        for size in range(1, 40, 4):
            log[size]["bytes"] = random.Random(size).randbytes(1000 * size)
            log[size]["text"] = "ä" * 700 * size
        log.status["long"] = "long status " * 2000
    log_sealed(path)
    return path


def log_sealed(path, uuid=None, *, first=0, last=9000, over=True, **options):
    """Log numbers of all kinds that are sealed, and with `over` some values that lie over them."""
    chance = random.Random(first)
    with SQLiteLog(path, uuid, **options) as log:
        for time in range(first, last):
            log[time]["noise"] = chance.random()
            log[time]["count"] = time * 3
            if time % 10 == 0:
                log[time]["mixed"] = chance.choice([True, False, -(2**63), 2**53 + 1, -0.0, 5e-324])
            if chance.random() < 0.2:
                log[time]["now and then"] = chance.choice([float("nan"), float("inf"), 0.25])
            if time == (first + last) // 2:
                log.flush()  # or a fast machine makes but one segment of it all
        log.status["name"] = f"sealed from {first}"
    if not over:
        return log.h_uuid
    with SQLiteLog(path, log.uuid, seal=False) as log:
        for time in range(first + 100, first + 110):
            log[time]["noise"] = -1.5
            log[time]["count"] = "text"
            log[time]["late"] = time
            del log[time + 50]["noise"]
    return log.h_uuid


@pytest.fixture
def path(made, tmp_path):
    """A copy of that store, to be damaged."""
    path = tmp_path / "runs.db"
    path.write_bytes(made.read_bytes())
    return path


@pytest.fixture(scope="module")
def written(made):
    """What was written to it."""
    return Written(made)


class Written(tuple):
    """What `content` tells of a file, and what is sealed beneath it."""

    def __new__(cls, path):
        written = super().__new__(cls, content(path))
        with closing(sqlite3.connect(path)) as connection:
            written.sealed = sealed_in(connection)
        return written


def content(path):
    """Return every value as it is stored, by run, time and key, and the status by run and key.

    What is sealed, as it would be stored otherwise.
    """
    with closing(sqlite3.connect(path)) as connection:
        values = sealed_in(connection) | {
            (uuid, time, key): (kind, value)
            for uuid, time, key, kind, value in connection.execute(
                "SELECT uuid, time, name, kind, value FROM entries "
                "JOIN runs ON runs.id = entries.run_id "
                "JOIN keys ON keys.run_id = runs.id AND keys.id = key_id"
            )
        }
        status = {
            (uuid, key): (kind, value)
            for uuid, key, kind, value in connection.execute(
                "SELECT uuid, key, kind, value FROM status JOIN runs ON runs.id = run_id"
            )
        }
    return values, status


def sealed_in(connection):
    values = {}
    columns = ", ".join(f'segments."{name}"' for name in Block._fields)
    for uuid, key, *block in connection.execute(
        f"SELECT uuid, name, {columns} FROM segments "
        "JOIN runs ON runs.id = segments.run_id "
        "JOIN keys ON keys.run_id = runs.id AND keys.id = key_id"
    ):
        points = unpack(Block(*block))
        numbers = points.values()
        numbers = numbers if isinstance(numbers, list) else numbers.tolist()
        for time, value in zip(points.times.tolist(), numbers, strict=True):
            assert (uuid, time, key) not in values
            kind, stored = encode(value)
            values[uuid, time, key] = kind, None if stored != stored else stored  # noqa: PLR0124 - a NaN
    return values


def table(path, name):
    with closing(sqlite3.connect(path)) as connection:
        cursor = connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2")
        columns = [column[0] for column in cursor.description]
        return [dict(zip(columns, row, strict=True)) for row in cursor]


# -- damage ---------------------------------------------------------------------------------


def pages_with(path, *texts, but=()):
    """Return the numbers of the pages that hold some texts, and not others."""
    data = path.read_bytes()
    found = []
    for start in range(0, len(data), PAGE):
        page = data[start : start + PAGE]
        if all(text in page for text in texts) and not any(text in page for text in but):
            found.append(start // PAGE + 1)
    return found


def zero(path, *numbers):
    with path.open("r+b") as file:
        for page in numbers:
            file.seek((page - 1) * PAGE)
            file.write(bytes(PAGE))


def page_of(path, number):
    with path.open("rb") as file:
        file.seek((number - 1) * PAGE)
        return file.read(PAGE)


FLOATS = {
    struct.pack(">d", number(place, time, key)): (place, time, f"metric{key}")
    for place in range(3)
    for time in range(300 * place, 300 * place + 400)
    for key in range(5)
}


def floats_on(page):
    """Return the (run, time, key) of the floats on a page."""
    texts = (page[start : start + 8] for start in range(len(page) - 7))
    return {FLOATS[text] for text in texts if text in FLOATS}


def leaves(path):
    """Return the leaves that hold floats of the second run, and nothing else."""
    numbers = []
    for found in pages_with(path, struct.pack(">d", 1_000_000.0)[:2]):
        page = page_of(path, found)
        if page[0] == 10 and len(floats_on(page)) == int.from_bytes(page[3:5], "big"):
            numbers.append(found)
    assert len(numbers) > 10
    return numbers


def root(path, name):
    """Return the page at which a table or index begins; those of names and runs are one page."""
    (page,) = [row["rootpage"] for row in table(path, "sqlite_master") if row["name"] == name]
    return page


def files(folder):
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}


def repaired(path, *, notes=None):
    """Repair a file that is damaged; return the new one and the report."""
    target, done = repaired_if_damaged(path)
    assert not done.sound
    if notes is not None:
        assert len(done.notes) == notes, done.notes
    return target, done


def repaired_if_damaged(path):
    """Repair a file, and state what holds whatever the damage is."""
    before = files(path.parent)
    done = repair(path)
    target = path.with_name(path.name + ".repaired")
    after = files(path.parent)
    assert (after.pop(target.name, None) is None) == done.sound
    assert after == before
    assert done.path == str(path)
    if done.sound:
        return target, done
    assert done.target == str(target)
    with Store(target, readonly=True) as store:
        found = store.check()
        assert found.ok, found.problems
        assert store.revision == REVISION
        assert found.runs == done.runs == len(store.runs(heads=False))
    path.with_name(target.name + "-wal").unlink(missing_ok=True)
    path.with_name(target.name + "-shm").unlink(missing_ok=True)
    values, status = content(target)
    assert done.values == sum(kind != 0 for kind, _ in values.values())
    assert done.status == sum(kind != 0 for kind, _ in without_remarks(status).values())
    own = {row["uuid"]: [] for row in table(target, "runs")}
    for (uuid, time, _), (kind, _) in values.items():
        own[uuid].append((time, kind))
    for row in table(target, "runs"):
        times = [time for time, _ in own[row["uuid"]]] or [None]
        assert (row["first_time"], row["last_time"]) == (min(times), max(times))
        assert row["deletions"] == sum(kind == 0 for _, kind in own[row["uuid"]])
    return target, done


def without_remarks(status):
    return {place: value for place, value in status.items() if place[1] != LOST_NAME}


def assert_nothing_wrong(target, written):
    """State that all values had been written; of what has a new name, its time and value.

    Where a value is lost, the one that was sealed before it may show again.
    """
    values, status = content(target)
    uuids = {uuid for uuid, _, _ in written[0]}
    renamed = {
        (uuid, time, key)
        for uuid, time, key in values
        if uuid not in uuids or key.startswith(f"{LOST_NAME}/")
    }
    anywhere = {
        (time, value)
        for values in (written[0], written.sealed) for (_, time, _), value in values.items()
    }  # fmt: skip
    assert {(place[1], values[place]) for place in renamed} <= anywhere
    shown = {place for place in values if values[place] == written.sealed.get(place)}
    for place in renamed | shown:
        del values[place]
    assert values.items() <= written[0].items()
    kept = {place: value for place, value in without_remarks(status).items() if place[0] in uuids}
    assert kept.items() <= written[1].items()


# -- a sound file ---------------------------------------------------------------------------


def test_of_a_sound_file_nothing_is_written(path):
    before = path.read_bytes()
    done = repair(path)
    assert done.sound
    assert (done.target, done.runs, done.values, done.notes) == (None, 0, 0, [])
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["runs.db"]


def test_a_store_repairs_too(path):
    assert Store.repair(path).sound


# -- what is found again --------------------------------------------------------------------


def test_where_only_an_index_is_lost_everything_is_as_it_was(path, made, written):
    zero(path, root(path, KEYS_BY_NAME))
    target, done = repaired(path, notes=0)
    assert content(target) == written
    assert done.left_out == LeftOut(0, 0, 1)
    for name in ("keys", "marks"):
        assert table(target, name) == table(made, name)
    for one, two in zip(table(target, "runs"), table(made, "runs"), strict=True):
        later = one.pop("updated") - two.pop("updated")
        assert 0 < later < 1e-6  # no copy of one that is whole
        assert one == two
    keys = [row["key"] for row in table(made, "status")]
    assert [row["key"] for row in table(target, "status")] == keys


def test_every_kind_of_value_is_read_back_as_what_it_was(path, made):
    zero(path, root(path, KEYS_BY_NAME))
    target, _ = repaired(path)
    with Store(made) as old, Store(target) as new:
        for uuid in old.runs(heads=False)["uuid"]:
            with old.log(uuid, readonly=True) as one, new.log(uuid, readonly=True) as two:
                assert one.lineage() == two.lineage()
                assert one.keys_seen() == two.keys_seen()
                assert same(one.to_dict(), two.to_dict())
                assert same(dict(one.status), dict(two.status))


def test_a_lost_page_of_values_costs_what_it_held_and_no_more(path, made, written):
    uuids = [row["uuid"] for row in table(made, "runs")]
    for page in leaves(path)[::5]:
        path.write_bytes(made.read_bytes())
        held = {(uuids[place], time, key) for place, time, key in floats_on(page_of(path, page))}
        zero(path, page)
        target, done = repaired(path, notes=0)
        values, status = content(target)
        assert values == {place: value for place, value in written[0].items() if place not in held}
        assert len(held) > 50
        assert status == written[1]
        assert done.left_out == LeftOut(0, 0, 1)
        target.unlink()


def test_pages_below_a_lost_one_are_found(path, made, written):
    """The page that leads to all others of the table goes; it holds a value per page below."""
    top = page_of(path, root(path, "entries"))
    count = int.from_bytes(top[3:5], "big")
    assert top[0] == 2
    assert count > 0
    zero(path, root(path, "entries"))
    target, _ = repaired(path)
    assert_nothing_wrong(target, written)
    assert len(written[0]) - len(content(target)[0]) == count


def test_names_of_keys_are_in_an_index_too(path, written):
    zero(path, root(path, "keys"))
    target, _ = repaired(path, notes=0)
    assert content(target) == written


def test_values_of_a_key_whose_name_is_lost_are_kept_under_its_number(path, made, written):
    zero(path, root(path, "keys"), root(path, KEYS_BY_NAME))
    target, done = repaired(path)
    values, status = content(target)
    names = {row["id"]: row["name"] for row in table(made, "keys") if row["run_id"] == 1}
    uuid = table(made, "runs")[0]["uuid"]
    for key, name in names.items():
        for time in range(400):
            assert values[uuid, time, f"_recovered/{key}"] == written[0][uuid, time, name]
    assert len(values) == len(written[0])
    assert status == written[1]
    assert any("_recovered/1" in note and uuid in note for note in done.notes)


def test_a_repaired_run_can_be_written_on(path, made):
    zero(path, root(path, "keys"), root(path, KEYS_BY_NAME))
    target, _ = repaired(path)
    with SQLiteLog(target, table(made, "runs")[0]["uuid"]) as log:
        log[1000]["new"] = 1
        log[1000]["_recovered/1"] = 2
        log.resume()
        log[1001]["newer"] = 3
    with Store(target) as store, store.log(log.uuid, readonly=True) as log:
        assert log[1000] == {"new": 1, "_recovered/1": 2}
        assert log[1001] == {"newer": 3}
        assert store.check().ok


def test_uuids_of_runs_are_in_an_index_too(path, made, written):
    """So that what is lost of a run is where it was resumed, and by which program it was written.

    It then shows its own rows only: of its parent's, some would be too many.
    """
    uuids = [row["uuid"] for row in table(made, "runs")]
    zero(path, root(path, "runs"))
    target, done = repaired(path, notes=7)
    values, status = content(target)
    assert values == written[0]
    assert without_remarks(status) == written[1]
    rows = table(target, "runs")
    assert [row["uuid"] for row in rows] == uuids
    assert [row["resumed_from"] for row in rows] == [None, *uuids[:2], None, None]
    assert [row["resumed_at"] for row in rows] == [None, -1, -1, None, None]
    with Store(target) as store:
        assert list(store.runs(heads=False)["state"]) == ["lost"] * 5
        with store.log(uuids[1], readonly=True) as log:
            assert "found in an index" in log.status["_recovered"]
            assert min(log) == 300
    assert done.status == sum(kind != 0 for kind, _ in written[1].values())
    assert done.left_out == LeftOut(0, 0, 1)


def test_values_of_a_run_that_is_lost_with_its_uuid_are_kept_under_a_new_one(path, made, written):
    uuids = [row["uuid"] for row in table(made, "runs")]
    zero(path, root(path, "runs"), root(path, RUNS_BY_UUID))
    target, done = repaired(path)
    values, _ = content(target)
    fresh = [row["uuid"] for row in table(target, "runs")]
    assert len({*fresh, *uuids}) == 10
    new = dict(zip(uuids, fresh, strict=True))
    assert values == {
        (new[uuid], time, key): value for (uuid, time, key), value in written[0].items()
    }
    assert sum("is a new one" in note for note in done.notes) == 5


def test_a_lost_page_of_the_status_costs_what_it_held_and_is_named(path, made, written):
    uuid = table(made, "runs")[0]["uuid"]
    (page,) = pages_with(path, b"run number 0")
    zero(path, page)
    target, done = repaired(path)
    values, status = content(target)
    assert values == written[0]
    assert status.items() < written[1].items()
    lost = written[1].keys() - status.keys()
    assert (uuid, "name") in lost
    assert done.left_out.status == len(lost)
    for one, key in lost:
        assert any(one in note and repr(key) in note for note in done.notes)


def test_what_only_leads_to_the_rest_is_not_needed(path, written):
    """The list of tables with the header, and the map of the pages."""
    zero(path, 1)
    target, _ = repaired(path, notes=0)
    assert content(target) == written
    target.unlink()
    zero(path, 1, 2)
    target, _ = repaired(path, notes=0)
    assert_nothing_wrong(target, written)
    values, _ = content(target)
    # Without the map nothing tells that the zeros at the end of an array are its own.
    assert {kind for place, (kind, _) in written[0].items() if place not in values} <= {6, 8}
    assert len(values) > len(written[0]) - 5


@pytest.mark.parametrize("part", range(1, 8))
def test_of_a_truncated_file_the_pages_that_are_left_are_read(path, made, written, part):
    size = len(path.read_bytes()) * part // 8
    with path.open("r+b") as file:
        file.truncate(size)
    left = set()
    for page in range(1, size // PAGE + 1):
        left |= floats_on(page_of(path, page)) if page_of(path, page)[0] in (2, 10) else set()
    target, done = repaired(path)
    assert_nothing_wrong(target, written)
    numbers = dict(enumerate(row["uuid"] for row in table(made, "runs")))
    values, _ = content(target)
    kept = {(numbers[place], time, key) for place, time, key in left}
    assert kept <= values.keys()
    assert done.left_out.pages > 0


# -- long values ----------------------------------------------------------------------------


def last_page(path, text):
    """Return the page on which a value ends, by the bytes before its end."""
    (page,) = [page for page in pages_with(path, text) if page_of(path, page)[:4] == bytes(4)]
    return page


@pytest.fixture
def blobs(tmp_path):
    """A store of two values that take several pages; the second one ends in zeros."""
    path = tmp_path / "runs.db"
    with SQLiteLog(path) as log:
        log[1]["blob"] = b"a" * 8000 + b"the end of the blob"
        log[2]["blob"] = b"b" * 3000 + bytes(9000)
        log[3]["x"] = 0.5
    return path


def test_a_long_value_that_lost_its_end_is_left_out_if_that_shows(blobs):
    """Where one page is known to have been zeroed, another one of zeros is not believed."""
    zero(blobs, last_page(blobs, b"the end of the blob"), root(blobs, KEYS_BY_NAME))
    target, done = repaired(blobs)
    (place,) = content(target)[0]
    assert place[1:] == (3, "x")
    assert done.left_out.values == 2


def test_zeros_at_the_end_of_a_value_are_its_own_where_nothing_was_zeroed(blobs):
    before, _ = content(blobs)
    with closing(sqlite3.connect(blobs)) as connection, connection:
        connection.execute("UPDATE entries SET value = 'text' WHERE time = 3")
    target, done = repaired(blobs)
    values, _ = content(target)
    assert {time: values[uuid, time, key] for uuid, time, key in values} == {
        time: before[uuid, time, key] for uuid, time, key in before if time != 3
    }
    assert done.left_out == LeftOut(1, 0, 0)


def test_no_value_takes_the_page_of_another(blobs):
    """Nothing tells which of the two that lead to it is right."""
    with SQLiteLog(blobs) as log:
        for time in range(2):
            log[time]["short"] = bytes([65 + time]) * 5000
    pages = [pages_with(blobs, letter * 3000)[0] for letter in (b"A", b"B")]
    data = blobs.read_bytes()
    pointers = [page.to_bytes(4, "big") for page in pages]
    data = data.replace(b"A" * 60 + pointers[0], b"A" * 60 + pointers[1])
    blobs.write_bytes(data)
    target, done = repaired(blobs)
    values, _ = content(target)
    shorts = {time: value for (_, time, key), (_, value) in values.items() if key == "short"}
    assert shorts == {}
    assert done.left_out.values == 2


# -- the WAL --------------------------------------------------------------------------------

KILLED = """
import os, sys
from traininglog import SQLiteLog
log = SQLiteLog(sys.argv[1], durability=sys.argv[2])
for time in range(200):
    log[time]["x"] = time + 0.5
log.flush()
log[1000]["x"] = 1.5
print(log.h_uuid, flush=True)
os._exit(0)
"""


def killed(path, durability):
    """Let a process die that has a WAL; return the UUID of its run."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, path, durability], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_what_is_in_the_wal_is_carried_over_and_the_wal_stays(path, written):
    uuid = killed(path, "buffered")
    wal = path.with_name("runs.db-wal")
    assert wal.stat().st_size > 0
    zero(path, leaves(path)[0])
    before = path.read_bytes(), wal.read_bytes()
    target, _ = repaired(path)
    assert (path.read_bytes(), wal.read_bytes()) == before
    values, _ = content(target)
    assert {time: values.pop((uuid, time, "x")) for time in range(200)} == {
        time: (4, time + 0.5) for time in range(200)
    }
    assert values.items() < written[0].items()


def test_a_file_that_was_cut_to_nothing_lives_on_in_its_wal(tmp_path):
    path = tmp_path / "runs.db"
    killed(path, "buffered")
    whole, _ = content(path)  # which empties the WAL
    other = tmp_path / "other"
    other.mkdir()
    path = other / "runs.db"
    killed(path, "buffered")
    path.write_bytes(b"")
    target, _ = repaired(path)
    values, _ = content(target)
    assert {(time, key): values[uuid, time, key] for uuid, time, key in values} == {
        (time, key): whole[uuid, time, key] for uuid, time, key in whole
    }


def test_a_damaged_wal_counts_up_to_the_damage(path, written):
    uuid = killed(path, "buffered")
    wal = path.with_name("runs.db-wal")
    data = bytearray(wal.read_bytes())
    data[-2000] ^= 1
    wal.write_bytes(data)
    zero(path, leaves(path)[0])
    target, _ = repaired(path)
    values, _ = content(target)
    assert not any(place[0] == uuid for place in values)
    assert values.items() < written[0].items()


def test_journals_are_told_of_and_left_alone(path):
    uuid = killed(path, "process")
    journal = path.with_name(f"runs.db-tail-{uuid}-1")
    assert journal.exists()
    zero(path, leaves(path)[0])
    _, done = repaired(path)
    assert any(str(journal) in note for note in done.notes)
    assert journal.exists()


# -- all manner of damage -------------------------------------------------------------------


def tree_pages(data):
    """Return the pages of trees: by their first byte, which is 0 on others, but for the map."""
    return [
        page for page in range(3, len(data) // PAGE + 1)
        if data[(page - 1) * PAGE] in (2, 5, 10, 13)
    ]  # fmt: skip


def zeroed(rng, data):
    """Pages that are lost to zeros."""
    for _ in range(rng.randint(1, 6)):
        start = rng.choice(tree_pages(data)) * PAGE - PAGE
        data[start : start + PAGE] = bytes(PAGE)


def scribbled(rng, data):
    """Pages that hold something else."""
    for _ in range(rng.randint(1, 6)):
        start = rng.randrange(len(data) // PAGE) * PAGE
        data[start : start + PAGE] = rng.randbytes(PAGE)


def truncated(rng, data):
    """A file that ends early."""
    del data[rng.randrange(PAGE, len(data)) :]


def misled(rng, data):
    """Bits of what leads to the values: the heads of pages, and where on them the cells are."""
    for _ in range(rng.randint(1, 20)):
        start = rng.choice(tree_pages(data)) * PAGE - PAGE
        cells = int.from_bytes(data[start + 3 : start + 5], "big")
        data[start + rng.randrange(8 + 2 * min(cells, 400))] ^= 1 << rng.randrange(8)


def unmapped(rng, data):
    """Bits of the list of tables, and of the map of the pages."""
    for _ in range(rng.randint(1, 10)):
        data[rng.randrange(100, 2 * PAGE)] ^= 1 << rng.randrange(8)


def beheaded(rng, data):
    """A bit of the header."""
    data[rng.randrange(100)] ^= 1 << rng.randrange(8)


DAMAGES = [zeroed, scribbled, truncated, misled, unmapped, beheaded]


@pytest.mark.parametrize("seed", range(TRIALS))
def test_whatever_leads_to_the_values_is_damaged_none_of_those_found_is_wrong(path, written, seed):
    """Not where bits of the values themselves change: SQLite keeps no checksum of those."""
    rng = random.Random(seed)
    data = bytearray(path.read_bytes())
    DAMAGES[seed % len(DAMAGES)](rng, data)
    path.write_bytes(data)
    target, done = repaired_if_damaged(path)
    if not done.sound:
        assert_nothing_wrong(target, written)


@pytest.mark.parametrize("seed", range(TRIALS // 6))
def test_a_changed_bit_of_a_value_costs_that_value_at_most(path, made, written, seed):
    rng = random.Random(seed)
    data = bytearray(path.read_bytes())
    flips = 30
    pages = leaves(path)
    for _ in range(flips):
        data[rng.choice(pages) * PAGE - 1 - rng.randrange(PAGE - 400)] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    target, done = repaired_if_damaged(path)
    if done.sound:  # they were all in floats, any of which is one
        return
    values, status = content(target)
    uuids = {row["uuid"] for row in table(made, "runs")}
    right = {place for place, value in values.items() if written[0].get(place) == value}
    assert len(written[0]) - len(right) <= flips
    assert len(values) - len(right) <= flips
    assert without_remarks(status) == written[1]
    assert {row["uuid"] for row in table(target, "runs")} >= uuids


@pytest.mark.parametrize("seed", range(TRIALS // 2))
def test_check_says_what_is_wrong_and_never_fails(path, seed):
    rng = random.Random(seed)
    data = bytearray(path.read_bytes())
    if seed % 4 == 0:
        for _ in range(20):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    else:
        rng.choice(DAMAGES)(rng, data)
    path.write_bytes(data)
    options = ["--json"] if seed % 2 else []
    result = CliRunner().invoke(app, ["check", "--store", str(path), *options])
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code in (0, 1)
    assert result.stderr.count("\n") == result.exit_code
    assert result.stderr.startswith("traininglog: " if result.exit_code else "")


def test_cells_that_are_out_of_order_are_as_few_as_can_be():
    def kept(*keys):
        return ascending([(key,) for key in keys])

    assert kept() == []
    assert kept(1, 2, 3) == [0, 1, 2]
    assert kept(1, 2, 90, 3, 4) == [0, 1, 3, 4]
    assert kept(1, 5, 5, 6) == [0, 1, 3] or kept(1, 5, 5, 6) == [0, 2, 3]
    assert kept(9, 1, 2, 8, 3, 4) == [1, 2, 4, 5]


# -- what fits together no more -------------------------------------------------------------


def changed(path, *statements):
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def test_values_that_cannot_be_read_are_left_out_and_counted(path, written):
    changed(
        path,
        "UPDATE entries SET value = 'text' WHERE time = 20 AND run_id = 1",
        "UPDATE entries SET kind = 99 WHERE time = 21 AND run_id = 1",
        "UPDATE entries SET kind = 2, value = 5 WHERE time = 22 AND run_id = 1 AND key_id = 1",
        "UPDATE status SET kind = 7, value = '{' WHERE key = 'config' AND run_id = 2",
    )
    target, done = repaired(path, notes=1)
    values, status = content(target)
    assert values.items() < written[0].items()
    assert len(values) == len(written[0]) - 11
    assert len(status) == len(written[1]) - 1
    assert done.left_out == LeftOut(11, 1, 0)
    assert "'config'" in done.notes[0]


def test_a_lineage_that_goes_in_a_circle_begins_with_its_oldest_run(path, made):
    uuids = [row["uuid"] for row in table(made, "runs")]
    changed(path, f"UPDATE runs SET resumed_from = '{uuids[2]}', resumed_at = 3 WHERE id = 1")
    target, _ = repaired(path, notes=1)
    parents = [row["resumed_from"] for row in table(target, "runs")]
    assert parents == [None, *uuids[:2], None, None]


def test_entries_that_belong_to_no_run_get_one(path, made, written):
    changed(path, "DELETE FROM runs WHERE id = 2")
    target, done = repaired(path)
    values, _ = content(target)
    assert sorted(map(repr, values.values())) == sorted(map(repr, written[0].values()))
    uuid = table(target, "runs")[1]["uuid"]
    assert any(uuid in note and "is a new one" in note for note in done.notes)


def test_tables_of_others_are_left_out_and_named(path, written):
    changed(
        path,
        "CREATE TABLE mine (a INTEGER, b INTEGER, c INTEGER, d INTEGER, e, PRIMARY KEY (a, b, c)) "
        "WITHOUT ROWID",
        "INSERT INTO mine VALUES (1, 5000, 1, 3, 7)",  # just as an entry
        "UPDATE entries SET value = 'text' WHERE time = 20 AND run_id = 1 AND key_id = 1",
    )
    target, done = repaired(path, notes=1)
    assert "'mine'" in done.notes[0]
    assert len(content(target)[0]) == len(written[0]) - 1


def test_what_was_deleted_does_not_come_back(path, made):
    doomed = table(made, "runs")[3]["uuid"]
    with Store(path) as store:
        store.delete(doomed)
        with store.log(store.latest()) as log:
            log.resume()
            log[5000]["x"] = 1.5
    zero(path, 2)  # the map; the list of free pages is another witness
    target, _ = repaired(path, notes=0)
    assert doomed not in {row["uuid"] for row in table(target, "runs")}
    assert len(table(target, "runs")) == 5


def test_a_merge_with_a_backup_fills_in_what_was_lost(path, made, written):
    zero(path, *leaves(path)[:3])
    target, _ = repaired(path)
    with Store(target) as store:
        assert store.merge(made).updated
        assert store.check().ok
    assert content(target)[0] == written[0]


# -- segments -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """A store of a sealed run, of which some was written over since, and a sealed child of it."""
    path = tmp_path_factory.mktemp("sealed") / "runs.db"
    uuid = log_sealed(path)
    log_sealed(path, uuid, first=8000, last=17500, over=False, at=7999)
    return path


@pytest.fixture
def packed(sealed, tmp_path):
    """A copy of that store, to be damaged."""
    path = tmp_path / "packed.db"
    path.write_bytes(sealed.read_bytes())
    return path


@pytest.fixture(scope="module")
def logged(sealed):
    """What was written to it."""
    return Written(sealed)


def within(path, segment):
    """Return the places of what is in a segment, given as its row."""
    (uuid,) = [row["uuid"] for row in table(path, "runs") if row["id"] == segment["run_id"]]
    (key,) = [
        row["name"] for row in table(path, "keys")
        if (row["run_id"], row["id"]) == (segment["run_id"], segment["key_id"])
    ]  # fmt: skip
    times = unpack(Block(*(segment[name] for name in Block._fields))).times.tolist()
    return {(uuid, time, key) for time in times}


def without(logged, *lost):
    """Return what was written but for what is in segments that are lost."""
    over = {place for place, value in logged[0].items() if logged.sealed.get(place) != value}
    gone = set().union(*lost) - over
    return {place: value for place, value in logged[0].items() if place not in gone}


def problems(path):
    with Store(path, readonly=True) as store:
        return store.check().problems


def test_segments_are_carried_over_as_they_are_and_totals_are_made_anew(packed, sealed, logged):
    changed(packed, "UPDATE totals SET rows = 1", "UPDATE summaries SET count = count + 1")
    zero(packed, root(packed, KEYS_BY_NAME))
    target, done = repaired(packed, notes=0)
    assert content(target) == logged
    assert done.left_out == LeftOut(0, 0, 1)
    for name in ("segments", "totals", "summaries", "entries", "keys"):
        rows = [table(path, name) for path in (target, sealed)]
        for row in (*rows[0], *rows[1]):
            row.pop("id" if name == "segments" else "", None)  # of these there are no gaps now
        if name in ("totals", "summaries"):  # those of the first run had been old
            rows = [[row for row in part if row["run_id"] == 2] for part in rows]
        assert rows[0]
        assert sorted(map(repr, rows[0])) == sorted(map(repr, rows[1])), name


@pytest.mark.parametrize(
    "column", ["first", "last", "step", "size", "kind", "codec", "checksum", "key_id", "run_id"]
)
def test_no_changed_number_of_a_segment_goes_unnoticed(packed, sealed, logged, column):
    doomed = next(row for row in table(sealed, "segments") if row["step"] == 1)
    change = {"size": 2**40, "key_id": 100}.get(column, 1)
    changed(packed, f"UPDATE segments SET {column} = {column} + {change} WHERE id = {doomed['id']}")
    assert problems(packed)
    with Store(packed) as store:
        uuid = table(packed, "runs")[min(1, doomed["run_id"] - 1 + (column == "run_id"))]["uuid"]
        with store.log(uuid, readonly=True) as log, pytest.raises(CorruptLog, match="segment"):
            log.to_dict()
    target, done = repaired(packed)
    if column in ("key_id", "run_id"):  # the checksum tells which it was
        assert content(target) == logged
        assert (done.left_out, done.notes) == (LeftOut(0, 0, 0), [])
        return
    assert content(target) == (without(logged, within(sealed, doomed)), logged[1])
    told = 1 if column in ("first", "last", "step", "size") else doomed["size"]
    assert done.left_out == LeftOut(told, 0, 0)
    assert len(done.notes) == 1


@pytest.mark.parametrize("seed", range(8))
def test_a_changed_bit_of_what_is_packed_costs_its_segment_which_is_told(
    packed, sealed, logged, seed
):
    rng = random.Random(seed)
    doomed = rng.choice(table(sealed, "segments"))
    content_of = rng.choice([doomed["data"], doomed["times"] or doomed["data"]])
    start = rng.randrange(max(1, len(content_of) - 40))
    data = bytearray(packed.read_bytes())
    at = data.find(content_of[start : start + 12])  # unless that goes over to the next page
    assert at > 0
    data[at] ^= 1 << rng.randrange(8)
    packed.write_bytes(data)
    (problem,) = problems(packed)
    assert f"from time {doomed['first']} in run" in problem
    target, done = repaired(packed, notes=1)
    assert content(target) == (without(logged, within(sealed, doomed)), logged[1])
    assert done.left_out == LeftOut(doomed["size"], 0, 0)
    uuid, _, key = next(iter(within(sealed, doomed)))
    assert done.notes[0].startswith(f"run {uuid}, {key!r}: ")
    assert done.notes[0].endswith(
        f"{doomed['size']:,} values from time {doomed['first']} to {doomed['last']}"
    )


def test_of_a_segment_that_lost_a_page_is_told_what_its_line_still_tells(packed, sealed, logged):
    doomed = next(row for row in table(sealed, "segments") if len(row["data"]) > 5 * PAGE)
    (page,) = pages_with(packed, doomed["data"][2 * PAGE : 2 * PAGE + 50])
    for page_too in ([], [2]):  # with the map of the pages, and without it
        packed.write_bytes(sealed.read_bytes())
        zero(packed, page, *page_too)
        target, done = repaired(packed, notes=1)
        assert content(target) == (without(logged, within(sealed, doomed)), logged[1])
        assert done.left_out.values == doomed["size"]
        assert f"from time {doomed['first']} to {doomed['last']}" in done.notes[0]
        target.unlink()


def test_segments_of_a_lost_page_are_told_by_their_index(packed, sealed, logged):
    names = {(row["run_id"], row["id"]): row["name"] for row in table(sealed, "keys")}
    for page in pages_with(packed, b"\r"):
        data = page_of(packed, page)
        if data[0] != 13 or root(packed, "segments") == page:
            continue
        held = [row for row in table(sealed, "segments") if row["data"][:60] in data]
        if not held:
            continue
        zero(packed, page)
        target, done = repaired(packed)
        lost = [within(sealed, row) for row in held]
        assert content(target) == (without(logged, *lost), logged[1])
        for row in held:
            (note,) = [note for note in done.notes if f"from time {row['first']} on" in note
                       and repr(names[row["run_id"], row["key_id"]]) in note
                       and within(sealed, row) & {(note[4:36], row["first"], place[2])
                                                  for place in within(sealed, row)}]  # fmt: skip
            assert note
        return
    pytest.fail("no page of segments was found")


def test_names_that_are_lost_are_found_by_the_checksums_of_segments(packed, sealed, logged):
    """As the other run has keys of the same names, and tells what it was resumed from."""
    changed(packed, "DELETE FROM runs WHERE id = 1", "DELETE FROM keys WHERE run_id = 1")
    target, done = repaired(packed)
    values, _ = content(target)
    uuid = table(sealed, "runs")[0]["uuid"]
    assert table(target, "runs")[0]["uuid"] == uuid
    assert any("by its segments" in note for note in done.notes)
    late = {place for place in logged[0] if place[0] == uuid and place[2] == "late"}
    assert len(late) == 10  # which is not sealed
    assert {place: logged[0][place] for place in logged[0].keys() - late}.items() <= values.items()
    assert {place[:2] for place in values.keys() - logged[0].keys()} == {
        place[:2] for place in late
    }


def test_segments_of_a_key_whose_name_is_lost_everywhere_vouch_for_each_other(
    packed, sealed, logged
):
    """So that one of them that is damaged shows."""
    doomed = next(row for row in table(sealed, "segments") if row["size"] > 4000)
    gone = [
        row for row in table(sealed, "segments")
        if (row["run_id"], row["key_id"]) == (doomed["run_id"], doomed["key_id"])
    ]  # fmt: skip
    assert len(gone) == 2  # so that nothing tells which of them is right
    changed(
        packed,
        f"UPDATE segments SET checksum = checksum + 1 WHERE id = {doomed['id']}",
        "DELETE FROM keys",
        "DELETE FROM runs",
    )
    target, _ = repaired(packed)
    values, _ = content(target)
    expected = without(logged, *(within(sealed, row) for row in gone))
    assert sorted((time, repr(value)) for (_, time, _), value in values.items()) == sorted(
        (time, repr(value)) for (_, time, _), value in expected.items()
    )
    with Store(target) as store:
        assert store.check().ok


def test_the_name_that_the_checksums_of_segments_fit_is_taken(packed, sealed, logged):
    """Where the table and its index differ."""
    data = packed.read_bytes()
    page = root(packed, "keys") * PAGE - PAGE
    at = data.index(b"noise", page)
    assert at < page + PAGE
    packed.write_bytes(data[:at] + b"noisy" + data[at + 5 :])
    target, _ = repaired(packed, notes=0)
    assert content(target) == logged


def test_of_segments_that_overlap_the_newer_one_counts(packed, sealed, logged):
    """As where an old page is found again. Of the older one there is what the newer one leaves."""
    one, two = [row for row in table(sealed, "segments") if row["key_id"] == 1][:2]
    assert one["last"] + 1 == two["first"]
    points = unpack(Block(*(two[name] for name in Block._fields)))
    part = points.part(slice(1000, 2000))
    part.words[:] = part.words[0]
    (block,) = pack(part)
    assert table(sealed, "keys")[0]["name"] == "noise"
    uuid = table(sealed, "runs")[0]["uuid"]
    row = block._asdict() | {
        "run_id": 1, "key_id": 1, "checksum": block.checksum(crc32(f"{uuid}\0noise".encode())),
    }  # fmt: skip
    fresh = within(sealed, one | block._asdict())
    for number, newer in ((1000, True), (1, False)):
        packed.write_bytes(sealed.read_bytes())
        if not newer:
            changed(packed, "UPDATE segments SET id = id + 1000")
        with closing(sqlite3.connect(packed)) as connection, connection:
            columns = ["id", *row]
            marks = ", ".join("?" * len(columns))
            connection.execute(
                f"INSERT INTO segments ({', '.join(columns)}) VALUES ({marks})",
                [number, *row.values()],
            )
        assert any("two segments" in problem for problem in problems(packed))
        target, done = repaired(packed, notes=0)
        expected = dict(logged[0])
        if newer:
            value = (4, struct.unpack("<d", struct.pack("<Q", int(part.words[0])))[0])
            expected |= dict.fromkeys(fresh, value)
        assert content(target)[0] == expected
        assert done.left_out == LeftOut(0, 0, 0)
        target.unlink()


@given(st.binary(max_size=300), st.integers(0, 2**32 - 1))
def test_the_seed_of_a_checksum_is_found(data, seed):
    assert seed_of(crc32(data, seed), crc32(data), len(data)) == seed
    assert seed_of(crc32(data * 999, seed), crc32(data * 999), 999 * len(data)) == seed


@pytest.mark.parametrize("seed", range(TRIALS))
def test_of_damaged_segments_nothing_wrong_is_carried_over(packed, logged, seed):
    """Whatever is damaged but entries; also where bits of the values themselves change."""
    rng = random.Random(1000 + seed)
    data = bytearray(packed.read_bytes())
    if seed % 3:
        DAMAGES[seed % len(DAMAGES)](rng, data)
    else:
        start = (root(packed, "entries") - 1) * PAGE
        for _ in range(10):
            at = rng.randrange(100, len(data))
            if not start <= at < start + PAGE:
                data[at] ^= 1 << rng.randrange(8)
    names = {row["name"] for row in table(packed, "keys")}
    data += packed.read_bytes()[len(data) : 30 * PAGE]  # of less there may be nothing left at all
    packed.write_bytes(data)
    target, done = repaired_if_damaged(packed)
    if done.sound:
        assert content(packed)[0] == logged[0]
    elif seed % 3:
        assert_nothing_wrong(target, logged)
    else:
        known = [*logged[0].items(), *logged.sealed.items()]
        right = {(time, value) for (_, time, _), value in known}
        sealed_keys = names - {"late"}
        for (_, time, key), value in content(target)[0].items():
            assert (time, value) in right or key not in sealed_keys


# -- what `check` says ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE totals SET count = count + 1 WHERE run_id = 2", "how much it logged"),
        ("UPDATE totals SET rows = rows + 1 WHERE run_id = 2", "how much it logged"),
        ("UPDATE totals SET first = 1 WHERE run_id = 2", "how much it logged"),
        ("UPDATE totals SET last = NULL WHERE run_id = 2", "how much it logged"),
        ("UPDATE summaries SET value = 2 WHERE run_id = 2 AND key_id = 1", "how much it logged"),
        ("UPDATE summaries SET least = 2 WHERE run_id = 2 AND key_id = 1", "how much it logged"),
        ("DELETE FROM summaries WHERE run_id = 2 AND key_id = 2", "how much it logged"),
        ("UPDATE runs SET last_time = 8000 WHERE id = 1", "segments that its line"),
        ("UPDATE runs SET first_time = 9000 WHERE id = 2", "segments that its line"),
        ("UPDATE keys SET id = 9 WHERE name = 'late' AND run_id = 1", "not 1, 2, 3"),
        ("DELETE FROM keys WHERE name = 'mixed'", "key 3 that it does not know"),
        ("DELETE FROM runs WHERE id = 2", "belong to no run"),
    ],
)
def test_check_finds_what_does_not_fit_together(packed, statement, told):
    assert problems(packed) == []
    changed(packed, statement)
    assert any(told in problem for problem in problems(packed)), problems(packed)
    repaired(packed)


def test_totals_that_are_old_need_not_be_right(packed):
    changed(packed, "UPDATE totals SET count = 0, high_water = high_water - 1")
    assert table(packed, "totals")[0]["count"] == 0
    assert problems(packed) == []


@pytest.mark.parametrize("cut", [1, PAGE - 1])
def test_check_says_that_a_file_is_cut(blobs, cut):
    """SQLite reads zeros for what is missing of its last page."""
    assert problems(blobs) == []
    with blobs.open("r+b") as file:
        file.truncate(blobs.stat().st_size - cut)
    assert any("cut" in problem for problem in problems(blobs))
    repaired(blobs)


def test_check_says_that_a_file_with_a_wal_is_cut(path):
    """Then SQLite looks for the pages in neither."""
    killed(path, "buffered")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 5 * PAGE)
    before = path.read_bytes()
    wal = path.with_name("runs.db-wal").read_bytes()
    with Store(path, readonly=True) as store:
        (problem,) = [problem for problem in store.check().problems if "cut" in problem]
    assert "the last 5 are missing" in problem
    assert (path.read_bytes(), path.with_name("runs.db-wal").read_bytes()) == (before, wal)


def test_a_file_with_pages_that_are_only_in_its_wal_is_whole(tmp_path):
    path = tmp_path / "runs.db"
    killed(path, "buffered")
    with Store(path, readonly=True) as store:
        assert store.check().ok
        found = store.size()
    assert found.wal > 0


@pytest.mark.parametrize("open_it", [SQLiteLog, Store, lambda path: Store(path, readonly=True)])
def test_an_empty_file_beside_a_wal_is_not_taken_for_a_new_one(tmp_path, open_it):
    path = tmp_path / "runs.db"
    killed(path, "buffered")
    path.write_bytes(b"")
    before = files(tmp_path)
    assert before["runs.db-wal"]
    with pytest.raises(CorruptLog, match="check --repair"):
        open_it(path)
    assert files(tmp_path) == before
    assert "--repair" in run("check", "-s", path, status=1).stderr
    repaired(path)


@pytest.mark.parametrize(
    "cell", [b"\x02\x14" + REVISION.encode(), b"\x02\x15000\x12", b"\x02\x1500:2"]
)
def test_a_damaged_revision_is_said_to_be_damaged(path, written, cell):
    page = root(path, "traininglog_schema") * PAGE - PAGE
    data = path.read_bytes()
    at = data.index(b"\x02\x15" + REVISION.encode(), page)
    path.write_bytes(data[:at] + cell + data[at + len(cell) :])
    before = files(path.parent)
    for options in ({}, {"readonly": True}):
        with pytest.raises(CorruptLog, match="check --repair") as caught:
            Store(path, **options)
        assert "newer" not in str(caught.value)
    assert files(path.parent) == before
    target, _ = repaired(path)
    assert content(target) == written


# -- what cannot be repaired ----------------------------------------------------------------


def refused(error, path, target=None, *, match=None):
    before = files(path.parent)
    with pytest.raises(error, match=match) as caught:
        repair(path, target)
    assert files(path.parent) == before
    return str(caught.value)


def test_a_file_of_which_nothing_is_left_is_said_to_be_so_and_none_is_made(path):
    path.write_bytes(bytes(50_000))
    assert str(path) in refused(CorruptLog, path, match="backup")
    path.write_bytes(os.urandom(50_000))
    refused(CorruptLog, path)
    with path.open("r+b") as file:
        file.truncate(50)
    refused(CorruptLog, path)


def test_other_files_are_refused(tmp_path):
    theirs = tmp_path / "theirs.db"
    changed(theirs, "CREATE TABLE runs (id INTEGER PRIMARY KEY, note TEXT)")
    changed(theirs, "INSERT INTO runs VALUES (1, 'theirs')")
    refused(NotATrainingLog, theirs)
    (tmp_path / "empty.db").touch()
    refused(NotATrainingLog, tmp_path / "empty.db", match="empty")
    refused(StoreNotFound, tmp_path / "missing.db")
    (tmp_path / "folder").mkdir()
    refused(NotATrainingLog, tmp_path / "folder")
    with pytest.raises(ValueError, match="memory"):
        repair(":memory:")


def test_a_target_is_never_written_over(path, tmp_path):
    zero(path, leaves(path)[0])
    taken = tmp_path / "runs.db.repaired"
    taken.write_text("mine")
    refused(StoreUnwritable, path, match="exists")
    refused(StoreUnwritable, path, path, match="exists")
    taken.unlink()
    taken.symlink_to(tmp_path / "nowhere")
    refused(StoreUnwritable, path, match="exists")
    refused(StoreNotFound, path, tmp_path / "no" / "folder.db", match="mkdir")
    done = repair(path, tmp_path / "other.db")
    assert done.target == str(tmp_path / "other.db")
    with Store(tmp_path / "other.db") as store:
        assert store.check().ok


def test_a_file_of_another_schema_is_refused(path):
    changed(path, "UPDATE traininglog_schema SET version_num = '9999'")
    assert "9999" in refused(SchemaTooNew, path)


def test_a_file_of_an_older_schema_is_refused(path, monkeypatch):
    from traininglog.sqlite.repair import repair

    monkeypatch.setattr(repair, "REVISION", "9999")
    assert REVISION in refused(SchemaTooOld, path)


def test_a_file_that_is_open_here_is_refused(path):
    """To read it with plain file calls would drop the locks of its logs."""
    zero(path, leaves(path)[0])
    with Store(path, readonly=True), pytest.raises(StoreLocked, match="close"):
        repair(path)
    repaired(path)


def test_a_file_that_is_being_written_is_refused(path):
    script = (
        "import sys; from traininglog import SQLiteLog; log = SQLiteLog(sys.argv[1])\n"
        "log[1]['x'] = 1; log.flush(); print(log.h_uuid, flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        uuid = process.stdout.readline().strip()
        zero(path, leaves(path)[0])
        assert uuid in refused(RunBusy, path)
        process.communicate("\n", timeout=GUARD)
    repaired(path)


def test_the_new_file_is_as_open_to_others_as_the_old_one(path):
    zero(path, leaves(path)[0])
    path.chmod(0o640)
    target, _ = repaired(path)
    assert target.stat().st_mode & 0o777 == 0o640


# -- the command ----------------------------------------------------------------------------


def test_the_command_tells_what_was_carried_over(path, written, monkeypatch):
    monkeypatch.chdir(path.parent)
    page = leaves(path)[0]
    lost = len(floats_on(page_of(path, page)))
    zero(path, page)
    assert "--repair" in run("check", "-s", "runs.db", status=1).stderr
    result = run("check", "--repair", "-s", "runs.db")
    values = sum(kind != 0 for kind, _ in written[0].values())
    status = sum(kind != 0 for kind, _ in written[1].values())
    assert result.stdout.splitlines()[:2] == [
        f"{path}.repaired: 5 runs, {values - lost:,} values, {status} of the status",
        "left out: 0 damaged values, 0 of the status, and what is gone from 1 damaged page",
    ]
    assert result.stderr == ""
    assert run("check", "-s", "runs.db.repaired").stdout.endswith("ok\n")
    again = run("check", "--repair", "-s", "runs.db", status=1)
    assert "exists" in again.stderr


def test_the_command_prints_json(path, tmp_path):
    zero(path, leaves(path)[0])
    target = tmp_path / "new.db"
    found = json.loads(run("check", "--repair", "--to", target, "-s", path, "--json").stdout)
    assert (found["path"], found["target"], found["sound"]) == (str(path), str(target), False)
    assert found["runs"] == 5
    assert found["left_out"] == {"values": 0, "status": 0, "pages": 1, "records": 0}
    assert found["notes"] == []


def test_the_command_says_so_where_there_is_nothing_to_do(path):
    assert "is sound" in run("check", "--repair", "-s", path).stdout
    found = json.loads(run("check", "--repair", "-s", path, "--json").stdout)
    assert (found["sound"], found["target"]) == (True, None)
    assert not path.with_name("runs.db.repaired").exists()


def test_the_command_ends_with_one_line_where_it_cannot(path, tmp_path):
    path.write_bytes(bytes(9000))
    for words in (["--repair"], ["--repair", "-s", tmp_path / "missing.db"], ["--to", "x.db"]):
        if "-s" not in words:
            words += ["-s", path]
        result = run("check", *words, status=1)
        assert result.stderr.count("\n") == 1
        assert result.stderr.startswith("traininglog: ")


def test_progress_is_told(path):
    zero(path, leaves(path)[0])
    told = []
    repair(path, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] > 20
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_progress_is_shown_on_a_terminal(path):
    zero(path, leaves(path)[0])
    script = (
        "from traininglog.cli import main\n"
        "from traininglog.cli.output import terminal\n"
        "terminal.PATIENCE = 0\n"
        "main()\n"
    )
    child = pexpect.spawn(
        sys.executable,
        ["-c", script, "check", "--repair", "-s", str(path)],
        env=os.environ | {"TERM": "xterm-256color"},
        encoding="utf-8",
        timeout=GUARD,
    )
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert "Repairing" in child.before
    assert "\u2501" in child.before
