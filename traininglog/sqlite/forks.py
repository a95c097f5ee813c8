"""Forks, and what must not be cut in two by one.

A child that inherits a connection in the midst of a transaction inherits SQLite's belief that this
process has the lock, and can never have it. So whoever is in one is `busy`, and a fork waits.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable


class _Thread(threading.local):
    """How deep in work of ours this thread is, and what it is to do when it is out of it."""

    def __init__(self) -> None:
        self.depth = 0
        self.later: list[Callable[[], None]] = []


_THREAD = _Thread()

# How long a fork waits for the transactions of other threads.
_FORK_PATIENCE = 5.0


class _Gate:
    """Lets threads do what must not be cut in two by a fork, and a fork in between."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._forking = False

    def enter(self) -> None:
        with self._changed:
            while self._forking:
                self._changed.wait()
            self._inside += 1

    def leave(self) -> None:
        with self._changed:
            self._inside -= 1
            if self._forking:
                self._changed.notify_all()

    def close(self) -> None:
        """Wait until no other thread is inside."""
        mine = int(_THREAD.depth > 0)
        with self._changed:
            self._forking = True
            self._changed.wait_for(lambda: self._inside <= mine, _FORK_PATIENCE)

    def open(self) -> None:
        with self._changed:
            self._forking = False
            self._changed.notify_all()

    def forget(self) -> None:
        """Begin anew, in a child that has only the thread that forked it."""
        self._changed = threading.Condition()
        self._inside = int(_THREAD.depth > 0)
        self._forking = False


_GATE = _Gate()


class _Busy:
    """See `busy`."""

    def __enter__(self) -> None:
        if not _THREAD.depth:
            _GATE.enter()
        _THREAD.depth += 1

    def __exit__(self, *_: object) -> None:
        _THREAD.depth -= 1
        if not _THREAD.depth:
            _GATE.leave()
            while not _THREAD.depth:
                try:
                    act = _THREAD.later.pop()
                except IndexError:  # as in `Locks.catch_up`
                    return
                act()


_BUSY = _Busy()


def busy() -> _Busy:
    """Put off what `when_idle` is to do in this thread, and forks: it holds what they wait for."""
    return _BUSY


def when_idle(act: Callable[[], None]) -> None:
    """Do something now, or as soon as this thread is no longer `busy`.

    For what the garbage collector sets off, at any point: a log that it closes may need the very
    lock that this thread holds, and would wait for it in vain.
    """
    if _THREAD.depth:
        _THREAD.later.append(act)
    else:
        act()


os.register_at_fork(before=_GATE.close, after_in_parent=_GATE.open, after_in_child=_GATE.forget)
