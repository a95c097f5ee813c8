"""Curves of plots: the numbers of one key of one run, smoothed and thinned."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

GAP = math.nan
EXACT = 2**53  # floats represent all integers up to this one exactly


class Curve(NamedTuple):
    """One key of one run, in ascending order of x."""

    key: str
    run: str  #: the name of the run
    xs: Sequence[float]  #: integers stay ints, as they may exceed the exact range of floats
    ys: list[float]  #: NaN marks a gap: the log has a NaN, an infinity or a None
    resumed: Sequence[float]  #: the resume points of the run and its ancestors
    first_nan: int | None  #: the time of the first NaN


def within_float(curves: Sequence[Curve]) -> tuple[list[Curve], int]:
    """Return curves whose x are exact as floats, and the offset of these x.

    The plotting libraries compute in floats. Beyond 2**53 floats cannot distinguish consecutive
    times, so x is then relative to its minimum. Otherwise the offset is 0.
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
    """Return the moving average over `window` values, never across a gap.

    At the ends, and beside a gap, the average has fewer values.
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
    """Return about `most` points that look the same: the ends and extremes of each stretch."""
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
    """Yield the stretches between gaps."""
    start = 0
    for piece in _pieces(ys):
        if math.isfinite(piece[0]):
            yield list(xs[start : start + len(piece)]), piece
        start += len(piece)


def _pieces(ys: Sequence[float]) -> Iterator[list[float]]:
    """Yield the alternating stretches of numbers and of gaps."""
    piece: list[float] = []
    for value in ys:
        if piece and math.isfinite(piece[0]) != math.isfinite(value):
            yield piece
            piece = []
        piece.append(value)
    if piece:
        yield piece
