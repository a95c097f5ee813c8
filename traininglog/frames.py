"""Columns to pandas. The only module that imports pandas (and with it NumPy).

A frame is made from plain `Column` lists, so that this module knows no store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from traininglog.columns import Column

_EXACT = 2**53  # integers up to here are exact as float64


def wide(columns: Sequence[Column], wanted: Sequence[str] | None, index: str) -> pd.DataFrame:
    """Return a frame with a column per key, indexed by time or by one of the keys.

    `wanted` lists the columns to return, in order; one without values comes back as all-missing.
    """
    times = _union(columns)
    positions = {id(column): _positions(times, column) for column in columns}
    data = {
        column.key: _fill(column.values, positions[id(column)], len(times)) for column in columns
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
        labels = pd.Index(_typed(by.values), name=index, copy=False)
    chosen: pd.DataFrame = frame.iloc[rows].drop(columns=index, errors="ignore")
    chosen.index = labels
    return chosen


def long(columns: Iterable[Column]) -> pd.DataFrame:
    """Return a frame with the columns time, key and value, a row per value, by time within key."""
    columns = list(columns)
    return pd.DataFrame(
        {
            "time": _concatenate([np.array(column.times, dtype="int64") for column in columns]),
            "key": _labels([(column.key, len(column.times)) for column in columns]),
            "value": _exact([value for column in columns for value in column.values]),
        }
    )


def long_of_runs(runs: Iterable[tuple[str, list[Column]]]) -> pd.DataFrame:
    """Return one long frame over many runs: the columns run, time, key and value."""
    runs = list(runs)
    flat = [column for _, columns in runs for column in columns]
    counts = [(run, sum(len(column.times) for column in columns)) for run, columns in runs]
    labels = pd.DataFrame({"run": _labels([(run, count) for run, count in counts if count])})
    return pd.concat([labels, long(flat)], axis=1)


def wide_of_runs(runs: Iterable[tuple[str, list[Column]]]) -> pd.DataFrame:
    """Return one wide frame over many runs, indexed by (run, time)."""
    labels: list[tuple[str, int]] = []
    all_times: list[int] = []
    merged: dict[str, tuple[list[Any], list[Any]]] = {}  # key -> (positions, values)
    for run, columns in runs:
        times = _union(columns)
        for column in columns:
            places = np.arange(len(times))[_positions(times, column)] + len(all_times)
            positions, values = merged.setdefault(column.key, ([], []))
            positions.append(places)
            values.extend(column.values)
        if times:
            labels.append((run, len(times)))
            all_times.extend(times)
    size = len(all_times)
    data = {
        key: _fill(values, slice(None) if len(values) == size else _concatenate(positions), size)
        for key, (positions, values) in merged.items()
    }
    index = pd.MultiIndex.from_arrays(
        [np.array(_labels(labels), dtype=object), np.array(all_times, dtype="int64")],
        names=["run", "time"],
    )
    return pd.DataFrame(data, index=index, copy=False)


def series(key: str, column: Column | None) -> pd.Series[Any]:
    """Return one column as a Series over time."""
    if column is None:
        column = Column(key, [], [])
    index = pd.Index(column.times, dtype="int64", name="time")
    return pd.Series(_typed(column.values), index=index, name=key, copy=False)


def table_of_runs(
    records: Sequence[Mapping[str, Any]],
    dtypes: Mapping[str, str],
    keys: Sequence[str],
    last_values: Sequence[Sequence[Any]],
) -> pd.DataFrame:
    """Return a frame with a row per run: the columns in `dtypes`, then a column per key."""
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
    for position, key in enumerate(keys):
        name = f"log.{key}" if key in dtypes else key
        data[name] = _typed([values[position] for values in last_values])
    return pd.DataFrame(data)


def _union(columns: Sequence[Column]) -> list[int]:
    """Return every time of some columns; mostly all columns have the same."""
    if not columns:
        return []
    first = columns[0].times
    if all(column.times == first for column in columns[1:]):
        return first
    return sorted(set().union(*(column.times for column in columns)))


def _positions(times: list[int], column: Column) -> Any:
    """Return where a column's values go in a frame over `times`."""
    if len(column.times) == len(times):
        return slice(None)
    return np.searchsorted(np.array(times, dtype="int64"), np.array(column.times, dtype="int64"))


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


def _exact(values: Sequence[Any]) -> Any:
    """Return values as a column that tells every one of them from every other."""
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
