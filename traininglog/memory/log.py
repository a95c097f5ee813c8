"""`TrainingLog`: a log with its runs in this process's memory, until nothing refers to them."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import NoReturn, SupportsIndex, Unpack, overload
from uuid import UUID

from traininglog.base import Reduced, TrainingLogBase
from traininglog.clock import Clock
from traininglog.columns import Column
from traininglog.encoding import HIDDEN
from traininglog.errors import LogClosed
from traininglog.identity import About, described
from traininglog.imported import Ending, Imported, Outcome
from traininglog.lineage import BEFORE_ALL, Ancestor, Descent, new_status, new_uuid
from traininglog.memory.memory_row import MemoryRow
from traininglog.memory.runs import RUNS, Run, find_run
from traininglog.rows import RowMethods, RowSlice
from traininglog.values import StoredRow, StoredValue, check_time, check_uuid


class TrainingLog(TrainingLogBase, defaultdict[int, StoredValue]):  # type: ignore[misc]
    """A training log in memory, for a notebook or a test.

    It keeps the whole contract of `TrainingLogBase`, lineage included. A run is gone with the last
    log object that refers to it. The log is an instance of `dict`
    (``pandas.DataFrame.from_dict(log, orient="index")`` works), and its rows are pickled with it.

    Args:
        uuid: A run that some log in this process still refers to; by default a new run.
        max_value_bytes: The size that one text, bytes, array or container may have.
        created: When the run began, if it happened elsewhere; see `SQLiteLog`.
        host: Where it ran.
        outcome: How it ended.
        about: ``name``, ``config``, ``tags``, ``notes``, ``groups``; see `SQLiteLog`.

    Raises `RunNotFound` for any other UUID.

    >>> log = TrainingLog()
    >>> log[1]["loss"] = 0.5
    >>> log[2].update(loss=0.25, accuracy=0.9)
    >>> log.resume(at=1)
    >>> log[2]
    {}
    >>> log[1]
    {'loss': 0.5}
    """

    def __init__(
        self,
        uuid: UUID | str | None = None,
        *,
        max_value_bytes: int | None = None,
        created: float | datetime | None = None,
        host: str | None = None,
        outcome: Ending | None = None,
        **about: Unpack[About],
    ) -> None:
        imported = Imported.of(created, host, outcome)
        if imported is not None and uuid is not None:
            raise ValueError("created, host and outcome are said of a new run: leave out the UUID")
        defaultdict.__init__(self)
        # The rows are in the run, which several logs may share. Only C code looks at the dict that
        # this class derives from: json.dumps takes a dict without items for an empty one.
        dict.__setitem__(self, BEFORE_ALL, None)
        if max_value_bytes is not None:
            self._max_value_bytes = max_value_bytes
        self._about = described(about, self._max_value_bytes) if about else {}
        if uuid is None:
            run = Run(new_uuid(), new_status() | self._about, None, BEFORE_ALL)
            run.imported = imported
            if imported is not None and imported.created is not None:
                run.created = imported.created
        else:
            run = find_run(check_uuid(uuid))
        self._closed = False
        self._last_row: MemoryRow | None = None
        self._run = run
        if uuid is not None and self._about:
            self.status.update(self._about)

    @property
    def uuid(self) -> UUID:
        """The UUID of the run that this log writes."""
        return self._run.uuid

    @property
    def closed(self) -> bool:
        """Whether the log was closed."""
        return self._closed

    @overload
    def __getitem__(self, time: SupportsIndex) -> RowMethods: ...
    @overload
    def __getitem__(self, time: slice) -> RowSlice: ...
    def __getitem__(self, time: SupportsIndex | slice) -> RowMethods | RowSlice:
        row = self._last_row
        if row is not None and row._time is time:  # a loop asks for the same row once per key
            return row
        if isinstance(time, slice):
            return RowSlice(self, time)
        row = self._last_row = MemoryRow(self, check_time(time))
        return row

    def _open_run(self) -> Run:
        if self._closed:
            raise LogClosed("the log is closed; open the run again by its UUID to go on")
        return self._run

    def _write(self, rows: dict[int, StoredRow]) -> None:
        self._open_run().write(rows)

    def _write_mark(self, time: int, wall: float) -> None:
        self._open_run().marked[time] = wall

    def _write_status(self, values: StoredRow) -> None:
        status = self._open_run().status
        for key, value in values.items():
            if value is HIDDEN:
                status.pop(key, None)
            else:
                status[key] = value

    def _read_status(self) -> StoredRow:
        return self._run.status

    def _read_value(self, time: int, key: str) -> StoredValue:
        return self._run.value(time, key)

    def _read_row(self, time: int) -> StoredRow:
        run = self._run
        seen = run.visible(time)
        return {key: seen[key] for key in sorted(seen, key=run.places().__getitem__)}

    def _read_times(self, start: int | None, stop: int | None) -> list[int]:
        return self._run.times(start, stop)

    def _read_columns(
        self, keys: list[str] | None, start: int | None, stop: int | None, *, lineage: bool
    ) -> list[Column]:
        return self._run.columns(keys, start, stop, lineage=lineage)

    def _read_clock(self, *, lineage: bool) -> Clock:
        chain = self._run.chain
        seen = chain if lineage else chain[:1]
        return Clock(seen[-1][0].created, [run.marks(cut) for run, cut in reversed(seen)])

    def _read_keys(self) -> list[str]:
        return [column.key for column in self._read_columns(None, None, None, lineage=True)]

    def _last_time(self) -> int | None:
        times = self._read_times(None, None)
        return times[-1] if times else None

    def lineage(self) -> list[Ancestor]:
        """Return the runs from this one to the root, each with its resume point in its parent."""
        return [Ancestor(run.uuid, run.resumed_at) for run, _ in self._run.chain]

    def _fork(self, descent: Descent) -> None:
        self._open_run()
        self._run = Run(new_uuid(), dict(descent.status), find_run(descent.parent), descent.at)

    def flush(self) -> None:
        """Check only that the log is open: no other process can see a log in memory."""
        self._open_run()

    def commit(self) -> None:
        """Check only that the log is open: memory does not survive a power cut."""
        self._open_run()

    def _close(self, outcome: Outcome) -> None:
        self._closed = True

    def _location(self) -> str:
        return "memory:"

    def __reduce__(self) -> Reduced:
        return _restore, (self.state_dict(), self.to_dict(), self._max_value_bytes)

    # Methods of dict and defaultdict that would break the contract.
    copy = TrainingLogBase.__copy__
    __or__ = __ror__ = None  # type: ignore[assignment]

    @classmethod
    def fromkeys(cls, *_: object) -> NoReturn:
        """Refuse: a log is not made from keys."""
        raise TypeError("a log is not made from keys: make one, and use update()")


def _restore(state: StoredRow, rows: dict[int, StoredRow], limit: int) -> TrainingLog:
    """Unpickle: resume the run if this process still has it, else one rebuilt from the pickle."""
    log = TrainingLog(max_value_bytes=limit)
    uuid, _, status = log._checked_state(state)
    origin = RUNS.get(uuid)
    if origin is None:
        origin = Run(uuid, status, None, BEFORE_ALL)
        origin.write({check_time(time): log._checked(row) for time, row in rows.items()})
    log.load_state_dict(state)
    return log
