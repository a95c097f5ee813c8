"""Trials on their way from one store into another: saving to a document, and importing from it."""

import json
import warnings

import pytest
from command_line import run

from traininglog import (
    NotATrainingLog,
    SQLiteLog,
    Store,
    StoreFailed,
    StoreUnwritable,
    TrainingLogWarning,
)
from traininglog.jsonfile import document as documents
from traininglog.jsonfile import pieces
from traininglog.trials import (
    Project,
    StatAggregator,
    Status,
    Trial,
    TrialClient,
)
from traininglog.trials.surroundings import artifacts


@pytest.fixture(params=["memory", "sqlite", "file"])
def client(request, tmp_path):
    where = {
        "memory": "memory:", "sqlite": str(tmp_path / "runs.db"), "file": f"file:{tmp_path}/r.json",
    }[request.param]  # fmt: skip
    with TrialClient(where) as client:
        client.set_version("1").set_project(name="paper", tags={"team": "x"})
        client.set_group(name="idea")
        yield client


def ran(client, tmp_path, n, **options):
    code = tmp_path / "train.py"
    code.write_text("print('train')\n", encoding="utf-8")
    with client.new_trial(name="t", parameters={"n": n}, **options) as trial:
        for step in range(3):
            trial.log_metrics(step=step, loss=n + step / 2)
            trial.log_metrics(accuracy=step / 4)
            trial.log_metrics(aggregator=StatAggregator.lazy(0), stat=float(step))
        with trial.chrono("block"):
            pass
        trial.log_code(code)
        trial.log.status["of the program"] = {"a": [1, None]}
    return trial.uid


def seen(where):
    """Return all that a store tells of its trials."""
    with TrialClient(where) as client:
        found = {}
        for trial in client.fetch_trials():
            data = trial.to_json()
            data.pop("log")
            found[trial.uid] = data | {"environment": client.store.environment(trial)["python"]}
            with trial_log(client, trial) as log:
                found[trial.uid]["status of the log"] = log.status.get("of the program")
        names = [(group.name, len(group.trials)) for group in client.fetch_groups()]
        return found, names, [project.to_json() for project in client.fetch_projects()]


def trial_log(client, trial):
    return client.store.records.open_log(trial.log, readonly=True)


# -- saving ---------------------------------------------------------------------------------


def test_a_store_is_saved_again_and_again_into_one_document(client, tmp_path):
    target = tmp_path / "all.json"
    ran(client, tmp_path, 1)
    assert client.save(target) is client
    first = seen(f"file:{target}")
    assert next(iter(first[0].values()))["metrics"]["loss"] == {"0": 1.0, "1": 1.5, "2": 2.0}
    ran(client, tmp_path, 2)
    running = client.new_trial(name="running", parameters={}).start()
    running.log_metrics(step=0, loss=1.0)
    client.save(file_name_override=target)
    client.store.commit(target)
    found, groups, _ = seen(f"file:{target}")
    assert len(found) == 3
    assert groups == [("idea", 3)]
    assert next(iter(first[0].items())) in found.items()
    running.finish()
    client.save(target)
    assert [one["status"]["name"] for one in seen(f"file:{target}")[0].values()] == [
        "Completed"
    ] * 3
    with TrialClient(f"file:{target}") as saved:
        trial = saved.fetch_trials()[0]
        artifacts.restore(saved.store.records.artifacts, trial.artifacts, tmp_path / "new")
    assert (tmp_path / "new" / "train.py").read_text() == "print('train')\n"
    assert not list(tmp_path.glob(".*.part*"))


def test_a_document_is_saved_to_itself_by_its_store(tmp_path):
    target = tmp_path / "r.json"
    with TrialClient(f"file:{target}") as client:
        uid = ran(client, tmp_path, 1)
        client.save(target)
        assert [trial.uid for trial in client.fetch_trials()] == [uid]


def test_saving_replaces_nothing_that_the_store_does_not_know(client, tmp_path):
    uid = ran(client, tmp_path, 1)
    target, other = tmp_path / "all.json", tmp_path / "other.txt"
    client.save(target)
    with TrialClient(f"file:{target}") as saved:
        saved.store.add_trial_tags(uid, said="there")
    before = target.read_bytes()
    with pytest.raises(StoreUnwritable, match=r"says more.*traininglog import"):
        client.save(target)
    with TrialClient(f"file:{tmp_path}/more.json") as saved:
        saved.store.new_trial(Trial("mine"))
    with pytest.raises(StoreUnwritable, match="says more"):
        client.save(tmp_path / "more.json")
    other.write_text("{}")
    with pytest.raises(NotATrainingLog):
        client.save(other)
    assert (target.read_bytes(), other.read_text()) == (before, "{}")


# -- importing ------------------------------------------------------------------------------


def test_a_document_is_moved_into_a_database_and_brought_up_to_date(client, tmp_path):
    document, database = tmp_path / "all.json", tmp_path / "moved" / "runs.db"
    database.parent.mkdir()
    uids = [ran(client, tmp_path, n) for n in range(3)]
    client.save(document)
    shown = run("import", document, "--store", database).stdout
    assert "3 trials added, 0 updated, 0 unchanged" in shown
    assert seen(database) == seen(f"file:{document}")
    with TrialClient(database) as moved:
        trial = moved.store.trial(uids[0])
        artifacts.restore(moved.store.records.artifacts, trial.artifacts, tmp_path / "new")
        with trial_log(moved, trial) as log, trial_log(client, client.store.trial(uids[0])) as old:
            walls = [one.to_dataframe(index="wall").index.tolist() for one in (log, old)]
            assert walls[0] == walls[1]
    with Store(database) as store:
        assert store.check().problems == []
        assert set(store.runs()["state"]) == {"finished"}
    assert (
        "0 trials added, 0 updated, 3 unchanged" in run("import", document, "-s", database).stdout
    )
    # Some go on here, some there.
    with TrialClient(database) as moved:
        moved.store.add_trial_tags(uids[2], here=1)
    with client.set_trial(uid=uids[0]) as trial:
        trial.log_metrics(step=3, loss=9.0)
    last = ran(client, tmp_path, 3)
    client.save(document)
    found = json.loads(run("import", f"file:{document}", "-s", database, "--json").stdout)
    assert (found["added"], found["updated"]) == ([last], [uids[0]])
    with TrialClient(database) as moved:
        assert moved.store.trial(uids[0]).metrics["loss"] == {0: 0.0, 1: 0.5, 2: 1.0, 3: 9.0}
        assert moved.store.trial(uids[2]).tags == {"here": 1}
        assert len(moved.fetch_trials()) == 4


def test_how_a_trial_ended_is_how_its_run_did(tmp_path):
    with TrialClient(f"file:{tmp_path}/r.json") as client:
        for n, error in enumerate((None, ValueError("x"), KeyboardInterrupt())):
            trial = client.new_trial(version="1", parameters={"n": n}).start()
            trial.log_metrics(step=1, loss=1.0)
            trial.finish(exc_val=error)
    run("import", tmp_path / "r.json", "--store", tmp_path / "runs.db")
    with Store(tmp_path / "runs.db") as store:
        assert list(store.runs()["state"]) == ["finished", "failed", "lost"]


@pytest.mark.parametrize(
    ("source", "told"),
    [("nothing.json", "there is no"), ("runs.db", "is the store to import into"),
     ("text.txt", "is no JSON"), ("xyz://y", "xyz")],
)  # fmt: skip
def test_what_cannot_be_imported_is_said_in_a_line(tmp_path, monkeypatch, source, told):
    monkeypatch.chdir(tmp_path)
    SQLiteLog("runs.db").close()
    (tmp_path / "text.txt").write_text("text")
    assert told in run("import", source, "--store", "runs.db", status=1).stderr


# -- where a document ends ------------------------------------------------------------------


def test_a_change_of_a_document_reads_and_writes_out_only_what_has_changed(tmp_path, monkeypatch):
    """Else of many trials each would take longer than the one before, by all that is there."""
    written, coded, read = [], [], []
    before, compact, value = pieces._indented, pieces.compact, pieces.DocumentPiece.value
    monkeypatch.setattr(
        pieces, "_indented", lambda value, depth: written.append(depth) or before(value, depth)
    )
    monkeypatch.setattr(pieces, "compact", lambda value: coded.append(1) or compact(value))
    monkeypatch.setattr(pieces.DocumentPiece, "value", lambda piece: read.append(1) or value(piece))
    counts, handled = [], []
    with TrialClient(f"file:{tmp_path}/r.json") as client:
        client.set_project(name="p")
        for n in range(40):
            written.clear(), coded.clear(), read.clear()
            with client.new_trial(version="1", parameters={"n": n}) as trial:
                trial.log_metrics(step=1, loss=1.0)
            counts.append(written.count(2))
            handled.append(len(coded) + len(read))
    assert max(counts[1:]) <= 20
    assert sum(counts[30:]) == sum(counts[10:20])
    assert max(handled[1:]) <= 80
    assert sum(handled[30:]) <= sum(handled[10:20]) + 10


def test_a_document_is_written_as_json_for_people(tmp_path):
    target = tmp_path / "r.json"
    with TrialClient(f"file:{target}") as client:
        client.set_project(name='naïve "p"', tags={"text": "two\nlines", "none": None})
        for n in range(3):
            ran(client, tmp_path, n)
        text = target.read_text(encoding="utf-8")
        assert text == json.dumps(json.loads(text), indent=1)
    assert TrialClient(f"file:{tmp_path}/empty.json").set_project(name="p").groups == []


def test_values_that_are_equal_and_not_the_same_are_told_apart(tmp_path):
    """1, 1.0 and True are equal to Python, and so are 0.0 and -0.0."""
    with TrialClient(f"file:{tmp_path}/r.json") as client:
        log = client.store.records.new_log()
        for value in (1, 1.0, True, 0.0, -0.0, False, 0):
            log[1]["x"] = value
            log.flush()
            with TrialClient(f"file:{tmp_path}/r.json") as other:
                found = other.store.records.open_log(log.h_uuid, readonly=True)[1]["x"]
            assert repr(found) == repr(value)
        log.close()


def test_what_another_process_or_person_wrote_is_seen_and_what_was_not_written_is_not(
    tmp_path, monkeypatch
):
    target = tmp_path / "r.json"
    with TrialClient(f"file:{target}") as client, TrialClient(f"file:{target}") as other:
        client.set_project(name="p", description="one")
        other.set_project(name="q")
        assert client.store.get_project("q") is not None
        client.set_project(name="r", force=True)
        text = target.read_text()
        target.write_text(text.replace('"one"', '"by hand"'))
        assert client.store.get_project("p").description == "by hand"
        client.set_project(name="s", force=True)
        assert '"by hand"' in target.read_text()

        def full(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(documents.os, "fsync", full)
            with pytest.raises(StoreFailed, match="No space left"):
                client.store.new_project(Project("lost"))
        assert client.store.get_project("lost") is None
        assert [one.name for one in client.fetch_projects()] == ["p", "q", "r", "s"]


@pytest.mark.parametrize("limit", ["MANY", "LARGE"])
def test_a_document_says_once_where_it_ends_and_how_to_move(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(documents, limit, {"MANY": 3, "LARGE": 4000}[limit])
    target = tmp_path / "my r.json"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with TrialClient(f"file:{target}") as client:
            for n in range(6):
                ran(client, tmp_path, n)
    (told,) = [one for one in caught if issubclass(one.category, TrainingLogWarning)]
    if limit == "MANY":  # the other is passed by the thread that keeps the environment
        assert told.filename == __file__
    command = str(told.message).partition("To move: ")[2]
    assert command == f"traininglog import '{target}' --store '{tmp_path / 'my r.db'}'"
    run("import", target, "--store", tmp_path / "my r.db")
    with TrialClient(tmp_path / "my r.db") as client:
        assert [trial.status for trial in client.fetch_trials()] == [Status.Completed] * 6
