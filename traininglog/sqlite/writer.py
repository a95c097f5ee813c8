"""The open run of a `SQLiteLog`: who writes it, what was assigned, and how it gets to the file.

An assignment goes to the tail journal, and counts as made. A flush, of the flusher's thread or on
demand, lets the journal's region rest and writes what it holds to the file in one transaction.

Three locks, always taken in this order: `_flushing`, by whoever changes the file; `_reading`, while
records are read back; `_lock`, for what is in memory. The last is never held while anything waits
for the file, and an assignment mostly needs none of them.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Literal, NoReturn
from uuid import UUID

from sqlalchemy import Connection

from traininglog.encoding import from_cell
from traininglog.errors import (
    CorruptLog,
    ForkedLog,
    InvalidKey,
    LogClosed,
    ReadOnlyLog,
    RunBusy,
    RunNotFound,
    RunTakenOver,
    StoreFailed,
    StoreLocked,
    StoreUnwritable,
    TrainingLogWarning,
)
from traininglog.sql import reading, writing
from traininglog.sql.segments import Owner
from traininglog.sqlite.database import Database
from traininglog.sqlite.flusher import Flusher
from traininglog.sqlite.forks import busy
from traininglog.sqlite.gaps import DROPPED, Gap, Gaps
from traininglog.sqlite.journal import Journal, JournalFull, mode_of
from traininglog.sqlite.left import journal_path
from traininglog.sqlite.numbers import MOST_KEYS
from traininglog.sqlite.origin import origin
from traininglog.sqlite.owners import Handover, Owners, writer_byte
from traininglog.sqlite.processes import close_with_worker, remember
from traininglog.sqlite.records import (
    COUNT_HEAD,
    FLOAT_HEAD,
    INT_HEAD,
    Batch,
    DamagedRecord,
    changed_status,
    pack_counter,
    pack_entries,
    pack_float,
    pack_int,
    pack_key,
    pack_status,
)
from traininglog.sqlite.recovery import (
    changing,
    displace,
    mark_displaced,
    recover,
    recover_run,
    save_numbers,
    save_others,
)
from traininglog.sqlite.regions import Region
from traininglog.sqlite.sealing import Sealer, seal_in_the_end, seal_run
from traininglog.sqlite.tail import ASLEEP
from traininglog.sqlite.troubles import Troubles

#: A power cut costs what was assigned in the last so many seconds, at the most.
SYNC_SECONDS = 2.0

# How many regions go into one transaction: others want to write in between.
_TOGETHER = 8

# How many may wait for the flusher before those who assign do, and how long they do, in seconds.
_BACKLOG = 6
_BACK_PRESSURE = 0.1

# How long a flush in the background waits for others who write, and when it is tried again.
_SOON = 0.5
_RETRY_SECONDS = 0.5

# How long a log that is closed by the end of the interpreter waits for others who write.
_LAST_PATIENCE = 5.0

Outcome = Literal["finished", "failed"]
Rows = dict[int, dict[str, Any]]


class Writer:
    """A run, as one log writes it. Every public method may be called from any thread."""

    def __init__(
        self, database: Database, uuid: UUID, *, durability: str, seal: bool,
        why_readonly: str | None, takeover: bool = False, max_pending_bytes: int, on_full: str,
    ) -> None:  # fmt: skip
        self.database = database
        self.uuid = uuid
        self.run_id: int | None = None  # None: not in the file yet, see `descend_later`
        self.closed = False
        self.tail = ASLEEP
        self.parent: tuple[UUID, int] | None = None
        self.numbers: dict[str, int] = {}  #: the keys of the run -> heads of their records
        self._names: dict[int, str] = {}
        self._last_number = 0
        self._durability = durability
        self._seal = seal
        self._sealer: Sealer | None = None
        self._takeover = takeover
        self._max_pending_bytes = max_pending_bytes
        self._on_full = on_full
        self._why_readonly = why_readonly
        self._pid = os.getpid()
        self._owners = None if database.path is None else Owners.of(database.path)
        self._claimed = False
        self._epoch = 0
        self._new_locks: list[int] = []
        self._high_water = 0
        self._status: dict[str, Any] | None = None  # known only while we are the one who writes it
        self._journal: Journal | None = None  # made with the first assignment
        self._kept = False  # something names the run: if we made it, it must not vanish again
        self._gaps = Gaps()
        self._troubles = Troubles()
        self._unsynced_since: float | None = None
        self._flushing = threading.RLock()
        self._saver: int | None = None  # the thread that is in a flush
        self._reading = threading.RLock()
        self._reader: int | None = None
        self._lock = threading.RLock()
        self._progress = threading.Condition(threading.Lock())
        # A signal handler may assign in the midst of this very class, in a thread that holds its
        # locks. What cannot be done there is done when what it interrupted is.
        self._inside = False
        self._later: list[Callable[[], None]] = []
        self._flusher = Flusher(self._flush_in_background, f"traininglog {uuid.hex[:8]}")
        remember(self)

    # -- whose run it is --------------------------------------------------------------------

    def open(self, run_id: int) -> None:
        """Be a log of a run that is in the file. Nothing is written until something is assigned."""
        self.run_id = run_id
        if self._takeover:
            self.claim()

    def descend_later(self, parent: UUID, at: int, status: dict[str, Any]) -> None:
        """Be a new child of a run, to be put into the file only if something is ever written.

        Looking at an unpickled log must not leave a run behind.
        """
        self.parent = (parent, at)
        self._status = status

    def create(self, status: dict[str, Any]) -> None:
        """Put a new root run into the file."""
        with self._saving(), self._locking_new_runs():
            with self.database.write(durable=self._durable) as connection:
                number = self._insert_run(connection, self.uuid, status, None)
            self._adopt(number, self.uuid, status)

    def fork(self, parent: UUID, at: int, uuid: UUID, status: dict[str, Any]) -> None:
        """Flush, and become a new child of `parent`, in one transaction."""
        self.check_writable()
        with self._saving(), self._locking_new_runs():
            left = self.run_id if self._claimed else None
            regions = self._take()
            with self.database.write(durable=self._durable) as connection:
                gap = self._gaps.current
                final = self._seal and left is not None
                if regions or gap is not None or final:
                    self._save(connection, regions, {}, gap, final=final)
                if self.parent is not None and parent == self.uuid:
                    passed = self._birth(connection)
                    writing.update_run(connection, passed, {"outcome": "finished"})
                _require_run(connection, self.database, parent)
                if left is not None and parent != self.uuid and not self._kept:
                    _delete_untouched(connection, left)  # made for nothing, by opening this log
                if left is not None:
                    writing.update_run(connection, left, {"outcome": "finished"})
                if final and (row := writing.find_run(connection, self.uuid.hex)) is not None:
                    seal_in_the_end(connection, row)
                number = self._insert_run(connection, uuid, status, (parent, at))
            self._note_saved(regions, gap)
            if left is not None:
                self._release()
            self._adopt(number, uuid, status)
            self._kept = True  # a resumed run is kept, written to or not

    def _insert_run(
        self, connection: Connection, uuid: UUID, status: dict[str, Any],
        parent: tuple[UUID, int] | None,
    ) -> int:  # fmt: skip
        """Add a run; nobody ever sees it without its writer."""
        number = writing.add_run(connection, uuid, status, parent, origin())
        if self._owners is not None:
            self._owners.take(writer_byte(number, 1))
            self._new_locks.append(writer_byte(number, 1))
        return number

    @contextmanager
    def _locking_new_runs(self) -> Iterator[None]:
        """Keep, of the locks of runs that are added in here, that of the run we then write."""
        self._new_locks = []
        try:
            yield
        finally:
            for byte in self._new_locks:
                mine = self._claimed and byte == writer_byte(self.run_id or 0, self._epoch)
                if self._owners is not None and not mine:
                    self._owners.release(byte)
            self._new_locks = []

    def _adopt(
        self, run_id: int, uuid: UUID, status: dict[str, Any], *, epoch: int = 1,
        high_water: int = 0, keys: dict[str, int] | None = None, last: int = -1,
    ) -> None:  # fmt: skip
        """Write, from now on, a run whose lock we have."""
        with self._lock:  # from the moment in which it is ours, others threads write it
            self.run_id, self.uuid, self.parent = run_id, uuid, None
            self._names = {number: name for name, number in (keys or {}).items()}
            self._last_number = max(self._names, default=0)
            self.numbers = {name: number + FLOAT_HEAD for number, name in self._names.items()}
            self._status = dict(status)
            self._gaps = Gaps(status)
            self._epoch, self._high_water = epoch, high_water
            self._sealer = Sealer(last) if self._seal else None
            self._claimed = True
            if self._owners is not None:
                _CLAIMED[self._owners, run_id] = self

    def claim(self) -> None:
        """Become the writer of the run, if we are not yet: from now on its state is `running`.

        Raises `RunBusy` if another process is. Another log of this process hands the run over, and
        takes it back when it is next assigned to, so that in a notebook an old log that something
        still holds is in nobody's way.
        """
        # Before any writer's locks, or two that claim at once wait for each other.
        with busy(), Handover.lock:
            other = _CLAIMED.get((self._owners, self.run_id))
            if other is not None and other is not self:
                other.hand_over()
            with self._saving():
                if not self._claimed:
                    self.check_writable()
                    self._claim()

    def _claim(self) -> None:
        if self.parent is not None:
            assert self._status is not None  # noqa: S101
            with self._locking_new_runs():
                with self.database.write(durable=self._durable) as connection:
                    number = self._birth(connection)
                self._adopt(number, self.uuid, self._status)
            return
        run_id = self.run_id
        assert run_id is not None  # noqa: S101
        if self._owners is None:
            self._take_epoch(run_id, None)
            return
        with changing(self._owners, run_id):
            # Another process may have written the run, and been killed, since this log opened.
            recover_run(self.database, self._owners, run_id)
            self._take_epoch(run_id, self._owners)

    def _take_epoch(self, run_id: int, owners: Owners | None) -> None:
        with self.database.write(durable=self._durable) as connection:
            row = _require_run(connection, self.database, self.uuid)
            epoch = row.epoch + 1
            displaced = None
            if owners is not None:
                if owners.alive(writer_byte(run_id, row.epoch)):
                    if not self._takeover:
                        self._refuse_busy(row)
                    assert self.database.path is not None  # noqa: S101
                    tail = journal_path(self.database.path, self.uuid, row.epoch)
                    displaced = displace(connection, run_id, tail, row.high_water)
                    row = _require_run(connection, self.database, self.uuid)
                owners.take(writer_byte(run_id, epoch))
            now = {"epoch": epoch, "outcome": None, "opened": time.time()}
            writing.update_run(connection, run_id, now | origin())
            keys = reading.read_run_keys(connection, run_id)
            status = reading.read_status(connection, run_id)
        if displaced is not None:
            mark_displaced(*displaced)
        self._adopt(
            run_id, self.uuid, status, epoch=epoch, high_water=row.high_water, keys=keys,
            last=-1 if row.last_time is None else row.last_time,
        )  # fmt: skip

    def _refuse_busy(self, row: Any) -> NoReturn:
        raise RunBusy(
            f"run {self.uuid.hex} is being written by process {row.pid} on {row.host} since "
            f"{_moment(row.opened)} (last flush {_moment(row.updated)}): look at it with "
            "readonly=True, or go on from it as a new run, with resume(); if that process hangs, "
            "takeover=True takes the run from it"
        )

    def hand_over(self) -> None:
        """Flush, and let another log of this process write the run."""
        with self._saving():
            if self._claimed:
                self._save_all(patience=None)
                self._release()

    def keep(self) -> None:
        """See to it that the run is in the file and stays: a checkpoint is about to name it."""
        if self.run_id is None:
            self.claim()
        self.check_open()
        self._kept = True

    def _birth(self, connection: Connection) -> int:
        """Put the run of `descend_later` into the file."""
        assert self.parent is not None  # noqa: S101
        assert self._status is not None  # noqa: S101
        _require_run(connection, self.database, self.parent[0])
        return self._insert_run(connection, self.uuid, self._status, self.parent)

    def _release(self, patience: float | None = None) -> None:
        """Be the writer of the run no longer: all of it is in the file."""
        while True:
            # Other threads may go on assigning until the very moment in which this is said.
            with self._memory():
                if self._journal is not None:
                    self._journal.rest()
                    if self._journal.idle:
                        self._journal.remove()
                        self._journal = None
                self.tail = ASLEEP
                if self._journal is None:
                    self._let_go()
                    return
            self._save_regions(self._take(), patience, None)

    def _let_go(self) -> None:
        assert self.run_id is not None  # noqa: S101
        if self._owners is not None:
            self._owners.release(writer_byte(self.run_id, self._epoch))
        _CLAIMED.pop((self._owners, self.run_id), None)
        self._claimed = False
        self._status = None  # others may change it

    @property
    def _durable(self) -> bool:
        return self._durability == "power"

    # -- assignments ------------------------------------------------------------------------

    def assign(self, at: int, key: str, value: Any) -> None:
        """Take one value."""
        if self._troubles.notice is not None:
            self._troubles.tell(self.uuid)
        tail = self.tail
        head = tail.numbers.get(key)
        if head is not None:
            if type(value) is float:
                record = pack_float(head, at, value, value, at, head, tail.tag)
            elif type(value) is int:
                head += INT_HEAD - FLOAT_HEAD
                record = pack_int(head, at, value, value, at, head, tail.tag)
            else:
                record = pack_entries([(at, head & MOST_KEYS, value)], tail.tag)
            with suppress(ValueError):
                tail.write(record)
                return
        self._do(lambda: self._put({at: {key: value}}), lambda: (1, at, at))

    def write(self, rows: Rows) -> None:
        """Take values, as one step; `HIDDEN` removes what is seen at its place."""
        if any(rows.values()):
            self._do(lambda: self._put(rows), lambda: _span(rows))

    def write_row(self, at: int, row: dict[str, Any]) -> None:
        """Take the values of one time, as one step: what `write` does, in a hurry."""
        if not row:
            return
        with suppress(KeyError, ValueError):
            if self.tail.write_row(at, row):
                return
        self.write({at: row})

    def write_status(self, values: dict[str, Any]) -> None:
        """Take values of the status; `HIDDEN` removes one."""
        if self._troubles.notice is not None:
            self._troubles.tell(self.uuid)
        tail = self.tail
        if tail is not ASLEEP:
            with suppress(ValueError):
                tail.write(pack_status(values, tail.tag))
                return
        self._do(
            lambda: self._append(lambda tag: pack_status(values, tag)), lambda: (1, None, None)
        )

    def write_count(self, key: str, value: int) -> None:
        """Take an int for the status, which will be set to others soon, as counters are."""
        self._do(lambda: self._put_count(key, value), lambda: (1, None, None))

    def _put_count(self, key: str, value: int) -> None:
        while True:
            tail = self.tail
            head = tail.counters.get(key)
            if head is None and tail is not ASLEEP:
                number = len(tail.counters) + 1
                with suppress(
                    ValueError
                ):  # there may be room for the count alone, which says little
                    tail.write(pack_counter(number, key, tail.tag))
                    head = tail.counters[key] = number + COUNT_HEAD
            if head is not None:
                with suppress(ValueError):
                    tail.write(pack_int(head, 0, value, value, 0, head, tail.tag))
                    return
            self._open_region(0)

    def _do(self, act: Callable[[], None], span: Callable[[], tuple[int, Any, Any]]) -> None:
        """Do something as the writer of the run, at once or after what it interrupts.

        `act` may raise `JournalFull`, having done nothing; `span` says what it wants to assign: how
        much, from which to which time.
        """
        self._troubles.tell(self.uuid)
        for last in (False, True):  # the flusher may only have fallen behind
            try:
                self._try(act)
                break
            except JournalFull:
                if not last and (self._troubles.current is None or self._on_full == "raise"):
                    self._relieve()
                elif self._on_full == "drop":
                    self._drop(*span())
                    break
                else:
                    raise
        journal = self._journal
        behind = journal is not None and len(journal.waiting) > _BACKLOG
        if behind and self._troubles.current is None:
            with self._progress:
                self._progress.wait(_BACK_PRESSURE)
        elif self._flusher.impossible:
            self._flush_in_background()

    def _try(self, act: Callable[[], None]) -> None:
        with busy():  # a log that nobody holds any more may be let go of in here
            while True:
                with self._lock:
                    mine = self._saver == threading.get_ident()
                    if self._inside or (mine and not self._claimed):
                        self._later.append(lambda: self._try(act))
                        return
                    if self._claimed:
                        with self._memory():
                            act()
                        break
                self.claim()
        self._catch_up()

    @contextmanager
    def _memory(self) -> Iterator[None]:
        """Change what is in memory, alone."""
        with self._lock:
            before, self._inside = self._inside, True
            try:
                yield
            finally:
                self._inside = before

    def _catch_up(self) -> None:
        """Do what signal handlers could not."""
        while self._later and not self._inside and self._saver != threading.get_ident():
            self._later.pop(0)()

    def _put(self, rows: Rows) -> None:
        entries = [
            (at, self._number(key), value) for at, row in rows.items() for key, value in row.items()
        ]
        if len(entries) == 1:
            at, number, value = entries[0]
            head = number + (FLOAT_HEAD if type(value) is float else INT_HEAD)
            if type(value) is float:
                self._append(lambda tag: pack_float(head, at, value, value, at, head, tag))
                return
            if type(value) is int:
                self._append(lambda tag: pack_int(head, at, value, value, at, head, tag))
                return
        self._append(lambda tag: pack_entries(entries, tag))

    def _number(self, key: str) -> int:
        """Return the number of a key, which may be new."""
        head = self.numbers.get(key)
        if head is None:
            number = self._last_number + 1
            if number > MOST_KEYS:
                raise InvalidKey(
                    f"a run may have {MOST_KEYS} keys: put what differs into the value"
                )
            self._append(lambda tag: pack_key(number, key, tag))
            self._last_number = number
            self._names[number] = key
            head = self.numbers[key] = number + FLOAT_HEAD
        return head & MOST_KEYS

    def _append(self, pack: Callable[[int], bytes]) -> None:
        """Put a record where it outlives this process; only then is an assignment made."""
        while True:
            tail = self.tail
            record = pack(tail.tag)
            if tail is not ASLEEP:
                with suppress(ValueError):
                    tail.write(record)
                    return
            self._open_region(len(record))

    def _open_region(self, need: int) -> None:
        journal = self._journal
        if journal is None:
            journal = self._journal = self._make_journal()
        journal.rest()
        self.tail = ASLEEP
        journal.begin(need)
        self.tail = journal.tail
        if self._gaps.current is not None:
            self._gaps.end()
            self.tail.write(pack_status({DROPPED: self._gaps.described()}, self.tail.tag))
        self._kept = True
        self._flusher.wake(now=bool(journal.waiting))

    def _make_journal(self) -> Journal:
        close_with_worker()
        path, mode = None, 0
        if self._durability != "buffered" and self.database.path is not None:
            path = journal_path(self.database.path, self.uuid, self._epoch)
            mode = mode_of(self.database.path)
        try:
            return Journal(
                path, mode, self.uuid, self._epoch, self._high_water, self.numbers,
                self._max_pending_bytes,
            )  # fmt: skip
        except OSError as error:
            kind = StoreUnwritable if isinstance(error, PermissionError) else StoreFailed
            raise kind(
                f"{path} cannot be made ({error.strerror}); it keeps what is assigned until it is "
                f"in {self.database.name}. Make its folder writable, or use durability='buffered'"
            ) from error

    def _relieve(self) -> None:
        """Make room in the journal by a flush."""
        if self._saver == threading.get_ident():
            return
        with suppress(StoreLocked, StoreFailed, StoreUnwritable), self._saving():
            self._save_all(patience=_BACK_PRESSURE)

    def _drop(self, count: int, first: int | None, last: int | None) -> None:
        """Leave assignments out, and see to it that this can be seen."""
        with self._memory():
            begins = self._gaps.current is None
            gap = self._gaps.add(count, first, last)
            journal = self._journal
            if journal is not None and journal.waiting:
                journal.waiting[-1].note_gap(gap)
            if begins:
                self._troubles.warn_of(
                    f"{self.database.name} cannot be written and the journal is full: values are "
                    f"left out from time {gap[1]} on (on_full='drop'); status['{DROPPED}'] will "
                    "tell which"
                )
        self._troubles.tell(self.uuid)

    # -- reading what is not in the file ----------------------------------------------------

    def _read(self) -> list[Region]:
        """Read the records that are not in the file, and return their regions, the oldest first.

        To be called under `_reading`.
        """
        journal = self._journal
        if journal is None:
            return []
        with self._lock:
            regions = journal.waiting[:]
            if journal.current is not None:
                regions.append(journal.current)
            ends = [region.written for region in regions]
        if self._reader is not None:
            return regions  # in a signal handler that interrupts this
        self._reader = threading.get_ident()
        try:
            for region, end in zip(regions, ends, strict=True):
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
                f"the journal of run {self.uuid.hex} was changed by somebody else ({error})"
            ) from error

    def status(self) -> dict[str, Any] | None:
        """Return the status if it is known here, which it is while we write the run."""
        with busy(), self._reading:
            regions = self._read()
            if self._status is None or not any(region.batch.status for region in regions):
                return self._status
            return changed_status(self._status, (region.batch for region in regions))

    def pending_rows(self, low: int, high: int) -> Rows:
        """Return what is not in the file, at times from `low` to `high`; `HIDDEN` included.

        To be taken before the file is read: a flush in between then shows a value twice, which does
        no harm, and not never.
        """
        rows: Rows = {}
        with busy(), self._reading:
            names = self._names
            for region in self._read():
                for at, row in region.batch.rows.items():
                    if low <= at <= high:
                        known = rows.setdefault(at, {})
                        for number, cell in row.items():
                            known[names[number]] = from_cell(cell)
        return rows

    def pending_row(self, at: int) -> dict[str, Any]:
        """Return what is not in the file of one row."""
        row: dict[str, Any] = {}
        with busy(), self._reading:
            for region in self._read():
                for number, cell in region.batch.rows.get(at, {}).items():
                    row[self._names[number]] = from_cell(cell)
        return row

    def pending_value(self, at: int, key: str) -> tuple[Any] | None:
        """Return a value that is not in the file, `HIDDEN` included, or None."""
        head = self.numbers.get(key)
        if head is None:
            return None
        with busy(), self._reading:
            for region in reversed(self._read()):
                row = region.batch.rows.get(at)
                if row is not None and (cell := row.get(head & MOST_KEYS)) is not None:
                    return (from_cell(cell),)
        return None

    # -- flushing ---------------------------------------------------------------------------

    def flush(self, *, durable: bool = False) -> None:
        """Write what is pending; with `durable`, wait until the disk has it."""
        self.check_open()
        with self._lock:
            if self._inside or self._saver == threading.get_ident():
                self._later.append(lambda: self.flush(durable=durable))
                return
        if self.run_id is None or self._why_readonly:
            return  # nothing of ours can be in the file
        self._troubles.raise_fatal(self.uuid)
        with self._saving():
            if self._claimed:
                self._save_all(patience=None)
            if durable:
                self._sync()

    @contextmanager
    def _saving(self) -> Iterator[None]:
        """Be the one thread that changes the file."""
        with busy():
            with self._flushing:
                before, self._saver = self._saver, threading.get_ident()
                try:
                    yield
                finally:
                    self._saver = before
            if before is None:
                self._catch_up()

    def _flush_in_background(self) -> float | None:
        """Flush, and return when to do so again. What goes wrong is for those who assign."""
        with busy():
            try:
                with self._saving():
                    return self._flush_and_sync() if self._claimed and not self.closed else None
            except (StoreLocked, StoreFailed, StoreUnwritable) as error:
                self._note_trouble(error)
                return _RETRY_SECONDS
            except Exception as error:  # noqa: BLE001 - nobody sees it here; see `_raise_fatal`
                self._troubles.end(error)
                self._sleep()
                return None

    def _flush_and_sync(self) -> float | None:
        self._save_all(patience=_SOON)
        if self._unsynced_since is None:
            return None
        left = self._unsynced_since + SYNC_SECONDS - monotonic()
        if left > 0:
            return left
        self._sync()
        return None

    def _note_trouble(self, error: Exception) -> None:
        if not self._troubles.note(error):
            return
        with self._memory():
            journal = self._journal
            where = "in the journal"
            if journal is not None and (journal.path is None or journal.volatile):
                where = "in memory, where a kill would lose them,"
        self._troubles.warn_of(
            f"{error}; what is assigned waits {where} and will be written when it can be"
        )
        self._sleep()  # so that the next assignment tells

    def _sleep(self) -> None:
        """Let the next assignment look at how things are."""
        with self._memory():
            if self._journal is not None:
                self._journal.rest()
            self.tail = ASLEEP

    def _take(self) -> list[Region]:
        """Let what was assigned rest, and return all that is to be flushed."""
        journal = self._journal
        if journal is None:
            return []
        with self._memory():
            journal.rest()
            self.tail = ASLEEP
            return journal.waiting[:]

    def _save_all(
        self, *, patience: float | None, changes: dict[str, Any] | None = None, final: bool = False
    ) -> None:
        """Write what is pending and forget it; if that fails, everything is still pending."""
        if self._troubles.current is not None and self._journal is not None:
            # First what waits already: else each vain try would use up a region.
            self._save_regions(self._journal.waiting[:], patience, None)
        self._save_regions(self._take(), patience, changes, final=final)

    def _save_regions(
        self, regions: list[Region], patience: float | None, changes: dict[str, Any] | None,
        *, final: bool = False,
    ) -> None:  # fmt: skip
        groups = [regions[at : at + _TOGETHER] for at in range(0, len(regions), _TOGETHER)]
        if not groups and (changes is not None or self._gaps.current is not None or final):
            groups = [[]]
        for group in groups:
            with self.database.write(durable=self._durable, patience=patience) as connection:
                gap, last = self._gaps.current, group is groups[-1]
                more = changes if last and changes else {}
                self._save(connection, group, more, gap, final=final and last)
            self._note_saved(group, gap)

    def _note_saved(self, regions: list[Region], gap: Gap | None) -> None:
        """Forget what was committed."""
        self._troubles.are_over()
        if self._sealer is not None:
            self._sealer.committed()
        if self._unsynced_since is None and not self._durable:
            self._unsynced_since = monotonic()
        with self._reading, self._memory():
            if regions and self._journal is not None:
                if self._status is not None:
                    self._status = changed_status(
                        self._status, (region.batch for region in regions)
                    )
                self._high_water = regions[-1].end
                self._journal.recycle(len(regions))
                if self._journal.vanished and self._journal.idle:
                    self._journal.remove()
                    self._journal = None
            if self._gaps.saved(gap) and self._status is not None:
                self._status[DROPPED] = self._gaps.described()
        with self._progress:
            self._progress.notify_all()

    def _save(
        self, connection: Connection, regions: list[Region], changes: dict[str, Any],
        gap: Gap | None = None, *, final: bool = False,
    ) -> None:  # fmt: skip
        run_id = self.run_id
        assert run_id is not None  # noqa: S101
        now = time.time()
        values: dict[str, Any] = {"updated": now} | changes
        with self._reading:
            for region in regions:
                self._read_region(region, region.length)
            batch = _joined(regions)
        if regions:
            values["high_water"] = regions[-1].end
            writing.save_keys(connection, run_id, {
                name: number for number, name in batch.names.items()
            })  # fmt: skip
        times = batch.times()
        if self._sealer is not None and (times is not None or final):
            owner = Owner(run_id, self.uuid.hex, self._names)
            self._sealer.save(connection, owner, batch, final=final)
        elif times is not None:
            save_numbers(connection, run_id, batch)
        if times is not None:
            save_others(connection, run_id, batch, times)
            writing.save_mark(connection, run_id, times[1], now)
        if gap is not None:
            batch.status[DROPPED] = self._gaps.described(gap)
        if batch.status:
            writing.save_status(connection, run_id, batch.status, batch.renewed)
        if not writing.update_run(connection, run_id, values, epoch=self._epoch):
            row = _require_run(connection, self.database, self.uuid)
            taken = RunTakenOver(
                f"run {self.uuid.hex} was taken over by process {row.pid} on {row.host} at "
                f"{_moment(row.opened)}: what this log had assigned and not flushed becomes a run "
                "of its own when it is closed; open the run anew, or resume it, to go on"
            )
            self._troubles.fatal = taken
            self._sleep()
            self._troubles.raise_fatal(self.uuid)

    def _sync(self) -> None:
        """Have the disk take what was committed."""
        self.database.sync()
        self._unsynced_since = None

    # -- sealing ----------------------------------------------------------------------------

    def seal(self) -> None:
        """Flush, and move what can be moved to segments."""
        self.check_writable()
        if self.run_id is None:
            return
        self.claim()
        with self._saving():
            self._save_all(patience=None, final=self._seal)
            self._seal_rest(None)

    def _seal_rest(
        self, patience: float | None, how: Callable[[Connection, Any], object] = seal_run
    ) -> None:
        """Seal what could not be sealed as it came, and note the totals of the run."""
        with self.database.write(patience=patience) as connection:
            row = _require_run(connection, self.database, self.uuid)
            if row.epoch == self._epoch:
                how(connection, row)
                if self._sealer is not None:
                    last = -1 if row.last_time is None else row.last_time
                    self._sealer = Sealer(last)
        self.database.shrink_if_worth()

    def _seal_in_the_end(self, patience: float | None) -> None:
        """Seal what is left, unless that would be a burden; it loses nothing if it is not."""
        with suppress(StoreLocked, StoreFailed, StoreUnwritable, CorruptLog):
            self._seal_rest(_SOON if patience is None else patience, seal_in_the_end)

    # -- the end ----------------------------------------------------------------------------

    def close(self, outcome: Outcome, *, patience: float | None = None) -> None:
        """Flush, say how the run ended, and let go of the file. Again, it does nothing."""
        if self.closed:
            return
        if os.getpid() != self._pid:
            self.closed = True
            return
        with self._lock:
            if self._inside or self._saver == threading.get_ident():
                self._later.append(lambda: self.close(outcome))
                return
        self._flusher.stop()
        with self._saving():
            if self.closed:
                return  # type: ignore[unreachable]  # another thread was first
            if self._claimed and self._troubles.fatal is None:
                told = self._troubles.told
                try:
                    self._save_all(
                        patience=patience, changes={"outcome": outcome}, final=self._seal
                    )
                except RunTakenOver:
                    self._troubles.told = told  # it is raised below, once the rest is done
                if self._seal and self._troubles.fatal is None:
                    self._seal_in_the_end(patience)
            if self._claimed and self._troubles.fatal is None:
                self._release(patience)
            elif self._claimed:
                self._leave()
            self.closed = True
        if isinstance(self._troubles.fatal, RunTakenOver):
            recover(self.database)
        self.database.close()
        if not self._troubles.told:
            self._troubles.raise_fatal(self.uuid)

    def _leave(self) -> None:
        """Be the writer no longer, and leave the journal to whoever opens the file next."""
        with self._memory():
            if self._journal is not None:
                self._journal.leave()
                self._journal = None
            self.tail = ASLEEP
            self._let_go()

    def abandon(self) -> None:
        """Close for a log that is no longer there to do it: collected, or the interpreter ends."""
        if os.getpid() != self._pid:  # a forked child has no say in its parent's run
            return
        # An exception that nobody caught has been printed by now, and noted by the printing.
        died = getattr(sys, "last_value", None) is not None and not hasattr(sys, "ps1")
        try:
            self.close("failed" if died else "finished", patience=_LAST_PATIENCE)
        except (StoreLocked, StoreFailed, StoreUnwritable) as error:
            lost = "lost" if self._durability == "buffered" else "in the journal, for the next"
            warnings.warn(
                f"{error}; what run {self.uuid.hex} had assigned last is {lost}",
                TrainingLogWarning,
                stacklevel=2,
            )

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
        self._troubles.raise_fatal(self.uuid)

    # -- around a fork ----------------------------------------------------------------------

    def before_fork(self) -> None:
        """Have no thread, which the child would be without, and hold what another might."""
        self._flusher.stop()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if self._journal is not None and (self._journal.waiting or self._journal.current):
            self._flusher.wake()

    def after_fork_in_child(self) -> None:
        """Be of no use: the run is the parent's."""
        # Another thread of the parent may have held the old ones.
        self._flushing, self._reading = threading.RLock(), threading.RLock()
        self._lock = threading.RLock()
        self._progress = threading.Condition(threading.Lock())
        self._inside, self._saver, self._reader = False, None, None
        self._later = []
        self._flusher.forget()
        if self._journal is not None:
            self._journal.forget()
            self._journal = None
        self.tail = ASLEEP
        self._claimed = False  # so that the next assignment looks, and finds where it is
        _CLAIMED.clear()


# Who writes which run in this process.
_CLAIMED: weakref.WeakValueDictionary[tuple[Owners | None, int | None], Writer] = (
    weakref.WeakValueDictionary()
)


def _joined(regions: list[Region]) -> Batch:
    if len(regions) == 1:
        return regions[0].batch
    joined = Batch()
    for region in regions:
        joined.extend(region.batch)
    return joined


def _span(rows: Rows) -> tuple[int, int, int]:
    return sum(map(len, rows.values())), min(rows), max(rows)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(" ", "seconds")


def _require_run(connection: Connection, database: Database, uuid: UUID) -> Any:
    row = writing.find_run(connection, uuid.hex)
    if row is None:
        raise RunNotFound(f"{database.name} holds no run {uuid.hex}; was it deleted?")
    return row


def _delete_untouched(connection: Connection, run_id: int) -> None:
    """Delete a run unless somebody has written to it or resumed it."""
    row = writing.untouched_run(connection, run_id)
    if row is not None:
        writing.delete_runs(connection, [row.id])
