"""What a thread does while it waits for others: it sleeps, or sees to what cannot wait.

A writer may have to wait for a minute until another process lets go of a file. Its owner thread
serves those who assign meanwhile, and ends the wait before a fork. So whoever waits for others
sleeps by `pause`, a little at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Sleeps for so many seconds, and may raise what ends the wait.
Meanwhile = Callable[[float], None]

_THREAD = threading.local()


def pause(seconds: float) -> None:
    """Sleep, and see to what cannot wait if this thread has said how."""
    act: Meanwhile = getattr(_THREAD, "act", time.sleep)
    act(seconds)


@contextmanager
def meanwhile(act: Meanwhile) -> Iterator[None]:
    """Have `pause` call something in this thread, instead of sleeping, until the block ends."""
    before = getattr(_THREAD, "act", time.sleep)
    _THREAD.act = act
    try:
        yield
    finally:
        _THREAD.act = before
