"""Printing: notes, tables, and progress.

A terminal gets colours, and lines that fit its width. A pipe gets the same columns, plain, uncut.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from traininglog.cli.output.text import shortened, visible

if TYPE_CHECKING:
    from rich.console import Console

#: The delay in seconds before progress is shown.
PATIENCE = 0.4

_NARROWEST = 8  # the minimal width of a column that may be cut
_GAP = "  "


class Heading(NamedTuple):
    """A column of a table."""

    name: str
    right: bool = False  #: whether to align right, as for numbers
    cut: bool = False  #: whether it may be cut if the terminal is too narrow


class Cell(NamedTuple):
    """A text in a table, and its style on a terminal."""

    text: str
    style: str = ""


def on_terminal() -> bool:
    """Return whether stdout is a terminal."""
    return sys.stdout.isatty()


def note(text: str) -> None:
    """Print a note to the user, which is no output, on stderr."""
    print(visible(text), file=sys.stderr)  # noqa: T201 - the way to say it


def say(text: str, style: str = "") -> None:
    """Print one line of output. Markup and control characters in it are shown literally."""
    shown = visible(text)
    if on_terminal():
        from rich.text import Text

        _console().print(Text(shown, style), soft_wrap=True)
    else:
        print(shown)  # noqa: T201 - output is what a command is for


def table(
    headings: Sequence[Heading], rows: Sequence[Sequence[Cell] | Sequence[Cell | str]]
) -> None:
    """Print a table, as wide as its contents; on a terminal, at most as wide as the terminal."""
    from rich.cells import cell_len

    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    cells = [[Cell(visible(cell.text), cell.style) for cell in row] for row in cells]
    names = [visible(heading.name) for heading in headings]
    widths = [
        max([cell_len(name), *(cell_len(row[number].text) for row in cells)])
        for number, name in enumerate(names)
    ]
    if on_terminal():
        widths = _fitted(headings, widths, _console().width)
    header = [Cell(name, "bold") for name in names]
    for row in [header, *cells]:
        line(
            [
                _padded(cell, width, right=heading.right)
                for cell, width, heading in zip(row, widths, headings, strict=True)
            ]
        )


def facts(known: Sequence[tuple[str, object]]) -> None:
    """Print pairs of names and values, one per line."""
    width = max(len(name) for name, _ in known)
    for name, value in known:
        shown = value if isinstance(value, Cell) else Cell(str(value))
        line([Cell(name.ljust(width), "dim"), Cell(visible(shown.text), shown.style)])


def line(cells: Sequence[Cell]) -> None:
    """Print padded cells side by side."""
    if not on_terminal():
        print(_GAP.join(cell.text for cell in cells).rstrip())  # noqa: T201
        return
    from rich.text import Text

    text = Text(_GAP).join(Text(cell.text, cell.style) for cell in cells)
    text.rstrip()
    _console().print(text, no_wrap=True, overflow="ellipsis", crop=True)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on stderr if it is a terminal; yield a function of (done, total)."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn(shortened(visible(what), 30), markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=_console(stderr=True),
        transient=True,
    )
    task = bar.add_task("", total=None)
    with _late(bar.start, bar.stop):
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Show a spinner on stderr if it is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.text import Text

    status = _console(stderr=True).status(Text(visible(what)))
    with _late(status.start, status.stop):
        yield


@contextmanager
def _late(start: Callable[[], None], stop: Callable[[], None]) -> Iterator[None]:
    """Call `start` only after `PATIENCE`, so that short work shows no bar."""
    timer = threading.Timer(PATIENCE, start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        stop()


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Return a text with exactly this width on the terminal, cut or padded."""
    return _padded(Cell(text), width, right=right).text


def _padded(cell: Cell, width: int, *, right: bool) -> Cell:
    from rich.cells import cell_len, set_cell_size

    text = cell.text
    if cell_len(text) > width:
        text = shortened(text, width)
        while cell_len(text) > width:  # some letters are two columns wide
            text = shortened(text[:-1], len(text) - 1)
        if cell_len(text) > width:
            text = set_cell_size(text, width)
    padding = " " * (width - cell_len(text))
    return Cell(padding + text if right else text + padding, cell.style)


def _fitted(headings: Sequence[Heading], widths: Sequence[int], available: int) -> list[int]:
    """Return widths that fit, as far as the columns that may be cut allow."""
    fitted = list(widths)
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - available
    while excess > 0:
        able = [
            number
            for number, heading in enumerate(headings)
            if heading.cut and fitted[number] > _NARROWEST
        ]
        if not able:
            break
        fitted[max(able, key=fitted.__getitem__)] -= 1
        excess -= 1
    return fitted


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)
