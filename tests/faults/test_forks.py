"""Forks while a log is being written: by hand, two hundred in a row, and by pools of workers."""

import os
import signal
import subprocess
import sys
import time

import pytest
from faults import harness
from patience import GUARD

from traininglog import SQLiteLog, Store

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

FORKS = 200

#: A process that does nothing for so many seconds waits for a lock that nobody will give up.
DEADLOCK = 10


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


def start(*command, warnings=("error",)):
    """Start a process in which warnings are errors, at the head of a group of its own."""
    options = [word for warning in warnings for word in ("-W", warning)]
    return subprocess.Popen(
        [sys.executable, *options, *map(str, command)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip


def end(process, patience=60.0):
    """Return what a process has printed, and what it has complained of, when it has ended."""
    try:
        return process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # and all that it has started
        pytest.fail(f"no end after {patience} s, but {process.communicate()}")


# -- by hand ----------------------------------------------------------------------------------

#: The steps of the parent go round and round over so many times, so that the file stays small.
TIMES = 20_000

# How many steps are done stands in memory that is shared with the test, where a kill leaves it.
FORKING = """
import faulthandler, gc, itertools, mmap, os, signal, sys, threading, time
from traininglog import ForkedLog, SQLiteLog

path, shared, way = sys.argv[1:4]
forks, times, deadlock = map(int, sys.argv[4:])
with open(shared, "r+b") as file:
    memory = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")  # each count one store
# Whoever is still there when the alarm goes off says where it stands, and dies.
faulthandler.register(signal.SIGALRM, chain=True)

gc.freeze()  # the modules: or each child would spend most of its time on ending them
log = SQLiteLog(path)
steps = itertools.count()

def step():
    n = next(steps)
    log[n % times]["x"] = float(n)
    memory[0] = n + 1

def write_to_the_log_of_its_parent():
    try:
        log[0]["x"] = -1.0
    except ForkedLog as error:
        assert "anew" in str(error) and path in str(error), error
    else:
        raise AssertionError("a child may write to the log of its parent")

def write_a_run_of_its_own(number):
    mine = SQLiteLog(path)
    mine.status["child"] = number
    for t in range(20):
        mine[t]["y"] = number + t / 7
    mine.close()

def child(number):
    signal.alarm(deadlock)
    if number % 3 == 0:
        write_to_the_log_of_its_parent()
    elif number % 3 == 1:
        write_a_run_of_its_own(number)
    sys.exit()  # not os._exit: whatever is done when an interpreter ends is done

children = set()

def reap(most):
    while len(children) > most:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            children.remove(pid)
            signal.alarm(deadlock)
            assert status == 0, f"a child has ended with status {status}"
        elif way == "thread":
            time.sleep(0.0005)
        else:
            step()

def step_on():
    while True:
        for _ in range(500):
            step()
        if way == "thread":
            log.flush()  # so that many a fork comes in the midst of a transaction

if way == "thread":
    threading.Thread(target=step_on, daemon=True).start()
signal.alarm(deadlock)
for number in range(forks):
    if way != "thread":
        for _ in range(50):
            step()
    pid = os.fork()
    if pid == 0:
        child(number)
    children.add(pid)
    reap(3)
reap(0)
signal.alarm(0)
done = memory[0]
log.flush()
print(done, flush=True)
if way != "thread":
    step_on()
signal.pause()
"""


def after(steps):
    """Return what the log of the parent holds after so many steps."""
    return {n % TIMES: {"x": float(n)} for n in range(max(0, steps - TIMES), steps)}


def look(path):
    """Return what the parent has logged, and its state; the runs of its children must be whole."""
    with Store(path) as store:
        assert store.check().ok
        table = store.runs(heads=False)
        first, *others = table["uuid"]
        assert table["state"].to_list()[1:] == ["finished"] * len(others)
        numbers = []
        for uuid in others:
            with store.log(uuid, readonly=True) as log:
                number = log.status["child"]
                assert log.to_dict() == {t: {"y": number + t / 7} for t in range(20)}
                numbers.append(number)
        assert sorted(numbers) == list(range(1, FORKS, 3))
        with store.log(first, readonly=True) as log:
            return log.to_dict(), table["state"][0]


# From Python 3.12 on, whoever forks while it has threads is warned, and rightly so.
WARNINGS = {"main thread": ["error"], "thread": ["error", "ignore:This process:DeprecationWarning"]}


@pytest.mark.parametrize("way", WARNINGS)
def test_two_hundred_forks_of_a_process_that_assigns_all_the_while_do_no_harm(path, way):
    """A third of the children try to write to its log, a third write runs of their own."""
    shared = path.with_name("shared")
    shared.write_bytes(bytes(8))
    arguments = ["-c", FORKING, path, shared, way, FORKS, TIMES, DEADLOCK]
    with start(*arguments, warnings=WARNINGS[way]) as process:
        line = process.stdout.readline()
        if line:
            found, state = look(path)
            time.sleep(0.1)
        process.kill()
        _, errors = end(process)
    assert not errors, errors
    assert process.returncode == -signal.SIGKILL
    assert state == "running"
    # It has gone on meanwhile: what is seen is what there was at some moment after the flush.
    seen = int(max(row["x"] for row in found.values())) + 1
    assert seen >= int(line)
    assert found == after(seen)

    done = int.from_bytes(shared.read_bytes(), sys.byteorder)
    assert done > seen
    found, state = look(path)
    assert state == "lost"
    assert found in (after(done), after(done + 1))
    assert harness.tails(path) == []


# A child that logs, and goes on doing so when its parent has ended; it is told when to.
LEFT_ALONE = """
import os, signal, sys
from traininglog import SQLiteLog

path, way = sys.argv[1:]
log = SQLiteLog(path)
log[0]["x"] = 0.0
log.flush()
begun, begin = os.pipe()
if os.fork() == 0:
    mine = SQLiteLog(path)
    for t in range(100):
        mine[t]["y"] = t / 7
    mine.flush()
    print(os.getpid(), mine.h_uuid, flush=True)
    os.write(begin, b".")
    sys.stdin.readline()
    for t in range(100, 200):
        mine[t]["y"] = t / 7
    mine.flush()
    mine[200]["y"] = 200 / 7
    print("done", flush=True)
    sys.stdin.readline()
    mine.close()
    sys.exit()
os.read(begun, 1)
if way == "killed":
    signal.pause()
log.close()
"""


@pytest.mark.parametrize("parent", ["closed", "killed"])
@pytest.mark.parametrize("child", ["closed", "killed"])
def test_what_a_child_logs_is_there_though_its_parent_ends_before_it(path, parent, child):
    """Others come and go, too: whoever closes a file last takes away what goes with it."""
    with start("-c", LEFT_ALONE, path, parent) as process:
        pid, uuid = process.stdout.readline().split()
        if parent == "killed":
            process.kill()
        process.wait(GUARD)
        try:
            with Store(path) as store:
                assert store.state(uuid) == "running"
                assert store.runs(heads=False)["rows"].to_list() == [1, 100]
            with SQLiteLog(path) as log:
                log[0]["z"] = 0.0
            process.stdin.write("go on\n")
            process.stdin.flush()
            assert process.stdout.readline() == "done\n"
            with SQLiteLog(path, log.uuid) as log:
                log[1]["z"] = 1.0
            with Store(path) as store:
                assert store.state(uuid) == "running"
                assert store.runs(heads=False)["rows"].to_list()[1] >= 200
        finally:
            if child == "killed":
                os.kill(int(pid), signal.SIGKILL)
            _, errors = process.communicate("end\n", timeout=GUARD)
    assert not errors, errors
    with Store(path) as store:
        assert store.check().ok
        ends = {"closed": "finished", "killed": "lost"}
        assert store.runs(heads=False)["state"].to_list() == [ends[parent], ends[child], "finished"]
        found = []
        for run in store.runs(heads=False)["uuid"]:
            with store.log(run, readonly=True) as log:
                found.append(log.to_dict())
    assert found[0] == {0: {"x": 0.0}}
    assert found[1] == {t: {"y": t / 7} for t in range(201)}
    assert found[2] == {t: {"z": float(t)} for t in range(2)}
    assert harness.tails(path) == []


# -- pools of workers -------------------------------------------------------------------------

WORKERS = """
import itertools, multiprocessing, os, sys
from traininglog import ForkedLog, SQLiteLog, Store

def load(number):
    return [number / 7] * 10

def receive(received):
    global given
    given = received

def read(last):
    seen = given.to_dict()
    assert seen == {t: {"x": t / 7} for t in range(last + 1)}, seen
    assert given[last]["x"] == last / 7 and given.last("x") == (last, last / 7)
    assert len(given) == last + 1 and given[last + 1] == {}
    assert given.status["iterations_done"] == last
    return os.getpid()

def read_what_is_inherited(number):
    told = []
    for look in (
        lambda: log[0]["x"], lambda: log[10**6], lambda: len(log), lambda: list(log),
        lambda: log.status["iterations_done"], lambda: log.last("x"), log.to_dict,
    ):
        try:
            told.append(f"read {look()}")
        except ForkedLog as error:
            told.append(str(error))
    return told

def step():
    t = next(steps)
    log[t]["x"] = t / 7
    log.status["iterations_done"] = t
    return t

def go_on_until_done(work):
    while not work.ready():
        for _ in range(100):
            step()
        work.wait(0.01)

def train():
    for epoch in range(2):
        with context.Pool(2) as pool:
            for batch in pool.imap_unordered(load, range(50)):
                assert len(batch) == 10
                for _ in range(100):
                    step()

def share():
    for epoch in range(2):
        for _ in range(1000):
            last = step()
        with context.Pool(2, receive, [log]) as pool:
            work = pool.map_async(read, [last] * 6, chunksize=1)
            go_on_until_done(work)
            work.get()
            pool.close()
            pool.join()

def inherit():
    for _ in range(1000):
        step()
    with context.Pool(2) as pool:
        work = pool.map_async(read_what_is_inherited, range(4), chunksize=1)
        go_on_until_done(work)
        for message in itertools.chain.from_iterable(work.get()):
            assert "anew" in message and path in message, message
        pool.close()
        pool.join()

if __name__ == "__main__":
    path, method, act = sys.argv[1:]
    context = multiprocessing.get_context(method)
    steps = itertools.count()
    log = SQLiteLog(path)
    step()
    {"train": train, "share": share, "inherit": inherit}[act]()
    log.close()
    print(next(steps))
"""


def work(path, method, act):
    """Run a script that trains with workers; nothing may hang, nor be said, nor be missing."""
    # A file, as those of its workers that are not forked have to import it.
    script = path.with_name("script.py")
    script.write_text(WORKERS)
    told, errors = end(start(script, path, method, act))
    assert not errors, errors
    with Store(path) as store:
        assert store.check().ok
        assert store.runs(heads=False)["state"].to_list() == [
            "finished"
        ]  # and no other run is there
        with store.log(store.latest(), readonly=True) as log:
            steps = int(told)
            assert log.to_dict() == {t: {"x": t / 7} for t in range(steps)}
            assert log.status["iterations_done"] == steps - 1
    assert harness.tails(path) == []


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_that_load_data_are_no_concern_of_the_log(path, method):
    """A new pool of them in each epoch, while the log is open and being written."""
    work(path, method, "train")


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_that_are_given_the_log_read_it_as_it_was_and_leave_no_run(path, method):
    work(path, method, "share")


def test_workers_that_are_forked_with_the_log_are_told_to_open_it_anew(path):
    work(path, "fork", "inherit")
