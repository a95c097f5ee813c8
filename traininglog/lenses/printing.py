"""Lenses' numbers in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from traininglog.lenses.lens import AbstractVisualizer
from traininglog.lenses.statistics import RANGES
from traininglog.lenses.tags import Numbers, TagAttributes, printable

#: What a column takes beside its text.
_PADDING = 3


class PrintVisualizer(AbstractVisualizer):
    """Prints a table at each tick: a line per layer, a column per tag, as line and ranges.

    Where tags are many there are several, none wider than the console.

    Args:
        console: A Rich console; by default the terminal.

    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self._tags: dict[str, TagAttributes] = {}
        self._numbers: dict[str, Numbers] = {}

    def register_tag(self, tag: str, attributes: TagAttributes) -> None:
        """Get to know a tag."""
        self._tags[tag] = attributes

    def plot(self, time: int, tag: str, numbers: Numbers) -> None:
        """Take numbers."""
        self._numbers[tag] = numbers

    def end_tick(self, time: int) -> None:
        """Print the tables: a small one of the big tags, and one of the layers."""
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
        for number, tags in enumerate(self._side_by_side(small)):
            self.console.print(self._table(tags, f"time {time}" if number == 0 else None))
        self._numbers = {}

    def _side_by_side(self, tags: Sequence[str]) -> list[list[str]]:
        """Part tags into tables that are no wider than the console: a wider one is not read."""
        tables: list[list[str]] = []
        room = 0
        for tag in tags:
            numbers = self._numbers[tag]
            needed = self._width(tag) + _PADDING
            name = self._name_width(numbers) + _PADDING
            if not tables or needed > room:
                tables.append([])
                room = self.console.width - name
            tables[-1].append(tag)
            room -= needed
        return tables

    def _name_width(self, layers: Iterable[str]) -> int:
        """Return how wide the names of layers are; the longest are broken."""
        return min(max(map(len, layers), default=0), self.console.width // 3)

    def _width(self, tag: str) -> int:
        """Return how wide the column of a tag is: its name may be broken, but no word."""
        words = printable(tag).split() or [""]
        cells = [self._shown(tag, points) for points in self._numbers[tag].values()]
        return max(map(len, [*words, *cells]))

    def _table(self, tags: Sequence[str], title: str | None) -> Table:
        table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
        layers = dict.fromkeys(layer for tag in tags for layer in self._numbers[tag])
        table.add_column("layer", overflow="fold", min_width=self._name_width(layers))
        for tag in tags:
            wide = min(self._width(tag), self.console.width // 2)
            heading = Text(printable(tag), overflow="fold")
            table.add_column(heading, justify="right", overflow="fold", min_width=wide)
        for layer in layers:
            cells = [self._shown(tag, self._numbers[tag].get(layer)) for tag in tags]
            table.add_row(Text(printable(layer)), *map(Text, cells))
        return table

    def _shown(self, tag: str, points: Any) -> str:
        if not points:
            return ""
        attributes = self._tags[tag]
        if attributes.kind == "relation":
            return f"{points['share']:.0%}"
        if attributes.kind == "distribution":
            return f"{points['q05']:.2g} .. {points['q95']:.2g}"
        shown = f"{points[attributes.line]:.3g}" if attributes.line in points else ""
        if shown and attributes.unit:
            shown += f" {printable(attributes.unit)}"
        for name in attributes.ranges:
            low, high = (points.get(part) for part in RANGES[name])
            if low is not None and high is not None:
                shown += f" ±{high:.2g}" if name == "std" else f" [{low:.2g}, {high:.2g}]"
        return shown
