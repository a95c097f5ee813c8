"""The formats of `traininglog export`. Each writer takes runs as plain columns.

The wide layout has a line a row, the long one a line a value. None, NaN and absent stay apart in
all of them; how, each writer says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from traininglog.cli.json_output import cell, dumps, kind
from traininglog.cli.mistakes import Mistake
from traininglog.columns import Column
from traininglog.errors import MissingExtra

_SPECIAL = re.compile('[,"\r\n]')
_EXACT = 2**53  # integers up to here are exact as float64
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what makes a spreadsheet run a cell


class Part(NamedTuple):
    """What is exported of one run."""

    run: str
    columns: list[Column]


Parts = Iterable[Part]


def guarded(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def write_csv(
    stream: TextIO,
    parts: Parts,
    *,
    long: bool,
    with_run: bool,
    shown: Callable[[str], str] = str,
) -> None:
    """Write CSV: floats with all their digits, NaN as NaN, None as None, absent as nothing.

    Args:
        stream: Where to.
        parts: The runs.
        long: Whether a line is a value, with its type; else it is a row.
        with_run: Whether there is a column for the run.
        shown: Applied to every text, for a stream that is a terminal.

    """

    def written(value: Any) -> str:
        if isinstance(value, float):
            return "NaN" if value != value else repr(value)  # noqa: PLR0124 - it is NaN
        if value is None or isinstance(value, (bool, int)):
            return str(value)
        return guarded(shown(cell(value)))

    lead = ["run"] if with_run else []
    if long:
        stream.write(_line([*lead, "time", "key", "value", "type"]))
        for run, columns in parts:
            lead = [run] if with_run else []
            for key, times, values in columns:
                name = guarded(shown(key))
                stream.writelines(
                    _line([*lead, str(time), name, written(value), kind(value)])
                    for time, value in zip(times, values, strict=True)
                )
        return
    parts = list(parts)
    keys = _keys(parts)
    _refuse_double(keys, with_run=with_run)
    stream.write(_line([*lead, "time", *(guarded(shown(key)) for key in keys)]))
    for run, columns in parts:
        lead = [run] if with_run else []
        for time, row in _rows(columns):
            cells = [written(row[key]) if key in row else "" for key in keys]
            stream.write(_line([*lead, str(time), *cells]))


def _line(cells: Iterable[str]) -> str:
    # Not the csv module: with "\n" at the ends of lines it leaves a "\r" in a cell unquoted.
    return ",".join(map(_quoted, cells)) + "\n"


def _quoted(text: str) -> str:
    if _SPECIAL.search(text) is None:
        return text
    return '"' + text.replace('"', '""') + '"'


def write_jsonl(stream: TextIO, parts: Parts, *, long: bool, with_run: bool) -> None:
    """Write a JSON object a line. A key that a row lacks is not in it; None is null.

    In the long layout the member "type" tells the float NaN from the text "NaN".
    """
    for run, columns in parts:
        lead = {"run": run} if with_run else {}
        if long:
            stream.writelines(
                dumps(lead | {"time": time, "key": key, "value": value, "type": kind(value)}) + "\n"
                for key, times, values in columns
                for time, value in zip(times, values, strict=True)
            )
        else:
            stream.writelines(
                dumps(lead | {"time": time, "row": row}) + "\n" for time, row in _rows(columns)
            )


def write_parquet(path: Path, parts: Parts, *, long: bool, with_run: bool) -> None:
    """Write Parquet. Long: a number is in `value`, the text of anything else in `text`.

    Wide: a column per key, of numbers where they all are, else of text; null where a row has none.
    """
    arrow, parquet = require_pyarrow()
    if long:
        fields = [
            ("time", arrow.int64()), ("key", arrow.dictionary(arrow.int32(), arrow.string())),
            ("value", arrow.float64()), ("text", arrow.string()), ("type", arrow.string()),
        ]  # fmt: skip
        schema = arrow.schema([*([("run", arrow.string())] if with_run else []), *fields])
        with parquet.ParquetWriter(path, schema) as writer:
            for part in parts:
                if part.columns:
                    data = _long_data(part, with_run=with_run)
                    writer.write_table(arrow.table(data, schema=schema))
        return
    parts = list(parts)
    keys = _keys(parts)
    _refuse_double(keys, with_run=with_run)
    times, runs = [], []
    values: dict[str, list[Any]] = {key: [] for key in keys}
    for run, columns in parts:
        for time, row in _rows(columns):
            times.append(time)
            runs.append(run)
            for key in keys:
                values[key].append(row.get(key, _ABSENT))
    arrays = {"run": arrow.array(runs, arrow.string())} if with_run else {}
    arrays["time"] = arrow.array(times, arrow.int64())
    for key in keys:
        arrays[key] = _arrow_column(arrow, values[key])
    parquet.write_table(arrow.table(arrays), path)


def require_pyarrow() -> tuple[Any, Any]:
    """Return pyarrow and its Parquet module, or raise `MissingExtra`."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra(
            'Parquet needs pyarrow; install it with: pip install "traininglog[parquet]"'
        ) from error
    return pyarrow, pyarrow.parquet


_ABSENT: Any = object()


def _long_data(part: Part, *, with_run: bool) -> dict[str, list[Any]]:
    values = [value for column in part.columns for value in column.values]
    kinds = [kind(value) for value in values]
    data: dict[str, list[Any]] = {"run": [part.run] * len(values)} if with_run else {}
    return data | {
        "time": [time for column in part.columns for time in column.times],
        "key": [column.key for column in part.columns for _ in column.times],
        "value": [
            float(value) if name in ("float", "int", "bool") else None
            for value, name in zip(values, kinds, strict=True)
        ],
        "text": [_parquet_text(value, name) for value, name in zip(values, kinds, strict=True)],
        "type": kinds,
    }


def _parquet_text(value: Any, name: str) -> str | None:
    if name == "int":  # past 2**53 the number alone is not exact
        return None if -_EXACT <= value <= _EXACT else str(value)
    return None if name in ("float", "bool", "none") else _storable(cell(value))


def _arrow_column(arrow: Any, values: Sequence[Any]) -> Any:
    kinds = {kind(value) for value in values if value is not _ABSENT and value is not None}
    plain = [None if value is _ABSENT else value for value in values]
    if kinds == {"float"} or not kinds:
        return arrow.array(plain, arrow.float64())
    if kinds == {"int"}:
        return arrow.array(plain, arrow.int64())
    if kinds == {"bool"}:
        return arrow.array(plain, arrow.bool_())
    if kinds == {"float", "int"} and all(
        -_EXACT <= value <= _EXACT for value in plain if isinstance(value, int)
    ):
        numbers = [None if value is None else float(value) for value in plain]
        return arrow.array(numbers, arrow.float64())
    return arrow.array(
        [None if value is None else _storable(cell(value)) for value in plain], arrow.string()
    )


def _storable(text: str) -> str:
    """Return a text as UTF-8 can hold it: a lone surrogate is shown escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _rows(columns: Sequence[Column]) -> Iterator[tuple[int, dict[str, Any]]]:
    rows: dict[int, dict[str, Any]] = {}
    for key, times, values in columns:
        for time, value in zip(times, values, strict=True):
            rows.setdefault(time, {})[key] = value
    return ((time, rows[time]) for time in sorted(rows))


def _keys(parts: Sequence[Part]) -> list[str]:
    return list(dict.fromkeys(column.key for part in parts for column in part.columns))


def _refuse_double(keys: Sequence[str], *, with_run: bool) -> None:
    for name in ("time", "run") if with_run else ("time",):
        if name in keys:
            raise Mistake(
                f"a key is named {name!r}, as is a column of the wide layout: export it with "
                "--layout long"
            )
