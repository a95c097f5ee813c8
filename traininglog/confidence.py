"""How far a mean may be off: the quantiles of Student's t distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist, fmean
from typing import NamedTuple


class Spread(NamedTuple):
    """The mean of some numbers, and how far it may be off. None: one number does not tell."""

    mean: float
    std: float | None = None  #: the standard deviation of the sample, over n - 1
    sem: float | None = None  #: the standard error of the mean, std / sqrt(n)
    ci95: float | None = None  #: half of the width of the 95% confidence interval of the mean


def spread(numbers: Sequence[float]) -> Spread:
    """Return the mean of finite numbers, of which there is at least one, and its uncertainty.

    >>> spread([1.0, 3.0]).mean, spread([2.0]).std
    (2.0, None)
    """
    n = len(numbers)
    mean = fmean(numbers)
    if n == 1:
        return Spread(mean)
    if min(numbers) == max(numbers):  # without what rounding makes of it
        return Spread(numbers[0], 0.0, 0.0, 0.0)
    std = math.sqrt(math.fsum((number - mean) ** 2 for number in numbers) / (n - 1))
    sem = std / math.sqrt(n)
    return Spread(mean, std, sem, student(n - 1) * sem)


@lru_cache(maxsize=1024)
def student(freedom: int) -> float:
    """Return the quantile 0.975 of Student's t distribution.

    Up to 200 degrees of freedom it is found by bisection of the distribution function, a finite
    series (Abramowitz and Stegun, 26.7.3 and 26.7.4). Beyond, by the expansion about the normal
    quantile (26.7.5), which is exact to nine digits there.

    >>> round(student(1), 3), round(student(10), 3), round(student(1000), 3)
    (12.706, 2.228, 1.962)
    """
    if freedom > 200:
        x = NormalDist().inv_cdf(0.975)
        first, second = (x**3 + x) / 4, (5 * x**5 + 16 * x**3 + 3 * x) / 96
        third = (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384
        return x + first / freedom + second / freedom**2 + third / freedom**3
    low, high = 0.0, 13.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < 0.95 else (low, middle)
    return (low + high) / 2


def _within(t: float, freedom: int) -> float:
    """Return how likely Student's t is between -t and t."""
    angle = math.atan2(t, math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = 0.0
    for step in range(1 + odd, freedom, 2):
        total += term
        term *= cosine**2 * step / (step + 1)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
