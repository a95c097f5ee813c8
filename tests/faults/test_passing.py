"""What can pass does not end a log: whatever fails in the background, once or for a while.

Every operation of a flush is made to fail, at each of its steps: then the loop goes on, who logs is
warned, nothing that was acknowledged is lost, and the log can be closed. Only that the run is not
ours any more, or that the file is damaged, is for good.
"""

import _thread
import contextlib
import errno
import functools
import mmap
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path

import pytest
from faults import harness
from faults.interrupts import Interrupted
from patience import GUARD

import traininglog
from traininglog import (
    CorruptLog,
    RunNotFound,
    RunTakenOver,
    SQLiteLog,
    Store,
    StoreFailed,
    StoreLocked,
    StoreUnwritable,
)
from traininglog.journal.region import REGION
from traininglog.sqlite.file import connections
from traininglog.sqlite.sink import sink
from traininglog.writer import writer
from traininglog.writer.health import Health
from traininglog.writer.owner import Owner, Request

OURS = str(Path(traininglog.__file__).parent)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


@pytest.fixture
def by_hand(monkeypatch, path):
    """Return a log that flushes when the test says so, as its thread would, and in no thread."""
    monkeypatch.setattr(Owner, "schedule", lambda *_: None)
    monkeypatch.setattr(writer, "_SOON", 0.0)
    keeper = Owner.of(identity_of_new(path), str(path))  # that of all who open it from now on
    keeper.in_place = True
    log = SQLiteLog(path)
    assert log._writer.owner is keeper
    model = Model(log)
    model.assign()
    model.flush()
    yield model
    if not log.closed:
        with contextlib.suppress(RunTakenOver, RunNotFound, StoreFailed):
            log.close()


def identity_of_new(path):
    """Make an empty file, and return its device and inode."""
    path.touch()
    return path.stat().st_dev, path.stat().st_ino


class Model:
    """A log, and what it has to hold."""

    def __init__(self, log):
        self.log = log
        self.rows = {}
        self.warned = []

    def assign(self, count=1):
        """Assign a few values of each kind, keeping what the log warns of."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(count):
                at = len(self.rows)
                self.log[at]["x"] = at / 7
                self.log[at].update(x=at / 7, n=at, text=str(at))
                self.log.status["iterations_done"] = at
                self.rows[at] = {"x": at / 7, "n": at, "text": str(at)}
        self.warned += [str(each.message) for each in caught]

    def flush(self):
        """Flush as the thread does."""
        owner = self.log._writer.owner
        owner._server = threading.get_ident()
        try:
            self.log._writer.tick()
        finally:
            owner._server = None

    @property
    def troubles(self) -> Health:
        return self.log._writer._health

    def check(self, path):
        """See to it that everything is in the file, and not only in the log."""
        with Store(path, readonly=True) as store:
            assert store.check().problems == []
            with store.log(self.log.uuid, readonly=True) as log:
                assert log.to_dict() == self.rows
                assert log.status["iterations_done"] == len(self.rows) - 1

    def fail_and_go_on(self, flush_that_fails, times=1):
        """Let a flush fail a few times, and then not; return whether it failed at all."""
        self.assign()
        failed = False
        for _ in range(times):
            flush_that_fails()
            assert self.troubles.fatal is None, self.troubles.fatal
            trouble = self.troubles.current
            failed = failed or trouble is not None
            self.warned.clear()
            self.assign()  # goes on
            told = isinstance(trouble, StoreLocked)  # which is usual, for two seconds
            assert trouble is None or told or times > 1 or self.warned
        assert self.log.to_dict() == self.rows
        self.flush()
        assert self.troubles.current is None
        with Store(self.log._database.path, readonly=True) as store:
            assert len(store.log(self.log.uuid, readonly=True)) == len(self.rows)
        return failed


# -- any point ------------------------------------------------------------------------------------


ERRORS = {
    "no memory": MemoryError,
    "no descriptor": lambda: OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
    "no lock": lambda: RuntimeError("can't allocate lock"),
    "an import": lambda: ImportError("cannot load module more than once per process"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_whatever_point_of_a_flush_fails_it_is_done_later(by_hand, path, name, monkeypatch):
    """An error comes out of any call in it; `tests/faults/interrupts.py` knows all the places."""

    def fail():
        raise ERRORS[name]()

    counted = Interrupted(lambda: None)
    by_hand.assign()
    counted.run(by_hand.flush)
    assert counted.count > 200
    step = 1 if harness.LONG else 13
    start = 3 * list(ERRORS).index(name)
    failures = 0
    for point in range(start, counted.count, step):

        def flush(point=point):
            with contextlib.suppress(MemoryError, OSError, RuntimeError, ImportError):
                # Where it noted another error, or was about to end, it comes out of the flush: the
                # thread goes on, see below.
                Interrupted(fail, [point]).run(by_hand.flush)

        failures += by_hand.fail_and_go_on(flush)
    assert failures > counted.count // step // 3
    by_hand.log.close()
    by_hand.check(path)


# -- calls of the system --------------------------------------------------------------------------


@contextlib.contextmanager
def failing(holder, name, error, times):
    """Have a function fail for our code, so many times; give a list of what it did."""
    real = getattr(holder, name)
    calls = []

    @functools.wraps(real)
    def call(*args, **kwargs):
        frame = sys._getframe(1)
        if frame.f_code.co_filename.startswith(OURS) and len(calls) < times:
            calls.append(frame.f_code.co_name)
            raise error()
        return real(*args, **kwargs)

    setattr(holder, name, call)
    try:
        yield calls
    finally:
        setattr(holder, name, real)


def system_error(code):
    return lambda: OSError(code, os.strerror(code))


CALLS = [(os, "open"), (os, "pread"), (os, "pwrite"), (os, "fsync"), (os, "stat"), (os, "fstat"),
         (os, "posix_fallocate"), (os, "ftruncate"), (mmap, "mmap")]  # fmt: skip
CODES = [errno.EMFILE, errno.ENOMEM, errno.EIO, errno.ENOSPC]


@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
@pytest.mark.parametrize(("holder", "name"), CALLS, ids=lambda each: each if each is str else None)
@pytest.mark.parametrize("times", [2, 10**9])
def test_a_call_of_the_system_that_fails_is_survived(
    by_hand, path, holder, name, code, times, monkeypatch
):
    monkeypatch.setattr(sink, "SYNC_SECONDS", 0.0)
    size = len(by_hand.rows)
    with failing(holder, name, system_error(code), times):
        for _ in range(3):
            by_hand.assign(5)
            by_hand.flush()
            assert by_hand.troubles.fatal is None
    by_hand.assign()
    by_hand.flush()
    assert by_hand.troubles.current is None
    assert len(by_hand.rows) == size + 16
    by_hand.log.close()
    by_hand.check(path)


@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
@pytest.mark.parametrize(("holder", "name"), CALLS, ids=lambda each: each if each is str else None)
def test_so_is_one_that_fails_as_the_journal_is_made_again(
    by_hand, path, holder, name, code, monkeypatch
):
    """Somebody deletes it: once all of it was flushed, another one is made."""
    (tail,) = path.parent.glob("*-tail-*")
    tail.unlink()
    by_hand.assign()
    by_hand.flush()
    refused = None
    with failing(holder, name, system_error(code), 10**9):
        try:
            by_hand.assign()
        except (StoreFailed, StoreUnwritable) as error:  # it says so, and was not made
            refused = error
        by_hand.flush()
        assert by_hand.troubles.fatal is None
    assert refused is None or code == errno.EIO, refused
    by_hand.assign()
    by_hand.flush()
    by_hand.log.close()
    by_hand.check(path)


@pytest.mark.parametrize("times", [1, 3, 10**9])
def test_without_memory_for_its_regions_the_journal_counts_none(by_hand, path, times):
    """What could not be had takes no room, however often it was asked for."""
    journal = by_hand.log._buffer._journal
    with (
        failing(mmap, "mmap", system_error(errno.ENOMEM), times),
        failing(os, "pwrite", system_error(errno.EIO), times),
    ):
        refused = 0
        for _ in range(200):
            try:
                by_hand.assign()
            except StoreFailed:
                refused += 1
            by_hand.flush()
        assert times > 1 or refused == 0
        assert journal._memory_size <= 4 * REGION
    by_hand.assign()
    by_hand.flush()
    by_hand.log.close()
    by_hand.check(path)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOSPC], ids=errno.errorcode.get)
def test_a_journal_that_has_to_be_kept_in_memory_is_warned_of(by_hand, path, code):
    """Though every flush succeeds: a kill would lose what came after it."""
    (tail,) = path.parent.glob("*-tail-*")
    tail.unlink()
    by_hand.assign()
    by_hand.flush()
    assert by_hand.log._buffer._journal is None
    with failing(os, "open", system_error(code), 10**9):
        by_hand.assign()
        assert by_hand.log._buffer.volatile
        by_hand.flush()
        by_hand.assign()
        assert any("kept in memory, where a kill would lose it" in told for told in by_hand.warned)
        assert by_hand.troubles.current is None
    by_hand.flush()
    by_hand.assign()
    assert not by_hand.log._buffer.volatile
    assert len(list(path.parent.glob("*-tail-*"))) == 1
    by_hand.log.close()
    by_hand.check(path)
    assert not list(path.parent.glob("*-tail-*"))


# -- the database ---------------------------------------------------------------------------------


#: Every primary code of SQLite that a statement may end with.
SQLITE_CODES = {
    name: getattr(sqlite3, f"SQLITE_{name}")
    for name in (
        *("ERROR", "INTERNAL", "PERM", "ABORT", "BUSY", "LOCKED", "READONLY", "INTERRUPT"),
        *("IOERR", "CORRUPT", "NOTFOUND", "FULL", "CANTOPEN", "PROTOCOL", "SCHEMA", "TOOBIG"),
        *("CONSTRAINT", "MISMATCH", "MISUSE", "NOLFS", "AUTH", "FORMAT", "RANGE", "NOTADB"),
    )
}
FOR_GOOD = ("CORRUPT", "NOTADB")


class Database:
    """Makes the n-th statement from now on fail, and those after it."""

    def __init__(self, monkeypatch):
        self.left = self.times = 0
        self.error = None
        self.count = 0
        outer = self

        class Cursor(sqlite3.Cursor):
            def execute(self, *args):
                outer.reach()
                return super().execute(*args)

        def cursor(connection, factory=Cursor):
            return sqlite3.Connection.cursor(connection, factory)

        def execute(connection, *args):
            return connection.cursor().execute(*args)

        def commit(connection):
            outer.reach()
            sqlite3.Connection.commit(connection)

        for function in (cursor, execute, commit):
            monkeypatch.setattr(connections._Connection, function.__name__, function, raising=False)

    def reach(self):
        self.count += 1
        if self.error is None:
            return
        self.left -= 1
        if -self.times <= self.left < 0:
            raise self.error

    @contextlib.contextmanager
    def failing(self, code, after, times=1):
        self.left, self.times = after, times
        if code == "memory":
            self.error = MemoryError()
        else:
            self.error = sqlite3.OperationalError(f"as if {code}")
            self.error.sqlite_errorcode = SQLITE_CODES[code]
        try:
            yield
        finally:
            self.error = None


@pytest.fixture
def database(monkeypatch):
    return Database(monkeypatch)


@pytest.mark.parametrize(
    "code", ["memory", *(code for code in SQLITE_CODES if code not in FOR_GOOD)]
)
def test_an_error_of_the_database_is_no_end_whatever_its_code(database, by_hand, path, code):
    by_hand.assign()
    before = database.count
    by_hand.flush()
    steps = database.count - before
    assert steps > 8
    failed = 0
    for times in (1, 3):
        for after in range(steps):

            def flush(after=after, times=times):
                with database.failing(code, after, times):
                    by_hand.flush()

            failed += by_hand.fail_and_go_on(flush, times)
    assert failed > steps
    by_hand.log.close()
    by_hand.check(path)


@pytest.mark.parametrize("code", FOR_GOOD)
def test_but_damage_is(database, by_hand, path, code):
    by_hand.assign()
    with database.failing(code, 3, 10**9):
        by_hand.flush()
    with pytest.raises(StoreFailed, match="cannot be written any more"):
        by_hand.log[10**6]["x"] = 1.0


def test_and_so_is_that_the_run_was_deleted(by_hand, path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("DELETE FROM runs")
        connection.commit()
    by_hand.assign()
    by_hand.flush()
    with pytest.raises(StoreFailed, match="was it deleted"):
        by_hand.log[10**6]["x"] = 1.0


# -- sealing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ["no memory", "no descriptor", "an import", "damage"])
@pytest.mark.parametrize(
    "point",
    [
        "sqlite.sink.compaction.Sealer._seal",
        "sql.segments.save_points",
        "sql.segments.delete_numbers",
        "sql.compaction.gather",
    ],
)
@pytest.mark.usefixtures("always_sealing")
def test_sealing_that_fails_leaves_rows(by_hand, path, error, point):
    """Before it has changed anything, or in the midst of it."""
    errors = ERRORS | {"damage": lambda: CorruptLog("a segment is damaged")}

    def fail(*_, **__):
        raise errors[error]()

    module, _, name = f"traininglog.{point}".rpartition(".")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{module}.{name}", fail)
        for _ in range(20):
            by_hand.assign(20)
            by_hand.flush()
            assert (by_hand.troubles.fatal, by_hand.troubles.current) == (None, None)
        if point != "sqlite.sink.compaction.Sealer._seal":
            assert by_hand.log.to_dict() == by_hand.rows
    assert any("keeps numbers as rows" in told for told in by_hand.warned)
    for _ in range(20):
        by_hand.assign(20)
        by_hand.flush()
    by_hand.log.close()
    by_hand.check(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM segments").fetchone()[0]


@pytest.mark.parametrize("how", ["close", "resume"])
@pytest.mark.parametrize("error", ["no memory", "no descriptor", "an import"])
def test_so_does_that_at_the_end_of_a_run(by_hand, path, monkeypatch, error, how):
    def fail(*_):
        raise ERRORS[error]()

    by_hand.assign(50)
    uuid = by_hand.log.uuid
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("traininglog.sqlite.sink.compaction.seal_run", fail)
        patch.setattr("traininglog.sql.compaction.seal", fail)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if how == "close":
                by_hand.log.close()
            else:
                by_hand.log.resume()
                by_hand.log[10**6]["x"] = 1.0
    assert any("keeps numbers as rows" in str(each.message) for each in caught)
    with SQLiteLog(path, uuid, readonly=True) as log:
        assert log.to_dict() == by_hand.rows


def test_numpy_is_not_imported_where_that_would_fail_halfway():
    """It refuses to be loaded twice: the whole program would be without it from then on."""
    script = """
        import os, resource, sys
        from traininglog.sqlite.sink.compaction import require_room_to_import
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, most))
        taken = []
        try:
            while True:
                taken.append(os.open(os.devnull, 0))
        except OSError:
            pass
        os.close(taken.pop())
        try:
            require_room_to_import()
        except OSError as error:
            assert "Too many open files" in str(error)
        else:
            raise AssertionError
        for descriptor in taken:
            os.close(descriptor)
        require_room_to_import()
        assert "numpy" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)


# -- the thread -----------------------------------------------------------------------------------


def wait_until(condition):
    deadline = time.monotonic() + GUARD
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def seen(path, uuid):
    with Store(path, readonly=True) as store, store.log(uuid, readonly=True) as log:
        return len(log)


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()], ids=repr)
def test_a_thread_that_could_not_be_started_is_asked_for_again(path, monkeypatch, error):
    """Until there is one, who assigns flushes: at most every quarter of a second."""
    asked = 0
    real = _thread.start_new_thread

    def start(*arguments):
        nonlocal asked
        asked += 1
        if refusing:
            raise error
        return real(*arguments)

    monkeypatch.setattr(_thread, "start_new_thread", start)
    refusing = True
    with SQLiteLog(path) as log:
        at = 0

        def assign():
            nonlocal at
            log[at]["x"] = at / 7
            at += 1
            return at

        owner = log._writer.owner
        wait_until(lambda: assign() > 100 and asked > 2 and seen(path, log.uuid) > 1)
        assert not owner._serving.locked()
        refusing = False
        wait_until(lambda: assign() and owner._serving.locked())
        wait_until(lambda: seen(path, log.uuid) == at)
    assert seen(path, log.uuid) == at


@pytest.mark.parametrize("asks", [False, True], ids=["unasked", "by flush()"])
def test_without_a_thread_each_assignment_is_seen_soon_after_all_the_same(path, monkeypatch, asks):
    """A loop of slow steps: no region of the journal is ever full."""

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    monkeypatch.setattr("traininglog.writer.writer.INTERVAL", 0.01)
    with SQLiteLog(path) as log:
        for at in range(40):
            log[at]["x"] = at / 7
            if asks and at % 10 == 0:
                log.flush()
            time.sleep(0.02)
            log[at]["y"] = at / 7  # by now the one before is due
            assert seen(path, log.uuid) == at + 1


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't allocate lock")], ids=repr)
@pytest.mark.parametrize("where", ["_next", "_tick"])
def test_a_thread_that_fails_goes_on(monkeypatch, error, where):
    owner = Owner("test")
    real = getattr(owner, where)
    left = 3

    def fail(*args):
        nonlocal left
        left -= 1
        if left >= 0:
            raise error
        return real(*args)

    told = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    setattr(owner, where, fail)
    assert owner.run(lambda: 7) == 7
    wait_until(lambda: left < 0)
    assert len(told) == (0 if isinstance(error, MemoryError) else 3)
    owner.park()


def test_a_thread_that_has_died_is_replaced():
    owner = Owner("test")

    def die(_):
        raise SystemExit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, "_next", die)
        owner.put(Request(lambda: None))
        wait_until(lambda: not owner._serving.locked())
    assert owner.run(lambda: 7) == 7
    owner.park()


# -- who asks and does not wait -------------------------------------------------------------------


def test_what_was_asked_for_is_done_though_the_caller_was_interrupted(path, monkeypatch):
    """That it failed is raised once, at the next call; that it went well is simply seen."""
    log = SQLiteLog(path)
    log[0]["x"] = 0.0

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Owner, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            log[1]["new"] = 1.0
    wait_until(lambda: log.to_dict() == {0: {"x": 0.0}, 1: {"new": 1.0}})

    def fail(*_, **__):
        raise StoreFailed("no room")

    with monkeypatch.context() as patch:
        patch.setattr(Owner, "wait", interrupted)
        patch.setattr(type(log._writer), "_flush", fail)
        with pytest.raises(KeyboardInterrupt):
            log.flush()
        wait_until(lambda: log._writer._left[0].finished)
    with pytest.raises(StoreFailed, match="no room"):
        log.flush()
    log.flush()
    log.close()
    with SQLiteLog(path, log.uuid, readonly=True) as again:
        assert again.to_dict() == {0: {"x": 0.0}, 1: {"new": 1.0}}


def test_what_a_destructor_assigns_in_the_owner_thread_is_made_afterwards(path):
    """The collector of garbage may come while it is in the midst of a flush."""
    log = SQLiteLog(path)
    log[0]["x"] = 0.0

    def in_the_midst():
        log[1]["new"] = 1.0  # would wait for itself
        log.flush()

    log._writer.owner.run(in_the_midst)
    assert log[1]["new"] == 1.0
    log.close()
    assert SQLiteLog(path, log.uuid)[1]["new"] == 1.0


# -- all of it, for real --------------------------------------------------------------------------


SHORT = """
import os, resource, sys, threading, time, warnings
from pathlib import Path
from traininglog import SQLiteLog

told = []
warnings.showwarning = lambda message, *_: told.append(str(message))
log = SQLiteLog(sys.argv[1])
what = sys.argv[2]
log[0]["a"] = 0.0
log.flush()
kind = resource.RLIMIT_NOFILE if what == "descriptors" else resource.RLIMIT_AS
before = resource.getrlimit(kind)
taken = []
if what == "descriptors":
    resource.setrlimit(kind, (60, before[1]))
    try:
        while True:
            taken.append(os.open(os.devnull, 0))
    except OSError:
        pass
else:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(kind, (used + 2**21, before[1]))
made = 1
end = time.monotonic() + 1.5
while time.monotonic() < end or made < 100_000:
    try:
        log[made]["a"] = 1.0 * made
        made += 1
    except (MemoryError, OSError) as error:
        assert what == "memory", error
resource.setrlimit(kind, before)
for descriptor in taken:
    os.close(descriptor)
goal = made + 1000
while made < goal:  # at once, and ever after
    log[made]["a"] = 1.0 * made
    made += 1
time.sleep(0.6)
log[made]["a"] = 1.0 * made
made += 1
threads = os.listdir("/proc/self/task")
log.flush()
log.close()
assert len(threads) > 1  # there is one again that flushes
print(made, len(told))
"""


@pytest.mark.parametrize("what", ["descriptors", "memory"])
def test_a_process_that_is_short_of_something_for_a_while_logs_on(path, what):
    done = subprocess.run(
        [sys.executable, "-c", SHORT, path, what], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    made, told = map(int, done.stdout.split())
    if what == "descriptors":
        assert told
    with Store(path) as store:
        assert store.check().problems == []
        with store.log(store.latest(), readonly=True) as log:
            assert log[:]["a"].tolist() == [float(at) for at in range(made)]
