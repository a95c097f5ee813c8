"""How far a session has got, shown on a terminal, in a notebook, or in a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from traininglog.notebook import Place, in_notebook

_GAP = "  "
_WIDTH = 20  # of a bar, in characters


@dataclass
class Stand:
    """Where a session stands."""

    num_steps: int | None
    step: int = 0
    elapsed: float = 0.0  #: seconds
    rate: float | None = None  #: steps per second, of late
    metrics: Sequence[tuple[str, float]] = field(default_factory=list)
    over: bool = False

    @property
    def share(self) -> float | None:
        """The part that is done, from 0 to 1; None if nobody knows how much there is to do."""
        if self.num_steps is None:
            return None
        return min(1.0, self.step / self.num_steps) if self.num_steps else 1.0

    def words(self, *, percent: bool) -> str:
        """Return it in one line."""
        parts = [
            f"{self.step:,}" if self.num_steps is None else f"{self.step:,}/{self.num_steps:,}"
        ]
        if percent and self.share is not None:
            parts.append(f"{int(100 * self.share)}%")
        parts += [f"{label} {value:.4g}" for label, value in self.metrics]
        if self.rate:
            parts.append(speed(self.rate))
        if self.over:
            parts.append(f"in {duration(self.elapsed)}")
        elif self.rate and self.num_steps is not None and self.step < self.num_steps:
            parts.append(f"{duration((self.num_steps - self.step) / self.rate)} left")
        return _GAP.join(parts)


class Display(Protocol):
    """Shows how a session stands, again and again."""

    def show(self, stand: Stand) -> None:
        """Show it."""

    def close(self) -> None:
        """Leave the place to others."""


class Bar:
    """A bar on a terminal, by Rich. What is printed meanwhile appears above it.

    It is drawn by the thread that writes: a thread of its own would be in the way of forks.
    """

    def __init__(self, file: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        line = Column(no_wrap=True, overflow="ellipsis")
        self._progress = Progress(
            BarColumn(_WIDTH),
            TextColumn("{task.description}", markup=False, table_column=line),
            console=Console(file=file, highlight=False, markup=False, emoji=False),
            auto_refresh=False,
        )
        self._task = self._progress.add_task("", total=None)
        self._progress.start()

    def show(self, stand: Stand) -> None:
        """Draw it."""
        total = stand.num_steps
        if stand.over and total is None:
            total = stand.step  # a bar that pulses no more
        # A bar of nothing to do is a full one.
        total, done = (1, 1) if total == 0 else (total, stand.step)
        words = stand.words(percent=False)
        self._progress.update(self._task, total=total, completed=done, description=words)
        self._progress.refresh()

    def close(self) -> None:
        """Leave the bar as it is, and give the cursor back."""
        self._progress.stop()


class Cell:
    """A line in a notebook's output that is written over."""

    def __init__(self) -> None:
        self._place = Place()

    def show(self, stand: Stand) -> None:
        """Write it over the last one."""
        share = 0.0 if stand.share is None else stand.share
        done = int(share * _WIDTH)
        bar = "" if stand.share is None else "━" * done + "─" * (_WIDTH - done) + _GAP
        self._place.show({"text/plain": bar + stand.words(percent=False)})

    def close(self) -> None:
        """Do nothing: the line stays."""


class Lines:
    """Plain lines, a limited number of them: for a file, a pipe, a dumb terminal.

    A line is due at every twentieth of the way, and after a minute.
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
        if stand.step in (0, stand.num_steps):  # the first says nothing, the last comes at the end
            due = False
        if not (due or stand.over):
            return
        self._part, self._since = max(part, self._part), stand.elapsed
        words = f"step {stand.words(percent=True)}"
        encoding = getattr(self._file, "encoding", None) or "utf-8"
        shown = words.encode(encoding, "backslashreplace").decode(encoding)
        self._file.write(shown + "\n")
        self._file.flush()

    def close(self) -> None:
        """Do nothing: everything is written."""


def display_for(file: TextIO) -> Display:
    """Return what suits an output."""
    if file is sys.stdout and in_notebook():
        return Cell()
    # Where Rich already draws something live on this terminal, lines go above it.
    taken = hasattr(file, "rich_proxied_file")
    if (
        file.isatty()
        and not taken
        and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
    ):
        return Bar(file)
    return Lines(file)


def duration(seconds: float) -> str:
    """Return a time span: seconds up to a minute, then as clocks show it.

    >>> duration(0.25), duration(59.7), duration(3723), duration(183845)
    ('0.2 s', '1:00', '1:02:03', '2d 3:04:05')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)  # before it is taken apart, or there would be a minute of 60 s
    if whole < 60:
        return f"{whole} s"
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour}:{minute:02}:{second:02}"
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def speed(rate: float) -> str:
    """Return steps per second, or where there is less than one, seconds per step.

    >>> speed(18_923.4), speed(3.14159), speed(0.4)
    ('18,923 steps/s', '3.14 steps/s', '2.5 s/step')
    """
    if rate < 1:
        return f"{1 / rate:,.3g} s/step" if rate > 0.001 else f"{1 / rate:,.0f} s/step"
    return f"{rate:,.0f} steps/s" if rate >= 100 else f"{rate:.3g} steps/s"
