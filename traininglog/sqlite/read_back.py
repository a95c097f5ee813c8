"""Reading back what was assigned and is not in the file yet, out of the journal's regions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from traininglog.encoding import HIDDEN, from_cell
from traininglog.errors import CorruptLog
from traininglog.sqlite.forks import busy
from traininglog.sqlite.locks import Locks
from traininglog.sqlite.numbers import MOST_KEYS
from traininglog.sqlite.own_run import OwnRun
from traininglog.sqlite.pending import Pending, Rows
from traininglog.sqlite.records import Batch, DamagedRecord, changed_status
from traininglog.sqlite.regions import Region

_T = TypeVar("_T")


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
        self._reading = False

    def status(self) -> dict[str, Any] | None:
        """Return the status if it is known here, which it is while we write the run."""
        return self._look(self._status)

    def _status(self, batches: list[Batch]) -> dict[str, Any] | None:
        if self.saved_status is None or not any(batch.status for batch in batches):
            return self.saved_status
        return changed_status(self.saved_status, batches)

    def status_value(self, key: str) -> tuple[Any] | None:
        """Return one value of the status, `HIDDEN` where it has none, if the status is known."""
        return self._look(partial(self._status_value, key))

    def _status_value(self, key: str, batches: list[Batch]) -> tuple[Any] | None:
        if self.saved_status is None:
            return None
        for batch in reversed(batches):
            if key in batch.status:
                return (batch.status[key],)
        return (self.saved_status.get(key, HIDDEN),)

    def rows(self, low: int, high: int) -> Rows:
        """Return what is not in the file, at times from `low` to `high`; `HIDDEN` included.

        To be taken before the file is read: a flush in between then shows a value twice, which does
        no harm, and not never.
        """
        return self._look(partial(self._rows, low, high))

    def _rows(self, low: int, high: int, batches: list[Batch]) -> Rows:
        rows: Rows = {}
        names = self._pending.names
        for batch in batches:
            for at, row in batch.rows.items():
                if low <= at <= high:
                    known = rows.setdefault(at, {})
                    for number, cell in row.items():
                        known[names[number]] = from_cell(cell)
        return rows

    def marks(self) -> dict[int, float]:
        """Return what is not in the file of what was said of when the run had got where."""
        return self._look(_marks)

    def row(self, at: int) -> dict[str, Any]:
        """Return what is not in the file of one row."""
        return self._look(partial(self._row, at))

    def _row(self, at: int, batches: list[Batch]) -> dict[str, Any]:
        row: dict[str, Any] = {}
        names = self._pending.names
        for batch in batches:
            for number, cell in batch.rows.get(at, {}).items():
                row[names[number]] = from_cell(cell)
        return row

    def value(self, at: int, key: str) -> tuple[Any] | None:
        """Return a value that is not in the file, `HIDDEN` included, or None."""
        head = self._pending.numbers.get(key)
        if head is None:
            return None
        return self._look(partial(self._value, at, head & MOST_KEYS))

    def _value(self, at: int, number: int, batches: list[Batch]) -> tuple[Any] | None:
        for batch in reversed(batches):
            row = batch.rows.get(at)
            if row is not None and (cell := row.get(number)) is not None:
                return (from_cell(cell),)
        return None

    def batch(self, regions: list[Region]) -> Batch:
        """Return what is in regions that rest."""
        with self._locks.reading:
            return self._read([(region, region.length) for region in regions], _joined)

    def forget(self) -> None:
        """Be read by nobody, in a forked child."""
        self._reading = False

    def _look(self, look: Callable[[list[Batch]], _T]) -> _T:
        """Look at what is in the regions, none of which is recycled meanwhile."""
        with busy(), self._locks.reading:
            found = self._read(self._pending.regions(), look)
        self._locks.catch_up()
        return found

    def _read(self, found: list[tuple[Region, int]], look: Callable[[list[Batch]], _T]) -> _T:
        """Read the records of regions, each up to a byte, and look at them, the oldest first.

        What was read of a region is kept with it. A signal handler may interrupt that: what it asks
        for is read anew, and if it raises an exception, what is half done is forgotten.
        """
        try:
            if self._reading:
                return look([region.read(end, Batch()) for region, end in found])
            self._reading = True
            try:
                return look([region.read(end) for region, end in found])
            except BaseException:
                for region, _ in found:
                    region.batch = Batch()
                raise
            finally:
                self._reading = False
        except DamagedRecord as error:
            raise CorruptLog(
                f"the journal of run {self._run.uuid.hex} was changed by somebody else ({error})"
            ) from error


def _marks(batches: list[Batch]) -> dict[int, float]:
    return {at: wall for batch in batches for at, wall in batch.marks.items()}


def _joined(batches: list[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    joined = Batch()
    for batch in batches:
        joined.extend(batch)
    return joined
