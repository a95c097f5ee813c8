"""Forks, and what must not be cut in two by one.

A child that inherits a connection in the midst of a transaction inherits SQLite's belief that this
process has the lock, and can never have it. So whoever is in one is `busy`, and a fork waits.

Each thread has a lock of its own for that, which nobody else takes but who forks: a plain `with`
statement, which lets go of it whatever a signal handler raises at whatever moment.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
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

    def join(self, lock: Any) -> None:
        """Have a fork wait for this one, too."""
        with self._joining:
            self._locks.add(lock)

    def close(self) -> None:
        """Wait until no other thread is busy, and see to it that none becomes so."""
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
    """The lock of this thread, and what it is to do when it holds it no longer."""

    def __init__(self) -> None:
        self.lock: Any = threading.RLock()
        self.later: list[Callable[[], None]] = []
        _GATE.join(self.lock)


_GATE = _Gate()
_THREAD = _Thread()


def busy() -> Any:
    """Put off what `when_idle` is to do in this thread, and forks: it holds what they wait for.

    Give `catch_up` a chance afterwards.
    """
    return _THREAD.lock


def when_idle(act: Callable[[], None]) -> None:
    """Do something now, or once this thread is no longer `busy`.

    For what the garbage collector sets off, at any point: a log that it closes may need the very
    lock that this thread holds, and would wait for it in vain.
    """
    if is_mine(_THREAD.lock):
        _THREAD.later.append(act)
    else:
        act()


def catch_up() -> None:
    """Do what `when_idle` put off, if this thread is no longer `busy`."""
    do_later(_THREAD.later, lambda: not is_mine(_THREAD.lock))


def do_later(later: list[Callable[[], None]], allowed: Callable[[], bool]) -> None:
    """Do what was put off, the first first, as long as it is allowed."""
    while later and allowed():
        try:
            act = later.pop(0)
        except IndexError:  # a signal handler that came in between has done it
            return
        act()


def is_mine(lock: Any) -> bool:
    """Tell whether this thread holds an `RLock`; by the method that `threading.Condition` needs."""
    mine: bool = lock._is_owned()
    return mine


os.register_at_fork(before=_GATE.close, after_in_parent=_GATE.open, after_in_child=_GATE.forget)
