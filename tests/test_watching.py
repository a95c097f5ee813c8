"""Watching runs that are being written: in a notebook in one place, else line by line."""

import subprocess
import sys

import pytest
from notebooks import FOLDERS, outputs
from patience import GUARD

from traininglog import RunNotFound, SQLiteLog, Store

WRITER = """
import sys, time
from traininglog import SQLiteLog
with SQLiteLog(sys.argv[1]) as log:
    log.status["name"] = "<b>far"
    for step in range(40):
        log[step]["loss"] = 1 / (step + 1)
        if step == 0:
            log.flush()
            print("ready", flush=True)
        time.sleep(0.02)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


@pytest.fixture
def written(path):
    """Have another process write a run, which ends by itself."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield
        process.wait(GUARD)


@pytest.mark.usefixtures("written")
def test_a_run_is_followed_to_its_end(path, capsys):
    with Store(path, readonly=True) as store:
        store.watch(store.latest(), interval=0.01)
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith("running, time ")
    assert last == "finished, time 39: loss 0.025"


@pytest.mark.usefixtures("written")
def test_a_store_is_followed_until_nothing_is_written(path, capsys):
    with Store(path, readonly=True) as store:
        store.watch(interval=0.01)
    assert capsys.readouterr().out.splitlines() == ["1 running", "1 finished"]


def test_watching_ends_at_ctrl_c(path, monkeypatch):
    def pressed(_seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", pressed)
    with SQLiteLog(path) as log:
        log[0]["loss"] = 1.0
        log.flush()
        with Store(path, readonly=True) as store:
            store.watch(log.uuid)


def test_what_cannot_be_watched_is_refused(path):
    with SQLiteLog(path):
        pass
    with Store(path) as store:
        with pytest.raises(ValueError, match="interval"):
            store.watch(interval=0)
        with pytest.raises(RunNotFound):
            store.watch("0" * 32)


@pytest.mark.usefixtures("written")
def test_in_a_notebook_one_output_is_updated(path, tmp_path, monkeypatch):
    for folder in FOLDERS:
        monkeypatch.setenv(folder, str(tmp_path / folder))
    (shown,) = outputs(
        f"from traininglog import Store\nwith Store({str(path)!r}, readonly=True) as store:\n"
        "    store.watch(store.latest(), interval=0.05)"
    )
    assert "<svg" in shown["data"]["text/html"]
    assert "&lt;b&gt;far" in shown["data"]["text/html"]
    assert shown["data"]["text/plain"] == "finished, time 39: loss 0.025"
