"""Reading back what was assigned and is not in the file yet, out of the journal's regions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from traininglog.encoding import from_cell
from traininglog.errors import CorruptLog
from traininglog.sqlite.forks import busy
from traininglog.sqlite.locks import Locks
from traininglog.sqlite.numbers import MOST_KEYS
from traininglog.sqlite.own_run import OwnRun
from traininglog.sqlite.pending import Pending, Rows
from traininglog.sqlite.records import Batch, DamagedRecord, changed_status
from traininglog.sqlite.regions import Region

T = TypeVar("T")


class ReadBack:
    """What one log has assigned and is not in the file, as it is read by that log and flushed.

    Each record is read once, by whoever comes first.
    """

    def __init__(self, run: OwnRun, pending: Pending, locks: Locks) -> None:
        #: The status but for what is pending; known only while we are the one who writes it.
        self.saved_status: dict[str, Any] | None = None
        self._run = run
        self._pending = pending
        self._locks = locks
        self._reader: int | None = None

    def status(self) -> dict[str, Any] | None:
        """Return the status if it is known here, which it is while we write the run."""
        return self._look(self._status)

    def _status(self, regions: list[Region]) -> dict[str, Any] | None:
        if self.saved_status is None or not any(region.batch.status for region in regions):
            return self.saved_status
        return changed_status(self.saved_status, (region.batch for region in regions))

    def rows(self, low: int, high: int) -> Rows:
        """Return what is not in the file, at times from `low` to `high`; `HIDDEN` included.

        To be taken before the file is read: a flush in between then shows a value twice, which does
        no harm, and not never.
        """
        return self._look(partial(self._rows, low, high))

    def _rows(self, low: int, high: int, regions: list[Region]) -> Rows:
        rows: Rows = {}
        names = self._pending.names
        for region in regions:
            for at, row in region.batch.rows.items():
                if low <= at <= high:
                    known = rows.setdefault(at, {})
                    for number, cell in row.items():
                        known[names[number]] = from_cell(cell)
        return rows

    def row(self, at: int) -> dict[str, Any]:
        """Return what is not in the file of one row."""
        return self._look(partial(self._row, at))

    def _row(self, at: int, regions: list[Region]) -> dict[str, Any]:
        row: dict[str, Any] = {}
        names = self._pending.names
        for region in regions:
            for number, cell in region.batch.rows.get(at, {}).items():
                row[names[number]] = from_cell(cell)
        return row

    def value(self, at: int, key: str) -> tuple[Any] | None:
        """Return a value that is not in the file, `HIDDEN` included, or None."""
        head = self._pending.numbers.get(key)
        if head is None:
            return None
        return self._look(partial(self._value, at, head & MOST_KEYS))

    def _value(self, at: int, number: int, regions: list[Region]) -> tuple[Any] | None:
        for region in reversed(regions):
            row = region.batch.rows.get(at)
            if row is not None and (cell := row.get(number)) is not None:
                return (from_cell(cell),)
        return None

    def batch(self, regions: list[Region]) -> Batch:
        """Return what is in regions that rest."""
        with self._locks.reading:
            for region in regions:
                self._read_region(region, region.length)
            if len(regions) == 1:
                return regions[0].batch
            joined = Batch()
            for region in regions:
                joined.extend(region.batch)
            return joined

    def forget(self) -> None:
        """Be read by nobody, in a forked child."""
        self._reader = None

    def _look(self, look: Callable[[list[Region]], T]) -> T:
        """Look at the regions, none of which is recycled meanwhile."""
        with busy(), self._locks.reading:
            found = look(self._read())
        self._locks.catch_up()
        return found

    def _read(self) -> list[Region]:
        """Read the records, and return their regions, the oldest first. In `Locks.reading`."""
        found = self._pending.regions()
        regions = [region for region, _ in found]
        if self._reader is not None:
            return regions  # in a signal handler that interrupts this
        self._reader = threading.get_ident()
        try:
            for region, end in found:
                if region.batch.size < end:
                    self._read_region(region, end)
        finally:
            self._reader = None
        return regions

    def _read_region(self, region: Region, end: int) -> None:
        try:
            region.read(end)
        except DamagedRecord as error:
            raise CorruptLog(
                f"the journal of run {self._run.uuid.hex} was changed by somebody else ({error})"
            ) from error
