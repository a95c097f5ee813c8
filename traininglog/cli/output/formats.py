"""The formats of `traininglog export`. Each writer takes runs as columns.

The wide layout has a line a row, the long one a line a value. None, NaN and absent stay apart in
all of them; how, each writer says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from traininglog.cli.output.json_output import dumps
from traininglog.columns import Column
from traininglog.selection import apart
from traininglog.texts import cell, kind
from traininglog.values import StoredRow, StoredValue

if TYPE_CHECKING:
    from traininglog.sql.runs.stream import Stream

_SPECIAL = re.compile('[,"\r\n]')
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what makes a spreadsheet run a cell


class ExportedRun(NamedTuple):
    """What is exported of one run."""

    run: str
    columns: list[Column]


ExportedRuns = Iterable[ExportedRun]


def guarded(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def write_csv(
    stream: TextIO,
    parts: ExportedRuns,
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

    def written(value: StoredValue) -> str:
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
    ours = [apart(name, keys) for name in [*lead, "time"]]
    stream.write(_line([*ours, *(guarded(shown(key)) for key in keys)]))
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


def write_jsonl(stream: TextIO, parts: ExportedRuns, *, long: bool, with_run: bool) -> None:
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


def write_parquet(
    path: Path,
    stream: Stream,
    tell: Callable[[int, int], None],
    *,
    long: bool,
    with_run: bool,
) -> None:
    """Write Parquet, a row group at a time, in the layouts and types of `TrainingLogBase.to_arrow`.

    Args:
        path: The file to make.
        stream: What to write.
        tell: Told how much is done, and of how much.
        long: Whether a row is a value; else it is a row.
        with_run: Whether there is a column for the run.

    """
    from traininglog import arrow

    def told() -> Iterator[tuple[str, list[Column]]]:
        for done, part in enumerate(stream.parts()):
            tell(done, len(stream))
            yield part
        tell(len(stream), len(stream))

    if long:
        arrow.write_parquet(path, told(), arrow.Long(with_run=with_run))
        return
    arrow.write_parquet(path, told(), arrow.Wide(stream.contents(), with_run=with_run))


def _rows(columns: Sequence[Column]) -> Iterator[tuple[int, StoredRow]]:
    rows: dict[int, StoredRow] = {}
    for key, times, values in columns:
        for time, value in zip(times, values, strict=True):
            rows.setdefault(time, {})[key] = value
    return ((time, rows[time]) for time in sorted(rows))


def _keys(parts: Sequence[ExportedRun]) -> list[str]:
    return list(dict.fromkeys(column.key for part in parts for column in part.columns))
