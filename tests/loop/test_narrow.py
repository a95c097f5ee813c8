"""The bar of a loop on terminals of all kinds: narrow, dumb, without letters."""

from __future__ import annotations

import os
import re
import sys

import pexpect
import pytest
from patience import GUARD

from traininglog.display.fitting import columns_of

PROGRAM = """
import time
from traininglog import TrainingLog
from traininglog.loop import TrainLoop
LONG = "validation/mean_absolute_percentage_error_of_the_first_head"
with TrainLoop(log=TrainingLog(), max_epoch=3) as loop:
    for epoch in loop.iter_epochs():
        for step, _ in loop.iter_steps(range(10)):
            loop.collect_metrics({"loss": 0.5, LONG: 1 / step, "\\u706b": 2.0})
            time.sleep(0.06)
print("ended", loop.step)
"""


def lines(columns, term="xterm-256color", **environment):
    """Return what is seen on a terminal of so many columns, a line for each drawing."""
    child = pexpect.spawn(
        sys.executable, ["-W", "error", "-c", PROGRAM], encoding="utf-8", timeout=GUARD,
        dimensions=(24, columns), env=os.environ | {"TERM": term} | environment,
    )  # fmt: skip
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0, child.before
    assert "ended 30" in child.before
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", child.before)
    return [line for line in re.split(r"[\r\n]+", text) if line.strip()]


@pytest.mark.parametrize("columns", [100, 60, 40, 30])
def test_bar_rate_time_left_and_numbers_are_seen_at_any_width(columns):
    shown = [line for line in lines(columns) if "━" in line or "╸" in line]
    assert max(map(columns_of, shown)) <= columns
    whole = [line for line in shown if "ETA" in line and re.search(r"steps/s|/s|s/step", line)]
    assert whole, shown
    if columns >= 40:
        assert any("loss: 0.5" in line for line in whole), whole


def test_a_dumb_terminal_has_no_bar():
    shown = lines(80, term="dumb")
    assert shown == ["ended 30"]  # a line would come after ten seconds


def test_what_a_terminal_cannot_encode_is_escaped():
    shown = lines(100, PYTHONIOENCODING="ascii", LC_ALL="C")
    assert any(r"\u706b: 2" in line for line in shown), shown
    assert all(line.isascii() for line in shown)
