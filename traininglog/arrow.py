"""Columns to Arrow, and Arrow to Parquet. Only this module imports pyarrow.

Arrays are passed without a copy if Arrow keeps their numbers as NumPy does. This module builds
Arrow arrays from buffers, because pyarrow's own conversions import pandas.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from traininglog.arrays import (
    EXACT,
    Content,
    concatenate,
    content,
    own_values,
    positions,
    uniform,
)
from traininglog.clock import Clock, moments
from traininglog.columns import Belonging, Column, all_times
from traininglog.errors import MissingExtra, ValueTooLarge
from traininglog.kinds import KINDS, kind
from traininglog.plain_json import shown_text
from traininglog.selection import Selection, apart

try:
    import pyarrow as pa
except ImportError as error:
    raise MissingExtra(
        'Arrow tables and Parquet need pyarrow; install it with: pip install "traininglog[parquet]"'
    ) from error

#: A run and its columns, as a store returns them: all of it, or a range of its times.
Part = tuple[str, Sequence[Column]]

_MOMENT = pa.timestamp("us", tz="UTC")
_LABEL = pa.dictionary(pa.int32(), pa.string())

# Small columns are joined: a chunk of a table should hold at least so many values.
_CHUNK = 2**16

# The number of values in a row group of a Parquet file.
_ROW_GROUP = 2**20

_LONGEST = 2**31 - 1  # the most bytes of text in one array


# -- the wide layout ----------------------------------------------------------------------------


def wide(asked: Selection) -> pa.Table:
    """Return a table with the index first, and a column per key."""
    times = all_times(asked.columns)
    size = len(times)
    of_key = {column.key: column for column in asked.columns}
    names: list[str] = []
    arrays: list[Any] = []
    if asked.by == "key":
        names.append(asked.index_name)
        arrays.append(_column(of_key.get(asked.index_name), times))
    elif asked.by == "time" or asked.clock is None:
        names.append(asked.name_of_time())
        arrays.append(_numbers(np.asarray(times, np.int64)))
    elif asked.by == "elapsed":
        names.append("elapsed")
        arrays.append(_known(asked.clock.elapsed(times)))
    if asked.clock is not None and (asked.wall or asked.by == "wall"):
        names.append(asked.name_of_wall())
        arrays.append(_moments(asked.clock.walls(times)))
    names += asked.shown()
    arrays += [_column(of_key.get(key), times) for key in asked.shown()]
    table = pa.Table.from_arrays(arrays, names=names)
    if asked.by == "key":  # only the rows in which the index has a value
        by = of_key.get(asked.index_name)
        places = slice(0) if by is None else positions(times, by)
        table = table.take(_numbers(np.arange(size)[places]))
    return table


def wide_of_runs(parts: Iterable[Part]) -> pa.Table:
    """Return a table of several runs with the columns run and time, and one per key.

    A key with one of these names keeps it: our own column is then ``log.run`` or ``log.time``.
    """
    parts = list(parts)
    found = contents(column for _, columns in parts for column in columns)
    shape = Wide(found, with_run=True, runs=[run for run, _ in parts])
    return pa.Table.from_batches([shape.batch(*part) for part in parts], shape.schema)


def contents(columns: Iterable[Column]) -> dict[str, Content]:
    """Return, by key, the joint content of the columns of each key."""
    found: dict[str, Content] = {}
    for column in columns:
        found[column.key] = found.get(column.key, Content()) | content(column)
    return found


class Wide:
    """A schema of the wide layout, and batches that fit it.

    Args:
        found: The keys, in order, with their content in all batches to come.
        with_run: Whether there is a column for the run.
        runs: The runs to come, if they are known. Then all batches share one dictionary.

    """

    def __init__(
        self, found: Mapping[str, Content], *, with_run: bool, runs: Sequence[str] = ()
    ) -> None:
        self._with_run = with_run
        self._labels = _Labels(runs)
        self._types = {key: _type(value) for key, value in found.items()}
        lead = [(apart("run", found), _LABEL)] if with_run else []
        fields = [*lead, (apart("time", found), pa.int64()), *self._types.items()]
        self.schema = pa.schema(fields)

    def batch(self, run: str, columns: Sequence[Column]) -> pa.RecordBatch:
        """Return some columns of a run, as rows of this schema."""
        times = all_times(columns)
        of_key = {column.key: column for column in columns}
        arrays = [self._labels.array([(run, len(times))])] if self._with_run else []
        arrays.append(_numbers(np.asarray(times, np.int64)))
        arrays += [_column(of_key.get(key), times, type_) for key, type_ in self._types.items()]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def batches(self, parts: Iterable[Part]) -> Iterator[tuple[pa.RecordBatch, int]]:
        """Yield parts as batches, each with the number of its values."""
        for run, columns in parts:
            batch = self.batch(run, columns)
            yield batch, batch.num_rows * max(1, len(self._types))


def _type(found: Content) -> Any:
    """Return the type of a column with this content."""
    kinds = found.kinds - {"none"}
    simple = {
        "float": pa.float64(), "int": pa.int64(), "bool": pa.bool_(), "text": pa.string(),
        "bytes": pa.binary(),
    }  # fmt: skip
    if not kinds or (kinds == {"float", "int"} and not found.big):
        return pa.float64()
    return simple.get(next(iter(kinds)), pa.string()) if len(kinds) == 1 else pa.string()


def _column(column: Column | None, times: Any, type_: Any = None) -> Any:
    """Return a column of a table over `times`, null for a missing value and for None."""
    if column is None:
        return pa.nulls(len(times), pa.float64() if type_ is None else type_)
    if type_ is None:
        type_ = _type(content(column))
    places = positions(times, column)
    values = uniform(column.raw_values)
    if type_ in (pa.string(), pa.binary()):
        found: list[bytes | None] = [None] * len(times)
        numbers = range(len(times)) if isinstance(places, slice) else places.tolist()
        for number, value in zip(numbers, column.values, strict=True):
            if value is not None:
                found[number] = (
                    value
                    if type_ == pa.binary()
                    else _storable(shown_text(value, ascii_only=False))
                )
        return _texts(found, type_)
    dtype: Any = {pa.float64(): np.float64, pa.int64(): np.int64, pa.bool_(): np.bool_}[type_]
    valid = None
    if not hasattr(values, "dtype"):
        valid = np.array([value is not None for value in values], np.bool_)
        values = np.array([0 if value is None else value for value in values], dtype)
    values = values.astype(dtype, copy=False)
    if not isinstance(places, slice):
        there, data = np.zeros(len(times), np.bool_), np.zeros(len(times), dtype)
        there[places], data[places] = True if valid is None else valid, values
        values, valid = data, there
    return _numbers(values, valid)


# -- the long layout ----------------------------------------------------------------------------


def long(columns: Iterable[Column], clock: Clock | None = None) -> pa.Table:
    """Return a table with a row per value; with a clock, also with its wall time."""
    columns = list(columns)
    shape = Long(clock=clock, keys=[column.key for column in columns])
    return pa.Table.from_batches([b for b, _ in shape.batches([("", columns)])], shape.schema)


def long_of_runs(parts: Iterable[Part], shares: Mapping[str, Belonging]) -> pa.Table:
    """Return one table over many runs with a row per value."""
    parts = list(parts)
    keys = [column.key for _, columns in parts for column in columns]
    shape = Long(with_run=True, keys=keys, runs=[run for run, _ in parts], shares=shares)
    return pa.Table.from_batches([b for b, _ in shape.batches(parts)], shape.schema)


class Long:
    """The schema of the long layout, the same whatever was logged, and batches that fit it.

    Args:
        with_run: Whether there is a column for the run.
        clock: The clock of the run, if there is a column of wall times.
        keys: The keys to come, if they are known. Then all batches share one dictionary.
        runs: The runs to come, likewise.
        shares: Which values belong to the runs that share some. None: there is no such column.

    """

    def __init__(
        self, *, with_run: bool = False, clock: Clock | None = None, keys: Sequence[str] = (),
        runs: Sequence[str] = (), shares: Mapping[str, Belonging] | None = None,
    ) -> None:  # fmt: skip
        self._with_run, self._clock, self._shares = with_run, clock, shares
        self._keys, self._runs, self._kinds = _Labels(keys), _Labels(runs), _Labels(KINDS)
        self.schema = pa.schema([
            *([("run", _LABEL)] if with_run else []), ("time", pa.int64()),
            *([("wall", _MOMENT)] if clock is not None else []), ("key", _LABEL),
            ("value", pa.float64()), ("text", pa.string()), ("type", _LABEL),
            *([("own", pa.bool_())] if shares is not None else []),
        ])  # fmt: skip

    def batches(self, parts: Iterable[Part]) -> Iterator[tuple[pa.RecordBatch, int]]:
        """Yield parts as batches, each with the number of its values.

        A large column is a batch by itself, and its times and floats are not copied.
        """
        waiting: list[tuple[str, Column]] = []
        count = 0
        for run, columns in parts:
            for column in columns:
                if waiting and count + len(column) > _CHUNK:
                    yield self._batch(waiting), count
                    waiting, count = [], 0
                waiting.append((run, column))
                count += len(column)
        if waiting:
            yield self._batch(waiting), count

    def _batch(self, given: Sequence[tuple[str, Column]]) -> pa.RecordBatch:
        cells = [_cells(column) for _, column in given]
        counts = [len(column) for _, column in given]
        arrays = []
        if self._with_run:
            runs = [run for run, _ in given]
            arrays.append(self._runs.array(list(zip(runs, counts, strict=True))))
        arrays.append(
            _numbers(concatenate([np.asarray(column.raw_times, np.int64) for _, column in given]))
        )
        if self._clock is not None:
            clock = self._clock
            arrays.append(
                _moments(concatenate([clock.walls(column.raw_times) for _, column in given]))
            )
        keys = [column.key for _, column in given]
        arrays.append(self._keys.array(list(zip(keys, counts, strict=True))))
        valid = None
        if any(part.valid is not None for part in cells):
            valid = concatenate([
                np.ones(count, np.bool_) if part.valid is None else part.valid
                for part, count in zip(cells, counts, strict=True)
            ])  # fmt: skip
        arrays.append(_numbers(concatenate([part.numbers for part in cells]), valid))
        if any(part.texts is not None for part in cells):
            texts: list[bytes | None] = []
            for part, count in zip(cells, counts, strict=True):
                texts += [None] * count if part.texts is None else part.texts
            arrays.append(_texts(texts, pa.string()))
        else:
            arrays.append(pa.nulls(sum(counts), pa.string()))
        arrays.append(self._kinds.array([pair for part in cells for pair in part.kinds]))
        if self._shares is not None:
            own = [own_values(column, self._shares.get(run)) for run, column in given]
            arrays.append(_numbers(concatenate(own)))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


class _Cells(NamedTuple):
    """The values of a column, as they go into the long layout."""

    numbers: object  #: an array of float64
    valid: object  #: an array of whether there is a number; None: everywhere
    texts: list[bytes | None] | None  #: None: there are no texts
    kinds: list[tuple[str, int]]  #: names of types, each with the length of a run of its values


def _cells(column: Column) -> _Cells:
    values = uniform(column.raw_values)
    count = len(column)
    if not hasattr(values, "dtype"):
        return _mixed_cells(values)
    if values.dtype == np.float64:
        return _Cells(values, None, None, [("float", count)])
    if values.dtype == np.bool_:
        return _Cells(values.astype(np.float64), None, None, [("bool", count)])
    texts: list[bytes | None] | None = None
    big = np.flatnonzero((values < -EXACT) | (values > EXACT))
    if len(big):  # float64 does not hold these exactly
        texts = [None] * count
        for place in big.tolist():
            texts[place] = b"%d" % values[place]
    return _Cells(values.astype(np.float64), None, texts, [("int", count)])


def _mixed_cells(values: Sequence[Any]) -> _Cells:
    kinds = [kind(value) for value in values]
    numeric = ("float", "int", "bool")
    pairs = list(zip(values, kinds, strict=True))
    return _Cells(
        np.array([float(value) if name in numeric else 0.0 for value, name in pairs], np.float64),
        np.array([name in numeric for name in kinds], np.bool_),
        [_text(value, name) for value, name in pairs],
        [(name, 1) for name in kinds],
    )


def _text(value: Any, name: str) -> bytes | None:
    if name == "int":
        return None if -EXACT <= value <= EXACT else b"%d" % value
    return (
        None
        if name in ("float", "bool", "none")
        else _storable(shown_text(value, ascii_only=False))
    )


# -- arrays -------------------------------------------------------------------------------------


class _Labels:
    """A column of few different texts. `known` ones are in the dictionary from the start."""

    def __init__(self, known: Sequence[str]) -> None:
        self._codes = {name: code for code, name in enumerate(dict.fromkeys(known))}
        self._texts = _texts([_storable(name) for name in self._codes], pa.string())

    def array(self, counts: Sequence[tuple[str, int]]) -> pa.DictionaryArray:
        """Return an array that repeats each label as often as its count."""
        before = len(self._codes)
        for name, _ in counts:
            self._codes.setdefault(name, len(self._codes))
        if len(self._codes) > before:
            self._texts = _texts([_storable(name) for name in self._codes], pa.string())
        codes = np.array([self._codes[name] for name, _ in counts], np.int32)
        return pa.DictionaryArray.from_arrays(
            _numbers(np.repeat(codes, [count for _, count in counts])), self._texts
        )


def _numbers(values: Any, valid: Any = None, type_: Any = None) -> Any:
    """Return an array of numbers without a copy, null where `valid` is False."""
    if type_ is None:
        type_ = {
            "float64": pa.float64(), "int64": pa.int64(), "int32": pa.int32(), "bool": pa.bool_(),
        }[values.dtype.name]  # fmt: skip
    data = _bits(values) if values.dtype == np.bool_ else np.ascontiguousarray(values)
    mask = None if valid is None or valid.all() else pa.py_buffer(_bits(valid))
    return pa.Array.from_buffers(type_, len(values), [mask, pa.py_buffer(data)])


def _bits(values: Any) -> Any:
    return np.packbits(values, bitorder="little")


def _known(values: Any) -> Any:
    """Return an array of numbers, null for NaN."""
    return _numbers(values, ~np.isnan(values))


def _moments(walls: Any) -> Any:
    return _numbers(moments(walls).view(np.int64), np.isfinite(walls), _MOMENT)


def _texts(values: Sequence[bytes | None], type_: object) -> Any:
    """Return an array of texts (as UTF-8) or of bytes. Raises `ValueTooLarge`."""
    sizes = [0 if value is None else len(value) for value in values]
    ends = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    if ends[-1] > _LONGEST:
        raise ValueTooLarge(
            "a column of texts takes more than 2 GiB: ask for less, with keys, start and stop"
        )
    data = b"".join(value for value in values if value is not None)
    valid = np.array([value is not None for value in values], np.bool_)
    mask = None if valid.all() else pa.py_buffer(_bits(valid))
    buffers = [mask, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(type_, len(values), buffers)


# -- Parquet ------------------------------------------------------------------------------------


def write_parquet(path: Path, parts: Iterable[Part], shape: Wide | Long) -> None:
    """Write parts to a file as they come, and hold at most one row group in memory."""
    from pyarrow import parquet

    with parquet.ParquetWriter(path, shape.schema) as writer:
        waiting: list[pa.RecordBatch] = []
        count = 0

        def write() -> None:
            table = pa.Table.from_batches(waiting, shape.schema).unify_dictionaries()
            writer.write_table(table, row_group_size=max(1, table.num_rows))

        for batch, values in shape.batches(parts):
            if batch.num_rows:
                waiting.append(batch)
                count += values
            if count >= _ROW_GROUP:
                write()
                waiting, count = [], 0
        if waiting:
            write()


def _storable(text: str) -> bytes:
    """Return a text as UTF-8, with lone surrogates escaped, which UTF-8 cannot hold."""
    return text.encode("utf-8", "backslashreplace")
