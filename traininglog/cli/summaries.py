"""Summaries of the keys of a log, for `show` and `diff`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from traininglog.cli.output.text import brief, shortened
from traininglog.columns import Column, Point
from traininglog.values import StoredRow, StoredValue

if TYPE_CHECKING:
    from traininglog.sqlite.log import SQLiteLog


class Summary(NamedTuple):
    """The summary of one key of a log."""

    key: str
    values: int
    first_time: int
    last: Point
    min: Point | None  #: None if no value is a number
    max: Point | None
    nan_count: int
    first_nan: int | None  #: the time of the first NaN

    def as_dict(self) -> StoredRow:
        """Return the summary for JSON."""
        return {
            "key": self.key,
            "values": self.values,
            "first_time": self.first_time,
            "last": self.last._asdict(),
            "min": None if self.min is None else self.min._asdict(),
            "max": None if self.max is None else self.max._asdict(),
            "nan_count": self.nan_count,
            "first_nan": self.first_nan,
        }


def summaries(log: SQLiteLog) -> list[Summary]:
    """Return the summaries of all keys that a log sees, in the log's order."""
    return [_summary(column) for column in log.columns()]


def difference(one: Any, other: Any) -> float | int | None:
    """Return `one` minus `other`, or None unless both are numbers."""
    if not is_number(one) or not is_number(other):
        return None
    result: float | int = one - other
    return result


def is_number(value: StoredValue) -> bool:
    """Return whether a value is an int or a float, and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def at(where: Point | None) -> str:
    """Return a value and its time as a short text."""
    if where is None:
        return "-"
    return f"{shortened(brief(where.value), 24)} @ {where.time}"


def _summary(column: Column) -> Summary:
    key, times, values = column
    if not set(map(type, values)) <= {int, float}:
        pairs = [pair for pair in zip(times, values, strict=True) if is_number(pair[1])]
        times, values = [time for time, _ in pairs], [value for _, value in pairs]
    numbers = [value for value in values if value == value]  # noqa: PLR0124 - not NaN
    lowest = highest = first_nan = None
    if numbers:  # of equal values, the first one
        lowest, highest = (
            Point(times[values.index(value)], value) for value in (min(numbers), max(numbers))
        )
    nan_count = len(values) - len(numbers)
    if nan_count:
        pairs = list(zip(times, values, strict=True))
        first_nan = next(time for time, value in pairs if value != value)  # noqa: PLR0124 - NaN
    return Summary(
        key, len(column.times), column.times[0], Point(column.times[-1], column.values[-1]),
        lowest, highest, nan_count, first_nan,
    )  # fmt: skip
