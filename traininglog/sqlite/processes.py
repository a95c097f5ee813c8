"""The logs that this process writes: what must happen to them as it forks, and as it ends."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from functools import partial
from typing import Protocol

from traininglog.sqlite.forks import when_idle


class Alive(Protocol):
    """What must be told."""

    closed: bool

    def abandon(self) -> None:
        """Close for a log that is no longer there to do it."""

    def before_fork(self) -> None:
        """The process is about to fork."""

    def after_fork_in_parent(self) -> None:
        """It has; this is the parent."""

    def after_fork_in_child(self) -> None:
        """It has; this is the child."""


_ALIVE: weakref.WeakValueDictionary[int, Alive] = weakref.WeakValueDictionary()

_CLOSING_WITH_WORKER: dict[int, bool] = {}


# Writers of logs that nobody holds any more, until they are closed. Held here: the thread that was
# to do it, once it is idle, may end before.
_LEFT: dict[int, Alive] = {}

_ENDED = threading.Event()  # set when the logs of an ending interpreter have been closed


def remember(writer: Alive) -> None:
    """Tell this one, too, for as long as it is there."""
    if _ENDED.is_set() and threading.current_thread() is not threading.main_thread():
        writer.closed = True  # a daemon thread is about to be stopped, and would leave it open
    _ALIVE[id(writer)] = writer


def let_go(writer: Alive) -> None:
    """Close for a log that nobody holds any more: now, or as soon as this thread is not busy.

    The garbage collector calls this, in any thread.
    """
    _LEFT[id(writer)] = writer
    when_idle(partial(_abandon, writer))


def _abandon(writer: Alive) -> None:
    try:
        writer.abandon()
    finally:
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
    """Close what is still open as the interpreter ends.

    What was held has been closed. But a daemon thread that was just closing a log, for itself or
    for the garbage collector, would be stopped in the midst of it; here it is waited for.
    """
    _ENDED.set()
    _abandon_all()


class _Interpreter:
    """Stands for the interpreter, for the sake of its finalizer."""


_INTERPRETER = _Interpreter()
# Made before that of any log, so that it is called after them; what `atexit` knows may be called
# before them.
weakref.finalize(_INTERPRETER, _end)


def _before_fork() -> None:
    for writer in list(_ALIVE.values()):
        writer.before_fork()


def _after_fork_in_parent() -> None:
    for writer in list(_ALIVE.values()):
        writer.after_fork_in_parent()


def _after_fork_in_child() -> None:
    _LEFT.clear()  # the parent closes them
    for writer in list(_ALIVE.values()):
        writer.after_fork_in_child()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
