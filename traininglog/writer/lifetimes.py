"""The logs that this process writes: closing them as they become garbage, and as it ends."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import Protocol


class Alive(Protocol):
    """A writer that has to hear of the end of the interpreter, and of forks."""

    closed: bool

    def abandon(self) -> None:
        """Close for a log that can no longer do it itself."""

    def forget(self) -> None:
        """Drop everything in a forked child: the run is the parent's."""


_ALIVE: weakref.WeakValueDictionary[int, Alive] = weakref.WeakValueDictionary()

# Writers of logs that nothing refers to any more, until they are closed.
_LEFT: dict[int, Alive] = {}

_CLOSING_WITH_WORKER: dict[int, bool] = {}

_ENDED = threading.Event()  # set when the logs of an ending interpreter have been closed


def remember(writer: Alive) -> None:
    """Register a writer, so that the end of the interpreter closes it if it still exists."""
    if _ENDED.is_set() and threading.current_thread() is not threading.main_thread():
        writer.closed = True  # Python is about to stop this daemon thread, which would not close it
    _ALIVE[id(writer)] = writer


def hold(writer: Alive) -> None:
    """Keep a writer alive whose log is gone, until it is closed."""
    _LEFT[id(writer)] = writer


def release(writer: Alive) -> None:
    """Drop a closed writer, so that it can be collected."""
    _LEFT.pop(id(writer), None)


def close_with_worker() -> None:
    """Make sure that the end of a `multiprocessing` worker closes its logs.

    A worker leaves by `os._exit`, so that Python runs no finalizers at its end.
    """
    util = sys.modules.get("multiprocessing.util")
    if util is None or _CLOSING_WITH_WORKER.get(os.getpid()):
        return
    from multiprocessing import parent_process

    if parent_process() is not None:
        _CLOSING_WITH_WORKER.clear()
        _CLOSING_WITH_WORKER[os.getpid()] = True
        util.Finalize(None, _abandon_all, exitpriority=10)


def _abandon_all() -> None:
    for writer in list(_ALIVE.values()):
        if not writer.closed:
            writer.abandon()


def _end() -> None:
    """Close what is still open as the interpreter ends."""
    _ENDED.set()
    _abandon_all()


class _Interpreter:
    """A stand-in for the interpreter: an object that lives as long, for its finalizer."""


_INTERPRETER = _Interpreter()
# This finalizer is made before that of any log, so Python calls it after them. An `atexit` hook
# might run before them.
weakref.finalize(_INTERPRETER, _end)


def _after_fork_in_child() -> None:
    _LEFT.clear()  # the parent closes them
    for writer in list(_ALIVE.values()):
        writer.forget()


os.register_at_fork(after_in_child=_after_fork_in_child)
