"""What is said of an experiment is changed from outside: in Python and on the command line."""

import json
import subprocess
import sys

import pytest
from command_line import run
from patience import GUARD

from traininglog import RunNotFound, SQLiteLog, Store, StoreUnwritable


@pytest.fixture
def path(tmp_path, monkeypatch):
    path = tmp_path / "runs.db"
    monkeypatch.setenv("TRAININGLOG_STORE", str(path))
    config = {"optim": {"lr": 0.1, "name": "sgd"}, "seed": 3}
    with SQLiteLog(path, name="first", config=config, tags=["draft"]) as log:
        log[1]["loss"] = 0.5
    return path


def info(path, **options):
    with Store(path) as store:
        (found,) = store.iter_runs(**options)
    return found


def test_config_and_tags_are_merged_and_all_else_is_replaced(path):
    with Store(path) as store:
        uuid = store.edit(
            "first", name="second", config={"optim": {"lr": 0.2}}, tags={"seed": 3}, notes="x",
            groups=["a", "b"], remove=["tags.draft", "config.seed"],
        )  # fmt: skip
        assert uuid == store.find("second")
    found = info(path)
    assert found.config == {"optim": {"lr": 0.2, "name": "sgd"}}
    assert (found.name, found.tags, found.notes) == ("second", {"seed": 3}, "x")
    assert found.groups == ("a", "b")
    with Store(path) as store:
        store.edit(uuid, remove=["notes", "config.optim.lr"])
    assert info(path).notes is None
    assert info(path).config == {"optim": {"name": "sgd"}}
    with SQLiteLog(path, uuid=uuid, readonly=True) as log:
        assert log[1] == {"loss": 0.5}
        assert "notes" not in log.status


def test_the_head_is_edited_whichever_run_of_an_experiment_is_named(path):
    with Store(path) as store:
        parent = store.find("first")
    with SQLiteLog(path, parent, resume=True) as log:
        log[2]["loss"] = 0.25
        head = log.uuid
    with Store(path) as store:
        assert store.edit(parent, name="later") == head
        names = {each.uuid: each.name for each in store.iter_runs(heads=False)}
    assert names == {parent: "first", head: "later"}


def test_what_was_put_aside_comes_back_by_hand_or_by_resuming(path):
    with Store(path) as store:
        uuid = store.edit("first", archived=True)
        assert list(store.iter_runs()) == []
        assert info(path, archived=True).archived
        store.edit(uuid, archived=False)
        assert not info(path).archived
        store.edit(uuid, archived=True)
    with SQLiteLog(path, uuid, resume=True) as log:
        log[2]["loss"] = 0.25
    assert not info(path).archived


def test_a_child_inherits_what_was_edited(path):
    with Store(path) as store:
        uuid = store.edit("first", name="edited", tags=["paper"])
    with SQLiteLog(path, uuid, resume=True) as log:
        assert log.status["name"] == "edited"
        assert log.status["tags"] == {"draft": True, "paper": True}


def test_bad_edits_change_nothing(path):
    before = info(path)
    with Store(path) as store:
        with pytest.raises(KeyError, match=r"no 'tags\.draf'; did you mean 'draft'"):
            store.edit("first", name="other", remove="tags.draf")
        with pytest.raises(KeyError, match="no notes"):
            store.edit("first", remove="notes")
        with pytest.raises(ValueError, match="is empty"):
            store.edit("first", name="")
        with pytest.raises(RunNotFound, match="did you mean"):
            store.edit("frist", name="x")
    with Store(path, readonly=True) as store, pytest.raises(StoreUnwritable):
        store.edit("first", name="x")
    assert info(path) == before


WRITER = """
import sys
from traininglog import SQLiteLog
with SQLiteLog(sys.argv[1], name="live") as log:
    log[1]["loss"] = 1.0
    log.flush()
    print(log.h_uuid, flush=True)
    sys.stdin.readline()
    log[2]["loss"] = 0.5
    log.status["iterations_done"] = 2
"""


def test_a_run_that_another_process_writes_keeps_the_edit(path):
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    uuid = writer.stdout.readline().strip()
    with Store(path) as store:
        store.edit(uuid, name="renamed", tags={"watched": True})
    writer.communicate("\n", timeout=GUARD)
    assert writer.returncode == 0
    found = info(path, where="name == 'renamed'")
    assert (found.state, found.rows, found.tags) == ("finished", 2, {"watched": True})
    with SQLiteLog(path, uuid, readonly=True) as log:
        assert log.status["iterations_done"] == 2


def test_a_merge_brings_the_edited_status_with_the_run(path, tmp_path):
    with Store(path) as store:
        store.edit("first", name="edited", remove="tags.draft")
    with Store(tmp_path / "other.db", create=True) as other:
        other.merge(path)
    found = info(tmp_path / "other.db")
    assert (found.name, found.tags) == ("edited", {})


# -- the command line -------------------------------------------------------------------------


def test_the_commands_change_and_show(path):
    assert "is called second" in run("rename", "first", "second").stdout
    shown = run("tag", "second", "paper", "seed=3", "why=a text", "--remove", "draft").stdout
    assert shown.split() == ["paper", "True", "seed", "3", "why", "a", "text"]
    assert json.loads(run("tag", "second", "--json").stdout) == {
        "paper": True, "seed": 3, "why": "a text",
    }  # fmt: skip
    run("config", "second", "optim.lr=0.5", 'model={"depth": 18}', "--remove", "seed")
    assert json.loads(run("config", "second", "--json").stdout) == {
        "optim": {"lr": 0.5, "name": "sgd"}, "model": {"depth": 18},
    }  # fmt: skip
    assert "no notes" in run("note", "second").stderr
    run("note", "second", "one\ntwo")
    assert run("note", "second").stdout == "one\ntwo\n"
    run("note", "second", "-", input="three\n")
    assert run("note", "second").stdout == "three\n"
    run("note", "second", "")
    assert info(path).notes is None
    assert "1 experiment put aside" in run("archive", "second").stdout
    assert "second" not in run("runs").stdout
    assert "brought back" in run("archive", "second", "--undo").stdout
    assert "second" in run("runs").stdout


def test_notes_are_written_in_the_editor_of_the_user(path, tmp_path, monkeypatch):
    editor = tmp_path / "editor.py"
    editor.write_text(
        "import pathlib, sys\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "path.write_text(path.read_text() + 'more\\n')\n"
    )
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{sys.executable} {editor}")
    run("note", "first", "some\n")
    run("note", "first", "--edit")
    assert info(path).notes == "some\nmore\n"
    monkeypatch.setenv("EDITOR", "false")
    assert "nothing was changed" in run("note", "first", "--edit", status=1).stderr
    assert info(path).notes == "some\nmore\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rename", "first", "0123abcd"], "looks like the UUID"),
        (["rename", "frist", "x"], "did you mean"),
        (["tag", "first", "=3"], "sets nothing"),
        (["tag", "first", "--remove", "draf"], "did you mean 'draft'"),
        (["config", "first", "lr"], "write NAME=VALUE"),
        (["config", "first", "a=1", "a.b=2"], "drop one of them"),
    ],
)
def test_a_mistake_is_one_line(path, arguments, said):
    assert said in run(*arguments, status=1).stderr
