"""`tail`, `merge`, `backup`, `check`, `seal`, `delete`, `upgrade`, `demo`."""

import json
import sqlite3
import sys
import types

import pytest
from command_line import run, uuids

import traininglog
from traininglog import MissingExtra, SQLiteLog, Store
from traininglog.cli.commands import live_tail
from traininglog.sql.tables import REVISION


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A store of a parent and its child."""
    path = tmp_path / "runs.db"
    with SQLiteLog(path) as log:
        for time in range(1, 31):
            log[time]["loss"] = time / 10
            if time % 10 == 0:
                log[time]["val"] = time
        uuid = log.uuid
    with SQLiteLog(path, uuid=uuid, resume=True, at=20) as log:
        log[21]["loss"] = float("nan")
    monkeypatch.setenv("TRAININGLOG_STORE", str(path))
    monkeypatch.chdir(tmp_path)
    return path


def mistake(*arguments):
    result = run(*arguments, status=1)
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("traininglog: ")
    return result.stderr


def parsed(*arguments, status=0):
    text = run(*arguments, "--json", status=status).stdout
    return json.loads(text, parse_constant=pytest.fail)


# -- tail -----------------------------------------------------------------------------------


def test_tail_prints_the_last_rows(path):
    lines = run("tail", uuids(path)[0], "-n", 3).stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["time", "loss", "val"], ["28", "2.8", "-"], ["29", "2.9", "-"], ["30", "3", "30"],
    ]  # fmt: skip
    assert len(run("tail").stdout.splitlines()) == 11
    assert run("tail", "-n", 0).stdout == ""


def test_tail_of_chosen_keys_passes_over_rows_without_them(path):
    lines = run("tail", uuids(path)[0], "-n", 2, "-k", "v*").stdout.splitlines()
    assert [line.split() for line in lines] == [["time", "val"], ["20", "20"], ["30", "30"]]
    assert "nope" in mistake("tail", "-k", "nope")


def test_tail_sees_through_the_lineage_and_prints_json_lines(path):
    child = uuids(path)[1]
    text = run("tail", "-n", 2, "--json").stdout
    assert [json.loads(line) for line in text.splitlines()] == [
        {"run": child, "time": 20, "row": {"loss": 2.0, "val": 20}},
        {"run": child, "time": 21, "row": {"loss": "NaN"}},
    ]


def test_following_a_run_that_has_ended_ends_at_once(path):
    result = run("tail", "-f", "-n", 1)
    assert result.stdout.splitlines()[-1].split() == ["21", "NaN"]
    assert result.stderr == f"run {uuids(path)[1][:8]} is finished\n"


def test_following_prints_what_came_while_the_first_rows_were_printed(path, monkeypatch):
    log = SQLiteLog(path)
    log[1]["loss"] = 0.5
    log.flush()
    print_row = live_tail.TailLines.print

    def write_meanwhile(printer, time, row):
        print_row(printer, time, row)
        if not log.closed:
            log[1]["late"] = 7
            log[2]["loss"] = 0.25
            log.close()

    monkeypatch.setattr(live_tail.TailLines, "print", write_meanwhile)
    rows = [line.split() for line in run("tail", "-f", "-n", 1).stdout.splitlines()]
    assert [row for row in rows if row[0] != "time"] == [
        ["1", "0.5"],
        ["1", "0.5", "7"],
        ["2", "0.25", "-"],
    ]


def test_following_from_no_row_prints_only_what_is_new(path):
    assert run("tail", "-f", "-n", 0).stdout == ""


# -- merge, backup, check, upgrade ----------------------------------------------------------


def test_merge_makes_the_store_and_is_idempotent(path, tmp_path):
    with SQLiteLog(tmp_path / "other.db") as log:
        log[1]["x"] = 1
    into = tmp_path / "all.db"
    result = run("merge", path, "other.db", "--store", into)
    assert "3 runs added, 0 updated, 0 unchanged" in result.stdout
    assert sorted(uuids(into)) == sorted(uuids(path) + uuids(tmp_path / "other.db"))
    again = parsed("merge", path, "-s", into)
    assert (again["added"], again["updated"]) == ([], [])
    assert sorted(again["unchanged"]) == sorted(uuids(path))


def test_merging_what_is_not_there_changes_nothing(path, tmp_path):
    assert "there is no" in mistake("merge", path, "missing.db", "-s", tmp_path / "all.db")
    assert not (tmp_path / "all.db").exists()
    assert "to merge into" in mistake("merge", path)


def test_backup_makes_a_complete_store(path, tmp_path):
    found = parsed("backup", "copy.db")
    assert found["backup"] == str(tmp_path / "copy.db")
    assert found["bytes"] == (tmp_path / "copy.db").stat().st_size
    assert uuids(tmp_path / "copy.db") == uuids(path)
    assert "exists" in mistake("backup", "copy.db")


def test_check_of_a_sound_store(path):
    text = run("check").stdout
    assert text.splitlines()[-1] == "ok"
    assert "2 runs" in text
    found = parsed("check")
    assert found["ok"] is True
    assert found["size"]["file"] > 0


def test_check_of_a_damaged_store_is_status_1(path):
    connection = sqlite3.connect(path)
    connection.execute("UPDATE segments SET checksum = checksum + 1 WHERE run_id = 1")
    connection.commit()
    connection.close()
    result = run("check", status=1)
    assert "damaged: " in result.stdout
    assert result.stderr.count("\n") == 1
    found = parsed("check", status=1)
    assert found["ok"] is False
    assert found["problems"]


def test_upgrade_of_a_store_that_is_up_to_date(path):
    assert "nothing to do" in run("upgrade").stdout
    assert parsed("upgrade")["upgraded"] is False
    assert "there is no" in mistake("upgrade", "-s", "missing.db")


def test_upgrade_tells_what_it_was_and_where_the_backup_is(path, monkeypatch, tmp_path):
    monkeypatch.setattr(Store, "upgraded", property(lambda _: ("0000", tmp_path / "b.db")))
    found = parsed("upgrade")
    assert (found["upgraded"], found["from"], found["to"]) == (True, "0000", REVISION)
    assert "b.db" in run("upgrade").stdout


# -- seal -----------------------------------------------------------------------------------


@pytest.fixture
def loose(path):
    """The store, with two runs more that were not sealed."""
    found = []
    for number in (100, 200):
        with SQLiteLog(path, seal=False) as log:
            for time in range(number):
                log[time].update(loss=time / 10, text="stays")
            found.append(log.h_uuid)
    return found


def rows(path, uuid):
    """Return how many values of a run are rows of their own."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT count(*) FROM log WHERE run = ?", [uuid]).fetchone()[0]
    finally:
        connection.close()


def test_seal_moves_numbers_and_tells_of_which_runs(path, loose):
    one, other = loose
    with Store(path) as store:
        before = repr(store.to_dataframe([one, other]))
    assert (rows(path, one), rows(path, other)) == (200, 400)
    lines = run("seal").stdout.splitlines()
    assert lines[:2] == [f"sealed: run {uuid[:8]}" for uuid in loose]
    assert "300 values of 2 runs sealed; it took " in lines[2]
    assert (rows(path, one), rows(path, other)) == (100, 200)
    with Store(path) as store:
        assert repr(store.to_dataframe([one, other])) == before
    assert "nothing to seal" in run("seal").stdout


def test_seal_of_chosen_runs_leaves_the_others(path, loose):
    one, other = loose
    assert "100 values of 1 run sealed" in run("seal", one[:10]).stdout
    assert (rows(path, one), rows(path, other)) == (100, 400)
    found = parsed("seal", one, other)
    assert (found["sealed"], found["running"], found["values"]) == ([other], [], 200)
    assert found["store"] == str(path)
    assert found["before"] > 0 < found["after"]
    assert "holds no run" in mistake("seal", "0" * 32)
    assert "there is no" in mistake("seal", "-s", "missing.db")


def test_seal_leaves_a_run_alone_that_is_being_written(path, loose):
    with SQLiteLog(path, seal=False) as log:
        for time in range(100):
            log[time]["loss"] = time
        log.flush()
        lines = run("seal").stdout.splitlines()
        assert f"left alone: run {log.h_uuid[:8]} is being written" in lines
        assert rows(path, log.h_uuid) == 100
        assert parsed("seal")["running"] == [log.h_uuid]


# -- delete ---------------------------------------------------------------------------------


def test_delete_needs_a_yes_where_nobody_can_be_asked(path):
    before = uuids(path)
    assert "--yes" in mistake("delete", before[1])
    assert uuids(path) == before
    assert "1 run deleted" in run("delete", before[1][:8], "--run-only", "--yes").stdout
    assert uuids(path) == before[:1]


def test_delete_takes_the_whole_experiment_of_a_run(path):
    parent, child = uuids(path)
    assert parsed("delete", child, "--yes")["deleted"] == [child, parent]
    assert uuids(path) == []


def test_delete_refuses_to_orphan_a_child(path):
    parent, child = uuids(path)
    assert "--descendants" in mistake("delete", parent, "--yes")
    assert uuids(path) == [parent, child]
    assert parsed("delete", parent, "--yes", "--descendants")["deleted"] == [child, parent]
    assert uuids(path) == []


def test_delete_takes_parent_and_child_in_any_order_or_nothing(path):
    parent, child = uuids(path)
    mistake("delete", child, "0" * 32, "--yes")
    assert uuids(path) == [parent, child]
    assert "2 runs deleted" in run("delete", parent, child, parent[:6], "--yes").stdout
    assert uuids(path) == []


def test_delete_refuses_a_run_that_is_being_written(path):
    with SQLiteLog(path) as log:
        log[1]["x"] = 1
        log.flush()
        mistake("delete", log.h_uuid, uuids(path)[1], "--yes")
        assert len(uuids(path)) == 3


# -- demo -----------------------------------------------------------------------------------


def test_demo_gets_the_folder_and_may_miss_an_extra(tmp_path, monkeypatch):
    module = types.ModuleType("traininglog.demo")
    monkeypatch.setitem(sys.modules, "traininglog.demo", module)
    monkeypatch.setattr(traininglog, "demo", module, raising=False)
    monkeypatch.chdir(tmp_path)

    def main(folder, *, echo=print):
        echo(f"made {folder}")
        return 0

    module.main = main
    assert run("demo").stdout == "made demo\n"
    assert run("demo", "there").stdout == "made there\n"

    def lacking(folder, *, echo=print):
        raise MissingExtra('install it with: pip install "traininglog[demo]"')

    module.main = lacking
    assert "traininglog[demo]" in mistake("demo")
    module.main = lambda folder, *, echo=print: 3
    run("demo", status=3)
