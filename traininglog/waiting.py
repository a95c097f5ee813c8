"""Waiting for others: a thread sleeps, or does work that cannot wait.

A writer may have to wait for a minute until another process releases a file. Meanwhile its owner
thread serves assignments, and it ends the wait before a fork. So code that waits for others sleeps
by `pause`, a little at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Sleeps for so many seconds, or works meanwhile. It may raise an error that ends the wait.
Meanwhile = Callable[[float], None]

_THREAD = threading.local()


def pause(seconds: float) -> None:
    """Sleep, or call the function that `meanwhile` has set for this thread."""
    act: Meanwhile = getattr(_THREAD, "act", time.sleep)
    act(seconds)


@contextmanager
def meanwhile(act: Meanwhile) -> Iterator[None]:
    """Make `pause` call a function in this thread, instead of sleeping, until the block ends."""
    before = getattr(_THREAD, "act", time.sleep)
    _THREAD.act = act
    try:
        yield
    finally:
        _THREAD.act = before
