"""Reading back, from the regions of the journal, what was assigned and is in no store yet.

Any thread reads, without a lock. It takes the snapshot that the owner thread has published, and
decodes records into batches of its own. If the owner thread has saved and erased a region
meanwhile, the reader starts again with a newer snapshot.
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
    """The pending assignments of one log, decoded for its reads and its flushes.

    Args:
        buffer: The write buffer of the log.

    """

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        # The decoded batches, by region. A reader takes the dict out of the list, so that no other
        # reader changes it: a signal handler that interrupts, or another thread, decodes anew.
        self._decoded: list[dict[Region, Batch]] = [{}]

    def status(self) -> dict[str, Any] | None:
        """Return the status if it is known here, as it is while this log writes the run."""
        return self._look(_status)

    def status_value(self, key: str) -> tuple[Any] | None:
        """Return one value of the status (`HIDDEN`: it has none), or None if it is not known."""
        return self._look(partial(_status_value, key))

    def rows(self, low: int, high: int) -> Rows:
        """Return the pending values at times from `low` to `high`, `HIDDEN` included.

        Call it before reading the store. A flush in between then shows a value twice, which does no
        harm. The other way round the value would be missing.
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
        """Return the pending marks."""
        return self._look(_marks)

    def row(self, at: int) -> dict[str, Any]:
        """Return the pending values of one row."""
        return self._look(partial(self._row, at))

    def _row(self, at: int, batches: list[Batch], _: Snapshot) -> dict[str, Any]:
        row: dict[str, Any] = {}
        names = self._buffer.names
        for batch in batches:
            for number, cell in batch.rows.get(at, {}).items():
                row[names[number]] = from_cell(cell)
        return row

    def value(self, at: int, key: str) -> tuple[Any] | None:
        """Return a pending value, `HIDDEN` included, or None."""
        head = self._buffer.numbers.get(key)
        if head is None:
            return None
        return self._look(partial(_value, at, head & MOST_KEYS))

    def batch(self, regions: list[Region]) -> Batch:
        """Return the content of regions at rest as one batch, for the owner thread to save."""
        decoded = self._take()
        try:
            batches: list[Batch] = []
            for region in regions:
                if batches:  # there are many, and an assignment may need a new region meanwhile
                    pause(0.0)
                batches.append(_decode(region, decoded.pop(region, None)))
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
        """Drop everything that was decoded."""
        self._decoded = [{}]

    def _look(self, look: _Look[_T]) -> _T:
        """Decode every region up to what is written by now, and return what `look` finds there."""
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
        except IndexError:  # another reader has it
            return {}

    def _damaged(self, error: DamagedRecord) -> CorruptLog:
        return CorruptLog(
            f"the journal of run {self._uuid.hex} was changed by somebody else ({error})"
        )

    @property
    def _uuid(self) -> UUID:
        return self._buffer.uuid


def _decode(region: Region, batch: Batch | None) -> Batch:
    """Decode a region up to what is written by now, from where `batch` ends."""
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
