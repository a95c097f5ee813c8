"""What the tests of the loop share."""

from __future__ import annotations

import os
import signal

import pytest

from traininglog import SQLiteLog, TrainingLog

# Programs that tests start; they need PyTorch, and hold no doctests.
collect_ignore = ["ranked_trainings.py", "signalled_training.py"]


@pytest.fixture(params=["memory", "sqlite"])
def open_log(request, tmp_path):
    """Give a function that opens a new run, always in the same store."""
    opened = []

    def open_log():
        opened.append(
            TrainingLog() if request.param == "memory" else SQLiteLog(tmp_path / "runs.db")
        )
        return opened[-1]

    yield open_log
    for log in opened:
        log.close()


@pytest.fixture
def log(open_log):
    return open_log()


#: Whether a test without torch is to fail, and not to be skipped. Read before the settings of
#: whoever runs the tests are kept out of them.
NEED_TORCH = bool(os.environ.get("TESTS_NEED_TORCH"))


@pytest.fixture
def torch():
    """Give torch. Where it must not be missing, a test without it fails."""
    if NEED_TORCH:
        import torch

        return torch
    return pytest.importorskip("torch")


@pytest.fixture
def interrupt():
    """Give a function that sends this process a signal, as a terminal or a scheduler would."""

    def interrupt(number=signal.SIGINT):
        os.kill(os.getpid(), number)

    return interrupt
