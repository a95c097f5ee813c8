"""Leases: one per run, held by a lock that the kernel drops when the process dies.

Beside ``runs.db`` lies an empty file, ``runs.db-owners``. A process that writes run number n, in
its fencing epoch e, holds a lock on byte n + e * 2**32 of it. Nothing is ever written there,
nothing has to be cleaned up, and no clock or heartbeat is involved. The epoch is part of the
number, so a writer that takes a run over from a live process has a byte of its own to lock.

A lock alone may deceive: the file may be deleted, or another process may hold the byte. So a writer
takes its locks again at each flush (`Owners.renew`), and the row of the run names the process that
writes it, as a second witness (`witness`).
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

from traininglog import file_locks
from traininglog.errors import StoreFailed, StoreUnwritable
from traininglog.side_files import open_beside
from traininglog.sql.sound import is_epoch, is_run
from traininglog.sqlite.file.header import identity_of, stat_of
from traininglog.sqlite.file.witness import Identity, lives
from traininglog.writer.owner import Owner

# How long a writer waits for its own byte, in seconds. A process that only asks does not lock it.
_PATIENCE = 0.2


def writer_byte(run_id: int, epoch: int) -> int:
    """Return the byte to lock for writing a run in one of its epochs."""
    return run_id + (epoch << 32)


def changing_byte(run_id: int) -> int:
    """Return the byte to lock for changing the writer of a run, or for recovering its journals."""
    return run_id + 2**62


class Owners:
    """The leases of one database file: those that this process holds, and those of others."""

    def __init__(self, database: Path, identity: Identity) -> None:
        self.identity = identity  #: device and inode of the database
        #: The owner thread of the file in this process.
        self.owner = Owner.of(identity, str(database))
        self._database = database
        self._path = database.with_name(database.name + "-owners")
        # Re-entrant: the garbage collector may close another log at any point in here.
        self._lock = threading.RLock()
        self._descriptor: int | None = None
        self._only_looks = False  # the descriptor is only readable: this user may not write
        self._held: dict[int, int] = {}  # byte -> how often it is held
        self._missing: set[int] = set()  # the held bytes that another process has locked

    @staticmethod
    def of(database: Path) -> Owners:
        """Return the process's one object for a database file, by any path that leads to it."""
        real = database.resolve()
        identity = identity_of(real) or (0, 0)
        with _REGISTRY_LOCK:
            owners = _REGISTRY.get(identity)
            if owners is None:
                owners = _REGISTRY[identity] = Owners(real, identity)
            return owners

    # -- locks of ours ----------------------------------------------------------------------

    def hold(self, byte: int) -> bool:
        """Hold a byte until `release`. Returns False if another process still has the lock.

        In that case `renew` takes the lock as soon as it is free.
        """
        with self._lock:
            if byte not in self._held:
                self.renew()
                self._missing.add(byte)
                self._take_missing(_PATIENCE)
            self._held[byte] = self._held.get(byte, 0) + 1
            return byte not in self._missing

    def take(self, byte: int, patience: float) -> bool:
        """Lock a byte for this process. Returns False if another one has it."""
        with self._lock:
            if not self.hold(byte):
                self._take_missing(patience)
                if byte in self._missing:
                    self.release(byte)
                    return False
            return True

    def release(self, byte: int) -> None:
        """Undo one `hold` or `take`."""
        with self._lock:
            count = self._held.pop(byte, 0)
            if count > 1:
                self._held[byte] = count - 1
            elif count == 1:
                self._missing.discard(byte)
                if self._descriptor is not None:
                    file_locks.unlock(self._descriptor, byte)

    def renew(self) -> bool:
        """Take lost locks again, as when the file was deleted; return whether all are held."""
        with self._lock:
            if identity_of(self._database) != self.identity:
                return True  # another database has the name: its leases are not ours
            if self._is_stale():
                self._close()
                self._missing = set(self._held)
            if self._missing:
                with suppress(StoreUnwritable, StoreFailed):  # the process is a witness, too
                    self._take_missing(0.0)
            return not self._missing

    def _take_missing(self, patience: float) -> None:
        descriptor = self._open(create=True)
        assert descriptor is not None  # noqa: S101 - it was created
        for byte in sorted(self._missing):
            if file_locks.lock(descriptor, byte, patience=patience):
                self._missing.discard(byte)

    # -- those of others --------------------------------------------------------------------

    def is_written(self, row: Any) -> bool:
        """Return whether a run is being written, by its row of the table of runs."""
        told = self.testified(row)
        return self.is_locked(writer_byte(row.id, row.epoch)) if told is None else told

    def testified(self, row: Any) -> bool | None:
        """Return what `is_written` returns if that needs no lock; None: the lock decides."""
        if not (is_run(row.id) and is_epoch(row.epoch)):
            return False  # no writer ever stored these numbers: they have no byte to lock
        with self._lock:
            if writer_byte(row.id, row.epoch) in self._held:
                return True
        return lives(row.boot_id, row.pid, self.identity)

    def is_locked(self, byte: int) -> bool:
        """Return whether some process, this one included, has locked a byte."""
        with self._lock:
            if byte in self._held:
                return True
            if self._is_stale():
                self.renew()
            descriptor = self._open(create=False)
            return descriptor is not None and file_locks.is_locked(descriptor, byte)

    # -- the file ---------------------------------------------------------------------------

    def _open(self, *, create: bool) -> int | None:
        if create and self._only_looks:
            self._close()  # a readable descriptor can test a lock, not take one
        if self._descriptor is None:
            self._only_looks = False
            try:
                # Readers make no file: where none is, no process has written here.
                self._descriptor = open_beside(
                    self._database,
                    self._path,
                    create=create,
                    unused=file_locks.is_free if create else None,
                )
            except FileNotFoundError:
                if create:
                    raise
            except StoreUnwritable:
                if create:
                    raise
                with suppress(OSError):
                    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
                    self._descriptor = os.open(self._path, flags)
                    self._only_looks = True
        return self._descriptor

    def _is_stale(self) -> bool:
        """Return whether the path no longer leads to the open file."""
        if self._descriptor is None:
            return False
        now = stat_of(self._path)
        return now is None or not os.path.samestat(now, os.fstat(self._descriptor))

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _forget(self) -> None:
        """Drop what a forked child inherited: the locks are the parent's, and must end with it."""
        self._lock = threading.RLock()
        self._held.clear()
        self._missing.clear()
        self._close()

    def __del__(self) -> None:
        self._close()


_REGISTRY: weakref.WeakValueDictionary[Identity, Owners] = weakref.WeakValueDictionary()
_REGISTRY_LOCK = threading.RLock()  # a signal handler may open a log while the program does


def _after_fork() -> None:
    global _REGISTRY_LOCK  # noqa: PLW0603 - another thread of the parent may have held it
    _REGISTRY_LOCK = threading.RLock()
    for owners in list(_REGISTRY.values()):
        owners._forget()


os.register_at_fork(after_in_child=_after_fork)
