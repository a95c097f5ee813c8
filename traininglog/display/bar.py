"""A bar on a terminal, drawn by Rich. Printed lines appear above it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress

#: The columns of a bar if there is room for it.
BAR_WIDTH = 20


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether an output is a terminal; False if it is closed or None."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def is_dumb() -> bool:
    """Return whether the terminal, by its `TERM`, cannot redraw: it gets plain lines."""
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


class TerminalBar:
    """A bar at the foot of a terminal, with text before and after it.

    The calling thread draws it: a thread of its own would interfere with forks.

    Args:
        file: The terminal.
        transient: Whether `close` removes the bar; else it stays as it is.

    """

    def __init__(self, file: TextIO, *, transient: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        class Terminal(Console):
            """A console that raises if the terminal is gone, where Rich would end the program."""

            def on_broken_pipe(self) -> None:
                raise  # noqa: PLE0704 - Rich calls it in the except clause of the error

        def text(field: str) -> TextColumn:
            column = Column(no_wrap=True, overflow="ellipsis")
            return TextColumn(f"{{task.fields[{field}]}}", markup=False, table_column=column)

        self._console = Terminal(file=file, highlight=False, markup=False, emoji=False)
        self._drawn = BarColumn(BAR_WIDTH)
        self._before, self._after = text("before"), text("after")
        self._progress: Progress = Progress(
            console=self._console,
            # Redirect terminals only: output to a file does not disturb the bar.
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
        """Draw the bar.

        Args:
            done: The amount done.
            total: The whole amount; None: the bar pulses.
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
        """Remove the bar, or leave it as it is, and give the cursor back."""
        if self._started:
            self._progress.stop()
            self._started = False
