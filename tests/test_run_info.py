"""`RunInfo`: what a store tells of its runs, below any DataFrame."""

import dataclasses
import math
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from command_line import run
from test_imports import imported
from typer.testing import CliRunner

import traininglog
from traininglog import RunInfo, SQLiteLog, Store
from traininglog.cli.app import app
from traininglog.sqlite.runs import run_list


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


def write_run(path, *rows, **status):
    """Write a closed run, a row a time from 0 on, and return its UUID."""
    with SQLiteLog(path) as log:
        for time, row in enumerate(rows):
            log[time] = row
        log.status.update(status)
        return log.uuid


def infos(path, *arguments, **options):
    with Store(path, readonly=True) as store:
        return list(store.iter_runs(*arguments, **options))


def test_a_run_is_told_as_it_was_written(path):
    before = datetime.now(UTC)
    uuid = write_run(path, {"loss": 1.0}, {"loss": 0.5, "n": 2}, name="a", config={"lr": 0.1})
    (info,) = infos(path)
    assert isinstance(info, RunInfo)
    assert (info.uuid, info.name, info.state) == (uuid, "a", "finished")
    assert (info.first_time, info.last_time, info.rows, info.values) == (0, 1, 2, 3)
    assert before <= info.created <= info.updated <= datetime.now(UTC)
    assert info.created.tzinfo is not None
    assert (info.resumed_from, info.resumed_at) == (None, None)
    assert (info.config, info.tags) == ({"lr": 0.1}, None)
    assert (info.last, info.best) == ({}, {})
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.name = "another"


def test_what_a_status_has_of_another_type_is_no_name_config_or_tags(path):
    write_run(path, name=3, config="lr=0.1", tags=3, notes=4, groups=5, goals=6, archived=1)
    (info,) = infos(path)
    assert (info.name, info.config, info.tags) == (None, None, None)
    assert (info.notes, info.groups, info.goals, info.archived) == (None, (), {}, False)


def test_tags_may_be_a_list_of_names_and_a_group_one_text(path):
    write_run(path, tags=["baseline", "paper"], groups="sweep", goals={"acc": "max", "x": 3})
    (info,) = infos(path)
    assert info.tags == {"baseline": True, "paper": True}
    assert (info.groups, info.goals) == (("sweep",), {"acc": "max"})


def test_none_nan_and_absent_are_three_things(path):
    write_run(path, {"x": None})
    write_run(path, {"x": math.nan})
    write_run(path, {"y": 1.0})
    none, nan, absent = infos(path, "x")
    assert (none.last["x"].value, none.last["x"].kind) == (None, "none")
    assert math.isnan(nan.last["x"].value)
    assert nan.last["x"].kind == "float"
    assert "x" not in absent.last


def test_a_last_value_has_its_time_and_is_seen_through_the_lineage(path):
    parent = write_run(path, {"x": 1, "y": "a"}, {"x": 2}, {"x": 3})
    with SQLiteLog(path, parent, at=1) as log:
        child = log.uuid
    (info,) = infos(path, ["x", "y"], best={"x": "max"})
    assert (info.uuid, info.resumed_from, info.resumed_at) == (child, parent, 1)
    assert info.last == {"x": (1, 2), "y": (0, "a")}
    assert info.best == {"x": 2}


def test_a_key_without_a_number_has_no_best(path):
    write_run(path, {"x": "text"})
    write_run(path, {"x": math.nan}, {"x": 2.0})
    text, number = infos(path, best="x")
    assert (text.best, number.best) == ({}, {"x": 2.0})


def test_a_key_that_no_run_has_is_an_error(path):
    write_run(path, {"x": 1})
    with pytest.raises(KeyError, match="nope"):
        infos(path, "nope")
    with pytest.raises(KeyError, match="nope"):
        infos(path, best="nope")


@pytest.mark.parametrize(
    "asked",
    [{}, {"keys": "*"}, {"keys": ["x", "s*"], "best": {"x": "max"}}, {"name": "b*"},
     {"state": "finished", "limit": 2}, {"state": "lost"}, {"limit": 0}],
    ids=str,
)  # fmt: skip
def test_the_frame_of_runs_is_a_view_of_it(path, asked):
    for number, name in enumerate(["a", "b1", "b2", "c"]):
        write_run(
            path, {"x": number, "state": "mine"}, {"x": None if number == 1 else 2.5}, name=name
        )
    with SQLiteLog(path) as live, Store(path) as store:
        live[0]["x"] = 1
        live.flush()
        frame, found = store.runs(**asked), list(store.iter_runs(**asked))
    assert list(frame["uuid"]) == [info.uuid.hex for info in found]
    assert list(frame["state"]) == [info.state for info in found]
    assert list(frame["created"]) == [info.created for info in found]
    assert list(frame["values"]) == [info.values for info in found]
    if "best" in asked:
        assert list(frame["best.x"]) == [info.best["x"] for info in found]
        own = list(frame["log.state"].astype(object).where(frame["log.state"].notna(), None))
        assert own == [info.last["state"].value if "state" in info.last else None for info in found]


def test_runs_are_read_some_at_a_time(path, monkeypatch):
    """What was deleted meanwhile is left out, what was added does not come, and nothing is held."""
    monkeypatch.setattr(run_list, "PAGE", 2)
    uuids = [write_run(path, {"x": number}, name=f"run {number}") for number in range(7)]
    with Store(path) as store:
        given = store.iter_runs("x", best="x")
        first = next(given)
        store.delete(uuids[3])
        write_run(path, {"x": 7})
        rest = list(given)
    assert [info.uuid for info in [first, *rest]] == [*uuids[:3], *uuids[4:]]
    assert [info.last["x"].value for info in rest] == [1, 2, 4, 5, 6]
    assert [info.best["x"] for info in rest] == [1, 2, 4, 5, 6]
    assert [info.name for info in rest] == [f"run {number}" for number in (1, 2, 4, 5, 6)]


def test_runs_are_read_some_at_a_time_with_filters(path, monkeypatch):
    monkeypatch.setattr(run_list, "PAGE", 2)
    for number in range(7):
        write_run(path, {"x": number}, name="odd" if number % 2 else "even")
    assert [info.last["x"].value for info in infos(path, "x", name="even")] == [0, 2, 4, 6]
    assert [info.last["x"].value for info in infos(path, "x", name="even", limit=3)] == [2, 4, 6]


# -- what it spares -------------------------------------------------------------------------


def test_runs_are_listed_without_numpy_and_pandas(path):
    write_run(path, {"x": 1.0})
    script = (
        "import sys; from traininglog import Store\n"
        "with Store(sys.argv[1], readonly=True) as store:\n"
        "    (info,) = store.iter_runs('x', best='x')\n"
        "    assert info.last['x'].value == info.best['x'] == 1.0\n"
    )
    assert not imported(script, path) & {"pandas", "numpy"}


@pytest.mark.parametrize(
    "words",
    [["runs"], ["runs", "--keys", "x", "--best", "x"], ["runs", "--json"], ["show"],
     ["show", "--json"], ["tail"], ["tail", "--json"]],
    ids=" ".join,
)  # fmt: skip
def test_the_command_line_lists_without_numpy_and_pandas(path, words):
    write_run(path, {"x": 1.0, "y": None}, name="a")
    write_run(path, {"y": 2})
    script = (
        "import sys; from traininglog.cli import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "sys.stdout = sys.__stderr__\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script + "print(*sys.modules, file=sys.stderr)", *words,
         "--store", str(path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    modules = {name.split(".")[0] for name in done.stderr.split()}
    assert "traininglog" in modules
    assert not modules & {"pandas", "numpy"}


def test_help_imports_no_command(path):
    script = (
        "import sys; from traininglog.cli import main\n"
        "sys.argv = ['traininglog', '--help']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit:\n"
        "    print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    modules = {name for name in done.stderr.split() if name.startswith("traininglog.")}
    assert modules == {
        "traininglog.errors", "traininglog.cli", "traininglog.cli.app", "traininglog.cli.mistakes"
    }  # fmt: skip
    assert "rich" not in done.stderr.split()


def test_what_the_list_of_commands_says_is_what_each_says_itself():
    from traininglog.cli.app import COMMANDS, Later

    for name, entry in COMMANDS.items():
        first = " ".join(Later(name, entry).real().help.split("\n\n")[0].split())
        assert first.startswith(entry.help), name


def test_listing_runs_opens_no_log(path, monkeypatch):
    """Of runs that lack the key, too."""
    write_run(path, {"x": 1})
    write_run(path, {"y": 1})
    write_run(path, {"x": None})

    def refuse(*_, **__):
        raise AssertionError("a log was opened")

    monkeypatch.setattr(Store, "log", refuse)
    assert "None" in run("runs", "--keys", "x", "--store", path).stdout


PACKAGE = Path(traininglog.__file__).parent


def modules_crossed(act):
    """Return the modules of the package in which a function was called."""
    crossed = set()

    def note(frame, event, _):
        file = Path(frame.f_code.co_filename)
        if event == "call" and file.is_relative_to(PACKAGE):
            crossed.add(file.relative_to(PACKAGE).as_posix())

    sys.setprofile(note)
    try:
        act()
    finally:
        sys.setprofile(None)
    return crossed


def test_a_list_of_runs_crosses_few_modules(path):
    """Besides those that any look at the file crosses: who writes it, and a transaction."""
    write_run(path, {"x": 1.0})
    with Store(path) as store:
        store.runs(heads=False)  # imports

        def look():
            store.state(store.latest())

        looking = modules_crossed(look)
        assert len(modules_crossed(store.runs) - looking) <= 7


def test_a_list_of_runs_goes_through_few_modules_of_few_rooms(path):
    """Counted by what runs: the store, its file and its rows, and the frame."""
    write_run(path, {"loss": 1.0})
    package = f"{Path(traininglog.__file__).parent}{os.sep}"
    ran = set()

    def count(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(package):
            ran.add(frame.f_code.co_filename.removeprefix(package))

    with Store(path) as store:
        store.runs()  # imports what it needs
        sys.setprofile(count)
        try:
            store.runs()
        finally:
            sys.setprofile(None)
    assert len(ran) <= 18, sorted(ran)
    assert {file.partition(os.sep)[0] for file in ran} == {
        "forks.py", "frames.py", "selection.py", "sql", "sqlite", "writer",
    }  # fmt: skip


def test_no_page_of_a_sound_list_is_taken_for_damaged(path, monkeypatch):
    """What is wrong with a line is left out of it, and is computed anew: that takes long."""
    for _ in range(5):
        write_run(path, {"x": 1})
    monkeypatch.setattr("traininglog.sqlite.runs.run_list.PAGE", 2)
    monkeypatch.setattr("traininglog.sql.runs.listing._mended", pytest.fail)
    assert [info.values for info in infos(path)] == [1] * 5


# -- config and tags as columns ---------------------------------------------------------------


@pytest.fixture
def described(path):
    for lr, more in ((0.1, {"name": "sgd"}), (0.01, {"name": "adam", "betas": [0.9, 0.99]})):
        with SQLiteLog(path) as log:
            log.status["config"] = {"lr": lr, "optim": more}
            log.status["tags"] = {"seed": 1}
            log[1]["lr"] = lr
    with SQLiteLog(path) as log:
        log.status["config"] = "a text is no config"
    return path


def test_config_and_tags_are_columns_by_dotted_names(described):
    with Store(described) as store:
        table = store.runs("lr", config=["optim.*", "lr"], tags="*")
    assert list(table.columns)[-5:] == [
        "config.optim.name", "config.optim.betas", "config.lr", "tags.seed", "lr",
    ]  # fmt: skip
    assert table["config.lr"].to_list()[:2] == [0.1, 0.01]
    assert table["config.optim.name"].to_list()[:2] == ["sgd", "adam"]
    assert table["config.optim.betas"][1] == [0.9, 0.99]
    assert table[["config.lr", "tags.seed"]].iloc[2].isna().all()


def test_a_name_that_no_config_has_is_an_error_that_names_near_ones(described):
    with Store(described) as store, pytest.raises(KeyError, match=r"did you mean 'optim\.name'"):
        store.runs(config="optm.name")
    wrong = CliRunner().invoke(app, ["runs", "-s", str(described), "--config", "optm.name"])
    assert (wrong.exit_code, "optim.name" in wrong.stderr) == (1, True)


def test_names_that_are_dotted_and_nested_at_once_hide_nothing(path):
    with SQLiteLog(path) as log:
        log.status["config"] = {"a.b": 1, "a": {"b": 2}}
    with Store(path) as store:
        table = store.runs(config="*")
    assert table["config.a.b"].to_list() == [1]
    assert table["config.a"].to_list() == [{"b": 2}]


def test_the_command_shows_config_and_tags(described):
    done = CliRunner().invoke(app, ["runs", "-s", str(described), "-c", "lr", "-t", "*"])
    lines = done.stdout.splitlines()
    assert lines[0].split()[-2:] == ["config.lr", "tags.seed"]
    assert [line.split()[-2:] for line in lines[1:]] == [["0.1", "1"], ["0.01", "1"], ["-", "-"]]
