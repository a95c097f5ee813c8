"""Entries by column: what stores hand to readers, and how one layer lies over another."""

from __future__ import annotations

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
            below = merged.get(key)
            if below is None:
                merged[key] = (times, values)
            elif times[0] > below[0][-1]:  # a resumed run mostly goes on where its parent ended
                merged[key] = (below[0] + times, below[1] + values)
            else:
                entries = dict(zip(*below, strict=True))
                entries.update(zip(times, values, strict=True))
                ascending = sorted(entries)
                merged[key] = (ascending, [entries[time] for time in ascending])
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
