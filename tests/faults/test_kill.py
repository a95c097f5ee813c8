"""However a process ends, what it had assigned is in the file for whoever opens it next.

`TESTS_TRIALS` says how many trials there are of killing a process, up to three times, at random
moments; 40 unless it is set.
"""

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from faults import harness
from patience import GUARD

from traininglog import SQLiteLog, Store

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs signals of POSIX")

# Read here, as settings from outside are kept out of the tests themselves.
TRIALS = int(os.environ.get("TESTS_TRIALS", "40"))

_AT_ONCE = 20  # trials a test, so that the tests can be spread over processes


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


# -- at random moments ------------------------------------------------------------------------


@pytest.mark.parametrize("first", range(0, TRIALS, _AT_ONCE))
def test_nothing_is_lost_when_a_process_is_killed_at_any_moment(tmp_path, first):
    """Nor doubled, nor out of order; and opening the file takes less than a second."""
    seeds = range(first, min(first + _AT_ONCE, TRIALS))
    trials = [harness.trial(tmp_path / str(seed), seed) for seed in seeds]
    lives = [life for trial in trials for life in trial["lives"]]
    # Most of them have left something to recover: else this would show nothing.
    assert sum(life["tails"] for life in lives) > len(lives) / 2
    assert max(life["took"] for life in lives) < harness.OPENING


def test_without_a_journal_the_same_trials_lose_something(tmp_path):
    """So they are able to fail."""
    lost = 0
    for seed in range(5):
        try:
            harness.trial(tmp_path / str(seed), seed, "buffered")
        except harness.Lost:
            lost += 1
    assert lost > 0


def test_a_full_journal_is_recovered_within_a_second(path):
    """The file is locked for half a second, so that nothing of it gets there before the end."""
    kind = harness.Kind(1, calm=True)
    sequence = harness.Sequence(kind)
    with harness.writing(path, kind, "process") as child:
        child.go()
        child.wait_for(1000)
        with harness.locked(path):
            time.sleep(0.5)
            child.kill()
        took = harness.recover(path, "store", None, None)
        harness.settle(path, sequence, child.count)
    assert took < harness.OPENING


@pytest.mark.parametrize("heavy", [False, True], ids=["many values", "long values"])
def test_a_process_that_cannot_write_goes_on_and_loses_nothing_when_killed(path, heavy):
    """The file is locked for three seconds, in which more is assigned than a journal holds."""
    kind = harness.Kind(2, heavy=heavy, calm=True)
    sequence = harness.Sequence(kind)
    with harness.writing(path, kind, "process") as child:
        child.go()
        child.wait_for(1000)
        with harness.locked(path):
            counts = [child.count]
            for _ in range(6):
                time.sleep(0.5)
                counts.append(child.count)
            child.kill()
        assert all(later - earlier > 100 for earlier, later in itertools.pairwise(counts)), counts
        harness.recover(path, "two", None, None)
        harness.settle(path, sequence, child.count)


def test_a_process_that_could_not_write_does_so_when_it_can(path):
    """And leaves no journal when it ends."""
    kind = harness.Kind(3, heavy=True, calm=True)
    sequence = harness.Sequence(kind)
    with harness.writing(path, kind, "process", stop=20_000, close=True) as child:
        child.go()
        child.wait_for(1000)
        with harness.locked(path):
            child.wait_for(20_000, standstill=2.0)
            assert child.count == 20_000
            time.sleep(0.3)
        child.end()
    assert harness.tails(path) == []
    sequence.advance(20_000)
    sequence.model.run.state = "finished"
    found, _ = harness.seen(path)
    wanted = harness.expected(sequence.model)
    assert harness.same(found, wanted), harness.difference(found, wanted)


# -- every way to end -------------------------------------------------------------------------

BEGIN = """
import os, signal, sys, threading, time
from traininglog import SQLiteLog
log = SQLiteLog(sys.argv[1])
for t in range(500):
    log[t]["x"] = t / 7
    log[t].update(text=str(t), nothing=None)
    log.status["iterations_done"] = t
"""

IN_A_FUNCTION = """
def train():
    for t in range(500, 510):
        log[t]["x"] = t / 7
    return
train()
"""

FORK = """
child = os.fork()
if child == 0:
    time.sleep(60)
    os._exit(0)
print(child, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""

#: How a process ends: its script after 500 steps, its exit status, and the state of its run.
ENDINGS = {
    "return without close": (IN_A_FUNCTION, 0, "finished"),
    "close": ("log.close()", 0, "finished"),
    "an exception": ("1 / 0", 1, "failed"),
    "an exception in with": ("with log: 1 / 0", 1, "failed"),
    "sys.exit()": ("sys.exit()", 0, "finished"),
    "sys.exit(3) in with": ("with log: sys.exit(3)", 3, "failed"),
    "os._exit": ("os._exit(0)", 0, "lost"),
    "os._exit in a thread": (
        "threading.Thread(target=os._exit, args=[4]).start(); time.sleep(60)", 4, "lost",
    ),
    "os.abort": ("os.abort()", -signal.SIGABRT, "lost"),
    "exec": ("os.execv('/bin/sh', ['sh', '-c', 'exit 5'])", 5, "lost"),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, "lost"),
    "SIGHUP": ("os.kill(os.getpid(), signal.SIGHUP)", -signal.SIGHUP, "lost"),
    "SIGKILL": ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, "lost"),
    # Versions of Python differ in the status that an interrupt leaves.
    "SIGINT": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", None, "failed"),
}  # fmt: skip


def start(script, path):
    """Start a process that runs a script."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), str(path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def check_all_there(path, state, steps=500):
    """See to it that the one run in a file is all there, and in this state."""
    with Store(path) as store:
        assert store.runs(heads=False)["state"].to_list() == [state]
        assert store.check().ok
        with store.log(store.latest(), readonly=True) as log:
            rows = {t: {"x": t / 7, "text": str(t), "nothing": None} for t in range(500)}
            rows |= {t: {"x": t / 7} for t in range(500, steps)}
            assert log.to_dict() == rows
            assert list(log) == list(range(steps))
            assert log.status["iterations_done"] == 499
    assert harness.tails(path) == []


def test_every_way_to_end_loses_nothing_and_is_told_truthfully(tmp_path):
    names = list(ENDINGS)
    for some in (names[:5], names[5:10], names[10:]):  # a few at a time: machines are small
        processes = {}
        for name in some:
            path = tmp_path / f"{names.index(name)}.db"
            processes[name] = path, start(BEGIN + ENDINGS[name][0], path)
        for name, (path, process) in processes.items():
            _, status, state = ENDINGS[name]
            errors = process.communicate(timeout=GUARD)[1]
            assert status in (None, process.returncode), (name, errors)
            # Whoever ends in an orderly way leaves nothing to recover.
            assert state == "lost" or harness.tails(path) == [], name
            check_all_there(path, state, 510 if name == "return without close" else 500)


def test_a_second_interrupt_while_the_first_is_at_work_loses_nothing(tmp_path):
    script = BEGIN + "print('ready', flush=True)\nwhile True: time.sleep(0.001)"
    for number, pause in enumerate((0.0, 0.002, 0.01, 0.03)):
        path = tmp_path / f"{number}.db"
        process = start(script, path)
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        time.sleep(pause)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=GUARD)
        with Store(path) as store:
            state = store.state(store.latest())
        assert state in ("failed", "lost")  # it depends on how far the first has come
        check_all_there(path, state)


def test_a_forked_child_that_lives_on_does_not_keep_the_run_of_its_dead_parent(path):
    """Neither is the run told to be running, nor is what it left kept from being recovered."""
    process = start(BEGIN + FORK, path)
    child = int(process.stdout.readline())
    try:
        assert process.wait(GUARD) == -signal.SIGKILL
        os.kill(child, 0)  # raises if it were gone
        check_all_there(path, "lost")
        with Store(path) as store, store.log(store.latest()) as log:
            log[500]["x"] = 500 / 7
        check_all_there(path, "finished", 501)
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()


def test_a_run_whose_process_was_killed_can_be_written_on(path):
    process = start(BEGIN + "os.kill(os.getpid(), signal.SIGKILL)", path)
    process.communicate(timeout=GUARD)
    with Store(path) as store:
        uuid = store.latest()
    with SQLiteLog(path, uuid) as log:
        assert log[499]["x"] == 499 / 7
        log[500]["x"] = 500 / 7
    check_all_there(path, "finished", 501)


# -- what is done at the same time ------------------------------------------------------------


def test_a_process_that_is_killed_as_it_makes_the_file_leaves_one_that_can_be_used(tmp_path):
    for number in range(12):
        path = tmp_path / f"{number}.db"
        with harness.writing(path, harness.Kind(number), "process", stop=1) as child:
            child.go()
            time.sleep(number / 1000)
            child.kill()
        with SQLiteLog(path) as log:
            log[1]["x"] = 1
        with Store(path) as store:
            assert store.log(log.uuid, readonly=True).to_dict() == {1: {"x": 1}}


LOOK = """
import sys
import traininglog.sqlite.log
from traininglog import Store
print("ready", flush=True)
sys.stdin.readline()
with Store(sys.argv[1]) as store, store.log(store.latest(), readonly=True) as log:
    print(len(log) > 1000, store.state(log.uuid))
"""


def test_whoever_opens_a_file_while_another_recovers_it_sees_it_recovered(path):
    """Not a run that seems to be running and to have logged nothing yet."""
    with harness.writing(path, harness.Kind(1, calm=True), "process") as child:
        child.go()
        child.wait_for(1)
        with harness.locked(path):
            child.wait_for(10_000)
            child.kill()
    both = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", LOOK, str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate(timeout=GUARD)[0] for process in both] == ["True lost\n"] * 2


NOTING = """
import mmap, signal, sys
from traininglog import SQLiteLog
log = SQLiteLog(sys.argv[1])
t = 0
def note(*_):
    log[t].update(note=f"signal during step {t}")
signal.signal(signal.SIGALRM, note)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
"""

HANDLER = """
with open(sys.argv[2], "r+b") as file:
    memory = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")  # each count one store
while True:
    log[t]["x"] = t / 7
    t += 1
    memory[0] = t
"""


def test_a_signal_handler_may_assign_in_the_midst_of_an_assignment(tmp_path):
    """It runs in the thread that it interrupts, which holds every lock that there is."""
    for number in range(4):
        path, shared = tmp_path / f"{number}.db", tmp_path / f"{number}.shared"
        shared.write_bytes(bytes(8))
        command = [sys.executable, "-W", "error", "-c", NOTING + HANDLER, str(path), str(shared)]
        with subprocess.Popen(command) as process:
            while not any(shared.read_bytes()):  # until it has begun
                assert process.poll() is None
                time.sleep(0.01)
            time.sleep(0.5 + number / 100)
            process.kill()
        assert process.returncode == -signal.SIGKILL
        done = int.from_bytes(shared.read_bytes(), sys.byteorder)
        assert done > 1000
        with Store(path) as store, store.log(store.latest(), readonly=True) as log:
            found = {t: row["x"] for t, row in log.to_dict().items() if "x" in row}
        assert found in ({t: t / 7 for t in range(done + more)} for more in (0, 1)), number


MANY_SIGNALS = """
for t in range(250_000):
    log[t]["x"] = t / 7
signal.setitimer(signal.ITIMER_REAL, 0)
log.close()
"""


def test_signal_handlers_that_assign_do_not_wait_for_the_file_on_top_of_each_other(path):
    """Where the loop has to wait, as it assigns faster than the file takes it in."""
    subprocess.run(
        [sys.executable, "-W", "error", "-c", NOTING + MANY_SIGNALS, str(path)], check=True
    )
    with Store(path) as store, store.log(store.latest(), readonly=True) as log:
        assert log.to_dataframe("x")["x"].to_list() == [t / 7 for t in range(250_000)]
        noted = log.to_dataframe("note")["note"].dropna()
        assert len(noted) > 100
        assert all(text == f"signal during step {t}" for t, text in noted.items())
