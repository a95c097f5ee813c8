"""`RingbufferMonitor`: the last values of one metric."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from traininglog.monitors.base import Monitor
from traininglog.monitors.flattening import number_in, pick
from traininglog.monitors.steps import Steps
from traininglog.values import called


class RingbufferMonitor(Monitor):
    """Holds the last values of one metric, and tells whether it still moves.

    A write without the metric is ignored. The steps of a session count on from those of the
    previous sessions.

    Args:
        capacity: How many values to hold, at least 2.
        key: The metric; ``"a/b"`` also finds it in nested dicts.
        name: The name in a composite.

    >>> ring = RingbufferMonitor(capacity=4, key="loss")
    >>> for step, loss in enumerate([9.0, 3.0, 5.0, 1.0, 3.0], 1):
    ...     ring.write({"loss": loss}, step)
    >>> ring.mean(), round(ring.std(), 3), ring.movement_index
    (3.0, 1.414, 1.0)
    """

    def __init__(
        self, capacity: int = 100, key: str = "training_loss", name: str = "ringbuffer_monitor"
    ) -> None:
        super().__init__(name)
        if isinstance(capacity, bool) or not isinstance(capacity, int) or capacity < 2:
            raise ValueError(f"capacity is an int of at least 2, not {capacity!r}")
        self.capacity = capacity
        self.key = key
        self._values: deque[float] = deque(maxlen=capacity)
        self._at: deque[float] = deque(maxlen=capacity)
        self._steps = Steps()

    @property
    def values(self) -> list[float]:
        """The values held, the oldest first."""
        return list(self._values)

    @property
    def steps(self) -> list[float]:
        """The steps of the values, over all sessions."""
        return list(self._at)

    def start_session(self, num_steps: int | None, **kwargs: Any) -> None:
        """Start a session, whose steps count on from those of the previous sessions."""
        self._steps.start_session()

    def write(self, data: Mapping[str, Any], step: float, **kwargs: Any) -> None:
        """Add the metric, if the data has it. Raises `TypeError` if it is not a number."""
        step = self._steps.take(step)
        value = pick(data, self.key)
        if value is None:
            return
        number = number_in(value)
        if number is None:
            raise TypeError(f"{self.key!r} is to be a number, not a {called(value)}")
        self._values.append(number)
        self._at.append(step)

    def mean(self) -> float:
        """Return the mean of the values, NaN before the first."""
        return _mean(self._values)

    def std(self) -> float:
        """Return the standard deviation of the population of values, NaN before the first."""
        return _deviation(self._values)

    @property
    def movement_index(self) -> float | None:
        """The movement of the metric in relation to its scatter. None until the buffer is full.

        The values are split at the middle of their steps. The index is the distance of the two
        halves' means over twice the geometric mean of their standard deviations: near 0 the metric
        stands still, above 1 it clearly moves. A half without scatter counts with the rounding
        error of the numbers as its scatter. So the index is always defined: 0 if nothing moved,
        very large if one constant became another.
        """
        if len(self._values) < self.capacity:
            return None
        values, at = self.values, self.steps
        # Compare twice the step: half of the sum of two large integers would be rounded.
        cut = next((n for n, step in enumerate(at) if 2 * step >= at[0] + at[-1]), 0)
        if cut == 0:  # the steps do not ascend
            cut = len(values) // 2
        old, new = values[:cut], values[cut:]
        distance = abs(_mean(old) - _mean(new))
        if distance == 0:
            return 0.0
        least = math.ulp(max(map(abs, values)))
        scatter = [max(_deviation(half), least) for half in (old, new)]
        return distance / (2 * math.sqrt(scatter[0]) * math.sqrt(scatter[1]))


def _mean(values: Sequence[float]) -> float:
    if not values:
        return math.nan
    try:
        return math.fsum(values) / len(values)
    except OverflowError:  # the sum overflows, but not the mean
        return math.fsum(value / len(values) for value in values)
    except ValueError:  # infinities of both signs
        return math.nan


def _deviation(values: Sequence[float]) -> float:
    mean = _mean(values)
    return math.hypot(*(value - mean for value in values)) / math.sqrt(len(values) or 1) + mean * 0
