"""NumPy arrays of times and values: functions that columns, blocks, frames and tables share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from traininglog.kinds import kind

if TYPE_CHECKING:
    from traininglog.columns import Belonging, Column

#: float64 holds all integers up to here exactly.
EXACT = 2**53


class Content(NamedTuple):
    """The content of a column, as far as the type of an array for it depends on that."""

    kinds: frozenset[str] = frozenset()  #: as `traininglog.kinds.kind` names them
    big: bool = False  #: whether there is an integer that float64 would change

    def __or__(self, other: Content) -> Content:
        return Content(self.kinds | other.kinds, self.big or other.big)


def content(column: Column) -> Content:
    """Return the content of a column."""
    values = uniform(column.raw_values)
    if hasattr(values, "dtype"):
        name = {"f": "float", "i": "int", "b": "bool"}[values.dtype.kind]
        return Content(frozenset([name]), name == "int" and not fits_float(values))
    examples = {type(value): value for value in values}
    integers = [value for value in values if type(value) is int]
    big = bool(integers) and not fits_float(np.array(integers, np.int64))
    return Content(frozenset(map(kind, examples.values())), big)


def uniform(values: Any) -> Any:
    """Return values as an array if all of them are floats, or ints, or bools."""
    if hasattr(values, "dtype"):
        return values
    types = set(map(type, values))
    if types <= {float}:
        return np.array(values, dtype=np.float64)
    if types == {int}:
        return np.array(values, dtype=np.int64)
    if types == {bool}:
        return np.array(values, dtype=np.bool_)
    return values


def typed(values: Sequence[Any]) -> Any:
    """Return values as an array, of numbers if they are numbers, with NaN for a None among them.

    Integers that no dtype can hold stay Python objects.
    """
    try:
        values = uniform(values)
        if hasattr(values, "dtype"):
            return values
        types = set(map(type, values))
        if types <= {float, int, type(None)} and types != {type(None)}:
            numbers = [value for value in values if type(value) is int]
            if not numbers or fits_float(np.array(numbers, dtype=np.int64)):
                return np.array(
                    [np.nan if value is None else value for value in values], dtype=np.float64
                )
    except OverflowError:
        pass
    return objects(values)


def objects(values: Sequence[Any]) -> Any:
    """Return values as an array of Python objects."""
    array = np.empty(len(values), dtype=object)
    for position, value in enumerate(values):  # array[:] = values would unpack lists
        array[position] = value
    return array


def fits_float(values: Any) -> bool:
    """Return whether float64 holds all integers of an array exactly."""
    return not len(values) or (int(values.min()) >= -EXACT and int(values.max()) <= EXACT)


def newest(times: Any) -> Any:
    """Return an index that makes times unique and ascending, and keeps the last of equal ones.

    Returns None if the times are so already, as they mostly are.
    """
    if (times[1:] > times[:-1]).all():
        return None
    order = np.argsort(times, kind="stable")
    ascending = times[order]
    return order[np.append(ascending[1:] != ascending[:-1], True)]


def positions(times: Any, column: Column) -> Any:
    """Return the places of a column's values in a table over `times`: an array, or a full slice."""
    if len(column) == len(times):
        return slice(None)
    return np.searchsorted(np.asarray(times, np.int64), np.asarray(column.raw_times, np.int64))


def concatenate(parts: list[Any]) -> Any:
    """Return the concatenation of arrays, without a copy of a single one."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.array([], dtype="int64")


def own_values(column: Column, share: Belonging | None) -> Any:
    """Return as an array of bool which values of a column belong to its run; see `Belonging`."""
    if share is None:
        return np.ones(len(column), np.bool_)
    times = np.asarray(column.raw_times, np.int64)
    found = times > share.last_shared
    if column.key in share.own:
        found |= np.isin(times, np.asarray(share.own[column.key], np.int64), assume_unique=True)
    return found


def run_on(parts: Sequence[Any]) -> Any:
    """Return the concatenation of values, as an array if all of them have one type."""
    if all(hasattr(part, "dtype") for part in parts) and len({part.dtype for part in parts}) == 1:
        return concatenate(list(parts))
    return [
        value for part in parts for value in (part.tolist() if hasattr(part, "dtype") else part)
    ]
