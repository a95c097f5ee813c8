"""Columns to pandas. Only this module imports pandas.

It makes a frame from plain columns, so it knows no store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from traininglog.arrays import (
    concatenate,
    fits_float,
    objects,
    own_values,
    positions,
    run_on,
    typed,
    uniform,
)
from traininglog.clock import Clock, moments
from traininglog.columns import Belonging, Column, all_times
from traininglog.run_info import RunInfo
from traininglog.selection import Selection, apart

if TYPE_CHECKING:
    from traininglog.query.groups import Group


def wide(asked: Selection) -> pd.DataFrame:
    """Return a frame with a column per key, indexed by time, wall time or one of the keys.

    A requested key without a value becomes a column of missing values.
    """
    times = all_times(asked.columns)
    places = {column.key: positions(times, column) for column in asked.columns}
    of_key = {column.key: column for column in asked.columns}
    data: dict[str, Any] = {}
    if asked.wall and asked.clock is not None:
        data[asked.name_of_wall()] = _walls(asked.clock, times)
    for key in asked.shown():
        if key in of_key:
            data[key] = _fill(of_key[key].raw_values, places[key], len(times))
        else:
            data[key] = np.full(len(times), np.nan)
    frame: pd.DataFrame = pd.DataFrame(data, index=_index(asked, times), copy=False)
    if asked.by != "key":
        return frame
    by = of_key.get(asked.index_name)
    if by is None:  # the key has values in the log, but none in this selection
        rows: Any = slice(0)
        labels = pd.Index(np.array([], dtype="float64"), name=asked.index_name)
    else:
        rows = places[asked.index_name]  # the rows in which the index has a value
        labels = pd.Index(typed(by.raw_values), name=asked.index_name, copy=False)
    chosen: pd.DataFrame = frame.iloc[rows]
    chosen.index = labels
    return chosen


def _index(asked: Selection, times: Any) -> pd.Index[Any]:
    if asked.by == "wall" and asked.clock is not None:
        return _walls(asked.clock, times)
    index: pd.Index[Any] = pd.Index(times, dtype="int64", name=asked.name_of_time())
    if asked.by == "elapsed" and asked.clock is not None:
        index = pd.Index(asked.clock.elapsed(times), name="elapsed", copy=False)
    return index


def long(columns: Iterable[Column], clock: Clock | None = None) -> pd.DataFrame:
    """Return a frame with the columns time, key and value, and a row per value.

    Rows are in the order of keys, and of times within a key. With a clock, a column wall follows
    the time.
    """
    columns = list(columns)
    data: dict[str, Any] = {
        "time": concatenate([np.asarray(column.raw_times, np.int64) for column in columns])
    }
    if clock is not None:
        walls = concatenate([clock.walls(column.raw_times) for column in columns])
        data["wall"] = pd.DatetimeIndex(moments(walls)).tz_localize("UTC")
    data["key"] = _labels([(column.key, len(column)) for column in columns])
    data["value"] = _exact([column.raw_values for column in columns])
    return pd.DataFrame(data)


def long_of_runs(
    runs: Iterable[tuple[str, list[Column]]], shares: Mapping[str, Belonging]
) -> pd.DataFrame:
    """Return one long frame over many runs: the columns run, time, key, value and own."""
    runs = list(runs)
    flat = [column for _, columns in runs for column in columns]
    counts = [(run, sum(map(len, columns))) for run, columns in runs]
    labels = pd.DataFrame({"run": _labels([(run, count) for run, count in counts if count])})
    own = [own_values(column, shares.get(run)) for run, columns in runs for column in columns]
    flags = pd.DataFrame({"own": np.concatenate(own) if own else np.array([], np.bool_)})
    return pd.concat([labels, long(flat), flags], axis=1)


def wide_of_runs(runs: Iterable[tuple[str, list[Column]]]) -> pd.DataFrame:
    """Return one wide frame over many runs, indexed by (run, time); see `apart` for these names."""
    labels: list[tuple[str, int]] = []
    parts: list[Any] = []
    size = 0
    merged: dict[str, tuple[list[Any], list[Any]]] = {}  # key -> (places, values)
    for run, columns in runs:
        times = all_times(columns)
        for column in columns:
            places, values = merged.setdefault(column.key, ([], []))
            places.append(np.arange(len(times))[positions(times, column)] + size)
            values.append(column.raw_values)
        if len(times):
            labels.append((run, len(times)))
            parts.append(np.asarray(times, np.int64))
            size += len(times)
    data = {
        key: _fill(run_on(values), _whole(concatenate(places), size), size)
        for key, (places, values) in merged.items()
    }
    index = pd.MultiIndex.from_arrays(
        [np.array(_labels(labels), dtype=object), concatenate(parts)],
        names=[apart("run", merged), apart("time", merged)],
    )
    return pd.DataFrame(data, index=index, copy=False)


def series(key: str, column: Column | None) -> pd.Series[Any]:
    """Return one column as a Series over time."""
    if column is None:
        column = Column(key, [], [])
    index = pd.Index(column.raw_times, dtype="int64", name=apart("time", [key]))
    return pd.Series(typed(column.raw_values), index=index, name=key, copy=False)


def table_of_runs(
    infos: Sequence[RunInfo], keys: Sequence[str], best: Sequence[str],
    described: Mapping[str, Sequence[object]],
) -> pd.DataFrame:  # fmt: skip
    """Return a frame with a row per run, and columns of the last and best values of some keys.

    Before these come the columns of `described`, a value per run.

    A value column with the name of an earlier column gets ``log.`` before its name.
    """
    parents = [info.resumed_from for info in infos]
    data: dict[str, Any] = {
        "uuid": _texts([info.uuid.hex for info in infos]),
        "name": _texts([info.name for info in infos]),
        "state": _texts([info.state for info in infos]),
        "created": _moments([info.created for info in infos]),
        "updated": _moments([info.updated for info in infos]),
        "host": _texts([info.host for info in infos]),
        "resumed_from": _texts([each if each is None else each.hex for each in parents]),
        "resumed_at": pd.array([info.resumed_at for info in infos], dtype="Int64"),
        "resumes": np.array([info.resumes for info in infos], dtype=np.int64),
        "first": pd.array([info.first_time for info in infos], dtype="Int64"),
        "last": pd.array([info.last_time for info in infos], dtype="Int64"),
        "rows": np.array([info.rows for info in infos], dtype=np.int64),
        "values": np.array([info.values for info in infos], dtype=np.int64),
    }
    for heading, values in described.items():
        data[apart(heading, data)] = typed(values)
    for key in keys:
        points = [info.last.get(key) for info in infos]
        data[apart(key, data)] = typed([None if each is None else each.value for each in points])
    for key in best:
        data[apart(f"best.{key}", data)] = typed([info.best.get(key) for info in infos])
    return pd.DataFrame(data)


def table_of_groups(groups: Sequence[Group], by: Sequence[str]) -> pd.DataFrame:
    """Return a frame with a row per group: what it is grouped by, ``n``, and each metric."""
    data: dict[str, Any] = {}
    named = list(groups[0].by) if groups else by
    for name in named:
        data[name] = typed([group.by[name] for group in groups])
    data[apart("n", data)] = np.array([group.n for group in groups], dtype=np.int64)
    for key in groups[0].metrics if groups else ():
        numbers = [group.metrics[key].by_name() for group in groups]
        for heading in numbers[0]:
            values = [each[heading] for each in numbers]
            whole = heading in ("n", "missing", "non_finite")
            data[apart(f"{key}.{heading}", data)] = np.array(
                [np.nan if value is None else value for value in values],
                dtype=np.int64 if whole else np.float64,
            )
    return pd.DataFrame(data)


def table(
    records: Sequence[Mapping[str, Any]],
    dtypes: Mapping[str, str],
    headings: Sequence[str],
    more: Sequence[Sequence[Any]],
) -> pd.DataFrame:
    """Return a frame with a row per record: the columns in `dtypes`, then `more` with `headings`.

    One of `more` with the name of an earlier column gets ``log.`` before its name.
    """
    data: dict[str, Any] = {}
    for name, dtype in dtypes.items():
        values = [record[name] for record in records]
        if dtype == "moment":
            seconds = np.array(values, dtype="float64")
            data[name] = pd.DatetimeIndex(moments(seconds)).tz_localize("UTC")
        elif dtype == "object":
            data[name] = pd.Series(objects(values), dtype=object)
        else:
            data[name] = np.array(values, dtype=np.int64)
    for position, heading in enumerate(headings):
        data[apart(heading, data)] = typed([values[position] for values in more])
    return pd.DataFrame(data)


def _texts(texts: Sequence[str | None]) -> pd.Series[Any]:
    return pd.Series(np.array(texts, dtype=object), dtype=object)


def _moments(found: Sequence[datetime | None]) -> pd.DatetimeIndex:
    plain = [None if each is None else each.replace(tzinfo=None) for each in found]  # all are UTC
    return pd.DatetimeIndex(np.array(plain, "datetime64[us]")).tz_localize("UTC")


def _walls(clock: Clock, times: object) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(moments(clock.walls(times)), name="wall").tz_localize("UTC")


def _whole(places: Any, size: int) -> Any:
    return slice(None) if len(places) == size else places


def _fill(given: Sequence[Any], places: Any, size: int) -> Any:
    """Return the array of a column in a frame of `size` rows, with missing values elsewhere."""
    values = typed(given)
    if isinstance(places, slice):
        return values
    if values.dtype == np.float64 or (values.dtype == np.int64 and fits_float(values)):
        filled = np.full(size, np.nan)
        filled[places] = values
        return filled
    if values.dtype in (np.int64, np.bool_):
        data, missing = np.zeros(size, dtype=values.dtype), np.ones(size, dtype=bool)
        data[places], missing[places] = values, False
        if values.dtype == np.bool_:
            return pd.arrays.BooleanArray(data, missing)
        return pd.arrays.IntegerArray(data, missing)
    filled = np.full(size, np.nan, dtype=object)
    filled[places] = values
    return filled


def _exact(parts: Sequence[Any]) -> Any:
    """Return values as a column that keeps their types apart."""
    values = run_on(parts)
    if len(values):
        values = uniform(values)
    if hasattr(values, "dtype"):
        return values
    # Without the dtype, pandas would turn them into its own texts and dates, and a None among them
    # into NaN or NaT.
    return pd.Series(objects(values), dtype=object)


def _labels(counts: Sequence[tuple[str, int]]) -> pd.Categorical:
    """Return a categorical column that repeats each label as often as its count."""
    names = list(dict.fromkeys(name for name, _ in counts))
    code_of = {name: code for code, name in enumerate(names)}
    codes = np.repeat(
        np.array([code_of[name] for name, _ in counts], dtype="int64"),
        np.array([count for _, count in counts], dtype="int64"),
    )
    return pd.Categorical.from_codes(codes, categories=pd.Index(names, dtype=object))
