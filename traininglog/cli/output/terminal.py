"""Printing: notes, tables, and progress.

A terminal gets colours, and lines that fit its width. A pipe gets the same columns, plain, uncut.
On a narrow terminal a table leaves out its least important columns, and says which. Names and
other texts are cut in the middle. Numbers, UUIDs and states are shown whole, or not at all.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from traininglog.display.fitting import columns_of, shortened
from traininglog.display.plain_text import visible

if TYPE_CHECKING:
    from rich.console import Console

#: The delay in seconds before progress is shown.
PATIENCE = 0.4

_NARROWEST = 8  # the minimal width of a column that may be cut
_COMFORTABLE = 20  # details are left out before a column is cut to fewer columns of the terminal
_GAP = "  "
_NAMED = 12  # how many columns that are left out are named

# A text that would say something false if a part of it were missing: a number, also with a unit
# or a time, or what stands in place of one.
_EXACT = re.compile(
    r"-|[-+]?(\d[\d,_.]*(e[-+]?\d+)?|NaN|Infinity|inf|None|True|False)"
    r"( ?%| @ -?\d+| \w{1,5})?",
    re.IGNORECASE,
)

# The importance of columns: on a narrow terminal, those with less are left out first.
IDENTITY = 100  #: names the line; never left out
ASKED = 80  #: the user asked for it
USUAL = 50
DETAIL = 20  #: left out before anything is cut


class Heading(NamedTuple):
    """A column of a table."""

    name: str
    right: bool = False  #: whether to align right, as for numbers
    cut: bool = False  #: whether texts in it may be cut in the middle; numbers in it never are
    importance: int = USUAL  #: how late it is left out on a narrow terminal


class Cell(NamedTuple):
    """A text in a table, and its style on a terminal."""

    text: str
    style: str = ""


def on_terminal() -> bool:
    """Return whether stdout is a terminal."""
    return sys.stdout.isatty()


def width() -> int | None:
    """Return the width of the terminal that stdout is; None if it is none."""
    return _console().width if on_terminal() else None


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
    headings: Sequence[Heading],
    rows: Sequence[Sequence[Cell] | Sequence[Cell | str]],
    *,
    remedy: str = "a wider terminal shows them",
) -> None:
    """Print a table, as wide as its contents; on a terminal, at most as wide as the terminal.

    Args:
        headings: The columns. The first one names the line.
        rows: The lines.
        remedy: How the user gets to see columns that are left out.

    """
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    cells = [[Cell(visible(cell.text), cell.style) for cell in row] for row in cells]
    texts = [
        [visible(heading.name), *(row[number].text for row in cells)]
        for number, heading in enumerate(headings)
    ]
    available = width()
    shown = fitted_columns(headings, texts, available)
    header = [Cell(visible(heading.name), "bold") for heading in headings]
    for row in [header, *cells]:
        line([_padded(row[at], wide, right=headings[at].right) for at, wide in shown.items()])
    left_out = [texts[at][0] for at in range(len(headings)) if at not in shown]
    if left_out:
        some = ", ".join(left_out[:_NAMED]) + (", ..." if len(left_out) > _NAMED else "")
        say(f"not shown on {available} columns: {some}; {remedy}", "dim")


def fitted_columns(
    headings: Sequence[Heading], texts: Sequence[Sequence[str]], available: int | None
) -> dict[int, int]:
    """Return the columns of a table to show, in order, each with its width.

    Args:
        headings: The columns.
        texts: The texts of each column, its name first.
        available: The width of the terminal; None: no bound.

    """
    widths = [max(map(columns_of, column)) for column in texts]
    if available is None:
        return dict(enumerate(widths))
    least = [
        _least(column) if heading.cut else width
        for heading, column, width in zip(headings, texts, widths, strict=True)
    ]
    easy = [max(low, min(width, _COMFORTABLE)) for low, width in zip(least, widths, strict=True)]
    shown = set(range(len(headings)))

    def fits(columns: Collection[int], wanted: Sequence[int]) -> bool:
        gaps = len(_GAP) * (len(columns) - 1)
        return sum(wanted[at] for at in columns) + gaps <= available

    # Of equally important columns, the last is left out first. The first column always stays.
    order = sorted(range(1, len(headings)), key=lambda at: (headings[at].importance, -at))
    for at in order:
        if fits(shown, easy if headings[at].importance < USUAL else least):
            break
        if headings[at].importance < IDENTITY:
            shown.remove(at)
    for at in reversed(order):  # what made room may have made more than was needed
        wanted = easy if headings[at].importance < USUAL else least
        if at not in shown and fits(shown | {at}, wanted):
            shown.add(at)
    fitted = {at: widths[at] for at in sorted(shown)}
    excess = sum(fitted.values()) + len(_GAP) * (len(fitted) - 1) - available
    while excess > 0:
        able = [at for at, width in fitted.items() if width > least[at]]
        if not able:
            break
        fitted[max(able, key=fitted.__getitem__)] -= 1
        excess -= 1
    return fitted


def _least(texts: Sequence[str]) -> int:
    """Return the minimal width of a column of texts that may be cut."""
    return max(
        columns_of(text) if _EXACT.fullmatch(text) else min(columns_of(text), _NARROWEST)
        for text in texts
    )


def facts(known: Sequence[tuple[str, object]]) -> None:
    """Print pairs of names and values, one per line."""
    longest = max(len(name) for name, _ in known)
    for name, value in known:
        shown = value if isinstance(value, Cell) else Cell(str(value))
        line([Cell(name.ljust(longest), "dim"), Cell(visible(shown.text), shown.style)])


def line(cells: Sequence[Cell]) -> None:
    """Print padded cells side by side. A line that is too long goes on in the next, uncut."""
    if not on_terminal():
        print(_GAP.join(cell.text for cell in cells).rstrip())  # noqa: T201
        return
    from rich.text import Text

    text = Text(_GAP).join(Text(cell.text, cell.style) for cell in cells)
    text.rstrip()
    _console().print(text, soft_wrap=True)


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
    """Return a text with this width on the terminal: padded, or cut in the middle.

    A number is not cut.
    """
    return _padded(Cell(text), width, right=right).text


def _padded(cell: Cell, width: int, *, right: bool) -> Cell:
    text = cell.text if _EXACT.fullmatch(cell.text) else shortened(cell.text, width)
    padding = " " * (width - columns_of(text))
    return Cell(padding + text if right else text + padding, cell.style)


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)
