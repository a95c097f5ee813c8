"""Lenses' numbers in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from traininglog.lenses.catalogue.histogram import NON_FINITE
from traininglog.lenses.lens import AbstractVisualizer
from traininglog.lenses.numbers.statistics import RANGES
from traininglog.lenses.tags.attributes import Numbers, TagAttributes, printable

#: The cells of a table: tag -> layer -> text.
Columns = dict[str, dict[str, str]]

#: The width of a column beside its text.
_PADDING = 3


class PrintVisualizer(AbstractVisualizer):
    """Prints a table at each tick: one line per layer, one column per tag, with line and ranges.

    Many tags are split into several tables, none wider than the console.

    Args:
        console: A Rich console; by default the terminal.

    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self._tags: dict[str, TagAttributes] = {}
        self._numbers: dict[str, Numbers] = {}

    def register_tag(self, tag: str, attributes: TagAttributes) -> None:
        """Record a tag."""
        self._tags[tag] = attributes

    def plot(self, time: int, tag: str, numbers: Numbers) -> None:
        """Keep the numbers until the end of the tick."""
        self._numbers[tag] = numbers

    def end_tick(self, time: int) -> None:
        """Print one line per big tag, and the tables of the others."""
        big: list[str] = []
        small: list[str] = []
        for tag in [tag for tag in self._tags if tag in self._numbers]:
            (big if self._tags[tag].big else small).append(tag)
        for tag in big:
            told = ", ".join(
                f"{printable(layer)} {self._shown(tag, points)}"
                for layer, points in self._numbers[tag].items()
            )
            self.console.print(Text.assemble((f"{time}  {printable(tag)}: ", "bold"), told))
        cells = {
            tag: {layer: self._shown(tag, of) for layer, of in self._numbers[tag].items()}
            for tag in small
        }
        for number, columns in enumerate(_parted(cells, self.console.width)):
            title = f"time {time}" if number == 0 else None
            self.console.print(_table(columns, self.console.width, title))
        self._numbers = {}

    def _shown(self, tag: str, points: Any) -> str:
        if not points:
            return ""
        attributes = self._tags[tag]
        if attributes.kind == "relation":
            return f"{points['share']:.0%}"
        if attributes.kind == "distribution":
            bad = f" ({points[NON_FINITE]:.0%} not finite)" if points.get(NON_FINITE) else ""
            return f"{points['q05']:.2g} .. {points['q95']:.2g}{bad}"
        lines = [f"{points[name]:.3g}" for name in attributes.lines if name in points]
        shown = (
            lines[0]
            if len(lines) == 1
            else ", ".join(
                f"{printable(name)} {text}"
                for name, text in zip(attributes.lines, lines, strict=False)
            )
        )
        if shown and attributes.unit:
            shown += f" {printable(attributes.unit)}"
        for name in attributes.ranges:
            low, high = (points.get(part) for part in RANGES[name])
            if low is not None and high is not None:
                shown += f" ±{high:.2g}" if name == "std" else f" [{low:.2g}, {high:.2g}]"
        return shown


def _parted(cells: Columns, width: int) -> list[Columns]:
    """Split columns into tables that fit the console, as wider ones are unreadable."""
    tables: list[Columns] = []
    for tag, column in cells.items():
        if not tables or _needed(tables[-1] | {tag: column}, width) > width:
            tables.append({})
        tables[-1][tag] = column
    return tables


def _needed(columns: Columns, width: int) -> int:
    texts = [_name_width(columns, width), *(_width(tag, columns[tag]) for tag in columns)]
    return sum(texts) + _PADDING * len(texts)


def _width(tag: str, column: Mapping[str, str]) -> int:
    """Return the width of a tag's column. Its heading breaks only between words."""
    return max(map(len, ["", *printable(tag).split(), *column.values()]))


def _name_width(columns: Columns, width: int) -> int:
    """Return the width of the column of layers, at most a third; longer names break."""
    return min(max(len(layer) for column in columns.values() for layer in column), width // 3)


def _table(columns: Columns, width: int, title: str | None) -> Table:
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
    table.add_column("layer", overflow="fold", min_width=_name_width(columns, width))
    for tag, column in columns.items():
        heading = Text(printable(tag), overflow="fold")
        wide = min(_width(tag, column), width // 2)
        table.add_column(heading, justify="right", overflow="fold", min_width=wide)
    for layer in dict.fromkeys(layer for column in columns.values() for layer in column):
        found = [column.get(layer, "") for column in columns.values()]
        table.add_row(Text(printable(layer)), *map(Text, found))
    return table
