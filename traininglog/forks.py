"""Making `os.fork` wait for open transactions, so that no child inherits a half-used connection.

A child that inherits a connection in a transaction also inherits SQLite's belief that this process
has the lock, which the child can never have. So code that uses a connection holds `in_use`, and a
fork waits.

Each thread has a lock of its own for that, which only the thread itself and a forking thread take.
"""

from __future__ import annotations

import os
import threading
import weakref
from time import monotonic
from typing import Any

# How long a fork waits for the transactions of other threads.
_FORK_PATIENCE = 5.0


class _Gate:
    """The locks of all threads, and the code that takes them around a fork."""

    def __init__(self) -> None:
        self._joining = threading.RLock()
        self._locks: weakref.WeakSet[Any] = weakref.WeakSet()
        self._held: list[Any] = []

    def join(self, lock: object) -> None:
        """Add a lock that a fork has to wait for."""
        with self._joining:
            self._locks.add(lock)

    def close(self) -> None:
        """Take the locks of all other threads, and wait until they are free."""
        deadline = monotonic() + _FORK_PATIENCE
        self._take(self._joining, deadline)
        for lock in list(self._locks):
            if lock is not _THREAD.lock:
                self._take(lock, deadline)

    def _take(self, lock: Any, deadline: float) -> None:
        if lock.acquire(timeout=max(0.0, deadline - monotonic())):
            self._held.append(lock)

    def open(self) -> None:
        while self._held:
            self._held.pop().release()

    def forget(self) -> None:
        """Start over in a forked child, which has only the thread that forked it."""
        self._joining = threading.RLock()
        self._locks = weakref.WeakSet([_THREAD.lock])
        self._held = []


class _Thread(threading.local):
    """The lock of the current thread."""

    def __init__(self) -> None:
        self.lock: Any = threading.RLock()
        _GATE.join(self.lock)


_GATE = _Gate()
_THREAD = _Thread()


def in_use() -> Any:
    """Return a context that makes forks wait while it is entered."""
    return _THREAD.lock


os.register_at_fork(before=_GATE.close, after_in_parent=_GATE.open, after_in_child=_GATE.forget)
