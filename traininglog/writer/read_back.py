"""Reading back what was assigned and is in no store yet, out of the regions of the journal.

Any thread reads, and no lock is taken. It takes the snapshot that the owner thread has published,
and decodes records into something of its own. What it had to read may have been saved and erased
meanwhile: then it begins again, with a newer snapshot.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from traininglog.encoding import HIDDEN, from_cell
from traininglog.errors import CorruptLog
from traininglog.journal.bulk import MOST_KEYS
from traininglog.journal.order import Order
from traininglog.journal.record import Batch, DamagedRecord, changed_status
from traininglog.journal.region import Region
from traininglog.waiting import pause
from traininglog.writer.buffer import Buffer, Rows, Snapshot

_T = TypeVar("_T")

_Look = Callable[[list[Batch], Snapshot], _T]


class ReadBack:
    """What one log has assigned and its store has not, as that log reads it and flushes it.

    Args:
        buffer: What holds it.

    """

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        # What was decoded, by region. Whoever uses it takes it out, so that it is nobody else's: a
        # signal handler that comes in between, or another thread, decodes anew.
        self._decoded: list[dict[Region, Batch]] = [{}]

    def status(self) -> dict[str, Any] | None:
        """Return the status if it is known here, which it is while we write the run."""
        return self._look(_status)

    def status_value(self, key: str) -> tuple[Any] | None:
        """Return one value of the status, `HIDDEN` where it has none, if the status is known."""
        return self._look(partial(_status_value, key))

    def rows(self, low: int, high: int) -> Rows:
        """Return what is not in the store, at times from `low` to `high`; `HIDDEN` included.

        To be taken before the store is read: a flush in between then shows a value twice, which
        does no harm, and not never.
        """
        return self._look(partial(self._rows, low, high))

    def _rows(self, low: int, high: int, batches: list[Batch], _: Snapshot) -> Rows:
        rows: Rows = {}
        names = self._buffer.names
        for batch in batches:
            for at, row in batch.rows.items():
                if low <= at <= high:
                    known = rows.setdefault(at, {})
                    for number, cell in row.items():
                        known[names[number]] = from_cell(cell)
        return rows

    def marks(self) -> dict[int, float]:
        """Return what is not in the store of what was said of when the run had got where."""
        return self._look(_marks)

    def row(self, at: int) -> dict[str, Any]:
        """Return what is not in the store of one row."""
        return self._look(partial(self._row, at))

    def _row(self, at: int, batches: list[Batch], _: Snapshot) -> dict[str, Any]:
        row: dict[str, Any] = {}
        names = self._buffer.names
        for batch in batches:
            for number, cell in batch.rows.get(at, {}).items():
                row[names[number]] = from_cell(cell)
        return row

    def value(self, at: int, key: str) -> tuple[Any] | None:
        """Return a value that is not in the store, `HIDDEN` included, or None."""
        head = self._buffer.numbers.get(key)
        if head is None:
            return None
        return self._look(partial(_value, at, head & MOST_KEYS))

    def batch(self, regions: list[Region]) -> Batch:
        """Return what is in regions that rest, for the owner thread to save."""
        decoded = self._take()
        try:
            batches = []
            for region in regions:
                batches.append(_decode(region, decoded.pop(region, None)))
                pause(0.0)  # there may be many, and who assigns may need a region
        except DamagedRecord as error:
            raise self._damaged(error) from error
        self._decoded.append(decoded)
        if len(batches) == 1:
            return batches[0]
        joined = Batch()
        for batch in batches:
            joined.extend(batch)
        return joined

    def forget(self) -> None:
        """Have decoded nothing."""
        self._decoded = [{}]

    def _look(self, look: _Look[_T]) -> _T:
        """Look at what is in the regions, each decoded up to where it is written by now."""
        while True:
            snapshot = self._buffer.snapshot
            known = self._take()
            decoded = {}
            try:
                for region in snapshot.regions:
                    decoded[region] = _decode(region, known.get(region))
            except DamagedRecord as error:
                if not any(region.gone for region in snapshot.regions):
                    raise self._damaged(error) from error
            else:
                if not any(region.gone for region in snapshot.regions):
                    found = look(list(decoded.values()), snapshot)
                    self._decoded[:] = [decoded]
                    return found

    def _take(self) -> dict[Region, Batch]:
        try:
            return self._decoded.pop()
        except IndexError:  # somebody has it
            return {}

    def _damaged(self, error: DamagedRecord) -> CorruptLog:
        return CorruptLog(
            f"the journal of run {self._uuid.hex} was changed by somebody else ({error})"
        )

    @property
    def _uuid(self) -> UUID:
        return self._buffer.uuid


def _decode(region: Region, batch: Batch | None) -> Batch:
    """Return what is in a region by now, going on with what was decoded of it before."""
    batch = batch or Batch()
    stop = region.written
    if batch.size < stop:
        order = batch.order = batch.order or Order(region.tag)
        batch.add(region.content(batch.size, stop), order)
    return batch


def _status(batches: list[Batch], snapshot: Snapshot) -> dict[str, Any] | None:
    if snapshot.status is None or not any(batch.status for batch in batches):
        return None if snapshot.status is None else dict(snapshot.status)
    return changed_status(snapshot.status, batches)


def _status_value(key: str, batches: list[Batch], snapshot: Snapshot) -> tuple[Any] | None:
    if snapshot.status is None:
        return None
    for batch in reversed(batches):
        if key in batch.status:
            return (batch.status[key],)
    return (snapshot.status.get(key, HIDDEN),)


def _value(at: int, number: int, batches: list[Batch], _: Snapshot) -> tuple[Any] | None:
    for batch in reversed(batches):
        row = batch.rows.get(at)
        if row is not None and (cell := row.get(number)) is not None:
            return (from_cell(cell),)
    return None


def _marks(batches: list[Batch], _: Snapshot) -> dict[int, float]:
    return {at: wall for batch in batches for at, wall in batch.marks.items()}
