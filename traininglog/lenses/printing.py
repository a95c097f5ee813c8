"""Lenses' numbers in the terminal."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from traininglog.lenses.lens import AbstractVisualizer
from traininglog.lenses.statistics import RANGES
from traininglog.lenses.tags import Numbers, TagAttributes, printable


class PrintVisualizer(AbstractVisualizer):
    """Prints a table at each tick: a line per layer, a column per tag, as line and ranges.

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
        if small:
            table = Table(box=SIMPLE_HEAD, title=f"time {time}", title_justify="left")
            table.add_column("layer", overflow="fold")
            for tag in small:
                table.add_column(
                    Text(printable(tag), overflow="fold"), justify="right", overflow="fold"
                )
            layers = dict.fromkeys(layer for tag in small for layer in self._numbers[tag])
            for layer in layers:
                cells = [self._shown(tag, self._numbers[tag].get(layer)) for tag in small]
                table.add_row(Text(printable(layer)), *map(Text, cells))
            self.console.print(table)
        self._numbers = {}

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
