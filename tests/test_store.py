"""`Store`: all the runs of one file, looked at from outside the processes that write them."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from patience import GUARD
from sqlalchemy import event

from traininglog import (
    AmbiguousRun,
    CorruptLog,
    InvalidUUID,
    LogClosed,
    RunBusy,
    RunHasChildren,
    RunNotFound,
    SQLiteLog,
    Store,
    StoreNotFound,
    StoreUnwritable,
)
from traininglog.sql.tables import REVISION


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


@pytest.fixture
def store(path):
    with Store(path, create=True) as opened:
        yield opened


def write_run(path, rows=3, **status):
    """Write a closed run whose loss is 1/t and return its UUID."""
    with SQLiteLog(path) as log:
        for t in range(1, rows + 1):
            log[t]["loss"] = 1 / t
        log.status.update(status)
        return log.uuid


def child(script, *arguments):
    """Start a process that runs a script; it says "ready" on its standard output."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    """Wait for a child and return its exit status."""
    process.communicate(timeout=GUARD)
    return process.returncode


# -- the table of runs ----------------------------------------------------------------------


def test_runs_has_a_line_per_run_in_the_order_of_creation_with_exact_dtypes(path, store):
    first = write_run(path, name="baseline")
    second = write_run(path, rows=0)
    table = store.runs(heads=False)
    assert list(table["uuid"]) == [first.hex, second.hex]
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == {
        "uuid": "object",
        "name": "object",
        "state": "object",
        "created": "datetime64[us, UTC]",
        "updated": "datetime64[us, UTC]",
        "host": "object",
        "resumed_from": "object",
        "resumed_at": "Int64",
        "resumes": "int64",
        "first": "Int64",
        "last": "Int64",
        "rows": "int64",
        "values": "int64",
    }
    assert list(table["name"]) == ["baseline", None]
    assert list(table["state"]) == ["finished", "finished"]
    assert list(table["rows"]) == [3, 0]
    assert list(table["values"]) == [3, 0]
    assert table["first"].to_list() == [1, pd.NA]
    assert table["last"].to_list() == [3, pd.NA]
    age = pd.Timestamp.now("UTC") - table["created"].iloc[0]
    assert pd.Timedelta(0) <= age < pd.Timedelta("1min")
    assert table["host"].iloc[0] == os.uname().nodename


def test_runs_of_an_empty_store_has_the_same_columns_and_dtypes(path, store):
    empty = store.runs(heads=False)
    assert len(empty) == 0
    write_run(path)
    assert list(store.runs(heads=False).columns) == list(empty.columns)
    assert store.runs(heads=False).dtypes.to_dict() == empty.dtypes.to_dict()


def test_runs_filters_by_state_name_and_number(path, store):
    a, b, c = (write_run(path, name=name) for name in ("lr=0.1", "lr=0.2", "other"))
    with SQLiteLog(path) as live:
        assert set(store.runs(state="running")["uuid"]) == {live.h_uuid}
        assert set(store.runs(state="finished")["uuid"]) == {a.hex, b.hex, c.hex}
        assert list(store.runs(name="lr=*")["uuid"]) == [a.hex, b.hex]
        assert list(store.runs(limit=2)["uuid"]) == [c.hex, live.h_uuid]
        assert list(store.runs(state="finished", name="lr=*", limit=1)["uuid"]) == [b.hex]
        assert len(store.runs(limit=0)) == 0
        assert len(store.runs(state="lost")) == 0


def test_a_name_that_is_not_a_text_is_not_a_name(path, store):
    write_run(path, name=3)
    assert list(store.runs(heads=False)["name"]) == [None]


def test_runs_shows_last_values_as_each_run_sees_them(path, store):
    parent = write_run(path, rows=5)
    with SQLiteLog(path, parent, at=3) as log:  # writes no loss of its own
        log[4]["accuracy"] = 0.5
        silent = log.uuid
    with SQLiteLog(path, parent) as log:
        log.resume(at=4)
        del log[4]["loss"]  # hidden here, so that the value at 3 is the last
        deleting = log.uuid
    with SQLiteLog(path, parent) as log:
        log.resume(at=4)
        log[9]["loss"] = 0.125
        going_on = log.uuid
    table = store.runs(["loss", "accuracy"], heads=False).set_index("uuid")
    assert table.loc[parent.hex, "loss"] == 1 / 5
    assert table.loc[silent.hex, "loss"] == 1 / 3
    assert table.loc[deleting.hex, "loss"] == 1 / 3
    assert table.loc[going_on.hex, "loss"] == 0.125
    assert table["loss"].dtype == np.float64
    assert table.loc[silent.hex, "accuracy"] == 0.5
    assert np.isnan(table.loc[parent.hex, "accuracy"])
    # Times and counts are of what the run itself logged; a deletion is not a value.
    assert table.loc[deleting.hex, "rows"] == 0
    assert table.loc[deleting.hex, "last"] is pd.NA
    assert table.loc[silent.hex, ["first", "last", "rows", "values"]].to_list() == [4, 4, 1, 1]
    assert table.loc[silent.hex, "resumed_from"] == parent.hex
    assert table.loc[silent.hex, "resumed_at"] == 3


def test_the_last_value_of_a_run_skips_what_it_deleted(path, store):
    with SQLiteLog(path) as log:
        log[1]["loss"] = 0.5
        log[2]["loss"] = 0.25
        del log[2]["loss"]
    assert store.runs("loss")["loss"].to_list() == [0.5]
    assert store.runs(heads=False)[["first", "last", "rows", "values"]].to_numpy().tolist() == [
        [1, 1, 1, 1]
    ]


def test_runs_takes_globs_and_refuses_a_key_that_no_run_has(path, store):
    with SQLiteLog(path) as log:
        log[1].update({"train/loss": 1.0, "train/acc": 0.5, "test/acc": 0.25})
    assert list(store.runs("train/*").columns[-2:]) == ["train/loss", "train/acc"]
    assert list(store.runs("nothing*").columns) == list(store.runs(heads=False).columns)
    with pytest.raises(KeyError, match="train/loss"):
        store.runs("trian/loss")


def test_big_integers_among_last_values_stay_exact(path, store):
    write_run(path)
    with SQLiteLog(path) as log:
        log[1]["seed"] = 2**62 + 1
    assert store.runs("seed")["seed"].to_list() == [None, 2**62 + 1]


def test_a_key_that_is_called_like_a_column_does_not_replace_it(path, store):
    with SQLiteLog(path) as log:
        log[1].update(state=0.5, last=7)
    table = store.runs(["state", "last"])
    assert table["state"].to_list() == ["finished"]
    assert table["last"].to_list() == [1]
    assert table["log.state"].to_list() == [0.5]
    assert table["log.last"].to_list() == [7]


# -- states ---------------------------------------------------------------------------------

IN_A_FUNCTION = """
def write(path, uuid):
    log = SQLiteLog(path, uuid)
    log[2]["x"] = 2.0
log.close()
write(path, log.uuid)
os._exit(0)
"""
FORK = """
log.flush()
if os.fork() == 0:
    {act}
os.wait()
print("ready", flush=True)
sys.stdin.readline()
os._exit(0)
"""

#: How a process ends: (its script after `log[1]["x"] = 1.0`, the state that a reader sees).
ENDINGS = {
    "closed": ("log.close()", "finished"),
    "never closed": ("pass", "finished"),
    "dropped": ("del log", "finished"),
    "collected as a function returns": (IN_A_FUNCTION, "finished"),
    "with": ("with log: log[2]['x'] = 1.0", "finished"),
    "with and an exception": ("with log: 1 / 0", "failed"),
    "an exception without with": ("1 / 0", "failed"),
    "with and sys.exit()": ("with log: sys.exit()", "finished"),
    "with and sys.exit(3)": ("with log: sys.exit(3)", "failed"),
    "sys.exit() without with": ("sys.exit()", "finished"),
    "interrupted": ("signal.raise_signal(signal.SIGINT)", "failed"),
    "os._exit": ("log.flush(); os._exit(0)", "lost"),
    "killed": ("log.flush(); os.kill(os.getpid(), signal.SIGKILL)", "lost"),
    "terminated": ("log.flush(); os.kill(os.getpid(), signal.SIGTERM)", "lost"),
    "a forked child exits": (FORK.format(act="sys.exit()"), "running"),
    "a forked child drops the log": (FORK.format(act="del log; os._exit(0)"), "running"),
    "at work": ("log.flush(); print('ready', flush=True); sys.stdin.readline()", "running"),
}


def test_a_reader_in_another_process_tells_how_each_run_stands(tmp_path):
    """No daemon: the state is derived from the outcome and from whether the owner is alive."""
    begin = "import os, signal, sys\nfrom traininglog import SQLiteLog\npath = sys.argv[1]\n"
    begin += "log = SQLiteLog(path)\nlog[1]['x'] = 1.0\n"
    names = list(ENDINGS)
    seen = {}
    for some in (names[:6], names[6:12], names[12:]):  # a few at a time: machines are small
        running = {}
        for name in some:
            path = tmp_path / f"{names.index(name)}.db"
            running[name] = path, child(begin + ENDINGS[name][0], path)
        for name, (path, process) in running.items():
            if ENDINGS[name][1] == "running":
                assert process.stdout.readline() == "ready\n"
            else:
                ended(process)
            with Store(path) as store:
                assert len(store.runs(heads=False)) == 1
                seen[name] = store.runs(heads=False)["state"].iloc[0]
                assert store.state(store.latest()) == seen[name]
                assert store.log(store.latest(), readonly=True)[1]["x"] == 1.0
            if ENDINGS[name][1] == "running":
                ended(process)
                with Store(path) as store:  # and all of them leave by os._exit or without a word
                    state = store.runs(heads=False)["state"].iloc[0]
                    assert state == ("finished" if name == "at work" else "lost")
    assert seen == {name: state for name, (_, state) in ENDINGS.items()}


def test_a_run_is_running_in_the_process_that_writes_it_too(path, store):
    log = SQLiteLog(path)
    assert store.state(log.uuid) == "running"
    log.close()
    assert store.state(log.uuid) == "finished"


def test_a_finished_run_runs_again_when_it_is_written_again(path, store):
    uuid = write_run(path)
    log = SQLiteLog(path, uuid)
    assert store.state(uuid) == "finished"  # looking is not writing
    log[9]["loss"] = 0.1
    assert store.state(uuid) == "running"
    log.close()
    assert store.state(uuid) == "finished"


def test_the_state_is_the_same_through_a_link_to_the_file(path, tmp_path):
    """Closing a store that was opened by another name must not drop this process's locks."""
    link = tmp_path / "link.db"
    link.symlink_to(path)
    log = SQLiteLog(path)
    log[1]["x"] = 1.0
    with Store(link) as by_link:
        assert by_link.state(log.uuid) == "running"
        assert by_link.size().wal > 0
    with Store(tmp_path / "." / "runs.db") as again:
        assert again.state(log.uuid) == "running"
    print_state = "import sys; from traininglog import Store\n"
    print_state += "s = Store(sys.argv[1]); print(s.state(s.latest()))"
    other = child(print_state, path)
    assert other.communicate(timeout=GUARD)[0] == "running\n"
    log.close()


def test_resuming_finishes_the_run_that_is_left(path, store):
    with SQLiteLog(path) as log:
        parent = log.uuid
        log[1]["x"] = 1.0
        log.resume()
        assert store.state(parent) == "finished"
        assert store.state(log.uuid) == "running"


# -- finding --------------------------------------------------------------------------------


def test_find_completes_a_prefix_with_or_without_dashes_in_any_case(path, store):
    uuid = write_run(path)
    for prefix in (uuid, str(uuid), uuid.hex, uuid.hex.upper(), uuid.hex[:8], str(uuid)[:12]):
        assert store.find(prefix) == uuid


def test_find_refuses_what_is_unknown_ambiguous_or_no_uuid(path, store):
    uuid = write_run(path)
    digit = "0" if uuid.hex[0] != "0" else "1"
    with pytest.raises(RunNotFound):
        store.find(digit * 32)
    with pytest.raises(RunNotFound):
        store.latest() if not len(store.runs(heads=False)) else store.find(digit)
    for malformed in ("", "-", " "):
        with pytest.raises(InvalidUUID):
            store.find(malformed)
    for unknown in ("xyz", uuid.hex + "0", "%", "a b", "0x12", "x" * 10_000):
        with pytest.raises(RunNotFound) as missed:
            store.find(unknown)
        assert len(str(missed.value)) < 1000
    found = {uuid.hex[0]: uuid}
    for _ in range(20):
        other = write_run(path, rows=0)
        if other.hex[0] in found:
            with pytest.raises(AmbiguousRun) as caught:
                store.find(other.hex[0])
            assert other.hex in str(caught.value)
            assert found[other.hex[0]].hex in str(caught.value)
            return
        found[other.hex[0]] = other
    pytest.fail("no two of 21 UUIDs begin with the same of 16 digits")


def test_latest_is_the_run_that_was_created_last(path, store):
    with pytest.raises(RunNotFound, match="no runs yet"):
        store.latest()
    first = write_run(path)
    second = write_run(path)
    with SQLiteLog(path, first) as log:
        log[9]["loss"] = 0.1
    assert store.latest() == second


def test_runs_merged_from_elsewhere_take_their_place_in_time(path, store, tmp_path):
    older = write_run(tmp_path / "other.db")
    newer = write_run(path)
    store.merge(tmp_path / "other.db")
    assert list(store.runs(heads=False)["uuid"]) == [older.hex, newer.hex]
    assert store.latest() == newer


def test_log_opens_a_run_by_a_prefix_and_takes_the_options_of_a_log(path, store):
    uuid = write_run(path)
    with store.log(uuid.hex[:10], readonly=True) as log:
        assert log.uuid == uuid
        assert log.readonly
    with store.log(uuid, resume=True) as log:
        assert log.lineage()[1].uuid == uuid


def test_a_store_must_be_there_and_is_closed_once_closed(path, tmp_path):
    with pytest.raises(StoreNotFound):
        Store(path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="memory"):
        Store(":memory:")
    store = Store(path, create=True)
    store.close()
    store.close()
    for act in (store.runs, store.latest, store.check, store.size):
        with pytest.raises(LogClosed):
            act()


def test_a_store_takes_a_url_where_a_path_may_stand(path, monkeypatch):
    uuid = write_run(path)
    with Store(f"sqlite:///{path}") as store:
        assert store.latest() == uuid
    monkeypatch.setenv("TRAININGLOG_STORE", f"sqlite:///{path}")
    with Store() as store:
        assert store.latest() == uuid


# -- frames over many runs ------------------------------------------------------------------


def test_the_long_frame_over_many_runs_tells_run_time_key_and_value(path, store):
    parent = write_run(path, rows=3)
    with SQLiteLog(path, parent, at=2) as log:
        log[3]["loss"] = None
        log[3]["note"] = "x"
        child = log.uuid
    frame = store.to_dataframe([parent, child])
    assert list(frame.columns) == ["run", "time", "key", "value", "own"]
    assert [str(frame[name].dtype) for name in ("run", "key")] == ["category", "category"]
    assert frame["time"].dtype == np.int64
    expected = [
        (parent.hex, 1, "loss", 1.0, True),
        (parent.hex, 2, "loss", 0.5, True),
        (parent.hex, 3, "loss", 1 / 3, True),
        (child.hex, 1, "loss", 1.0, False),
        (child.hex, 2, "loss", 0.5, False),
        (child.hex, 3, "loss", None, True),
        (child.hex, 3, "note", "x", True),
    ]
    assert list(frame.itertuples(index=False, name=None)) == expected
    own = store.to_dataframe(lineage=False)
    assert list(own.itertuples(index=False, name=None)) == expected[:3] + expected[5:]
    assert len(store.to_dataframe(runs=[parent.hex[:12]])) == 3
    assert list(store.to_dataframe(runs=[child, parent])["run"].unique()) == [
        child.hex,
        parent.hex,
    ]
    assert store.to_dataframe(runs=[child, child.hex]).equals(store.to_dataframe(runs=[child]))
    assert list(store.to_dataframe([parent, child], start=2, stop=3)["time"]) == [2, 2]
    assert len(store.to_dataframe(keys="note")) == 1
    assert len(store.to_dataframe(runs=[])) == 0


@pytest.mark.parametrize("keys", [None, "loss", ["note", "loss"], ["seldom"]])
@pytest.mark.parametrize("seal", [False, True])
def test_many_runs_together_give_what_each_gives_by_itself(path, store, keys, seal):
    """Though they are read by a few statements, and a key has another number in each run."""
    names = ["loss", "note", "accuracy", "seldom"]
    for number in range(12):
        with SQLiteLog(path, seal=False) as log:
            for time in range(20):
                for place in range(3 if number % 5 else 4):
                    name = names[(place + number) % 4]
                    log[time][name] = f"{number}" if name == "note" else time + number / 8
            del log[3]
            if seal and number % 2:
                log.seal()
    together = store.to_dataframe(keys=keys, start=2, stop=15)
    found = 0
    for uuid in store.runs(heads=False)["uuid"]:
        with store.log(uuid, readonly=True) as log:
            alone = log.to_dataframe(layout="long", start=2, stop=15)
        if keys:
            alone = alone[alone["key"].isin([keys] if isinstance(keys, str) else keys)]
        part = together[together["run"] == uuid].drop(columns="run")
        rows, wanted = (
            {tuple(row[:2]): row[2] for row in f.to_numpy().tolist()} for f in (part, alone)
        )
        assert rows == wanted
        found += len(part)
    assert found == len(together) > 0


def test_the_wide_frame_over_many_runs_keeps_dtypes_exact(path, store):
    with SQLiteLog(path) as log:
        log[1].update(loss=0.5, seed=2**62 + 1, step=1, ok=True)
        log[2].update(loss=0.25, seed=2**62 + 3, step=2, ok=False)
        a = log.h_uuid
    with SQLiteLog(path) as log:
        log[1].update(loss=0.75, step=1)
        b = log.h_uuid
    write_run(path, rows=0)  # nothing to show
    frame = store.to_dataframe(layout="wide")
    assert frame.index.names == ["run", "time"]
    assert list(frame.index) == [(a, 1), (a, 2), (b, 1)]
    assert frame["loss"].dtype == np.float64
    assert frame["step"].dtype == np.int64
    assert str(frame["seed"].dtype) == "Int64"
    assert str(frame["ok"].dtype) == "boolean"
    assert frame["seed"].to_list() == [2**62 + 1, 2**62 + 3, pd.NA]
    assert frame["ok"].to_list() == [True, False, pd.NA]
    assert frame.loc[(b, 1), "loss"] == 0.75
    assert frame.loc[a]["loss"].to_list() == [0.5, 0.25]


def test_no_two_columns_of_the_list_of_runs_have_one_name(path, store):
    with SQLiteLog(path) as log:
        log[1].update({"state": 1, "log.state": 2, "best.x": 3, "x": 4, "uuid": 5})
    frame = store.runs(["state", "log.state", "best.x", "x", "uuid"], best="x")
    assert len(set(frame.columns)) == len(frame.columns) == 19
    assert list(frame.columns)[-6:] == [
        "log.state", "log.log.state", "best.x", "x", "log.uuid", "log.best.x",
    ]  # fmt: skip
    assert frame.iloc[0, -6:].to_list() == [1, 2, 3, 4, 5, 4]
    assert frame["state"].to_list() == ["finished"]


def test_times_past_what_a_float_holds_are_exact_in_the_list_of_runs(path, store):
    last = 2**63 - 1
    with SQLiteLog(path) as log:
        log[2**53 + 1]["x"] = 1
        log[last]["x"] = 2
        log.resume(at=last - 2)
    with SQLiteLog(path):
        pass  # no row, and no resume point
    frame = store.runs(heads=False)
    assert frame["first"].to_list() == [2**53 + 1, pd.NA, pd.NA]
    assert frame["last"].to_list() == [last, pd.NA, pd.NA]
    assert frame["resumed_at"].to_list() == [pd.NA, last - 2, pd.NA]


def test_frames_of_an_empty_store_are_empty(store):
    assert list(store.to_dataframe().columns) == ["run", "time", "key", "value", "own"]
    wide = store.to_dataframe(layout="wide")
    assert len(wide) == 0
    assert wide.index.names == ["run", "time"]


def test_a_frame_over_many_runs_refuses_unknown_names(path, store):
    write_run(path)
    with pytest.raises(KeyError, match="loss"):
        store.to_dataframe(keys=["lost"])
    with pytest.raises(RunNotFound):
        store.to_dataframe(runs=["0" * 32])
    with pytest.raises(ValueError, match="layout"):
        store.to_dataframe(layout="deep")


# -- deleting -------------------------------------------------------------------------------


def test_delete_gives_the_space_back(path):
    kept = write_run(path)
    with SQLiteLog(path) as log:
        for t in range(300):
            log[t]["blob"] = os.urandom(10_000)
        doomed = log.uuid
    full = path.stat().st_size
    assert full > 3_000_000
    with Store(path) as store:
        assert store.delete(doomed) == [doomed]
        assert store.size().file < full / 10
        assert store.size().free < 100_000
        assert list(store.runs(heads=False)["uuid"]) == [kept.hex]
        assert store.check().ok
    assert path.stat().st_size < full / 10
    tables = sqlite3.connect(path)
    for table, column in [("entries", "run_id"), ("keys", "run_id"), ("status", "run_id")]:
        assert tables.execute(f"SELECT DISTINCT {column} FROM {table}").fetchall() == [(1,)]
    tables.close()


def test_delete_refuses_a_run_with_children_unless_they_may_go_too(path, store):
    root = write_run(path)
    with SQLiteLog(path, root, resume=True) as log:
        child = log.uuid
        log.resume()
        grandchild = log.uuid
    with pytest.raises(RunHasChildren, match=child.hex):
        store.delete(root)
    assert len(store.runs(heads=False)) == 3
    assert store.delete(grandchild) == [grandchild]
    assert set(store.delete(root, descendants=True)) == {root, child}
    assert len(store.runs(heads=False)) == 0


def test_many_runs_are_deleted_in_one_step(path):
    """All or none; and the statements do not become more with each run."""
    uuids = []
    for _ in range(12):
        with SQLiteLog(path) as log:
            log[1]["x"] = 1.0
        uuids.append(log.uuid)
    with SQLiteLog(path, uuids[3], resume=True) as child:
        child[2]["x"] = 2.0
    with Store(path) as store:
        with pytest.raises(RunHasChildren, match=r"1 runs descend from .* and read through them"):
            store.delete(uuids[2:5])
        assert len(store.runs(heads=False)) == 13
        counted = []
        with counting(store, counted):
            assert store.delete(uuids[5]) == [uuids[5]]
        alone, counted[:] = len(counted), []
        with counting(store, counted):
            assert set(store.delete([*uuids[:5], uuids[6].hex[:30], child.uuid])) == {
                *uuids[:5], uuids[6], child.uuid
            }  # fmt: skip
        assert len(counted) <= alone + 3  # the prefix, and a level of children
        assert set(store.runs(heads=False)["uuid"]) == {uuid.hex for uuid in uuids[7:]}
        assert store.delete([]) == []


@contextmanager
def counting(store, statements):
    """Note the statements that a store executes."""

    def note(*arguments):
        statements.append(arguments[2])

    engines = {store._database._file.engine, store._database._file.writers}
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)


def test_delete_refuses_a_run_that_is_being_written_or_has_a_live_descendant(path, store):
    root = write_run(path)
    with SQLiteLog(path, root, resume=True) as log:
        with pytest.raises(RunBusy, match=log.h_uuid):
            store.delete(log.uuid)
        with pytest.raises(RunBusy, match=log.h_uuid):
            store.delete(root, descendants=True)
    assert len(store.runs(heads=False)) == 2
    other = child(
        "import sys; from traininglog import SQLiteLog; log = SQLiteLog(sys.argv[1])\n"
        "print('ready', flush=True); sys.stdin.readline()",
        path,
    )
    assert other.stdout.readline() == "ready\n"
    with pytest.raises(RunBusy, match=str(other.pid)):
        store.delete(store.latest())
    ended(other)


def test_a_deleted_run_is_gone_for_every_reader(path, store):
    uuid = write_run(path)
    reader = SQLiteLog(path, uuid, readonly=True)
    assert reader[1]["loss"] == 1.0
    store.delete(uuid)
    with pytest.raises(RunNotFound):
        reader[1]["loss"]
    with pytest.raises(RunNotFound):
        SQLiteLog(path, uuid)
    reader.close()


# -- backup ---------------------------------------------------------------------------------


def test_backup_copies_the_store_while_another_process_writes(path, tmp_path):
    writer = child(
        """
        import sys
        from traininglog import SQLiteLog
        log = SQLiteLog(sys.argv[1])
        t = 0
        log[t].update(x=t, y=float(t))
        log.flush()
        print("ready", flush=True)
        import select
        while not select.select([sys.stdin], [], [], 0)[0]:
            for t in range(t, t + 100):
                log[t].update(x=t, y=float(t))
            log.flush()
        """,
        path,
    )
    assert writer.stdout.readline() == "ready\n"
    with Store(path) as store:
        for number in range(3):
            time.sleep(0.05)
            store.backup(tmp_path / f"copy{number}.db")
        with pytest.raises(StoreUnwritable, match="exists"):
            store.backup(tmp_path / "copy0.db")
        with pytest.raises(StoreNotFound, match="missing"):
            store.backup(tmp_path / "missing" / "copy.db")
    _, errors = writer.communicate("\n", timeout=GUARD)
    assert (writer.returncode, errors) == (0, "")
    lengths = []
    for number in range(3):
        with Store(tmp_path / f"copy{number}.db") as copy:
            assert copy.check().ok
            assert copy.check().problems == []
            assert list(copy.runs(heads=False)["state"]) == [
                "lost"
            ]  # its owner is not at work on the copy
            frame = copy.log(copy.latest(), readonly=True).to_dataframe()
            assert frame["x"].to_list() == list(range(len(frame)))
            assert frame["y"].to_list() == list(range(len(frame)))
            lengths.append(len(frame))
    assert lengths == sorted(lengths)
    assert not list(tmp_path.glob("*part*"))


# -- check and size -------------------------------------------------------------------------


def test_check_finds_a_sound_file_sound_and_says_what_reads_it(path, store):
    parent = write_run(path)
    with SQLiteLog(path, parent, at=2) as log:
        log[3].update(a=None, b=True, c=b"", d="x\0y", e=[1, {"f": float("nan")}], f=float("inf"))
        log[3]["array"] = np.zeros(3)
        del log[1]["loss"]
    found = store.check()
    assert found.ok
    assert found.problems == []
    assert found.runs == 2
    assert found.path == str(path)
    assert found.revision == REVISION
    assert found.sqlite == sqlite3.sqlite_version
    assert any("SQLite" in line for line in found.warnings) == found.wal_reset_bug


def test_check_tells_of_a_parent_in_another_file(path, store):
    parent = write_run(path)
    with SQLiteLog(path, parent, resume=True) as log:
        child = log.uuid
    damage(path, "DELETE FROM runs WHERE id = 1", "DELETE FROM entries", "DELETE FROM keys")
    damage(path, "DELETE FROM status WHERE run_id = 1", "DELETE FROM marks")
    damage(path, "DELETE FROM totals", "DELETE FROM summaries")
    found = store.check()
    assert found.ok
    assert any(child.hex in line and parent.hex in line for line in found.warnings)


def damage(path, *statements):
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE entries SET value = 'text' WHERE time = 2", "float"),
        ("UPDATE entries SET kind = 3, value = 1.5 WHERE time = 2", "integer"),
        ("UPDATE entries SET kind = 1 WHERE time = 2", "none"),
        ("UPDATE entries SET kind = 2, value = 'yes' WHERE time = 2", "bool"),
        ("UPDATE entries SET kind = 5 WHERE time = 2", "time 2"),
        ("UPDATE entries SET kind = 6, value = 5 WHERE time = 2", "bytes"),
        ("UPDATE entries SET kind = 7, value = '[1' WHERE time = 2", "time 2"),
        ("UPDATE entries SET kind = 8, value = x'00' WHERE time = 2", "time 2"),
        ("UPDATE entries SET kind = 10, value = 'no uuid' WHERE time = 2", "time 2"),
        ("UPDATE entries SET kind = 99 WHERE time = 2", "99"),
        ("UPDATE entries SET kind = 5, value = CAST(x'ff' AS TEXT) WHERE time = 2", "UTF-8"),
        ("UPDATE entries SET key_id = 7 WHERE time = 2", "key 7"),
        ("UPDATE entries SET time = 77 WHERE time = 2", "denies"),
        ("UPDATE entries SET kind = 0, value = NULL WHERE time = 2", "denies"),
        ("UPDATE entries SET run_id = 5 WHERE time = 2", "no run"),
        ("UPDATE status SET kind = 7, value = '{' WHERE key = 'iterations_done'", "iterations"),
        ("UPDATE runs SET resumed_from = uuid, resumed_at = 2", "circle"),
    ],
)
def test_check_finds_stored_data_that_cannot_be_what_was_written(path, statement, told):
    write_run(path)
    damage(path, statement)
    with Store(path) as store:
        found = store.check()
    assert not found.ok
    assert any(told in line for line in found.problems), found.problems


def test_check_finds_a_flipped_page_and_reading_it_raises(path):
    with SQLiteLog(path, seal=False) as log:
        for t in range(5000):
            log[t]["x"] = float(t)
        uuid = log.uuid
    size = path.stat().st_size
    page = 4096
    with path.open("r+b") as file:  # nothing has it open
        for number in range(size // page * 2 // 3, size // page - 2):
            file.seek(number * page)
            file.write(bytes(byte ^ 0xFF for byte in range(64)))
    with Store(path) as store:
        found = store.check()
        assert not found.ok
        assert found.problems
        with pytest.raises(CorruptLog), store.log(uuid, readonly=True) as log:
            log.to_dataframe()


def test_size_counts_the_file_its_wal_and_what_is_free(path):
    with SQLiteLog(path) as log:
        for t in range(100):
            log[t]["blob"] = os.urandom(5000)
        log.flush()
        with Store(path) as store:
            size = store.size()
            assert size.file == path.stat().st_size
            assert size.wal > 500_000
            assert size.total == size.file + size.wal
    with Store(path) as store:
        assert store.size().wal == 0
        assert store.size().file > 500_000


def test_writing_a_lot_keeps_the_wal_small(path):
    """Whoever writes also copies the WAL into the file, or it would grow with the run."""
    with SQLiteLog(path) as log:
        for t in range(400):
            log[t]["blob"] = os.urandom(50_000)
            if t % 10 == 0:
                log.flush()
        with Store(path) as store:
            assert store.size().wal < 8 * 2**20
            assert store.size().file > 10 * 2**20


def test_a_killed_process_leaves_a_store_that_the_next_one_reads(path):
    killed = child(
        "import sys; from traininglog import SQLiteLog; log = SQLiteLog(sys.argv[1])\n"
        "for t in range(1000): log[t]['x'] = t\n"
        "log.flush(); print('ready', flush=True); sys.stdin.readline()",
        path,
    )
    assert killed.stdout.readline() == "ready\n"
    killed.send_signal(signal.SIGKILL)
    ended(killed)
    with Store(path) as store:
        assert store.check().ok
        assert store.runs("x")["x"].to_list() == [999]
        assert store.runs(heads=False)["state"].to_list() == ["lost"]
        with store.log(store.latest(), resume=True) as log:
            assert log.status["resumed_from"] == store.runs(heads=False)["uuid"].iloc[0]
            assert len(log) == 1000
