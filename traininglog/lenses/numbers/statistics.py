"""What many numbers come to: running moments, kept values, and a sketch of their distribution.

All three merge exactly as if the numbers had come to one of them, but for the sketch, whose error
is stated. `Running` follows Welford for one number and Chan, Golub and LeVeque ("Updating Formulae
and a Pairwise Algorithm for Computing Sample Variances", 1979) for many.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import numpy as np

#: What a statistic can tell, by name. The quartiles need the values themselves.
POINTS = ("mean", "std", "min", "max", "median", "Q1", "Q2", "Q3", "IQR")
#: Makes one number of each row of an array.
Combine = Callable[[Any], Any]

_NEED_VALUES = frozenset(("median", "Q1", "Q2", "Q3", "IQR"))

#: The points that a range around a line is drawn from.
RANGES = {"std": ("mean", "std"), "min-max": ("min", "max"), "Q1-Q3": ("Q1", "Q3")}


class Running:
    """Count, mean, population variance, least and greatest of numbers that are not kept.

    >>> seen = Running()
    >>> seen.add([1.0, 2.0]); seen.add(6.0)
    >>> seen.count, seen.mean, seen.point("min")
    (3, 3.0, 1.0)

    A NaN makes mean, variance, least and greatest NaN.
    """

    __slots__ = ("_squares", "count", "max", "mean", "min")

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0  # the sum of squared distances from the mean
        self.min = math.inf
        self.max = -math.inf

    @property
    def variance(self) -> float:
        """The population variance; NaN of nothing."""
        return self._squares / self.count if self.count else math.nan

    def add(self, numbers: float | Sequence[float] | np.ndarray[Any, Any]) -> None:
        """Take in one number, or an array of them."""
        array = np.asarray(numbers, dtype=np.float64).reshape(-1)
        if array.size == 0:
            return
        if array.size == 1:
            number = float(array[0])
            self._combine(1, number, 0.0, number, number)
            return
        with np.errstate(all="ignore"):  # infinities make NaN, which is what they should make
            mean = float(array.mean())
            squares = float(np.square(array - mean).sum())
        self._combine(array.size, mean, squares, float(array.min()), float(array.max()))

    def merge(self, other: Running) -> None:
        """Take in what another one has seen."""
        self._combine(other.count, other.mean, other._squares, other.min, other.max)

    def _combine(self, count: int, mean: float, squares: float, low: float, high: float) -> None:
        if count == 0:
            return
        if self.count == 0:
            self.count, self.mean, self._squares = count, mean, squares
            self.min, self.max = low, high
            return
        total = self.count + count
        apart = mean - self.mean
        self.mean += apart * count / total
        self._squares += squares + apart * apart * self.count * count / total
        self.count = total
        # A NaN on either side stays: compared with, it is never the lesser.
        self.min = low if low < self.min or low != low else self.min  # noqa: PLR0124
        self.max = high if high > self.max or high != high else self.max  # noqa: PLR0124

    def point(self, name: str) -> float:
        """Return a point of `POINTS`. Raises `ValueError` for one that needs the values."""
        check_points([name], running=True)
        if name == "std":
            return math.sqrt(self.variance)
        return float(getattr(self, name)) if self.count else math.nan

    def state(self) -> list[float]:
        """Return all that it knows, as numbers."""
        return [self.count, self.mean, self._squares, self.min, self.max]

    @classmethod
    def from_state(cls, state: Sequence[float]) -> Self:
        """Return the one that `state()` was taken from."""
        one = cls()
        one.count = int(state[0])
        one.mean, one._squares, one.min, one.max = state[1:]
        return one


class Values:
    """All the numbers themselves, so that quantiles are true ones (linear between neighbours).

    >>> seen = Values()
    >>> seen.add([4.0, 1.0, 2.0, 3.0])
    >>> seen.point("min"), seen.point("Q1"), seen.point("median")
    (1.0, 1.75, 2.5)
    """

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[np.ndarray[Any, Any]] = []

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(part.size for part in self._parts)

    def add(self, numbers: float | Sequence[float] | np.ndarray[Any, Any]) -> None:
        """Take in one number, or an array of them."""
        array = np.array(numbers, dtype=np.float64).reshape(-1)
        if array.size:
            self._parts.append(array)

    def merge(self, other: Values) -> None:
        """Take in what another one has."""
        self._parts += other._parts

    def array(self) -> np.ndarray[Any, Any]:
        """Return the numbers, in the order in which they came."""
        if len(self._parts) != 1:
            self._parts = [np.concatenate([*self._parts, np.empty(0)])]
        return self._parts[0]

    def point(self, name: str) -> float:
        """Return a point of `POINTS`; NaN of nothing."""
        check_points([name], running=False)
        array = self.array()
        if array.size == 0:
            return math.nan
        with np.errstate(all="ignore"):
            if name == "IQR":
                first, third = np.quantile(array, (0.25, 0.75))
                return float(third - first)
            if name in ("Q1", "Q2", "Q3"):
                return float(np.quantile(array, int(name[1]) / 4))
            return float(getattr(np, name)(array))

    def state(self) -> list[float]:
        """Return the numbers."""
        return [float(number) for number in self.array()]

    @classmethod
    def from_state(cls, state: Sequence[float]) -> Self:
        """Return the one that `state()` was taken from."""
        one = cls()
        one.add(np.asarray(state, dtype=np.float64))
        return one


class Sketch:
    """The distribution of any number of values in at most `size` of them, each with a weight.

    Beyond `size` values, it keeps those at the middle of `size` equal parts of the weight, and the
    least and the greatest exactly. Each such compression moves a rank by at most ``1 / (2 * size)``
    of the whole. NaN and infinities are left out, and counted.
    """

    __slots__ = ("count", "max", "min", "non_finite", "size", "values", "weights")

    def __init__(self, size: int = 256) -> None:
        self.size = size
        self.count = 0.0  #: how many finite values it stands for
        self.non_finite = 0.0  #: how many that are not
        self.min, self.max = math.inf, -math.inf
        self.values = np.empty(0)
        self.weights = np.empty(0)

    def add(self, values: Any, weight: float = 1.0) -> None:
        """Take in an array, each value of which stands for `weight` values."""
        array = np.asarray(values, dtype=np.float64).reshape(-1)
        usable = array[np.isfinite(array)]
        self.non_finite += (array.size - usable.size) * weight
        if usable.size:
            self._take(usable, np.full(usable.size, weight), usable.min(), usable.max())

    def merge(self, other: Sketch) -> None:
        """Take in what another one stands for."""
        self.non_finite += other.non_finite
        if other.values.size:
            self._take(other.values, other.weights, other.min, other.max)

    def _take(self, values: Any, weights: Any, low: float, high: float) -> None:
        values = np.concatenate([self.values, values])
        weights = np.concatenate([self.weights, weights])
        order = np.argsort(values, kind="stable")
        values, weights = values[order], weights[order]
        self.count = float(weights.sum())
        self.min, self.max = min(self.min, float(low)), max(self.max, float(high))
        if values.size > self.size:
            middles = (np.arange(self.size) + 0.5) * self.count / self.size
            values = values[np.searchsorted(np.cumsum(weights), middles)]
            weights = np.full(self.size, self.count / self.size)
        self.values, self.weights = values, weights

    def quantiles(self, shares: Iterable[float]) -> list[float]:
        """Return the values below which these shares of the whole lie; NaN of nothing."""
        wanted = np.asarray(list(shares), dtype=np.float64)
        if not self.values.size:
            return [math.nan] * wanted.size
        places = (np.cumsum(self.weights) - self.weights / 2) / self.count
        found = np.interp(wanted, np.r_[0.0, places, 1.0], np.r_[self.min, self.values, self.max])
        return [float(value) for value in found]

    def state(self) -> list[Any]:
        """Return all that it knows, as numbers."""
        extremes = [self.min, self.max, self.non_finite]
        return [self.size, *extremes, self.values.tolist(), self.weights.tolist()]

    @classmethod
    def from_state(cls, state: Sequence[Any]) -> Self:
        """Return the one that `state()` was taken from."""
        one = cls(state[0])
        one.min, one.max, one.non_finite = state[1:4]
        one.values, one.weights = np.asarray(state[4]), np.asarray(state[5])
        one.count = float(one.weights.sum())
        return one


Statistic = Running | Values


class Finite:
    """Takes numbers to a target; where `overflow()` is true, without those that are not finite.

    It is asked only where there are such.
    """

    __slots__ = ("overflow", "target")

    def __init__(self, target: Statistic, overflow: Callable[[], bool]) -> None:
        self.target, self.overflow = target, overflow

    def add(self, numbers: Any) -> None:
        """Take in one number, or an array of them."""
        array = np.asarray(numbers, dtype=np.float64).reshape(-1)
        finite = np.isfinite(array)
        if not finite.all() and self.overflow():
            array = array[finite]
        self.target.add(array)


#: What takes numbers of a layer.
Target = Statistic | Finite


class Combined:
    """Makes one number of some that belong together, and hands it on.

    So what a device works out crosses as it is, and is put together here, in double precision.

    Args:
        target: What takes the number.
        count: How many belong together.
        combine: Gets an array of shape (any, count), and returns a vector.

    """

    __slots__ = ("combine", "count", "target")

    def __init__(self, target: Target, count: int, combine: Combine) -> None:
        self.target, self.count, self.combine = target, count, combine

    def add(self, numbers: Any) -> None:
        """Take numbers, `count` after `count`."""
        rows = np.asarray(numbers, dtype=np.float64).reshape(-1, self.count)
        with np.errstate(all="ignore"):
            self.target.add(self.combine(rows))


def quotient(rows: Any) -> Any:
    """Return the first number of each row over the product of the others; 0 / 0 is 0."""
    return _over(rows[:, 0], rows[:, 1:].prod(axis=1))


def joint_norm(rows: Any) -> Any:
    """Return the L2 norm of each row."""
    return np.linalg.norm(rows, axis=1)


def norm_quotient(rows: Any) -> Any:
    """Return the L2 norm of each row's first half over that of its second; 0 / 0 is 0."""
    half = rows.shape[1] // 2
    return _over(joint_norm(rows[:, :half]), joint_norm(rows[:, half:]))


def _over(over: Any, under: Any) -> Any:
    return np.where((over == 0) & (under == 0), 0.0, over / under)


def statistic(*, running: bool) -> Statistic:
    """Return a new statistic: running, or with all values kept."""
    return Running() if running else Values()


def check_points(names: Iterable[str], *, running: bool) -> None:
    """Raise `ValueError` for a name that is not in `POINTS`, or that `running` cannot tell."""
    for name in names:
        if name not in POINTS:
            raise ValueError(f"there is no statistic {name!r}; there are: {', '.join(POINTS)}")
        if running and name in _NEED_VALUES:
            raise ValueError(
                f"{name!r} needs all values: pass running=False, which keeps them until the tick"
            )


def names_of(line: str | Iterable[str], ranges: Iterable[str], *, running: bool) -> list[str]:
    """Return the points that lines, or one, and ranges around the first are drawn from.

    Raises `ValueError` for what does not exist, or what `running` cannot tell.

    >>> names_of("mean", ["std", "min-max"], running=True)
    ['mean', 'std', 'min', 'max']
    """
    if isinstance(ranges, str):
        raise ValueError(f"ranges is a list of names: ranges=[{ranges!r}]")
    names: dict[str, None] = dict.fromkeys([line] if isinstance(line, str) else line)
    for name in ranges:
        if name not in RANGES:
            raise ValueError(f"there is no range {name!r}; there are: {', '.join(RANGES)}")
        names |= dict.fromkeys(RANGES[name])
    check_points(names, running=running)
    return list(names)
