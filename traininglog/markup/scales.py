"""From numbers to places in a picture, and the numbers that are written at an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Scale(NamedTuple):
    """A straight way from the numbers between two ends to the places between two others."""

    low: float
    high: float
    start: float  #: the place of `low`
    stop: float  #: the place of `high`

    def place(self, number: float) -> float:
        """Return the place of a number. Halves are taken, as a difference of floats may be inf."""
        return self.start + (self.stop - self.start) * self._share(number)

    def _share(self, number: float) -> float:
        return (number / 2 - self.low / 2) / (self.high / 2 - self.low / 2)

    def ticks(self, most: int) -> list[float]:
        """Return up to `most` round numbers between the two ends.

        >>> Scale(0, 10, 0, 100).ticks(6)
        [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
        """
        rough = (self.high / most) - (self.low / most)
        power = math.floor(math.log10(rough))
        factors = (1, 2, 2.5, 5, 10, 20)
        step = next(
            (s for f in factors if (s := f * 10.0**power) * most >= rough * most * 0.9999),
            rough,
        )
        if not math.isfinite(step) or not step:
            return [self.low, self.high]
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, min(last, first + most) + 1)]


def scale_of(numbers: Sequence[float], start: float, stop: float, margin: float = 0.0) -> Scale:
    """Return the scale on which all of these finite numbers lie, with a margin on both sides."""
    low, high = (min(numbers), max(numbers)) if numbers else (0.0, 1.0)
    if high / 2 - low / 2 <= max(abs(low), abs(high)) * 1e-12:  # one number, or nearly so
        room = abs(low) / 2 or 0.5
        low, high = low - room, high + room
    room = (high / 2 - low / 2) * 2 * margin
    if math.isfinite(room) and math.isfinite(low - room) and math.isfinite(high + room):
        low, high = low - room, high + room
    return Scale(low, high, start, stop)
