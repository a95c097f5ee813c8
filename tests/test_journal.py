"""The tail journal: what is in it comes back once, and nothing that was not put there."""

import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traininglog import ForkedLog, SQLiteLog, Store, TrainingLogWarning
from traininglog.encoding import HIDDEN, decode
from traininglog.sqlite import journal as journals
from traininglog.sqlite.journal import (
    ENTRY,
    STATUS,
    DamagedJournal,
    Journal,
    JournalFull,
    journal_path,
    read_journal,
)
from traininglog.testing.samples import EXACT_VALUES, same
from traininglog.values import plain

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
    monkeypatch.setattr("traininglog.sqlite.writer.FLUSH_ROWS", 10**9)
    monkeypatch.setattr("traininglog.sqlite.writer.FLUSH_SECONDS", 1e9)
    log = SQLiteLog(path)
    for time in range(60_000):
        log[time]["x"] = time
    log[0]["long"] = "x" * 1_000_000
    log[1]["long"] = "y" * 1_000_000
    log.close()
    with SQLiteLog(path, log.uuid) as log:
        assert len(log) == 60_000
        assert len(log[1]["long"]) == 1_000_000


def test_when_nothing_more_can_be_held_the_assignment_raises_and_is_not_made(path, monkeypatch):
    monkeypatch.setattr(journals, "MOST_BYTES", 2**21)
    log = SQLiteLog(path)
    other = SQLiteLog(path)
    log[0]["x"] = "x" * 500_000
    log.flush()
    made = 1

    def go_on():
        nonlocal made
        while made < 10:
            log[made]["x"] = "x" * 500_000
            made += 1

    with other._database.write():
        with pytest.warns(TrainingLogWarning, match="wait in memory"):  # noqa: SIM117 - in order
            with pytest.raises(JournalFull):
                go_on()
        assert list(log) == list(range(made))
    log[made]["x"] = "now"
    log.close()
    assert list(SQLiteLog(path, log.uuid)) == list(range(made + 1))


records = st.lists(
    st.tuples(
        st.sampled_from([ENTRY, STATUS]),
        st.integers(0, 2**63 - 1),
        st.text(min_size=1, max_size=5).filter(lambda key: "\0" not in key),
        st.sampled_from([HIDDEN, *EXACT_VALUES]) | st.floats() | st.integers(-(2**63), 2**63 - 1),
    ),
    max_size=20,
)


@given(records=records, base=st.integers(0, 2**64 - 1))
def test_what_was_put_down_is_read_back(tmp_path_factory, records, base):
    database = tmp_path_factory.mktemp("journal") / "runs.db"
    database.touch()
    from uuid import uuid4

    uuid = uuid4()
    journal = Journal(database, uuid, base)
    records = [(w, t, k, v if v is HIDDEN else plain(v)) for w, t, k, v in records]
    assert journal.append(records)
    found_base, found = read_journal(journal_path(database, uuid))
    assert found_base == base
    assert len(found) == len(records)
    for (what, time, key, value), record in zip(records, found, strict=True):
        assert (record.what, record.time, record.key) == (what, time, key)
        assert same(decode(record.kind, record.stored), value)
    journal.begin(base + len(records) if base < 2**63 else 0)
    assert read_journal(journal.path)[1] == []
    journal.remove()
    assert not journal.path.exists()


@given(data=st.data())
def test_of_a_damaged_journal_a_prefix_is_read(tmp_path_factory, data):
    """Whatever is flipped or cut: no record that was not put down, none out of order."""
    database = tmp_path_factory.mktemp("journal") / "runs.db"
    database.touch()
    from uuid import UUID

    journal = Journal(database, UUID(int=1), 7)
    written = [(ENTRY, time, f"key {time % 3}", time / 3) for time in range(40)]
    journal.append(written)
    journal._bytes.flush()
    content = bytearray(journal.path.read_bytes()[: journal._end])
    journal.remove()
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    else:
        content[data.draw(st.integers(40, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    journal.path.write_bytes(content)
    try:
        _, found = read_journal(journal.path)
    except DamagedJournal as error:
        found = error.records
    assert [(r.what, r.time, r.key, r.stored) for r in found] == written[: len(found)]


def test_a_damaged_journal_is_said_and_kept_and_what_is_before_the_damage_is_put_back(path, killed):
    (tail,) = tails(path)
    file = path.parent / tail
    content = bytearray(file.read_bytes())
    content[content.index("é".encode())] ^= 0xFF
    file.write_bytes(content)
    with pytest.warns(TrainingLogWarning, match="damaged .* is lost; the journal is kept"):
        log = SQLiteLog(path, killed)
    assert log[1]["x"] == 0.25
    assert repr(log[2]["x"]) == "nan"
    assert list(log) == [1, 2]
    log.close()
    assert tails(path) == [f"runs.db-damaged-tail-{killed}"]
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
    for content in (b"", b"TLT", bytes(64), bytes(2**20)):
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
