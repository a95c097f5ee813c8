"""A checkpoint is there whole or not at all."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from patience import GUARD

from traininglog import TrainingLogWarning
from traininglog.loop import CheckpointNotFound, CheckpointUnusable, NotPlain
from traininglog.loop.checkpoint.folder import CheckpointFolder, find
from traininglog.loop.checkpoint.manifest import sealed


@pytest.fixture
def folder(tmp_path):
    return CheckpointFolder(tmp_path / "checkpoints")


def write(folder, step, training="a"):
    return folder.write(training, step, {"step": step}, {"now": {"w": np.full(5, step), "n": step}})


def test_a_writer_may_be_killed_at_every_line(tmp_path):
    script = Path(__file__).with_name("killed_writer.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path],
        check=True,
        capture_output=True,
        text=True,
        timeout=GUARD,
    )
    trials = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(trials) > 60
    assert [trial["killed"] for trial in trials] == [True] * (len(trials) - 1) + [False]
    found = [trial["found"] for trial in trials]
    assert set(found) == {2, 3}
    assert found == sorted(found)  # once it is there, it stays
    for trial in trials:
        assert trial["whole"], trial
        assert trial["warned"] == 0, trial  # what is half written is not even looked at
        assert len(trial["names"]) in (2, 3)
        assert trial["after"][-1].endswith("-step-4")
        assert len(trial["after"]) == 2
        assert all(name.startswith("checkpoint-") for name in trial["after"]), trial


def test_the_newest_is_the_last_written_whatever_its_step(folder):
    for step in (10, 20, 15):
        write(folder, step)
    assert folder.newest().trees["now"]["n"] == 15
    assert folder.names()[0] == "checkpoint-000001-step-10"


def test_an_empty_or_missing_folder_has_none(folder):
    assert folder.newest() is None
    folder.path.mkdir()
    assert folder.newest() is None
    with pytest.raises(CheckpointNotFound, match="there is no checkpoint at"):
        find(folder.path)


def test_one_is_found_by_its_own_path_and_by_its_folder(folder):
    first, second = write(folder, 1), write(folder, 2)
    assert find(first).trees["now"]["n"] == 1
    assert find(str(folder.path)).path == second


@pytest.mark.parametrize("damage", ["flip", "cut", "lose", "manifest", "no manifest"])
def test_a_damaged_one_is_passed_over_with_a_warning(folder, damage):
    write(folder, 1)
    path = write(folder, 2)
    part, manifest = path / "part-0.npz", path / "manifest.json"
    content = bytearray(part.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        part.write_bytes(content)
    elif damage == "cut":
        part.write_bytes(content[:-1])
    elif damage == "lose":
        part.unlink()
    elif damage == "manifest":
        manifest.write_bytes(manifest.read_bytes()[:-5])
    else:
        manifest.unlink()
    with pytest.warns(TrainingLogWarning, match="step-2.*the one before it is taken"):
        assert folder.newest().trees["now"]["n"] == 1
    if damage != "no manifest":
        with pytest.raises(CheckpointUnusable, match=r"damaged|has lost"):
            find(path)


@pytest.mark.filterwarnings("ignore::traininglog.TrainingLogWarning")
def test_if_all_are_damaged_nothing_is_begun_anew_in_silence(folder):
    for step in (1, 2):
        (write(folder, step) / "part-0.npz").write_bytes(b"")
    with pytest.raises(CheckpointUnusable, match=r"none of the 2 checkpoints.*can be read"):
        folder.newest()


def test_a_newer_format_is_refused_by_name(folder):
    path = write(folder, 1)
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["crc32"]
    newer = manifest | {"format": 99}
    for content in (sealed(newer), json.dumps(newer).encode()):
        (path / "manifest.json").write_bytes(content)
        with pytest.raises(CheckpointUnusable, match=r"has format 99, .* reads 2: upgrade"):
            folder.newest()


def test_only_the_training_s_own_are_removed(tmp_path):
    other = CheckpointFolder(tmp_path, keep=1)
    write(other, 1, "other")
    for step in range(2, 6):
        write(CheckpointFolder(tmp_path, keep=2), step, "own")  # each after a restart
    assert [name[-1] for name in other.names()] == ["1", "4", "5"]
    write(other, 6, "other")
    assert [name[-1] for name in other.names()] == ["4", "5", "6"]


def test_zero_and_none_keep_all(tmp_path):
    for keep in (0, None):
        for step in range(3):
            write(CheckpointFolder(tmp_path / str(keep), keep=keep), step)
        assert len(CheckpointFolder(tmp_path / str(keep)).names()) == 3


def test_what_cannot_be_saved_is_refused_before_anything_is_written(folder):
    write(folder, 1)
    before = sorted(folder.path.rglob("*"))
    with pytest.raises(NotPlain, match="at now/x"):
        folder.write("a", 2, {}, {"now": {"x": object()}})
    assert sorted(folder.path.rglob("*")) == before


def test_writers_take_turns(folder):
    threads = [threading.Thread(target=write, args=(folder, step)) for step in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(folder.names()) == 12
    assert {folder.read(folder.path / name).trees["now"]["n"] for name in folder.names()} == set(
        range(12)
    )


def test_a_checkpoint_can_be_carried_elsewhere(folder, tmp_path):
    shutil.copytree(write(folder, 7), tmp_path / "elsewhere")
    assert find(tmp_path / "elsewhere").trees["now"]["w"].tolist() == [7] * 5
