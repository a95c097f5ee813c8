"""The page of the ancestors' names says what is so: what stands there as being here is here."""

import importlib
import inspect
import json
import re
from pathlib import Path

import pytest

from traininglog import MissingExtra
from traininglog.trials import (
    CustomStatus,
    Project,
    RingAggregator,
    StatAggregator,
    Status,
    TrialClient,
    TrialGroup,
)

PAGE = Path(__file__).parent.parent / "docs" / "ancestors.md"
STATES = {"works", "renamed", "changed", "left out"}

#: A name, and the parameters that it is said to take.
NAME = re.compile(r"`([A-Za-z_][\w.]*)(?:\(([^)`]*)\))?`")


def rows():
    heading = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            heading = line[3:]
        elif line.startswith("| ") and not line.startswith("| there"):
            _, *cells, _ = (cell.strip() for cell in line.split("|"))
            yield heading, *cells


ROWS = list(rows())


def found(path):
    """Return what a dotted name means within the package, or raise AttributeError."""
    parts = path.split(".")
    thing, owner = importlib.import_module("traininglog"), None
    for part in parts:
        try:
            owner, thing = thing, getattr(thing, part)
        except AttributeError:
            if inspect.ismodule(thing):
                thing = importlib.import_module(f"{thing.__name__}.{part}")
            elif any(
                re.search(rf"\bself\.{part}\b\s*(:|=)", inspect.getsource(kind))
                for kind in thing.__mro__[:-1]
                if kind.__module__.startswith("traininglog")
            ):
                return owner, None  # an attribute that each object has
            else:
                raise
    return owner, thing


def test_the_page_has_the_names_of_all_five():
    assert len(ROWS) > 100
    assert {heading.split(":")[0] for heading, *_ in ROWS} == {
        "Blocks", "sconce", "tfsnippet", "monitorch", "Track",
    }  # fmt: skip
    for _, there, here, state, why in ROWS:
        assert there
        assert state in STATES, (there, state)
        if state in ("works", "changed"):
            assert here, there
        if state in ("changed", "left out"):
            assert why, f"{there}: the reason is missing"


@pytest.mark.parametrize("row", ROWS, ids=[row[1][:60] for row in ROWS])
def test_what_is_said_to_be_here_is_here_with_its_parameters(row):
    _, _, here, _, _ = row
    names = NAME.findall(here)
    assert bool(names) == bool(here.strip())
    for path, parameters in names:
        try:
            _, thing = found(path)
        except MissingExtra as error:
            pytest.skip(f"could not import 'torch': {error}")
        if parameters:
            taken = inspect.signature(thing).parameters
            missing = [name for name in map(str.strip, parameters.split(",")) if name not in taken]
            assert not missing, f"{path} takes {list(taken)}"


@pytest.mark.parametrize(
    "name", ["trials.TrialClient.nothing", "nothing", "trials.Trial.nothing", "loop.nothing.x"]
)
def test_a_name_that_is_not_here_would_be_found_out(name):
    with pytest.raises((AttributeError, ModuleNotFoundError)):
        found(name)


def test_a_program_of_track_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    """Each of the verbs of its client and its logger, called as its documents do."""
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text("pass")
    Path("data").mkdir()
    Path("data/a.txt").write_text("a")
    client = TrialClient("file://track_test.json")
    client.set_project(Project(name="paper", description="about", tags={"team": "x"}))
    client.set_group(TrialGroup(name="idea", project_id="paper"), force=True)
    client.set_version(version_fun=lambda: "1.0")
    trial = client.new_trial(name="final", description="almost", force=True)
    arguments = client.get_arguments(args={"lr": 0.1}, show=False, epochs=2)
    assert (arguments.lr, arguments.epochs) == (0.1, 2)
    client.add_tags(seed=1).add_tags(kind="test")
    assert str(client.get_device()) in ("cpu", "cuda")
    with client:
        trial.capture_output(50)
        trial.set_eta_total((2, 2))
        for epoch in range(2):
            for batch in range(2):
                with trial.chrono("batch", start_callback=lambda: None) as timer:
                    client.log_metrics(cost=epoch + batch)
                trial.show_eta((epoch, batch), timer, msg="of it")
            client.log_metrics(step=epoch, loss=1.0 / (epoch + 1))
            trial.log_metrics(aggregator=StatAggregator.lazy(0), stat=epoch)
            trial.log_metrics(aggregator=RingAggregator.lazy(1), ring=epoch)
        trial.log_metadata(gpu="V100")
        trial.log_code("train.py")
        trial.log_file("train.py")
        trial.log_directory("data")
        client.save(file_name_override="saved.json")
        client.save(file_name_override="saved.json")
    client.report(short=True)
    out = capsys.readouterr().out
    assert out.count("of it") == 4
    assert json.loads(out[out.index("{") :])["status"]["name"] == "Completed"
    for name in ("track_test.json", "saved.json"):
        with TrialClient(f"file://{name}") as again:
            (found,) = again.fetch_trials({"tags.team": "x", "parameters.lr": {"$lte": 0.1}})
            assert found.metrics["cost"] == [0, 1, 1, 2]
            assert found.metrics["loss"] == {0: 1.0, 1: 0.5}
            assert found.metrics["stat"]["count"] == 2
            assert found.tags == {"seed": 1, "kind": "test"}
            assert found.version == "1.0"
            (group,) = again.fetch_groups({"name": "idea"})
            assert group.trials == [found]
    assert found.status is Status.Running
    with TrialClient("file:track_test.json") as again:
        (found,) = again.fetch_trials()
        assert found.status is Status.Completed
        assert found.chronos["batch"]["count"] == 4
        assert {one["name"] for one in found.artifacts} == {"train.py", "data/a.txt"}
        again.set_trial(hash=found.hash, revision=0).set_status(CustomStatus("Kept", 350))
        assert again.trial.status == CustomStatus("Kept", 350)
