"""`traininglog plot RUN --lenses`: what lenses wrote to a stored run, in a file or the terminal."""

import numpy as np
import pytest
from command_line import run

from traininglog import SQLiteLog
from traininglog.lenses import Inspector, LossMetrics, OutputNorm, ParameterNorm


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Give a store with a run, which was resumed half way with its lenses on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRAININGLOG_STORE", str(tmp_path / "runs.db"))
    with SQLiteLog("runs.db") as log:
        observe(log, range(1, 4))
        parent = log.uuid
    with SQLiteLog("runs.db", uuid=parent) as log:
        log.resume(at=2)
        observe(log, range(3, 6))
    return tmp_path / "runs.db"


def observe(log, times):
    inspector = Inspector([LossMetrics(), OutputNorm(), ParameterNorm()], log)
    for time in inspector.iter(times):
        for layer in ("first", "sec\x1bond"):
            inspector.observe("output", layer, np.full((2, 3), float(time)))
            inspector.observe("parameter", layer, np.full(4, 0.5 * time))
        inspector.push_loss(1 / time)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml")])
def test_a_stored_run_is_drawn_to_a_file(name, start, tmp_path):
    pytest.importorskip("matplotlib")
    result = run("plot", "--lenses", "-o", name)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert "output norm shares, weight norm" in result.stderr
    assert f"to {name}" in result.stderr
    assert "--force" in run("plot", "--lenses", "-o", name, status=1).stderr
    run("plot", "--lenses", "-o", name, "--force")


@pytest.mark.usefixtures("path")
def test_keys_choose_tags(tmp_path):
    pytest.importorskip("matplotlib")
    run("plot", "--lenses", "-k", "weight*", "-k", "loss", "-o", "some.svg")
    text = (tmp_path / "some.svg").read_text()
    assert "<!-- loss -->" in text
    assert "<!-- weight norm -->" in text
    assert "<!-- output norm -->" not in text
    assert "no key fits 'nothing'" in run("plot", "--lenses", "-k", "nothing", status=1).stderr


@pytest.mark.usefixtures("path")
def test_without_a_file_the_last_tick_is_printed(monkeypatch):
    """Of the resumed run; and what comes from data cannot speak to the terminal."""
    monkeypatch.setenv("COLUMNS", "120")
    result = run("plot", "--lenses")
    assert "5  loss: train 0.2 ±0" in result.stdout
    assert "time 5" in result.stdout
    assert "time 4" not in result.stdout
    assert "sec?ond" in result.stdout
    assert "\x1b" not in result.stdout


def test_a_run_without_lenses_and_options_that_do_not_go_together_are_mistakes(path):
    for more in (["--log-y"], ["--x", "wall"], ["--smooth", 3], ["--panels"]):
        assert "--lenses goes with" in run("plot", "--lenses", *more, status=1).stderr
    with SQLiteLog(path) as log:
        log[1]["loss"] = 1.0
        assert "no lens wrote to this log" in run("plot", "--lenses", status=1).stderr
        other = log.uuid
    with SQLiteLog(path) as log:
        log[1]["loss"] = 1.0
    both = [other.hex, log.uuid.hex]
    assert "name one" in run("plot", *both, "--lenses", status=1).stderr
