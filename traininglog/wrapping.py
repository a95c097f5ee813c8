"""A log around another log: every call goes on to the inner one.

`LogAround` is a base class for stores that add to a log: a disk to a log in memory, or several logs
at once to one. A derived class overrides the methods that do more.
"""

from __future__ import annotations

from uuid import UUID

from traininglog.base import Reduced, TrainingLogBase
from traininglog.clock import Clock
from traininglog.columns import Column
from traininglog.imported import Outcome
from traininglog.lineage import Ancestor, Descent
from traininglog.values import StoredRow, StoredValue


class LogAround(TrainingLogBase):
    """A log that passes everything on to another one."""

    def __init__(self, inner: TrainingLogBase) -> None:
        self._inner = inner
        self._max_value_bytes = inner._max_value_bytes

    @property
    def uuid(self) -> UUID:
        """The UUID of the run that this log writes."""
        return self._inner.uuid

    @property
    def closed(self) -> bool:
        """Whether the log was closed."""
        return self._inner.closed

    def lineage(self) -> list[Ancestor]:
        """Return the runs from this one to the root, each with its resume point in its parent."""
        return self._inner.lineage()

    def flush(self) -> None:
        """Make all assignments visible to every other process."""
        self._inner.flush()

    def commit(self) -> None:
        """Make all assignments survive a power cut."""
        self._inner.commit()

    def _close(self, outcome: Outcome) -> None:
        self._inner._close(outcome)

    def __reduce__(self) -> Reduced:
        return self._inner.__reduce__()

    def _write(self, rows: dict[int, StoredRow]) -> None:
        self._inner._write(rows)

    def _write_mark(self, time: int, wall: float) -> None:
        self._inner._write_mark(time, wall)

    def _write_status(self, values: StoredRow) -> None:
        self._inner._write_status(values)

    def _read_status(self) -> StoredRow:
        return self._inner._read_status()

    def _read_status_value(self, key: str) -> StoredValue:
        return self._inner._read_status_value(key)

    def _read_value(self, time: int, key: str) -> StoredValue:
        return self._inner._read_value(time, key)

    def _read_row(self, time: int) -> StoredRow:
        return self._inner._read_row(time)

    def _read_times(self, start: int | None, stop: int | None) -> list[int]:
        return self._inner._read_times(start, stop)

    def _read_columns(
        self, keys: list[str] | None, start: int | None, stop: int | None, *, lineage: bool
    ) -> list[Column]:
        return self._inner._read_columns(keys, start, stop, lineage=lineage)

    def _read_clock(self, *, lineage: bool) -> Clock:
        return self._inner._read_clock(lineage=lineage)

    def _read_keys(self) -> list[str]:
        return self._inner._read_keys()

    def _last_time(self) -> int | None:
        return self._inner._last_time()

    def _fork(self, descent: Descent) -> None:
        self._inner._fork(descent)

    def _location(self) -> str:
        return self._inner._location()
