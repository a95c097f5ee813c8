"""The demo keeps what it promises; it is run once, in full, and looked at from all sides."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from traininglog import MissingExtra, Store, demo

STEPS = 1000


class Run(NamedTuple):
    """The demo as it ran."""

    folder: Path
    status: int
    said: str


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("demo") / "new"
    lines = []
    status = demo.main(folder, echo=lines.append)
    return Run(folder, status, "\n".join(lines))


@pytest.fixture
def store(run):
    with Store(run.folder / "runs.db", readonly=True) as store:
        yield store


def test_it_succeeds_and_says_what_happened(run):
    assert run.status == 0, run.said
    for words in ("kill -9", "lost", "finished", "exactly once", "curves.png"):
        assert words in run.said


def test_the_killed_run_is_lost_and_the_resumed_one_finished(store):
    runs = store.runs(heads=False)
    assert list(runs["state"]) == ["lost", "finished"]
    lost, resumed = runs["uuid"]
    assert runs["resumed_from"][1] == lost
    with store.log(resumed, readonly=True) as log:
        assert [uuid.hex for uuid, _ in log.lineage()] == [resumed, lost]
        assert log.status["resumed_from"] == lost
        assert log.status["iterations_done"] == STEPS


def test_the_two_are_one_line(store):
    (line,) = store.iter_runs()
    assert (line.state, line.resumes) == ("finished", 1)
    assert (line.first_time, line.last_time, line.rows) == (1, STEPS, STEPS)


def test_the_resumed_run_shows_each_step_exactly_once(store):
    """No ghost rows: after the resume point all is the run's own, though the lost one has more."""
    lost_uuid, resumed_uuid = store.runs(heads=False)["uuid"]
    with (
        store.log(lost_uuid, readonly=True) as lost,
        store.log(resumed_uuid, readonly=True) as resumed,
    ):
        point = resumed.lineage()[0].resumed_at
        stitched, own, old = (
            resumed.to_dataframe(),
            resumed.to_dataframe(lineage=False),
            lost.to_dataframe(),
        )
    assert list(stitched.index) == list(range(1, STEPS + 1))
    assert stitched["loss"].notna().all()
    assert stitched.loc[point + 1 :].equals(own)
    assert stitched.loc[:point].equals(old.loc[:point])
    assert (stitched["loss"].loc[point + 1 : old.index[-1]] != old["loss"].loc[point + 1 :]).all()


def test_the_lost_run_keeps_its_own_tail(store):
    lost_uuid = store.runs(heads=False)["uuid"][0]
    point = store.runs(heads=False)["resumed_at"][1]
    with store.log(lost_uuid, readonly=True) as lost:
        assert point < len(lost) < STEPS
        assert list(lost) == list(range(1, len(lost) + 1))


def test_it_learned_something(store):
    with store.log(store.latest(), readonly=True) as log:
        assert log.best("accuracy", "max").value > 0.9


def test_the_checkpoint_needs_no_pickle_and_knows_its_place_in_the_log(run, store):
    with np.load(run.folder / "checkpoint.npz", allow_pickle=False) as saved:
        state = json.loads(saved["log"].item())
        assert {"w1", "w1_velocity"} <= set(saved)
    assert state["uuid"] == store.latest().hex
    assert state["time"] == state["status"]["iterations_done"] == STEPS


def test_the_picture_is_there(run):
    assert (run.folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (run.folder / "curves.png").stat().st_size > 20_000


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    """Rerunning works and deletes nothing: it goes on in a new folder inside."""
    from traininglog.demo.story import _empty

    assert _empty(tmp_path / "a" / "new") == tmp_path / "a" / "new"
    (tmp_path / "a" / "new" / "runs.db").write_text("mine")
    second = _empty(tmp_path / "a" / "new")
    assert second == tmp_path / "a" / "new" / "demo-2"
    (second / "runs.db").write_text("too")
    assert _empty(tmp_path / "a" / "new") == tmp_path / "a" / "new" / "demo-3"
    assert (tmp_path / "a" / "new" / "runs.db").read_text() == "mine"


@pytest.mark.parametrize(
    ("module", "package"), [("sklearn", "scikit-learn"), ("matplotlib", "matplotlib")]
)
def test_a_missing_extra_is_named(tmp_path, monkeypatch, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=package) as raised:
        demo.main(tmp_path / "new")
    assert 'pip install "traininglog[demo]"' in str(raised.value)
    assert not (tmp_path / "new").exists()


def test_a_training_that_ends_too_early_fails_the_demo(tmp_path, monkeypatch):
    """The demo says so and returns 1 rather than tell a story that did not happen."""
    from traininglog.demo import story

    monkeypatch.setattr(story.sys, "executable", "/bin/false")
    lines = []
    assert demo.main(tmp_path / "new", echo=lines.append) == 1
    assert "ended with status 1" in lines[-1]
