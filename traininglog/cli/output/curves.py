"""What a plot is made of: the numbers of one key of one run, smoothed and thinned."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

GAP = math.nan
EXACT = 2**53  # integers up to here are exact as floats


class Curve(NamedTuple):
    """One key of one run, in ascending order of x."""

    key: str
    run: str  #: what the run is called
    xs: Sequence[float]  #: whole ones are integers, which may be past what a float can tell apart
    ys: list[float]  #: NaN where there is a gap: a NaN, an infinity or a None was logged
    resumed: Sequence[float]  #: where the run, or one that it descends from, was resumed
    first_nan: int | None  #: the time of the first NaN


def within_float(curves: Sequence[Curve]) -> tuple[list[Curve], int]:
    """Return curves whose x are as exact as floats, and what they are to be counted from.

    What draws them reckons in floats. Past 2**53 these cannot tell one time from the next, so there
    the x are counted from the least one; that is 0 where there is no need to.
    """
    places = [x for curve in curves for x in (*curve.xs, *curve.resumed)]
    if not any(type(x) is int and abs(x) > EXACT for x in places):
        return list(curves), 0
    first = math.floor(min(x for curve in curves for x in curve.xs))
    return [
        curve._replace(xs=[x - first for x in curve.xs], resumed=[x - first for x in curve.resumed])
        for curve in curves
    ], first


def smoothed(ys: Sequence[float], window: int) -> list[float]:
    """Return the mean around each value, over `window` values and never across a gap.

    At the ends, and beside a gap, there are fewer values to take it over.
    """
    result: list[float] = []
    before, after = (window - 1) // 2, window // 2
    for piece in _pieces(ys):
        if not math.isfinite(piece[0]):
            result += piece
            continue
        for number in range(len(piece)):
            near = piece[max(0, number - before) : number + after + 1]
            result.append(sum(near) / len(near))
    return result


def thinned(xs: Sequence[float], ys: Sequence[float], most: int) -> tuple[list[float], list[float]]:
    """Return about `most` points that look the same: of each stretch its ends and extremes."""
    if len(xs) <= most:
        return list(xs), list(ys)
    stretch = math.ceil(4 * len(xs) / most)
    kept: list[int] = []
    for start in range(0, len(xs), stretch):
        numbers = range(start, min(start + stretch, len(xs)))
        finite = [number for number in numbers if math.isfinite(ys[number])]
        gaps = [number for number in numbers if not math.isfinite(ys[number])]
        chosen = {*gaps[:1]}
        if finite:
            chosen |= {finite[0], finite[-1]}
            chosen |= {min(finite, key=ys.__getitem__), max(finite, key=ys.__getitem__)}
        kept += sorted(chosen)
    return [xs[number] for number in kept], [ys[number] for number in kept]


def segments(xs: Sequence[float], ys: Sequence[float]) -> Iterator[tuple[list[float], list[float]]]:
    """Give the stretches between gaps."""
    start = 0
    for piece in _pieces(ys):
        if math.isfinite(piece[0]):
            yield list(xs[start : start + len(piece)]), piece
        start += len(piece)


def _pieces(ys: Sequence[float]) -> Iterator[list[float]]:
    """Give stretches that are all numbers or all gaps."""
    piece: list[float] = []
    for value in ys:
        if piece and math.isfinite(piece[0]) != math.isfinite(value):
            yield piece
            piece = []
        piece.append(value)
    if piece:
        yield piece
