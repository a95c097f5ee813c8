"""The display of a running training: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from time import monotonic
from typing import NamedTuple, Protocol

from traininglog.display.bar import TerminalBar, is_dumb, is_terminal
from traininglog.display.durations import rate_forms
from traininglog.display.fitting import (
    SHORT_TIME,
    SHORT_WORDS,
    ellipsis_for,
    encodable,
    fitted,
)

#: Seconds between two updates of a bar, and between two lines.
BAR_SECONDS = 0.1
LINE_SECONDS = 10.0


class View(NamedTuple):
    """The facts to display at one moment."""

    fraction: float | None
    tag: str  #: "Epoch 1/2, Step 3/4, ETA 5s"
    short_tag: str  #: "1/2, 3/4, ETA 5s"
    left: str  #: "ETA 5s", or ""
    rate: float | None  #: steps per second
    metrics: Sequence[tuple[str, str]]  #: names and formatted values


class ProgressDisplay(Protocol):
    """Displays the progress of a training."""

    due: float  #: when to show the next view, by the monotonic clock

    def show(self, view: View) -> None:
        """Show a view."""

    def close(self) -> None:
        """End the display."""


def progress_display(wanted: bool | None, say: Callable[[str], None]) -> ProgressDisplay | None:
    """Return a display of progress, or None.

    Args:
        wanted: None: a bar if stderr is a terminal (lines, if it is a dumb one), else nothing.
            True: a bar, or lines. False: nothing.
        say: Prints a line.

    """
    if wanted is False:
        return None
    if is_terminal(sys.stderr):
        return ProgressLines(say) if is_dumb() else ProgressBar()
    return ProgressLines(say) if wanted else None


class ProgressBar:
    """A bar at the foot of the terminal; printed lines go above it."""

    def __init__(self) -> None:
        self._bar = TerminalBar(sys.stderr, transient=True)
        self.due = monotonic()

    def show(self, view: View) -> None:
        """Draw the bar."""
        encoding = self._bar.encoding
        line = fitted(
            self._bar.width,
            [
                [
                    (0, view.tag),
                    (SHORT_WORDS, view.short_tag),
                    (SHORT_TIME, view.left or view.short_tag),
                ],
                rate_forms(view.rate),
            ],
            [(encodable(name, encoding), value) for name, value in view.metrics],
            between=": ",
            ellipsis=ellipsis_for(encoding),
        )
        before, rate = line.pieces
        self._bar.draw(
            view.fraction or 0.0,
            None if view.fraction is None else 1.0,
            line.bar,
            before=before,
            after="  ".join(filter(None, [rate, line.metrics])),
        )
        self.due = monotonic() + BAR_SECONDS

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()


class ProgressLines:
    """A line every `LINE_SECONDS`."""

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
        """Do nothing: printed lines stay."""
