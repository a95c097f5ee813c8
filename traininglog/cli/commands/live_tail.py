"""`traininglog tail`: the last rows of a run, and its new rows."""

from __future__ import annotations

import sys
import time as clock
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from traininglog.cli.globs import matcher, require
from traininglog.cli.options import JsonOption, KeysOption, RunArgument, StoreOption
from traininglog.cli.output.terminal import Cell, fit, line, note, say, width
from traininglog.cli.output.text import brief
from traininglog.cli.stores import chosen, opened, reading, shortest
from traininglog.display.fitting import columns_of
from traininglog.display.plain_text import visible
from traininglog.plain_json import shown_json
from traininglog.selection import apart, is_glob
from traininglog.values import StoredRow

if TYPE_CHECKING:
    from traininglog.sqlite.log import SQLiteLog
    from traininglog.sqlite.store import Store

Row = StoredRow

_NARROW = 10  # the minimal width of a column, enough for "-0.001234"
_WIDE = 24
_NAMED = 12  # how many keys that are left out are named


def tail(
    run: RunArgument = None,
    store: StoreOption = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print new rows, too, until the run ends.")
    ] = False,
    rows: Annotated[
        int, typer.Option("--rows", "-n", min=0, help="Print this many of the last rows.")
    ] = 10,
    keys: KeysOption = None,
    interval: Annotated[
        float, typer.Option(min=0.05, help="Look at the store every so many seconds.")
    ] = 0.5,
    json: JsonOption = False,
) -> None:
    """Print the last rows of a run, and follow those to come.

    Rows appear when the training process flushes them. A row that gains values after it was printed
    is printed again. With --follow the command ends when the run does, and says how it ended.

    With --json each row is one line: {"run", "time", "row": {KEY: VALUE}}.

    Example: traininglog tail --follow --keys loss --keys 'val/*'
    """
    with opened(store) as file:
        uuid = chosen(file, run)
        with reading(file, uuid) as log:
            if keys:
                # A run that we follow may log a requested key later.
                require([key for key in keys if not (follow and not is_glob(key))], log.keys_seen())
            printer = JsonLines(uuid) if json else TailLines(keys)
            shown, newest = _last_rows(log, rows, keys)
            printer.expect(shown)
            for time, row in shown:
                printer.print(time, row)
            if follow:
                _follow(file, log, keys, printer, interval, newest)


def _last_rows(
    log: SQLiteLog, count: int, keys: list[str] | None
) -> tuple[list[tuple[int, Row]], tuple[int, Row] | None]:
    """Return the last rows with any of the keys, latest last, and the newest row of all."""
    found: list[tuple[int, Row]] = []
    newest = None
    for time in reversed(log):
        row = _row(log, time, keys)
        newest = newest or (time, row)
        if row and count:
            found.append((time, row))
        if len(found) == count:
            break
    return found[::-1], newest


def _row(log: SQLiteLog, time: int, keys: list[str] | None) -> Row:
    wanted = matcher(keys)
    return {key: value for key, value in log[time].items() if wanted(key)}


def _follow(
    store: Store,
    log: SQLiteLog,
    keys: list[str] | None,
    printer: Printer,
    interval: float,
    newest: tuple[int, Row] | None,
) -> None:
    """Print the rows after the newest one, and the newest one again after it has changed."""
    position, printed = newest or (0, None)
    waiting: tuple[int, Row] | None = None
    while True:
        # Read the state before the rows: so we miss no row that a run logged before its end.
        state = store.state(log.uuid)
        times = list(log[position:])
        for time in times:
            row = _row(log, time, keys)
            if time == position and _same(printed, row):
                continue
            # The newest row may be incomplete: print it once it is the same in two reads.
            if time == times[-1] and state == "running" and not _waited(waiting, time, row):
                waiting = time, row
                break
            if row:
                printer.print(time, row)
            position, printed = time, row
        sys.stdout.flush()
        if state != "running":
            note(f"run {shortest(store, log.h_uuid)} is {state}")
            return
        clock.sleep(interval)


def _waited(waiting: tuple[int, Row] | None, time: int, row: Row) -> bool:
    return waiting is not None and waiting[0] == time and _same(waiting[1], row)


def _same(one: Row | None, other: Row) -> bool:
    """Return whether two rows print the same. NaN and arrays do not compare with ``==``."""
    return one is not None and shown_json(one) == shown_json(other)


class Printer:
    """Base class of printers of rows."""

    def expect(self, rows: Sequence[tuple[int, Row]]) -> None:
        """Receive the first rows in advance, to choose the widths of columns."""

    def print(self, time: int, row: Row) -> None:
        """Print a row."""
        raise NotImplementedError


class JsonLines(Printer):
    """Prints one JSON object per line."""

    def __init__(self, run: UUID) -> None:
        self._run = run.hex

    def print(self, time: int, row: Row) -> None:
        """Print a row."""
        print(shown_json({"run": self._run, "time": time, "row": row}))  # noqa: T201 - the output


class TailLines(Printer):
    """Prints one column per key, and a new header whenever a new key appears."""

    def __init__(self, keys: list[str] | None) -> None:
        self._widths: dict[str, int] = {}
        self._header_due = True
        for key in keys or ():
            if not is_glob(key):
                self._add(key, 0)

    def expect(self, rows: Sequence[tuple[int, Row]]) -> None:
        """Receive the first rows in advance, to choose the widths of columns."""
        for _, row in rows:
            for key, value in row.items():
                self._add(key, len(brief(value)))

    def print(self, time: int, row: Row) -> None:
        """Print a row."""
        for key in row:
            if key not in self._widths:
                self._add(key, 0)
                self._header_due = True
        shown = self._shown()
        if self._header_due:
            names = [
                Cell(fit(visible(key), self._widths[key], right=True), "bold") for key in shown
            ]
            line([Cell(fit(apart("time", self._widths), 8, right=True), "bold"), *names])
            self._header_due = False
            left_out = [visible(key) for key in self._widths if key not in shown]
            if left_out:
                some = ", ".join(left_out[:_NAMED]) + (", ..." if len(left_out) > _NAMED else "")
                say(f"not shown on {width()} columns: {some}; choose with --keys", "dim")
        cells = [
            Cell(fit(brief(row[key]) if key in row else "-", self._widths[key], right=True))
            for key in shown
        ]
        line([Cell(str(time).rjust(8), "dim"), *cells])

    def _shown(self) -> list[str]:
        """Return the keys that fit on the terminal: of a row, some whole ones rather than parts."""
        keys, room = list(self._widths), width()
        if room is None:
            return keys
        taken, fitting = 8, 0
        for key in keys:
            taken += 2 + self._widths[key]
            if taken > room and fitting:
                break
            fitting += 1
        return keys[:fitting]

    def _add(self, key: str, needed: int) -> None:
        wanted = max(_NARROW, columns_of(visible(key)), needed, self._widths.get(key, 0))
        self._widths[key] = min(_WIDE, wanted)
