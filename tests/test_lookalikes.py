"""What lies beside a store and is none of its own costs one warning, or one clear error."""

import errno
import os
import resource
import sqlite3
import warnings
from contextlib import closing
from uuid import UUID, uuid4

import pytest

from traininglog import SQLiteLog, Store, StoreUnwritable, TrainingLogWarning
from traininglog.journal import reader as left
from traininglog.journal.order import STEP
from traininglog.journal.reader import displaced_path, journal_path, read_journal
from traininglog.journal.record import (
    COUNT_HEAD,
    FLOAT_HEAD,
    pack_entries,
    pack_float,
    pack_key,
    pack_status,
)
from traininglog.journal.region import HEADER, MAGIC, REGION, Head, pack_head
from traininglog.sqlite.file.header import SUFFIXES

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs names of POSIX")


@pytest.fixture
def path(tmp_path):
    """A store with a run that is not being written."""
    with SQLiteLog(tmp_path / "runs.db") as log:
        log[1]["loss"] = 0.5
    return tmp_path / "runs.db"


@pytest.fixture
def uuid(path):
    with Store(path, readonly=True) as store:
        return store.latest()


ODD = {
    "a pipe": os.mkfifo,
    "a folder": os.mkdir,
    "a link": lambda path: path.symlink_to("/dev/zero"),
    "a dangling link": lambda path: path.symlink_to("nowhere"),
}


def said_on_opening(path):
    """Return what is warned of as a store is opened, and that a run can be written."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with SQLiteLog(path) as log:
            log[1]["loss"] = 0.25
    assert all(issubclass(one.category, TrainingLogWarning) for one in said)
    return [str(one.message) for one in said]


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("displaced", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_what_is_named_like_a_journal_and_is_no_file_costs_one_warning(
    path, uuid, kind, displaced, known
):
    """Whether or not the store has its run; it is never opened, and stays where it is."""
    name = journal_path(path, uuid if known else uuid4(), 2)
    name = displaced_path(name, 5) if displaced else name
    ODD[kind](name)
    (said,) = said_on_opening(path)
    assert str(name) in said
    assert kind.split()[-1] in said
    with pytest.warns(TrainingLogWarning, match=kind.split()[-1]):
        store = Store(path, readonly=True)
    with store:
        check = store.check()
        assert store.runs(heads=False)["values"].tolist() == [1, 1]
    assert check.ok
    assert any(str(name) in note for note in check.warnings)
    assert os.path.lexists(name)


@pytest.mark.parametrize("number", [2**29, 2**62, 2**63, 10**30, 10**150])
def test_a_number_beyond_any_lock_or_column_costs_one_warning(path, uuid, number):
    """Of the writing it is, or of the position in it."""
    journal_path(path, uuid, number).write_bytes(b"x" * 100)
    (said,) = said_on_opening(path)
    assert "has a number in its name that no journal has" in said


def test_many_cost_one_warning_together(path):
    for _ in range(2000):
        os.mkfifo(journal_path(path, uuid4(), 1))
    (said,) = said_on_opening(path)
    assert "and 1997 more" in said
    assert len(said) < 2000


def region(uuid, records=b"", *, size=REGION, base=0, epoch=1, rounds=1, file_size=0):
    """Return a region of a journal, all checksums right, whatever it says."""
    header, tag = pack_head(Head(MAGIC, uuid.bytes, epoch, rounds, size, base, file_size))
    body = header.ljust(HEADER, b"\0") + (records(tag) if callable(records) else records)
    return body.ljust(REGION, b"\0")


def crafted(path, uuid, content, epoch=1):
    journal = journal_path(path, uuid, epoch)
    journal.write_bytes(content)
    return journal


@pytest.mark.parametrize("size", [0, 1, HEADER, REGION - 1, REGION + 1, 3 * REGION // 2, 2**64 - 1])
def test_a_region_of_no_possible_size_is_damage_that_is_said_once(path, uuid, size):
    crafted(path, uuid, region(uuid, size=size))
    (said,) = said_on_opening(path)
    assert "no possible size" in said
    assert "the journal is kept as" in said
    assert said_on_opening(path) == []


def run_of(uuid, found):
    """Return whether the run still has what it had, and nothing more."""
    with SQLiteLog(found, uuid, readonly=True) as log:
        return {at: dict(log[at]) for at in log}


INCREDIBLE = {
    "a time past all": lambda tag: (
        pack_key(1, "loss", tag)
        + pack_float(FLOAT_HEAD + 1, 2**64 - 1, 1.0, 1.0, 2**64 - 1, FLOAT_HEAD + 1, tag + STEP)
    ),
    "a key that nobody named": lambda tag: pack_entries([(7, 77, "text")], tag),
    "two names for one key": lambda tag: (
        pack_key(5, "loss", tag) + pack_entries([(7, 5, 1)], tag + STEP)
    ),
    "a key that is none": lambda tag: (
        pack_key(5, "a\0b", tag) + pack_entries([(7, 5, 1)], tag + STEP)
    ),
    "a count of no name": lambda tag: pack_float(
        COUNT_HEAD + 9, 0, 1.0, 1.0, 0, COUNT_HEAD + 9, tag
    ),
    "a status that nobody can read": lambda tag: pack_status({"a": "x" * 9}, tag).replace(
        b"x" * 9, b"\xff" * 9
    ),
}


@pytest.mark.parametrize("kind", INCREDIBLE)
def test_records_that_no_log_writes_are_left_out(path, uuid, kind, monkeypatch):
    """Though every checksum is right: what is in the store could always have been assigned."""
    if kind == "a status that nobody can read":
        from traininglog.journal import record

        monkeypatch.setattr(record, "crc32", lambda *_: 0)
    with closing(sqlite3.connect(path)) as connection:
        ((mark,),) = connection.execute("SELECT high_water FROM runs").fetchall()
    before = run_of(uuid, path)
    journal = crafted(path, uuid, region(uuid, INCREDIBLE[kind], base=mark))
    (said,) = said_on_opening(path)
    assert "holds what no log writes" in said
    assert not journal.exists()
    assert run_of(uuid, path) == before
    with Store(path) as store:
        assert store.check().ok


def test_a_journal_under_the_name_of_another_one_is_not_put_back(path, uuid):
    crafted(path, uuid, region(UUID(int=5), lambda tag: pack_key(2, "other", tag)))
    (said,) = said_on_opening(path)
    assert "its name is that of another journal" in said


@pytest.mark.parametrize("claimed", [REGION, 40 * 2**30])
def test_a_file_of_40_gib_of_nothing_takes_no_memory(path, uuid, claimed):
    """Be it empty, or one region that claims to be all of it, with bytes at its end."""
    journal = crafted(path, uuid, region(uuid, size=claimed))
    with journal.open("r+b") as file:
        file.seek(40 * 2**30 - 1)
        file.write(b"\1")
    before = resource.getrusage(resource.RUSAGE_SELF)
    said = said_on_opening(path)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2
    assert after.ru_maxrss - before.ru_maxrss < 100 * 1024
    assert len(said) == (claimed > REGION)  # without a header, a region was about to be erased


def test_a_journal_is_read_a_region_at_a_time(path, uuid):
    """So that what is put back, and not how much there is, says how much memory it takes."""
    content = b"".join(region(uuid, rounds=at, base=0) for at in range(3))
    contents = read_journal(crafted(path, uuid, content))
    assert [(one.at, one.end, one.read()) for one in contents.regions] == [
        (at * REGION + HEADER, (at + 1) * REGION, b"") for at in range(3)
    ]


def test_a_journal_that_cannot_be_read_costs_one_warning_and_stays(path, uuid, monkeypatch):
    """Another one beside it is put back all the same."""
    journal = crafted(path, uuid, region(uuid))

    def refused(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(left, "PlainFile", refused)
        (said,) = said_on_opening(path)
        assert f"{journal} cannot be read (Permission denied)" in said
        with pytest.warns(TrainingLogWarning), Store(path) as store:
            check = store.check()
        assert any(f"{journal} cannot be read" in note for note in check.warnings)
    assert journal.exists()
    assert said_on_opening(path) == []
    assert not journal.exists()


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_the_store_that_is_no_file_refuses_at_once_and_says_which(path, suffix, kind):
    """SQLite would wait at a pipe for ever, or speak of the disk. Looking, writing, repairing."""
    side = path.with_name(path.name + suffix)
    side.unlink(missing_ok=True)
    ODD[kind](side)
    for act in (
        lambda: SQLiteLog(path),
        lambda: Store(path, readonly=True),
        lambda: Store.repair(path),
        lambda: SQLiteLog(path.with_name("runs.db")),
    ):
        with pytest.raises(StoreUnwritable, match=f"{suffix} is {kind.split()[0]} .*move it away"):
            act()
    assert os.path.lexists(side)


def test_a_run_is_not_written_where_its_journal_would_be_a_pipe(path, uuid):
    """Nor is what lies there opened: an error says what to move away."""
    os.mkfifo(journal_path(path, uuid, 2))
    with pytest.warns(TrainingLogWarning, match="is a pipe"):
        log = SQLiteLog(path, uuid)
    with pytest.raises(OSError, match="a pipe has its name: move it away"):
        log[2]["loss"] = 1.0
    journal_path(path, uuid, 2).unlink()
    log[2]["loss"] = 1.0
    log.close()
