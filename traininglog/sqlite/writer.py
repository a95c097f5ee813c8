"""The open run of a `SQLiteLog`: what was assigned and is not in the file, and how it gets there.

Assignments collect in memory and go to the file in one transaction: when there are many, when the
oldest has waited long enough, on flush and close, and when the log or the interpreter goes away.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Literal, NoReturn
from uuid import UUID

from sqlalchemy import Connection

from traininglog.encoding import HIDDEN
from traininglog.errors import (
    ForkedLog,
    LogClosed,
    ReadOnlyLog,
    RunBusy,
    RunNotFound,
    StoreFailed,
    StoreLocked,
    StoreUnwritable,
    TrainingLogWarning,
)
from traininglog.sql import reading, writing
from traininglog.sqlite.database import Database
from traininglog.sqlite.journal import ENTRY, STATUS, Journal, journal_path
from traininglog.sqlite.origin import origin
from traininglog.sqlite.owners import Handover, Owners
from traininglog.sqlite.recovery import note_status, recover_run

#: Flush after so many assignments, or when the oldest is so many seconds old.
FLUSH_ROWS = 10_000
FLUSH_SECONDS = 0.25

_WARN_SECONDS = 60.0

# How long an assignment may wait for the database; it can come back to it later.
_SOON = 0.1

Outcome = Literal["finished", "failed"]


class Writer:
    """A run, as one log writes it. Every public method may be called from any thread."""

    def __init__(
        self, database: Database, uuid: UUID, *, durability: str, why_readonly: str | None
    ) -> None:
        self.database = database
        self.uuid = uuid
        self.run_id: int | None = None  # None: not in the file yet, see `descend_later`
        self.closed = False
        self.lock = threading.RLock()
        self.pending: dict[int, dict[str, Any]] = {}
        self.status: dict[str, Any] | None = None  # known only while we are the one who writes it
        self.parent: tuple[UUID, int] | None = None
        self.assigned = False  # ever, by this object; if not, a run it made may vanish again
        self._durable = durability == "power"
        self._journaling = durability != "buffered" and database.path is not None
        self._journal: Journal | None = None  # made with the first assignment
        self._why_readonly = why_readonly
        self._pid = os.getpid()
        self._owners = None if database.path is None else Owners.of(database.path)
        self._claimed = False
        self.keys: dict[str, int] = {}
        self._saved_keys = 0  # how many of the keys are in the file
        self._changed_status: dict[str, Any] = {}
        self._renewed: set[str] = set()  # keys of it that were deleted and set again
        self._high_water = 0
        self._count = 0
        self._flush_at = 0.0
        self._warn_at = 0.0
        # A signal handler may assign in the midst of an assignment, in the very thread that holds
        # the lock. What it asks for is done when what it interrupted is.
        self._inside = False
        self._later: list[Callable[[], None]] = []
        _WRITERS[id(self)] = self

    # -- whose run it is --------------------------------------------------------------------

    def open(self, run_id: int) -> None:
        """Be a log of a run that is in the file. Nothing is written until something is assigned."""
        self.run_id = run_id

    def descend_later(self, parent: UUID, at: int, status: dict[str, Any]) -> None:
        """Be a new child of a run, to be put into the file only if something is ever written.

        Looking at an unpickled log must not leave a run behind.
        """
        self.parent = (parent, at)
        self.status = status

    def create(self, status: dict[str, Any]) -> None:
        """Put a new root run into the file."""
        with self.lock:
            with self.database.write(durable=self._durable) as connection:
                number = _insert_run(connection, self.uuid, status, None)
            self._adopt(number, self.uuid, status)

    def fork(self, parent: UUID, at: int, uuid: UUID, status: dict[str, Any]) -> None:
        """Flush, and become a new child of `parent`, in one transaction."""
        with self.lock:
            self.check_writable()
            left = self.run_id if self._claimed else None
            with self.database.write(durable=self._durable) as connection:
                if self.pending or self._changed_status:
                    self._save(connection, {})
                if self.parent is not None and parent == self.uuid:
                    self._birth(connection)
                _require_run(connection, self.database, parent)
                if left is not None and parent != self.uuid and not self.assigned:
                    _delete_untouched(connection, left)  # made for nothing, by opening this log
                if left is not None:
                    writing.update_run(connection, left, {"outcome": "finished"})
                number = _insert_run(connection, uuid, status, (parent, at))
            if left is not None:
                self._release(left)
            self.assigned = True  # a resumed run is kept, written to or not
            self._adopt(number, uuid, status)

    def _adopt(self, run_id: int, uuid: UUID, status: dict[str, Any]) -> None:
        """Write, from now on, a run that was just put into the file."""
        self.run_id, self.uuid, self.parent = run_id, uuid, None
        self.status = dict(status)
        self.pending, self._changed_status, self._renewed = {}, {}, set()
        self.keys, self._saved_keys, self._high_water, self._count = {}, 0, 0, 0
        if self._owners is not None:
            self._owners.take(run_id)
            _CLAIMED[self._owners, run_id] = self
        self._claimed = True

    def claim(self) -> None:
        """Become the writer of the run, if we are not yet: from now on its state is `running`.

        Raises `RunBusy` if another process is. Another log of this process hands the run over, and
        takes it back when it is next assigned to, so that in a notebook an old log that something
        still holds is in nobody's way.
        """
        with (
            Handover.lock
        ):  # before any writer's lock, or two that claim at once wait for each other
            other = _CLAIMED.get((self._owners, self.run_id))
            if other is not None and other is not self:
                other.hand_over()
            with self.lock:
                if not self._claimed:
                    self.check_writable()
                    self._claim()

    def _claim(self) -> None:
        born = self.run_id
        if born is not None and self._owners is not None and not self._owners.take(born):
            self._refuse_busy()
        try:
            if born is not None and self.database.path is not None:
                # Another process may have written the run, and been killed, since this log opened.
                recover_run(self.database, born, journal_path(self.database.path, self.uuid))
            with self.database.write(durable=self._durable) as connection:
                if self.parent is not None:
                    self._birth(connection)
                row = _require_run(connection, self.database, self.uuid)
                changes = {"epoch": row.epoch + 1, "outcome": None}
                writing.update_run(connection, row.id, changes | origin())
                keys = reading.read_run_keys(connection, row.id)
                status = reading.read_status(connection, row.id)
            self._adopt(row.id, self.uuid, status)
            self.keys, self._saved_keys, self._high_water = keys, len(keys), row.high_water
        finally:
            if born is not None and self._owners is not None:
                self._owners.release(born)  # `_adopt` has taken it once more

    def _refuse_busy(self) -> NoReturn:
        with self.database.read() as connection:
            row = _require_run(connection, self.database, self.uuid)
        seen = datetime.fromtimestamp(row.updated, UTC).isoformat(" ", "seconds")
        raise RunBusy(
            f"run {self.uuid.hex} is being written by process {row.pid} on {row.host} (last flush "
            f"{seen}): look at it with readonly=True, or go on from it as a new run, with resume()"
        )

    def hand_over(self) -> None:
        """Flush, and let another log of this process write the run."""
        with self.lock:
            if self._claimed and self.run_id is not None:
                self._save_all({}, durable=False)
                self._release(self.run_id)
                self.status = None  # the other may change it

    def keep(self) -> None:
        """See to it that the run is in the file and stays: a checkpoint is about to name it."""
        if self.run_id is None:
            self.claim()
        with self.lock:
            self.check_open()
            self.assigned = True

    def _birth(self, connection: Connection) -> None:
        """Put the run of `descend_later` into the file."""
        assert self.parent is not None  # noqa: S101
        assert self.status is not None  # noqa: S101
        _require_run(connection, self.database, self.parent[0])
        _insert_run(connection, self.uuid, self.status, self.parent)

    def _release(self, run_id: int) -> None:
        if self._journal is not None:
            self._journal.remove()
            self._journal = None
        if self._owners is not None:
            self._owners.release(run_id)
        _CLAIMED.pop((self._owners, run_id), None)
        self._claimed = False

    # -- assignments ------------------------------------------------------------------------

    def write(self, rows: dict[int, dict[str, Any]]) -> None:
        """Take values; `HIDDEN` removes what is seen at its place."""
        self._do(lambda: self._take(rows))

    def assign(self, time: int, key: str, value: Any) -> None:
        """Take one value: what `write` does, made for the loop that calls it a million times."""
        with self.lock:
            if self._claimed and not self._inside:
                self._inside = True
                try:
                    if self._journaling:
                        journal = self._journal
                        if journal is None or not journal.put(time, key, value):
                            self._note_down([(ENTRY, time, key, value)])
                    row = self.pending.get(time)
                    if row is None:
                        row = self.pending[time] = {}
                    row[key] = value
                    if key not in self.keys:
                        self.keys[key] = len(self.keys) + 1
                    self._count += 1
                    if (
                        self._count == 1
                        or self._count >= FLUSH_ROWS
                        or monotonic() >= self._flush_at
                    ):
                        self._noted()
                finally:
                    self._inside = False
                if self._later:
                    self._catch_up()
                return
        self.write({time: {key: value}})

    def _do(self, act: Callable[[], None]) -> None:
        """Do something as the writer of the run, at once or after what it interrupts."""
        while True:
            with self.lock:
                if self._inside:
                    self._later.append(act)
                    return
                if self._claimed:
                    self._inside = True
                    try:
                        act()
                    finally:
                        self._inside = False
                    self._catch_up()
                    return
            self.claim()

    def _catch_up(self) -> None:
        while self._later:
            self._do(self._later.pop(0))

    def _take(self, rows: dict[int, dict[str, Any]]) -> None:
        if self._journaling:
            self._note_down(
                [(ENTRY, at, key, value) for at, row in rows.items() for key, value in row.items()]
            )
        pending, keys = self.pending, self.keys
        for at, changes in rows.items():
            row = pending.get(at)
            if row is None:
                row = pending[at] = {}
            for key in changes:
                if key not in keys:
                    keys[key] = len(keys) + 1
            row.update(changes)
            self._count += len(changes)
        self._noted()

    def write_status(self, values: dict[str, Any]) -> None:
        """Take values of the status; `HIDDEN` removes one."""
        self._do(lambda: self._take_status(values))

    def _take_status(self, values: dict[str, Any]) -> None:
        assert self.status is not None  # noqa: S101 - it is known to the one who writes it
        if self._journaling:
            self._note_down([(STATUS, 0, key, value) for key, value in values.items()])
        for key, value in values.items():
            if value is HIDDEN:
                self.status.pop(key, None)
            else:
                self.status[key] = value
        note_status(self._changed_status, self._renewed, values)
        self._count += len(values)
        self._noted()

    def _note_down(self, records: list[tuple[int, int, str, Any]]) -> None:
        """Put assignments where they outlive this process; only then are they made."""
        journal = self._journal
        if journal is None:
            assert self.database.path is not None  # noqa: S101 - else there is no journaling
            base = self._high_water + self._count
            journal = self._journal = Journal(self.database.path, self.uuid, base)
        if journal.append(records):
            return
        self._flush_quietly()  # which empties the journal
        while not journal.append(records):
            journal.grow()

    def _noted(self) -> None:
        self.assigned = True
        now = monotonic()
        if not self._flush_at:
            self._flush_at = now + FLUSH_SECONDS
        elif now >= self._flush_at or self._count >= FLUSH_ROWS:
            if self._warn_at and now < self._flush_at:
                return  # the store cannot be written; do not try at every assignment
            self._flush_quietly()

    def _flush_quietly(self) -> None:
        """Flush; if the store cannot be written, keep everything, say so, and try again later."""
        try:
            self._save_all({}, durable=False, patience=_SOON)
            self._warn_at = 0.0
        except (StoreLocked, StoreFailed, StoreUnwritable) as error:
            now = monotonic()
            self._flush_at = now + 1.0
            if now >= self._warn_at:
                self._warn_at = now + _WARN_SECONDS
                warnings.warn(
                    f"{error}; {self._count} assignments wait in memory and will be written when "
                    "it can be",
                    TrainingLogWarning,
                    stacklevel=6,
                )

    # -- flushing ---------------------------------------------------------------------------

    def flush(self, *, durable: bool = False) -> None:
        """Write what is pending, in one transaction; with `durable`, wait until the disk has it."""
        with self.lock:
            self.check_open()
            if not (self.pending or self._changed_status or durable):
                return
            if self.run_id is None or self._why_readonly:
                return  # nothing of ours can be in the file
            if self._claimed:
                self._do(lambda: self._save_all({}, durable=durable))
            else:  # nothing waits; what was flushed may still have to get to the disk
                with self.database.write(durable=True) as connection:
                    writing.touch_run(connection, self.run_id)

    def _save_all(
        self, changes: dict[str, Any], *, durable: bool, patience: float | None = None
    ) -> None:
        """Write what is pending and forget it; if that fails, everything is still pending."""
        durable = durable or self._durable
        with self.database.write(durable=durable, patience=patience) as connection:
            high_water = self._save(connection, changes)
        if self._journal is not None:
            self._journal.begin(high_water)
        self._high_water = high_water
        self._saved_keys = len(self.keys)
        self.pending = {}
        self._changed_status, self._renewed = {}, set()
        self._count = 0
        self._flush_at = 0.0

    def _save(self, connection: Connection, changes: dict[str, Any]) -> int:
        """Write what is pending, and return the new high-water mark."""
        run_id = self.run_id
        assert run_id is not None  # noqa: S101
        now = time.time()
        high_water = self._high_water + self._count
        values = {"updated": now, "high_water": high_water} | changes
        if self.pending:
            writing.save_rows(connection, run_id, self.pending, self.keys, self._saved_keys)
            writing.save_mark(connection, run_id, max(self.pending), now)
        if self._changed_status:
            writing.save_status(connection, run_id, self._changed_status, self._renewed)
        if not writing.update_run(connection, run_id, values):
            _require_run(connection, self.database, self.uuid)
        return high_water

    # -- the end ----------------------------------------------------------------------------

    def close(self, outcome: Outcome) -> None:
        """Flush, say how the run ended, and let go of the file. Again, it does nothing."""
        with self.lock:
            if self.closed:
                return
            if self._inside and os.getpid() == self._pid:
                self._later.append(lambda: self.close(outcome))
                return
            if os.getpid() == self._pid:
                if self._claimed:
                    assert self.run_id is not None  # noqa: S101
                    self._save_all({"outcome": outcome}, durable=False)
                    self._release(self.run_id)
                self.database.close()
            self.closed = True

    def abandon(self) -> None:
        """Close for a log that is no longer there to do it: collected, or the interpreter ends."""
        if os.getpid() == self._pid:  # a forked child has no say in its parent's run
            # An exception that nobody caught has been printed by now, and noted by the printing.
            died = getattr(sys, "last_value", None) is not None and not hasattr(sys, "ps1")
            self.close("failed" if died else "finished")

    def check_open(self) -> None:
        """Raise unless the log can be used here."""
        if self.closed:
            raise LogClosed("the log is closed; open the run again by its UUID to go on")
        if os.getpid() != self._pid:
            raise ForkedLog(
                "this log was opened before the process was forked; open the run anew in the "
                f"child, or a run of its own: SQLiteLog({self.database.name!r})"
            )

    def check_writable(self) -> None:
        """Raise unless the log can be written."""
        self.check_open()
        if self._why_readonly:
            raise ReadOnlyLog(self._why_readonly)


# For a forked child, which must not go on with its parent's locks, nor write in its parent's name.
_WRITERS: weakref.WeakValueDictionary[int, Writer] = weakref.WeakValueDictionary()


# Who writes which run in this process.
_CLAIMED: weakref.WeakValueDictionary[tuple[Owners | None, int | None], Writer] = (
    weakref.WeakValueDictionary()
)


def _after_fork() -> None:
    _CLAIMED.clear()
    for writer in list(_WRITERS.values()):
        writer.lock = threading.RLock()  # another thread of the parent may have held the old one
        writer._claimed = False  # so that the next assignment looks, and finds where it is


os.register_at_fork(after_in_child=_after_fork)


def _insert_run(
    connection: Connection, uuid: UUID, status: dict[str, Any], parent: tuple[UUID, int] | None
) -> int:
    now = time.time()
    values = origin() | {
        "uuid": uuid.hex, "created": now, "updated": now, "epoch": 1, "high_water": 0,
        "deletions": 0,
    }  # fmt: skip
    if parent is not None:
        values |= {"resumed_from": parent[0].hex, "resumed_at": parent[1]}
    number = writing.insert_run(connection, values)
    writing.save_status(connection, number, status)
    return number


def _require_run(connection: Connection, database: Database, uuid: UUID) -> Any:
    row = writing.find_run(connection, uuid.hex)
    if row is None:
        raise RunNotFound(f"{database.name} holds no run {uuid.hex}; was it deleted?")
    return row


def _delete_untouched(connection: Connection, run_id: int) -> None:
    """Delete a run unless somebody has written to it or resumed it."""
    row = writing.untouched_run(connection, run_id)
    if row is not None:
        writing.delete_runs(connection, [run_id])
