"""The owner thread: who assigns waits for nobody else, and nothing that is assigned goes unseen."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import closing

import pytest
from patience import GUARD

from traininglog import SQLiteLog, Store
from traininglog.sqlite.sink import leases
from traininglog.writer.owner import Owner


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


class Logging:
    """A thread that goes on logging, some thousand values a second, until told to stop."""

    def __init__(self, log):
        self.log = log
        self.done = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.wrong = None

    def _work(self):
        try:
            row = self.log[0]
            while not self._stop.is_set():
                for _ in range(8):
                    t = self.done
                    self.log[t]["x"] = t / 7
                    self.done = t + 1
                row["held"] = self.done  # through a row of before
                time.sleep(0.002)
        except BaseException as error:  # noqa: BLE001 - raised in the end
            self.wrong = error

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(GUARD)
        if self.wrong is not None:
            raise self.wrong


def test_nothing_that_a_thread_assigns_while_a_log_is_resumed_goes_unseen(path):
    """It is the parent's up to the resume point, and the child's from there on."""
    log = SQLiteLog(path)
    log[0]["x"] = 0.0
    lineage = [log.uuid]
    with Logging(log) as thread:
        for _ in range(10):
            seen = thread.done
            log.resume()
            lineage.append(log.uuid)
            assert log.lineage()[0].uuid == log.uuid
            while thread.done <= seen:
                time.sleep(0.001)
    done = thread.done
    log.close()
    assert [ancestor.uuid for ancestor in SQLiteLog(path, log.uuid).lineage()] == lineage[::-1]
    with SQLiteLog(path, log.uuid, readonly=True) as again:
        assert again[:]["x"].tolist() == [t / 7 for t in range(done)]
        assert again[0]["held"] == done
    with Store(path) as store:
        assert set(store.runs()["state"]) == {"finished"}
        assert store.check().ok


@pytest.mark.parametrize("what", ["flush", "commit", "seal", "state_dict", "to_dict"])
def test_what_was_assigned_before_is_all_that_is_waited_for(path, what):
    """A thread that goes on logging keeps nobody from coming to an end."""
    log = SQLiteLog(path)
    with Logging(log) as thread:
        for _ in range(10):
            before = thread.done
            getattr(log, what)()
            if what == "flush":
                with SQLiteLog(path, log.uuid, readonly=True) as other:
                    assert len(other) >= before
    log.close()
    with SQLiteLog(path, log.uuid, readonly=True) as again:
        assert again[:]["x"].tolist() == [t / 7 for t in range(thread.done)]


def test_a_log_that_is_closed_beside_a_thread_that_logs_has_what_was_assigned(path):
    log = SQLiteLog(path)
    told = threading.Event()
    made = 0

    def work():
        nonlocal made
        try:
            while True:
                log[made]["x"] = made / 7
                made += 1
        except ValueError:  # LogClosed
            told.set()

    thread = threading.Thread(target=work)
    thread.start()
    while made < 1000:
        time.sleep(0.001)
    log.close()
    assert told.wait(GUARD)
    thread.join()
    with SQLiteLog(path, log.uuid, readonly=True) as again:
        assert again[:]["x"].tolist() == [t / 7 for t in range(made)]


def test_a_first_assignment_waits_for_no_other_file(tmp_path):
    """Though somebody holds that one for as long as he likes."""
    paths = [tmp_path / name for name in ("a.db", "b.db")]
    runs = []
    for path in paths:
        with SQLiteLog(path) as log:
            log[1]["x"] = 1.0
            runs.append(log.uuid)
    one, two = (SQLiteLog(path, run) for path, run in zip(paths, runs, strict=True))
    with closing(sqlite3.connect(paths[0], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = threading.Thread(target=lambda: one[2].update(x=0.5))
        waiting.start()
        two[2]["x"] = 0.5
        two.resume()
        two.close()
        assert waiting.is_alive()
        other.execute("ROLLBACK")
    waiting.join(GUARD)
    assert one[2]["x"] == 0.5
    one.close()


def test_nor_does_what_needs_only_the_journal_wait_for_its_own_file(path):
    """New keys and new regions are had while a flush waits for the file."""
    log = SQLiteLog(path)
    log[0]["x"] = 0.0
    log.flush()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        flushing = threading.Thread(target=log.flush)
        log[1]["x"] = 1.0
        flushing.start()
        for t in range(2, 30_000):
            log[t]["x"] = t / 7
        for number in range(50):
            log[1][f"key {number}"] = number
        assert log[1]["key 49"] == 49
        assert flushing.is_alive()
        other.execute("ROLLBACK")
    flushing.join(GUARD)
    log.close()
    with SQLiteLog(path, log.uuid, readonly=True) as again:
        assert len(again) == 30_000
        assert len(again[1]) == 51


def test_a_signal_handler_may_open_a_store_at_any_moment(path, monkeypatch):
    with SQLiteLog(path) as log:
        log[1]["x"] = 1.0
    seen = []

    def look(*_):
        with Store(path) as store, store.log(log.uuid) as again:
            seen.append(len(store.runs()))
            again[2]["x"] = 2.0

    real = leases.Owners._is_stale

    def interrupted(self):
        if not seen:
            signal.raise_signal(signal.SIGUSR1)  # while a lock of the registry may be held
        return real(self)

    before = signal.signal(signal.SIGUSR1, look)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(leases.Owners, "_is_stale", interrupted)
            Store(path).close()
            with SQLiteLog(path, log.uuid) as other:
                other[3]["x"] = 3.0
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen
    assert SQLiteLog(path, log.uuid).to_dict() == {t: {"x": float(t)} for t in (1, 2, 3)}


def test_a_fork_ends_the_wait_of_a_flush_and_the_parent_goes_on(path):
    script = """
import os, sqlite3, sys, threading, time
from traininglog import SQLiteLog
log = SQLiteLog(sys.argv[1])
log[0]["x"] = 0.0
log.flush()
other = sqlite3.connect(sys.argv[1], isolation_level=None)
other.execute("BEGIN IMMEDIATE")
log[1]["x"] = 1.0
flushing = threading.Thread(target=log.flush)
flushing.start()
time.sleep(0.1)
owner = log._writer.owner
assert owner._serving.locked()
owner.park()  # as before a fork
assert not owner._serving.locked()
owner.unpark()
log[2]["new"] = 2.0
other.execute("ROLLBACK")
flushing.join()
log.close()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script, path], check=True, timeout=GUARD)
    with Store(path) as store, store.log(store.latest(), readonly=True) as log:
        assert log.to_dict() == {0: {"x": 0.0}, 1: {"x": 1.0}, 2: {"new": 2.0}}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_logs_of_one_file_share_a_thread_and_each_has_all_of_its_own(path):
    logs = [SQLiteLog(path) for _ in range(8)]
    assert len({log._writer.owner for log in logs}) == 1
    for t in range(2000):
        for number, log in enumerate(logs):
            log[t]["x"] = float(number)
    for log in logs:
        log.close()
    with Store(path) as store:
        for number, log in enumerate(logs):
            with store.log(log.uuid, readonly=True) as again:
                assert again[:]["x"].tolist() == [float(number)] * 2000


@pytest.mark.parametrize("seconds", [60.0, float("inf")])
def test_the_thread_sleeps_until_what_is_scheduled_however_late_that_is(monkeypatch, seconds):
    """A store may ask for its next `renew` after the time that an idle thread stays."""

    class Rare:
        ticks = 0

        def tick(self):
            self.ticks += 1
            return seconds

        def forget(self):
            pass

    monkeypatch.setattr(Owner._serve, "__defaults__", (0.05,))
    owner, rare = Owner("a store"), Rare()
    owner.nudge(rare)
    owner.run(lambda: None)
    used = time.process_time()
    time.sleep(1)
    assert time.process_time() - used < 0.3, "the thread does not sleep"
    owner.nudge(rare)
    owner.run(lambda: None)
    assert rare.ticks == 2
    owner.drop(rare)
    owner.park()


def test_a_flush_does_not_wait_for_an_import_that_a_signal_has_cut_short(tmp_path):
    """It can leave the lock of all imports held, in the main thread."""
    script = """
        import _imp, sys
        import numpy
        from traininglog import SQLiteLog

        log = SQLiteLog(sys.argv[1])
        _imp.acquire_lock()
        for t in range(2000):
            log[t].update({str(key): t / 7 for key in range(20)})
        log.flush()
        log.close()
        _imp.release_lock()
    """
    path = tmp_path / "runs.db"
    command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    subprocess.run(command, check=True, timeout=GUARD)
    with Store(path) as store:
        assert [run.values for run in store.iter_runs()] == [40_000]
