"""Writers queue: they are let in as they came, and who makes no use of its turn stops nobody."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from patience import until

from traininglog import SQLiteLog, file_locks, forks
from traininglog.errors import StoreLocked
from traininglog.sqlite.database import turns
from traininglog.sqlite.database.database import Database

pytestmark = pytest.mark.skipif(not file_locks.OWN, reason="needs locks of open files (Linux)")

#: So long that nobody is gone round.
NEVER = 1e9


@pytest.fixture
def path(tmp_path):
    """Give a file in which a run was written, and has its file of locks."""
    with SQLiteLog(tmp_path / "runs.db") as log:
        log[0]["x"] = 0
    return tmp_path / "runs.db"


@pytest.fixture
def database(path):
    opened = Database(path, readonly=False)
    yield opened
    opened.close()


@contextmanager
def taken(path):
    """Hold what everybody waits for."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def numbers(path):
    """Return the numbers that are out, by looking as any process can."""
    with path.with_name(f"{path.name}-owners").open("rb") as file:
        found, at = [], turns._FIRST
        while (place := file_locks.some_locked(file.fileno(), at, turns._END - at)) is not None:
            found.append(place)
            at = place + 1
    return found


def descriptors(path):
    """Return the files of a folder that this process has open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one of the look itself
            found.append(str(link.readlink()))
    return sorted(name for name in found if name.startswith(str(path.parent)))


def writer(path):
    """Start a process that writes a transaction, and says so."""
    script = """
import sys, time
from pathlib import Path
from traininglog.sqlite.database.database import Database
database = Database(Path(sys.argv[1]), readonly=False)
with database.write():
    pass
print("written", flush=True)
database.close()
"""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, path], stdout=subprocess.PIPE, text=True
    )


@contextmanager
def started(act):
    """Run something in a thread, and see it end."""
    raised = []

    def run():
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - raised below
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield thread
    until(lambda: not thread.is_alive())
    if raised:
        raise raised[0]


def test_who_waits_is_let_in_in_order_of_arrival(path, monkeypatch):
    monkeypatch.setattr(turns, "ASLEEP", NEVER)
    order = []

    def write(number):
        with closing(Database(path, readonly=False)) as database, database.write():
            order.append(number)
            time.sleep(0.002)

    threads = [threading.Thread(target=write, args=[number]) for number in range(12)]
    with taken(path):
        for count, thread in enumerate(threads, 1):
            thread.start()
            until(lambda count=count: len(numbers(path)) == count)
    until(lambda: not any(thread.is_alive() for thread in threads))
    assert order == list(range(12))
    assert numbers(path) == []


def test_who_comes_later_does_not_pass_who_waits(database, path, monkeypatch):
    """Even if SQLite would let it in at that moment."""
    monkeypatch.setattr(turns, "ASLEEP", NEVER)
    first = turns._Number().draw(turns.Turns(path)._path)
    order = []

    def write():
        with database.write():
            order.append("later")

    with started(write):
        until(lambda: len(numbers(path)) == 2)
        order.append("first")
        first.give_back()
    assert order == ["first", "later"]


def test_a_process_that_was_stopped_while_it_is_first_is_gone_round(database, path, monkeypatch):
    monkeypatch.setattr(turns, "ASLEEP", 0.2)
    with taken(path):
        other = writer(path)
        until(lambda: numbers(path) != [])
        other.send_signal(signal.SIGSTOP)
    try:
        with database.write():
            pass
        # From then on nobody waits for it: to queue again would be an error.
        monkeypatch.setattr(turns, "_wait", None)
        for _ in range(5):
            with database.write():
                pass
    finally:
        other.send_signal(signal.SIGCONT)
        assert other.communicate() == ("written\n", None)
    assert other.returncode == 0
    assert numbers(path) == []
    assert not database._file.turns._is_anybody_waiting()
    assert not turns._ASLEEP[database._file.turns._path]  # whoever gets the number next counts


def test_a_process_that_was_killed_leaves_its_place(database, path, monkeypatch):
    monkeypatch.setattr(turns, "ASLEEP", NEVER)
    with taken(path):
        other = writer(path)
        until(lambda: numbers(path) != [])
        other.kill()
        other.communicate()
    with database.write():
        pass
    assert numbers(path) == []


def test_a_forked_child_does_not_keep_the_place_of_its_parent(database, path, monkeypatch):
    monkeypatch.setattr(turns, "ASLEEP", NEVER)
    monkeypatch.setattr(forks, "_FORK_PATIENCE", 0.05)

    def write():
        with database.write():
            pass

    ending, end = os.pipe()
    with taken(path):
        waiting = started(write)
        waiting.__enter__()
        until(lambda: numbers(path) != [])
        child = os.fork()
        if child == 0:
            os.write(end, b".")
            signal.pause()  # it lives as long as the test looks
    try:
        os.read(ending, 1)
        waiting.__exit__(None, None, None)
        assert numbers(path) == []
        write()
    finally:
        os.close(end)
        os.close(ending)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_signal_handler_may_write_while_its_thread_waits(path, monkeypatch):
    """Its transaction does not wait for the one that it interrupts."""
    monkeypatch.setattr(turns, "ASLEEP", NEVER)
    done = []
    with (
        closing(Database(path, readonly=False)) as one,
        closing(Database(path, readonly=False)) as two,
    ):

        def handle(*_):
            assert len(numbers(path)) == 1
            with two.write():
                done.append("handler")

        before = signal.signal(signal.SIGUSR1, handle)
        try:
            hold = threading.Event()

            def interrupt():
                with taken(path):
                    hold.set()
                    until(lambda: numbers(path) != [])
                    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
                    time.sleep(0.1)
                until(lambda: "handler" in done)

            with started(interrupt):
                until(hold.is_set)
                with one.write():
                    done.append("program")
        finally:
            signal.signal(signal.SIGUSR1, before)
    assert done == ["handler", "program"]
    assert numbers(path) == []


def test_a_handler_that_raises_leaves_no_place_behind(database, path, monkeypatch):
    monkeypatch.setattr(turns, "ASLEEP", NEVER)

    def handle(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with taken(path):

            def interrupt():
                until(lambda: numbers(path) != [])
                signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

            with started(interrupt), pytest.raises(KeyboardInterrupt), database.write():
                pass
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert numbers(path) == []
    with database.write():
        pass


def test_a_patience_is_kept_whoever_is_first(database, path):
    first = turns._Number().draw(turns.Turns(path)._path)
    with taken(path):
        for patience in (0.0, 0.05):
            with pytest.raises(StoreLocked), database.write(patience=patience):
                pass
    with database.write(patience=0.0):  # SQLite lets it in, and it has no time to queue
        pass
    first.give_back()
    assert numbers(path) == []


def test_waiting_takes_no_descriptor_for_good(path):
    def write():
        with closing(Database(path, readonly=False)) as database, database.write():
            pass

    def contend():
        threads = [threading.Thread(target=write) for _ in range(5)]
        with taken(path):
            for thread in threads:
                thread.start()
            until(lambda: len(numbers(path)) == 5)
        until(lambda: not any(thread.is_alive() for thread in threads))

    contend()
    before = descriptors(path)
    for _ in range(3):
        contend()
    assert descriptors(path) == before


@pytest.mark.parametrize("lock_file", ["none", "folder", "removed"])
def test_where_no_number_can_be_had_it_is_tried_again_and_again(database, path, lock_file):
    locks = path.with_name("runs.db-owners")
    if lock_file == "removed":  # while it is open for looking
        with database.write():
            pass
    locks.unlink()
    if lock_file == "folder":
        locks.mkdir()
    done = []

    def write():
        with database.write():
            done.append(1)

    with taken(path):
        waiting = started(write)
        waiting.__enter__()
        time.sleep(0.05)
        assert not done
    waiting.__exit__(None, None, None)
    assert done == [1]


HAMMER = """
import sys, time
from pathlib import Path
from traininglog.sqlite.database.database import Database
database = Database(Path(sys.argv[1]), readonly=False)
print("ready", flush=True)
sys.stdin.readline()
passed = []
count = "SELECT count(*) FROM lets_in"
for _ in range(int(sys.argv[2])):
    with database.read() as connection:
        before = connection.exec_driver_sql(count).scalar_one()
    with database.write() as connection:
        passed.append(connection.exec_driver_sql(count).scalar_one() - before)
        connection.exec_driver_sql("INSERT INTO lets_in VALUES (1)")
        time.sleep(0.001)
database.close()
print(*passed, flush=True)
"""


def test_nobody_is_passed_by_others_again_and_again(path):
    """How often others were let in while one waited: hardly ever more than once each."""
    crowd, rounds = 8, 40
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE lets_in (x)")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HAMMER, path, str(rounds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(crowd)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    passed = sorted(int(each) for process in processes for each in process.communicate()[0].split())
    assert len(passed) == crowd * rounds
    assert max(passed) >= 1  # they did meet
    # Some slack for who is not scheduled between counting and queueing.
    assert passed[int(0.95 * len(passed))] <= 2 * crowd
