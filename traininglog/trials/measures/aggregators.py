"""Aggregators: summaries of many values that a program logs under one name.

An aggregator takes values by ``append`` and returns its summary by ``to_json``. ``from_json``
continues the state of another one. ``lazy(...)`` returns a factory that creates one later::

    trial.log_metrics(aggregator=StatAggregator.lazy(skip_obs=1), step_time=0.1)
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Self

from traininglog.errors import CorruptLog
from traininglog.values import StoredRow, StoredValue

Number = int | float


class Aggregator(ABC):
    """A summary of many values."""

    kind: ClassVar[str]

    @classmethod
    def lazy(cls, *args: object, **kwargs: object) -> Callable[[], Self]:
        """Return a function that creates an aggregator with these arguments."""
        cls(*args, **kwargs)  # invalid arguments raise here, not at the first value
        return lambda: cls(*args, **kwargs)

    @abstractmethod
    def append(self, value: Number) -> None:
        """Add a value."""

    def __iadd__(self, value: Number) -> Self:
        self.append(value)
        return self

    @property
    @abstractmethod
    def val(self) -> Number | None:
        """The last value, or None."""

    @abstractmethod
    def to_json(self, short: bool = False) -> Any:
        """Return the summary as plain data; the short form is for people."""

    @abstractmethod
    def state(self) -> StoredRow:
        """Return the whole state, from which `from_json` continues."""

    @classmethod
    @abstractmethod
    def from_json(cls, state: object) -> Self:
        """Return an aggregator that continues the state of another one.

        The result of `to_json` is valid input, too, but has no number of values to skip.
        """


class ValueAggregator(Aggregator):
    """Keeps the latest value."""

    kind = "value"

    def __init__(self, val: Number | None = None) -> None:
        self._val = val

    def append(self, value: Number) -> None:
        """Add a value."""
        self._val = value

    @property
    def val(self) -> Number | None:
        """The last value, or None."""
        return self._val

    def to_json(self, short: bool = False) -> Any:
        """Return the value."""
        return self._val

    def state(self) -> StoredRow:
        """Return the whole state, from which `from_json` continues."""
        return {"type": self.kind, "val": self._val}

    @classmethod
    def from_json(cls, state: Any) -> Self:
        """Return an aggregator that continues the state of another one."""
        return cls(state["val"] if isinstance(state, dict) else state)


class _ValuesAggregator(Aggregator):
    """Keeps values."""

    values: list[Number] | deque[Number]

    def append(self, value: Number) -> None:
        """Add a value."""
        self.values.append(value)

    @property
    def val(self) -> Number | None:
        """The last value, or None."""
        return self.values[-1] if self.values else None

    def to_json(self, short: bool = False) -> Any:
        """Return the values, the oldest first."""
        return list(self.values)


class TimeSeriesAggregator(_ValuesAggregator):
    """Keeps all values. Its short form has the last twenty."""

    kind = "series"

    def __init__(self) -> None:
        self.values: list[Number] = []

    def to_json(self, short: bool = False) -> Any:
        """Return the values, the oldest first."""
        return self.values[-20:] if short else list(self.values)

    def state(self) -> StoredRow:
        """Return the whole state, from which `from_json` continues."""
        return {"type": self.kind, "values": list(self.values)}

    @classmethod
    def from_json(cls, state: Any) -> Self:
        """Return an aggregator that continues the state of another one."""
        made = cls()
        made.values = list(state["values"] if isinstance(state, dict) else state)
        return made


class RingAggregator(_ValuesAggregator):
    """Keeps the last `n` values unchanged, oldest first."""

    kind = "ring"

    def __init__(self, n: int) -> None:
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ValueError(f"a ring holds at least one value, not {n!r}")
        self.values: deque[Number] = deque(maxlen=n)

    def state(self) -> StoredRow:
        """Return the whole state, from which `from_json` continues."""
        return {"type": self.kind, "n": self.values.maxlen, "values": list(self.values)}

    @classmethod
    def from_json(cls, state: Any) -> Self:
        """Return an aggregator that continues the state of another one."""
        if not isinstance(state, dict):  # a list does not tell the size of the ring
            state = {"n": max(1, len(state)), "values": state}
        made = cls(state["n"])
        made.values.extend(state["values"])
        return made


class StatAggregator(Aggregator):
    """Keeps count, mean, standard deviation, minimum and maximum, and not the values.

    The variance is the population variance, by Welford's recurrence (Technometrics 4, 1962). It has
    no cancellation if the values are large and close together.

    Args:
        skip_obs: The number of first values to ignore as warm-up.

    >>> stat = StatAggregator(skip_obs=1)
    >>> for seconds in (60.0, 1.0, 3.0):
    ...     stat += seconds
    >>> stat.count, stat.avg, stat.sd, stat.max
    (2, 2.0, 1.0, 3.0)
    """

    kind = "stat"

    def __init__(self, skip_obs: int = 10) -> None:
        if isinstance(skip_obs, bool) or not isinstance(skip_obs, int) or skip_obs < 0:
            raise ValueError(f"the number of values to skip is 0 or more, not {skip_obs!r}")
        self.skip_obs = skip_obs
        self.skipped = 0
        self.count = 0
        self.avg: float | None = None
        self.min: Number | None = None
        self.max: Number | None = None
        self._squares = 0.0  # the sum of squared distances from the mean
        self._val: Number | None = None

    def append(self, value: Number) -> None:
        """Add a value."""
        if self.skipped < self.skip_obs:
            self.skipped += 1
            return
        self._val = value
        self.count += 1
        if self.avg is None or self.min is None or self.max is None:
            self.avg, self.min, self.max = float(value), value, value
            return
        distance = value - self.avg
        self.avg += distance / self.count
        self._squares += distance * (value - self.avg)
        self.min = min(self.min, value)
        self.max = max(self.max, value)

    @property
    def val(self) -> Number | None:
        """The last value that was not skipped, or None."""
        return self._val

    @property
    def sd(self) -> float | None:
        """The population standard deviation; None without values."""
        if not self.count:
            return None
        return math.sqrt(self._squares / self.count) if self._squares >= 0 else math.nan

    @property
    def total(self) -> float:
        """The sum of the values."""
        return 0.0 if self.avg is None else self.avg * self.count

    @property
    def sum(self) -> float:
        """The sum of the values; another name of `total`."""
        return self.total

    def to_json(self, short: bool = False) -> Any:
        """Return the statistics."""
        found = {
            "avg": self.avg, "min": self.min, "max": self.max, "sd": self.sd, "count": self.count,
        }  # fmt: skip
        return found if short else found | {"sum": self.total, "val": self.val}

    def state(self) -> StoredRow:
        """Return the whole state, from which `from_json` continues."""
        return {
            "type": self.kind, "skip_obs": self.skip_obs, "skipped": self.skipped,
            "count": self.count, "avg": self.avg, "min": self.min, "max": self.max,
            "squares": self._squares, "val": self._val,
        }  # fmt: skip

    @classmethod
    def from_json(cls, state: Any) -> Self:
        """Return an aggregator that continues the state of another one."""
        if "squares" not in state:
            count, sd = state["count"], state["sd"]
            state = {
                "skip_obs": 0, "skipped": 0, "squares": 0.0 if sd is None else sd * sd * count,
                "val": state.get("val"), **state,
            }  # fmt: skip
        made = cls(state["skip_obs"])
        made.skipped, made.count, made.avg = state["skipped"], state["count"], state["avg"]
        made.min, made.max = state["min"], state["max"]
        made._squares, made._val = state["squares"], state["val"]
        return made


_KINDS: dict[str, type[Aggregator]] = {
    kind.kind: kind
    for kind in (ValueAggregator, TimeSeriesAggregator, RingAggregator, StatAggregator)
}


def restored(state: StoredRow) -> Aggregator:
    """Return the aggregator of a state. Raises `CorruptLog` if no aggregator has such a state."""
    kind = _KINDS.get(str(state.get("type")))
    parts = [value for name, value in state.items() if name != "type"]
    try:
        if kind is None or not all(map(_is_of_a_state, parts)):
            raise ValueError("it has other parts")
        return kind.from_json(dict(state))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CorruptLog(
            f"the status of a run holds {state!r:.80}, which is not the state of an aggregator "
            f"({error}); restore a copy of the store"
        ) from error


def _is_of_a_state(value: StoredValue) -> bool:
    if isinstance(value, list):
        return all(type(number) in (int, float) for number in value)
    return value is None or type(value) in (int, float)


def made(aggregator: Callable[[], Aggregator] | Aggregator) -> Aggregator:
    """Return an aggregator from a factory. Raises `TypeError` for anything else."""
    found = aggregator() if callable(aggregator) else aggregator
    if not isinstance(found, Aggregator):
        raise TypeError(
            f"an aggregator comes from a factory, as StatAggregator.lazy(10), not from {found!r}"
        )
    return found
