"""What a shell offers after Tab, by the protocol that Typer's scripts speak."""

import os
import subprocess
import sys

import pytest
from patience import GUARD

from traininglog import SQLiteLog


def offered(line, **environment):
    """Return what bash would offer for the last word of a line."""
    words = line.split(" ")
    script = "from traininglog.cli.app import app; app(prog_name='traininglog')"
    result = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ
        | {"_TRAININGLOG_COMPLETE": "complete_bash", "COMP_WORDS": line}
        | {"COMP_CWORD": str(len(words) - 1)}
        | environment,
        capture_output=True,
        text=True,
        timeout=GUARD,
        check=False,
    )
    assert result.stderr == ""
    return result.stdout.split()


@pytest.fixture
def uuid(tmp_path, monkeypatch):
    path = tmp_path / "runs.db"
    monkeypatch.setenv("TRAININGLOG_STORE", str(path))
    with SQLiteLog(path) as log:
        log.status["name"] = "resnet18-seed1"
        log[1].update({"val/acc": 0.5, "loss": 0.25})
    return log.uuid


def test_commands_runs_and_keys_are_offered(uuid):
    assert offered("traininglog sho") == ["show"]
    assert offered("traininglog show res") == ["resnet18-seed1"]
    assert offered(f"traininglog show {uuid.hex[:4]}") == [uuid.hex[:8]]
    assert offered("traininglog diff resnet18-seed1 res") == ["resnet18-seed1"]
    assert offered("traininglog tail --keys v") == ["val/acc"]


def test_a_store_that_is_not_there_offers_nothing(tmp_path):
    assert offered("traininglog show r", TRAININGLOG_STORE=str(tmp_path / "no.db")) == []
    foreign = tmp_path / "foreign.db"
    foreign.write_text("no store")
    assert offered("traininglog show r", TRAININGLOG_STORE=str(foreign)) == []
    assert offered(f"traininglog show -s {tmp_path}/no.db r") == []
