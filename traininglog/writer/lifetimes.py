"""The logs that this process writes: what happens to them as nobody holds them, and as it ends."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import Protocol


class Alive(Protocol):
    """What must be told."""

    closed: bool

    def abandon(self) -> None:
        """Close for a log that is no longer there to do it."""

    def forget(self) -> None:
        """Be of no use, in a forked child: the run is the parent's."""


_ALIVE: weakref.WeakValueDictionary[int, Alive] = weakref.WeakValueDictionary()

# Writers of logs that nobody holds any more, until they are closed.
_LEFT: dict[int, Alive] = {}

_CLOSING_WITH_WORKER: dict[int, bool] = {}

_ENDED = threading.Event()  # set when the logs of an ending interpreter have been closed


def remember(writer: Alive) -> None:
    """Close this one as the interpreter ends, if it is still there."""
    if _ENDED.is_set() and threading.current_thread() is not threading.main_thread():
        writer.closed = True  # a daemon thread is about to be stopped, and would leave it open
    _ALIVE[id(writer)] = writer


def hold(writer: Alive) -> None:
    """Hold a writer whose log is gone, until it is closed."""
    _LEFT[id(writer)] = writer


def release(writer: Alive) -> None:
    """Hold it no longer."""
    _LEFT.pop(id(writer), None)


def close_with_worker() -> None:
    """See to it that the end of a `multiprocessing` worker closes its logs.

    It leaves by `os._exit`, so that what Python does for others at their end is not done.
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
    """Stands for the interpreter, for the sake of its finalizer."""


_INTERPRETER = _Interpreter()
# Made before that of any log, so that it is called after them; what `atexit` knows may be called
# before them.
weakref.finalize(_INTERPRETER, _end)


def _after_fork_in_child() -> None:
    _LEFT.clear()  # the parent closes them
    for writer in list(_ALIVE.values()):
        writer.forget()


os.register_at_fork(after_in_child=_after_fork_in_child)
