"""Many processes and threads at one file: nothing is lost and nobody is told to try again."""

import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from patience import GUARD

from traininglog import SQLiteLog, Store, StoreLocked, TrainingLogWarning
from traininglog.sqlite.database.database import Database
from traininglog.sqlite.file import failures, revisions


def start(script, *arguments):
    """Start a process that says "ready" and goes on when it is given a line."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def release(processes):
    """Let processes go on together, when all are ready."""
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.communicate()
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()


def finish(processes):
    """Return what processes printed; all of them must have done well, and silently."""
    results = [process.communicate(timeout=GUARD) for process in processes]
    assert [errors for _, errors in results] == [""] * len(processes)
    assert [process.returncode for process in processes] == [0] * len(processes)
    return [out for out, _ in results]


WRITER = """
import sys
from traininglog import SQLiteLog
path, number = sys.argv[1], int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
log = SQLiteLog(path)
log.status["number"] = number
for t in range(200):
    log[t].update({f"k{k}": number * 1_000_000 + t * 10 + k for k in range(10)})
    if t % 10 == 9:
        log.flush()
log.close()
print(log.h_uuid)
"""

READER = """
import sys, time
import traininglog.frames  # the slow part, so that the first look is early
from traininglog import SQLiteLog, Store
path, mode = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
store = Store(path, readonly=True)
polls = 0
deadline = time.monotonic() + 600
while time.monotonic() < deadline:
    table = store.runs("k9*")
    if mode == "frames":
        frame = store.to_dataframe()
        assert (frame["value"] >= 0).all()
        # An update is seen whole or not at all: with a row's first value its last is there, too.
        ends = frame[frame["key"].isin(["k0", "k9"])].groupby(["run", "key"], observed=True)
        assert (ends.size().unstack().nunique(axis=1) == 1).all()
    else:
        for uuid in table["uuid"]:
            with store.log(uuid, readonly=True) as log:
                for t in list(log)[-3:]:
                    assert len(log[t]) == 10, log[t]
    polls += 1
    if len(table) == 8 and (table["state"] == "finished").all():
        break
print(polls)
"""


def test_eight_processes_write_while_two_read_and_nothing_is_lost(tmp_path):
    path = tmp_path / "runs.db"
    Store(path, create=True).close()
    readers = [start(READER, path, mode) for mode in ("frames", "rows")]
    writers = [start(WRITER, path, number) for number in range(8)]
    release([*readers, *writers])
    uuids = [out.strip() for out in finish(writers)]
    polls = [int(out) for out in finish(readers)]
    assert min(polls) >= 2
    with Store(path) as store:
        assert store.check().ok
        for number, uuid in enumerate(uuids):
            with store.log(uuid, readonly=True) as log:
                assert log.status["number"] == number
                assert log.to_dict() == {
                    t: {f"k{k}": number * 1_000_000 + t * 10 + k for k in range(10)}
                    for t in range(200)
                }


def test_many_processes_that_open_a_new_file_at_once_make_one_schema(tmp_path):
    path = tmp_path / "runs.db"
    script = """
        import sys
        from traininglog import SQLiteLog
        print("ready", flush=True)
        sys.stdin.readline()
        with SQLiteLog(sys.argv[1]) as log:
            log[1]["x"] = 1
        print(log.h_uuid)
    """
    processes = [start(script, path) for _ in range(16)]
    release(processes)
    uuids = {out.strip() for out in finish(processes)}
    with Store(path) as store:
        assert set(store.runs(heads=False)["uuid"]) == uuids
        assert len(uuids) == 16
        assert store.runs("x")["x"].to_list() == [1] * 16
        assert store.check().ok


def test_threads_of_one_process_that_open_a_new_file_at_once_make_one_schema(tmp_path):
    path = tmp_path / "runs.db"
    barrier = threading.Barrier(8)

    def work():
        barrier.wait()
        with SQLiteLog(path) as log:
            log[1]["x"] = 1

    in_threads(*[work] * 8)
    with Store(path) as store:
        assert len(store.runs(heads=False)) == 8


def in_threads(*works):
    """Run functions side by side; raise the first error of any."""
    errors = []

    def guarded(work):
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it is raised below
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GUARD)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


@pytest.mark.parametrize("where", ["file", ":memory:"])
def test_threads_share_a_log_and_read_while_others_write(tmp_path, where):
    log = SQLiteLog(where if where == ":memory:" else tmp_path / "runs.db")
    done = threading.Event()

    def write(number):
        for t in range(400):
            log[t][f"k{number}"] = t
            log.status[f"k{number}"] = t
            if t % 50 == 0:
                log.flush()

    def write_all():
        try:
            in_threads(*[lambda number=number: write(number) for number in range(4)])
        finally:
            done.set()

    def read():
        while not done.is_set():
            for key in log.keys_seen():
                series = log[:][key]
                assert series.to_list() == list(series.index)
            assert all(value == t for t, row in log[:20].items() for value in row.values())
            assert len(log) <= 400

    in_threads(write_all, read)
    assert log.to_dict() == {t: {f"k{n}": t for n in range(4)} for t in range(400)}
    log.close()
    if where != ":memory:":
        with SQLiteLog(tmp_path / "runs.db", log.uuid) as again:
            assert len(again.to_dataframe().dropna()) == 400


@contextmanager
def locked(path):
    """Hold the write lock of a file in another process until the end."""
    holder = start(
        """
        import sqlite3, sys
        connection = sqlite3.connect(sys.argv[1], isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        print("ready", flush=True)
        sys.stdin.readline()
        connection.execute("ROLLBACK")
        """,
        path,
    )
    assert holder.stdout.readline() == "ready\n"
    yield
    holder.communicate("\n", timeout=GUARD)
    assert holder.returncode == 0


def test_a_file_that_is_locked_for_two_seconds_is_waited_for(tmp_path):
    path = tmp_path / "runs.db"
    with SQLiteLog(path) as log:
        log[0]["x"] = 0
        log.flush()
        with ThreadPoolExecutor() as pool:
            with locked(path):  # all along: who waited for that would wait in vain
                for t in range(1, 1000):
                    log[t]["x"] = t
                assert log[999]["x"] == 999  # reading never waits, either
                flushed = pool.submit(log.flush)
                time.sleep(2)
                assert not flushed.done()
            flushed.result()
    with SQLiteLog(path, log.uuid) as log:
        assert len(log) == 1000


def test_what_cannot_be_written_waits_in_the_journal_and_is_told_once(tmp_path, monkeypatch):
    path = tmp_path / "runs.db"
    monkeypatch.setattr(failures, "PATIENCE", 0.05)
    monkeypatch.setattr("traininglog.writer.health._LOCKED_SECONDS", 0.1)
    monkeypatch.setattr("traininglog.writer.writer._RETRY_SECONDS", 0.1)
    monkeypatch.setattr("traininglog.writer.writer._SOON", 0.05)
    log = SQLiteLog(path)
    log[0]["x"] = 0
    log.flush()
    with locked(path), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for t in range(1, 25_000):  # far more than what makes a log flush
            log[t]["x"] = t
            time.sleep(0.5 if t in (10, 100, 1000) else 0)
        assert [warning.category for warning in told] == [TrainingLogWarning]
        assert "waits in the journal" in str(told[0].message)
        assert told[0].filename == __file__
        with pytest.raises(StoreLocked):
            log.flush()
        with pytest.raises(StoreLocked):
            log.commit()
        assert log[24_999 - 1]["x"] == 24_998
        assert len(log) == 25_000
    log.flush()
    with Store(path) as store:
        assert store.runs(heads=False).loc[0, ["rows", "last"]].to_list() == [25_000, 24_999]
    log.close()


def test_every_method_of_a_log_and_store_meets_a_locked_file_with_one_error(tmp_path, monkeypatch):
    """Reading goes on; writing raises StoreLocked, changes nothing, and works again afterwards."""
    path = tmp_path / "runs.db"
    with SQLiteLog(path) as log:
        log[1]["x"] = 1
    uuid = log.uuid
    monkeypatch.setattr(failures, "PATIENCE", 0.05)
    with Store(path) as store, SQLiteLog(path, uuid) as reader:
        with locked(path):
            for write in (
                lambda: SQLiteLog(path),
                lambda: SQLiteLog(path, uuid, resume=True),
                reader.resume,
                lambda: reader[2].update(x=2),
                lambda: reader.status.update(x=2),
                lambda: store.delete(uuid),
            ):
                with pytest.raises(StoreLocked):
                    write()
            assert reader.uuid == uuid
            assert reader.to_dict() == {1: {"x": 1}}
            assert len(store.runs("x")) == 1
            assert store.check().ok
            assert len(store.to_dataframe()) == 1
            store.backup(tmp_path / "copy.db")
            with SQLiteLog(path, uuid, readonly=True) as other:
                assert other.last("x") == (1, 1)
        reader[2]["x"] = 2
        assert len(store.runs(heads=False)) == 1
        assert reader.to_dict() == {1: {"x": 1}, 2: {"x": 2}}


def test_closing_while_the_file_is_locked_raises_and_can_be_done_again(tmp_path, monkeypatch):
    path = tmp_path / "runs.db"
    monkeypatch.setattr(failures, "PATIENCE", 0.05)
    log = SQLiteLog(path)
    log[1]["x"] = 1
    with locked(path), pytest.raises(StoreLocked):
        log.close()
    log.close()
    with SQLiteLog(path, log.uuid) as log:
        assert log[1] == {"x": 1}


def test_a_long_reader_does_not_keep_writers_waiting(tmp_path):
    path = tmp_path / "runs.db"
    with SQLiteLog(path) as log:
        log[0]["x"] = 0
        log.flush()
        reader = sqlite3.connect(path)
        reader.execute("BEGIN")
        seen = reader.execute("SELECT count(*) FROM entries").fetchone()
        for t in range(1, 200):
            log[t]["x"] = t
            log.flush()  # which would not come about if it waited
        assert reader.execute("SELECT count(*) FROM entries").fetchone() == seen == (1,)
        reader.close()


# What a process looks like that has just found a WAL, and reads it: its index has no header yet,
# and those who come are told that the file is locked.
HOLD_INDEX = """
import fcntl, os, sys, time
with open(sys.argv[1] + "-shm", "r+b") as index:
    fcntl.lockf(index, fcntl.LOCK_EX, 3, 120)  # to write, to copy, to recover
    os.pwrite(index.fileno(), bytes(136), 0)
    print("ready", flush=True)
    sys.stdin.readline()
    time.sleep(0.5)
"""


def test_a_first_write_waits_for_who_is_just_opening_the_file(tmp_path):
    """A new connection looks into the file before its first transaction begins."""
    path = tmp_path / "runs.db"
    SQLiteLog(path).close()
    database = Database(path, readonly=False)
    with database.read() as connection:
        revisions.is_blank(connection)  # so that there is an index
    holder = start(HOLD_INDEX, path)
    release([holder])
    begin = time.monotonic()
    with database.write() as connection:
        assert not revisions.is_blank(connection)
    assert time.monotonic() - begin > 0.3
    finish([holder])
    database.close()


@pytest.mark.parametrize("ending", ["close", "resume", "another log assigns"])
def test_a_log_can_be_left_while_a_thread_never_stops_assigning(tmp_path, ending):
    """Whoever assigns waits: to save what is pending would never end otherwise."""
    script = f"""
        import threading
        from traininglog import LogClosed, SQLiteLog

        log = SQLiteLog({str(tmp_path / "runs.db")!r})
        other = SQLiteLog({str(tmp_path / "runs.db")!r}, log.uuid)
        uuid, going, stop = log.uuid, threading.Event(), threading.Event()
        acknowledged = 0

        def work():
            global acknowledged
            try:
                for number in range(10**9):
                    log[number][f"key {{number % 5000}}"] = "x" * 100
                    acknowledged = number + 1
                    if number == 300:
                        going.set()
                    if stop.is_set():
                        return
            except LogClosed:
                pass

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        going.wait()
        if {ending!r} == "close":
            log.close()
        elif {ending!r} == "resume":
            log.resume()
        else:
            other[10**9]["mine"] = 1
        stop.set()
        thread.join()
        log.close()
        other.close()
        found = set()
        for run in {{uuid, log.uuid}}:  # what came between goes to the one or the other
            found.update(SQLiteLog({str(tmp_path / "runs.db")!r}, run, readonly=True))
        times = sorted(time for time in found if time < 10**9)
        assert times == list(range(len(times))) and len(times) >= acknowledged, len(times)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True, text=True, timeout=GUARD, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
