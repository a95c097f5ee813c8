"""The guide's programs, killed and started again: they end as if nobody had disturbed them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from traininglog import Store

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "loop.md"
PROGRAMS = {
    text.partition("\n")[0].strip("# ").partition(":")[0]: text
    for text in re.findall(r"^```py\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
}
EPOCHS, STEPS = 60, 960
F_SETPIPE_SZ = 1031


@contextlib.contextmanager
def started(program, folder):
    """Start a program that cannot run away: on Linux its pipe holds but one piece of a line."""
    folder.mkdir(exist_ok=True)
    (folder / program).write_text(PROGRAMS[program], "utf-8")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    if sys.platform == "linux":  # a page holds one write, however short it is
        read_end, write_end = os.pipe2(os.O_DIRECT)
        fcntl.fcntl(read_end, F_SETPIPE_SZ, 4096)
    else:
        read_end, write_end = os.pipe()
    with (folder / "errors").open("wb") as errors, os.fdopen(write_end, "wb") as stdout:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", program],
            cwd=folder, stdout=stdout, stderr=errors, env=environment,
        )  # fmt: skip
    with os.fdopen(read_end, encoding="utf-8") as lines:
        try:
            yield process, lines
        finally:
            process.kill()
            process.wait()
    assert not (folder / "errors").read_text() or process.returncode == -signal.SIGKILL


def run(program, folder, number=None, epoch=0):
    """Run a program; with a signal, until it has printed an epoch. Return what it printed."""
    sent = None
    with started(program, folder) as (process, lines):
        printed = []
        for line in lines:
            printed.append(line)
            if sent is None and number is not None and line.startswith(f"[Epoch {epoch}/"):
                process.send_signal(number)
                sent = number
        process.wait()
    assert sent == number, "".join(printed)
    expected = {None: 0, signal.SIGTERM: 0, signal.SIGKILL: -signal.SIGKILL}[number]
    assert process.returncode == expected, "".join(printed)
    return printed


def losses(folder):
    """Return the loss of each step, as the youngest run of a folder sees it."""
    with (
        Store(folder / "runs.db", readonly=True) as store,
        store.log(store.latest(), readonly=True) as log,
    ):
        frame = log.to_dataframe(keys="loss")
        assert list(frame.index) == list(range(1, STEPS + 1))
        return frame["loss"].to_numpy(), len(log.lineage()), log.status.copy()


def saved(folder, torch=None):
    """Return the parameters that a program saved at its end, as bytes."""
    if torch is None:
        return np.load(folder / "numpy.npy").tobytes()
    state = torch.load(folder / "torch.pt", weights_only=True)
    return {name: tensor.numpy().tobytes() for name, tensor in state.items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Give a function that returns the folder in which a program ran to its end."""
    found = {}

    def undisturbed(program):
        if program not in found:
            found[program] = tmp_path_factory.mktemp("undisturbed")
            run(program, found[program])
        return found[program]

    return undisturbed


def check(program, tmp_path, undisturbed, torch, signals):
    resumed = []
    for epoch, number in signals:
        printed = run(program, tmp_path, number, epoch)
        resumed += [line for line in printed if line.startswith("Resume training")]
    printed = run(program, tmp_path)
    resumed += [line for line in printed if line.startswith("Resume training")]
    assert len(resumed) == len(signals), resumed
    whole = undisturbed(program)
    assert saved(tmp_path, torch) == saved(whole, torch)
    found, runs, status = losses(tmp_path)
    assert found.tobytes() == losses(whole)[0].tobytes()
    assert runs == len(signals) + 1
    assert (status["epochs_done"], status["iterations_done"]) == (EPOCHS, STEPS)
    assert status["_epoch_ends"] == list(range(16, STEPS + 1, 16))
    return resumed


KILLS = [(7, signal.SIGKILL), (13, signal.SIGKILL), (31, signal.SIGKILL)]
MIXED = [(6, signal.SIGTERM), (11, signal.SIGKILL), (23, signal.SIGTERM)]


@pytest.mark.parametrize("signals", [KILLS, MIXED], ids=["killed", "terminated and killed"])
def test_numpy_parameters_end_the_same_to_the_bit(tmp_path, undisturbed, signals):
    check("train_numpy.py", tmp_path / "run", undisturbed, None, signals)


@pytest.mark.parametrize("signals", [KILLS[:2], MIXED[:2]], ids=["killed", "terminated and killed"])
def test_a_torch_module_and_its_optimizer_end_the_same_to_the_bit(
    tmp_path, undisturbed, torch, signals
):
    check("train_torch.py", tmp_path / "run", undisturbed, torch, signals)


def test_the_killed_one_learned_something(undisturbed, torch):
    for program in PROGRAMS:
        found, _, status = losses(undisturbed(program))
        assert found[-16:].mean() < 0.5 * found[:16].mean()
    assert status["params_source"] == "best"
    assert status["params_step"] == status["best"]["step"]


def test_no_more_checkpoints_are_kept_than_asked_for_over_restarts(tmp_path):
    folder = tmp_path / "run"
    for epoch in (12, 27, 41):
        run("train_numpy.py", folder, signal.SIGKILL, epoch)
    run("train_numpy.py", folder)
    assert len(list((folder / "numpy").glob("checkpoint-*"))) == 3
    assert len(list((folder / "numpy").iterdir())) == 3


def test_a_finished_training_that_is_started_again_stays_as_it_is(tmp_path):
    folder = tmp_path / "run"
    run("train_numpy.py", folder)
    before = saved(folder)
    printed = run("train_numpy.py", folder)
    assert [line.split(",")[0] for line in printed] == [f"Resume training: epoch {EPOCHS}"]
    assert saved(folder) == before
    assert losses(folder)[2]["iterations_done"] == STEPS
