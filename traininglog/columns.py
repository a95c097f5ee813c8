"""Entries by column, as stores return them to readers, and laying one layer over another.

A store that keeps numbers as arrays returns arrays, and they stay arrays all the way into a
DataFrame. This module imports NumPy only if there are arrays.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from traininglog.encoding import HIDDEN
from traininglog.kinds import kind
from traininglog.values import StoredRow, StoredValue


class Column:
    """The values of one key, in ascending order of time.

    Args:
        key: The key.
        times: A list, or a NumPy array of int64.
        values: As many: a list, or a NumPy array of float64, int64 or bool.

    """

    __slots__ = ("key", "raw_times", "raw_values")

    def __init__(self, key: str, times: Any, values: Any) -> None:
        self.key = key
        self.raw_times = times  #: the list or array that was passed
        self.raw_values = values  #: the list or array that was passed

    @property
    def times(self) -> list[int]:
        """The times, as a list."""
        return _listed(self.raw_times)

    @property
    def values(self) -> list[Any]:
        """The values, as a list."""
        return _listed(self.raw_values)

    @property
    def last(self) -> Point:
        """The last value."""
        return self._point(len(self) - 1)

    def best(self, mode: Literal["min", "max"]) -> Point | None:
        """Return the first of the smallest (or largest) numbers, or None if there are none.

        It skips NaN and every value that is not a number.
        """
        values = self.raw_values
        if hasattr(values, "dtype"):
            import numpy as np

            pick = np.argmin if mode == "min" else np.argmax
            if values.dtype != np.float64:
                return self._point(int(pick(values)))
            usable = np.flatnonzero(~np.isnan(values))
            return self._point(int(usable[pick(values[usable])])) if len(usable) else None
        numbers = [
            (value, place)
            for place, value in enumerate(values)
            if isinstance(value, (int, float)) and value == value  # noqa: PLR0124 - not NaN
        ]
        if not numbers:
            return None
        first = (min if mode == "min" else max)(numbers, key=lambda pair: pair[0])
        return self._point(first[1])

    def _point(self, place: int) -> Point:
        return Point(
            _listed(self.raw_times[place : place + 1])[0],
            _listed(self.raw_values[place : place + 1])[0],
        )

    def __iter__(self) -> Iterator[Any]:
        return iter((self.key, self.times, self.values))

    def __len__(self) -> int:
        return len(self.raw_times)

    def __repr__(self) -> str:
        return f"<Column {self.key!r} of {len(self)} values>"


class Belonging(NamedTuple):
    """Which values of a run belong to it, if it shows some that belong to another run."""

    last_shared: int  #: all values after this time belong to it
    own: Mapping[str, Any]  #: by key: the other times at which its value belongs to it


class Point(NamedTuple):
    """One value and the time at which it was logged."""

    time: int
    value: StoredValue

    @property
    def kind(self) -> str:
        """The name of the value's type, as in the long layout of `to_arrow`: "float", "none"."""
        return kind(self.value)


#: Ascending times, and the values at them, of one key; lists or arrays, as in a `Column`. A value
#: in a list may be `HIDDEN`.
Strip = tuple[Any, Any]

#: Entries of one origin (the rows of a run, its segments, or the unflushed values), by key.
Layer = dict[str, Strip]


def all_times(columns: Sequence[Column]) -> Any:
    """Return every time of some columns, ascending."""
    return union([column.raw_times for column in columns])


def union(parts: Sequence[Any]) -> Any:
    """Return every time of ascending parts, ascending. Mostly all parts are equal."""
    parts = [times for times in parts if len(times)]
    if not parts:
        return []
    first = parts[0]
    rest = [times for times in parts[1:] if times is not first]
    if any(hasattr(times, "dtype") for times in (first, *rest)):
        import numpy as np

        different = [first]
        for times in rest:
            if not np.array_equal(times, different[-1]):
                different.append(times)
        if len(different) == 1:
            return first
        # Not `unique`, which hashes: a stable sort only merges what is ascending already.
        found = np.sort(np.concatenate(different), kind="stable")
        return found[np.concatenate([[True], found[1:] != found[:-1]])]
    if all(times == first for times in rest):
        return first
    return sorted(set(first).union(*rest))


def layer_of_rows(rows: Iterable[tuple[int, StoredRow]]) -> Layer:
    """Turn rows, in any order of time, into a layer."""
    layer: Layer = {}
    for time, row in sorted(rows, key=lambda item: item[0]):
        for key, value in row.items():
            times, values = layer.setdefault(key, ([], []))
            times.append(time)
            values.append(value)
    return layer


def overlay(layers: Iterable[Layer], order: Iterable[str]) -> list[Column]:
    """Lay entries over each other: of several for one (time, key), that of the last layer counts.

    `layers` go from the farthest ancestor to the nearest. `order` is the order of the columns.
    Columns without a value are left out.
    """
    strips: dict[str, list[Strip]] = {}
    for layer in layers:
        for key, strip in layer.items():
            if len(strip[0]):
                strips.setdefault(key, []).append(strip)
    columns = []
    for key in order:
        if key in strips:
            times, values = _shown(*_stacked(strips[key]))
            if len(times):
                columns.append(Column(key, times, values))
    return columns


def _stacked(strips: list[Strip]) -> Strip:
    if len(strips) == 1:
        return strips[0]
    if any(type(times) is not list or type(values) is not list for times, values in strips):
        return _stacked_arrays(strips)
    times, values = list(strips[0][0]), list(strips[0][1])
    for more_times, more_values in strips[1:]:
        _lay_over(times, values, more_times, more_values)
    return times, values


def _stacked_arrays(strips: list[Strip]) -> Strip:
    import numpy as np

    from traininglog.arrays import newest, objects, uniform

    times: Any = np.concatenate([np.asarray(times, np.int64) for times, _ in strips])
    parts = [uniform(values) for _, values in strips]
    if len({getattr(part, "dtype", None) for part in parts}) > 1 or isinstance(parts[0], list):
        parts = [objects(_listed(part)) for part in parts]
    values = np.concatenate(parts)
    chosen = newest(times)
    if chosen is not None:
        times, values = times[chosen], values[chosen]
    return times, (values.tolist() if values.dtype == object else values)


def _shown(times: Any, values: Any) -> Strip:
    """Drop the entries that are `HIDDEN`."""
    if hasattr(values, "dtype") or not any(value is HIDDEN for value in values):
        return times, values
    kept = [
        (time, value)
        for time, value in zip(_listed(times), values, strict=True)
        if value is not HIDDEN
    ]
    return [time for time, _ in kept], [value for _, value in kept]


def _listed(values: Any) -> list[Any]:
    found: list[Any] = values.tolist() if hasattr(values, "tolist") else values
    return found


def _lay_over(
    times: list[int], values: list[Any], new_times: list[int], new_values: list[Any]
) -> None:
    """Lay one ascending column over another, in place.

    A resumed run mostly goes on where its parent ended, or a little before. Only the overlap at the
    end is merged, so a thousand layers cost no more than their entries.
    """
    start = bisect_left(times, new_times[0])
    if start == len(times):
        times += new_times
        values += new_values
        return
    entries = dict(zip(times[start:], values[start:], strict=True))
    entries.update(zip(new_times, new_values, strict=True))
    ascending = sorted(entries)
    times[start:] = ascending
    values[start:] = [entries[time] for time in ascending]
