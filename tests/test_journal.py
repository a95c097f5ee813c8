"""The tail journal: what is in it comes back once, and nothing that was not put there."""

import contextlib
import errno
import gc
import mmap
import os
import resource
import signal
import subprocess
import sys
import textwrap
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traininglog import ForkedLog, SQLiteLog, Store, TrainingLogWarning
from traininglog.encoding import HIDDEN, from_cell
from traininglog.journal import bulk as many_numbers
from traininglog.journal import region as regions
from traininglog.journal.bulk import MOST_KEYS
from traininglog.journal.journal import Journal, JournalFull
from traininglog.journal.reader import journal_path, read_journal
from traininglog.journal.record import (
    COUNT_HEAD,
    FLOAT_HEAD,
    INT_HEAD,
    RowForm,
    pack_counter,
    pack_entries,
    pack_float,
    pack_int,
    pack_key,
    pack_row,
    pack_status,
)
from traininglog.journal.region import HEADER, REGION, MemoryRegion
from traininglog.journal.rest import read_rest
from traininglog.testing.samples import EXACT_VALUES, same
from traininglog.values import plain
from traininglog.writer.read_back import _decode

KILLED = """
import os, signal, sys
from traininglog import SQLiteLog

log = SQLiteLog(sys.argv[1])
print(log.uuid.hex, flush=True)
log[1]["x"] = 0.5
log.flush()
log[1]["x"] = 0.25
log[2].update(x=float("nan"), note="é", shape=[1, None])
del log[1]["x"]
log.status["iterations_done"] = 2
log[3]["x"] = None
os.kill(os.getpid(), signal.SIGKILL)
"""

LEFT = {2: {"note": "é", "shape": [1, None]}, 3: {"x": None}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


@pytest.fixture
def killed(path):
    """Return the UUID of a run whose process was killed."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout.strip()


def tails(path):
    return sorted(file.name for file in path.parent.iterdir() if "tail" in file.name)


def without_nan(log):
    rows = log.to_dict()
    assert repr(rows[2].pop("x")) == "nan"
    return rows


@pytest.mark.parametrize("readonly", [False, True])
def test_what_a_killed_process_assigned_is_there_for_the_next_who_opens(path, killed, readonly):
    assert len(tails(path)) == 1
    for _ in range(2):
        with SQLiteLog(path, killed, readonly=readonly) as log:
            assert without_nan(log) == LEFT
            assert log.status["iterations_done"] == 2
            assert log.keys_seen() == ["x", "note", "shape"]
        assert tails(path) == []
    with Store(path) as store:
        assert store.state(killed) == "lost"


def test_a_store_puts_it_back_too(path, killed):
    with Store(path, readonly=True) as store:
        assert len(store.to_dataframe()) == 4
        assert store.check().ok
    assert tails(path) == []


def test_a_run_goes_on_after_it(path, killed):
    with SQLiteLog(path, killed) as log:
        log[4]["x"] = 4.0
    with SQLiteLog(path, killed) as log:
        assert without_nan(log) == LEFT | {4: {"x": 4.0}}


def test_the_journal_of_a_live_process_is_left_alone(path):
    log = SQLiteLog(path)
    log[1]["x"] = 1
    (tail,) = tails(path)
    look = "import sys, traininglog; print(traininglog.Store(sys.argv[1]).runs()['state'][0])"
    seen = subprocess.run(
        [sys.executable, "-c", look, path], capture_output=True, text=True, check=True
    )
    assert seen.stdout == "running\n"
    Store(path).close()
    assert tails(path) == [tail]
    log[2]["x"] = 2
    log.close()
    assert tails(path) == []
    assert SQLiteLog(path, log.uuid) == {1: {"x": 1}, 2: {"x": 2}}


def test_a_buffered_log_has_none(path):
    with SQLiteLog(path, durability="buffered") as log:
        log[1]["x"] = 1
        assert tails(path) == []


def test_it_is_as_open_as_the_database_and_no_more(path):
    SQLiteLog(path).close()
    path.chmod(0o640)
    log = SQLiteLog(path)
    log[1]["x"] = 1
    (tail,) = tails(path)
    assert (path.parent / tail).stat().st_mode & 0o777 == 0o640
    log.close()


def test_many_more_assignments_than_it_holds(path, monkeypatch):
    monkeypatch.setattr("traininglog.writer.writer.INTERVAL", 1e9)
    log = SQLiteLog(path)
    for time in range(60_000):
        log[time]["x"] = time
    log[0]["long"] = "x" * 1_000_000
    log[1]["long"] = "y" * 1_000_000
    log.close()
    with SQLiteLog(path, log.uuid) as log:
        assert len(log) == 60_000
        assert len(log[1]["long"]) == 1_000_000


@pytest.mark.parametrize("durability", ["process", "buffered"])
def test_when_nothing_more_can_be_held_the_assignment_raises_and_is_not_made(path, durability):
    log = SQLiteLog(path, durability=durability, max_pending_bytes=2**21)
    other = SQLiteLog(path)
    log[0]["x"] = "x" * 500_000
    log.flush()
    with other._database.write():
        made = 0

        def go_on():
            nonlocal made
            while made < 10:
                log[made + 1]["x"] = "x" * 500_000
                made += 1

        with pytest.raises(JournalFull, match="max_pending_bytes"):
            go_on()
        made += 1
        assert 3 <= made < 6
        assert list(log) == list(range(made))
    log[made]["x"] = "now"
    log.close()
    assert list(SQLiteLog(path, log.uuid)) == list(range(made + 1))


def test_or_it_is_dropped_and_the_status_tells_what_is_missing(path):
    log = SQLiteLog(path, max_pending_bytes=2**21, on_full="drop")
    other = SQLiteLog(path)
    log[0]["x"] = "x" * 500_000
    log.flush()

    def go_on():
        for time in range(1, 10):
            log[time]["x"] = "x" * 500_000

    with other._database.write(), pytest.warns(TrainingLogWarning, match="left out from time"):
        go_on()
    log.flush()
    log[10]["x"] = "now"
    (gap,) = log.status["_dropped"]
    kept = list(log)
    log.close()
    assert gap == {"count": 9 - (len(kept) - 2), "first": len(kept) - 1, "last": 9}
    again = SQLiteLog(path, log.uuid)
    assert list(again) == kept == [*range(gap["first"]), 10]
    assert again.status["_dropped"] == [gap]


def test_it_takes_more_room_while_the_database_is_locked_and_gives_it_back(path):
    log = SQLiteLog(path)
    log[0]["x"] = 0.0
    log.flush()
    (tail,) = tails(path)
    size = (path.parent / tail).stat().st_size
    other = SQLiteLog(path)
    with other._database.write():
        for time in range(1, 100_000):
            log[time]["x"] = time / 7
        assert (path.parent / tail).stat().st_size > 2 * size
        assert log[1]["x"] == 1 / 7
    log.flush()
    assert (path.parent / tail).stat().st_size == size
    assert len(log) == 100_000
    log.close()


@contextlib.contextmanager
def no_writing_past(size):
    """Let every write of this process fail that goes past so many bytes of a file."""
    gc.collect()  # logs of other tests, which this would keep from closing
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("where", [REGION // 2, REGION + 4096], ids=["amid one", "in the next"])
@pytest.mark.filterwarnings("ignore:.* in memory, where a kill:traininglog.TrainingLogWarning")
def test_it_goes_on_where_what_was_flushed_cannot_be_erased(path, where):
    """That fails after the database was written, and there is nothing in it that would be lost."""
    log = SQLiteLog(path)
    log[0]["x"] = 0.0
    log.flush()
    with no_writing_past(where):
        for number in range(60_000):  # which is much in the journal, and little in the database
            log[0]["x"] = float(number)
        log.flush()
        log[1]["x"] = 1.0
        log.flush()
        again = SQLiteLog(path, log.uuid, readonly=True)
        assert again.to_dict() == {0: {"x": 59_999.0}, 1: {"x": 1.0}}
        again.close()
    for number in range(60_000):
        log[2]["x"] = float(number)
    log.flush()
    (tail,) = tails(path)
    assert (path.parent / tail).stat().st_size == 2 * REGION
    log.close()
    assert tails(path) == []
    assert SQLiteLog(path, log.uuid).to_dict() == {
        0: {"x": 59_999.0}, 1: {"x": 1.0}, 2: {"x": 59_999.0}
    }  # fmt: skip


def open_journal(tmp_path_factory, most_bytes=2**28):
    uuid = UUID(int=1)
    path = journal_path(tmp_path_factory.mktemp("journal") / "runs.db", uuid, 3)
    journal = Journal(path, None, uuid, 3, 1000, {}, most_bytes)
    journal.begin()
    return journal


def all_of(journal):
    """Return what recovery would find, as batch and damage."""
    return read_rest(read_journal(journal.path), 1000)


def plain_rows(batch):
    return {
        (time, number): from_cell(cell)
        for time, row in batch.rows.items()
        for number, cell in row.items()
    }


numbers = st.floats() | st.integers(-(2**63), 2**63 - 1)
values = st.sampled_from([HIDDEN, *EXACT_VALUES]) | numbers
times = st.integers(0, 2**63 - 1)
keys = st.integers(1, MOST_KEYS)
names = st.text(min_size=1, max_size=5).filter(lambda key: "\0" not in key)
operations = st.lists(
    st.tuples(st.just("number"), times, keys, numbers)
    | st.tuples(
        st.just("entries"), st.lists(st.tuples(times, keys, values), min_size=1, max_size=4)
    )
    | st.tuples(st.just("row"), times, st.dictionaries(keys, numbers, min_size=1, max_size=4))
    | st.tuples(st.just("status"), st.dictionaries(names, values, min_size=1, max_size=3))
    | st.tuples(st.just("key"), keys, names)
    | st.tuples(st.just("count"), names, st.integers(-(2**63), 2**63 - 1))
    | st.tuples(st.just("rest")),
    max_size=30,
)


def put(journal, operation, model, status, known):
    """Do one operation on a journal and on what is expected of it."""
    what, *rest = operation
    tail = journal.tail
    if what == "number":
        time, key, value = rest
        real = type(value) is float
        head = key + (FLOAT_HEAD if real else INT_HEAD)
        pack = pack_float if real else pack_int
        tail.write(pack(head, time, value, value, time, head, next(tail.tags)))
        model[time, key] = value
    elif what == "entries":
        entries = [(t, k, v if v is HIDDEN else plain(v)) for t, k, v in rest[0]]
        tail.write(pack_entries(entries, next(tail.tags)))
        model.update({(t, k): v for t, k, v in entries})
    elif what == "row":
        time, row = rest
        heads = [k + (INT_HEAD if type(v) is int else FLOAT_HEAD) for k, v in row.items()]
        tail.write(pack_row(RowForm.of(heads), time, row.values(), next(tail.tags)))
        model.update({(time, key): value for key, value in row.items()})
    elif what == "status":
        changes = {k: v if v is HIDDEN else plain(v) for k, v in rest[0].items()}
        tail.write(pack_status(changes, next(tail.tags)))
        status.update(changes)
    elif what == "key":
        tail.write(pack_key(*rest, next(tail.tags)))
        known[rest[0]] = rest[1]
    elif what == "count":
        name, value = rest
        number = len(tail.counters) + 1
        tail.counters[name] = number
        tail.write(pack_counter(number, name, next(tail.tags)))
        head = number + COUNT_HEAD
        tail.write(pack_int(head, 0, value, value, 0, head, next(tail.tags)))
        status[name] = value
    else:
        next_region(journal)


def next_region(journal):
    """Let what was written rest; one region is open then, and another one in advance."""
    journal.rest()
    while len(journal.open) < 2:
        journal.begin()


def seen_in(journal):
    """Return the values that are read back, by the process that writes them."""
    seen = {}
    for region in [*journal.waiting, *journal.open]:
        seen |= plain_rows(_decode(region, None))
    return seen


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for place, value in wanted.items():
        assert same(found[place], value)


@pytest.mark.parametrize("many", [1, 10**9], ids=["as arrays", "one by one"])
@given(operations=operations)
def test_what_was_put_down_is_read_back(tmp_path_factory, many, operations):
    """By its own process as it grows, and by recovery; few records or many at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(many_numbers, "_MANY", many)
        read_back(open_journal(tmp_path_factory), operations)


def read_back(journal, operations):
    model, status, known = {}, {}, {}
    for operation in operations:
        put(journal, operation, model, status, known)
    tail = all_of(journal)
    assert tail.damage is None
    assert_same(plain_rows(tail.batch), model)
    assert_same(tail.batch.status, status)
    assert tail.batch.names == known
    assert_same(seen_in(journal), model)
    journal.rest(whole=True)
    assert tail.end == (journal.waiting[-1].end if journal.waiting else 1000)
    journal.recycle(journal.waiting)
    assert read_journal(journal.path).regions == []
    journal.remove()
    assert not journal.path.exists()


def filled(tmp_path_factory, rounds):
    """Return the content of a journal of numbered values, and how many there are."""
    journal = open_journal(tmp_path_factory)
    count = 0
    for number in range(rounds):
        for _ in range(40):
            put(journal, ("number", count, 1 + count % 3, count / 3), {}, {}, {})
            put(journal, ("row", count + 1, {1: (count + 1) / 3, 2: 0.0}), {}, {}, {})
            put(journal, ("entries", [(count + 2, 1, "text")]), {}, {}, {})
            count += 3
        if number < rounds - 1:
            journal.rest()
            while len(journal.open) < min(2, rounds - 1 - number):  # none is left without records
                journal.begin()
    content = bytearray(journal.path.read_bytes())
    journal.remove()
    return journal, content, count


@given(data=st.data())
def test_of_a_damaged_journal_a_prefix_is_read_and_the_damage_is_said(tmp_path_factory, data):
    """Whatever bit is flipped: no record that was not put down, none out of order, none missed."""
    journal, content, _ = filled(tmp_path_factory, data.draw(st.integers(1, 2)))
    used = [at for at, byte in enumerate(content) if byte]
    at = used[data.draw(st.integers(0, len(used) - 1))]
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    journal.path.write_bytes(content)
    tail = all_of(journal)
    assert tail.damage or read_journal(journal.path).damage
    found = sorted(tail.batch.rows)
    assert found == list(range(len(found)))
    for time in found:
        first = from_cell(next(iter(tail.batch.rows[time].values())))
        assert first == ("text" if time % 3 == 2 else time / 3)


@given(data=st.data())
def test_of_a_journal_that_was_cut_a_prefix_is_read(tmp_path_factory, data):
    journal, content, count = filled(tmp_path_factory, 2)
    size = data.draw(st.integers(0, len(content) - 1))
    journal.path.write_bytes(content[:size])
    tail = all_of(journal)
    assert sorted(tail.batch.rows) == list(range(len(tail.batch.rows)))
    assert (
        len(tail.batch.rows) == count
        or tail.damage
        or read_journal(journal.path).damage
        or (
            size < 64  # not even the first header: as if it had just been made
        )
    )


@given(data=st.data())
def test_a_record_that_was_being_written_as_its_process_died_is_no_damage(tmp_path_factory, data):
    """It had not been acknowledged."""
    journal, content, count = filled(tmp_path_factory, 1)
    end = len(bytes(content[:REGION]).rstrip(b"\0"))
    record = data.draw(
        st.sampled_from(
            [
                pack_float(1 + FLOAT_HEAD, count, 1.5, 1.5, count, 1 + FLOAT_HEAD, 0xC1234567),
                pack_entries([(count, 1, "long " * 100)], 0xC1234567),
            ]
        )
    )
    part = record[: data.draw(st.integers(0, len(record) - 1))]
    content[end : end + len(part)] = part
    journal.path.write_bytes(content)
    tail = all_of(journal)
    assert tail.damage is None
    assert len(tail.batch.rows) == count


def test_what_an_earlier_round_left_on_the_disk_is_not_taken_for_this_ones(tmp_path_factory):
    """After a power cut, parts of the file may be as they were some rounds ago."""
    journal = open_journal(tmp_path_factory)
    contents = []
    for number in range(4):
        for time in range(100):
            put(journal, ("number", time, 1, number + time / 7), {}, {}, {})
        contents.append(journal.path.read_bytes())
        journal.rest()
        journal.recycle(journal.waiting)
        journal.begin()
    journal.remove()
    old, new = (contents[at][:8192] for at in (0, 2))  # the same region, two rounds later
    assert old[200:300] != new[200:300]
    for start in range(128, 4500, 7):
        journal.path.write_bytes((new[:start] + old[start:]).ljust(2 * REGION, b"\0"))
        for value in plain_rows(all_of(journal).batch).values():
            assert value >= 2


@contextlib.contextmanager
def no_more_files():
    """Let this process open no further file."""
    taken = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)


@pytest.mark.parametrize("closed", [False, True], ids=["and afterwards", "and is closed"])
def test_it_goes_on_where_no_further_file_can_be_opened(path, closed):
    """That fails after a commit, too: the WAL is copied by connections of its own."""
    log = SQLiteLog(path)
    log[0]["x"] = 0.0
    log.flush()
    assert len(log) == 1  # reading has a connection from now on, too
    (path.parent / "other").touch()
    with no_more_files():
        with pytest.raises(OSError, match="Too many open files"):
            (path.parent / "other").read_bytes()
        for number in range(40):
            log[number]["note"] = os.urandom(100_000).hex()
            log.flush()
        assert path.with_name("runs.db-wal").stat().st_size > 2**22
        assert len(log) == 40
        if closed:
            log.close()
    if closed:
        assert len(SQLiteLog(path, log.uuid)) == 40
        return
    for number in range(40, 50):
        log[number]["note"] = os.urandom(100_000).hex()
        log.flush()
    log.close()
    assert len(SQLiteLog(path, log.uuid)) == 50


steps = st.lists(
    st.tuples(st.just("assign"), st.integers(1, 25_000))
    | st.tuples(st.just("rest"), st.none())
    | st.tuples(st.just("flush"), st.none() | st.sampled_from([200, 4096, 2**18, REGION + 200])),
    min_size=1,
    max_size=12,
)


@settings(max_examples=30)
@given(steps=steps)
def test_what_could_not_be_erased_is_never_taken_for_what_is_pending(tmp_path_factory, steps):
    """Neither by the process nor by recovery, whenever it is killed."""
    journal = open_journal(tmp_path_factory)
    number, flushed, position = 0, 0, 1000
    for what, detail in steps:
        if what == "assign":
            for _ in range(detail):
                number += 1
                try:
                    put(journal, ("number", number, 1, float(number)), {}, {}, {})
                except ValueError:  # no room
                    next_region(journal)
                    put(journal, ("number", number, 1, float(number)), {}, {}, {})
        else:
            journal.rest()
            if what == "flush" and journal.waiting:
                flushed, position = number, journal.waiting[-1].end
                limit = contextlib.nullcontext() if detail is None else no_writing_past(detail)
                with limit:
                    journal.recycle(journal.waiting)
            while len(journal.open) < 2:
                journal.begin()
        pending = {(time, 1): float(time) for time in range(flushed + 1, number + 1)}
        tail = read_rest(read_journal(journal.path), position)
        assert tail.damage is None
        assert plain_rows(tail.batch) == pending
        assert seen_in(journal) == pending
    journal.remove()


@pytest.fixture
def no_mapping(monkeypatch):
    """Let no file be mapped, as on some file systems."""
    mapping = regions.mmap.mmap

    def refuse(descriptor, *rest, **options):
        if descriptor != -1:
            raise OSError(errno.ENODEV, "No such device")
        return mapping(descriptor, *rest, **options)

    monkeypatch.setattr(regions.mmap, "mmap", refuse)


@pytest.mark.parametrize("where", [REGION // 2, REGION + 20, REGION + 4096])
@pytest.mark.usefixtures("no_mapping")
@pytest.mark.filterwarnings("ignore:.* in memory, where a kill:traininglog.TrainingLogWarning")
def test_where_it_can_be_neither_mapped_nor_written_it_goes_on_in_memory(path, where):
    log = SQLiteLog(path)
    log[0]["x"] = 0.0
    with no_writing_past(where):
        for number in range(60_000):
            log[0]["x"] = float(number)
        assert log[0]["x"] == 59_999.0
    log.flush()
    log[1]["x"] = 1.0
    log.close()
    assert tails(path) == []
    assert SQLiteLog(path, log.uuid).to_dict() == {0: {"x": 59_999.0}, 1: {"x": 1.0}}


@pytest.mark.usefixtures("no_mapping")
def test_where_a_file_cannot_be_mapped_every_record_is_written_to_it(path):
    log = SQLiteLog(path)
    for time in range(30_000):
        log[time]["x"] = time / 7
    log[1].update(x=1.0, y="é")
    (tail,) = tails(path)
    assert b"\xc3\xa9" in (path.parent / tail).read_bytes()
    log.status["n"] = 1
    assert log[1] == {"x": 1.0, "y": "é"}
    log.close()
    again = SQLiteLog(path, log.uuid)
    assert len(again) == 30_000
    assert again[1] == {"x": 1.0, "y": "é"}


def test_a_journal_that_somebody_deletes_is_made_anew(path):
    log = SQLiteLog(path)
    log[1]["x"] = 1.0
    (tail,) = tails(path)
    (path.parent / tail).unlink()
    log[2]["x"] = 2.0
    log.flush()
    with pytest.warns(TrainingLogWarning, match="deleted .*nothing is lost, and another one is"):
        log[3]["x"] = 3.0
    assert tails(path) == [tail]
    log.close()
    assert SQLiteLog(path, log.uuid) == {t: {"x": float(t)} for t in (1, 2, 3)}


def test_a_damaged_journal_is_said_and_kept_and_what_is_before_the_damage_is_put_back(path, killed):
    (tail,) = tails(path)
    file = path.parent / tail
    content = bytearray(file.read_bytes())
    content[content.index("é".encode())] ^= 0xFF
    file.write_bytes(content)
    with pytest.warns(TrainingLogWarning, match="is damaged: .* is lost; the journal is kept"):
        log = SQLiteLog(path, killed)
    assert log[1]["x"] == 0.25
    assert list(log) == [1]  # an update is there as a whole, or not at all
    log.close()
    assert tails(path) == [f"runs.db-damaged-tail-{killed}-1"]
    SQLiteLog(path, killed).close()


def test_a_journal_that_begins_past_what_a_power_cut_left_is_not_put_back(path, killed):
    """Else there would be a hole: what remains must be a prefix of what was assigned."""
    import sqlite3

    connection = sqlite3.connect(path)
    connection.execute("UPDATE runs SET high_water = 0")
    connection.commit()
    connection.close()
    with pytest.warns(TrainingLogWarning, match="does not follow"):
        log = SQLiteLog(path, killed)
    assert log == {1: {"x": 0.5}}
    log.close()


def test_a_journal_that_was_just_being_made_holds_nothing(path, killed):
    (tail,) = tails(path)
    for content in (b"", bytes(64), bytes(2**20)):
        (path.parent / tail).write_bytes(content)
        with SQLiteLog(path, killed) as log:
            assert log == {1: {"x": 0.5}}
        assert tails(path) == []


def test_a_forked_child_neither_writes_the_parents_journal_nor_removes_it(path):
    log = SQLiteLog(path)
    log[1]["x"] = 1
    child = os.fork()
    if child == 0:
        try:
            log[2]["x"] = 2
        except ForkedLog:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    log[3]["x"] = 3
    assert len(tails(path)) == 1
    log.close()
    assert SQLiteLog(path, log.uuid) == {1: {"x": 1}, 3: {"x": 3}}


def test_check_tells_of_the_journals_beside_a_file(path, killed):
    log = SQLiteLog(path, killed)
    log[1]["x"] = 1
    with Store(path) as store:
        assert store.check().journals == tails(path)
        assert not [line for line in store.check().warnings if "tail" in line]
        log.close()
        assert store.check().journals == []
        kept = path.with_name(f"runs.db-damaged-tail-{killed}-1")
        kept.write_bytes(b"?")
        found = store.check()
    assert found.ok
    assert found.journals == [kept.name]
    assert any(str(kept) in line for line in found.warnings)


def test_a_status_of_a_class_that_only_the_dead_process_knew_is_put_back_as_it_was(path):
    script = """
        import enum, os, sys
        from traininglog import SQLiteLog
        class Phase(enum.Enum):
            WARM = "warm"
        log = SQLiteLog(sys.argv[1])
        log.status["phase"] = Phase.WARM
        log.status["phases"] = [Phase.WARM]
        log[1]["phase"] = Phase.WARM
        os._exit(0)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script), path], check=True)
    with Store(path) as store, store.log(store.latest()) as log:
        assert log.status["phase"].name == log[1]["phase"].name == "WARM"
        assert log.status["phases"][0] == log.status["phase"] == log[1]["phase"]
        assert log.status["phase"].value == "warm"


@pytest.mark.parametrize("late", [0, 1, 3])
def test_a_region_at_rest_ends_after_what_others_appended_until_it_was_stopped(tmp_path, late):
    class Opened(mmap.mmap):
        def tell(self):
            at = super().tell()
            for _ in range(late):  # as another thread may
                self.write(record)
            return at

    record = pack_key(1, "x", 0xC0000000)
    with contextlib.closing(Opened(-1, REGION)) as opened:
        opened.seek(HEADER)
        opened.write(record)
        region = MemoryRegion(REGION)
        assert region._end(opened) == HEADER + (1 + late) * len(record)
        with pytest.raises(ValueError, match="out of range"):
            opened.write(record)


def test_a_count_is_not_put_where_there_is_no_room_for_its_name(path, monkeypatch):
    monkeypatch.setattr("traininglog.writer.writer.INTERVAL", 1e9)
    log = SQLiteLog(path)
    log[0]["x"] = 0.0
    region, *_ = log._buffer._journal.open
    time = 1
    while REGION - HEADER - region.written >= 88:
        log[time]["x"] = 0.5
        time += 1
    log.status["c" * 100] = 7
    assert log.status["c" * 100] == 7
    log.close()
    assert SQLiteLog(path, log.uuid).status["c" * 100] == 7
