"""One experiment is one line: heads, variants and parts, in lists, frames and deletions."""

import sqlite3
import subprocess
import sys
from contextlib import closing, suppress

import pytest
from command_line import run
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import GUARD

from traininglog import InvalidUUID, RunHasChildren, SQLiteLog, Store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


def write(log, times, value=0.5):
    for time in times:
        log[time]["acc"] = value
    return log.uuid


def new(path, times, value=0.5, **status):
    with SQLiteLog(path) as log:
        log.status.update(status)
        return write(log, times, value)


def resumed(path, uuid, at, times, value=0.5, *, variant=False):
    with SQLiteLog(path, uuid) as log:
        log.resume(at=at, variant=variant)
        return write(log, times, value)


def heads(path):
    with Store(path) as store:
        return [info.uuid for info in store.iter_runs()]


# -- which runs are heads ---------------------------------------------------------------------


def test_a_killed_and_resumed_run_is_one_line_with_its_whole_history(path):
    """A mean over the list, or over the frame, counts each experiment once."""
    first = None
    for times in (
        range(1, 6),
        range(4, 8),
        range(7, 11),
    ):  # twice resumed, each time some steps back
        with suppress(KeyboardInterrupt), SQLiteLog(path, first) as log:
            if first is not None:
                log.resume(at=times[0] - 1)
            first = write(log, times)
            raise KeyboardInterrupt
    new(path, range(1, 11), 0.9)
    with Store(path) as store:
        table = store.runs("acc")
        assert table["acc"].to_list() == [0.5, 0.9]
        assert table["resumes"].to_list() == [2, 0]
        assert (
            table[["first", "last", "rows", "values"]].to_numpy().tolist() == [[1, 10, 10, 10]] * 2
        )
        frame = store.to_dataframe()
        assert len(frame) == len(frame[frame["own"]]) == 20
        assert frame.groupby("time")["value"].mean().tolist() == [0.7] * 10
        assert len(store.runs(heads=False)) == 4
        assert len(store.to_dataframe(heads=False)) == 5 + 4 + 4 + 10


def test_who_goes_on_with_its_parent_supersedes_it_until_that_is_written_again(path):
    parent = new(path, range(5))
    child = resumed(path, parent, 2, range(3, 6))
    assert heads(path) == [child]
    with SQLiteLog(path, parent) as log:
        write(log, [7])
    assert heads(path) == [parent, child]
    again = resumed(path, parent, None, [8])
    assert heads(path) == [child, again]


def test_a_variant_leaves_its_origin_a_head(path):
    origin = new(path, range(5), name="base")
    variant = resumed(path, origin, 2, range(3, 6), variant=True)
    going_on = resumed(path, variant, None, [6])
    with Store(path) as store:
        first, second = store.iter_runs()
        assert (first.uuid, first.variant_of, first.resumes) == (origin, None, 0)
        assert (second.uuid, second.variant_of, second.resumes) == (going_on, origin, 1)
        assert second.name == "base"
        assert (second.first_time, second.last_time, second.values) == (0, 6, 7)


def test_loading_a_state_goes_on_with_the_run_that_it_was_taken_from(path):
    with SQLiteLog(path) as log:
        write(log, range(3))
        state = log.state_dict()
        write(log, range(3, 6))
    with SQLiteLog(path) as log:
        log.load_state_dict(state)
        child = write(log, range(3, 5))
    assert heads(path) == [child]


def test_the_parent_of_a_deleted_run_is_a_head_again(path):
    parent = new(path, range(5))
    child = resumed(path, parent, 2, range(3, 6))
    with Store(path) as store:
        assert store.delete(child) == [child]
    assert heads(path) == [parent]


def test_what_a_displaced_writer_had_left_is_no_experiment(path):
    """Two processes write one run; what the first assigned after the takeover accompanies it."""
    log = SQLiteLog(path)
    uuid = write(log, range(3))
    log.flush()
    taking = (
        "import sys; from traininglog import SQLiteLog\n"
        "with SQLiteLog(sys.argv[1], sys.argv[2], takeover=True) as log: log[3]['acc'] = 1.0\n"
    )
    subprocess.run([sys.executable, "-c", taking, path, uuid.hex], check=True, timeout=GUARD)
    with suppress(Exception):
        write(log, [4])
    with suppress(Exception), pytest.warns(match="is now run"):
        log.close()
    with Store(path) as store:
        (info,) = store.iter_runs()
        assert info.uuid == uuid
        (part,) = [each for each in store.iter_runs(heads=False) if each.part_of is not None]
        assert part.part_of == uuid
        assert not part.head
        assert store.latest() == uuid
    going_on = resumed(path, part.uuid, None, [9])
    assert heads(path) == [uuid], "who continues a part is a part"
    with Store(path) as store:
        assert set(store.delete(uuid, experiment=True)) == {going_on, part.uuid, uuid}


def test_merged_copies_agree_on_the_heads_whatever_the_order(path, tmp_path):
    parent = new(path, range(5))
    with Store(path) as store:
        store.backup(tmp_path / "copy.db")
    child = resumed(path, parent, 2, range(3, 6))
    with SQLiteLog(tmp_path / "copy.db", parent) as log:
        write(log, [7])  # there, it goes on itself
    for target, source in (("one.db", "runs.db"), ("two.db", "copy.db")):
        other = "copy.db" if source == "runs.db" else "runs.db"
        with Store(tmp_path / target, create=True) as store:
            store.merge(tmp_path / source)
            store.merge(tmp_path / other)
            store.merge(tmp_path / source)
        assert set(heads(tmp_path / target)) == {parent, child}


def test_a_child_whose_parent_comes_later_supersedes_it(path, tmp_path):
    parent = new(path, range(5))
    child = resumed(path, parent, 2, range(3, 6))
    with Store(path) as store:
        store.backup(tmp_path / "child.db")
    with Store(tmp_path / "child.db") as store, store._database.write() as connection:
        connection.exec_driver_sql("DELETE FROM runs WHERE uuid = ?", (parent.hex,))
    assert heads(tmp_path / "child.db") == [child]
    with Store(tmp_path / "child.db") as store:
        store.merge(path)
    assert heads(tmp_path / "child.db") == [child]


def test_a_lineage_in_a_circle_hides_no_run(path):
    first = new(path, range(3))
    second = resumed(path, first, None, [3])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE relations SET position = 1 << 40")
        connection.execute(
            "INSERT INTO relations SELECT id, 'continue', ?, 1 << 40 FROM runs WHERE uuid = ?",
            (second.hex, first.hex),
        )
    with Store(path) as store:
        assert [info.uuid for info in store.iter_runs()] in ([first], [second])
        assert len(list(store.iter_runs(heads=False))) == 2


# -- whose values they are --------------------------------------------------------------------


def test_a_shared_value_stands_under_each_run_and_is_the_own_of_one(path):
    origin = new(path, range(5))
    variant = resumed(path, origin, 2, range(3, 6), variant=True)
    with Store(path) as store:
        frame = store.to_dataframe()
        own = frame[frame["own"]].groupby("run", observed=True).size()
        assert frame.groupby("run", observed=True).size()[variant.hex] == 6
        assert own.to_dict() == {origin.hex: 5, variant.hex: 3}
        pytest.importorskip("pyarrow")
        assert store.to_arrow()["own"].to_pylist() == frame["own"].to_list()
        alone = store.to_dataframe([variant])
        assert alone["own"].all(), "no other run of the frame shows it"


STEPS = st.lists(
    st.tuples(
        st.integers(0, 5),  # which run, counted back from the newest
        st.sampled_from(["continue", "variant", "write"]),
        st.integers(0, 12),  # where
        st.integers(1, 4),  # how many values
    ),
    max_size=7,
)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_no_value_is_the_own_of_two_heads_and_each_owns_what_it_logged(tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("store") / "runs.db"
    stamp = 0.0
    runs = []

    def write(log, at, count):
        nonlocal stamp
        for time in range(at, at + count):
            stamp += 1
            log[time]["x"] = stamp  # tells which assignment it was

    with SQLiteLog(path) as log:
        write(log, 0, 6)
        runs.append(log.uuid)
    for back, what, at, count in steps:
        with SQLiteLog(path, runs[max(0, len(runs) - 1 - back)]) as log:
            if what == "write":
                write(log, at, count)
            else:
                log.resume(at=at, variant=what == "variant")
                write(log, at + 1, count)
                runs.append(log.uuid)
    with Store(path) as store:
        frame = store.to_dataframe()
        assert frame[frame["own"]]["value"].is_unique
        for run in store.iter_runs():  # what a run logged itself is its own
            mine = frame[(frame["run"] == run.uuid.hex) & frame["own"]]
            with store.log(run.uuid, readonly=True) as log:
                logged = log.to_dataframe(layout="long", lineage=False)["value"]
            assert set(logged) <= set(mine["value"])
        assert store.check().ok


# -- deleting experiments ---------------------------------------------------------------------


def test_an_experiment_is_deleted_with_what_it_alone_has_superseded(path):
    root = new(path, range(5))
    middle = resumed(path, root, 2, range(3, 6))
    head = resumed(path, middle, 4, range(5, 8))
    with Store(path) as store:
        assert store.delete(head, experiment=True, dry_run=True) == [head, middle, root]
        assert len(store.runs(heads=False)) == 3
        assert store.delete(head, experiment=True) == [head, middle, root]
        assert len(store.runs(heads=False)) == 0


def test_what_another_run_reads_through_is_kept(path):
    root = new(path, range(5))
    middle = resumed(path, root, 2, range(3, 6))
    head = resumed(path, middle, 4, range(5, 8))
    variant = resumed(path, middle, 3, range(4, 8), variant=True)
    with Store(path) as store:
        assert store.delete(head, experiment=True) == [head]
        with pytest.raises(RunHasChildren):
            store.delete(middle, experiment=True)
        assert set(heads(path)) == {middle, variant}
        assert store.log(variant, readonly=True)[:]["acc"].index.tolist() == list(range(8))


def test_the_list_on_the_terminal_counts_resumes_and_names_the_origin(path):
    origin = new(path, range(5), name="base")
    resumed(path, resumed(path, origin, 2, range(3, 6), variant=True), None, [6])
    lines = run("runs", "--store", path).stdout.splitlines()
    assert lines[0].split()[-2:] == ["RESUMES", "FROM"]
    assert [line.split()[-2:] for line in lines[1:]] == [["-", "-"], ["1", origin.hex[:8]]]
    assert len(run("runs", "--all", "--store", path).stdout.splitlines()) == 4


def test_the_tree_of_a_run_tells_a_variant_from_a_run_that_goes_on(path):
    origin = new(path, range(5))
    resumed(path, resumed(path, origin, 2, range(3, 6), variant=True), 4, [6])
    tree = run("show", "--store", path).stdout.split("Lineage")[1]
    assert [line.split(maxsplit=2)[-1].split("  ")[0] for line in tree.splitlines()[2:4]] == [
        "branched at 2", "resumed at 4",
    ]  # fmt: skip


def test_what_other_processes_write_beside_a_run_is_part_of_it(path):
    """It is no experiment of its own, and is found through the one that it accompanies."""
    with SQLiteLog(path, name="rank 0") as head:
        head[1]["loss"] = 1.0
        for rank in (1, 2):
            with SQLiteLog(path, part_of=head.uuid, tags={"rank": rank}) as log:
                log[1]["loss"] = 1.0 + rank
    with SQLiteLog(path, uuid=head.uuid, resume=True) as log:
        log[2]["loss"] = 0.5
        child = log.uuid
    with Store(path) as store:
        (info,) = store.iter_runs()
        assert info.uuid == child
        assert set(store.to_dataframe()["run"]) == {child.hex}
        for run in (head.uuid, child, "rank 0"):
            assert [part.tags for part in store.parts(run)] == [{"rank": 1}, {"rank": 2}]
        part = store.parts(child)[0]
        assert (part.part_of, part.head, part.rows) == (head.uuid, False, 1)
        assert store.parts(part.uuid) == []
        assert store.groups("state", "loss")["n"].tolist() == [1]
    with SQLiteLog(path, uuid=part.uuid, resume=True) as log:
        log[2]["loss"] = 2.0
    assert heads(path) == [child], "a rank that is resumed is still a part"
    with Store(path) as store:
        assert len(store.parts(child)) == 3
    with pytest.raises(ValueError, match="part_of is said of a new run"):
        SQLiteLog(path, uuid=child, part_of=head.uuid)
    with pytest.raises(InvalidUUID):
        SQLiteLog(path, part_of="nothing")
