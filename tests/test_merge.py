"""`Store.merge`: copies of the same runs find together, whatever became of them apart."""

import shutil
import sqlite3
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traininglog import RunBusy, RunNotFound, SQLiteLog, Store, StoreNotFound


def contents(path):
    """Return what the runs of a store hold, by UUID, apart from numbers of this file's own."""
    found = {}
    with Store(path) as store:
        assert store.check().ok
        for record in store.runs(heads=False).to_dict("records"):
            with store.log(record["uuid"], readonly=True) as log:
                own = log.to_dataframe(layout="long", lineage=False)
                found[record["uuid"]] = {
                    "seen": log.to_dict(),
                    "own": {(t, k): v for t, k, v in own.itertuples(index=False, name=None)},
                    "status": dict(log.status),
                    "lineage": log.lineage(),
                    "state": record["state"],
                    "values": record["values"],
                }
    return found


def merge(target, *sources):
    with Store(target, create=True) as store:
        return [store.merge(source) for source in sources]


def copy(path, name):
    """Copy a store that nobody has open to a file beside it."""
    target = path.with_name(name)
    with Store(path) as store:
        store.backup(target)
    return target


@pytest.fixture
def base(tmp_path):
    """A store with a run, a child of it, and a run that failed."""
    path = tmp_path / "base.db"
    with SQLiteLog(path) as log:
        for t in range(1, 6):
            log[t].update(loss=1 / t, step=t)
        log.status["iterations_done"] = 5
        log.resume(at=3)
        log[4].update(accuracy=0.5, loss=None)
        del log[2]["step"]
    with suppress(ZeroDivisionError), SQLiteLog(path) as log:
        log[1]["note"] = "broken"
        _ = 1 / 0
    return path


def test_merging_into_an_empty_store_copies_everything(base, tmp_path):
    target = tmp_path / "target.db"
    (done,) = merge(target, base)
    assert {uuid.hex for uuid in done.added} == set(contents(base))
    assert done.updated == done.unchanged == []
    assert contents(target) == contents(base)


def test_merging_again_changes_nothing_and_says_so(base, tmp_path):
    target = tmp_path / "target.db"
    merge(target, base)
    once = contents(target)
    size = target.stat().st_size
    again, back, itself = merge(target, base, base, target)
    for done in (again, back, itself):
        assert len(done.unchanged) == 3
        assert done.added == done.updated == []
    assert contents(target) == once
    assert target.stat().st_size == size
    assert len(merge(base, target)[0].unchanged) == 3


def test_an_open_store_can_be_merged_and_progress_is_told(base, tmp_path):
    told = []
    with Store(base) as source, Store(tmp_path / "target.db", create=True) as target:
        target.merge(source, progress=lambda done, of: told.append((done, of)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_merging_what_is_not_there_is_an_error_and_makes_nothing(base, tmp_path):
    with Store(base) as store, pytest.raises(StoreNotFound):
        store.merge(tmp_path / "missing.db")
    assert not (tmp_path / "missing.db").exists()


def test_a_longer_copy_brings_a_shorter_one_up_to_it(tmp_path):
    """Values, those written over, deletions and how the run ended: all as in the longer copy."""
    path = tmp_path / "a.db"
    with SQLiteLog(path) as log:
        for t in range(1, 6):
            log[t]["loss"] = float(t)
        log.status["iterations_done"] = 5
        log.flush()
        short = copy(path, "short.db")
        log[3]["loss"] = -3.0
        del log[4]["loss"]
        log[6]["more"] = 6
        log.status["iterations_done"] = 6
    for target, source in ((short, path), (copy(path, "long.db"), short)):
        merge(target, source)
        assert contents(target) == contents(path)
    assert contents(short)[log.h_uuid]["own"] == {
        (1, "loss"): 1.0, (2, "loss"): 2.0, (3, "loss"): -3.0, (5, "loss"): 5.0, (6, "more"): 6,
    }  # fmt: skip


def test_a_run_that_was_lost_here_and_finished_there_is_finished(tmp_path):
    path = tmp_path / "a.db"
    with SQLiteLog(path) as log:
        log[1]["loss"] = 1.0
        log.flush()
        early = copy(path, "early.db")
    assert contents(early)[log.h_uuid]["state"] == "lost"
    merge(early, path)
    assert contents(early)[log.h_uuid]["state"] == "finished"


def diverged(tmp_path):
    """Return two copies of a run that went on separately, in one process and equally long."""
    a = tmp_path / "a.db"
    with SQLiteLog(a) as log:
        log[1].update(loss=1.0, common=0)
        uuid = log.uuid
    b = copy(a, "b.db")
    with SQLiteLog(a, uuid) as log:
        log[2].update(loss=2.0, only_a="a")
        log[1]["common"] = 1
        log.status["from_a"] = True
    with SQLiteLog(b, uuid) as log:
        log[2]["only_b"] = "b"
        log[3]["loss"] = 3.0
        log[1]["common"] = 2
        log.status["from_b"] = True
    return a, b, uuid


def test_copies_that_diverged_are_united_either_way(tmp_path):
    a, b, uuid = diverged(tmp_path)
    ab, ba = copy(a, "ab.db"), copy(b, "ba.db")
    assert merge(ab, b)[0].updated == [uuid]
    assert merge(ba, a)[0].updated == [uuid]
    united = contents(ab)
    assert contents(ba) == united
    seen = united[uuid.hex]["seen"]
    assert seen[2] == {"loss": 2.0, "only_a": "a", "only_b": "b"}
    assert seen[3] == {"loss": 3.0}
    assert seen[1]["common"] == 2  # b was flushed last
    assert united[uuid.hex]["status"].keys() >= {"from_a", "from_b"}


def test_a_union_does_not_pass_for_one_of_its_parts(tmp_path):
    a, b, _ = diverged(tmp_path)
    ab = copy(a, "ab.db")
    merge(ab, b)
    for part in (a, b):
        merge(part, ab)
        assert contents(part) == contents(ab)
    assert merge(ab, a, b)[1].unchanged
    assert contents(ab) == contents(a)


def test_keys_that_each_copy_numbered_in_its_own_way_stay_apart(tmp_path):
    a = tmp_path / "a.db"
    with SQLiteLog(a) as log:
        log[0]["first"] = 0
        uuid = log.uuid
    b = copy(a, "b.db")
    with SQLiteLog(a, uuid) as log:
        log[1]["x"], log[1]["y"] = "x", "y"
    with SQLiteLog(b, uuid) as log:
        log[2]["y"], log[2]["x"], log[2]["z"] = "y", "x", "z"
    merge(a, b)
    with SQLiteLog(a, uuid) as log:
        assert log.to_dict() == {
            0: {"first": 0},
            1: {"x": "x", "y": "y"},
            2: {"x": "x", "y": "y", "z": "z"},
        }
        log[3]["new"] = "new"  # writing goes on after a merge
    with SQLiteLog(a, uuid) as log:
        assert log[3] == {"new": "new"}
        assert log.keys_seen() == ["first", "x", "y", "z", "new"]


def test_a_deletion_is_carried_over_and_hides_what_is_inherited(tmp_path):
    path = tmp_path / "a.db"
    with SQLiteLog(path) as log:
        log[1].update(x=1, y=1)
        log.resume()
        other = tmp_path / "b.db"
        log.flush()
        with Store(path) as store:
            store.backup(other)
        del log[1]["x"]
    merge(other, path)
    with SQLiteLog(other, log.uuid) as copied:
        assert copied[1] == {"y": 1}
        assert 1 in copied
    with SQLiteLog(other, contents(path)[log.h_uuid]["lineage"][1].uuid) as parent:
        assert parent[1] == {"x": 1, "y": 1}


def test_a_lineage_that_is_spread_over_files_finds_together(tmp_path):
    parents, children = tmp_path / "parents.db", tmp_path / "children.db"
    with SQLiteLog(parents) as log:
        for t in range(5):
            log[t]["x"] = t
        parent = log.uuid
    shutil.copy(parents, children)
    with SQLiteLog(children, parent, at=2) as log:
        log[3]["x"] = 33
        child = log.uuid
    merge(parents, children)
    with SQLiteLog(parents, child) as log:
        assert [log[t]["x"] for t in log] == [0, 1, 2, 33]
        assert [uuid for uuid, _ in log.lineage()] == [child, parent]


def test_a_child_without_its_parent_waits_for_it(tmp_path):
    whole, target = tmp_path / "whole.db", tmp_path / "target.db"
    with SQLiteLog(whole) as log:
        log[1]["x"] = 1
        parent = log.uuid
        log.resume()
        log[2]["x"] = 2
        child = log.uuid
    only_child = copy(whole, "child.db")
    connection = sqlite3.connect(only_child)
    for table in ("entries", "keys", "status", "marks"):
        connection.execute(f"DELETE FROM {table} WHERE run_id = 1")
    connection.execute("DELETE FROM runs WHERE id = 1")
    connection.commit()
    connection.close()
    merge(target, only_child)
    with SQLiteLog(target, child) as log:
        assert log.to_dict() == {2: {"x": 2}}
        assert log.lineage() == [(child, 1), (parent, None)]
    with pytest.raises(RunNotFound):
        SQLiteLog(target, parent)
    merge(target, whole)
    with SQLiteLog(target, child) as log:
        assert log.to_dict() == {1: {"x": 1}, 2: {"x": 2}}


def test_a_run_that_is_being_written_here_is_not_merged_into(tmp_path):
    a = tmp_path / "a.db"
    with SQLiteLog(a) as log:
        log[1]["x"] = 1
    b = copy(a, "b.db")
    with SQLiteLog(b, log.uuid) as there:
        there[2]["x"] = 2
    with SQLiteLog(b) as another:
        another[1]["y"] = 1
    with SQLiteLog(a, log.uuid) as here:
        here[3]["x"] = 3
        with Store(a) as store:
            with pytest.raises(RunBusy, match=log.h_uuid):
                store.merge(b)
            assert len(store.runs(heads=False)) == 1  # and nothing else was merged either
    merge(a, b)
    assert contents(a)[log.h_uuid]["seen"] == {1: {"x": 1}, 2: {"x": 2}, 3: {"x": 3}}
    assert len(contents(a)) == 2


def test_an_older_copy_of_a_run_that_is_being_written_here_is_no_hindrance(tmp_path):
    a = tmp_path / "a.db"
    with SQLiteLog(a) as log:
        log[1]["x"] = 1
        log.flush()
        earlier = copy(a, "earlier.db")
        log[2]["x"] = 2
        log.flush()
        assert merge(a, earlier)[0].unchanged == [log.uuid]
        merge(earlier, a)  # and a run that is being written there can be copied from there
    merge(earlier, a)
    assert contents(earlier) == contents(a)


# A history is written step by step; some of its moments are copied; the copies meet in any order.
_steps = st.lists(
    st.tuples(
        st.sampled_from(["set", "delete", "status", "reopen", "resume"]),
        st.integers(0, 4),
        st.sampled_from("abc"),
    ),
    max_size=12,
)


@settings(max_examples=25)
@given(steps=_steps, data=st.data())
def test_any_order_of_merges_of_any_copies_gives_the_last_one(tmp_path_factory, steps, data):
    folder = tmp_path_factory.mktemp("merge")
    path = folder / "whole.db"
    moments = data.draw(st.sets(st.integers(0, max(0, len(steps) - 1)), max_size=3))
    copies = []
    log = SQLiteLog(path)
    for number, (what, time, key) in enumerate(steps):
        if what == "set":
            log[time][key] = number
        elif what == "delete" and key in log[time]:
            del log[time][key]
        elif what == "status":
            log.status[key] = number
        elif what == "reopen":
            log.close()
            log = SQLiteLog(path, log.uuid)
        elif what == "resume":
            log.resume(at=time)
        if number in moments:
            log.flush()
            copies.append(copy(path, f"copy{number}.db"))
    log.close()
    copies.append(copy(path, "last.db"))
    order = data.draw(st.permutations(copies))
    merge(folder / "target.db", *order)
    assert contents(folder / "target.db") == contents(path)


@settings(max_examples=25)
@given(data=st.data())
def test_copies_that_diverged_at_different_places_unite_in_any_order(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("merge")
    first = folder / "0.db"
    with SQLiteLog(first) as log:
        log[0]["common"] = 0
    copies = [first, copy(first, "1.db"), copy(first, "2.db")]
    for number, path in enumerate(copies):
        with SQLiteLog(path, log.uuid) as mine:
            for time in data.draw(st.lists(st.integers(1, 5), max_size=3)):
                mine[time][f"k{number}"] = time
                mine.status[f"k{number}"] = time
    sources = [copy(path, f"source{path.name}") for path in copies]
    results = []
    for number in range(2):
        target = folder / f"target{number}.db"
        merge(target, *data.draw(st.permutations(sources)))
        results.append(contents(target)[log.h_uuid])
    assert results[0]["seen"] == results[1]["seen"]
    assert results[0]["status"] == results[1]["status"]
