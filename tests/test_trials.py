"""Trials as a program uses them: the ancestor's samples, arguments, files, output, bad input."""

import argparse
import dataclasses
import io
import json
import re
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

from traininglog import (
    CorruptLog,
    InvalidTime,
    LogClosed,
    NotATrainingLog,
    SchemaTooNew,
    SQLiteLog,
    StoreFailed,
    TrainingLogWarning,
    UnknownScheme,
)
from traininglog.jsonfile import FileTrials
from traininglog.kept import path_of
from traininglog.memory.trials import MemoryTrials
from traininglog.trials import (
    AlreadySet,
    GroupNotFound,
    InvalidMetric,
    InvalidName,
    InvalidParameter,
    Multiplexer,
    ParametersFixed,
    Project,
    ProjectNotFound,
    Status,
    Trial,
    TrialClient,
    TrialExists,
    TrialNeedsParameters,
    TrialNotFound,
    TrialStore,
    UnknownStatus,
    compute_version,
    default_version,
    git_version,
    register,
)
from traininglog.trials.surroundings import artifacts


@pytest.fixture
def client():
    return TrialClient("memory:").set_version("1")


@pytest.fixture(params=["memory", "sqlite", "file"])
def where(request, tmp_path):
    return {
        "memory": "memory:",
        "sqlite": str(tmp_path / "runs.db"),
        "file": f"file:{tmp_path}/r.json",
    }[request.param]


# -- the samples of the ancestor ------------------------------------------------------------

SHAPE = [
    "revision", "name", "description", "version", "tags", "parameters", "metadata", "metrics",
    "chronos", "errors", "status",
]  # fmt: skip
COMPLETED = {"value": 302, "name": "Completed"}


def test_the_first_sample(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    client = TrialClient("file://client_test.json")
    client.set_project(name="test_client")
    trial = client.new_trial()
    trial.log_arguments(batch_size=256)
    with trial:
        trial.log_metrics(step=1, epoch_loss=1)
        trial.log_metrics(accuracy=0.98)
    client.save()
    client.report()
    report = json.loads(capsys.readouterr().out)
    assert list(report) == SHAPE
    assert report["metrics"] == {"epoch_loss": {"1": 1}, "accuracy": [0.98]}
    assert report["parameters"] == {"batch_size": 256}
    assert report["status"] == COMPLETED
    assert Path("client_test.json").is_file()


def test_the_second_sample(where, capsys):
    client = TrialClient(where)
    client.set_project(name="paper_78997")
    client.set_group(name="idea_4573")
    trial = client.new_trial(name="final_trial_2", description="almost graduating")
    trial.log_arguments(batch_size=256, lr=0.01, momentum=0.99)
    trial.log_metadata(gpu="V100")
    with trial:
        for e in range(2):
            loss = 2.3 + e
            for _ in range(3):
                with trial.chrono("batch_time"):
                    pass
            trial.log_metrics(step=e, epoch_loss=loss)
        trial.log_metrics(accuracy=0.98)
    assert client.report() is client
    report = json.loads(capsys.readouterr().out)
    assert list(report) == SHAPE
    assert report["description"] == "almost graduating"
    assert report["metadata"] == {"gpu": "V100"}
    assert report["metrics"]["epoch_loss"] == {"0": 2.3, "1": 3.3}
    assert set(report["chronos"]["batch_time"]) == {"avg", "min", "max", "sd", "count", "unit"}
    assert report["chronos"]["batch_time"]["count"] == 6
    assert isinstance(report["chronos"]["runtime"], float)
    assert (report["errors"], report["status"]) == ([], COMPLETED)


def test_the_third_sample(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["main.py", "--lr", "0.5"])
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=1.0)
    parser.add_argument("--epochs", type=int, default=14)
    client = TrialClient("file:mnist_example.json")
    trial = client.new_trial(arguments=parser.parse_args())
    trial.log_metrics(error_rate=1 - (9900 / 10000))
    client.report()
    report = json.loads(capsys.readouterr().out)
    assert report["parameters"] == {"lr": 0.5, "epochs": 14}
    assert report["metrics"]["error_rate"] == [pytest.approx(0.01)]
    assert report["status"] == COMPLETED
    saved = json.loads(Path("mnist_example.json").read_text(encoding="utf-8"))
    assert len(saved["trial"]) == 1


# -- projects, groups, trials ---------------------------------------------------------------


def test_a_project_is_changed_only_by_force(client):
    one = client.set_project(name="one")
    assert client.set_project(name="one") == one
    with pytest.raises(AlreadySet, match="force=True"):
        client.set_project(name="two")
    client.set_group(name="g")
    assert client.set_project("two", force=True) == Project("two")
    assert client.group is None
    with pytest.raises(ProjectNotFound):
        client.set_project(name="three", get_only=True, force=True)
    with pytest.raises(GroupNotFound):
        client.set_group(name="h", get_only=True)
    assert [project.name for project in client.fetch_projects()] == ["one", "two"]
    assert [group.name for group in client.fetch_groups()] == ["g"]


def test_a_trial_that_exists_is_a_revision_an_error_or_gone_on_with(client):
    first = client.new_trial(parameters={"a": 1})
    second = client.new_trial(parameters={"a": 1}, force=True)
    assert (first.trial.revision, second.trial.revision) == (0, 1)
    with pytest.raises(TrialExists):
        client.new_trial(parameters={"a": 1}, exist="raise", force=True)
    assert client.new_trial(parameters={"a": 1}, exist="get", force=True).uid == second.uid
    assert len(client.fetch_trials()) == 2


def test_a_trial_is_set_by_uid_by_hash_or_by_what_defines_it(client):
    client.set_project(name="p")
    made = [client.new_trial(name="t", parameters={"a": 1}, force=True).trial for _ in range(2)]
    for chosen, expected in (
        ({"uid": made[0].uid}, made[0]),
        ({"hash": made[0].hash, "revision": 0}, made[0]),
        ({"hash": made[0].hash}, made[1]),
        ({"name": "t", "parameters": {"a": 1}}, made[1]),
        ({"trial": made[0]}, made[0]),
    ):
        assert client.set_trial(**chosen, force=True).trial == expected
    for wrong in (
        {"uid": "f" * 64 + "_0"}, {"hash": made[0].hash, "revision": 7}, {"name": "other"}, {},
    ):  # fmt: skip
        with pytest.raises(TrialNotFound):
            client.set_trial(**wrong, force=True)
    with pytest.raises(TrialNotFound):
        client.set_trial(uid="no uid", force=True)


def test_the_next_trial_may_come_when_one_has_ended(client):
    for n in range(3):
        with client.new_trial(parameters={"n": n}) as trial:
            trial.log_metrics(step=1, loss=1.0)
    assert len(client.fetch_trials({"status": Status.Completed})) == 3
    with pytest.raises(LogClosed):
        trial.log_metrics(step=2, loss=1.0)


@dataclasses.dataclass
class Options:
    lr: float = 0.1
    layers: tuple = (1, 2)


def test_arguments_come_in_many_forms(client, monkeypatch, capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    monkeypatch.setattr(sys, "argv", ["x"])
    for given in (parser, argparse.Namespace(lr=0.1), {"lr": 0.1}):
        found = client.new_trial(force=True).log_arguments(given, lr=9, extra=1)
        assert isinstance(found, argparse.Namespace)
        assert vars(found) == {"lr": 0.1, "extra": 1}
    client.new_trial(force=True)
    client.get_arguments(Options(), show=True)
    assert "lr: 0.1" in capsys.readouterr().out
    assert client.trial.trial.parameters == {"lr": 0.1, "layers": [1, 2]}


def test_tags_before_the_parameters_are_all_kept(client):
    trial = client.new_trial(tags={"a": 1})
    client.add_tags(b=2)
    client.add_tags(c=3)
    trial.log_arguments(lr=1)
    client.add_tags(d=4)
    assert trial.trial.tags == {"a": 1, "b": 2, "c": 3, "d": 4}


def test_a_version_is_given_or_asked_for_when_it_is_needed(tmp_path):
    asked = []
    client = TrialClient("memory:").set_version(version_fun=lambda: asked.append(1) or "asked")
    assert asked == []
    assert client.new_trial(parameters={}).trial.version == "asked"
    assert client.set_version(lambda: "too").new_trial(parameters={}, force=True).trial.version == (
        "too"
    )
    assert client.set_version("given").new_trial(parameters={}, force=True).trial.version == "given"
    assert client.new_trial(parameters={}, version="own", force=True).trial.version == "own"


def test_the_default_version_is_of_the_script_and_of_its_repository(tmp_path, monkeypatch):
    script = tmp_path / "train.py"
    script.write_text("from traininglog.trials import default_version\nprint(default_version())\n")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))

    def version():
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def git(*words):
        names = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        subprocess.run(["git", *names, *words], cwd=tmp_path, check=True, capture_output=True)

    digest = compute_version([script])[:12]
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert version() == digest
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    commit = git_version(tmp_path)
    assert version() == f"{digest}-g{commit}"
    script.write_text(script.read_text() + "# changed\n")
    edited = git_version(tmp_path)
    assert re.fullmatch(rf"{commit}\+[0-9a-f]{{8}}", edited)
    assert version() == f"{compute_version([script])[:12]}-g{edited}"
    assert default_version() != version()


def test_each_uncommitted_edit_of_a_repository_is_a_version_of_its_own(tmp_path):
    """Of any tracked file, by contents, name, kind and mode; an edit made again is the same."""

    def git(*words, cwd=tmp_path):
        names = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        subprocess.run(["git", *names, *words], cwd=cwd, check=True, capture_output=True)

    below = tmp_path / "below"
    below.mkdir()
    model, data = below / "modèl.py", tmp_path / "data.bin"
    model.write_text("one\n")
    data.write_bytes(b"\0\xff" * 1000)
    inner = tmp_path / "inner"
    inner.mkdir()
    git("init", cwd=inner)
    (inner / "a.py").write_text("inner\n")
    git("add", ".", cwd=inner)
    git("commit", "-m", "inner", cwd=inner)
    git("init")
    git("config", "diff.relative", "true")
    git("add", ".")
    git("commit", "-m", "first")
    committed = git_version(below)
    assert committed.isalnum()

    def edited(change, undo):
        change()
        version = git_version(below)
        undo()
        assert git_version(below) == committed
        return version

    def text(path, contents, before):
        return edited(lambda: path.write_bytes(contents), lambda: path.write_bytes(before))

    versions = [
        text(model, b"two\n", b"one\n"),
        text(model, b"three\n", b"one\n"),
        text(model, b"", b"one\n"),
        edited(model.unlink, lambda: model.write_text("one\n")),
        edited(lambda: model.chmod(0o755), lambda: model.chmod(0o644)),
        text(data, b"\0\xfe" * 1000, b"\0\xff" * 1000),
        text(inner / "a.py", b"x\n", b"inner\n"),
        text(inner / "a.py", b"y\n", b"inner\n"),
    ]
    assert all(version.startswith(f"{committed}+") for version in versions)
    assert len(set(versions)) == len(versions)
    assert text(model, b"two\n", b"one\n") == versions[0]
    (tmp_path / "untracked.txt").touch()
    assert git_version(below) == committed


# -- arguments ------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [False, True])
def test_arguments_are_given_as_the_ancestor_names_them(made, capsys):
    def client():
        new = TrialClient("memory:").set_version("1")
        if made:
            new.new_trial()
        return new

    for call in (
        lambda one: one.log_arguments({"lr": 0.1}, True),
        lambda one: one.log_arguments(args={"lr": 0.1}, show=True),
        lambda one: one.get_arguments(args={"lr": 0.1}, show=True),
        lambda one: one.log_arguments(arguments={"lr": 0.1}, show=True),
        lambda one: one.log_arguments(args=argparse.Namespace(lr=0.1), show=True),
        lambda one: one.log_arguments(show=True, lr=0.1),
    ):
        one = client()
        assert vars(call(one)) == {"lr": 0.1}
        assert one.trial.trial.parameters == {"lr": 0.1}
        assert capsys.readouterr().out == "lr: 0.1\n"
    with pytest.raises(InvalidParameter, match="use vars"):
        client().log_arguments(args=3)


def test_secrets_among_the_arguments_of_a_command_line_are_not_stored(client):
    namespace = argparse.Namespace(lr=0.1, api_key="abc", sort_key="loss")
    assert client.log_arguments(namespace).api_key == "abc"
    assert client.trial.trial.parameters == {"lr": 0.1, "api_key": "***", "sort_key": "loss"}
    assert client.log_arguments(namespace).api_key == "abc"  # the same again
    client.finish()
    assert client.set_trial(parameters=namespace, version="1").uid == client.trial.uid
    # What is no command line's is stored as it was given.
    given = client.new_trial(parameters={"api_key": "abc"}, force=True).trial.parameters
    assert given == {"api_key": "abc"}


@pytest.mark.parametrize("uid", ["does_not_exist", "none", "", "f" * 64 + "_0", "a_b", "1f3a_-1"])
def test_a_trial_that_is_not_there_is_not_found_whatever_its_uid_looks_like(
    where, uid, monkeypatch
):
    client = TrialClient(where)
    store = client.store
    for ask in (
        lambda: client.set_trial(uid=uid),
        lambda: client.set_trial(uid),
        lambda: store.trial(uid),
        lambda: store.set_trial_status(uid, "Running"),
        lambda: store.log_trial_metrics(uid, loss=1.0),
        lambda: store.add_trial_tags(uid, a=1),
        lambda: store.log_trial_finish(uid),
        lambda: store.resume(uid),
        lambda: store.find(uid),
    ):
        with pytest.raises(TrialNotFound, match="no trial"):
            ask()
    assert store.get_trial(uid) == []
    if uid:
        monkeypatch.setenv("TRAININGLOG_TRIAL", uid)
        with pytest.raises(TrialNotFound, match="no trial"):
            TrialClient(where)


def test_metrics_are_logged_by_the_client_with_steps_and_without(where):
    """Without a step they are a series, in the order in which they came."""
    client = TrialClient(where).set_version("1")
    client.new_trial(parameters={})
    for number in range(3):
        client.log_metrics(cost=number)
        client.log_metrics(number, loss=number / 2)
        client.log_metrics(cost=number + 0.5, other=1)
    client.finish()
    (found,) = client.fetch_trials()
    assert found.metrics == {
        "cost": [0, 0.5, 1, 1.5, 2, 2.5], "loss": {0: 0.0, 1: 0.5, 2: 1.0}, "other": [1, 1, 1],
    }  # fmt: skip
    with pytest.raises(TrialNotFound, match="no trial was set"):
        TrialClient("memory:").log_metrics(cost=1)


# -- what is logged -------------------------------------------------------------------------


def test_output_is_shown_and_its_last_lines_are_kept(client, capsys):
    before = sys.stdout, sys.stderr
    with client.new_trial(parameters={}) as trial:
        with trial.capture_output(3) as output:
            print("one", "two")
            print("three", end="")
            print(" four")
            print("10%\r20%\r100%", file=sys.stderr)
            print("five")
            print("begun", end="")
        assert output.lines == ["100%", "five", "begun"]
        assert trial.log.status["output"] == output.lines
        with pytest.raises(ValueError, match="x"), trial.capture_output():  # noqa: PT012
            sys.stdout = io.StringIO()
            raise ValueError("x")
    assert (sys.stdout, sys.stderr) == before
    shown = capsys.readouterr()
    assert shown.out == "one two\nthree four\nfive\nbegun"
    assert shown.err == "10%\r20%\r100%\n"


def test_files_are_kept_once_and_restored(where, tmp_path):
    folder = tmp_path / "code"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.py").write_text("a")
    (folder / "deep" / "b.py").write_text("b")
    (folder / "link").symlink_to("/etc/passwd")
    client = TrialClient(where)
    for _ in range(2):
        with client.new_trial(parameters={}, version="1") as trial:
            trial.log_directory(folder)
            trial.log_file(folder / "a.py", name="again.py")
            trial.log_code(folder / "a.py")
    kept = trial.trial.artifacts
    assert [one["name"] for one in kept] == ["code/a.py", "code/deep/b.py", "again.py", "a.py"]
    store = client.store.records.artifacts
    assert len([path for path in store.rglob("*") if path.is_file()]) == 2
    artifacts.restore(store, kept, tmp_path / "new")
    assert (tmp_path / "new" / "code" / "deep" / "b.py").read_text() == "b"
    path_of(store, kept[0]["sha256"]).write_text("changed")
    with pytest.raises(CorruptLog, match="not what was kept"):
        artifacts.restore(store, kept, tmp_path / "other")
    with pytest.raises(InvalidName):
        client.set_trial(trial.uid).log_file(folder / "a.py", name="../../evil.py")
    with pytest.raises(FileNotFoundError):
        client.trial.log_file(tmp_path / "missing")
    with pytest.raises(InvalidName):
        artifacts.restore(store, [kept[0] | {"name": "../evil"}], tmp_path / "new")
    assert not (tmp_path / "evil").exists()


def test_a_folder_is_kept_without_the_store_that_is_in_it(where, tmp_path):
    """To open and close a database as a plain file would drop the locks that this process has."""
    (tmp_path / "train.py").write_text("code")
    client = TrialClient(where)
    with client.new_trial(parameters={}, version="1") as trial, SQLiteLog(tmp_path / "other.db"):
        trial.log_metrics(step=1, loss=0.5)
        for _ in range(2):
            trial.log_directory(tmp_path, name="all")
        if where != "memory:":
            with pytest.raises(InvalidName, match="backup"):
                trial.log_file(where.removeprefix("file:"))
    assert [one["name"] for one in trial.trial.artifacts] == ["all/train.py"]


def test_the_environment_is_looked_up_beside_the_program(client):
    with client.new_trial(parameters={}) as trial:
        start = time.thread_time()
        trial.log_metrics(step=1, loss=1.0)
        taken = time.thread_time() - start
    found = client.store.environment(trial.trial)
    assert found["python"] == sys.version.split()[0]
    assert found["packages"]["pytest"] == pytest.__version__
    assert found["command"]
    assert taken < 0.05  # of this thread's own time; the figure itself is benchmarks/trials.py's


def test_how_long_it_takes_is_shown(client, capsys):
    trial = client.new_trial(parameters={})
    with pytest.raises(ValueError, match="set_eta_total"):
        trial.show_eta(1)
    trial.set_eta_total((5, 10))
    with trial.chrono("step") as timer:
        pass
    line = trial.show_eta((1, 2), timer, msg="loss 0.5")
    assert line.startswith("[1/5] [ 2/10] | ETA")
    assert line.endswith("min loss 0.5")
    trial.set_eta_total(2)
    assert "Elapsed" in trial.show_eta(2, no_print=True)
    assert [trial.show_eta(n, throttle=2, no_print=True) is None for n in range(4)] == [
        False, True, False, True,
    ]  # fmt: skip
    assert capsys.readouterr().out == line + "\n"


def test_a_trial_is_a_log_and_a_frame(where):
    client = TrialClient(where)
    with client.new_trial(parameters={"lr": 0.1}, version="1", name="t") as trial:
        for step in range(1, 4):
            trial.log_metrics(step=step, loss=1 / step)
        trial.log[3]["note"] = "whatever a log takes"
        assert trial.to_dataframe()["loss"].to_list() == [1, 1 / 2, 1 / 3]
        assert trial.log.status["name"] == "t"
    assert trial.to_dataframe(keys="loss").index.to_list() == [1, 2, 3]
    frame = client.to_dataframe(best={"loss": "max"})
    assert frame[["status", "parameters.lr", "loss", "best.loss"]].to_dict("records") == [
        {"status": "Completed", "parameters.lr": 0.1, "loss": 1 / 3, "best.loss": 1.0}
    ]
    assert frame["runtime"][0] > 0
    assert len(client.to_dataframe({"name": "other"})) == 0


def test_no_two_columns_of_the_list_of_trials_have_one_name(where):
    client = TrialClient(where)
    with client.new_trial(parameters={"lr": 1}, version="1", name="t") as trial:
        metrics = {"parameters.lr": 2, "status": 3, "metrics.status": 4, "loss": 5, "best.loss": 6}
        trial.log_metrics(step=1, **metrics)
    frame = client.to_dataframe(best="loss")
    assert len(set(frame.columns)) == len(frame.columns) == 11 + 7
    assert frame["parameters.lr"].to_list() == [1]
    assert sorted(frame.iloc[0, 11:].to_list()) == [1, 2, 3, 4, 5, 5, 6]
    assert frame["status"].to_list() == ["Completed"]


def test_a_device_is_named(client):
    assert str(client.get_device()) in ("cpu", "cuda")


# -- stores ---------------------------------------------------------------------------------


def test_the_document_is_whole_whenever_it_is_read(tmp_path):
    path = tmp_path / "r.json"
    client = TrialClient(f"file:{path}")
    wrong, stop = [], threading.Event()

    def read():
        while not stop.is_set():
            try:
                json.loads(path.read_text(encoding="utf-8"))
            except FileNotFoundError:
                pass
            except ValueError as error:
                wrong.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(10):
        with client.new_trial(parameters={"n": n}, version="1") as trial:
            trial.log_metrics(step=1, loss=1.0)
    stop.set()
    reader.join()
    assert wrong == []
    assert sorted(found.name for found in tmp_path.iterdir()) == ["r.json", "r.json-lock"]


def test_a_multiplexer_writes_to_all_and_reads_the_first(tmp_path):
    client = TrialClient(Multiplexer(tmp_path / "a.db", f"file:{tmp_path}/b.json", "memory:"))
    client.set_project(name="p")
    with client.new_trial(parameters={"a": 1}, version="1") as trial:
        for step in range(5):
            trial.log_metrics(step=step, loss=step / 2)
        trial.log_metrics(accuracy=0.5)
    again = client.set_trial(trial.uid)
    with again:
        again.log_metrics(step=5, loss=2.5)
        again.log_file(__file__)
    for where in (tmp_path / "a.db", f"file:{tmp_path}/b.json"):
        (found,) = TrialClient(where).fetch_trials()
        assert found.uid == trial.uid
        assert found.status is Status.Completed
        assert found.metrics == {"loss": {n: n / 2 for n in range(6)}, "accuracy": [0.5]}
        artifacts.restore(
            TrialClient(where).store.records.artifacts, found.artifacts,
            tmp_path / f"restored{len(str(where))}",
        )  # fmt: skip


class _Full(MemoryTrials):
    """A store whose disk is full."""

    location = "full:"

    def insert(self, kind, record):
        raise StoreFailed("no space left on device")


def test_a_follower_that_fails_costs_no_trial():
    client = TrialClient(Multiplexer("memory:", _Full()))
    with pytest.warns(TrainingLogWarning, match="full: is left out"):
        client.set_project(name="p")
    with client.new_trial(parameters={}) as trial:
        trial.log_metrics(step=1, loss=1.0)
    assert trial.trial.metrics == {"loss": {1: 1.0}}
    with pytest.raises(StoreFailed):
        TrialClient(Multiplexer(_Full(), "memory:")).set_project(name="p")


def test_a_store_of_ones_own_is_registered():
    made = []

    def factory(where, **options):
        made.append((where, options))
        return MemoryTrials()

    register("byob", factory)
    client = TrialClient("byob://anywhere", colour="blue")
    assert made == [("byob://anywhere", {"colour": "blue"})]
    assert client.new_trial(parameters={}).trial.status is Status.CreatedGroup
    for scheme in ("", "x", "a b", 1):
        with pytest.raises(ValueError, match="scheme"):
            register(scheme, factory)
    with pytest.raises(UnknownScheme, match=r"byob:.*file:.*memory:"):
        TrialClient("cockroach://127.0.0.1:8123")


def test_everything_is_saved_into_one_document(client, tmp_path):
    client.set_project(name="p")
    with client.new_trial(parameters={"a": 1}) as trial:
        trial.log_metrics(step=3, loss=0.5)
        trial.log_metrics(accuracy=1.0)
    client.save(tmp_path / "all.json")
    (found,) = TrialClient(f"file:{tmp_path}/all.json").fetch_trials()
    assert found.metrics == {"loss": {3: 0.5}, "accuracy": [1.0]}


def test_a_trial_whose_run_was_deleted_is_still_listed(tmp_path):
    from traininglog import Store

    with TrialClient(tmp_path / "runs.db") as client:
        with client.new_trial(parameters={}, version="1") as trial:
            trial.log_metrics(step=1, loss=1.0)
        with Store(tmp_path / "runs.db") as store:
            store.delete(trial.trial.log)
        (found,) = client.fetch_trials()
        assert found.metrics == {}
        assert len(client.to_dataframe()) == 1


# -- bad input ------------------------------------------------------------------------------


def test_a_trial_without_parameters_takes_nothing_but_those(client):
    trial = client.new_trial(name="t")
    for use in (
        lambda: trial.log_metrics(step=1, loss=1.0),
        lambda: trial.log_metadata(a=1),
        lambda: trial.set_status(Status.Suspended),
        lambda: trial.chrono("x"),
        trial.start,
        trial.finish,
        client.report,
    ):
        with pytest.raises(TrialNeedsParameters, match="log_arguments"):
            use()
    assert client.fetch_trials() == []
    trial.log_arguments()
    assert trial.trial.parameters == {}


def test_a_second_trial_is_refused_while_one_is_set(client):
    first = client.new_trial(parameters={"a": 1})
    with pytest.raises(AlreadySet, match="force=True"):
        client.new_trial(parameters={"a": 2})
    with pytest.raises(AlreadySet):
        client.set_trial(first.uid)
    assert client.trial is first
    assert len(client.fetch_trials()) == 1


def test_parameters_are_not_changed_afterwards(client):
    trial = client.new_trial(parameters={"a": 1})
    trial.log_arguments(a=1)
    for other in ({"a": True}, {"a": 2}, {"b": 1}):
        with pytest.raises(ParametersFixed, match="log_metadata"):
            trial.log_arguments(other)


@pytest.mark.parametrize("value", ["0.5", None, [1.0], {"a": 1}, b"1", object(), {1}])
def test_a_metric_is_a_number(client, value):
    trial = client.new_trial(parameters={})
    with pytest.raises(InvalidMetric):
        trial.log_metrics(step=1, good=1.0, loss=value)
    assert trial.trial.metrics == {}


@pytest.mark.parametrize("step", ["1", 1.0, True, -1, 2**63])
def test_a_step_is_an_integer(client, step):
    trial = client.new_trial(parameters={})
    trial.log_metrics(step=1, loss=1.0)
    with pytest.raises(InvalidTime):
        trial.log_metrics(step=step, loss=2.0)
    assert trial.trial.metrics == {"loss": {1: 1.0}}


def test_numbers_of_other_libraries_are_numbers(client):
    np = pytest.importorskip("numpy")
    trial = client.new_trial(parameters={"lr": np.float64(0.5), "layers": np.arange(2)})
    trial.log_metrics(step=np.int64(3), loss=np.float32(0.25), n=np.int8(1))
    assert trial.trial.metrics == {"loss": {3: 0.25}, "n": {3: 1}}
    assert trial.trial.parameters == {"lr": 0.5, "layers": [0, 1]}


@pytest.mark.parametrize(
    "name", ["", "n" * 10_000, "../up", "a/b", "..", "a\\b", "a\0b", "line\nbreak", 1]
)
def test_names_that_cannot_be(where, name):
    client = TrialClient(where)
    for use in (
        lambda: client.set_project(name=name),
        lambda: client.set_group(name=name, project_id="p"),
        lambda: client.new_trial(name=name),
        lambda: client.new_trial(project_id=name, parameters={}),
    ):
        with pytest.raises(InvalidName):
            use()
    assert client.fetch_projects() == []
    assert client.fetch_trials() == []


@pytest.mark.parametrize("value", [{1}, object(), print, {1: 2}, b"x", 1j])
def test_parameters_are_plain_data(client, value):
    with pytest.raises(InvalidParameter):
        client.new_trial(parameters={"a": value})
    assert client.fetch_trials() == []
    deep = []
    deep.append(deep)
    with pytest.raises(InvalidParameter):
        client.new_trial(parameters={"a": deep}, force=True)


def test_a_status_that_does_not_exist(client):
    trial = client.new_trial(parameters={})
    with pytest.raises(UnknownStatus, match="Completed"):
        trial.set_status("Finnished")
    assert trial.status is Status.CreatedGroup


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"format": "traininglog trials", "version": 1', CorruptLog),
        ("\xff\xfe", CorruptLog),
        ('{"a": 1}', NotATrainingLog),
        ("[]", NotATrainingLog),
        ('{"format": "traininglog trials", "version": 2}', SchemaTooNew),
    ],
)
def test_a_document_that_cannot_be_read_is_left_as_it_is(tmp_path, text, error):
    path = tmp_path / "r.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(error, match="left as it is"):
        TrialClient(f"file:{path}")
    assert path.read_text(encoding="latin-1") == text
    assert [found.name for found in tmp_path.iterdir()] == ["r.json"]
    with pytest.raises(UnknownScheme):
        TrialClient("file:")


def test_a_document_that_breaks_while_it_is_open(tmp_path):
    path = tmp_path / "r.json"
    store = TrialStore(FileTrials(path))
    store.new_project(Project("p"))
    path.write_text("{", encoding="utf-8")
    with pytest.raises(CorruptLog):
        store.new_trial(Trial("t", project_id="p"))
    assert path.read_text(encoding="utf-8") == "{"


def test_what_could_not_be_written_does_not_hide_what_went_wrong(tmp_path):
    path = tmp_path / "r.json"
    client = TrialClient(f"file:{path}")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with (  # noqa: PT012 - what is raised is raised in a block
            pytest.raises(ValueError, match="first"),
            client.new_trial(parameters={}) as trial,
        ):
            trial._environment.join()
            path.write_text("{", encoding="utf-8")
            raise ValueError("first")
    assert any("could not be written" in str(one.message) for one in said)
    trial._ended = True  # or the end of the interpreter would try again
