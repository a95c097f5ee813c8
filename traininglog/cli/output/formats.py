"""The formats of `traininglog export`. Each writer takes runs as columns.

The wide layout has one line per row, the long one has one line per value. All formats distinguish
None, NaN and absent values; the docstring of each writer tells how.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from traininglog.columns import Belonging, Column
from traininglog.kinds import kind
from traininglog.plain_json import shown_json, shown_text
from traininglog.selection import apart
from traininglog.values import StoredRow, StoredValue

if TYPE_CHECKING:
    from traininglog.sql.runs.stream import Stream

_SPECIAL = re.compile('[,"\r\n]')
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet runs a cell that starts with these


class ExportedRun(NamedTuple):
    """The exported columns of one run."""

    run: str
    columns: list[Column]
    belonging: Belonging | None = None  #: None: all its values belong to it

    def flags(self, column: Column) -> Iterable[bool]:
        """Return for each value of a column whether it belongs to the run."""
        if self.belonging is None:
            return repeat(True)
        from traininglog.arrays import own_values

        flags: list[bool] = own_values(column, self.belonging).tolist()
        return flags


ExportedRuns = Iterable[ExportedRun]


def guarded(text: str) -> str:
    """Return a text that no spreadsheet interprets as a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def csv_cell(value: StoredValue, shown: Callable[[str], str] = str) -> str:
    """Return a value as a cell of CSV: a float with all digits, a text without a formula."""
    if isinstance(value, float):
        return "NaN" if value != value else repr(value)  # noqa: PLR0124 - it is NaN
    if value is None or isinstance(value, (bool, int)):
        return str(value)
    return guarded(shown(shown_text(value, ascii_only=False)))


def write_table(
    stream: TextIO,
    headings: Sequence[str],
    rows: Iterable[Sequence[StoredValue]],
    shown: Callable[[str], str] = str,
) -> None:
    """Write a table as CSV. None is an empty cell, as where a run has no such value."""
    stream.write(_line([guarded(shown(heading)) for heading in headings]))
    stream.writelines(
        _line(["" if value is None else csv_cell(value, shown) for value in row]) for row in rows
    )


def write_csv(
    stream: TextIO,
    parts: ExportedRuns,
    *,
    long: bool,
    with_run: bool,
    shown: Callable[[str], str] = str,
) -> None:
    """Write CSV: floats with all digits, NaN as NaN, None as None, absent values as empty cells.

    Args:
        stream: The output.
        parts: The runs.
        long: Whether a line is a value with its type, or a row.
        with_run: Whether to write a column for the run.
        shown: Is applied to every text, if the stream is a terminal.

    """

    def written(value: StoredValue) -> str:
        return csv_cell(value, shown)

    lead = ["run"] if with_run else []
    if long:
        more = ["own"] if with_run else []
        stream.write(_line([*lead, "time", "key", "value", "type", *more]))
        for part in parts:
            lead = [part.run] if with_run else []
            for column in part.columns:
                key, times, values = column
                name = guarded(shown(key))
                stream.writelines(
                    _line([*lead, str(time), name, written(value), kind(value), *map(str, own)])
                    for time, value, own in zip(
                        times, values, _marks(part, column, with_run=with_run), strict=False
                    )
                )
        return
    parts = list(parts)
    keys = _keys(parts)
    ours = [apart(name, keys) for name in [*lead, "time"]]
    stream.write(_line([*ours, *(guarded(shown(key)) for key in keys)]))
    for part in parts:
        lead = [part.run] if with_run else []
        for time, row in _rows(part.columns):
            cells = [written(row[key]) if key in row else "" for key in keys]
            stream.write(_line([*lead, str(time), *cells]))


def _line(cells: Iterable[str]) -> str:
    # Not by the csv module: with "\n" as the line end, it leaves a "\r" in a cell unquoted.
    return ",".join(map(_quoted, cells)) + "\n"


def _quoted(text: str) -> str:
    if _SPECIAL.search(text) is None:
        return text
    return '"' + text.replace('"', '""') + '"'


def write_jsonl(stream: TextIO, parts: ExportedRuns, *, long: bool, with_run: bool) -> None:
    """Write one JSON object per line. Absent values have no member; None is null.

    In the long layout the member "type" distinguishes the float NaN from the text "NaN".
    """
    for part in parts:
        lead = {"run": part.run} if with_run else {}
        if long:
            stream.writelines(
                shown_json(
                    lead
                    | {"time": time, "key": column.key, "value": value, "type": kind(value)}
                    | dict.fromkeys(["own"] * len(own), *own)
                )
                + "\n"
                for column in part.columns
                for time, value, own in zip(
                    column.times, column.values, _marks(part, column, with_run=with_run),
                    strict=False,
                )
            )  # fmt: skip
        else:
            stream.writelines(
                shown_json(lead | {"time": time, "row": row}) + "\n"
                for time, row in _rows(part.columns)
            )


def write_parquet(
    path: Path,
    stream: Stream,
    tell: Callable[[int, int], None],
    *,
    long: bool,
    with_run: bool,
) -> None:
    """Write Parquet in row groups, with the layouts and types of `TrainingLogBase.to_arrow`.

    Args:
        path: The file to create.
        stream: The data.
        tell: Is called with the progress: parts done, and number of parts.
        long: Whether a line is a value, or a row.
        with_run: Whether to write a column for the run.

    """
    from traininglog import arrow

    def told() -> Iterator[tuple[str, list[Column]]]:
        for done, part in enumerate(stream.parts()):
            tell(done, len(stream))
            yield part
        tell(len(stream), len(stream))

    if long:
        shares = stream.shares() if with_run else None
        arrow.write_parquet(path, told(), arrow.Long(with_run=with_run, shares=shares))
        return
    arrow.write_parquet(path, told(), arrow.Wide(stream.contents(), with_run=with_run))


def _marks(part: ExportedRun, column: Column, *, with_run: bool) -> Iterable[tuple[bool, ...]]:
    """Return the further cells of each long line: with a column for the run, own or not."""
    return ((own,) for own in part.flags(column)) if with_run else repeat(())


def _rows(columns: Sequence[Column]) -> Iterator[tuple[int, StoredRow]]:
    rows: dict[int, StoredRow] = {}
    for key, times, values in columns:
        for time, value in zip(times, values, strict=True):
            rows.setdefault(time, {})[key] = value
    return ((time, rows[time]) for time in sorted(rows))


def _keys(parts: Sequence[ExportedRun]) -> list[str]:
    return list(dict.fromkeys(column.key for part in parts for column in part.columns))
