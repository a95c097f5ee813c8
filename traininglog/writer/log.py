"""The writing half of a log: its assignments go to a `Writer`, whatever the store is."""

from __future__ import annotations

import weakref
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, SupportsIndex, overload
from uuid import UUID

from traininglog.base import TrainingLogBase
from traininglog.encoding import HIDDEN
from traininglog.errors import InvalidKey
from traininglog.imported import Imported, Outcome
from traininglog.journal.tail import ASLEEP, Tail
from traininglog.lineage import Descent, new_uuid
from traininglog.rows import RowMethods, RowSlice
from traininglog.values import StoredRow, check_key, check_time, check_uuid
from traininglog.writer.buffer import Buffer, Rows
from traininglog.writer.hot_path import HotRow, HotStatus
from traininglog.writer.read_back import ReadBack
from traininglog.writer.sink import Birth
from traininglog.writer.writer import Writer


def check_opening(
    uuid: UUID | str | None, at: int | None, *, resume: bool, readonly: bool, takeover: bool,
    imported: Imported | None, advice: str = "",
) -> tuple[UUID | None, int | None]:  # fmt: skip
    """Return the run to open and the resume point, checked; None: a new run, the last time.

    Args:
        uuid: The run that the caller names.
        at: The resume point that the caller names.
        resume: Whether to resume.
        readonly: Whether the log never writes.
        takeover: Whether to take the run from a process that writes it.
        imported: The facts of a run that happened elsewhere.
        advice: What else to say where no run is named.

    Raises:
        ValueError: The options contradict each other.
        InvalidUUID, InvalidTime: The run or the point can be none.

    """
    wanted = None if uuid is None else check_uuid(uuid)
    point = None if at is None else check_time(at)
    resumes = resume or at is not None
    if wanted is None and (readonly or resumes or takeover):
        raise ValueError(f"name the run to open: uuid=...{advice}")
    if readonly and resumes:
        raise ValueError("resuming writes a new run: leave out readonly=True")
    if imported is not None and wanted is not None and not resumes:
        raise ValueError(
            "created, host and outcome are said of a new run: leave out the UUID, or resume it"
        )
    if takeover and (readonly or resumes):
        raise ValueError("takeover=True goes on writing the run itself: leave out the others")
    return wanted, point


def why_readonly(uuid: UUID) -> str:
    """Return why a run that was opened for reading cannot be written."""
    return f"run {uuid.hex} was opened with readonly=True: open it without to write"


class WriterLog(TrainingLogBase):
    """A log that writes through a `Writer`. A store derives from it, and adds the reading."""

    _writer: Writer
    _buffer: Buffer
    _read_back: ReadBack
    _tail: Tail
    _imported: Imported | None  # facts of the next run, if it happened elsewhere

    def _write_through(self, writer: Writer) -> None:
        """Write through a writer from now on, and close it once nothing refers to this log."""
        self._writer = writer
        self._buffer = writer.buffer
        self._read_back = writer.read_back
        self._tail = ASLEEP
        self._imported = None
        # Not __del__: this also runs at the interpreter's end, while the modules it needs exist.
        self._finalizer: weakref.finalize[..., Any] = weakref.finalize(self, writer.let_go)

    # -- identity ---------------------------------------------------------------------------

    @property
    def uuid(self) -> UUID:
        """The UUID of the run that this log writes."""
        return self._writer.uuid

    @property
    def readonly(self) -> bool:
        """Whether the log was opened for reading only."""
        return self._writer.readonly

    @property
    def closed(self) -> bool:
        """Whether the log was closed, or is being closed."""
        return self._writer.closed or self._writer.is_closing

    def _fork(self, descent: Descent) -> None:
        self._descend(lambda: descent)

    def _descend(self, descent: Callable[[], Descent]) -> None:
        imported, self._imported = self._imported, None
        uuid = new_uuid()

        def birth() -> Birth:
            parent, at, status, variant = descent()
            replaces = not self._writer.kept
            return Birth(uuid, status, parent, at, imported, replaces=replaces, variant=variant)

        self._writer.fork(birth)

    # -- lifecycle --------------------------------------------------------------------------

    def flush(self) -> None:
        """Make all assignments visible to every other process."""
        self._writer.flush()

    def commit(self) -> None:
        """Make all assignments survive a power cut: wait until the store has them for good."""
        self._writer.flush(durable=True)

    def state_dict(self) -> StoredRow:
        """Return the state of this log as a small plain dict, to put into a model checkpoint."""
        if not self.readonly:
            self._writer.keep()
        return super().state_dict()

    def _close(self, outcome: Outcome) -> None:
        try:
            self._writer.close(outcome)
        finally:
            if self._writer.closed:
                self._finalizer.detach()

    # -- writing ----------------------------------------------------------------------------

    @overload
    def __getitem__(self, time: SupportsIndex) -> RowMethods: ...
    @overload
    def __getitem__(self, time: slice) -> RowSlice: ...
    def __getitem__(self, time: SupportsIndex | slice) -> RowMethods | RowSlice:
        """Return the row at a time, or with a slice a view of the rows from ``a`` up to ``b``."""
        # A loop asks for the same row once per key. The very same int object was checked before.
        row: RowMethods = self._tail.row
        if row._time is time:
            return row
        if isinstance(time, slice):
            return RowSlice(self, time)
        tail = self._buffer.tail
        row = HotRow(self, check_time(time), tail)
        if tail is not ASLEEP:  # nothing would drop the row of that one
            self._tail = tail
            tail.row = row
        return row

    @property
    def status(self) -> HotStatus:
        """The status of the run as a whole: a mutable mapping, not bound to a time."""
        return HotStatus(self)

    def _write(self, rows: Rows) -> None:
        self._buffer.write(rows)

    def _assign(self, time: int, key: str, value: Any) -> None:
        self._buffer.assign(time, key, value)

    def _write_mark(self, time: int, wall: float) -> None:
        self._buffer.write_mark(time, wall)

    def _write_status(self, values: dict[str, Any]) -> None:
        self._buffer.write_status(values)

    # -- reading ----------------------------------------------------------------------------

    def _read_value(self, time: int, key: str) -> Any:
        self._writer.check_readable()
        try:
            name = check_key(key)
        except InvalidKey:  # no log has such a key, and a store might fail on it
            raise KeyError(key) from None
        found = self._read_back.value(time, name)  # first: a value saved meanwhile is in the store
        value = self._stored_value(time, name) if found is None else found[0]
        if value is HIDDEN:
            raise KeyError(key)
        return value

    def _read_status_value(self, key: str) -> Any:
        self._writer.check_readable()
        try:
            name = check_key(key)
        except InvalidKey:  # as above
            raise KeyError(key) from None
        found = self._read_back.status_value(name)
        value = self._stored_status_value(name) if found is None else found[0]
        if value is HIDDEN:
            raise KeyError(key)
        return value

    @abstractmethod
    def _stored_value(self, time: int, key: str) -> Any:
        """Return the value that the store shows at (time, key), or `HIDDEN`."""

    @abstractmethod
    def _stored_status_value(self, key: str) -> Any:
        """Return one value of the status that the store has, or `HIDDEN`."""
