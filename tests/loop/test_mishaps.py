"""What goes wrong beside a training is told once, and never ends it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections import deque
from pathlib import Path

import numpy as np
import pexpect
import pytest
from patience import GUARD

from traininglog import TrainingLog, TrainingLogWarning
from traininglog.loop import MetricFormatter, NotPlain, TrainLoop
from traininglog.loop.checkpoint import folder as checkpoints
from traininglog.loop.checkpoint.folder import find

PROGRAM = """
import sys
from traininglog import SQLiteLog
from traininglog.loop import TrainLoop
with SQLiteLog("runs.db") as log, TrainLoop(log=log, max_epoch=400) as loop:
    for epoch in loop.iter_epochs():
        for step, _ in loop.iter_steps(range(2)):
            loop.collect_metrics({"loss_\\u00e9\\u706b": 1.0})
        loop.print_logs()
open("steps", "w").write(f"{loop.step} {loop.stop_reason}")
"""


@pytest.fixture
def program(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    return [sys.executable, "program.py"]


def ended(folder):
    """Return whether the program came to its end."""
    return (folder / "steps").is_file() and (folder / "steps").read_text() == "800 max_epoch"


def test_a_reader_that_is_gone_does_not_end_a_training(tmp_path, program):
    """As of `train | head -1`; the program's exit status is its own, too."""
    process = subprocess.Popen(
        program, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    process.stdout.close()
    told = process.stderr.read()
    process.stderr.close()
    assert process.wait(GUARD) == 0, told
    assert ended(tmp_path)
    assert told.count("printing failed, and the training goes on") == 1, told
    assert "BrokenPipeError" in told


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_under_the_output_does_not_end_a_training(tmp_path, program):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            program, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended(tmp_path)
    assert done.stderr.count("printing failed, and the training goes on") == 1, done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_what_an_output_cannot_encode_is_escaped(tmp_path, program, encoding):
    done = subprocess.run(
        [sys.executable, "-W", "error", *program[1:]], cwd=tmp_path, capture_output=True,
        check=False, env=os.environ | {"PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ended(tmp_path)
    # The deviation of the mean is told with a sign that ASCII lacks, the metric has two.
    assert b"\\u706b: 1 (" in done.stdout
    assert (b"\\xe9" in done.stdout) == (encoding == "ascii")


def test_a_closed_output_does_not_end_a_training(tmp_path, program):
    done = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} program.py >&- 2>&-"], cwd=tmp_path, check=False
    )
    assert done.returncode == 0
    assert ended(tmp_path)


GONE = """
import os, signal, sys, time
signal.signal(signal.SIGHUP, signal.SIG_IGN)
exec(compile(open("program.py").read().replace("range(2)", "slow()"), "program.py", "exec"),
     {"slow": lambda: (time.sleep(0.005) or step for step in range(2))})
"""


def test_a_terminal_that_is_gone_does_not_end_a_training(tmp_path, program):
    """The bar and the lines go to a terminal that is closed while the training runs."""
    (tmp_path / "gone.py").write_text(GONE)
    child = pexpect.spawn(
        sys.executable, ["gone.py"], cwd=str(tmp_path), timeout=GUARD, encoding="utf-8",
        env=os.environ | {"TERM": "xterm-256color"},
    )  # fmt: skip
    child.expect("Epoch 2")
    os.close(child.child_fd)  # and so the terminal hangs up
    _, status = os.waitpid(child.pid, 0)
    child.closed, child.child_fd, child.terminated = True, -1, True
    assert os.waitstatus_to_exitcode(status) == 0
    assert ended(tmp_path)


def train(folder=None, **options):
    """Train for five epochs of two steps; return the loop."""
    options.setdefault("print_func", str)
    with TrainLoop(
        {"w": np.zeros(2)}, log=TrainingLog(), max_epoch=5, checkpoint_dir=folder, **options
    ) as loop:
        for _ in loop.iter_epochs():
            for _ in loop.iter_steps("ab"):
                loop.collect_metrics(loss=1.0)
            loop.print_logs()
    return loop


def test_a_print_function_that_fails_is_told_of_once():
    def fail(line):
        raise RuntimeError("no place for lines")

    with pytest.warns(TrainingLogWarning, match="printing failed") as told:
        assert train(print_func=fail).step == 10
    assert len(told) == 1
    assert "no place for lines" in str(told[0].message)


def test_a_formatter_that_fails_gives_way_to_the_usual_one():
    class Picky(MetricFormatter):
        def format_metric(self, name, value):
            raise ValueError("no such metric")

    lines = []
    with pytest.warns(TrainingLogWarning, match="formatting metrics failed") as told:
        train(print_func=lines.append, metric_formatter=Picky())
    assert len(told) == 1
    assert len(lines) == 5
    assert all("loss: 1 (±0)" in line for line in lines)


def steps_in(folder):
    """Return the steps of the checkpoints in a folder."""
    return [find(path).facts["step"] for path in sorted(folder.iterdir())]


class FullDisk:
    """Refuses to write arrays, as a full disk would, for a while."""

    def __init__(self, monkeypatch, refusing):
        self.refusing = refusing
        self.asked = 0
        write = checkpoints.write_part

        def refuse(path, arrays):
            self.asked += 1
            if self.refusing(self.asked):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(path, arrays)

        monkeypatch.setattr(checkpoints, "write_part", refuse)


def test_a_due_checkpoint_that_cannot_be_written_is_tried_again(tmp_path, monkeypatch):
    """It was due after the second epoch; the disk has room again after the third."""
    FullDisk(monkeypatch, lambda asked: asked == 1)
    with pytest.warns(TrainingLogWarning, match="writing a checkpoint failed") as told:
        train(tmp_path, checkpoint_epoch_freq=2)
    assert len(told) == 1
    assert steps_in(tmp_path) == [6, 8, 10]


def test_the_checkpoint_of_the_end_is_asked_for_by_name_and_raised_in_the_end(
    tmp_path, monkeypatch
):
    FullDisk(monkeypatch, lambda asked: True)
    after = []
    loop = TrainLoop(
        {"w": np.zeros(2)}, log=TrainingLog(), max_epoch=2, checkpoint_dir=tmp_path,
        checkpoint_epoch_freq=1, print_func=str,
    )  # fmt: skip

    def program():
        with loop:
            for _ in loop.iter_epochs():
                for _ in loop.iter_steps("ab"):
                    pass
            after.append("what the program does after its training")

    with (
        pytest.warns(TrainingLogWarning, match="writing a checkpoint failed"),
        pytest.raises(OSError, match="No space left"),
    ):
        program()
    assert after
    assert (loop.step, loop.stop_reason) == (4, "max_epoch")


def test_a_checkpoint_that_is_asked_for_by_name_is_refused_at_once(tmp_path, monkeypatch):
    FullDisk(monkeypatch, lambda asked: asked == 1)
    with TrainLoop(
        {"w": np.zeros(2)}, log=TrainingLog(), max_epoch=1, checkpoint_dir=tmp_path, print_func=str
    ) as loop:
        for _ in loop.iter_epochs():
            for _ in loop.iter_steps("ab"):
                if loop.step == 1:
                    with pytest.raises(OSError, match="No space left"):
                        loop.make_checkpoint()
    assert find(tmp_path).facts["step"] == 2


def test_on_a_full_disk_the_oldest_gives_way_to_the_newest(tmp_path, monkeypatch):
    """As many are kept as before, and never none: the one that would go next goes first."""

    def full(asked):
        return len(list(tmp_path.glob("checkpoint-*"))) >= 2

    FullDisk(monkeypatch, full)
    train(tmp_path, checkpoint_epoch_freq=1, checkpoint_max_to_keep=2)
    assert steps_in(tmp_path) == [8, 10]


class Returns:
    """The last returns of an agent, in what is no plain data."""

    def state_dict(self):
        return {"last": deque([1.0])}

    def load_state_dict(self, state):
        pass


def test_a_state_that_cannot_be_saved_is_refused_at_the_door(tmp_path):
    loop = TrainLoop(
        log=TrainingLog(), checkpoint_dir=tmp_path, checkpoint_save_objects={"returns": Returns()}
    )
    with pytest.raises(NotPlain, match="a deque at now/objects/returns/last cannot be saved"), loop:
        pass
    assert loop.step == 0


def test_without_checkpoints_nothing_is_asked_for_its_state():
    with TrainLoop(log=TrainingLog(), checkpoint_save_objects={"returns": Returns()}):
        pass


def test_a_state_that_cannot_be_taken_yet_is_told_at_the_door(tmp_path):
    class Later:
        def get_state(self):
            raise AttributeError("there is no agent yet")

        def set_state(self, state):
            pass

    loop = TrainLoop(
        log=TrainingLog(), checkpoint_dir=tmp_path, checkpoint_save_objects={"agent": Later()}
    )
    with (
        pytest.warns(TrainingLogWarning, match="taking the state of now/objects/agent failed"),
        loop,
    ):
        pass


def test_parameters_that_are_made_when_first_used_are_no_fault(torch, tmp_path):
    net = torch.nn.LazyLinear(2)
    with TrainLoop(
        net, log=TrainingLog(), max_epoch=1, checkpoint_dir=tmp_path, print_func=str
    ) as loop:
        for _ in loop.iter_epochs():
            for _ in loop.iter_steps("a"):
                net(torch.zeros(1, 3))
    assert find(tmp_path).trees["now"]["params"]["weight"].shape == (2, 3)


def test_a_folder_in_which_nothing_can_be_written_is_refused_at_the_door(tmp_path, monkeypatch):
    def refuse(**options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(checkpoints.tempfile, "TemporaryFile", refuse)
    loop = TrainLoop(log=TrainingLog(), checkpoint_dir=tmp_path)
    with pytest.raises(PermissionError, match="name another checkpoint_dir"), loop:
        pass


def test_summaries_that_cannot_be_finished_do_not_fail_a_training(tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX")
    from traininglog.event_files import EventFile

    def fail(self):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    close = EventFile.close
    monkeypatch.setattr(EventFile, "close", fail)
    with pytest.warns(TrainingLogWarning, match="writing the summaries failed"):
        loop = train(summary_dir=tmp_path)
    close(loop._event_file)
    assert loop.stop_reason == "max_epoch"
