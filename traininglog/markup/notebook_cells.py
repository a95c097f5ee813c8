"""What a cell of a notebook shows of a log, a row, a group or a store: small, and escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from traininglog.display.plain_text import counted, cut
from traininglog.markup.elements import Content, Markup, element, joined, table
from traininglog.markup.sparklines import sparkline
from traininglog.markup.texts import brief

if TYPE_CHECKING:
    from traininglog.columns import Column

#: How many lines a table in a cell has at most.
MOST_LINES = 12


def cell(
    heading: str,
    about: Sequence[str],
    heads: Sequence[str],
    rows: Iterable[Sequence[Content]],
    left_out: int,
    noun: str,
) -> str:
    """Return a heading, facts, and a table with what was left out of it."""
    lines = list(rows)
    parts = [element("strong", cut(heading, 200))]
    parts += [element("div", cut(each, 300)) for each in about]
    if lines:
        parts.append(table("", heads, lines))
    if left_out > 0:
        parts.append(element("div", f"{counted(left_out, noun)} more"))
    return str(element("div", joined(parts)))


def mapping_cell(heading: str, found: Mapping[str, object]) -> str:
    """Return a row or a status: keys and values."""
    shown = [(cut(key), brief(value)) for key, value in islice(found.items(), MOST_LINES)]
    return cell(heading, [], ["key", "value"], shown, len(found) - len(shown), "key")


def columns_cell(heading: str, about: Sequence[str], columns: Sequence[Column], keys: int) -> str:
    """Return a log: the last value of each key, its extremes, and its curve."""
    rows = []
    for column in columns:
        least, greatest = column.best("min"), column.best("max")
        rows.append(
            [
                cut(column.key),
                brief(column.last.value),
                str(column.last.time),
                "" if least is None else brief(least.value),
                "" if greatest is None else brief(greatest.value),
                sparkline(column),
            ]
        )
    heads = ["key", "last", "at time", "min", "max", "curve"]
    return cell(heading, about, heads, rows, keys - len(rows), "key")


def lines_cell(
    heading: str, heads: Sequence[str], lines: Sequence[Sequence[object]], left_out: int, noun: str
) -> str:
    """Return a list: one line each."""
    rows: list[list[Markup | str]] = [[brief(value) for value in line] for line in lines]
    return cell(heading, [], heads, rows, left_out, noun)
