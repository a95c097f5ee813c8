"""NumPy arrays of times and values: what columns, blocks, frames and tables have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from traininglog.texts import kind

if TYPE_CHECKING:
    from traininglog.columns import Column

#: Integers up to here are exact as float64.
EXACT = 2**53


class Content(NamedTuple):
    """What a column holds, as far as it matters for the type that can hold all of it."""

    kinds: frozenset[str] = frozenset()  #: as `traininglog.texts.kind` names them
    big: bool = False  #: whether there is an integer that float64 would change

    def __or__(self, other: Content) -> Content:
        return Content(self.kinds | other.kinds, self.big or other.big)


def content(column: Column) -> Content:
    """Return what a column holds."""
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
    """Return values as an array: of numbers where they are numbers, a None among them as NaN.

    Integers that no dtype has are left as they are.
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
    """Return values as an array of the objects that they are."""
    array = np.empty(len(values), dtype=object)
    for position, value in enumerate(values):  # array[:] = values would unpack lists
        array[position] = value
    return array


def fits_float(values: Any) -> bool:
    """Tell whether all integers of an array are exact as float64."""
    return not len(values) or (int(values.min()) >= -EXACT and int(values.max()) <= EXACT)


def newest(times: Any) -> Any:
    """Return which of some times to take, and in what order, to have each once, ascending.

    Of equal ones the last is taken. None if they are as they should be, as they mostly are.
    """
    if (times[1:] > times[:-1]).all():
        return None
    order = np.argsort(times, kind="stable")
    ascending = times[order]
    return order[np.append(ascending[1:] != ascending[:-1], True)]


def positions(times: Any, column: Column) -> Any:
    """Return where a column's values go in a table over `times`: an array, or a slice for all."""
    if len(column) == len(times):
        return slice(None)
    return np.searchsorted(np.asarray(times, np.int64), np.asarray(column.raw_times, np.int64))


def concatenate(parts: list[Any]) -> Any:
    """Return arrays one after the other; one by itself is not copied."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.array([], dtype="int64")


def run_on(parts: Sequence[Any]) -> Any:
    """Return values one after the other, as an array if all of them are of one type."""
    if all(hasattr(part, "dtype") for part in parts) and len({part.dtype for part in parts}) == 1:
        return concatenate(list(parts))
    return [
        value for part in parts for value in (part.tolist() if hasattr(part, "dtype") else part)
    ]
