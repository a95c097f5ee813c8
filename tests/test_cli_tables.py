"""Tables on terminals of any width: a column is whole or left out, and no number becomes false."""

import csv
import io
import os
import re
import sys

import pexpect
import pytest
from command_line import run
from hypothesis import given
from hypothesis import strategies as st
from patience import GUARD

from traininglog import SQLiteLog
from traininglog.cli.output.terminal import (
    ASKED,
    DETAIL,
    IDENTITY,
    USUAL,
    Heading,
    fit,
    fitted_columns,
)
from traininglog.cli.output.text import brief
from traininglog.trials import TrialClient


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A store of two runs with long names and numbers of many digits."""
    path = tmp_path / "runs.db"
    for seed in range(2):
        with SQLiteLog(path) as log:
            log.status["name"] = f"resnet18-lr0.001-seed{seed}"
            for time in range(3):
                log[time].update({
                    "val/acc": 0.9612345, "val/loss": 1234.5678, "tokens": 123456789, "big": 2**62,
                })  # fmt: skip
    monkeypatch.setenv("TRAININGLOG_STORE", str(path))
    return path


def on_terminal(columns, *arguments):
    """Return the lines that a command prints on a terminal of this width."""
    child = pexpect.spawn(
        sys.executable,
        ["-m", "traininglog", *arguments],
        env=os.environ | {"TERM": "xterm-256color"},
        dimensions=(24, columns),
        encoding="utf-8",
        timeout=GUARD,
    )
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0, child.before
    return re.sub(r"\x1b\[[0-9;]*m", "", child.before).replace("\r", "").splitlines()


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_what_was_asked_for_is_whole_on_any_terminal(path, columns):
    lines = on_terminal(columns, "runs", "-k", "val/*", "-k", "tokens")
    table = [line for line in lines if not line.startswith("not shown")]
    assert table[0].split()[-3:] == ["val/acc", "val/loss", "tokens"]
    for line in table[1:]:
        assert line.split()[-3:] == ["0.961234", "1234.57", "123456789"]
    assert max(map(len, table)) <= columns


def test_what_is_left_out_is_said(path):
    *_, last = on_terminal(80, "runs", "-k", "val/*", "-k", "tokens")
    assert last.startswith("not shown on 80 columns: CREATED, ROWS, VALUES;")
    assert "not shown" not in on_terminal(200, "runs", "-k", "val/*")[-1]


def test_a_pipe_gets_every_column_uncut(path):
    header, line, _ = run("runs", "-k", "*").stdout.splitlines()
    assert header.split() == [
        "RUN", "NAME", "STATE", "CREATED", "TIME", "ROWS", "VALUES",
        "val/acc", "val/loss", "tokens", "big",
    ]  # fmt: skip
    assert "resnet18-lr0.001-seed0" in line
    assert line.endswith(str(2**62))


@pytest.mark.parametrize("columns", [40, 80])
def test_tail_shows_whole_numbers_and_says_which_keys_do_not_fit(path, columns):
    text = "\n".join(on_terminal(columns, "tail"))
    assert "123456789" in text or "tokens" in text.split("not shown")[1]
    assert "…" not in re.sub("not shown.*", "", text)


def test_names_are_cut_in_the_middle_and_numbers_never():
    assert fit("resnet18-lr0.001-seed1", 12) == "resnet…seed1"
    for exact in ("1234.5678", "-1e-12", "NaN", "0.97 @ 12", "1,234", "12.5 %", "-"):
        assert fit(exact, 3).strip() == exact
    assert brief([0.25, 0.75, 0.125], 14) == "[0.25, …]"


CELLS = st.one_of(
    st.text("abc火-/", max_size=30),
    st.integers(-(10**20), 10**20).map(str),
    st.floats().map(brief),
)
COLUMNS = st.tuples(
    st.text("abc", min_size=1, max_size=30),
    st.booleans(),
    st.sampled_from([DETAIL, USUAL, ASKED, IDENTITY]),
    st.lists(CELLS, min_size=3, max_size=3),
)


@given(st.lists(COLUMNS, min_size=1, max_size=8), st.integers(1, 120))
def test_a_table_fits_or_has_nothing_left_to_leave_out(columns, available):
    headings = [Heading(name, cut=cut, importance=how) for name, cut, how, _ in columns]
    texts = [[name, *cells] for name, _, _, cells in columns]
    shown = fitted_columns(headings, texts, available)
    assert next(iter(shown)) == 0
    assert list(shown) == sorted(shown)
    total = sum(shown.values()) + 2 * (len(shown) - 1)
    left = [at for at in shown if at and headings[at].importance < IDENTITY]
    assert total <= available or not left
    for at, width in shown.items():
        for cell in texts[at][1:]:
            if re.fullmatch(r"-?\d+", cell):
                assert len(cell) <= width
    assert fitted_columns(headings, texts, None).keys() == set(range(len(columns)))


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """A store of a trial with a nested parameter, and a hostile one."""
    monkeypatch.setenv("TRAININGLOG_STORE", str(tmp_path / "trials.db"))
    with TrialClient(str(tmp_path / "trials.db")) as client:
        client.set_project(name="p")
        parameters = {"lr": 0.1, "model": {"width": 32}, "text": "=1+1"}
        with client.new_trial(name="x", version="1", parameters=parameters) as trial:
            trial.log_metrics(step=0, loss=1.0)


def test_nested_parameters_of_trials_are_columns(sweep):
    header, line = run("trials", "-k", "model.width", "-k", "lr").stdout.splitlines()
    assert header.split()[-2:] == ["lr", "model.width"]
    assert line.split()[-2:] == ["0.1", "32"]
    assert '"model.width": 32' in run("trials", "-k", "model.*", "--json").stdout
    assert '"model": {' in run("trials", "--json").stdout


@pytest.mark.parametrize(("wrong", "near"), [("model.widht", "model.width"), ("los", "loss")])
def test_a_name_that_no_trial_has_is_an_error_that_names_near_ones(sweep, wrong, near):
    assert f"did you mean '{near}'" in run("trials", "-k", wrong, status=1).stderr
    assert "no key fits" in run("trials", "-k", "zz*", status=1).stderr


def test_trials_as_csv_are_no_formulas(sweep):
    lines = list(csv.DictReader(io.StringIO(run("trials", "--csv").stdout)))
    assert lines[0]["parameters.text"] == "'=1+1"
    assert lines[0]["parameters.model.width"] == "32"
    assert lines[0]["metrics.loss"] == "1.0"
    run("trials", "--csv", "--json", status=1)
