"""What CI runs the tests with: the oldest that is allowed, and the newest that there is."""

import re
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest

from traininglog import SQLiteLog, Store, TrainingLog, TrainingLogError
from traininglog.clock import moments

TESTS = Path(__file__).parent
PROJECT = tomllib.loads((TESTS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def printed(*command):
    """Return what a script of the tests prints."""
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=True, cwd=TESTS.parent
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("which", ["newest", "oldest"])
def test_a_python_is_found_that_can_run_the_package(which):
    (python,) = printed("tests/pythons.py", which)
    said = subprocess.check_output([python, "-c", "import sys; print(*sys.version_info[:2])"])
    version = tuple(map(int, said.split()))
    here = sys.version_info[:2]
    assert version >= here if which == "newest" else (3, 11) <= version <= here


def test_every_lower_bound_is_a_constraint():
    """Of all that the package needs and its tests use, so that `make oldest` means what it says."""
    lines = printed("tests/oldest.py")
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    names = {line.partition("==")[0] for line in lines}
    assert names >= {re.match(r"[\w-]+", each)[0] for each in PROJECT["dependencies"]}
    assert {"numpy", "pyarrow", "matplotlib", "pytest"} <= names
    assert "torch" not in names


def test_what_is_imported_at_run_time_is_declared():
    """NumPy came with pandas for a long time; what is used is named."""
    declared = {re.match(r"[\w-]+", each)[0] for each in PROJECT["dependencies"]}
    assert {"numpy", "pandas", "sqlalchemy", "alembic", "typer", "rich"} == declared


def test_an_unknown_moment_has_a_unit_from_the_start():
    """NumPy 2.5 warns of moments without a unit, and later versions will refuse them."""
    found = moments(np.array([0.0, np.nan, 1.5]))
    assert found.dtype == "datetime64[us]"
    assert found.astype("int64")[[0, 2]].tolist() == [0, 1_500_000]
    assert np.isnat(found).tolist() == [False, True, False]


def test_what_was_never_timed_is_read_without_a_warning(tmp_path):
    """Runs, frames and tables that hold a missing time, as users' own settings of warnings ask."""
    with SQLiteLog(tmp_path / "runs.db") as log:
        log[1]["loss"] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Store(tmp_path / "runs.db") as store:
            assert len(store.runs()) == 1
            assert len(store.runs(state="lost")) == 0
            assert len(store.log(log.uuid, readonly=True).to_dataframe(wall=True)) == 1
        assert TrainingLog().to_dataframe(index="wall").empty


def test_a_moment_without_a_unit_is_refused_and_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of making it, which is the user's
        generic = [np.datetime64("NaT"), np.timedelta64(5), np.timedelta64("NaT")]
    log = TrainingLog()
    for value in generic:
        with pytest.raises(TrainingLogError, match="cannot be stored"):
            log[1]["x"] = value
    assert len(log) == 0
