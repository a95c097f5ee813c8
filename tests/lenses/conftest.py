"""What the tests of lenses share: networks, logs, and what is worked out independently."""

from __future__ import annotations

import importlib.util
import os

import pytest

from traininglog import SQLiteLog, TrainingLog

#: Where torch must not be missing, tests without it fail and are not skipped. Read when collecting,
#: before the settings of whoever runs the tests are kept out of them.
NEED_TORCH = bool(os.environ.get("TESTS_NEED_TORCH"))
HAVE_TORCH = importlib.util.find_spec("torch") is not None

collect_ignore_glob = [] if HAVE_TORCH or NEED_TORCH else ["torch_*.py", "test_torch_*.py"]


@pytest.fixture(params=["memory", "sqlite"])
def log(request, tmp_path):
    """Give a new log; what holds for lenses holds for every store."""
    with TrainingLog() if request.param == "memory" else SQLiteLog(tmp_path / "runs.db") as opened:
        yield opened
