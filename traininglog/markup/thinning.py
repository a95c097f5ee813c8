"""A column as the points of a picture: few, with its extremes, and with what is no number."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from traininglog.columns import Column


_POINTS_OF_A_STRETCH = 4  # the first, the last, the least and the greatest
_MOST_MARKS = 20  # of a kind


class CurvePoints(NamedTuple):
    """What a curve is drawn from."""

    times: list[int]
    values: list[float]  #: finite numbers
    breaks: list[bool]  #: whether something that is no finite number comes right before the point
    nan: list[int]  #: the first times of a NaN
    above: list[int]  #: the first times of an infinity
    below: list[int]  #: the first times of a negative infinity
    nan_count: int
    infinite_count: int
    finite_count: int  #: how many finite numbers there are


def points_of(column: Column, most: int) -> CurvePoints | None:
    """Return about `most` points of a column, or None if it holds no float, integer or bool.

    The times are split into stretches of one length. Of each stretch the first, the last, the least
    and the greatest number are kept. So no peak is lost. None and texts are gaps.
    """
    import numpy as np

    times, values = column.raw_times, column.raw_values
    absent = np.zeros(len(values), dtype=bool)
    if not hasattr(values, "dtype"):
        absent = np.array([not isinstance(value, (int, float)) for value in values])
        if absent.all():
            return None
        values = [
            np.nan if none else float(value) for none, value in zip(absent, values, strict=True)
        ]
    at = np.asarray(times, dtype=np.int64)
    heights = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(heights)
    nan, above, below = (
        at[place & ~absent] for place in (np.isnan(heights), heights == np.inf, heights == -np.inf)
    )
    places = np.flatnonzero(finite)
    if len(places) > most:
        first = int(at[places[0]])
        span = max(1.0, float(at[places[-1]]) - first)
        stretches = max(1, most // _POINTS_OF_A_STRETCH)
        which = ((at[places] - first) / span * stretches).astype(np.int64)
        starts = np.flatnonzero(np.r_[True, which[1:] != which[:-1]])
        ends = np.r_[starts[1:], len(which)]
        kept = [places[starts], places[ends - 1]]
        for least in (np.minimum, np.maximum):
            extremes = np.repeat(least.reduceat(heights[places], starts), ends - starts)
            found = np.flatnonzero(heights[places] == extremes)
            kept.append(places[found[np.r_[True, which[found][1:] != which[found][:-1]]]])
        chosen = np.unique(np.concatenate(kept))
    else:
        chosen = places
    passed = np.cumsum(~finite)[chosen]
    return CurvePoints(
        at[chosen].tolist(), heights[chosen].tolist(),
        np.r_[False, passed[1:] != passed[:-1]].tolist() if len(chosen) else [],
        nan[:_MOST_MARKS].tolist(), above[:_MOST_MARKS].tolist(), below[:_MOST_MARKS].tolist(),
        len(nan), len(above) + len(below), len(places),
    )  # fmt: skip
