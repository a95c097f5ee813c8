"""Who is alive: a lock per run that the kernel drops when its process dies.

Beside ``runs.db`` lies an empty file, ``runs.db-owners``. A process that writes run number n, for
the e-th time that anybody does, holds a POSIX record lock on byte n + e * 2**32 of it. Nothing is
ever written there, nothing has to be cleaned up, and no clock or heartbeat is involved: whoever
asks tries the lock. With the epoch in it, whoever takes a run over from a live process can hold a
lock that says so.

Why record locks: they belong to the process, so a forked child does not inherit them. Their trap is
that closing *any* descriptor of the file drops all of them, hence one `Owners` a file and process.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
import weakref
from pathlib import Path

_PATIENCE = 1.0  # seconds; a prober holds the byte for microseconds


def writer_byte(run_id: int, epoch: int) -> int:
    """Return the byte that stands for writing a run in one of its epochs."""
    return run_id + (epoch << 32)


def changing_byte(run_id: int) -> int:
    """Return the byte that stands for changing who writes a run, or for doing a dead one's work."""
    return run_id + 2**62


class Owners:
    """The locks of one database file, as seen from this process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Re-entrant: the garbage collector may close another log at any point in here.
        self._lock = threading.RLock()
        self._descriptor: int | None = None
        self._only_looks = False  # the descriptor is for reading: this user may not write
        self._held: dict[int, int] = {}  # byte -> how often

    @staticmethod
    def of(database: Path) -> Owners:
        """Return the one object of this process for a database file, whatever path leads to it."""
        real = database.resolve()
        path = real.with_name(real.name + "-owners")
        with _REGISTRY_LOCK:
            owners = _REGISTRY.get(path)
            if owners is None or owners._is_stale():
                owners = _REGISTRY[path] = Owners(path)
            return owners

    def take(self, byte: int) -> bool:
        """Lock a byte for this process. Returns False if another one has it."""
        with self._lock:
            if byte not in self._held:
                descriptor = self._open(create=True)
                assert descriptor is not None  # noqa: S101 - it was created
                deadline = time.monotonic() + _PATIENCE
                while not _try_lock(descriptor, fcntl.LOCK_EX, byte):
                    if time.monotonic() > deadline:
                        return False
                    time.sleep(0.002)
            self._held[byte] = self._held.get(byte, 0) + 1
            return True

    def release(self, byte: int) -> None:
        """Take back one `take`."""
        with self._lock:
            count = self._held.pop(byte, 0)
            if count > 1:
                self._held[byte] = count - 1
            elif count == 1 and self._descriptor is not None:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, byte)

    def alive(self, byte: int) -> bool:
        """Tell whether some process, this one included, has locked a byte."""
        with self._lock:
            if byte in self._held:
                return True
            descriptor = self._open(create=False)
            if descriptor is None:
                return False
            if not _try_lock(descriptor, fcntl.LOCK_SH, byte):
                return True
            fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, byte)
            return False

    def _open(self, *, create: bool) -> int | None:
        if create and self._only_looks and self._descriptor is not None:
            os.close(self._descriptor)  # good for asking, not for taking
            self._descriptor = None
        if self._descriptor is None:
            self._only_looks = False
            try:
                # Readers make no file: where none is, nobody has ever written here.
                flags = os.O_RDWR | (os.O_CREAT if create else 0)
                self._descriptor = os.open(self._path, flags | os.O_CLOEXEC, 0o666)
            except FileNotFoundError:
                if create:
                    raise
            except PermissionError:
                if create:
                    raise
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
                self._only_looks = True
        return self._descriptor

    def _is_stale(self) -> bool:
        """Tell whether the file was removed, perhaps to begin anew, and holds nothing of ours."""
        with self._lock:
            if self._descriptor is None or self._held:
                return False
            try:
                now = self._path.stat()
            except FileNotFoundError:
                return True
            return not os.path.samestat(now, os.fstat(self._descriptor))

    def _forget(self) -> None:
        """Drop what a forked child inherited: the locks stayed with its parent."""
        self._lock = threading.RLock()
        self._held.clear()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


class Handover:
    """The lock under which it changes, or is looked at, who in this process writes a run."""

    lock = threading.RLock()


_REGISTRY: weakref.WeakValueDictionary[Path, Owners] = weakref.WeakValueDictionary()
_REGISTRY_LOCK = threading.Lock()


def _try_lock(descriptor: int, kind: int, byte: int) -> bool:
    try:
        fcntl.lockf(descriptor, kind | fcntl.LOCK_NB, 1, byte)
    except (BlockingIOError, PermissionError):  # EAGAIN on Linux, EACCES elsewhere
        return False
    return True


def _after_fork() -> None:
    global _REGISTRY_LOCK  # noqa: PLW0603 - another thread of the parent may have held it
    _REGISTRY_LOCK = threading.Lock()
    Handover.lock = threading.RLock()
    for owners in list(_REGISTRY.values()):
        owners._forget()


os.register_at_fork(after_in_child=_after_fork)
