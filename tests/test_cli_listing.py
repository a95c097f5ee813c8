"""`runs`, `show`, `diff` and what all commands share: finding runs, escaping, exit statuses."""

import json
import sqlite3
from contextlib import suppress

import pytest
from command_line import run, uuids
from typer.testing import CliRunner

from traininglog import SQLiteLog, Store
from traininglog.cli.app import app
from traininglog.cli.output.text import brief, moment, size
from traininglog.display.plain_text import visible

HOSTILE = [
    '"; DROP TABLE runs;--',
    "%s :p ? {x}",
    "../../etc/passwd",
    "<script>",
    "\u202egpj.exe",
    "two\nlines",
    "[red]x[/red]",
    "\x1b[2J\x1b]0;title\x07",
    "\x7f\x9b31m",
    "\u2028\u200b",
]


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A store of three runs: a parent, its child, and one that failed with hostile names."""
    path = tmp_path / "runs.db"
    with SQLiteLog(path) as log:
        log.status["name"] = "parent"
        for time in range(1, 11):
            log[time]["loss"] = 1 / time
            log[time]["step"] = time
        uuid = log.uuid
    with SQLiteLog(path, uuid=uuid, resume=True, at=5) as log:
        log.status["name"] = "child"
        log[6]["loss"] = float("nan")
        log[7]["loss"] = 0.125
        log[7]["mixed"] = None
    with suppress(RuntimeError), SQLiteLog(path) as log:
        log.status["name"] = HOSTILE[7]
        for number, key in enumerate(HOSTILE):
            log[1][key] = key
            log[2][key] = number
            log.status[key] = key
        raise RuntimeError
    monkeypatch.setenv("TRAININGLOG_STORE", str(path))
    return path


def parsed(*arguments, status=0):
    """Run with --json; refuse what strict JSON does not know."""

    def refuse(name):
        raise AssertionError(name)

    return json.loads(run(*arguments, "--json", status=status).stdout, parse_constant=refuse)


# -- runs -----------------------------------------------------------------------------------


def test_runs_lists_every_run_in_the_order_of_creation(path):
    lines = run("runs", "--all").stdout.splitlines()
    assert lines[0].split() == ["RUN", "NAME", "STATE", "CREATED", "TIME", "ROWS", "VALUES", "FROM"]
    assert [line.split()[0] for line in lines[1:]] == [uuid[:8] for uuid in uuids(path)]
    assert "parent" in lines[1]
    assert "finished" in lines[1]
    assert lines[2].endswith(f"{uuids(path)[0][:8]} @ 5")
    assert "failed" in lines[3]


def test_runs_into_a_pipe_is_plain_and_unwrapped(path):
    with SQLiteLog(path) as log:
        log.status["name"] = "n" * 300
    result = run("runs", "--all")
    assert "n" * 300 in result.stdout
    assert "\x1b" not in result.stdout
    assert len(result.stdout.splitlines()) == 5


def test_runs_filters_by_state_name_and_number(path):
    assert len(run("runs", "--state", "failed").stdout.splitlines()) == 2
    assert len(run("runs", "--all", "--name", "[pc]*").stdout.splitlines()) == 3
    assert [line["uuid"] for line in parsed("runs", "-n", 1)] == uuids(path)[-1:]
    run("runs", "--state", "asleep", status=2)
    run("runs", "--limit", "0", status=2)


def test_runs_shows_last_values_and_tells_none_nan_and_absent_apart(path):
    with SQLiteLog(path) as log:
        log[1]["loss"] = float("nan")
    first, second, third, fourth = parsed("runs", "--all", "-k", "loss", "-k", "mi*")
    assert first["last_values"] == {"loss": 0.1}
    assert second["last_values"] == {"loss": 0.125, "mixed": None}
    assert third["last_values"] == {}
    assert fourth["last_values"] == {"loss": "NaN"}
    lines = run("runs", "-a", "--keys", "loss", "-k", "mixed").stdout.splitlines()
    assert lines[2].split()[-2:] == ["0.125", "None"]
    assert lines[3].split()[-2:] == ["-", "-"]
    assert lines[4].split()[-2:] == ["NaN", "-"]


def test_runs_shows_the_best_number_as_it_is_seen_through_the_lineage(path):
    first, second, third = parsed("runs", "--all", "--best", "loss", "--best", "step:max")
    assert first["best_values"] == {"loss": 0.1, "step": 10}
    assert second["best_values"] == {"loss": 0.125, "step": 5}
    assert third["best_values"] == {}
    assert "last_values" not in first
    lines = run("runs", "--all", "-k", "loss", "--best", "loss:max").stdout.splitlines()
    assert lines[0].split()[-2:] == ["loss", "best.loss"]
    assert lines[1].split()[-2:] == ["0.1", "1"]
    assert lines[3].split()[-2:] == ["-", "-"]
    assert "nope" in run("runs", "--best", "nope", status=1).stderr
    assert "twice" in run("runs", "--best", "loss", "--best", "loss:max", status=1).stderr


def test_a_key_may_end_like_what_tells_which_number_is_the_best(path):
    with SQLiteLog(path) as log:
        log[1]["a:max"] = 1
        log[2]["a:max"] = 2
    assert parsed("runs", "--best", "a:max:min")[-1]["best_values"] == {"a:max": 1}
    assert parsed("runs", "--best", "a:max:max")[-1]["best_values"] == {"a:max": 2}


def test_a_key_named_like_a_column_of_runs_is_not_mixed_up_with_it(path):
    with SQLiteLog(path) as log:
        log[1].update(state="mine", uuid=float("nan"))
    line = parsed("runs", "-k", "state", "-k", "u*")[-1]
    assert (line["uuid"], line["state"]) == (uuids(path)[-1], "finished")
    assert line["last_values"] == {"log.state": "mine", "log.uuid": "NaN"}


def test_runs_as_json_holds_whole_uuids_and_iso_times(path):
    first, second, _ = parsed("runs", "--all")
    assert [first["uuid"], second["uuid"]] == uuids(path)[:2]
    assert first["state"] == "finished"
    assert first["created"].endswith("+00:00")
    assert first["resumed_from"] is None
    assert (second["resumed_from"], second["resumed_at"]) == (first["uuid"], 5)
    assert (first["first"], first["last"], first["rows"], first["values"]) == (1, 10, 10, 20)


def test_an_empty_store_has_no_runs_and_that_is_no_mistake(tmp_path):
    Store(tmp_path / "empty.db", create=True).close()
    result = run("runs", "-s", tmp_path / "empty.db")
    assert result.stdout == ""
    assert "no runs yet" in result.stderr
    assert parsed("runs", "-s", tmp_path / "empty.db") == []
    for command in ("show", "tail", "export", "plot"):
        assert "no runs" in run(command, "-s", tmp_path / "empty.db", status=1).stderr


def test_a_run_that_is_being_written_is_running(path):
    with SQLiteLog(path) as log:
        log[1]["x"] = 1
        log.flush()
        assert parsed("runs", "--state", "running")[0]["uuid"] == log.h_uuid


# -- show -----------------------------------------------------------------------------------


def test_show_says_everything_about_a_run(path):
    parent, child, _ = uuids(path)
    text = run("show", child[:6]).stdout
    for part in (
        child, "finished", "resumed at 5", "<- this run", "resumed_from", "2 rows at 6 to 7",
        "0.125 @ 7", "1 @ 1", "1, first @ 6",
    ):  # fmt: skip
        assert part in text
    tree = run("show", parent).stdout.split("Lineage")[1].splitlines()[1:3]
    assert tree[0].split()[0] == parent[:8]
    assert tree[1].split()[:2] == ["└─", child[:8]]


def test_show_without_a_run_takes_the_latest(path):
    assert uuids(path)[-1] in run("show").stdout


def test_show_as_json(path):
    parent, child, _ = uuids(path)
    found = parsed("show", child)
    assert found["lineage"] == [
        {"uuid": child, "resumed_at": 5}, {"uuid": parent, "resumed_at": None},
    ]  # fmt: skip
    assert found["status"]["name"] == "child"
    loss = found["keys"][0]
    assert loss["key"] == "loss"
    assert loss["values"] == 7
    assert loss["last"] == {"time": 7, "value": 0.125}
    assert loss["max"] == {"time": 1, "value": 1.0}
    assert (loss["nan_count"], loss["first_nan"]) == (1, 6)
    assert parsed("show", parent)["children"] == [{"uuid": child, "resumed_at": 5}]


def test_show_of_values_that_json_does_not_know(path):
    numpy = pytest.importorskip("numpy")
    with SQLiteLog(path) as log:
        log[1].update(a=numpy.array([1.0, numpy.nan]), b=b"\x00\xff", c=float("-inf"))
        log.status["nested"] = {"x": [float("inf"), None], 3: b"\x01"}
    found = parsed("show")
    last = {item["key"]: item["last"]["value"] for item in found["keys"]}
    assert last == {"a": [1.0, "NaN"], "b": "AP8=", "c": "-Infinity"}
    assert found["status"]["nested"] == {"x": ["Infinity", None], "3": "AQ=="}
    assert "array 2 float64" in run("show").stdout


def test_a_long_lineage_is_cut_in_the_middle(path):
    with SQLiteLog(path) as log:
        for time in range(30):
            log[time]["x"] = time
            log.resume()
    lines = run("show").stdout.split("Lineage\n")[1].split("\n\n")[0].splitlines()
    assert len(lines) == 13
    assert "… 19 more" in lines[2]


# -- diff -----------------------------------------------------------------------------------


def test_diff_compares_statuses_and_last_values(path):
    parent, child, _ = uuids(path)
    text = run("diff", parent[:8], child[:8]).stdout
    assert "iterations_done" not in text  # the same in both
    assert [line.split() for line in text.splitlines() if line.startswith("name")] == [
        ["name", "parent", "child"]
    ]
    loss = next(line for line in text.splitlines() if line.startswith("loss"))
    assert loss.split() == ["loss", "0.1", "@", "10", "0.125", "@", "7", "+0.025"]
    found = parsed("diff", parent, child, "-k", "loss", "-k", "mixed")
    assert [item["key"] for item in found["keys"]] == ["loss", "mixed"]
    assert found["keys"][0]["difference"] == pytest.approx(0.025)
    assert found["keys"][1] == {
        "key": "mixed", "a": None, "b": {"time": 7, "value": None}, "difference": None,
    }  # fmt: skip
    assert {item["key"] for item in found["status"]} == {"name", "resumed_from"}


def test_a_run_does_not_differ_from_itself(path):
    parent = uuids(path)[0]
    assert "The statuses are the same" in run("diff", parent, parent).stdout
    assert parsed("diff", parent, parent)["status"] == []


def test_nan_in_a_status_is_the_same_as_nan_and_one_is_not_true(path):
    for value in (1, True):
        with SQLiteLog(path) as log:
            log.status.update(nan=float("nan"), one=value)
    a, b = uuids(path)[-2:]
    assert [item["key"] for item in parsed("diff", a, b)["status"]] == ["one"]


def test_diff_refuses_a_key_that_neither_has(path):
    parent, child, _ = uuids(path)
    assert "'nope'" in run("diff", parent, child, "-k", "nope", status=1).stderr


# -- mistakes -------------------------------------------------------------------------------


def test_a_run_that_is_not_there(path):
    for command in ("show", "tail", "export", "plot"):
        prefix = "0" * 32
        assert prefix in run(command, prefix, status=1).stderr
        assert "holds no run 'my run'" in run(command, "my run", status=1).stderr


def test_an_ambiguous_prefix_names_the_candidates(tmp_path):
    path = tmp_path / "runs.db"
    for _ in range(17):  # more than can differ in their first digit
        SQLiteLog(path).close()
    digits = [uuid[0] for uuid in uuids(path)]
    digit = next(digit for digit in digits if digits.count(digit) > 1)
    assert "give more digits" in run("show", digit, "-s", path, status=1).stderr


def test_short_uuids_are_as_long_as_they_must_be(tmp_path, monkeypatch):
    import uuid

    from traininglog.sqlite import log as module

    made = iter(["aaaaaaaa11" + "0" * 22, "aaaaaaaa12" + "0" * 22, "bbbbbbbb" + "0" * 24])
    monkeypatch.setattr(module, "new_uuid", lambda: uuid.UUID(next(made)))
    for _ in range(3):
        SQLiteLog(tmp_path / "runs.db").close()
    lines = run("runs", "-s", tmp_path / "runs.db").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["aaaaaaaa11", "aaaaaaaa12", "bbbbbbbb"]


@pytest.mark.parametrize("command", ["runs", "show", "tail", "export", "plot", "check"])
def test_a_file_that_is_missing_or_is_not_ours(tmp_path, command):
    assert "there is no" in run(command, "-s", tmp_path / "no.db", status=1).stderr
    assert not (tmp_path / "no.db").exists()
    foreign = tmp_path / "foreign.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE runs (id)")
    connection.commit()
    connection.close()
    before = foreign.read_bytes()
    assert "not a training log" in run(command, "-s", foreign, status=1).stderr
    text = tmp_path / "text.db"
    text.write_text("hello " * 1000)
    assert "not a training log" in run(command, "-s", text, status=1).stderr
    assert foreign.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["foreign.db", "text.db"]


def test_a_store_that_is_not_a_file_of_many_runs(path):
    for store in ("memory:", ":memory:", "ftp://host/x"):
        run("runs", "-s", store, status=1)


def test_the_store_may_be_a_url(path):
    assert run("runs", "-s", f"sqlite:///{path}").stdout == run("runs").stdout


def test_a_setting_that_does_not_exist_is_one_line(path, monkeypatch):
    monkeypatch.setenv("TRAININGLOG_STOER", "x")
    assert "STOER" in run("runs", status=1).stderr


def test_usage_errors_are_status_2(path):
    run("runs", "--bogus", status=2)
    run("bogus", status=2)
    run("diff", "a", status=2)
    run("tail", "-n", "x", status=2)


def test_a_bug_is_not_dressed_up_as_a_mistake(path, monkeypatch):
    def broken(*_, **__):
        raise KeyError("bug")

    monkeypatch.setattr(Store, "latest", broken)
    result = CliRunner().invoke(app, ["show"])
    assert isinstance(result.exception, KeyError)


# -- what comes from data -------------------------------------------------------------------


def test_hostile_names_reach_the_terminal_escaped(path):
    hostile = uuids(path)[-1]
    for arguments in (
        ["runs", "-k", "*"],
        ["show", hostile],
        ["tail", hostile],
        ["diff", hostile, uuids(path)[0]],
        ["plot", hostile, "-k", "nope"],
    ):
        result = CliRunner().invoke(app, arguments)
        shown = result.stdout + result.stderr
        assert all(letter.isprintable() or letter == "\n" for letter in shown), arguments
        assert "[red]x[/red]" in shown
        assert r"\u202egpj.exe" in shown
    with Store(path, readonly=True) as store:
        assert len(store.runs(heads=False)) == 3


def test_hostile_keys_in_json_are_themselves(path):
    found = parsed("show", uuids(path)[-1])
    assert [item["key"] for item in found["keys"]] == HOSTILE
    text = run("show", uuids(path)[-1], "--json").stdout
    assert text.isascii()
    assert "\x1b" not in text


def test_visible_text():
    assert visible("plain ä 漢 🎉") == "plain ä 漢 🎉"
    assert visible("\x00\x1b\t\r\n\x9b\u202e\u2066\ufeff\ud800") == (
        r"\x00\x1b\t\r\n\x9b\u202e\u2066\ufeff\ud800"
    )


def test_brief_values():
    assert [brief(value) for value in (1.0, 1 / 3, float("nan"), float("-inf"), None, True)] == [
        "1", "0.333333", "NaN", "-inf", "None", "True",
    ]  # fmt: skip
    assert brief("x" * 100) == "x" * 79 + "…"
    assert brief(["a\n", 1.5]) == r'["a\n", 1.5]'
    assert (size(5), size(2048), size(3 * 2**30)) == ("5 bytes", "2.0 KiB", "3.0 GiB")


def test_ages():
    from datetime import UTC, datetime, timedelta

    now = datetime(2026, 5, 1, 12, tzinfo=UTC)
    ages = [moment(now - timedelta(seconds=s), now) for s in (5, 300, 7200)]
    assert ages == ["5 s ago", "5 min ago", "2 h ago"]
    assert moment(now - timedelta(days=3), now).startswith("2026-04-2")
