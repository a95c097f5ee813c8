"""How a training that runs looks: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress

#: Seconds between two looks of a bar, and between two lines.
BAR_SECONDS = 0.1
LINE_SECONDS = 10.0


class View(NamedTuple):
    """What there is to be seen at a moment."""

    fraction: float | None
    tag: str  #: "Epoch 1/2, Step 3/4, ETA 5s"
    metrics: str


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
        wanted: None: a bar if stderr is a terminal, else nothing. True: a bar, or lines. False:
            nothing.
        say: Prints a line.

    """
    if wanted is False:
        return None
    if sys.stderr is not None and sys.stderr.isatty():
        return Bar()
    return Lines(say) if wanted else None


class Bar:
    """A bar at the foot of the terminal; what is printed goes above it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._bar: Progress = Progress(
            TextColumn("{task.fields[tag]}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=20),
            TextColumn(
                "{task.fields[metrics]}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
            ),
            console=console,
            redirect_stdout=sys.stdout.isatty(),  # what goes to a file is none of our business
            auto_refresh=False,  # no thread of its own: the loop says when
            transient=True,
            expand=True,
        )
        self._task = self._bar.add_task("", total=None, tag="", metrics="")
        self._started = False
        self.due = monotonic()

    def show(self, view: View) -> None:
        """Draw the bar."""
        if not self._started:
            self._bar.start()
            self._started = True
        self._bar.update(
            self._task,
            total=None if view.fraction is None else 1.0,
            completed=view.fraction or 0.0,
            tag=view.tag,
            metrics=view.metrics,
        )
        self._bar.refresh()
        self.due = monotonic() + BAR_SECONDS

    def close(self) -> None:
        """Take the bar away."""
        if self._started:
            self._bar.stop()
            self._started = False


class Lines:
    """A line now and then."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.due = monotonic() + LINE_SECONDS

    def show(self, view: View) -> None:
        """Print a line."""
        percent = "" if view.fraction is None else f"{view.fraction:4.0%} "
        self._say(f"{percent}[{view.tag}] {view.metrics}".rstrip())
        self.due = monotonic() + LINE_SECONDS

    def close(self) -> None:
        """Do nothing: what was printed is printed."""
