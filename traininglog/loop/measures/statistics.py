"""Mean and deviation of a stream of values, without loss of digits.

Chunks of values are merged as Chan, Golub and LeVeque do ("Updating Formulae and a Pairwise
Algorithm for Computing Sample Variances", 1979), which for a chunk of one is Welford's method
("Note on a Method for Calculating Corrected Sums of Squares and Products", 1962). The method never
subtracts from a sum of squares, so 1e9 and 1e9 + 1 have the deviation 0.5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from traininglog.scalars import shaped_array


@dataclass(frozen=True, slots=True)
class Statistics:
    """A snapshot of the statistics: numbers, or arrays of the collector's shape.

    `var` and `stddev` are those of the population. Without a value, `mean`, `square`, `var` and
    `stddev` are NaN.
    """

    mean: Any
    square: Any  #: mean of the squares
    var: Any
    stddev: Any
    counter: int  #: values collected, including those that are not finite
    weight_sum: Any
    nan_counter: int
    inf_counter: int


class PartialSum(NamedTuple):
    """The sums of some numbers that a collector needs to merge them."""

    counter: int
    nans: int
    infs: int
    weight: float
    mean: float
    moment: float  #: sum of the squared distances from the mean


def summed_up(values: Sequence[float]) -> PartialSum:
    """Return the sums of floats of weight 1, in two passes over them, exactly."""
    size, finite, nans = len(values), values, 0
    try:
        total = math.fsum(values)
    except (OverflowError, ValueError):  # beyond the greatest float; or infinities of both signs
        total = math.nan
    if not math.isfinite(total):
        finite = [value for value in values if math.isfinite(value)]
        nans = sum(map(math.isnan, values))
    infs = size - len(finite) - nans
    if not finite:
        return PartialSum(size, nans, infs, 0.0, 0.0, 0.0)
    count = len(finite)
    try:
        mean = (total if finite is values else math.fsum(finite)) / count
        moment = math.fsum([(value - mean) * (value - mean) for value in finite])
    except OverflowError:
        mean, moment = sum(value / count for value in finite), math.inf
    return PartialSum(size, nans, infs, float(count), mean, moment)


class StatisticsCollector:
    """Weighted mean and deviation of the collected values.

    A NaN or an infinity is counted and otherwise left out, so that one of them does not hide all
    other values. A collector with a shape treats each element separately.

    Args:
        shape: The shape of one value; by default a number.
        name: The name of the metric in errors.

    >>> collector = StatisticsCollector()
    >>> collector.collect(1e9)
    >>> collector.collect(1e9 + 1)
    >>> collector.mean, collector.stddev
    (1000000000.5, 0.5)
    """

    def __init__(self, shape: Sequence[int] = (), name: str | None = None) -> None:
        self._shape = tuple(shape)
        self._name = name
        self.reset()

    def reset(self) -> None:
        """Remove all collected values."""
        self._counter = self._nans = self._infs = 0
        zero: Any = 0.0
        if self._shape:
            import numpy

            zero = numpy.zeros(self._shape)
        self._weight = self._mean = self._moment = zero

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one value."""
        return self._shape

    @property
    def counter(self) -> int:
        """The number of values collected, including those that are not finite."""
        return self._counter

    @property
    def nan_counter(self) -> int:
        """The number of values with a NaN in them."""
        return self._nans

    @property
    def inf_counter(self) -> int:
        """The number of values with an infinity, but no NaN, in them."""
        return self._infs

    @property
    def weight_sum(self) -> Any:
        """The sum of the weights of the finite values."""
        return self._weight

    @property
    def has_value(self) -> bool:
        """Whether anything was collected."""
        return self._counter > 0

    @property
    def mean(self) -> Any:
        """The weighted mean, NaN without a finite value of positive weight."""
        return self._known(self._mean)

    @property
    def square(self) -> Any:
        """The weighted mean of the squares."""
        return self.var + self.mean * self.mean

    @property
    def var(self) -> Any:
        """The variance of the population."""
        if not self._shape:
            return self._moment / self._weight if self._weight > 0 else math.nan
        import numpy

        return self._known(self._moment / numpy.where(self._weight > 0, self._weight, 1.0))

    @property
    def stddev(self) -> Any:
        """The standard deviation of the population."""
        return self.var**0.5

    def frozen(self) -> Statistics:
        """Return a snapshot of the statistics."""
        return Statistics(
            self.mean, self.square, self.var, self.stddev, self._counter, self._weight + 0.0,
            self._nans, self._infs,
        )  # fmt: skip

    def collect(self, values: object, weight: object = 1.0) -> None:
        """Collect a value, or an array of values.

        Args:
            values: Values of the shape ``batch + shape``. With an empty batch nothing happens.
            weight: A number, or an array that can be broadcast to the batch; not negative. A value
                of weight zero only counts in the number of values.

        Masked numbers are not collected. Raises `ValueError` for another shape or a negative
        weight, and `TypeError` for values that are not real numbers.
        """
        try:
            self._collect(values, weight)
        except (TypeError, ValueError) as error:
            if self._name is None:
                raise
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"the metric {self._name!r}: {error}") from error

    def _collect(self, values: Any, weight: Any) -> None:
        if not self._shape and type(values) is float and type(weight) in (float, int):
            self._check_weight(weight)
            self._collect_number(values, weight)
            return
        import numpy

        hidden = numpy.ma.getmask(values)
        values = shaped_array(values)
        places = len(self._shape)
        batch = values.shape[: values.ndim - places]
        if values.shape[len(batch) :] != self._shape:
            raise ValueError(f"values of shape {values.shape} do not end in {self._shape}")
        weights = shaped_array(weight)
        try:
            weights = numpy.broadcast_to(weights, batch)
        except ValueError:
            raise ValueError(
                f"weights of shape {weights.shape} do not fit a batch of shape {batch}"
            ) from None
        if not values.size:
            return
        if hidden is not numpy.ma.nomask and hidden.any():
            if self._shape:
                raise TypeError("of masked arrays collect value.filled(numpy.nan)")
            values, weights = values[~hidden], weights[~hidden]
            if not values.size:
                return
        self._check_weight(weights.min())
        self._check_weight(weights.max())
        self._collect_array(numpy, values.reshape(-1, *self._shape), weights.reshape(-1))

    @staticmethod
    def _check_weight(weight: float) -> None:
        if not 0 <= weight < math.inf:  # NaN fails, too
            raise ValueError(f"a weight is a finite number and not negative, not {weight}")

    def _collect_number(self, value: float, weight: float) -> None:
        self._counter += 1
        if math.isfinite(value):
            self._merge(float(weight), value, 0.0)
        elif math.isnan(value):
            self._nans += 1
        else:
            self._infs += 1

    def merge(self, part: PartialSum) -> None:
        """Collect the numbers whose sums `summed_up` returned."""
        self._counter += part.counter
        self._nans += part.nans
        self._infs += part.infs
        self._merge(part.weight, part.mean, part.moment)

    def _collect_array(self, numpy: Any, values: Any, weights: Any) -> None:
        self._counter += len(values)
        finite = numpy.isfinite(values)
        nans = numpy.isnan(values).reshape(len(values), -1).any(axis=1)
        self._nans += int(nans.sum())
        self._infs += int((~finite.reshape(len(values), -1).all(axis=1) & ~nans).sum())
        weights = weights.reshape(-1, *[1] * len(self._shape)) * finite
        values = numpy.where(finite, values, 0.0)
        total = weights.sum(axis=0)
        divisor = numpy.where(total > 0, total, 1.0)
        mean = (weights * values).sum(axis=0) / divisor
        moment = (weights * (values - mean) ** 2).sum(axis=0)
        if self._shape:
            self._merge_arrays(numpy, total, mean, moment)
        else:
            self._merge(float(total), float(mean), float(moment))

    def _merge(self, weight: float, mean: float, moment: float) -> None:
        if not weight:
            return
        if not self._weight:  # there is no mean yet, and 0 times infinity would be NaN
            self._weight, self._mean, self._moment = weight, mean, moment
            return
        total = self._weight + weight
        apart = mean - self._mean
        self._moment += moment + apart * apart * (self._weight * weight / total)
        self._mean += apart * (weight / total)
        self._weight = total

    def _merge_arrays(self, numpy: Any, weight: Any, mean: Any, moment: Any) -> None:
        total = self._weight + weight
        divisor = numpy.where(total > 0, total, 1.0)
        apart = numpy.where(weight > 0, mean - self._mean, 0.0)
        self._moment = self._moment + moment + apart * apart * (self._weight * weight / divisor)
        self._mean = self._mean + apart * (weight / divisor)
        self._weight = total

    def _known(self, value: Any) -> Any:
        if not self._shape:
            return value if self._weight > 0 else math.nan
        import numpy

        return numpy.where(self._weight > 0, value, math.nan)

    def get_state(self) -> dict[str, Any]:
        """Return the state of the collector, as plain data."""
        return {
            "counter": self._counter, "nans": self._nans, "infs": self._infs,
            "weight": self._weight, "mean": self._mean, "moment": self._moment,
        }  # fmt: skip

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore the result of `get_state`."""
        self._counter, self._nans, self._infs = state["counter"], state["nans"], state["infs"]
        self._weight, self._mean, self._moment = state["weight"], state["mean"], state["moment"]
