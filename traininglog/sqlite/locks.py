"""The locks of an open run, and what has to wait until a thread is out of them.

Three locks, always taken in this order: that of `saving`, by whoever changes the file; `reading`,
while records are read back; `state`, for what is in memory. The last is never held while anything
waits for the file, and an assignment mostly needs none of them.

All are re-entrant, as a signal handler may assign at any point, in a thread that holds them. What
cannot be done there is put off, and done when what it interrupted is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from traininglog.sqlite.forks import busy


class Locks:
    """The locks of one open run."""

    def __init__(self) -> None:
        self.reading = threading.RLock()
        self.state = threading.RLock()
        self.inside = False  #: whether what is in memory is being changed
        self.later: list[Callable[[], None]] = []  #: what was put off
        self._saving = threading.RLock()
        self._saver: int | None = None  # the thread that is in `saving`

    @property
    def saving_here(self) -> bool:
        """Whether it is this thread that changes the file."""
        return self._saver == threading.get_ident()

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Be the one thread that changes the file."""
        with busy():
            with self._saving:
                before, self._saver = self._saver, threading.get_ident()
                try:
                    yield
                finally:
                    self._saver = before
            if before is None:
                self.catch_up()

    @contextmanager
    def memory(self) -> Iterator[None]:
        """Change what is in memory, alone."""
        with self.state:
            before, self.inside = self.inside, True
            try:
                yield
            finally:
                self.inside = before

    def put_off(self, act: Callable[[], None]) -> bool:
        """Have something done later if this thread is in the midst of a change; tell whether."""
        with self.state:
            interrupts = self.inside or self.saving_here
            if interrupts:
                self.later.append(act)
            return interrupts

    def catch_up(self) -> None:
        """Do what signal handlers could not."""
        while self.later and not self.inside and not self.saving_here:
            self.later.pop(0)()

    def forget(self) -> None:
        """Begin anew, in a forked child: another thread of the parent may have held the old."""
        self._saving, self.reading = threading.RLock(), threading.RLock()
        self.state = threading.RLock()
        self.inside, self._saver = False, None
        self.later = []
