"""How far a session has got, shown on a terminal, in a notebook, or in a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from traininglog.fitting import (
    NO_RATE,
    NO_TIME,
    SHORT_TIME,
    SHORT_WORDS,
    Fitted,
    ellipsis_for,
    encodable,
    fitted,
)
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
        parts = [self.count]
        if percent and self.share is not None:
            parts.append(f"{int(100 * self.share)}%")
        parts += [f"{label} {value:.4g}" for label, value in self.metrics]
        return _GAP.join(filter(None, [*parts, speed(self.rate) if self.rate else "", self.time]))

    @property
    def count(self) -> str:
        """The steps that are done, and of how many."""
        return f"{self.step:,}" if self.num_steps is None else f"{self.step:,}/{self.num_steps:,}"

    @property
    def time(self) -> str:
        """The time that is left, or that it took; empty if nobody knows."""
        if self.over:
            return f"in {duration(self.elapsed)}"
        if self.rate and self.num_steps is not None and self.step < self.num_steps:
            return f"{duration((self.num_steps - self.step) / self.rate)} left"
        return ""

    def fitted(self, width: int, encoding: str | None) -> Fitted:
        """Return it in one line beside a bar: what matters least is cut, if it is too long."""
        rate = speed(self.rate) if self.rate else ""
        return fitted(
            width,
            [
                [(0, self.count)],
                [(0, rate), (SHORT_WORDS, _short(rate, self.rate)), (NO_RATE, "")],
                [(0, self.time), (SHORT_TIME, self.time.removesuffix(" left")), (NO_TIME, "")],
            ],
            [
                (encodable(label, encoding), f"{value:.4g}", f"{value:.3g}")
                for label, value in self.metrics
            ],
            ellipsis=ellipsis_for(encoding),
        )


def _short(rate: str, number: float | None) -> str:
    """Return a rate in fewer letters."""
    if number and 10 <= number < 100:
        return f"{number:.0f}/s"
    return rate.replace(" steps/s", "/s")


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

        line = TextColumn(
            "{task.description}",
            markup=False,
            table_column=Column(no_wrap=True, overflow="ellipsis"),
        )
        self._drawn = BarColumn(_WIDTH)
        self._with_bar, self._without = (self._drawn, line), (line,)
        self._console = Console(file=file, highlight=False, markup=False, emoji=False)
        self._progress = Progress(*self._with_bar, console=self._console, auto_refresh=False)
        self._task = self._progress.add_task("", total=None)
        self._progress.start()

    def show(self, stand: Stand) -> None:
        """Draw it."""
        total = stand.num_steps
        if stand.over and total is None:
            total = stand.step  # a bar that pulses no more
        # A bar of nothing to do is a full one.
        total, done = (1, 1) if total == 0 else (total, stand.step)
        found = stand.fitted(self._console.width, self._console.encoding)
        count, rate, time = found.pieces
        self._drawn.bar_width = found.bar
        self._progress.columns = self._with_bar if found.bar else self._without
        words = _GAP.join(filter(None, [count, found.metrics, rate, time]))
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
        self._file.write(encodable(words, getattr(self._file, "encoding", None)) + "\n")
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
