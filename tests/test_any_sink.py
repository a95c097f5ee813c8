"""Any store can be behind a writer: here one in memory, away, slow, forgetful, or fenced.

A writer knows its store by the four methods of `traininglog.writer.sink.Sink` alone. Whatever those
do, nothing is lost and nothing is there twice, also through a resume that the store hears of later.
"""

import os
import random
import threading
import uuid
import warnings
from contextlib import suppress
from itertools import pairwise

import pytest
from patience import GUARD

from traininglog import RunTakenOver, StoreFailed, TrainingLog, TrainingLogWarning
from traininglog.clock import Clock, Marks
from traininglog.columns import Column
from traininglog.encoding import HIDDEN
from traininglog.errors import RunNotFound
from traininglog.journal.reader import journal_path, read_journal
from traininglog.lineage import Descent, new_status
from traininglog.waiting import pause
from traininglog.writer import writer as module
from traininglog.writer.buffer import Place
from traininglog.writer.owner import Owner
from traininglog.writer.sink import Birth, Reader, Start, StoredRun
from traininglog.writer.writer import Writer

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*waits in the journal:traininglog.TrainingLogWarning"
)


class Run:
    """A run, as the store has it."""

    def __init__(self, birth):
        self.birth = birth
        self.epoch, self.position = 1, 0
        self.keys, self.rows = {}, {}
        self.status = dict(birth.status)
        self.outcome = None
        self.batches = []  # from where to where each went that was taken


class Shelf:
    """A store in memory: what there is to know of it."""

    def __init__(self):
        self.runs = {}


class Sink:
    """Where logs write; and a `Reader` of what is there."""

    most_bytes = 2**20

    def __init__(self, shelf):
        self.shelf = shelf

    def begin(self, birth, *, takeover, patience):
        runs = self.shelf.runs
        if birth.uuid not in runs:
            if birth.status is None or (birth.parent is not None and birth.parent not in runs):
                raise RunNotFound(f"no run {birth.uuid}")
            runs[birth.uuid] = Run(birth)
        elif birth.status is None:
            runs[birth.uuid].epoch += 1
        if birth.ends is not None:
            runs[birth.ends.run].outcome = "finished"
        run = runs[birth.uuid]
        return Start(run.epoch, run.position, dict(run.keys), dict(run.status))

    def save(self, saving, *, patience):
        run = self.shelf.runs[saving.run]
        if run.epoch != saving.epoch:
            raise RunTakenOver(f"run {saving.run} was taken over")
        if saving.position is not None and saving.position > run.position:
            run.batches.append((run.position, saving.position))
            run.position = saving.position
            run.keys |= {name: number for number, name in saving.batch.names.items()}
            for time, row in saving.rows().items():
                run.rows.setdefault(time, {}).update(row)
            run.status = saving.changed(run.status)
        run.outcome = saving.outcome or run.outcome

    def renew(self, lease, *, durable):
        return None

    def end(self, lease, outcome, *, patience):
        self.shelf.runs[lease.run].outcome = outcome

    # -- the reader ---------------------------------------------------------------------------

    def columns(self, run, keys=None):
        found = self.shelf.runs[run]
        columns = []
        for key in found.keys if keys is None else keys:
            points = [(time, row[key]) for time, row in sorted(found.rows.items()) if key in row]
            points = [point for point in points if point[1] is not HIDDEN]
            if points:
                columns.append(Column(key, *map(list, zip(*points, strict=True))))
        return columns

    def runs(self, run=None):
        for name, found in self.shelf.runs.items():
            if run in (None, name):
                birth = found.birth
                yield StoredRun(name, birth.parent, birth.at, found.epoch, found.position)

    def status(self, run):
        return self.shelf.runs[run].status

    def clock(self, run):
        return Clock(None, [Marks(2**62, [], [])])


class Faulty(Sink):
    """One that fails: `fault` tells how, each time that it is asked for something."""

    def __init__(self, shelf, fault):
        super().__init__(shelf)
        self.fault = fault

    def _with_faults(self, act, *arguments, **options):
        fault = self.fault()
        if fault == "away":
            raise StoreFailed("the store cannot be reached")
        if fault == "slow":
            pause(0.01)
        answer = act(*arguments, **options)
        if fault == "lost":
            raise StoreFailed("the connection broke before the answer came")
        return answer

    def begin(self, *arguments, **options):
        return self._with_faults(super().begin, *arguments, **options)

    def save(self, *arguments, **options):
        return self._with_faults(super().save, *arguments, **options)

    def end(self, *arguments, **options):
        return self._with_faults(super().end, *arguments, **options)


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def place(tmp_path):
    spool = tmp_path / "spool"
    spool.touch()
    return Place(spool, lambda run, epoch: journal_path(spool, run, epoch))


@pytest.fixture
def opened(shelf, place, monkeypatch):
    """Open a new run of the store, whose sink fails as it is told to."""
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.01)
    owner = Owner("test")
    writers = []

    def open_run(fault=lambda: None, run=None):
        sink = Faulty(shelf, fault)
        made = Writer(
            owner, sink, run or uuid.uuid4(), name="shelf", place=place, waits=False,
            max_pending_bytes=2**26,
        )  # fmt: skip
        writers.append(made)
        if run is None:
            made.create(Birth(made.uuid, new_status()))
        return made

    yield open_run
    for made in writers:
        if not made.closed:
            made.close("finished")
    owner.park()


def resume(log, at):
    """Go on as a child."""
    child = uuid.uuid4()
    parent = Descent(log.uuid, at, new_status() | {"resumed_from": log.uuid.hex})
    log.fork(lambda: Birth(child, parent.status, parent.parent, parent.at))


def assert_whole(shelf, run, rows, status):
    """See to it that a run has all of it, and that each batch was taken once, in turn."""
    found = shelf.runs[run]
    assert found.rows == rows
    assert {key: found.status[key] for key in status} == status
    for (_, end), (start, _) in pairwise(found.batches):
        assert end == start


def test_what_is_assigned_is_in_the_store(shelf, opened):
    log = opened()
    for t in range(1000):
        log.buffer.assign(t, "loss", t / 7)
        log.buffer.write_count("iterations_done", t)
    log.buffer.write({3: {"text": "a", "none": None}})
    run = log.uuid
    assert log.read_back.value(999, "loss") == (999 / 7,)
    log.flush()
    log.close("finished")
    rows = {t: {"loss": t / 7} for t in range(1000)}
    rows[3] |= {"text": "a", "none": None}
    assert_whole(shelf, run, rows, {"iterations_done": 999})
    assert shelf.runs[run].outcome == "finished"
    reader: Reader = Sink(shelf)
    assert [one.uuid for one in reader.runs()] == [run]
    assert [column.key for column in reader.columns(run)] == ["loss", "text", "none"]
    assert reader.columns(run, ["loss"])[0].values[:2] == [0.0, 1 / 7]
    assert reader.status(run)["iterations_done"] == 999


def test_a_store_that_is_away_from_the_first_assignment_on_and_through_a_resume(
    shelf, opened, place
):
    """The runs are born in the journal; the store hears of them once it can be reached."""
    here = threading.Event()
    log = opened(lambda: None if here.is_set() else "away")
    first = log.uuid
    for t in range(100):
        log.buffer.assign(t, "loss", t / 7)
    resume(log, 49)
    second = log.uuid
    log.buffer.write_status({"best": 1})
    for t in range(50, 80):
        log.buffer.assign(t, "other", float(t))
    resume(log, 60)
    third = log.uuid
    log.buffer.assign(61, "loss", 2.0)
    assert not shelf.runs
    with pytest.raises(StoreFailed, match="cannot be reached"):
        log.flush()
    assert len(list(place.beside.parent.glob("*-tail-*"))) == 3  # whatever happens, it is there
    here.set()
    log.flush()
    assert list(shelf.runs) == [first, second, third]
    log.close("finished")
    assert_whole(shelf, first, {t: {"loss": t / 7} for t in range(100)}, {})
    assert_whole(shelf, second, {t: {"other": float(t)} for t in range(50, 80)}, {"best": 1})
    assert_whole(shelf, third, {61: {"loss": 2.0}}, {})
    births = [shelf.runs[run].birth for run in (second, third)]
    assert [(birth.parent, birth.at) for birth in births] == [(first, 49), (second, 60)]
    assert {run.outcome for run in shelf.runs.values()} == {"finished"}
    assert not list(place.beside.parent.glob("*-tail-*"))


@pytest.mark.parametrize("seed", range(20))
def test_whatever_goes_wrong_nothing_is_lost_and_nothing_is_there_twice(shelf, opened, seed):
    """Answers are lost after it committed, it is slow, away for a while, through resumes."""
    chance = random.Random(seed)
    well = threading.Event()
    kinds = ["away", "lost", "slow", None, None]
    log = opened(lambda: None if well.is_set() else chance.choice(kinds))
    model = {log.uuid: ({}, {})}
    time = 0
    for _ in range(60):
        rows, status = model[log.uuid]
        what = chance.choice(["assign", "assign", "assign", "many", "status", "flush", "resume"])
        if what == "assign":
            key = chance.choice("abc")
            log.buffer.assign(time, key, float(time))
            rows.setdefault(time, {})[key] = float(time)
        elif what == "many":
            for _ in range(chance.randrange(20_000)):
                time += 1
                log.buffer.assign(time, "many", time)
                rows[time] = {"many": time}
        elif what == "status":
            log.buffer.write_status({"note": time})
            status["note"] = time
        elif what == "flush":
            with suppress(StoreFailed):
                log.flush()
        else:
            resume(log, time)
            model[log.uuid] = {}, {}
        time += 1
    well.set()
    log.close("finished")
    assert list(shelf.runs) == list(model)
    for run, (rows, status) in model.items():
        assert_whole(shelf, run, rows, status)
        assert shelf.runs[run].outcome == "finished"


def test_nobody_waits_for_a_slow_store(shelf, opened):
    """Assignments, new keys and new regions included, are made while it is at work."""
    at_work, done = threading.Event(), threading.Event()

    def fault():
        if log is not None and threading.current_thread() is not threading.main_thread():
            at_work.set()
            while not done.is_set():
                pause(0.01)

    log = None
    log = opened(fault)
    log.buffer.assign(0, "x", 0.0)
    assert at_work.wait(GUARD)
    for t in range(1, 60_000):
        log.buffer.assign(t, "x", t / 7)
    for number in range(100):
        log.buffer.assign(0, f"key {number}", number)
    done.set()  # only now: who had waited would have waited for ever
    run = log.uuid
    log.close("finished")
    rows = {t: {"x": t / 7} for t in range(60_000)}
    rows[0] |= {f"key {number}": number for number in range(100)}
    assert_whole(shelf, run, rows, {})


def test_a_fenced_writer_is_told_and_leaves_its_journal(shelf, opened, place):
    log = opened()
    log.buffer.assign(0, "x", 0.0)
    log.flush()
    other = opened(run=log.uuid)
    log.owner.holders.clear()  # as if it were in another process
    other.claim()
    log.buffer.assign(1, "x", 1.0)
    with pytest.raises(RunTakenOver):
        log.flush()
    with pytest.raises(RunTakenOver):
        log.buffer.assign(2, "x", 2.0)
    log.close("finished")
    assert log.left
    other.buffer.assign(1, "x", 5.0)
    other.close("finished")
    assert shelf.runs[log.uuid].rows == {0: {"x": 0.0}, 1: {"x": 5.0}}
    (left,) = place.beside.parent.glob("*-tail-*")
    assert read_journal(left).regions


def test_it_warns_once_of_a_store_that_is_away(shelf, opened):
    here = threading.Event()
    log = opened(lambda: None if here.is_set() else "away")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for t in range(100):
            log.buffer.assign(t, "loss", t / 7)
            with pytest.raises(StoreFailed):
                log.flush()
    told = [str(each.message) for each in caught if each.category is TrainingLogWarning]
    assert len(told) == 1
    assert "waits in the journal and will be written when it can be" in told[0]
    here.set()


def test_a_model_agrees(shelf, opened):
    """The rows of the store are those of a log in memory."""
    log, model = opened(), TrainingLog()
    chance = random.Random(os.getpid())
    for _ in range(500):
        t, key, value = chance.randrange(50), chance.choice("abc"), chance.choice([1, 0.5, "x"])
        log.buffer.assign(t, key, value)
        model[t][key] = value
        if chance.random() < 0.02:
            log.flush()
    run = log.uuid
    log.close("finished")
    assert shelf.runs[run].rows == model.to_dict()
