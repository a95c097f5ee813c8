"""Forks, and what must not be cut in two by one.

A child that inherits a connection in the midst of a transaction inherits SQLite's belief that this
process has the lock, and can never have it. So whoever uses one holds `in_use`, and a fork waits.

Each thread has a lock of its own for that, which nobody else takes but who forks.
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
    """Knows the locks of all threads, and holds them during a fork."""

    def __init__(self) -> None:
        self._joining = threading.RLock()
        self._locks: weakref.WeakSet[Any] = weakref.WeakSet()
        self._held: list[Any] = []

    def join(self, lock: object) -> None:
        """Have a fork wait for this one, too."""
        with self._joining:
            self._locks.add(lock)

    def close(self) -> None:
        """Wait until no other thread holds its lock, and see to it that none takes it."""
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
        """Begin anew, in a child that has only the thread that forked it."""
        self._joining = threading.RLock()
        self._locks = weakref.WeakSet([_THREAD.lock])
        self._held = []


class _Thread(threading.local):
    """The lock of this thread."""

    def __init__(self) -> None:
        self.lock: Any = threading.RLock()
        _GATE.join(self.lock)


_GATE = _Gate()
_THREAD = _Thread()


def in_use() -> Any:
    """Put off forks, as long as the context that this returns is entered."""
    return _THREAD.lock


os.register_at_fork(before=_GATE.close, after_in_parent=_GATE.open, after_in_child=_GATE.forget)
