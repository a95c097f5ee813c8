"""Runs that are imported into a file: they keep their own times, host and state."""

import math
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime

import pytest

from traininglog import SQLiteLog, Store, open_log

START = 1.6e9


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


def line(path, uuid):
    """Return what a store tells of a run, moments in unix seconds."""
    with Store(path, readonly=True) as store:
        found = store.runs(heads=False).set_index("uuid").loc[uuid.hex].to_dict()
        state = store.state(uuid)
    assert found["state"] == state
    return found | {name: found[name].timestamp() for name in ("created", "updated")}


def walls(log):
    index = log.to_dataframe(index="wall").index
    return [None if gone else at.timestamp() for at, gone in zip(index, index.isna(), strict=True)]


@pytest.mark.parametrize("outcome", ["finished", "failed", "lost"])
def test_a_store_lists_it_as_it_was(path, outcome):
    created = datetime(2020, 9, 13, 12, 26, 40, tzinfo=UTC)
    with open_log(path, created=created, host="gpu-7", outcome=outcome) as log:
        for at in range(1, 1001):
            log[at]["loss"] = 1 / at
            if at % 100 == 0:
                log.mark(at, START + at)
        log.flush()
        assert line(path, log.uuid)["state"] == "running"  # as it is being written
    found = line(path, log.uuid)
    assert found["state"] == outcome
    assert found["host"] == "gpu-7"
    assert found["created"] == START
    assert found["updated"] == START + 1000
    with Store(path) as store:
        told = store.origin(log.uuid)
        store.seal()
        assert store.check().problems == []
    assert told["host"] == "gpu-7"
    assert told["pid"] is None
    assert found == line(path, log.uuid)
    again = SQLiteLog(path, log.uuid, readonly=True)
    assert walls(again) == [START + 100 * math.ceil(at / 100) for at in range(1, 1001)]


def test_without_marks_it_was_updated_when_it_was_created(path):
    with SQLiteLog(path, created=START) as log:
        log[1]["loss"] = 1.0
    found = line(path, log.uuid)
    assert (found["created"], found["updated"], found["state"]) == (START, START, "finished")


def test_an_import_that_failed_is_no_finished_run(path):
    with pytest.raises(ZeroDivisionError), SQLiteLog(path, created=START, outcome="lost") as log:
        log[1]["loss"] = 1 / 0
    assert line(path, log.uuid)["state"] == "failed"


@pytest.mark.parametrize("durability", ["process", "power"])
def test_marks_survive_a_kill_and_nothing_is_guessed(path, durability):
    """What recovers the journal knows no better than who wrote it."""
    script = f"""
        import os, signal
        from traininglog import SQLiteLog
        log = SQLiteLog({str(path)!r}, created={START}, durability={durability!r})
        log[1]["loss"] = 1.0
        log.mark(1, {START} + 1)
        log.flush()
        log[2]["loss"] = 2.0
        log[3]["loss"] = 3.0
        log.mark(2, {START} + 2)
        print(log.h_uuid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    log = SQLiteLog(path, done.stdout.strip())
    assert walls(log) == [START + 1, START + 2, None]
    assert line(path, log.uuid)["state"] == "lost"
    log[4]["loss"] = 4.0  # goes on here and now
    log.close()
    *before, last = walls(log)
    assert before == [START + 1, START + 2, None]
    assert abs(last - time.time()) < 3600


def test_another_log_of_the_process_may_write_in_between(path):
    log = SQLiteLog(path, created=START, host="gpu-7", outcome="failed")
    log[1]["loss"] = 1.0
    other = SQLiteLog(path, log.uuid)
    other[2]["loss"] = 2.0
    other.flush()
    log[3]["loss"] = 3.0
    log.mark(1, START + 1)
    log.close()
    other.close()
    assert walls(log)[0] == START + 1
    assert walls(log)[2] is None
    found = line(path, log.uuid)
    assert (found["host"], found["state"], found["created"]) == ("gpu-7", "failed", START)


def test_a_resumed_run_can_be_imported_too(path):
    with SQLiteLog(path, created=START, host="gpu-7") as parent:
        for at in (1, 2, 3):
            parent[at]["loss"] = 1.0
        parent.mark(3, START + 3)
    options = {"created": START + 100, "host": "gpu-8", "outcome": "lost"}
    with SQLiteLog(path, parent.uuid, at=2, **options) as child:
        child[3]["loss"] = 0.5
        child[4]["loss"] = 0.25
        child.mark(3, START + 103)
    assert walls(child) == [START + 3, START + 3, START + 103, None]
    found = line(path, child.uuid)
    assert (found["created"], found["updated"]) == (START + 100, START + 103)
    assert (found["host"], found["state"]) == ("gpu-8", "lost")
    assert line(path, parent.uuid)["state"] == "finished"


def test_what_is_resumed_from_an_import_in_one_log_happens_here(path):
    log = SQLiteLog(path, created=START, host="gpu-7", outcome="failed")
    log[1]["loss"] = 1.0
    parent = log.uuid
    log.resume()
    log[2]["loss"] = 2.0
    log.close()
    assert line(path, parent)["state"] == "failed"
    found = line(path, log.uuid)
    assert found["state"] == "finished"
    assert found["host"] != "gpu-7"
    assert abs(found["updated"] - time.time()) < 3600
    first, second = walls(log)
    assert first is None
    assert abs(second - time.time()) < 3600


def test_merging_and_repairing_keep_what_was_said(path, tmp_path):
    with SQLiteLog(path, created=START, host="gpu-7", outcome="failed") as log:
        for at in (1, 2, 3):
            log[at]["loss"] = 1.0
        log.mark(2, START + 2)
    expected = line(path, log.uuid), [START + 2, START + 2, None]
    merged = tmp_path / "merged.db"
    with Store(merged, create=True) as store:
        store.merge(path)
        store.merge(path)
    repaired = tmp_path / "repaired.db"
    shutil.copy(path, repaired)
    Store.repair(repaired)
    for each in (merged, repaired):
        again = SQLiteLog(each, log.uuid, readonly=True)
        assert (line(each, log.uuid), walls(again)) == expected, each


def test_many_marks_cost_no_transaction_each(path):
    with SQLiteLog(path, created=START) as log:
        before = time.process_time()
        for at in range(1, 5001):
            log[at]["loss"] = 1.0
            log.mark(at, START + at)
        assert time.process_time() - before < 5
    assert walls(log) == [START + at for at in range(1, 5001)]


def test_a_database_in_memory_takes_them_too():
    with SQLiteLog(":memory:", created=START, host="gpu-7", outcome="lost") as log:
        log[1]["loss"] = 1.0
        log[2]["loss"] = 1.0
        log.mark(1, START + 1)
    assert walls(log) == [START + 1, None]


def test_it_is_said_of_new_runs_only(path):
    with SQLiteLog(path) as log:
        log[1]["loss"] = 1.0
    for options in ({"created": START}, {"host": "gpu-7"}, {"outcome": "failed"}):
        with pytest.raises(ValueError, match="new run"):
            SQLiteLog(path, log.uuid, **options)
