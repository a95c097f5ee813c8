"""Looking after a store that has trials: merge, backup, delete, check, repair."""

import json
import re
import shutil
import sqlite3
from contextlib import closing

import pytest
from command_line import run
from hypothesis import given, settings
from hypothesis import strategies as st

from traininglog import SQLiteLog, Store, TrainingLogWarning
from traininglog.sqlite.repair.repair import repair
from traininglog.trials import (
    Project,
    Status,
    Trial,
    TrialClient,
    TrialGroup,
    TrialStore,
)
from traininglog.trials.surroundings import artifacts

PAGE = 4096


def described(path):
    """Return all records of a store but for what tells one writing of them from another."""
    found = {}
    with TrialClient(path) as client:
        for kind in ("project", "group", "trial", "environment"):
            for record in client.store.records.select(kind, {}):
                del record["token"], record["edit"]
                found[kind, record["uid"]] = record
    return found


def losses(path):
    with TrialClient(path) as client:
        return {trial.uid: trial.metrics.get("loss") for trial in client.fetch_trials()}


@pytest.fixture
def code(tmp_path):
    path = tmp_path / "train.py"
    path.write_text("print('train')\n", encoding="utf-8")
    return path


def make(path, code, numbers, version="1", **tags):
    """Run trials of one project and group, each with a kept file; return their UIDs."""
    made = []
    with TrialClient(path) as client:
        client.set_project(name="paper", tags=tags)
        client.set_group(name="idea")
        for n in numbers:
            with client.new_trial(name="t", version=version, parameters={"n": n}) as trial:
                for step in range(5):
                    trial.log_metrics(step=step, loss=float(n + step))
                trial.log_code(code)
            made.append(trial.uid)
    return made


def merge(target, source):
    with Store(target, create=True) as store:
        return store.merge(source)


# -- merging --------------------------------------------------------------------------------


def test_trials_are_merged_with_all_that_is_theirs(tmp_path, code):
    uids = make(tmp_path / "a.db", code, [1, 2])
    merged = merge(tmp_path / "b.db", tmp_path / "a.db")
    assert merged.trials == uids
    assert described(tmp_path / "b.db") == described(tmp_path / "a.db")
    assert losses(tmp_path / "b.db") == losses(tmp_path / "a.db")
    with TrialClient(tmp_path / "b.db") as client:
        trial = client.store.trial(uids[0])
        assert client.store.environment(trial)["python"]
        artifacts.restore(client.store.records.artifacts, trial.artifacts, tmp_path / "new")
    assert (tmp_path / "new" / "train.py").read_text() == code.read_text()
    assert merge(tmp_path / "b.db", tmp_path / "a.db").trials == []
    assert merge(tmp_path / "a.db", tmp_path / "b.db").trials == []


def test_the_copy_of_a_trial_that_was_changed_more_often_counts(tmp_path, code):
    (uid,) = make(tmp_path / "a.db", code, [1])
    merge(tmp_path / "b.db", tmp_path / "a.db")
    with TrialClient(tmp_path / "b.db") as client:
        with client.set_trial(uid) as trial:
            trial.log_metrics(step=5, loss=60.0)
        client.store.set_trial_status(uid, Status.Suspended)
        client.store.add_trial_tags(uid, there=1)
    with TrialClient(tmp_path / "a.db") as client:
        client.store.add_trial_tags(uid, here=1)
        client.store.new_project(Project("mine"))
    assert merge(tmp_path / "a.db", tmp_path / "b.db").trials == [uid]
    merge(tmp_path / "b.db", tmp_path / "a.db")
    for path in (tmp_path / "a.db", tmp_path / "b.db"):
        with TrialClient(path) as client:
            trial = client.store.trial(uid)
            assert trial.status is Status.Suspended
            assert trial.metrics["loss"] == {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0, 4: 5.0, 5: 60.0}
            assert trial.tags == {"here": 1, "there": 1}
            assert client.store.get_project("mine") is not None
    assert merge(tmp_path / "a.db", tmp_path / "b.db").trials == []


def test_merging_keeps_all_groups_that_a_trial_is_in(tmp_path, code):
    """Also where the other copy was changed more often, and where it becomes another revision."""
    a, b = tmp_path / "a.db", tmp_path / "b.db"
    (uid,) = make(a, code, [1])
    merge(b, a)

    def put(path, name, times=1):
        with TrialClient(path) as client:
            group = client.store.new_trial_group(TrialGroup(name, "paper"))
            for _ in range(times):
                client.store.add_group_trial(group, uid)

    put(a, "here")
    put(b, "there", 3)
    merge(a, b)
    merge(b, a)
    for path in (a, b):
        with TrialClient(path) as client:
            names = [
                client.store.get_trial_group(group).name for group in client.store.trial(uid).groups
            ]
            assert sorted(names) == ["here", "idea", "there"]
            for name in names:
                (group,) = client.fetch_groups({"name": name})
                assert [trial.uid for trial in group.trials] == [uid]
        with Store(path) as store:
            assert store.check().problems == []
    assert merge(a, b).trials == []
    make(tmp_path / "c.db", code, [1])
    with TrialClient(tmp_path / "c.db") as client:
        other = client.store.new_trial_group(TrialGroup("other", "paper"))
        client.store.add_group_trial(other, uid)
    merge(a, tmp_path / "c.db")
    with TrialClient(a) as client:
        (again,) = client.store.get_trial_group(other.uid).trials
        assert again.uid == f"{again.hash}_1"
        assert len(client.fetch_groups({"name": "idea"})[0].trials) == 2


def test_two_trials_that_got_one_uid_become_revisions(tmp_path, code):
    """Machines that do not know of each other both begin to count at 0."""
    (uid,) = make(tmp_path / "a.db", code, [1])
    assert make(tmp_path / "b.db", code, [1]) == [uid]
    (added,) = merge(tmp_path / "a.db", tmp_path / "b.db").trials
    assert added == uid.replace("_0", "_1")
    assert merge(tmp_path / "a.db", tmp_path / "b.db").trials == []
    with TrialClient(tmp_path / "a.db") as client:
        one, other = client.fetch_trials(sort="revision")
    assert one.log != other.log
    assert one.metrics == other.metrics
    with TrialClient(tmp_path / "b.db") as client:
        client.store.add_trial_tags(uid, later=1)
    assert merge(tmp_path / "a.db", tmp_path / "b.db").trials == [added]
    with TrialClient(tmp_path / "a.db") as client:
        assert [trial.tags for trial in client.fetch_trials(sort="revision")] == [{}, {"later": 1}]


def test_a_kept_file_that_is_gone_costs_no_merge(tmp_path, code):
    (uid,) = make(tmp_path / "a.db", code, [1])
    shutil.rmtree(tmp_path / "a.db-artifacts")
    with pytest.warns(TrainingLogWarning, match=r"train\.py"):
        assert merge(tmp_path / "b.db", tmp_path / "a.db").trials == [uid]


STEPS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(["tag", "status", "trial", "merge a", "merge b", "merge c"]),
    ),
    max_size=12,
)


@settings(max_examples=6)
@given(STEPS)
def test_merges_in_any_order_lose_nothing_and_come_to_one_end(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("merges")
    stores = {name: TrialClient(folder / f"{name}.db").store for name in "abc"}
    for store in stores.values():
        store.new_project(Project("p"))
    stores["a"].new_trial(Trial("first", project_id="p"))
    uid = stores["a"].fetch_trials()[0].uid
    tags, names = set(), {"first"}
    for number, (name, what) in enumerate(steps):
        store = stores[name]
        if what.startswith("merge"):
            if what[-1] != name:
                merge(folder / f"{name}.db", folder / f"{what[-1]}.db")
        elif what == "trial":
            store.new_trial(Trial(f"t{number}", project_id="p"))
            names.add(f"t{number}")
        elif store.fetch_trials({"uid": uid}):
            if what == "tag":
                store.add_trial_tags(uid, **{f"tag {number}": number})
                tags.add(f"tag {number}")
            else:
                store.set_trial_status(uid, Status.Suspended)
    for _ in range(2):
        for one, other in ("ab", "bc", "ca", "ba", "cb", "ac"):
            merge(folder / f"{one}.db", folder / f"{other}.db")
    for store in stores.values():
        assert {trial.name for trial in store.fetch_trials()} == names
        assert set(store.trial(uid).tags) == tags
        store.close()
    assert described(folder / "a.db") == described(folder / "b.db") == described(folder / "c.db")
    for one, other in ("ab", "bc", "ca"):
        assert merge(folder / f"{one}.db", folder / f"{other}.db").trials == []


def test_the_command_tells_of_trials(tmp_path, code):
    make(tmp_path / "a.db", code, [1, 2])
    shown = run("merge", tmp_path / "a.db", "--store", tmp_path / "b.db").stdout
    assert "2 runs added, 0 updated, 0 unchanged; 2 trials" in shown
    again = run("merge", tmp_path / "a.db", "--store", tmp_path / "b.db", "--json").stdout
    assert json.loads(again)["trials"] == []


# -- backup, delete -------------------------------------------------------------------------


def test_a_backup_has_the_kept_files(tmp_path, code):
    (uid,) = make(tmp_path / "a.db", code, [1])
    with Store(tmp_path / "a.db") as store:
        store.backup(tmp_path / "copy.db")
    shutil.rmtree(tmp_path / "a.db-artifacts")
    with TrialClient(tmp_path / "copy.db") as client:
        trial = client.store.trial(uid)
        (made,) = artifacts.restore(
            client.store.records.artifacts, trial.artifacts, tmp_path / "new"
        )
    assert made.read_text() == code.read_text()
    make(tmp_path / "b.db", code, [])
    with Store(tmp_path / "b.db") as store:
        store.backup(tmp_path / "bare.db")
    assert not (tmp_path / "bare.db-artifacts").exists()


def test_a_trial_whose_run_is_deleted_goes_back_to_the_run_before(tmp_path, code):
    (uid,) = make(tmp_path / "a.db", code, [1])
    with TrialClient(tmp_path / "a.db") as client:
        first = client.store.trial(uid).log
        with client.set_trial(uid) as trial:
            trial.log_metrics(step=5, loss=60.0)
        second = client.store.trial(uid).log
    with Store(tmp_path / "a.db") as store:
        store.delete(second)
    assert losses(tmp_path / "a.db")[uid] == {n: 1.0 + n for n in range(5)}
    with TrialClient(tmp_path / "a.db") as client:
        found = client.store.trial(uid)
        assert (found.log, found.status) == (first, Status.Completed)
    with Store(tmp_path / "a.db") as store:
        store.delete(first)
        assert store.check().problems == []
    with TrialClient(tmp_path / "a.db") as client:
        found = client.store.trial(uid)
        assert (found.log, found.metrics, found.parameters) == (None, {}, {"n": 1})
        assert found.chronos["runtime"] > 0
        with client.set_trial(uid) as trial:  # it can be gone on with, and begins anew
            trial.log_metrics(step=0, loss=0.5)
        assert client.store.trial(uid).metrics == {"loss": {0: 0.5}}


# -- check ----------------------------------------------------------------------------------


def changed(path, *statements):
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE trials SET record = substr(record, 1, 40)", "trial .*: its record is no JSON"),
        ("UPDATE trials SET record = '[]'", "trial .*: its record is not"),
        ("UPDATE trials SET record = json_remove(record, '$.parameters')", "parameters"),
        ("UPDATE trials SET record = json_set(record, '$.errors', 5)", "errors"),
        ("UPDATE trials SET status = 101", "trial .*: its column status"),
        ("UPDATE trials SET name = 'other'", "trial .*: its column name"),
        ("UPDATE projects SET record = 'x'", "project paper: its record is no JSON"),
        ("UPDATE environments SET record = 'x'", "environment .*: its record is no JSON"),
        ("DELETE FROM projects", "project 'paper', which is not there"),
        ("DELETE FROM trial_groups", "group .*, which is not there"),
        ("DELETE FROM group_members", "trial .*: the table group_members"),
        ("UPDATE group_members SET group_id = 'x'", "trial .*: the table group_members"),
        ("INSERT INTO group_members SELECT kind, member, 'x' FROM group_members", "group_members"),
        ("UPDATE trials SET record = json_set(record, '$.groups', 5)", "groups 5"),
        (
            "UPDATE trials SET record = json_set(record, '$.groups', json('[\"x\"]'))",
            "names group 'x', which is not there",
        ),
        ("DELETE FROM environments", "environment .*, which is not there"),
    ],
)
def test_check_says_what_is_wrong_with_trials(tmp_path, code, statement, told):
    path = tmp_path / "a.db"
    make(path, code, [1])
    with Store(path) as store:
        assert store.check().problems == []
    changed(path, statement)
    with Store(path) as store:
        found = store.check()
    assert not found.ok
    assert any(re.search(told, problem) for problem in found.problems), found.problems
    target = repair(path).target
    with Store(target) as store:
        assert store.check().problems == []


def test_check_tells_of_kept_files_and_of_runs_that_are_not_there(tmp_path, code):
    path = tmp_path / "a.db"
    (uid,) = make(path, code, [1])
    with Store(path) as store:
        assert [line for line in store.check().warnings if uid in line] == []
    (kept,) = (one for one in (tmp_path / "a.db-artifacts").rglob("*") if one.is_file())
    kept.write_text("changed", encoding="utf-8")
    changed(path, "DELETE FROM runs")
    with Store(path) as store:
        found = store.check()
    told = [line for line in found.warnings if uid in line]
    assert any("train.py" in line and "is not what was kept" in line for line in told)
    assert any("its run" in line for line in told)
    kept.unlink()
    with Store(path) as store:
        assert any("train.py" in line and "is missing" in line for line in store.check().warnings)


# -- repair ---------------------------------------------------------------------------------


def pages_of(path, name):
    with closing(sqlite3.connect(path)) as connection:
        return [
            number
            for (number,) in connection.execute(
                "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf'", (name,)
            )
        ]


def zero(path, *numbers):
    with path.open("r+b") as file:
        for number in numbers:
            file.seek((number - 1) * PAGE)
            file.write(bytes(PAGE))


@pytest.fixture(scope="module")
def three_hundred(tmp_path_factory):
    """A file with a few hundred trials, one of which has run."""
    folder = tmp_path_factory.mktemp("three_hundred")
    path = folder / "many.db"
    (folder / "train.py").write_text("print('train')\n", encoding="utf-8")
    make(path, folder / "train.py", [0])
    with TrialClient(path) as client:
        group = TrialGroup("idea", "paper")
        for n in range(1, 300):
            client.store.new_trial(
                Trial("t", "é" * 50, parameters={"n": n}, project_id="paper", group_id=group.uid)
            )
    return path


@pytest.fixture
def many(three_hundred, tmp_path):
    """A copy of it, to be damaged."""
    path = tmp_path / "many.db"
    shutil.copy(three_hundred, path)
    shutil.copytree(f"{three_hundred}-artifacts", f"{path}-artifacts")
    return path


@pytest.mark.parametrize("damaged", ["sqlite_autoindex_trials_1", "trials_by_status"])
def test_of_a_lost_index_nothing_is_missing(many, damaged):
    before = described(many)
    zero(many, *pages_of(many, damaged))
    done = repair(many)
    assert done.trials == 300
    assert described(done.target) == before


def test_where_the_list_of_tables_is_lost_the_records_are_found(many):
    before = described(many)
    data = bytearray(many.read_bytes())
    many.write_bytes(data[:100] + bytes(PAGE - 100) + data[PAGE:])
    zero(many, *pages_of_schema(bytes(data)))
    done = repair(many)
    assert described(done.target) == before
    assert losses(done.target) == {
        uid: dict(zip(range(5), (0.0, 1.0, 2.0, 3.0, 4.0), strict=True)) if n == 0 else None
        for n, uid in enumerate(losses(done.target))
    }


def pages_of_schema(data):
    """Return the pages below the first one, if it is not a leaf."""
    if data[100] != 5:
        return []
    count = int.from_bytes(data[103:105], "big")
    places = [int.from_bytes(data[112 + 2 * n : 114 + 2 * n], "big") for n in range(count)]
    last = int.from_bytes(data[108:112], "big")
    return [*(int.from_bytes(data[at : at + 4], "big") for at in places), last]


def test_a_lost_page_of_trials_costs_what_it_held_and_no_more(many):
    before = described(many)
    lost = pages_of(many, "trials")[3]
    zero(many, lost)
    done = repair(many)
    after = described(done.target)
    assert 200 < done.trials < 300
    assert after == {key: record for key, record in before.items() if key in after}
    assert any("many.db-artifacts" in note for note in done.notes)


def test_what_records_name_and_is_lost_is_made_up_or_left_out(many):
    names = ("projects", "trial_groups", "environments")
    pages = [page for name in names for page in pages_of(many, name)]
    before = described(many)
    zero(many, *pages)
    done = repair(many)
    assert done.trials == 300
    with TrialClient(done.target) as client:
        assert [project.name for project in client.fetch_projects()] == ["paper"]
        assert {trial.group_id for trial in client.fetch_trials()} == {None}
        trial = client.fetch_trials({"parameters.n": 0})[0]
        assert trial.metrics["loss"] == {0: 0.0, 1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0}
        assert client.store.environment(trial) == {}
        assert before["trial", trial.uid]["parameters"] == trial.parameters
    assert any("project 'paper'" in note for note in done.notes)
    assert any("group" in note for note in done.notes)


def test_of_several_groups_of_a_trial_those_that_are_lost_are_left_out(tmp_path, code):
    path = tmp_path / "a.db"
    (uid,) = make(path, code, [1])
    with TrialClient(path) as client:
        other = client.store.new_trial_group(TrialGroup("other", "paper"))
        client.store.add_group_trial(other, uid)
    changed(path, "DELETE FROM trial_groups WHERE name = 'idea'")
    with TrialClient(repair(path).target) as client:
        assert client.store.trial(uid).groups == [other.uid]
        assert [trial.uid for trial in client.fetch_groups()[0].trials] == [uid]


def test_a_store_of_trials_that_have_not_run_is_repaired_too(tmp_path):
    path = tmp_path / "a.db"
    with TrialClient(path) as client:
        for n in range(50):
            client.store.new_trial(Trial("t", parameters={"n": n}))
    before = described(path)
    zero(path, *pages_of(path, "sqlite_autoindex_trials_1"))
    done = repair(path)
    assert (done.runs, done.trials) == (0, 50)
    assert described(done.target) == before


def test_the_command_tells_how_many_trials_it_saved(many):
    zero(many, *pages_of(many, "trials_by_name"))
    shown = run("check", "--repair", "--store", many).stdout
    assert "300 trials" in shown


def test_a_store_opened_by_a_log_alone_has_no_trials_and_no_folder(tmp_path):
    SQLiteLog(tmp_path / "a.db").close()
    merged = merge(tmp_path / "b.db", tmp_path / "a.db")
    assert merged.trials == []
    with TrialStore(TrialClient(tmp_path / "b.db").store.records) as store:
        assert store.fetch_trials() == []
    assert not list(tmp_path.glob("*-artifacts"))
