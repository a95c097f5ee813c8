"""The logs that this process writes: what must happen to them as it forks, and as it ends."""

from __future__ import annotations

import os
import sys
import weakref
from typing import Protocol


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


def remember(writer: Alive) -> None:
    """Tell this one, too, for as long as it is there."""
    _ALIVE[id(writer)] = writer


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


def _before_fork() -> None:
    for writer in list(_ALIVE.values()):
        writer.before_fork()


def _after_fork_in_parent() -> None:
    for writer in list(_ALIVE.values()):
        writer.after_fork_in_parent()


def _after_fork_in_child() -> None:
    for writer in list(_ALIVE.values()):
        writer.after_fork_in_child()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
