"""Curves of plots: the numbers of one key of one run, smoothed and thinned."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from traininglog.columns import Column

GAP = math.nan
EXACT = 2**53  # floats represent all integers up to this one exactly

#: A NaN or an infinity in a curve: where it begins, and "nan", "inf" or "-inf".
Blemish = tuple[float, str]


class Curve(NamedTuple):
    """One key of one run, in ascending order of x."""

    key: str
    run: str  #: the name of the run
    xs: Any  #: an array; integers stay integers, as they may exceed the exact range of floats
    ys: Any  #: an array of floats; NaN is a gap: the log has a NaN, an infinity or a None
    resumed: Sequence[float]  #: the resume points of the run and its ancestors
    first_nan: int | None = None  #: the time of the first NaN
    blemishes: Sequence[Blemish] = ()  #: one for each stretch
    group: str | None = None  #: the name of the run's group


class Places(NamedTuple):
    """What a curve is drawn over: ascending times, and the finite x at each."""

    times: Any
    xs: Any


def numbers(column: Column) -> tuple[Any, Any, Any]:
    """Return the times of a column, its values as floats, and which of them are numbers.

    A value that is no number is NaN, and so is None. None counts as a number that is missing.
    """
    times = np.asarray(column.raw_times, np.int64)
    raw = column.raw_values
    if hasattr(raw, "dtype"):
        return times, raw.astype(np.float64), np.ones(len(raw), bool)
    there = [isinstance(value, (int, float)) for value in raw]
    ys = [float(value) if is_one else GAP for value, is_one in zip(raw, there, strict=True)]
    usable = [is_one or value is None for value, is_one in zip(raw, there, strict=True)]
    return times, np.array(ys, np.float64), np.array(usable, bool)


def is_numeric(column: Column) -> bool:
    """Return whether a column has a number."""
    raw = column.raw_values
    return hasattr(raw, "dtype") or any(isinstance(value, (int, float)) for value in raw)


def places_of(column: Column) -> Places:
    """Return what the curves of a run are drawn over, from the column of another key.

    Only finite numbers count. Whole numbers stay whole.
    """
    raw = column.raw_values
    times = np.asarray(column.raw_times, np.int64)
    if not hasattr(raw, "dtype"):
        kept = [i for i, value in enumerate(raw) if isinstance(value, (int, float))]
        times, raw = times[kept], np.array([raw[i] for i in kept])
    if raw.dtype == bool or not len(raw):
        raw = raw.astype(np.int64)
    finite = np.isfinite(raw)
    return Places(times[finite], raw[finite])


def curve_of(
    column: Column,
    run: str,
    resumed: Sequence[int],
    left_out: Counter[str],
    places: Places | None = None,
    *,
    over: str = "time",
    group: str | None = None,
    name: str | None = None,
) -> Curve:
    """Return the curve of a column, and count what is left out of it.

    Args:
        column: The values of a key.
        run: The name of the run.
        resumed: The times at which the run was resumed.
        left_out: Counts what is left out, by what it is.
        places: What to draw it over; by default its times.
        over: The name of that.
        group: The group of the run.
        name: What to call the key.

    """
    times, ys, usable = numbers(column)
    key = column.key if name is None else name
    if not usable.all():
        left_out[f"values of {key} that are not numbers"] += int((~usable).sum())
        times, ys, raw = times[usable], ys[usable], None
    else:
        raw = column.raw_values
    nan = np.isnan(ys)
    if raw is not None and not hasattr(raw, "dtype"):
        nan &= np.array([value is not None for value in raw], bool)
    elif raw is None:
        missing = {t for t, v in zip(column.times, column.values, strict=True) if v is None}
        nan &= np.array([time not in missing for time in times.tolist()], bool)
    first = int(times[np.argmax(nan)]) if nan.any() else None
    xs: Any = times
    marks: list[float] = [*resumed]
    if places is not None:
        at = np.searchsorted(places.times, times)
        found = at < len(places.times)
        found[found] = places.times[at[found]] == times[found]
        if not found.all():
            left_out[f"points of {key} without {over}"] += int((~found).sum())
        xs, ys, nan = places.xs[at[found]], ys[found], nan[found]
        order = np.argsort(xs, kind="stable")
        xs, ys, nan = xs[order], ys[order], nan[order]
        before = np.searchsorted(places.times, np.array(resumed, np.int64), side="right")
        marks = [places.xs[place - 1].item() for place in before.tolist() if place]
    blemishes: list[Blemish] = []
    for kind, bad in (("nan", nan), ("inf", ys == np.inf), ("-inf", ys == -np.inf)):
        if bad.any():
            begins = bad & ~np.concatenate([[False], bad[:-1]])
            blemishes += [(x, kind) for x in xs[begins].tolist()]
    return Curve(key, run, xs, np.where(np.isfinite(ys), ys, GAP), marks, first, blemishes, group)


def within_float(curves: Sequence[Curve]) -> tuple[list[Curve], int]:
    """Return curves whose x are exact as floats, and the offset of these x.

    The plotting libraries compute in floats. Beyond 2**53 floats cannot distinguish consecutive
    times, so x is then relative to its minimum. Otherwise the offset is 0.
    """
    ends = [x for c in curves if len(c.xs) for x in (c.xs[0].item(), c.xs[-1].item())]
    places = [*ends, *(x for curve in curves for x in curve.resumed)]
    if not any(type(x) is int and abs(x) > EXACT for x in places):
        return list(curves), 0
    first = math.floor(min(ends))
    return [
        curve._replace(
            xs=curve.xs - first,
            resumed=[x - first for x in curve.resumed],
            blemishes=[(x - first, kind) for x, kind in curve.blemishes],
        )
        for curve in curves
    ], first


def smoothed(xs: Any, ys: Any, constant: float) -> Any:
    r"""Return the exponential moving average of a curve, which takes its x into account.

    The average at :math:`x_i` is :math:`\sum_{j \le i} w_{ij} y_j / \sum_{j \le i} w_{ij}` with
    :math:`w_{ij} = e^{-(x_i - x_j)/c}`. So a value counts less the further back it is, and not the
    more values came after it: the average is the same however often a run logs. The division
    makes up for the beginning, as Adam does (Kingma and Ba, 2015, section 3). On averages of values
    at uneven times see Eckner, "Algorithms for Unevenly Spaced Time Series: Moving Averages and
    Other Rolling Operators", 2012. It never reaches across a gap.

    Args:
        xs: Ascending.
        ys: As many numbers; NaN is a gap.
        constant: How far back, in units of x, a value counts 1/e as much.

    """
    result = np.array(ys, np.float64)
    places = np.asarray(xs, np.float64).tolist()
    total = weight = 0.0
    last = GAP
    for number, y in enumerate(result.tolist()):
        if not math.isfinite(y):
            total = weight = 0.0
            continue
        faded = math.exp(-(places[number] - last) / constant) if weight else 0.0
        weight = weight * faded + 1.0
        # As a step towards y, so that the sum of huge values cannot overflow.
        total = y if weight == 1.0 else total + (y / weight - total / weight)
        result[number] = total
        last = places[number]
    return result


def thinned(xs: Any, ys: Any, most: int, *, log: bool = False) -> tuple[Any, Any]:
    """Return at most about `most` points that look the same as all of them.

    The x are cut into columns. Of each the first and the last point are kept, the least and the
    greatest, and a gap.

    Args:
        xs: Ascending.
        ys: As many numbers; NaN is a gap.
        most: How many points to keep.
        log: The x will be drawn on a logarithmic axis, and are positive.

    """
    xs, ys = np.asarray(xs), np.asarray(ys, np.float64)
    if len(xs) <= most:
        return xs, ys
    across = np.log(xs) if log else xs.astype(np.float64)
    bins = max(1, most // 5)
    width = (across[-1] - across[0]) / bins
    if not (math.isfinite(width) and width > 0):
        width = 1.0
    column = np.minimum((across - across[0]) / width, bins - 1).astype(np.int64)
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    stops = np.append(starts[1:], len(xs))
    kept = np.zeros(len(xs), bool)
    finite = np.isfinite(ys)
    kept[starts] = kept[stops - 1] = True
    for filler, pick in ((np.inf, np.minimum), (-np.inf, np.maximum)):
        filled = np.where(finite, ys, filler)
        best = pick.reduceat(filled, starts)
        equal = finite & (filled == np.repeat(best, stops - starts))
        kept[_firsts(equal, starts)] = True
    kept[_firsts(~finite, starts)] = True
    # The points beside a gap that is kept, or the line would reach further than it does.
    kept[_firsts(finite, starts)] = True
    return xs[kept], ys[kept]


def _firsts(mask: Any, starts: Any) -> Any:
    """Return the first place of each stretch at which a mask is true."""
    places = np.flatnonzero(mask)
    if not len(places):
        return places
    stretch = np.searchsorted(starts, places, side="right")
    return places[np.diff(stretch, prepend=-1) != 0]


def segments(xs: Any, ys: Any) -> Iterator[tuple[list[float], list[float]]]:
    """Yield the stretches between gaps."""
    xs, ys = np.asarray(xs), np.asarray(ys, np.float64)
    finite = np.isfinite(ys)
    edges = np.flatnonzero(np.diff(finite.astype(np.int8), prepend=0, append=0))
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        yield xs[start:stop].tolist(), ys[start:stop].tolist()
