"""Imports are paid for when they are used, and the package shows what it has."""

import subprocess
import sys

import pytest

import traininglog

HEAVY = {"sqlalchemy", "alembic", "numpy", "pandas", "typer", "rich", "matplotlib", "sklearn"}


def imported(script, *arguments):
    """Return the top-level modules that a script has imported by its end."""
    script += "\nimport sys; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import traininglog"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "traininglog" in names
    assert not {name.split(".")[0] for name in names} & HEAVY
    ours = {name for name in names if name.startswith("traininglog")}
    assert ours == {"traininglog", "traininglog.errors"}


def test_a_log_in_memory_needs_nothing_heavy():
    script = (
        "from traininglog import TrainingLog; log = TrainingLog(); log[1]['x'] = 1.0; log.resume()"
    )
    assert not imported(script) & HEAVY


WORK = """
import sys
from traininglog import SQLiteLog, Store
log = SQLiteLog(sys.argv[1])
for t in range(100):  # too few for sealing to be worth an import
    log[t]["loss"] = 0.5
    log[t].update(n=t, text="x", none=None, items=[1, {"a": 2}])
log.flush()
assert log[3]["loss"] == 0.5 and log.last("loss").time == 99 and log.best("n").value == 0
assert len(log.to_dict()) == 100
log.resume(at=5)
log.commit()
log.close()
with Store(sys.argv[1]) as store:
    store.find(log.uuid), store.latest(), store.check(), store.size(), store.state(log.uuid)
    store.backup(sys.argv[1] + ".copy")
    store.merge(sys.argv[1] + ".copy")
    store.delete(log.uuid)
"""


def test_writing_and_reading_scalars_in_sqlite_needs_only_sqlalchemy(tmp_path):
    assert imported(WORK, tmp_path / "runs.db") & HEAVY == {"sqlalchemy"}


def test_a_frame_brings_pandas_and_still_not_alembic(tmp_path):
    script = WORK.replace("log.resume(at=5)", "log.to_dataframe()")
    assert imported(script, tmp_path / "runs.db") & HEAVY == {"sqlalchemy", "numpy", "pandas"}


def test_every_public_name_is_there_and_listed():
    assert set(traininglog.__all__) <= set(dir(traininglog))
    assert list(traininglog.__all__) == sorted(traininglog.__all__)
    for name in traininglog.__all__:
        assert getattr(traininglog, name) is not None
    namespace = {}
    exec("from traininglog import *", namespace)
    assert set(traininglog.__all__) <= set(namespace)
    assert set(traininglog._LAZY) <= set(traininglog.__all__)


def test_every_error_is_public_has_a_code_of_its_own_and_a_doc():
    from traininglog import errors

    leaves = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, (Exception, Warning))
    ]
    codes = [leaf.code for leaf in leaves if issubclass(leaf, errors.TrainingLogError)]
    assert len(codes) == len(set(codes))
    assert all(leaf.__doc__ for leaf in leaves)
    assert {leaf.__name__ for leaf in leaves} <= set(traininglog.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'traininglog' has no attribute 'SqliteLog'"):
        _ = traininglog.SqliteLog
    assert not hasattr(traininglog, "pandas")
    with pytest.raises(ImportError, match="SqliteLog"):
        exec("from traininglog import SqliteLog")


def test_the_version_is_that_of_the_distribution():
    from importlib.metadata import version

    assert traininglog.__version__ == version("traininglog")
