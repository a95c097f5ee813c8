"""The places of charts on a page, in inches, computed directly from the shape of the page.

A page has big charts at the top, each as wide as one or more columns, and bands below. A band has
one column of small charts per tag, side by side. Matplotlib's layout solver takes minutes for a
page with hundreds of axes. Here, only the width of the labels depends on the drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

#: The width of a column, and the minimal width of a page.
COLUMN, PAGE = 3.7, 6.4

#: The heights of a row of big charts, and of a row of small charts.
BIG, SMALL = 2.6, 1.22

#: The room for a chart's title, a layer's name, the labels of a time axis, and the page's margin.
TITLE, NAME, TIMES, EDGE = 0.3, 0.2, 0.24, 0.1

#: The minimal room for labels at the left, the room for one letter, and for a unit beside them.
LABELS, LETTER, UNIT = 0.36, 0.068, 0.2

#: The share of a column that names beside a chart take.
BESIDE = 0.385


class Box(NamedTuple):
    """A rectangle on a page, as shares of its width and height, from the lower left corner."""

    left: float
    bottom: float
    width: float
    height: float


class Page:
    """The places on one page.

    Args:
        columns: The number of columns.
        big_rows: The number of rows of big charts.
        depths: The number of rows of small charts in each band.

    """

    def __init__(self, columns: int, big_rows: int, depths: Sequence[int]) -> None:
        self.width = max(PAGE, COLUMN * columns)
        self._column = self.width / columns
        self._big_rows = big_rows
        self._tops: list[float] = []
        top = EDGE + BIG * big_rows
        for depth in depths:
            self._tops.append(top)
            top += TITLE + SMALL * depth + TIMES
        self.height = top + 0.16 + EDGE
        self._labels = [LABELS] * columns

    def widen(self, column: int, letters: int, *, unit: bool = False) -> None:
        """Reserve room in a column for labels with this number of letters."""
        needed = 0.1 + LETTER * letters + (UNIT if unit else 0.0)
        self._labels[column] = max(self._labels[column], min(needed, self._column / 2))

    def big(self, row: int, column: int, end: int, *, beside: bool = False) -> Box:
        """Return the place of a big chart from `column` up to, but excluding, column `end`.

        With `beside`, leave room for names at its right: see `names`.
        """
        top = EDGE + BIG * row + TITLE
        right = self._right(column, end, beside)
        return self._box(column, top, BIG - TITLE - TIMES, right)

    def names(self, row: int, column: int, end: int) -> Box:
        """Return the place of the names beside a big chart."""
        top, left = EDGE + BIG * row + TITLE, self._right(column, end, beside=True)
        right = self._right(column, end, beside=False)
        return self._shares(left, top, right - left, BIG - TITLE - TIMES)

    def small(self, band: int, row: int, column: int) -> Box:
        """Return the place of a small chart."""
        top = self._tops[band] + TITLE + SMALL * row + NAME
        right = self._right(column, column + 1, beside=False)
        return self._box(column, top, SMALL - NAME - EDGE, right)

    def _right(self, column: int, end: int, beside: bool) -> float:
        taken = BESIDE * min(self._column, COLUMN) if beside else 0.0
        return self._column * end - EDGE - taken

    def _box(self, column: int, top: float, height: float, right: float) -> Box:
        left = self._column * column + self._labels[column]
        return self._shares(left, top, right - left, height)

    def _shares(self, left: float, top: float, width: float, height: float) -> Box:
        return Box(
            left / self.width,
            1 - (top + height) / self.height,
            width / self.width,
            height / self.height,
        )
