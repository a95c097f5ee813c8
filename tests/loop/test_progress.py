"""How far a training has come, and how that looks on a terminal and elsewhere."""

from __future__ import annotations

import os
import re
import sys
import time

import pexpect
import pytest
from patience import GUARD

from traininglog import TrainingLog
from traininglog.loop import TrainLoop, format_duration
from traininglog.loop.reports import progress_display


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (0.0123456, "0.01235s"), (1, "1s"), (9.99999, "10s"), (59.9, "59.9s"),
        (59.99, "59.99s"), (59.99999, "1m"), (60, "1m"), (61.5, "1m 1.5s"), (119.999, "2m"),
        (3599.999, "1h"), (3600, "1h"), (3661, "1h 1m 1s"), (86399.9999, "1d"),
        (90061, "1d 1h 1m 1s"), (-5, "5s ago"), (-59.99999, "1m ago"), (1e6, "11d 13h 46m 40s"),
        (float("inf"), "infs"), (float("nan"), "nans"),
    ],
)  # fmt: skip
def test_durations(seconds, text):
    assert format_duration(seconds) == text


def progress_of(data, limits):
    """Return the progress within and after each step."""
    found = []
    with TrainLoop(log=TrainingLog(), print_func=str, **limits) as loop:
        found.append(loop.get_progress())
        for _ in loop.iter_epochs():
            found.extend(loop.get_progress() for _ in loop.iter_steps(data))
            found.append(loop.get_progress())
            if loop.step > 7:
                break
    return found


def test_progress_of_data_that_does_not_tell_its_length():
    """From the second epoch on, the first tells how many steps an epoch has."""
    assert progress_of(lambda: iter("ab"), {"max_epoch": 2}) == [0, 0, 0, 0, 0.5, 0.75, 1]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"max_step": 4}, [0, 0, 0.25, 0.5, 0.5, 0.75, 1]),
        ({"max_epoch": 2}, [0, 0, 0.25, 0.5, 0.5, 0.75, 1]),
        ({"max_epoch": 2, "max_step": 100}, [0, 0, 0.25, 0.5, 0.5, 0.75, 1]),
        ({}, [None] * 13),
        ({"max_epoch": 0}, [1]),
        ({"max_step": 0}, [1]),
    ],
)
def test_progress(limits, expected):
    assert progress_of("ab", limits) == expected


@pytest.mark.parametrize("limits", [{"max_step": 4}, {"max_epoch": 2}])
def test_a_step_whose_logs_were_printed_is_done(limits, monkeypatch):
    """In progress, in the time left and in the tag, though its body has yet to end."""
    lines, now = [], [0.0]
    monkeypatch.setattr("traininglog.loop.reports.progress.monotonic", lambda: now[0])
    with TrainLoop(log=TrainingLog(), print_func=lines.append, **limits) as loop:
        for _ in loop.iter_epochs():
            for step, _ in loop.iter_steps("ab"):
                now[0] += 5
                assert loop.get_progress() == (step - 1) / 4
                loop.collect_metrics(x=step)
                loop.print_logs()
                assert loop.get_progress() == step / 4
                assert loop.get_eta() == 20 - 5 * step
    left = [line[line.index("ETA") : line.index("]")] for line in lines]
    assert left == ["ETA 15s", "ETA 10s", "ETA 5s", "ETA 0s"]


def test_there_is_no_time_left_before_there_is_progress():
    with TrainLoop(log=TrainingLog(), max_step=4) as loop:
        assert loop.get_eta() is None
        for _ in loop.iter_epochs():
            for step, _ in loop.iter_steps("abcd"):
                time.sleep(0.05)
                left = loop.get_eta()
                assert (left is None) == (step == 1)
    assert loop.get_eta() == 0


def test_the_time_left_is_right_straight_after_a_resume(tmp_path):
    """900 of 1000 steps were done in no time, by another session."""

    def train(max_step, seconds):
        logs.append(TrainingLog())
        with TrainLoop(
            log=logs[-1], max_step=max_step, checkpoint_dir=tmp_path, print_func=str
        ) as loop:
            for _ in loop.iter_epochs():
                for step in loop.iter_steps():
                    time.sleep(seconds)
                    if step == 911:
                        return loop.get_eta()
        return None

    logs = []
    train(900, 0)
    assert 0.9 * 0.02 * 90 < train(1000, 0.02) < 3 * 0.02 * 90


def test_off_a_terminal_there_are_lines_if_asked_for(monkeypatch):
    monkeypatch.setattr(progress_display, "LINE_SECONDS", 0.05)
    for wanted in (None, True, False):
        lines = []
        with TrainLoop(
            log=TrainingLog(), max_step=20, progress=wanted, print_func=lines.append
        ) as loop:
            for _ in loop.iter_epochs():
                for step, _ in loop.iter_steps(range(99)):
                    loop.collect_metrics(loss=step)
                    time.sleep(0.01)
        assert bool(lines) == bool(wanted)
        for line in lines:
            assert re.fullmatch(
                r" *\d+% \[Epoch 1, Step \d+/20(, ETA \S+)?\] loss: [\d.]+", line
            ), line


PROGRAM = """
import sys, time
from traininglog import TrainingLog
from traininglog.loop import TrainLoop
with TrainLoop(log=TrainingLog(), max_epoch=3) as loop:
    for epoch in loop.iter_epochs():
        for step, _ in loop.iter_steps(range(20)):
            loop.collect_metrics(loss=1 / step, acc=0.5)
            time.sleep(0.03)
        loop.print_logs()
print("ended", loop.step, loop.stop_reason)
"""


@pytest.fixture
def terminal(tmp_path):
    def terminal(code=PROGRAM):
        child = pexpect.spawn(
            sys.executable, ["-W", "error", "-c", code],
            env=os.environ | {"TERM": "xterm-256color"}, dimensions=(24, 100), encoding="utf-8",
            timeout=GUARD, cwd=str(tmp_path),
        )  # fmt: skip
        child.delaybeforesend = None
        return child

    return terminal


def plain(text):
    """Return what was written to a terminal, a line for each time that it went back to the left."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n")


def test_a_live_bar_on_a_terminal(terminal):
    child = terminal()
    child.expect(r"Epoch 1/3, Step \d+, ETA \d")
    child.expect("loss: 0")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    shown = plain(child.before)
    lines = re.findall(r"^\[Epoch (\d)/3, Step (\d+)[^\]]*\] epoch time: .*$", shown, re.MULTILINE)
    assert lines == [("1", "20"), ("2", "40"), ("3", "60")]  # printed above the bar, and left there
    assert "ended 60 max_epoch" in shown
    assert shown.rstrip().endswith("ended 60 max_epoch")  # and the bar is gone


def test_ctrl_c_at_a_terminal_ends_the_epoch(terminal):
    child = terminal()
    child.expect("Epoch 1/3, Step")
    child.sendintr()
    child.expect("Interrupted: ends after this epoch; once more: after this step.")
    child.expect("ended 20 SIGINT")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_ctrl_c_three_times_is_a_keyboard_interrupt(terminal):
    child = terminal()
    child.expect("Epoch 1/3, Step")
    for _ in range(2):
        child.sendintr()
        child.expect("Interrupted: ends after")
    # The second may have ended it already: then there is nothing left to interrupt.
    child.sendintr()
    index = child.expect(["KeyboardInterrupt", r"ended \d+ SIGINT"])
    child.expect(pexpect.EOF)
    child.close()
    assert index == 1 or child.exitstatus != 0


def test_what_is_printed_to_a_file_stays_out_of_the_terminal(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    child = pexpect.spawn(
        "/bin/sh", ["-c", f"{sys.executable} -W error program.py > out"],
        env=os.environ | {"TERM": "xterm-256color"}, dimensions=(24, 100), encoding="utf-8",
        timeout=GUARD, cwd=str(tmp_path),
    )  # fmt: skip
    child.expect(pexpect.EOF)
    shown = plain(child.before)
    assert "Step" in shown
    assert "epoch time" not in shown
    lines = (tmp_path / "out").read_text().splitlines()
    assert len(lines) == 4
    assert all("\x1b" not in line for line in lines)
