"""A signal ends a training in good order, whoever else gets it, wherever it comes.

The matrix: kinds of workers x signals x to the process or to its group x while data is waited for
or in the middle of a step x with a trial around or within the loop. A part of it is quick. The
whole of it is tried by `make faults`; else as many cases as let any three of these things meet.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from patience import GUARD

from traininglog.loop.checkpoint.folder import find
from traininglog.trials import TrialClient

PROGRAM = Path(__file__).with_name("signalled_training.py")
BATCHES = 12  # of an epoch of the program

WORKERS = ("no", "fork", "spawn", "forkserver", "persistent")
SIGNALS = (signal.SIGINT, signal.SIGTERM)
RECEIVERS = ("process", "group")
PLACES = ("data", "step")
TRIALS = ("none", "outside", "inside")
QUICK = (
    ("no", signal.SIGTERM, "process", "step", "outside"),
    ("fork", signal.SIGTERM, "group", "data", "none"),
    ("spawn", signal.SIGINT, "group", "step", "inside"),
)


def every_three_together():
    """Return the fewest cases in which each three values of three of the five things meet."""
    cases = []
    for (number, workers), (other, trial) in itertools.product(
        enumerate(WORKERS), enumerate(TRIALS)
    ):
        corner = (number + other) % 4
        for opposite in (0, 1):
            places = [(corner >> 1 ^ opposite) & 1, (corner ^ opposite) & 1]
            cases.append(
                (workers, SIGNALS[opposite], RECEIVERS[places[0]], PLACES[places[1]], trial)
            )
    return cases


CHOSEN = (
    [*itertools.product(WORKERS, SIGNALS, RECEIVERS, PLACES, TRIALS)]
    if os.environ.get("TESTS_LONG")
    else [*dict.fromkeys([*QUICK, *every_three_together()])]
)
CASES = [
    pytest.param(
        *case,
        id="-".join((case[0], case[1].name, *case[2:])),
        marks=() if case in QUICK else pytest.mark.slow,
    )
    for case in CHOSEN
]


def test_any_three_things_are_tried_together():
    things = (WORKERS, SIGNALS, RECEIVERS, PLACES, TRIALS)
    cases = every_three_together()
    assert len(cases) == len(WORKERS) * len(TRIALS) * 2
    for three in itertools.combinations(range(5), 3):
        tried = {tuple(case[thing] for thing in three) for case in cases}
        assert tried == set(itertools.product(*(things[thing] for thing in three)))


def trained(folder, workers, number, receiver, place, trial):
    """Run the program, send it a signal, and return what it printed last and how it ended."""
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), workers, place, trial],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == "HERE\n", process.communicate(timeout=GUARD)
        time.sleep(0.1)  # into the middle of what it does
        (os.killpg if receiver == "group" else os.kill)(process.pid, number)
        printed, told = process.communicate(timeout=GUARD)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return process.returncode, printed.splitlines(), told


@pytest.mark.parametrize(("workers", "number", "receiver", "place", "trial"), CASES)
def test_a_signal_ends_a_training_in_good_order(
    torch, tmp_path, workers, number, receiver, place, trial
):
    """No step is cut, a checkpoint is left, a trial is Interrupted; SIGINT ends the epoch first."""
    code, lines, told = trained(tmp_path, workers, number, receiver, place, trial)
    assert (code, "Traceback" in told) == (0, False), (lines, told)
    end, reason, *counts = lines[-1].split()
    step, first, second = map(int, counts)
    assert (end, reason) == ("END", number.name)
    assert first == second == step
    if number == signal.SIGINT:
        assert step == BATCHES
    else:
        assert 3 <= step < BATCHES
    found = find(tmp_path / "checkpoints")
    assert found.facts["step"] == step
    assert found.facts["ended"]["reason"] == number.name
    assert found.trees["now"]["params"]["second"].item() == step
    if trial != "none":
        with TrialClient(tmp_path / "trials.db") as client:
            assert [str(found.status) for found in client.fetch_trials()] == ["Interrupted"]
