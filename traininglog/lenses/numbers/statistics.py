"""Statistics of many numbers: running moments, all values, and a sketch of their distribution.

Merging two of them has the same result as one of them with all numbers. The sketch has an error,
which its docstring states. `Running` uses Welford's method for one number, and that of Chan, Golub
and LeVeque ("Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979) for
many.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import numpy as np

#: The names of the statistics. Median, quartiles and IQR need the values themselves.
POINTS = ("mean", "std", "min", "max", "median", "Q1", "Q2", "Q3", "IQR")
#: Reduces each row of an array to one number.
Combine = Callable[[Any], Any]

_NEED_VALUES = frozenset(("median", "Q1", "Q2", "Q3", "IQR"))

#: The two statistics of each range around a line.
RANGES = {"std": ("mean", "std"), "min-max": ("min", "max"), "Q1-Q3": ("Q1", "Q3")}


class Running:
    """Running count, mean, population variance, minimum and maximum, without the numbers.

    >>> seen = Running()
    >>> seen.add([1.0, 2.0]); seen.add(6.0)
    >>> seen.count, seen.mean, seen.point("min")
    (3, 3.0, 1.0)

    A NaN makes mean, variance, minimum and maximum NaN.
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
        """The population variance; NaN without numbers."""
        return self._squares / self.count if self.count else math.nan

    def add(self, numbers: float | Sequence[float] | np.ndarray[Any, Any]) -> None:
        """Add one number, or an array of numbers."""
        array = np.asarray(numbers, dtype=np.float64).reshape(-1)
        if array.size == 0:
            return
        if array.size == 1:
            number = float(array[0])
            self._combine(1, number, 0.0, number, number)
            return
        with np.errstate(all="ignore"):  # infinities make NaN here, as intended
            mean = float(array.mean())
            squares = float(np.square(array - mean).sum())
        self._combine(array.size, mean, squares, float(array.min()), float(array.max()))

    def merge(self, other: Running) -> None:
        """Add the numbers of another one."""
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
        # A NaN on either side stays: each comparison with it is False.
        self.min = low if low < self.min or low != low else self.min  # noqa: PLR0124
        self.max = high if high > self.max or high != high else self.max  # noqa: PLR0124

    def point(self, name: str) -> float:
        """Return one of `POINTS`. Raises `ValueError` if it needs the values."""
        check_points([name], running=True)
        if name == "std":
            return math.sqrt(self.variance)
        return float(getattr(self, name)) if self.count else math.nan

    def state(self) -> list[float]:
        """Return the whole state as numbers."""
        return [self.count, self.mean, self._squares, self.min, self.max]

    @classmethod
    def from_state(cls, state: Sequence[float]) -> Self:
        """Return the object with this state."""
        one = cls()
        one.count = int(state[0])
        one.mean, one._squares, one.min, one.max = state[1:]
        return one


class Values:
    """All numbers, so that quantiles are exact (linear between neighbours).

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
        """The number of values."""
        return sum(part.size for part in self._parts)

    def add(self, numbers: float | Sequence[float] | np.ndarray[Any, Any]) -> None:
        """Add one number, or an array of numbers."""
        array = np.array(numbers, dtype=np.float64).reshape(-1)
        if array.size:
            self._parts.append(array)

    def merge(self, other: Values) -> None:
        """Add the values of another one."""
        self._parts += other._parts

    def array(self) -> np.ndarray[Any, Any]:
        """Return the values in the order of their arrival."""
        if len(self._parts) != 1:
            self._parts = [np.concatenate([*self._parts, np.empty(0)])]
        return self._parts[0]

    def point(self, name: str) -> float:
        """Return one of `POINTS`; NaN without values."""
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
        """Return the values."""
        return [float(number) for number in self.array()]

    @classmethod
    def from_state(cls, state: Sequence[float]) -> Self:
        """Return the object with this state."""
        one = cls()
        one.add(np.asarray(state, dtype=np.float64))
        return one


class Sketch:
    """A sketch of a distribution: at most `size` weighted values represent all values.

    Beyond `size` values, it keeps those at the middle of `size` equal parts of the weight, and the
    exact minimum and maximum. Each compression moves a rank by at most ``1 / (2 * size)`` of the
    whole. NaN and infinities are only counted.
    """

    __slots__ = ("count", "max", "min", "non_finite", "size", "values", "weights")

    def __init__(self, size: int = 256) -> None:
        self.size = size
        self.count = 0.0  #: the number of finite values that it represents
        self.non_finite = 0.0  #: the number of NaN and infinities
        self.min, self.max = math.inf, -math.inf
        self.values = np.empty(0)
        self.weights = np.empty(0)

    def add(self, values: Any, weight: float = 1.0) -> None:
        """Add an array. Each of its values represents `weight` values."""
        array = np.asarray(values, dtype=np.float64).reshape(-1)
        usable = array[np.isfinite(array)]
        self.non_finite += (array.size - usable.size) * weight
        if usable.size:
            self._take(usable, np.full(usable.size, weight), usable.min(), usable.max())

    def merge(self, other: Sketch) -> None:
        """Add the distribution of another one."""
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
        """Return the quantiles at these shares of the whole; NaN without values."""
        wanted = np.asarray(list(shares), dtype=np.float64)
        if not self.values.size:
            return [math.nan] * wanted.size
        places = (np.cumsum(self.weights) - self.weights / 2) / self.count
        found = np.interp(wanted, np.r_[0.0, places, 1.0], np.r_[self.min, self.values, self.max])
        return [float(value) for value in found]

    def state(self) -> list[Any]:
        """Return the whole state as numbers and lists of numbers."""
        extremes = [self.min, self.max, self.non_finite]
        return [self.size, *extremes, self.values.tolist(), self.weights.tolist()]

    @classmethod
    def from_state(cls, state: Sequence[Any]) -> Self:
        """Return the object with this state."""
        one = cls(state[0])
        one.min, one.max, one.non_finite = state[1:4]
        one.values, one.weights = np.asarray(state[4]), np.asarray(state[5])
        one.count = float(one.weights.sum())
        return one


Statistic = Running | Values


class Finite:
    """Passes numbers to a target, but drops non-finite ones if `overflow()` is true.

    `overflow` is called only if there are non-finite numbers.
    """

    __slots__ = ("overflow", "target")

    def __init__(self, target: Statistic, overflow: Callable[[], bool]) -> None:
        self.target, self.overflow = target, overflow

    def add(self, numbers: Any) -> None:
        """Add one number, or an array of numbers."""
        array = np.asarray(numbers, dtype=np.float64).reshape(-1)
        finite = np.isfinite(array)
        if not finite.all() and self.overflow():
            array = array[finite]
        self.target.add(array)


#: The receivers of a layer's numbers.
Target = Statistic | Finite


class Combined:
    """Combines groups of numbers to one number each, and passes these to a target.

    So a device transfers its results unchanged, and the CPU combines them in double precision.

    Args:
        target: The receiver of the results.
        count: The size of a group.
        combine: Receives an array of shape (any, count), and returns a vector.

    """

    __slots__ = ("combine", "count", "target")

    def __init__(self, target: Target, count: int, combine: Combine) -> None:
        self.target, self.count, self.combine = target, count, combine

    def add(self, numbers: Any) -> None:
        """Add the numbers of one or more groups, `count` after `count`."""
        rows = np.asarray(numbers, dtype=np.float64).reshape(-1, self.count)
        with np.errstate(all="ignore"):
            self.target.add(self.combine(rows))


def quotient(rows: Any) -> Any:
    """Return the first number of each row divided by the product of the others; 0 / 0 is 0."""
    return _over(rows[:, 0], rows[:, 1:].prod(axis=1))


def joint_norm(rows: Any) -> Any:
    """Return the L2 norm of each row."""
    return np.linalg.norm(rows, axis=1)


def norm_quotient(rows: Any) -> Any:
    """Return the L2 norm of each row's first half divided by that of its second; 0 / 0 is 0."""
    half = rows.shape[1] // 2
    return _over(joint_norm(rows[:, :half]), joint_norm(rows[:, half:]))


def _over(over: Any, under: Any) -> Any:
    return np.where((over == 0) & (under == 0), 0.0, over / under)


def statistic(*, running: bool) -> Statistic:
    """Return a new statistic: with running moments, or with all values."""
    return Running() if running else Values()


def check_points(names: Iterable[str], *, running: bool) -> None:
    """Raise `ValueError` for a name that is not in `POINTS`, or that needs all values."""
    for name in names:
        if name not in POINTS:
            raise ValueError(f"there is no statistic {name!r}; there are: {', '.join(POINTS)}")
        if running and name in _NEED_VALUES:
            raise ValueError(
                f"{name!r} needs all values: pass running=False, which keeps them until the tick"
            )


def names_of(line: str | Iterable[str], ranges: Iterable[str], *, running: bool) -> list[str]:
    """Return the statistics that are needed for a line, or several, and its ranges.

    Raises `ValueError` for an unknown name, or if `running` and a statistic needs all values.

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
