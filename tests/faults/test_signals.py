"""Whatever a signal handler does, and at whatever point it comes, nothing is lost.

It may assign to the log that it interrupts, flush or close it, or raise an exception, as that of
Ctrl-C does; the program may go on after that. CPython runs handlers in the main thread only, and
what belongs together is changed by another one: so there are few points at which one may come.
`TESTS_LONG=1` tries every point, not only some.
"""

import itertools
import random
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from functools import partial

import pytest
from faults import harness
from faults.interrupts import Interrupted
from patience import GUARD
from sqlalchemy import Engine, event

from traininglog import LogClosed, SQLiteLog, Store, TrainingLog
from traininglog.journal.region import REGION
from traininglog.sqlite.file.connections import _Connection
from traininglog.writer.owner import Owner

# Python drops what is raised in a destructor.
raises = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)

SOME = 10**6 if harness.LONG else 12


def assign(key, value, at, log):
    log[at][key] = value


def row(log):
    log[3].update(x=1.5, text="t", nothing=None, flag=True)


def status(log):
    log.status["best"] = 3


def delete(log):
    del log[1]["x"]


def frame(log):
    log.to_dataframe()


def resume(log):
    log.resume(at=9)


def three(log):
    for at in range(3):
        log[at]["x"] = at / 7


def many(log):
    for at in range(300):
        log[at].update(x=at / 7, n=at)


def nearly_a_region(log):
    three(log)
    log[0]["long"] = "y" * (REGION - 900)


FILL = [partial(assign, "x", at / 7, at) for at in range(3, 30)]

#: What is assigned before, and what is interrupted, step by step.
DOING = {
    "a first assignment": (lambda log: None, [partial(assign, "x", 0.5, 0)]),
    "an assignment": (three, [partial(assign, "x", 0.5, 3)]),
    "new keys": (three, [partial(assign, "y", 0.5, 2), partial(assign, "z", "text", 2)]),
    "a row": (three, [row]),
    "the status": (three, [status]),
    "a deletion": (three, [delete]),
    "a new region": (nearly_a_region, FILL),
    "reading": (three, [frame]),
    "flush": (three, [SQLiteLog.flush]),
    "seal": (many, [SQLiteLog.seal]),
    "close": (three, [SQLiteLog.close]),
    "resuming": (three, [resume]),
}

INTERRUPTED = [*DOING]
INTERRUPTED.remove("resuming")  # after it, what was assigned to the status is the parent's


def do(step, log):
    """Do a step to the log in memory, which has no file to flush to."""
    if step not in (SQLiteLog.flush, SQLiteLog.seal, SQLiteLog.close, resume):
        step(log)


def content(log):
    """Return all values, and those of the status that these tests set."""
    kept = {key: log.status[key] for key in ("best", "signal 0", "signal 1") if key in log.status}
    return log.to_dict(), kept


def states(prepare, steps, *more):
    """Return what there is after each of the steps, and then after more of them."""
    found = []
    for done in range(len(steps) + 1):
        log = TrainingLog()
        prepare(log)
        for step in [*steps[:done], *more]:
            do(step, log)
        found.append(content(log))
    return found


@pytest.fixture(params=INTERRUPTED)
def doing(request, monkeypatch):
    """What is interrupted; nothing else flushes meanwhile, so that points have fixed numbers."""
    monkeypatch.setattr(Owner, "schedule", lambda *_: None)
    return DOING[request.param]


class Trials:
    """A run for each point at which it is interrupted."""

    def __init__(self, folder, doing):
        self.folder = folder
        self.prepare, self.steps = doing
        self.number = 0

    def count(self):
        """Return at how many points it can be interrupted each time.

        The first time there are more, as caches are filled.
        """
        counts = []
        for _ in range(3):
            everything = Interrupted(lambda: None)
            with self.log() as log:
                everything.run(partial(self.act, log))
            counts.append(everything.count)
        return min(counts)

    def points(self):
        """Return at which to interrupt it: some, in all parts of it."""
        count = self.count()
        stride = -(-count // SOME)
        return range(random.Random(count).randrange(stride), count, stride)

    def log(self):
        self.number += 1
        log = SQLiteLog(self.folder / f"{self.number}.db")
        self.prepare(log)
        return log

    def act(self, log):
        for step in self.steps:
            step(log)

    def found(self, log):
        """Close the log, and return what is in its file."""
        path = self.folder / f"{self.number}.db"
        log.close()
        assert harness.tails(path) == []
        with SQLiteLog(path, log.uuid, readonly=True) as again:
            return content(again)


@pytest.fixture
def trials(tmp_path, doing):
    return Trials(tmp_path, doing)


class Noting:
    """A signal handler that assigns in three ways, until it is told that the log is closed."""

    def __init__(self, log):
        self.log = log
        self.number = 0
        self.done = []  # what it has assigned

    def __call__(self):
        number, self.number = self.number, self.number + 1
        with suppress(LogClosed):
            for act in NOTES:
                act(number, self.log)
                self.done.append(partial(act, number))


NOTES = [
    lambda number, log: log.status.update({f"signal {number}": number}),
    lambda number, log: log[1].update({f"signal {number}": "here"}),
    lambda number, log: log[9].update({f"signal {number}": 2.5}),
]


def assert_all_is_there(trials, points):
    log = trials.log()
    noting = Noting(log)
    interrupted = Interrupted(noting, points)
    interrupted.run(partial(trials.act, log))
    wanted = states(trials.prepare, trials.steps, *noting.done)[-1]
    assert trials.found(log) == wanted, interrupted.where


def test_one_may_assign(trials):
    for point in trials.points():
        assert_all_is_there(trials, [point])


def test_two_may_assign(trials):
    chance = random.Random(2)
    for point in trials.points():
        assert_all_is_there(trials, [point, point + chance.randrange(1, 40)])


#: In how many points each of these can be interrupted at the most, once caches are filled.
MOST = {"an assignment": 8, "new keys": 80, "flush": 30, "close": 30, "resuming": 60}


@pytest.mark.parametrize("doing", MOST, indirect=True)
def test_there_are_few_points_at_which_one_may_come(trials, request):
    assert trials.count() <= MOST[request.node.callspec.params["doing"]]


@pytest.mark.parametrize("what", ["flush", "to_dataframe"])
def test_one_may_look_or_flush(trials, what):
    for point in trials.points():
        log = trials.log()

        def handle(log=log):
            with suppress(LogClosed):
                getattr(log, what)()

        interrupted = Interrupted(handle, [point])
        interrupted.run(partial(trials.act, log))
        wanted = states(trials.prepare, trials.steps)[-1]
        assert trials.found(log) == wanted, interrupted.where


def test_one_may_close(trials):
    for point in trials.points():
        log = trials.log()
        interrupted = Interrupted(log.close, [point])
        with suppress(LogClosed):
            interrupted.run(partial(trials.act, log))
        assert log.closed, interrupted.where
        assert trials.found(log) in states(trials.prepare, trials.steps), interrupted.where


def go_on(trials, act):
    """Go on after an exception, which is still there; what it interrupted was done or not."""
    log = trials.log()
    noting = Noting(log)
    try:
        act(partial(trials.act, log))
    except KeyboardInterrupt:
        noting()
        with suppress(LogClosed):
            log.flush()
        noting()
    return trials.found(log) in states(trials.prepare, trials.steps, *noting.done)


def interrupt():
    raise KeyboardInterrupt


@raises
def test_one_may_raise_an_exception_and_the_program_go_on(trials):
    """As after Ctrl-C in a notebook."""
    for point in trials.points():
        interrupted = Interrupted(interrupt, [point])
        assert go_on(trials, interrupted.run), interrupted.where


@raises
@pytest.mark.parametrize("doing", ["flush", "seal", "close", "resuming"], indirect=True)
@pytest.mark.parametrize("what", ["a statement", "a commit"])
def test_one_may_raise_as_soon_as_the_database_has_done_something(trials, what, monkeypatch):
    """Where most of the time is spent, and so most of them come."""
    seen = []  # none while it is not interrupted
    commit = _Connection.commit

    def count(*_):
        seen.append("one more")
        if len(seen) == number + 1:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    def commit_and_count(connection):
        commit(connection)
        count()

    def act(act):
        seen.clear()
        nonlocal acting
        acting = True
        try:
            act()
        finally:
            acting = False

    def handle(*_):
        if acting:  # else the owner thread came to it only after what is interrupted
            interrupt()

    acting = False
    before = signal.signal(signal.SIGUSR1, handle)
    if what == "a commit":
        monkeypatch.setattr(_Connection, "commit", commit_and_count)

    counting = what == "a statement"
    if counting:
        event.listen(Engine, "after_cursor_execute", count)
    try:
        for number in itertools.count():
            assert go_on(trials, act), number
            if len(seen) <= number:
                break
    finally:
        if counting:
            event.remove(Engine, "after_cursor_execute", count)
        signal.signal(signal.SIGUSR1, before)
    assert number > 0


AGAIN_AND_AGAIN = """
import random, signal, sys, time
import pandas  # an import that is interrupted cannot be done again
from traininglog import SQLiteLog

path, seed = sys.argv[1:]
chance = random.Random(int(seed))
raising = False

class Alarm(BaseException):
    pass

def ring(*_):
    if raising:
        raise Alarm

signal.signal(signal.SIGALRM, ring)
log = SQLiteLog(path)
uuid, t, rang, end = log.uuid, 0, 0, time.monotonic() + 3
while time.monotonic() < end or t < 2000 or rang < 20:
    try:
        raising = True
        signal.setitimer(signal.ITIMER_REAL, chance.expovariate(100) + 1e-4)
        while signal.getitimer(signal.ITIMER_REAL)[0]:
            log[t].update(x=t / 7, n=t)
            log.status["t"] = t
            if t % 300 == 0:
                log.flush()
            if t % 700 == 0:
                log.to_dataframe(start=max(0, t - 50))
            if t % 1500 == 0:
                log.close()
                log = SQLiteLog(path, uuid)
            if t % 2000 == 0:
                log.seal()
            t += 1
    except Alarm:
        rang += 1
    except AssertionError as error:  # SQLAlchemy's, amid its own closing of a transaction
        assert isinstance(error.__context__, Alarm)
    raising = False
    if log.closed:
        log = SQLiteLog(path, uuid)
signal.setitimer(signal.ITIMER_REAL, 0)
log.close()
with SQLiteLog(path, uuid, readonly=True) as log:
    frame = log.to_dataframe(stop=t)
    assert frame["x"].tolist() == [at / 7 for at in range(t)]
    assert frame["n"].tolist() == list(range(t))
    assert t - 1 <= log.status["t"] <= t
"""


@pytest.mark.parametrize("seed", range(40 if harness.LONG else 2))
def test_they_may_raise_again_and_again(tmp_path, seed):
    """A hundred times a second, whatever is being done, and the program goes on each time."""
    path = tmp_path / "runs.db"
    command = [sys.executable, "-c", AGAIN_AND_AGAIN, str(path), str(seed)]
    subprocess.run(command, check=True, timeout=GUARD)
    with Store(path) as store:
        assert store.check().ok
