"""A log that was closed can be read, and holds nothing that is not memory."""

import gc
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading
import weakref
from pathlib import Path

import pytest

from traininglog import (
    LogClosed,
    RunNotFound,
    SQLiteLog,
    Store,
    StoreNotFound,
    TrainingLog,
    open_log,
)
from traininglog.sqlite.database import database


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


def held(folder):
    """Return what this process has open in a folder."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except OSError:  # that of the folder which was listed
            continue
        if target.startswith(str(folder)):
            found.append(target)
    return found


def filled(*arguments, **options):
    with SQLiteLog(*arguments, **options) as log:
        log[1]["loss"] = 0.5
        log[2].update(loss=0.25, note="late")
        log.status["name"] = "first"
    return log


def test_it_holds_nothing_of_its_file(path):
    """Neither descriptors, nor a WAL that it would keep from being emptied, before and after."""
    log = filled(path)
    row, view = log[2], log[:]
    for look in (
        lambda: None,
        log.to_dataframe,
        lambda: list(log),
        lambda: dict(row),
        lambda: view["loss"],
        lambda: log.last("loss"),
        lambda: log.status["name"],
        log.lineage,
        log.state_dict,
    ):
        look()
        assert held(path.parent) == []
        wal = path.with_name("runs.db-wal")
        assert not wal.exists() or wal.stat().st_size == 0


def test_a_look_that_fails_holds_nothing_either(path):
    log = filled(path)
    for look in (lambda: log.last("los"), lambda: log[1]["los"], lambda: log.to_dataframe("los")):
        with pytest.raises(KeyError):
            look()
    assert held(path.parent) == []
    assert not database._OPEN


def test_it_sees_what_another_log_writes_to_the_run(path):
    log = filled(path)
    assert log[3] == {}
    with SQLiteLog(path, log.uuid) as other:
        other[3]["loss"] = 0.125
        other.flush()
        assert log[3] == {"loss": 0.125}
        with pytest.raises(LogClosed):
            log[3]["loss"] = 1.0
    assert log.to_dict()[3] == {"loss": 0.125}
    assert len(log) == 3


def test_it_can_be_read_from_several_threads_and_while_it_is_closed(path):
    log = SQLiteLog(path)
    log[1]["loss"] = 0.5
    log.flush()
    wrong, done = [], threading.Event()

    def look():
        while not done.is_set():
            try:
                assert log[1]["loss"] == 0.5
                assert list(log) == [1]
                assert log.status["epochs_done"] == 0
            except BaseException as error:  # noqa: BLE001 - told in the end
                wrong.append(error)
                return

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        assert log[1] == {"loss": 0.5}
    log.close()
    for _ in range(5):
        assert log[1] == {"loss": 0.5}
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert held(path.parent) == []


def test_a_run_or_a_file_that_is_gone_is_said(path):
    log = filled(path)
    with Store(path) as store:
        store.delete(log.uuid)
    for look in (log.to_dict, log[1].copy, log.lineage):
        with pytest.raises(RunNotFound, match=log.h_uuid):
            look()
    path.unlink()
    with pytest.raises(StoreNotFound):
        log.to_dict()


def test_another_file_in_its_place_is_not_taken_for_it(path, tmp_path):
    """There, another run has the number that its own had."""
    log = filled(path)
    filled(tmp_path / "other.db")
    shutil.move(tmp_path / "other.db", path)
    for look in (log.to_dict, lambda: log[1]["loss"]):
        with pytest.raises(RunNotFound):
            look()


def test_a_child_that_was_never_written_still_shows_what_it_would_see(path):
    log = filled(path)
    import pickle

    child = pickle.loads(pickle.dumps(log))
    child.close()
    assert child.to_dict() == log.to_dict()
    assert child.status["resumed_from"] == log.h_uuid
    with pytest.raises(LogClosed):
        child.state_dict()  # it would name a run that is nowhere
    with Store(path) as store:
        assert store.runs(heads=False)["uuid"].to_list() == [log.h_uuid]


def test_a_database_in_memory_stays_until_its_log_is_gone():
    log = filled(":memory:")
    assert log.closed
    assert log.to_dataframe()["loss"].to_list() == [0.5, 0.25]
    assert log.status["name"] == "first"
    log.close()
    with pytest.raises(LogClosed):
        log[3]["loss"] = 1.0
    with pytest.raises(LogClosed):
        log.resume()
    connections = [one for one in gc.get_objects() if issubclass(type(one), sqlite3.Connection)]
    there = weakref.ref(log)
    del log
    gc.collect()
    assert there() is None
    assert not database._OPEN
    closed = 0
    for connection in connections:
        try:
            connection.total_changes  # noqa: B018 - raises for one that is closed
        except sqlite3.ProgrammingError:
            closed += 1
    assert closed == len(connections)


@pytest.mark.parametrize("where", [":memory:", "runs.db", "memory:"])
def test_a_log_that_was_closed_and_collected_leaves_nothing(where, tmp_path):
    """No warning of Python's about connections or files that nobody closed."""
    script = f"""
        import gc, os
        from traininglog import open_log
        for number in range(3):
            with open_log({where!r}) as log:
                log[1]["x"] = number
            assert log.to_dict() == {{1: {{"x": number}}}}
            del log
            gc.collect()
        with open_log({where!r}) as log:
            log[1]["x"] = 1
        assert log[1] == {{"x": 1}}
        open_at_the_end = log
    """
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(script)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_a_frame_is_made_of_a_closed_log_as_of_a_dict():
    import pandas as pd

    with TrainingLog() as log:
        log[1].update(loss=0.5, step=1)
        log[2].update(loss=0.25, step=2)
    frame = pd.DataFrame.from_dict(log, orient="index")
    assert frame.to_dict("list") == {"loss": [0.5, 0.25], "step": [1, 2]}


def test_another_log_of_a_run_in_memory_goes_on_when_one_is_closed():
    log = TrainingLog()
    other = TrainingLog(log.uuid)
    log[1]["x"] = 1
    log.close()
    other[1]["x"] = 2
    assert log[1] == {"x": 2}
    for act in (lambda: log[1].update(x=3), lambda: log[1].pop("x"), lambda: log[2].update(x=3)):
        with pytest.raises(LogClosed):
            act()
    other[2]["x"] = 4
    assert log == other == {1: {"x": 2}, 2: {"x": 4}}


def test_what_a_notebook_does_after_the_with_block(tmp_path):
    for where in ("memory:", ":memory:", tmp_path / "runs.db"):
        with open_log(where) as log:
            log[1]["loss"] = 1.0
            log.status["name"] = "mine"
        assert log.to_dataframe().to_dict() == {"loss": {1: 1.0}}
        assert log.last("loss") == (1, 1.0)
        assert log.status["name"] == "mine"


def test_values_one_by_one_open_the_file_once_while_nobody_writes_to_it(path, monkeypatch):
    log = filled(path)
    with SQLiteLog(path, log.uuid) as other:
        other[3].update({f"layer/{number}": 0.5 for number in range(300)})
    for name in (path, path.with_name("runs.db-wal")):
        if name.exists():
            os.utime(name, (1e9, 1e9))  # written long ago
    opened = []
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: opened.append(a) or connect(*a, **k))
    assert len(dict(log[3])) == 300
    assert dict(log.status)["name"] == "first"
    assert len(opened) < 30
    with SQLiteLog(path, log.uuid) as other:
        other[3]["layer/0"] = 1.0
        other.status["name"] = "second"
    assert log[3]["layer/0"] == 1.0
    assert log.status["name"] == "second"


def test_a_log_opens_no_connection_where_its_process_has_the_file_open(path):
    with SQLiteLog(path) as first:
        first[0]["x"] = 1.0
        first.flush()
        assert first[0]["x"] == 1.0  # from the file, by a connection that reads
        before = [name for name in held(path.parent) if name in (str(path), f"{path}-wal")]
        with SQLiteLog(path) as log:
            log[0]["x"] = 2.0
            log.flush()
            assert log[0]["x"] == 2.0
            assert [name for name in held(path.parent) if name in before] == before
        first[1]["x"] = 3.0
        first.flush()
        assert first[1]["x"] == 3.0
    assert held(path.parent) == []
