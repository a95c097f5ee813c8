"""Runs are named by their UUIDs, their names, or the starts of their UUIDs."""

from uuid import UUID

import pytest
from command_line import run

from traininglog import AmbiguousRun, RunNotFound, SQLiteLog, Store
from traininglog.sqlite import log as module


def write_run(path, name=None, digits=None):
    """Write a run, whose UUID begins with some digits."""
    with pytest.MonkeyPatch.context() as patch:
        if digits is not None:
            patch.setattr(module, "new_uuid", lambda: UUID(digits.ljust(32, "0")))
        log = SQLiteLog(path)
    with log:
        if name is not None:
            log.status["name"] = name
        log[1]["loss"] = 0.5
    return log.uuid


@pytest.fixture
def path(tmp_path, monkeypatch):
    path = tmp_path / "runs.db"
    monkeypatch.setenv("TRAININGLOG_STORE", str(path))
    return path


def test_a_name_finds_a_run(path):
    uuid = write_run(path, "resnet18-seed1")
    write_run(path, "resnet18-seed2")
    with Store(path) as store:
        assert store.find("resnet18-seed1") == uuid
        assert store.log("resnet18-seed1", readonly=True).uuid == uuid
        assert list(store.names().values()) == ["resnet18-seed1", "resnet18-seed2"]
    assert uuid.hex in run("show", "resnet18-seed1").stdout
    assert "0.5" in run("tail", "resnet18-seed1").stdout
    assert "loss" in run("export", "resnet18-seed1").stdout
    assert "same" in run("diff", "resnet18-seed1", uuid.hex[:9]).stdout


def test_a_near_name_is_told(path):
    write_run(path, "resnet18-seed1")
    with Store(path) as store, pytest.raises(RunNotFound, match="did you mean 'resnet18-seed1'"):
        store.find("resnet18-sed1")
    assert "did you mean" in run("show", "resnet18-sed1", status=1).stderr


def test_of_one_name_the_newest_is_taken_and_a_note_says_so(path):
    first, second = write_run(path, "twice"), write_run(path, "twice")
    with Store(path) as store:
        assert store.find("twice") == second
        assert store.called("twice") == [first, second]
    result = run("show", "twice")
    assert second.hex in result.stdout
    assert f"the newest of 2 with the name twice; others are {first.hex[:8]}" in result.stderr


def test_a_name_of_two_experiments_deletes_neither(path):
    first, second = write_run(path, "twice"), write_run(path, "twice")
    with Store(path) as store, pytest.raises(AmbiguousRun) as caught:
        store.delete("twice")
    assert first.hex in str(caught.value)
    assert second.hex in str(caught.value)
    assert "finished" in str(caught.value)
    run("delete", "twice", "--yes", status=1)
    with Store(path) as store:
        assert len(list(store.iter_runs())) == 2


def test_a_resumed_run_is_its_head_and_no_ambiguity(path):
    uuid = write_run(path, "once")
    with SQLiteLog(path, uuid=uuid, resume=True) as log:
        log.status["name"] = "once"
        log[2]["loss"] = 0.25
    with Store(path) as store:
        assert store.called("once") == [log.uuid]
        assert store.find("once") == log.uuid
    assert run("show", "once").stderr == ""


def test_a_name_that_looks_like_a_uuid(path):
    first = write_run(path, digits="aaaaaaaa")
    by_prefix = write_run(path, "aaaaaaaa")
    by_uuid = write_run(path, first.hex)
    with Store(path) as store:
        assert store.find(first.hex) == first
        assert store.find("aaaaaaaa") == by_prefix
        assert store.find("aaaaaaaa0") == first
        assert store.find(by_uuid.hex) == by_uuid
    lines = run("runs").stdout.splitlines()
    assert lines[1].split()[0] == "aaaaaaaa0"  # what is shown names the run


def test_an_ambiguous_start_lists_state_age_and_uuid(path):
    one = write_run(path, "one", "ab1")
    two = write_run(path, digits="ab2")
    error = run("show", "ab", status=1).stderr
    assert f"{one.hex} ('one', finished, made " in error
    assert f"{two.hex} (finished, made " in error


def test_a_hostile_name_stays_on_its_line(path):
    write_run(path, "two\nlines\x1b[2J")
    assert "\x1b" not in run("show", "two\nlines\x1b[2", status=1).stderr
    write_run(path, "n" * 10_000)
    assert len(run("show", "n" * 9_999, status=1).stderr) < 1000
