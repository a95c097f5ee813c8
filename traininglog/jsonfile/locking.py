"""The lock of a document: its holder has the document and the files beside it for itself.

Beside ``report.json`` is the empty file ``report.json-lock``. The kernel keeps the lock on it and
drops it as the process ends. All objects of a process for one document share one `DocumentLock`. A
thread that holds it may take it again, as a signal handler may have to.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

from traininglog.errors import StoreFailed, StoreLocked, StoreNotFound, StoreUnwritable
from traininglog.locked_files import FileLock, NotRegular, open_regular
from traininglog.side_files import fit
from traininglog.values import StoredRow

PATIENCE = 30.0  # seconds
#: After so long a reader goes on without the lock: a stopped process may hold it.
_READERS_PATIENCE = 1.0  # seconds


class DocumentLock:
    """The lock of the document at a path, for this process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock_path = path.with_name(f"{path.name}-lock")
        self._forget()

    def _forget(self) -> None:
        """Start over in a forked child: another thread of the parent may have held it."""
        self._threads = threading.RLock()
        self._depth = 0  # the number of nested blocks that hold it
        self._thread: int | None = None  # the thread that holds it
        #: The contents that the holder is changing, and has not written yet.
        self.contents: StoredRow | None = None

    @property
    def is_held_here(self) -> bool:
        """Whether this thread has the lock."""
        return self._thread == threading.get_ident()

    @staticmethod
    def of(path: Path) -> DocumentLock:
        """Return the one lock of a document in this process."""
        with _REGISTRY_LOCK:
            found = _REGISTRY.get(path)
            if found is None:
                found = _REGISTRY[path] = DocumentLock(path)
            return found

    @contextlib.contextmanager
    def held(self, *, readonly: bool) -> Iterator[bool]:
        """Hold the lock, in this process and elsewhere; yield whether this thread already held it.

        Args:
            readonly: The caller does not write. Then no file is made for the lock, and a caller
                that cannot have the lock goes on without: a reader always sees a whole document.

        Raises `StoreLocked` if others hold it for too long.
        """
        with self._threads:
            if self._depth:
                yield True
                return
            lock = self._opened(readonly=readonly)
            try:
                if lock is not None:
                    self._wait(lock, readonly=readonly)
                self._depth += 1
                self._thread = threading.get_ident()
                yield False
            finally:
                self._depth = 0
                self._thread = None
                if lock is not None:
                    lock.release()

    def _opened(self, *, readonly: bool) -> FileLock | None:
        try:
            return self._open(readonly=readonly)
        except StoreUnwritable:
            if readonly:
                return None
            raise

    def _wait(self, lock: FileLock, *, readonly: bool) -> None:
        deadline = time.monotonic() + (_READERS_PATIENCE if readonly else PATIENCE)
        try:
            while not lock.acquire():
                if time.monotonic() > deadline:
                    if readonly:
                        return
                    raise StoreLocked(
                        f"{self._path} was locked by other processes for {PATIENCE:.0f} s: try "
                        "again, or look for a process that was stopped while it wrote"
                    )
                time.sleep(0.002)
        except StoreLocked:
            raise
        except OSError as error:
            if readonly:
                return
            raise StoreFailed(
                f"{self._lock_path} cannot be locked ({error.strerror}): put the document on a "
                "file system that has locks"
            ) from error

    def _open(self, *, readonly: bool) -> FileLock:
        try:
            return FileLock(self._descriptor(readonly=readonly))
        except NotRegular as error:
            raise StoreUnwritable(f"{error.filename}: {error.strerror}; move it away") from error
        except PermissionError as error:
            raise StoreUnwritable(
                f"{error.filename} cannot be opened; check its permissions and its folder's"
            ) from error
        except FileNotFoundError as error:
            raise StoreNotFound(f"there is no {error.filename} any more; restore it") from error
        except OSError as error:
            raise StoreFailed(f"{error.filename} cannot be opened: {error.strerror}") from error

    def _descriptor(self, *, readonly: bool) -> int:
        if not readonly:
            try:
                made = not self._lock_path.exists()
                descriptor = open_regular(self._lock_path, os.O_RDWR | os.O_CREAT)
                if made:
                    fit(self._path, self._lock_path)
                return descriptor
            except PermissionError:  # another user made it; it can be locked all the same
                if not self._lock_path.exists():
                    raise
        try:
            return open_regular(self._lock_path, os.O_RDONLY)
        except FileNotFoundError:
            if not readonly:
                raise
        return open_regular(self._path, os.O_RDONLY)  # without a lock file, no one has written yet


_REGISTRY: weakref.WeakValueDictionary[Path, DocumentLock] = weakref.WeakValueDictionary()
_REGISTRY_LOCK = threading.Lock()


def _after_fork() -> None:
    global _REGISTRY_LOCK  # noqa: PLW0603 - another thread of the parent may have held it
    _REGISTRY_LOCK = threading.Lock()
    for lock in list(_REGISTRY.values()):
        lock._forget()


os.register_at_fork(after_in_child=_after_fork)
