"""`traininglog runs` as a question: --where, --sort, --columns, --group-by, and its forms."""

import csv
import io
import json
import math

import pytest
from command_line import run

from traininglog import SQLiteLog, Store


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Write 3 learning rates x 2 seeds, one of them with NaN, and a run with nothing."""
    path = tmp_path / "runs.db"
    monkeypatch.setenv("TRAININGLOG_STORE", str(path))
    for lr in (0.1, 0.01, 0.001):
        for seed in range(2):
            with SQLiteLog(path) as log:
                log.status.update(
                    name=f"lr{lr}-s{seed}", config={"optim": {"lr": lr}, "seed": seed},
                    tags={"note": "=1+1"}, goals={"val/acc": "max"},
                )  # fmt: skip
                log[1].update({"val/acc": 0.9 - lr + seed / 10, "loss": lr})
                if (lr, seed) == (0.1, 1):
                    log[2]["loss"] = math.nan
    with SQLiteLog(path) as log:
        log.status["name"] = "empty"
        log[1]["loss"] = 9.0
    return path


def words(text):
    return [line.split() for line in text.splitlines()]


def test_where_sort_and_columns_make_the_table(path):
    shown = run(
        "runs", "--where", "config.optim.lr < 0.1 and max.val/acc > 0.9", "--sort", "-max.val/acc",
        "--columns", "config.*,max.val/acc", "--columns", "last.*",
    ).stdout  # fmt: skip
    heading, *lines = words(shown)
    assert heading == [
        "RUN", "NAME", "STATE", "config.optim.lr", "config.seed", "max.val/acc", "last.val/acc",
        "last.loss",
    ]  # fmt: skip
    assert [line[1:] for line in lines] == [
        ["lr0.001-s1", "finished", "0.001", "1", "0.999", "0.999", "0.001"],
        ["lr0.01-s1", "finished", "0.01", "1", "0.99", "0.99", "0.01"],
    ]


def test_csv_has_every_digit_and_no_formula(path):
    text = run("runs", "--csv", "--columns", "tags.note,best.val/acc", "--sort", "name").stdout
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["name"] for line in lines][:2] == ["empty", "lr0.001-s0"]
    assert lines[0]["best.val/acc"] == lines[0]["tags.note"] == ""
    assert float(lines[2]["best.val/acc"]) == 0.9 - 0.001 + 0.1
    assert lines[1]["tags.note"] == "'=1+1"


def test_json_has_the_columns(path):
    found = json.loads(run("runs", "--json", "--columns", "config.seed", "--limit", "2").stdout)
    assert [each["columns"] for each in found] == [{"config.seed": 1}, {"config.seed": None}]


def test_groups_are_a_table_for_each_metric(path):
    shown = run("runs", "--group-by", "config.optim.lr", "-k", "val/acc", "-k", "loss").stdout
    first, second = (words(part) for part in shown.split("\n\n"))
    assert first[0] == ["val/acc", "(last)"]
    assert first[1] == [
        "config.optim.lr", "RUNS", "MEAN", "±95%", "STD", "MIN", "MAX", "LEFT", "OUT",
    ]  # fmt: skip
    assert first[2][:3] == ["0.001", "2", "0.949"]
    assert first[5][:2] == ["-", "1"]
    assert first[5][-2:] == ["1", "without"]
    (lr,) = [line for line in second if line[0] == "0.1"]
    assert lr[1:4] == ["2", "0.1", "-"], "of one finite number there is no interval"
    assert lr[-3:] == ["1", "non-finite", "value"]


def test_groups_have_the_forms_for_programs(path):
    arguments = ("runs", "--group-by", "config.optim.lr", "-k", "val/acc", "--of", "best")
    found = json.loads(run(*arguments, "--json").stdout)
    assert [group["n"] for group in found] == [2, 2, 2, 1]
    assert found[0]["by"] == {"config.optim.lr": 0.001}
    assert len(found[0]["runs"]) == 2
    assert found[0]["metrics"]["val/acc"]["mean"] == pytest.approx(0.949)
    lines = list(csv.DictReader(io.StringIO(run(*arguments, "--csv").stdout)))
    assert [line["n"] for line in lines] == ["2", "2", "2", "1"]
    assert float(lines[0]["val/acc.mean"]) == found[0]["metrics"]["val/acc"]["mean"]
    assert lines[3]["val/acc.mean"] == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--where", "config.lr < 1"], "no run has config.lr; did you mean 'optim.lr'?"),
        (["--where", "state == 'gone'"], "a state is one of"),
        (["--where", "(" * 200_000], "may have 10,000"),
        (["--sort", "max.los"], "no run has a key 'los'; did you mean 'loss'?"),
        (["--columns", "conf.*"], "'conf' is no family"),
        (["--columns", "*"], "is a glob of no family"),
        (["--columns", "last.x*y"], None),
        (["--group-by", "config.lr"], "did you mean 'optim.lr'?"),
        (["--group-by", "state", "--columns", "name"], "--columns does not go with --group-by"),
        (["--of", "max"], "name one with --group-by"),
        (["--json", "--csv"], "choose one"),
    ],
)
def test_a_bad_question_is_one_line_that_says_what_to_do(path, arguments, said):
    if said is None:
        run("runs", *arguments)  # a glob that fits nothing shows nothing more
    else:
        assert said in run("runs", *arguments, status=1).stderr


def test_archived_runs_are_shown_on_request(path):
    with Store(path) as store:
        uuid = store.find(store.latest())
    with SQLiteLog(path, uuid) as log:
        log.status["archived"] = True
    assert "empty" not in run("runs").stdout
    assert "empty" in run("runs", "--archived").stdout


def test_a_terminal_shows_the_latest_50(tmp_path, monkeypatch):
    path = tmp_path / "many.db"
    for number in range(60):
        with SQLiteLog(path) as log:
            log.status["name"] = f"run-{number:02}"
            log[1]["x"] = float(number)
    assert len(run("runs", "-s", path).stdout.splitlines()) == 61, "a pipe shows all"
    monkeypatch.setattr("traininglog.cli.comparing.runs.on_terminal", lambda: True)
    result = run("runs", "-s", path)
    assert "run-09" not in result.stdout
    assert "run-59" in result.stdout
    assert "the latest 50 of 60; --limit takes others" in result.stderr
    result = run("runs", "-s", path, "--sort", "max.x")
    assert "run-50" not in result.stdout
    assert "the first 50 of 60" in result.stderr
    assert len(run("runs", "-s", path, "--limit", "60").stdout.splitlines()) == 61
