"""Columns to pandas. The only module that imports pandas (and with it NumPy).

A frame is made from plain `Column` lists, so that this module knows no store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from traininglog.columns import Column, all_times

_EXACT = 2**53  # integers up to here are exact as float64


def wide(columns: Sequence[Column], wanted: Sequence[str] | None, index: str) -> pd.DataFrame:
    """Return a frame with a column per key, indexed by time or by one of the keys.

    `wanted` lists the columns to return, in order; one without values comes back as all-missing.
    """
    times = all_times(columns)
    positions = {id(column): _positions(times, column) for column in columns}
    data = {
        column.key: _fill(column.raw_values, positions[id(column)], len(times))
        for column in columns
    }
    if wanted is not None:
        data = {key: data.get(key, np.full(len(times), np.nan)) for key in wanted}
    frame: pd.DataFrame = pd.DataFrame(
        data, index=pd.Index(times, dtype="int64", name="time"), copy=False
    )
    if index == "time":
        return frame
    by = next((column for column in columns if column.key == index), None)
    if by is None:  # known elsewhere in the log, but without a value here
        rows: Any = slice(0)
        labels = pd.Index(np.array([], dtype="float64"), name=index)
    else:
        rows = positions[id(by)]  # the rows in which the index has a value
        labels = pd.Index(_typed(by.raw_values), name=index, copy=False)
    chosen: pd.DataFrame = frame.iloc[rows].drop(columns=index, errors="ignore")
    chosen.index = labels
    return chosen


def long(columns: Iterable[Column]) -> pd.DataFrame:
    """Return a frame with the columns time, key and value, a row per value, by time within key."""
    columns = list(columns)
    return pd.DataFrame(
        {
            "time": _concatenate([np.asarray(column.raw_times, np.int64) for column in columns]),
            "key": _labels([(column.key, len(column)) for column in columns]),
            "value": _exact([column.raw_values for column in columns]),
        }
    )


def long_of_runs(runs: Iterable[tuple[str, list[Column]]]) -> pd.DataFrame:
    """Return one long frame over many runs: the columns run, time, key and value."""
    runs = list(runs)
    flat = [column for _, columns in runs for column in columns]
    counts = [(run, sum(map(len, columns))) for run, columns in runs]
    labels = pd.DataFrame({"run": _labels([(run, count) for run, count in counts if count])})
    return pd.concat([labels, long(flat)], axis=1)


def wide_of_runs(runs: Iterable[tuple[str, list[Column]]]) -> pd.DataFrame:
    """Return one wide frame over many runs, indexed by (run, time)."""
    labels: list[tuple[str, int]] = []
    parts: list[Any] = []
    size = 0
    merged: dict[str, tuple[list[Any], list[Any]]] = {}  # key -> (positions, values)
    for run, columns in runs:
        times = all_times(columns)
        for column in columns:
            places = np.arange(len(times))[_positions(times, column)] + size
            positions, values = merged.setdefault(column.key, ([], []))
            positions.append(places)
            values.append(column.raw_values)
        if len(times):
            labels.append((run, len(times)))
            parts.append(np.asarray(times, np.int64))
            size += len(times)
    data = {
        key: _fill(_run_on(values), _whole(_concatenate(positions), size), size)
        for key, (positions, values) in merged.items()
    }
    index = pd.MultiIndex.from_arrays(
        [np.array(_labels(labels), dtype=object), _concatenate(parts)],
        names=["run", "time"],
    )
    return pd.DataFrame(data, index=index, copy=False)


def series(key: str, column: Column | None) -> pd.Series[Any]:
    """Return one column as a Series over time."""
    if column is None:
        column = Column(key, [], [])
    index = pd.Index(column.raw_times, dtype="int64", name="time")
    return pd.Series(_typed(column.raw_values), index=index, name=key, copy=False)


def table_of_runs(
    records: Sequence[Mapping[str, Any]],
    dtypes: Mapping[str, str],
    headings: Sequence[str],
    more: Sequence[Sequence[Any]],
) -> pd.DataFrame:
    """Return a frame with a row per run: the columns in `dtypes`, then more of them."""
    data: dict[str, Any] = {}
    for name, dtype in dtypes.items():
        values = [record[name] for record in records]
        if dtype == "moment":
            seconds = np.array(values, dtype="float64")
            moments = pd.to_datetime(pd.Series(seconds), unit="s", utc=True)
            data[name] = moments.dt.as_unit("us")
        elif dtype == "object":
            data[name] = pd.Series(_objects(values), dtype=object)
        elif dtype == "Int64":
            data[name] = pd.array(values, dtype="Int64")
        else:
            data[name] = np.array(values, dtype=np.int64)
    for position, heading in enumerate(headings):
        data[heading] = _typed([values[position] for values in more])
    return pd.DataFrame(data)


def _positions(times: Any, column: Column) -> Any:
    """Return where a column's values go in a frame over `times`."""
    if len(column) == len(times):
        return slice(None)
    return np.searchsorted(np.asarray(times, np.int64), np.asarray(column.raw_times, np.int64))


def _whole(positions: Any, size: int) -> Any:
    return slice(None) if len(positions) == size else positions


def _run_on(parts: Sequence[Any]) -> Any:
    """Return values one after the other, as an array if all of them are of one."""
    if all(hasattr(part, "dtype") for part in parts) and len({part.dtype for part in parts}) == 1:
        return np.concatenate(parts)
    return [
        value for part in parts for value in (part.tolist() if hasattr(part, "dtype") else part)
    ]


def _fill(given: Sequence[Any], positions: Any, size: int) -> Any:
    """Return the array of a column in a frame of `size` rows, the absent ones as missing."""
    values = _typed(given)
    if isinstance(positions, slice):
        return values
    if values.dtype == np.float64 or (values.dtype == np.int64 and _fits_float(values)):
        filled = np.full(size, np.nan)
        filled[positions] = values
        return filled
    if values.dtype in (np.int64, np.bool_):
        data, missing = np.zeros(size, dtype=values.dtype), np.ones(size, dtype=bool)
        data[positions], missing[positions] = values, False
        if values.dtype == np.bool_:
            return pd.arrays.BooleanArray(data, missing)
        return pd.arrays.IntegerArray(data, missing)
    filled = np.full(size, np.nan, dtype=object)
    filled[positions] = values
    return filled


def _typed(values: Sequence[Any]) -> Any:
    """Return values as an array: of numbers where they are numbers, a None among them as NaN."""
    if hasattr(values, "dtype"):
        return values
    types = set(map(type, values))
    if types <= {float}:
        return np.array(values, dtype=np.float64)
    if types == {int}:
        return np.array(values, dtype=np.int64)
    if types == {bool}:
        return np.array(values, dtype=np.bool_)
    if types <= {float, int, type(None)} and types != {type(None)}:
        numbers = [value for value in values if type(value) is int]
        if not numbers or _fits_float(np.array(numbers, dtype=np.int64)):
            return np.array(
                [np.nan if value is None else value for value in values], dtype=np.float64
            )
    return _objects(values)


def _exact(parts: Sequence[Any]) -> Any:
    """Return values as a column that tells every one of them from every other."""
    values = _run_on(parts)
    if hasattr(values, "dtype"):
        return values
    types = set(map(type, values))
    if len(types) == 1 and types <= {float, int, bool}:
        return _typed(values)
    # The dtype is said, or pandas would make texts and dates of its own out of them, and NaN or
    # NaT of a None among them.
    return pd.Series(_objects(values), dtype=object)


def _objects(values: Sequence[Any]) -> Any:
    array = np.empty(len(values), dtype=object)
    for position, value in enumerate(values):  # array[:] = values would unpack lists
        array[position] = value
    return array


def _fits_float(values: Any) -> bool:
    return not len(values) or (int(values.min()) >= -_EXACT and int(values.max()) <= _EXACT)


def _concatenate(parts: list[Any]) -> Any:
    return np.concatenate(parts) if parts else np.array([], dtype="int64")


def _labels(counts: Sequence[tuple[str, int]]) -> pd.Categorical:
    """Return a categorical column in which each label stands as often as its count says."""
    names = list(dict.fromkeys(name for name, _ in counts))
    code_of = {name: code for code, name in enumerate(names)}
    codes = np.repeat(
        np.array([code_of[name] for name, _ in counts], dtype="int64"),
        np.array([count for _, count in counts], dtype="int64"),
    )
    return pd.Categorical.from_codes(codes, categories=pd.Index(names, dtype=object))
