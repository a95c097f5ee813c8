"""Who writes a run: one process at a time, in it one log at a time, and nobody in the way."""

import gc
import os
import sqlite3
import subprocess
import sys
import threading

import pytest
from patience import GUARD
from sqlalchemy.exc import IntegrityError

from traininglog import LogClosed, RunBusy, SQLiteLog, Store
from traininglog.sql import writing
from traininglog.sqlite.database.database import Database

HOLD = """
import sys
from traininglog import SQLiteLog

log = SQLiteLog(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
log[1]["x"] = 1
log.flush()
print(log.uuid.hex, flush=True)
sys.stdin.readline()
log.close()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


@pytest.fixture
def other_process(path):
    """Write a run in another process, until told to stop."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.run = process.stdout.readline().strip()
    yield process
    process.communicate("\n", timeout=GUARD)


def test_a_run_that_another_process_writes_is_refused_at_the_first_assignment(path, other_process):
    log = SQLiteLog(path, other_process.run)
    assert log[1]["x"] == 1
    for act in (
        lambda: log[2].__setitem__("x", 2),
        lambda: log[1].update(y=2),
        lambda: log.status.__setitem__("note", "mine"),
    ):
        with pytest.raises(RunBusy, match=f"process {other_process.pid} on .*resume"):
            act()
    assert log == {1: {"x": 1}}
    with Store(path) as store:
        assert store.state(other_process.run) == "running"


def test_it_can_be_read_and_resumed_all_the_same(path, other_process):
    with SQLiteLog(path, other_process.run, readonly=True) as log:
        assert log == {1: {"x": 1}}
    with SQLiteLog(path, other_process.run, resume=True) as child:
        child[2]["x"] = 2
        assert child.to_dict() == {1: {"x": 1}, 2: {"x": 2}}
    with Store(path) as store:
        assert list(store.runs(heads=False)["state"]) == ["running", "finished"]


def test_a_run_that_could_not_be_claimed_is_nobodys(path, monkeypatch):
    """Its lock was taken before the file said no; it is not kept."""
    with SQLiteLog(path) as log:
        log[1]["x"] = 1
    again = SQLiteLog(path, log.uuid)

    def refuse(*_, **__):
        raise IntegrityError("UPDATE runs", None, sqlite3.IntegrityError("no"))

    with monkeypatch.context() as patch:
        patch.setattr(writing, "update_run", refuse)
        with pytest.raises(IntegrityError, match="no"):
            again[2]["x"] = 2
    with Store(path) as store:
        assert store.state(log.uuid) == "finished"
        again[2]["x"] = 2
        assert store.state(log.uuid) == "running"
        again.close()
        assert store.delete(log.uuid) == [log.uuid]


def test_it_can_be_written_once_the_other_process_is_done(path, other_process):
    log = SQLiteLog(path, other_process.run)
    with pytest.raises(RunBusy):
        log[2]["x"] = 2
    other_process.stdin.write("\n")
    other_process.stdin.flush()
    other_process.wait(timeout=GUARD)
    log[2]["x"] = 2
    log.close()
    assert SQLiteLog(path, log.uuid) == {1: {"x": 1}, 2: {"x": 2}}


def test_a_run_whose_process_was_killed_can_be_written(path, other_process):
    other_process.kill()
    other_process.wait(timeout=GUARD)
    log = SQLiteLog(path, other_process.run)
    log[2]["x"] = 2
    log.close()
    assert SQLiteLog(path, log.uuid) == {1: {"x": 1}, 2: {"x": 2}}


def test_two_logs_of_one_process_hand_a_run_to_and_fro(path):
    """As when a cell of a notebook is run again while something still holds the log of before."""
    one = SQLiteLog(path)
    one[1]["a"] = 1
    one.status["by"] = "one"
    two = SQLiteLog(path, one.uuid)
    two[1]["b"] = 2
    two[2]["a"] = 2
    two.status["by"] = "two"
    one[3]["c"] = 3
    one[2]["a"] = 20
    assert one.status["by"] == "two"
    expected = {1: {"a": 1, "b": 2}, 2: {"a": 20}, 3: {"c": 3}}
    one.flush()
    assert one == two == expected
    two[4]["d"] = 4
    one.close()
    with Store(path) as store:
        assert store.state(two.uuid) == "running"
    two.close()
    with Store(path) as store:
        assert store.state(two.uuid) == "finished"
    assert SQLiteLog(path, one.uuid) == expected | {4: {"d": 4}}
    assert SQLiteLog(path, one.uuid).keys_seen() == ["a", "b", "c", "d"]


def test_many_threads_with_logs_of_their_own_on_one_run_lose_nothing(path):
    first = SQLiteLog(path)
    first.flush()

    def work(key):
        log = SQLiteLog(path, first.uuid)
        for time in range(20):
            log[time][key] = time
        log.close()

    threads = [threading.Thread(target=work, args=(key,)) for key in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=GUARD)
        assert not thread.is_alive()
    assert first.to_dict() == {time: dict.fromkeys("abcd", time) for time in range(20)}


def test_a_log_that_is_collected_while_this_thread_writes_is_closed_afterwards(path, monkeypatch):
    """Its last flush needs the lock that this thread holds, and must not wait for it."""
    monkeypatch.setattr("traininglog.sqlite.file.failures.PATIENCE", 1.0)
    lost = SQLiteLog(path)
    lost[1]["x"] = 1
    uuid = lost.uuid
    cycle = [lost]
    cycle.append(cycle)
    database = Database(path, readonly=False)
    with database.write():
        del lost, cycle
        gc.collect()
    database.close()
    with Store(path) as store:
        assert store.state(uuid) == "finished"
    assert SQLiteLog(path, uuid) == {1: {"x": 1}}


def test_a_new_log_that_nobody_used_leaves_no_run_behind_when_it_loads_a_state(path):
    with SQLiteLog(path) as log:
        log[1]["x"] = 1
        state = log.state_dict()
    again = SQLiteLog(path)
    again.load_state_dict(state)
    again.close()
    with Store(path) as store:
        assert list(store.runs(heads=False)["resumed_from"]) == [None, log.h_uuid]


def test_one_that_somebody_else_wrote_to_or_resumed_stays(path):
    with SQLiteLog(path) as log:
        state = log.state_dict()
    for use in (lambda other: other[1].__setitem__("x", 1), lambda other: other.resume()):
        fresh = SQLiteLog(path)
        with SQLiteLog(path, fresh.uuid) as other:
            use(other)
        kept = fresh.uuid
        fresh.load_state_dict(state)
        fresh.close()
        SQLiteLog(path, kept).close()


def test_looking_at_an_unpickled_log_leaves_no_run_behind(path):
    import copy

    log = SQLiteLog(path)
    log[1]["x"] = 1
    other = copy.deepcopy(log)
    assert other == {1: {"x": 1}}
    assert other.lineage()[1].uuid == log.uuid
    other.close()
    log.close()
    with Store(path) as store:
        assert len(store.runs(heads=False)) == 1


def test_a_deleted_status_stays_deleted_in_a_merge(path, tmp_path):
    with SQLiteLog(path) as log:
        log.status["note"] = "wrong"
        log.status["kept"] = 1
    with Store(path) as store:
        store.backup(tmp_path / "copy.db")
    with SQLiteLog(path, log.uuid) as log:
        del log.status["note"]
    with Store(tmp_path / "copy.db") as copy:
        copy.merge(path)
    assert "note" not in SQLiteLog(tmp_path / "copy.db", log.uuid).status
    with Store(path) as store:
        store.merge(tmp_path / "copy.db")
    status = SQLiteLog(path, log.uuid).status
    assert "note" not in status
    assert status["kept"] == 1


def test_a_store_tells_where_a_run_was_written(path):
    with SQLiteLog(path) as log:
        log[1]["x"] = 1
    with Store(path) as store:
        origin = store.origin(log.uuid)
    assert origin["pid"] == os.getpid()
    assert origin["host"]
    assert "traininglog" in origin["versions"]
    assert list(origin) == ["host", "pid", "boot_id", "command", "versions"]


def test_without_a_path_the_configured_store_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAININGLOG_STORE", f"sqlite:///{tmp_path / 'configured.db'}")
    with SQLiteLog() as log:
        log[1]["x"] = 1
    assert (tmp_path / "configured.db").is_file()


def test_commit_by_a_log_that_wrote_nothing_changes_nothing(path):
    with SQLiteLog(path) as log:
        log[1]["x"] = 1
    with Store(path) as store:
        before = store.runs(heads=False)
    again = SQLiteLog(path, log.uuid)
    again.commit()
    again.close()
    with Store(path) as store:
        assert store.runs(heads=False).equals(before)
    again = SQLiteLog(path, log.uuid)
    again[2]["x"] = 2
    again.close()
    assert SQLiteLog(path, log.uuid) == {1: {"x": 1}, 2: {"x": 2}}


def test_a_status_that_was_deleted_and_set_again_comes_last(path):
    with SQLiteLog(path) as log:
        log.status.update(a=1, b=2)
        log.flush()
        del log.status["a"]
        log.status["a"] = 3
        assert list(log.status)[-2:] == ["b", "a"]
    status = SQLiteLog(path, log.uuid).status
    assert list(status)[-2:] == ["b", "a"]
    assert status["a"] == 3


DISPLACED = """
import sys
import traininglog.writer.writer as writer
writer.INTERVAL = 60.0  # so that it does not find out before it is asked
from traininglog import RunTakenOver, SQLiteLog

log = SQLiteLog(sys.argv[1])
log[1]["x"] = 1.0
log.flush()
log[2]["x"] = 2.0
print(log.uuid.hex, flush=True)
sys.stdin.readline()
log[3].update(x=33.0, y="mine")
log.status["n"] = 3
for act in (log.flush, lambda: log[4].update(x=4.0)):
    try:
        act()
    except RunTakenOver as error:
        print(error, flush=True)
log.close()
print("closed", flush=True)
"""


def test_a_run_that_is_taken_over_has_all_of_both_and_neither_in_the_others_place(path):
    process = subprocess.Popen(
        [sys.executable, "-c", DISPLACED, path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    uuid = process.stdout.readline().strip()
    with SQLiteLog(path, uuid) as log, pytest.raises(RunBusy, match=r"since 20.*takeover=True"):
        log[3]["x"] = 3.0
    log = SQLiteLog(path, uuid, takeover=True)
    assert log == {1: {"x": 1.0}, 2: {"x": 2.0}}  # what the other had not flushed, too
    log[3]["x"] = 3.0
    log.flush()
    out, errors = process.communicate("\n", timeout=GUARD)
    told = out.splitlines()
    assert len(told) == 3, (out, errors)
    assert f"taken over by process {os.getpid()}" in told[0]
    assert told[1:] == [told[0], "closed"]
    log.close()
    with Store(path) as store:
        mine, aside = store.runs(heads=False)["uuid"]
        assert mine == uuid
        assert store.log(mine, readonly=True).to_dict() == {t: {"x": float(t)} for t in (1, 2, 3)}
        with store.log(aside, readonly=True) as other:
            assert other.to_dict() == {1: {"x": 1.0}, 2: {"x": 2.0}, 3: {"x": 33.0, "y": "mine"}}
            assert other.status["n"] == 3
            assert [ancestor.resumed_at for ancestor in other.lineage()] == [2, None]
        assert store.state(mine) == "finished"
    assert not [file for file in path.parent.iterdir() if "tail" in file.name]


def test_taking_over_is_for_going_on_with_a_run_that_exists(path):
    with SQLiteLog(path) as log:
        log[1]["x"] = 1
    for options in ({}, {"uuid": log.uuid, "readonly": True}, {"uuid": log.uuid, "resume": True}):
        with pytest.raises(ValueError, match=r"uuid|takeover"):
            SQLiteLog(path, takeover=True, **options)
    with SQLiteLog(path, log.uuid, takeover=True) as again:  # nobody else has it
        again[2]["x"] = 2
    assert len(SQLiteLog(path, log.uuid)) == 2


def test_a_row_that_was_read_as_a_whole_has_what_is_written_to_it_since(path):
    """A log keeps the row that it read last, as who goes through it asks for each value."""
    with SQLiteLog(path) as log:
        log[1].update(x=1, y=[2], z=3)
        log.flush()
        reader = SQLiteLog(path, log.uuid, readonly=True)
        for row in (log[1], reader[1]):
            assert dict(row) == {"x": 1, "y": [2], "z": 3}
        log[1]["x"] = 10
        del log[1]["y"]
        log[1]["new"] = 4
        assert {key: log[1][key] for key in log[1]} == {"x": 10, "z": 3, "new": 4}
        assert "y" not in log[1]
        log.flush()
        assert [reader[1]["x"], reader[1]["new"], reader[1].get("y")] == [10, 4, None]
        with SQLiteLog(path, log.uuid, resume=True, at=1) as child:
            assert child[1]["x"] == 10
            child[1]["x"] = 100
            assert (child[1]["x"], dict(child[1])["x"], log[1]["x"]) == (100, 100, 10)
        reader.close()


def test_a_row_that_was_read_is_read_anew_once_another_has_written(path):
    with SQLiteLog(path) as log:
        log[1] = {"a": 1.0, "b": 2.0}
        log.flush()
        with SQLiteLog(path, log.uuid, readonly=True) as reader:
            row = reader[1]
            assert dict(row) == {"a": 1.0, "b": 2.0}
            log[1]["a"] = 3.0
            del log[1]["b"]
            log.flush()
            assert row["a"] == 3.0
            with pytest.raises(KeyError):
                row["b"]
            log.seal()
            assert dict(row) == {"a": 3.0}


def test_a_row_that_was_read_shows_what_is_assigned_or_resumed_afterwards(path):
    with SQLiteLog(path) as log:
        log[1] = {"a": 1.0, "b": 2.0}
        log[2]["a"] = 5.0
        log.flush()
        row = log[2]
        assert dict(row) == {"a": 5.0}
        row["a"] = 6.0
        assert row["a"] == 6.0
        log.flush()
        assert row["a"] == 6.0
        assert dict(row) == {"a": 6.0}
        log.resume(at=1)
        with pytest.raises(KeyError):
            row["a"]
    with pytest.raises(KeyError):
        row["a"]
    with pytest.raises(LogClosed):
        row["a"] = 7.0
