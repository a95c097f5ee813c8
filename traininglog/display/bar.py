"""A bar on a terminal, by Rich. What is printed meanwhile appears above it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress

#: Columns of a bar where there is room for it.
BAR_WIDTH = 20


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether an output is a terminal. One that is closed, or that there is not, is none."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def is_dumb() -> bool:
    """Tell whether terminals here cannot draw over what they show: they get lines."""
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


class TerminalBar:
    """A bar at the foot of a terminal, with text before and after it.

    It is drawn by the thread that asks for it: a thread of its own would be in the way of forks.

    Args:
        file: The terminal.
        transient: Whether it is taken away in the end; else it stays as it is.

    """

    def __init__(self, file: TextIO, *, transient: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        class Terminal(Console):
            """A console that tells who draws that the terminal is gone: Rich ends the program."""

            def on_broken_pipe(self) -> None:
                raise  # noqa: PLE0704 - it is called where that is caught

        def text(field: str) -> TextColumn:
            column = Column(no_wrap=True, overflow="ellipsis")
            return TextColumn(f"{{task.fields[{field}]}}", markup=False, table_column=column)

        self._console = Terminal(file=file, highlight=False, markup=False, emoji=False)
        self._drawn = BarColumn(BAR_WIDTH)
        self._before, self._after = text("before"), text("after")
        self._progress: Progress = Progress(
            console=self._console,
            # What goes to a file is none of our business.
            redirect_stdout=is_terminal(sys.stdout),
            redirect_stderr=is_terminal(sys.stderr),
            auto_refresh=False,  # no thread of its own
            transient=transient,
        )
        self._task = self._progress.add_task("", total=None, before="", after="")
        self._started = False

    @property
    def width(self) -> int:
        """The columns of the terminal."""
        return self._console.width

    @property
    def encoding(self) -> str:
        """The encoding of the terminal."""
        return self._console.encoding

    def draw(
        self, done: float, total: float | None, width: int, *, before: str = "", after: str = ""
    ) -> None:
        """Draw it.

        Args:
            done: What is done.
            total: Of how much; None: the bar pulses.
            width: The columns of the bar itself; 0: there is none.
            before: The text before the bar.
            after: The text after it.

        """
        self._drawn.bar_width = width
        parts = ((before, self._before), (width, self._drawn), (after, self._after))
        self._progress.columns = tuple(column for there, column in parts if there)
        self._progress.update(self._task, total=total, completed=done, before=before, after=after)
        if not self._started:
            self._started = True
            self._progress.start()
        self._progress.refresh()

    def close(self) -> None:
        """Take it away, or leave it as it is, and give the cursor back."""
        if self._started:
            self._progress.stop()
            self._started = False
