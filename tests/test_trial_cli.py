"""The command line on trials."""

import json
import re

import pytest
from command_line import run

from traininglog.trials import TrialClient


@pytest.fixture(params=["sqlite", "file"])
def where(request, tmp_path):
    return str(tmp_path / "runs.db") if request.param == "sqlite" else f"file:{tmp_path}/r.json"


@pytest.fixture
def trials(where, tmp_path):
    """Two trials that completed, and one that failed."""
    code = tmp_path / "train.py"
    code.write_text("print('train')\n", encoding="utf-8")
    made = []
    with TrialClient(where) as client:
        client.set_project(name="paper", description="about\x1b[31m colours")
        client.set_group(name="idea")
        for n in range(2):
            with client.new_trial(name=f"t{n}", version="1", parameters={"lr": 0.1 * n}) as trial:
                for step in range(1, 6):
                    trial.log_metrics(step=step, loss=1 / (step + n))
                trial.log_code(code)
            made.append(trial.uid)
        with (
            pytest.raises(ValueError, match="no luck"),
            client.new_trial(name="failed", version="1", parameters={}) as trial,
        ):
            raise ValueError("no luck")
        made.append(trial.uid)
    return made


def test_trials_are_listed_with_parameters_and_last_metrics(where, trials):
    shown = run("trials", "--store", where).stdout.splitlines()
    assert shown[0].split() == ["TRIAL", "PROJECT", "NAME", "STATUS", "CREATED", "lr", "loss"]
    assert [line.split()[0] for line in shown[1:]] == [f"{uid[:8]}_0" for uid in trials]
    assert shown[2].split()[-2:] == ["0.1", "0.166667"]
    assert "Exception" in shown[3]
    found = json.loads(run("trials", "--store", where, "--json").stdout)
    assert [line["metrics"] for line in found] == [{"loss": 1 / 5}, {"loss": 1 / 6}, {}]
    assert found[1]["parameters"] == {"lr": 0.1}


def test_groups_and_inherited_tags_are_shown(where, trials):
    with TrialClient(where) as client:
        client.set_project(name="tagged", tags={"team": "x", "kind": "of the project"})
        one, other = client.set_group(name="one"), client.set_group(name="two", force=True)
        trial = client.new_trial(version="1", parameters={}, tags={"kind": "its own"}, groups=[one])
        uid = trial.trial.uid
        assert {*trial.trial.groups} == {one.uid, other.uid}
        frame = client.to_dataframe({"project_id": "tagged"})
        assert frame.loc[0, ["tags.team", "tags.kind"]].tolist() == ["x", "its own"]
        assert sorted(frame.loc[0, "group"].split(", ")) == ["one", "two"]
        # A trial without a tag has none: what is absent is missing.
        assert client.to_dataframe()["tags.team"].isna().tolist() == [True, True, True, False]
    shown = run("trial", "show", uid, "--store", where).stdout
    assert re.search(r"groups +(two, one|one, two)", shown)
    assert re.search(r"team +x", shown)
    assert re.search(r"kind +its own", shown)
    found = json.loads(run("trials", "--store", where, "--project", "tagged", "--json").stdout)
    assert found[0]["tags"] == {"team": "x", "kind": "its own"}


def test_trials_are_chosen(where, trials):
    def listed(*options):
        found = json.loads(run("trials", "--store", where, "--json", *options).stdout)
        return [line["uid"] for line in found]

    assert listed("--status", "exception") == trials[2:]
    assert listed("--project", "paper", "-n", "1") == trials[2:]
    assert listed("--project", "other") == []
    assert "no trials like that" in run("trials", "-s", where, "-p", "other").stderr
    assert "Finnished" in run("trials", "-s", where, "--status", "Finnished", status=1).stderr


def test_a_trial_is_shown_and_reported(where, trials):
    shown = run("trial", "show", trials[0][:8], "-s", where).stdout
    lines = [line.split() for line in shown.splitlines()]
    for line in (
        ["trial", trials[0]], ["status", "Completed"], ["project", "paper"], ["group", "idea"],
        ["PARAMETER", "VALUE"], ["lr", "0"], ["loss", "5", "0.2", "@", "5"],
    ):  # fmt: skip
        assert line in lines
    failed = run("trial", "show", trials[2], "-s", where).stdout
    assert ["error", "ValueError:", "no", "luck"] in [line.split() for line in failed.splitlines()]
    report = json.loads(run("trial", "report", trials[0], "-s", where).stdout)
    assert report["metrics"]["loss"]["5"] == 0.2
    assert report["status"] == {"value": 302, "name": "Completed"}
    found = json.loads(run("trial", "show", trials[0], "-s", where, "--json").stdout)
    assert found["environment"]["python"].startswith("3.")
    assert "no trial" in run("trial", "show", "0000", "-s", where, status=1).stderr


def test_a_trial_that_is_not_named_is_the_latest(where, trials):
    found = json.loads(run("trial", "show", "-s", where, "--json").stdout)
    assert found["uid"] == trials[2]
    assert json.loads(run("trial", "report", "-s", where).stdout)["name"] == "failed"
    assert json.loads(run("trial", "files", "-s", where, "--json").stdout) == []


def test_of_a_store_without_trials_there_is_no_latest(tmp_path):
    TrialClient(tmp_path / "runs.db").close()
    for command in ("show", "report", "files"):
        assert "no trial" in run("trial", command, "-s", tmp_path / "runs.db", status=1).stderr


def test_two_trials_are_compared(where, trials):
    found = json.loads(run("trial", "diff", *trials[:2], "-s", where, "--json").stdout)
    differences = {line["name"]: (line.get("a"), line.get("b")) for line in found["differences"]}
    assert differences == {
        "name": ("t0", "t1"),
        "parameters.lr": (0.0, 0.1),
        "metrics.loss": (1 / 5, 1 / 6),
    }
    assert "parameters.lr" in run("trial", "diff", *trials[:2], "-s", where).stdout
    assert "the same" in run("trial", "diff", trials[0], trials[0], "-s", where).stdout


def test_files_are_listed_and_restored(where, trials, tmp_path):
    assert "train.py" in run("trial", "files", trials[0], "-s", where).stdout
    run("trial", "restore", trials[0], "--to", tmp_path / "new", "-s", where)
    assert (tmp_path / "new" / "train.py").read_text(encoding="utf-8") == "print('train')\n"
    again = run("trial", "restore", trials[0], "--to", tmp_path / "new", "-s", where, status=1)
    assert "exists already" in again.stderr


def test_projects_are_listed(where, trials):
    shown = run("project", "ls", "-s", where).stdout
    assert "\x1b" not in shown
    assert shown.splitlines()[1].split()[:3] == ["paper", "3", "idea"]
    (found,) = json.loads(run("project", "ls", "-s", where, "--json").stdout)
    assert (found["trials"], found["groups"]) == (3, ["idea"])


def test_looking_makes_no_store(tmp_path):
    run("trials", "-s", tmp_path / "none.db", status=1)
    run("trials", "-s", f"file:{tmp_path}/none.json", status=1)
    assert list(tmp_path.iterdir()) == []


def test_every_command_about_trials_has_help_with_an_example():
    for group, names in (
        ("trial", ["show", "report", "diff", "files", "restore"]), ("project", ["ls"]),
    ):  # fmt: skip
        overview = run(group, "--help").stdout
        assert "..." not in overview.split("Commands:")[1]
        for name in names:
            assert f"\n  {name} " in overview
            assert f"Example: traininglog {group} {name}" in run(group, name, "--help").stdout
