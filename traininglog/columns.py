"""Entries by column: what stores hand to readers, and how one layer lies over another."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from traininglog.encoding import HIDDEN


class Column(NamedTuple):
    """The values of one key, in ascending order of time."""

    key: str
    times: list[int]
    values: list[Any]


class Point(NamedTuple):
    """One value and the time at which it was logged."""

    time: int
    value: Any


#: Entries of one origin (a run, or what is not flushed yet): key -> (ascending times, values).
#: A value may be `HIDDEN`.
Layer = dict[str, tuple[list[int], list[Any]]]


def layer_of_rows(rows: Iterable[tuple[int, dict[str, Any]]]) -> Layer:
    """Turn rows, in any order of time, into a layer."""
    layer: Layer = {}
    for time, row in sorted(rows, key=lambda item: item[0]):
        for key, value in row.items():
            times, values = layer.setdefault(key, ([], []))
            times.append(time)
            values.append(value)
    return layer


def overlay(layers: Iterable[Layer], order: Sequence[str]) -> list[Column]:
    """Lay entries over each other: of several for one (time, key), the last layer's counts.

    `layers` go from the farthest ancestor to the nearest; `order` gives the order of the columns.
    Columns in which nothing is left are not returned.
    """
    merged: Layer = {}
    for layer in layers:
        for key, (times, values) in layer.items():
            if key in merged:
                _lay_over(*merged[key], times, values)
            else:
                merged[key] = (list(times), list(values))
    columns = []
    for key in order:
        if key not in merged:
            continue
        times, values = merged[key]
        if any(value is HIDDEN for value in values):
            kept = [
                (time, value) for time, value in zip(times, values, strict=True)
                if value is not HIDDEN
            ]  # fmt: skip
            times, values = [time for time, _ in kept], [value for _, value in kept]
        if times:
            columns.append(Column(key, times, values))
    return columns


def _lay_over(
    times: list[int], values: list[Any], new_times: list[int], new_values: list[Any]
) -> None:
    """Lay one ascending column over another, in place.

    A resumed run mostly goes on where its parent ended, or a little before: only the overlap at the
    end is merged, so that a thousand layers cost no more than their entries.
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
