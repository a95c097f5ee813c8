"""Means of the curves of a group, with a band around them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from traininglog.confidence import spread, student
from traininglog.plots.curves import Curve, smoothed

#: What a band shows: the standard deviation of the sample, the standard error of the mean, the
#: least and the greatest, or the 95% confidence interval of the mean by Student's t.
Band = Literal["std", "sem", "minmax", "ci95"]

#: What a band is called in a picture.
BANDS: dict[str, str] = {
    "std": "standard deviation", "sem": "standard error", "minmax": "least to greatest",
    "ci95": "95% confidence",
}  # fmt: skip


class MeanCurve(NamedTuple):
    """The mean of the curves of a group, in ascending order of x."""

    xs: Any
    mean: Any
    low: Any  #: the lower edge of the band; NaN where there is none, as for one run
    high: Any  #: the upper edge
    n: Any  #: how many runs count at each x

    def counts(self) -> list[tuple[float, int]]:
        """Return the x from which on another number of runs counts, and that number."""
        changes = np.flatnonzero(np.diff(self.n, prepend=-1))
        return list(zip(self.xs[changes].tolist(), self.n[changes].tolist(), strict=True))


def check_band(band: str | None) -> None:
    """Raise `ValueError` unless there is such a band."""
    if band is not None and band not in get_args(Band):
        raise ValueError(f"band must be one of {', '.join(get_args(Band))}, or None, not {band!r}")


def mean_of(curves: Sequence[Curve], band: Band | None, smooth: float | None = None) -> MeanCurve:
    """Return the mean of curves at each x at which one of them has a value.

    A curve counts as it is drawn: between two of its values it is on the line between them. It does
    not count before its first value, after its last one, or in a gap. So the mean has no step where
    runs log at different times, but it may have one where a run ends. `MeanCurve.n` says how many
    count. Several values of a run at one x count as one, their mean.

    Args:
        curves: The curves of a group, of one key.
        band: What to draw around the mean. The mean of one run has none.
        smooth: Smooth each curve before, with this constant; see `smoothed`.

    """
    each = []
    for curve in curves:
        ys = curve.ys if smooth is None else smoothed(curve.xs, curve.ys, smooth)
        each.append(_single(np.asarray(curve.xs, np.float64), ys))
    each = [(xs, ys) for xs, ys in each if len(xs)]
    if not each:
        nothing = np.array([])
        return MeanCurve(nothing, nothing, nothing, nothing, nothing.astype(int))
    xs = np.unique(np.concatenate([there for there, _ in each]))
    n = np.zeros(len(xs), np.int64)
    mean, spread = np.zeros(len(xs)), np.zeros(len(xs))
    low, high = np.full(len(xs), np.inf), np.full(len(xs), -np.inf)
    for there, values in each:  # Welford's way, which loses no digits
        found = np.interp(xs, there, values, left=math.nan, right=math.nan)
        counts = np.isfinite(found)
        n += counts
        off = np.where(counts, found - mean, 0.0)
        mean += off / np.maximum(n, 1)
        spread += off * np.where(counts, found - mean, 0.0)
        low = np.where(counts, np.minimum(low, found), low)
        high = np.where(counts, np.maximum(high, found), high)
    mean[n == 0] = math.nan
    several = n > 1
    if band == "minmax":
        return MeanCurve(
            xs, mean, np.where(several, low, math.nan), np.where(several, high, math.nan), n
        )
    half = np.full(len(xs), math.nan)
    if band is not None:
        std = np.sqrt(np.maximum(spread[several], 0.0) / (n[several] - 1))
        sem = std / np.sqrt(n[several])
        half[several] = std if band == "std" else sem
        if band == "ci95":
            quantiles = {count: student(count - 1) for count in set(n[several].tolist())}
            half[several] = sem * np.array([quantiles[count] for count in n[several].tolist()])
    return MeanCurve(xs, mean, mean - half, mean + half, n)


def half_width(numbers: Sequence[float], band: Band | None) -> tuple[float, float] | None:
    """Return how far a band reaches below and above the mean of some numbers; None: there is none.

    >>> half_width([1.0, 3.0], "minmax")
    (1.0, 1.0)
    """
    if band is None or len(numbers) < 2:
        return None
    found = spread(numbers)
    if band == "minmax":
        return found.mean - min(numbers), max(numbers) - found.mean
    half = {"std": found.std, "sem": found.sem, "ci95": found.ci95}[band]
    return None if half is None else (half, half)


def _single(xs: Any, ys: Any) -> tuple[Any, Any]:
    """Return a curve with one value at each x, the mean of those that are finite."""
    if len(xs) < 2 or (np.diff(xs) > 0).all():
        return xs, ys
    places, inverse = np.unique(xs, return_inverse=True)
    finite = np.isfinite(ys)
    n = np.bincount(inverse[finite], minlength=len(places))
    total = np.bincount(inverse[finite], ys[finite], minlength=len(places))
    return places, np.where(n > 0, total / np.maximum(n, 1), math.nan)
