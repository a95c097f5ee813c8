"""Where charts stand on a page, in inches: worked out from its shape, as nothing has to be tried.

A page has big charts on top, each as wide as some columns, and below them bands: beside each other
a column of small charts per tag. A solver, as Matplotlib has one, takes minutes for a page of some
hundred axes; the only thing here that depends on what is drawn is how wide the labels are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

#: How wide a column is, and a page at least.
COLUMN, PAGE = 3.7, 6.4

#: How high a row of big charts is, and a small one, with all that belongs to it.
BIG, SMALL = 2.6, 1.22

#: Room: for the title of a chart, the name of a layer, the labels of a time axis, and the page.
TITLE, NAME, TIMES, EDGE = 0.3, 0.2, 0.24, 0.1

#: Room for the labels at the left, at least; for one letter of them, and for a unit beside them.
LABELS, LETTER, UNIT = 0.36, 0.068, 0.2

#: How much of a column names take that stand beside a chart.
BESIDE = 0.385


class Box(NamedTuple):
    """A place on a page, as shares of its width and height, from the lower left corner."""

    left: float
    bottom: float
    width: float
    height: float


class Page:
    """The places on one page.

    Args:
        columns: How many columns it has.
        big_rows: How many rows of big charts it has.
        depths: How many rows of small charts each of its bands has.

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
        """Make room in a column for labels of so many letters."""
        needed = 0.1 + LETTER * letters + (UNIT if unit else 0.0)
        self._labels[column] = max(self._labels[column], min(needed, self._column / 2))

    def big(self, row: int, column: int, end: int, *, beside: bool = False) -> Box:
        """Return the place of a big chart, from a column to before another one.

        With `beside`, names have room at its right: see `names`.
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
