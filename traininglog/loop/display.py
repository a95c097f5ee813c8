"""How a training that runs looks: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, Protocol, TextIO

from traininglog.fitting import (
    NO_RATE,
    SHORT_TIME,
    SHORT_WORDS,
    Form,
    ellipsis_for,
    encodable,
    fitted,
)

if TYPE_CHECKING:
    from rich.progress import Progress

#: Seconds between two looks of a bar, and between two lines.
BAR_SECONDS = 0.1
LINE_SECONDS = 10.0


class View(NamedTuple):
    """What there is to be seen at a moment."""

    fraction: float | None
    tag: str  #: "Epoch 1/2, Step 3/4, ETA 5s"
    short_tag: str  #: "1/2, 3/4, ETA 5s"
    left: str  #: "ETA 5s", or ""
    rate: float | None  #: steps per second
    metrics: Sequence[tuple[str, str]]  #: names, and values as they are shown


class Display(Protocol):
    """Something that shows how far a training has come."""

    due: float  #: by the monotonic clock, when to show something next

    def show(self, view: View) -> None:
        """Show it."""

    def close(self) -> None:
        """Show nothing more."""


def display(wanted: bool | None, say: Callable[[str], None]) -> Display | None:
    """Return how to show progress.

    Args:
        wanted: None: a bar if stderr is a terminal (lines, if it is a dumb one), else nothing.
            True: a bar, or lines. False: nothing.
        say: Prints a line.

    """
    if wanted is False:
        return None
    dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    if sys.stderr is not None and _is_terminal(sys.stderr):
        return Lines(say) if dumb else Bar()
    return Lines(say) if wanted else None


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


class Bar:
    """A bar at the foot of the terminal; what is printed goes above it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        class Terminal(Console):
            """A console that tells who draws that the terminal is gone: Rich ends the program."""

            def on_broken_pipe(self) -> None:
                raise  # noqa: PLE0704 - it is called where that is caught

        self._console = Terminal(stderr=True, highlight=False, markup=False, emoji=False)

        def text(field: str) -> TextColumn:
            column = Column(no_wrap=True, overflow="ellipsis")
            return TextColumn(f"{{task.fields[{field}]}}", markup=False, table_column=column)

        self._drawn = BarColumn(bar_width=20)
        self._with_bar = (text("before"), self._drawn, text("after"))
        self._without = (text("before"), text("after"))
        self._bar: Progress = Progress(
            *self._with_bar,
            console=self._console,
            redirect_stdout=sys.stdout.isatty(),  # what goes to a file is none of our business
            auto_refresh=False,  # no thread of its own: the loop says when
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, before="", after="")
        self._started = False
        self.due = monotonic()

    def show(self, view: View) -> None:
        """Draw the bar."""
        if not self._started:
            self._bar.start()
            self._started = True
        encoding = self._console.encoding
        line = fitted(
            self._console.width,
            [
                [
                    (0, view.tag),
                    (SHORT_WORDS, view.short_tag),
                    (SHORT_TIME, view.left or view.short_tag),
                ],
                _rate(view.rate),
            ],
            [(encodable(name, encoding), value) for name, value in view.metrics],
            between=": ",
            ellipsis=ellipsis_for(encoding),
        )
        before, rate = line.pieces
        self._drawn.bar_width = line.bar
        self._bar.columns = self._with_bar if line.bar else self._without
        self._bar.update(
            self._task,
            total=None if view.fraction is None else 1.0,
            completed=view.fraction or 0.0,
            before=before,
            after="  ".join(filter(None, [rate, line.metrics])),
        )
        self._bar.refresh()
        self.due = monotonic() + BAR_SECONDS

    def close(self) -> None:
        """Take the bar away."""
        if self._started:
            self._bar.stop()
            self._started = False


def _rate(rate: float | None) -> list[Form]:
    if not rate:
        return [(0, "")]
    number = f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"
    if rate >= 1:
        short = f"{rate:.0f}" if 10 <= rate < 100 else number
        return [(0, f"{number} steps/s"), (SHORT_WORDS, f"{short}/s"), (NO_RATE, "")]
    number = f"{1 / rate:,.3g}" if rate > 0.001 else f"{1 / rate:,.0f}"
    return [(0, f"{number} s/step"), (NO_RATE, "")]


class Lines:
    """A line now and then."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.due = monotonic() + LINE_SECONDS

    def show(self, view: View) -> None:
        """Print a line."""
        percent = "" if view.fraction is None else f"{view.fraction:4.0%} "
        metrics = "  ".join(f"{name}: {value}" for name, value in view.metrics)
        self._say(f"{percent}[{view.tag}] {metrics}".rstrip())
        self.due = monotonic() + LINE_SECONDS

    def close(self) -> None:
        """Do nothing: what was printed is printed."""
