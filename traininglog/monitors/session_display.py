"""Displays of the progress of a session: on a terminal, in a notebook, or in a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from traininglog.display.bar import BAR_WIDTH, TerminalBar, is_dumb, is_terminal
from traininglog.display.durations import on_a_clock, rate_forms
from traininglog.display.fitting import (
    NO_TIME,
    SHORT_TIME,
    Fitted,
    ellipsis_for,
    encodable,
    fitted,
)
from traininglog.display.notebook import NotebookPlace, in_notebook

_GAP = "  "


@dataclass
class Stand:
    """The present state of a session."""

    num_steps: int | None
    step: int = 0
    elapsed: float = 0.0  #: seconds
    rate: float | None = None  #: recent steps per second
    metrics: Sequence[tuple[str, float]] = field(default_factory=list)
    over: bool = False

    @property
    def share(self) -> float | None:
        """The part that is done, from 0 to 1; None if the number of steps is unknown."""
        if self.num_steps is None:
            return None
        return min(1.0, self.step / self.num_steps) if self.num_steps else 1.0

    def words(self, *, percent: bool) -> str:
        """Return the state as one line of text."""
        parts = [self.count]
        if percent and self.share is not None:
            parts.append(f"{int(100 * self.share)}%")
        parts += [f"{label} {value:.4g}" for label, value in self.metrics]
        return _GAP.join(filter(None, [*parts, rate_forms(self.rate)[0][1], self.time]))

    @property
    def count(self) -> str:
        """The number of steps done, and the total if it is known."""
        return f"{self.step:,}" if self.num_steps is None else f"{self.step:,}/{self.num_steps:,}"

    @property
    def time(self) -> str:
        """The time left, or the time that the session took; empty if unknown."""
        if self.over:
            return f"in {on_a_clock(self.elapsed)}"
        if self.rate and self.num_steps is not None and self.step < self.num_steps:
            return f"{on_a_clock((self.num_steps - self.step) / self.rate)} left"
        return ""

    def fitted(self, width: int, encoding: str | None) -> Fitted:
        """Return the state fitted into a line beside a bar; the least important parts go first."""
        return fitted(
            width,
            [
                [(0, self.count)],
                rate_forms(self.rate),
                [(0, self.time), (SHORT_TIME, self.time.removesuffix(" left")), (NO_TIME, "")],
            ],
            [
                (encodable(label, encoding), f"{value:.4g}", f"{value:.3g}")
                for label, value in self.metrics
            ],
            ellipsis=ellipsis_for(encoding),
        )


class SessionDisplay(Protocol):
    """Displays the state of a session repeatedly."""

    def show(self, stand: Stand) -> None:
        """Show the state."""

    def close(self) -> None:
        """Close the display, and leave its place to other output."""


class SessionBar:
    """A bar on a terminal. Printed lines appear above it."""

    def __init__(self, file: TextIO) -> None:
        self._bar = TerminalBar(file, transient=False)

    def show(self, stand: Stand) -> None:
        """Draw the bar."""
        total = stand.num_steps
        if stand.over and total is None:
            total = stand.step  # the bar stops pulsing
        # Without any steps to do the bar is full.
        total, done = (1, 1) if total == 0 else (total, stand.step)
        found = stand.fitted(self._bar.width, self._bar.encoding)
        count, rate, time = found.pieces
        words = _GAP.join(filter(None, [count, found.metrics, rate, time]))
        self._bar.draw(done, total, found.bar, after=words)

    def close(self) -> None:
        """Leave the bar as it is, and give the cursor back."""
        self._bar.close()


class SessionCell:
    """A line in the output of a notebook, which each update replaces."""

    def __init__(self) -> None:
        self._place = NotebookPlace()

    def show(self, stand: Stand) -> None:
        """Replace the line."""
        share = 0.0 if stand.share is None else stand.share
        done = int(share * BAR_WIDTH)
        bar = "" if stand.share is None else "━" * done + "─" * (BAR_WIDTH - done) + _GAP
        self._place.show({"text/plain": bar + stand.words(percent=False)})

    def close(self) -> None:
        """Do nothing: the line stays."""


class SessionLines:
    """A limited number of plain lines, for a file, a pipe or a dumb terminal.

    A line is due at every twentieth of the steps, and after a minute without one.
    """

    PARTS, PATIENCE = 20, 60.0

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._part = -1
        self._since = 0.0

    def show(self, stand: Stand) -> None:
        """Print a line if one is due."""
        part = -1 if stand.share is None else int(stand.share * self.PARTS)
        due = part > self._part or stand.elapsed >= self._since + self.PATIENCE
        if stand.step in (0, stand.num_steps):  # the first is empty, the last comes at the end
            due = False
        if not (due or stand.over):
            return
        self._part, self._since = max(part, self._part), stand.elapsed
        words = f"step {stand.words(percent=True)}"
        self._file.write(encodable(words, getattr(self._file, "encoding", None)) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Do nothing: all lines are written."""


def display_for(file: TextIO) -> SessionDisplay:
    """Return the display that suits an output."""
    if file is sys.stdout and in_notebook():
        return SessionCell()
    # If Rich already draws something live on this terminal, print lines above it.
    taken = hasattr(file, "rich_proxied_file")
    return (
        SessionBar(file)
        if is_terminal(file) and not taken and not is_dumb()
        else SessionLines(file)
    )
