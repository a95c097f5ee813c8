"""What the tests of monitors share: a log, in memory and in SQLite alike."""

import pytest

from traininglog import open_log


@pytest.fixture(params=["memory", "sqlite"])
def place(request, tmp_path):
    """Where logs of one store are opened."""
    return "memory:" if request.param == "memory" else tmp_path / "runs.db"


@pytest.fixture
def log(place):
    with open_log(place) as log:
        yield log
