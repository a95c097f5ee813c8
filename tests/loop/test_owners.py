"""A folder of checkpoints is one training's, and no log is counted on in silence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
from patience import GUARD

from traininglog import RunBusy, SQLiteLog, TrainingLog, TrainingLogWarning
from traininglog.loop import CheckpointsBusy, TrainLoop

PROGRAM = """
import sys
import numpy as np
from traininglog import SQLiteLog
from traininglog.loop import TrainLoop
params = {"w": np.full(1, float(sys.argv[1]))}
with SQLiteLog("r.db") as log, TrainLoop(
    params, log=log, max_epoch=int(sys.argv[2]), checkpoint_dir="c", checkpoint_epoch_freq=1
) as loop:
    for epoch in loop.iter_epochs():
        for step, _ in loop.iter_steps([1, 2]):
            print("step", step, flush=True)
            sys.stdin.readline()
print("ends with", params["w"][0])
"""


def start(folder, seed, epochs):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(seed), str(epochs)], cwd=folder, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def test_a_second_training_in_one_folder_is_refused(tmp_path):
    """And after a restart the one that was there goes on from what it left, whoever else comes."""
    for seed, epochs in ((3, 2), (3, 4)):
        first = start(tmp_path, seed, epochs)
        while not first.stdout.readline().startswith("step"):
            assert first.poll() is None
        other = start(tmp_path, 5, epochs)
        told, _ = other.communicate("\n" * 20, timeout=GUARD)
        assert other.returncode == 1
        assert f"another training that runs (process {first.pid} on " in told
        assert "CheckpointsBusy" in told
        assert "give each training a checkpoint_dir of its own" in told
        said, _ = first.communicate("\n" * 20, timeout=GUARD)
        assert first.returncode == 0
        assert said.endswith("ends with 3.0\n")
    assert {path.name[:10] for path in (tmp_path / "c").iterdir()} == {"checkpoint"}


def test_one_that_was_killed_leaves_the_folder_free(tmp_path):
    first = start(tmp_path, 3, 2)
    while not first.stdout.readline().startswith("step"):
        assert first.poll() is None
    first.kill()
    first.communicate(timeout=GUARD)
    again = start(tmp_path, 3, 2)
    said, _ = again.communicate("\n" * 20, timeout=GUARD)
    assert again.returncode == 0, said


def loop_in(folder, **options):
    return TrainLoop(
        {"w": np.zeros(1)}, log=TrainingLog(), max_epoch=1, checkpoint_dir=folder,
        print_func=str, **options,
    )  # fmt: skip


def run(loop):
    for _ in loop.iter_epochs():
        for _ in loop.iter_steps("ab"):
            pass


def test_within_one_process_too_and_until_the_first_is_left(tmp_path):
    with loop_in(tmp_path) as first:
        with pytest.raises(RunBusy), loop_in(tmp_path):
            pass
        with pytest.raises(CheckpointsBusy), loop_in(tmp_path, restore_checkpoint=False):
            pass
        run(first)
    with loop_in(tmp_path / "other"), loop_in(tmp_path):
        pass


def test_a_child_that_outlives_the_training_does_not_keep_the_folder(tmp_path):
    """As a worker that loads data may."""
    reading, writing = os.pipe()
    with loop_in(tmp_path) as loop:
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        with pytest.raises(CheckpointsBusy), loop_in(tmp_path):
            pass
        run(loop)
    with loop_in(tmp_path) as loop:
        run(loop)
    os.close(writing)
    os.close(reading)
    os.waitpid(child, 0)


def test_a_folder_that_was_removed_and_is_another_one_s_now_is_not_written(tmp_path):
    with loop_in(tmp_path / "c") as first:
        shutil.rmtree(tmp_path / "c")
        with loop_in(tmp_path / "c") as second:
            for _ in first.iter_epochs():
                for _ in first.iter_steps("ab"):
                    with pytest.raises(CheckpointsBusy):
                        first.make_checkpoint()
                    break
                break
            run(second)
    # Once that has ended the folder is free.
    assert len(list((tmp_path / "c").iterdir())) == 2


# -- a log that has steps -------------------------------------------------------------------


def train(log, params, lines, **options):
    with TrainLoop(params, log=log, print_func=lines.append, **options) as loop:
        for _ in loop.iter_epochs():
            for _ in loop.iter_steps(range(3)):
                loop.collect_metrics(loss=1.0)
    return loop


def test_a_loop_on_a_log_that_has_steps_says_so(tmp_path):
    """As loudly as that a training is resumed; and that it has nothing to do."""
    log = SQLiteLog(tmp_path / "r.db")
    lines = []
    train(log, {"w": np.zeros(1)}, lines, max_epoch=4)
    assert not lines
    loop = train(log, {"w": np.zeros(1)}, lines, max_epoch=2)
    assert loop.step == 12
    said, nothing = lines
    assert said.startswith(f"Continue the log: epoch 4, step 12, of run {log.h_uuid}. ")
    assert nothing == (
        "Nothing is left to do: max_epoch=2 is counted over the whole log, which has 4. To go on, "
        "pass max_epoch=6 for 2 more."
    )
    lines.clear()
    with pytest.warns(TrainingLogWarning, match="parameters were restored from nowhere") as told:
        train(log, {"w": np.zeros(1)}, lines, max_epoch=6)
    assert told[0].filename == __file__
    assert len(lines) == 1
    log.close()
    again = SQLiteLog(tmp_path / "r.db", log.uuid)  # in the next program
    with pytest.warns(TrainingLogWarning, match="restored from nowhere"):
        train(again, {"w": np.zeros(1)}, lines, max_epoch=7)
    again.close()


def test_parameters_that_were_trained_here_are_from_somewhere(torch):
    """A notebook's cell that is run again, with more epochs: no warning, but it is said."""
    model = torch.nn.Linear(2, 2)
    for make in (
        lambda: model, model.parameters, lambda: list(model.parameters()),
        lambda: {"model": model}, lambda: (model.state_dict, model.load_state_dict),
    ):  # fmt: skip
        log, lines = TrainingLog(), []
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for epochs in (1, 2, 3):
                train(log, make(), lines, max_epoch=epochs)
        assert len(lines) == 2
    with pytest.warns(TrainingLogWarning, match="restored from nowhere"):
        train(log, torch.nn.Linear(2, 2), lines, max_epoch=4)


def test_what_is_restored_from_a_checkpoint_is_no_continued_log(tmp_path):
    log, lines = TrainingLog(), []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for epochs in (1, 2):
            train(log, {"w": np.zeros(1)}, lines, max_epoch=epochs, checkpoint_dir=tmp_path)
    assert [line[:15] for line in lines] == ["Resume training"]
