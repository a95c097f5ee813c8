"""The locks of an open run, and what has to wait until a thread is out of them.

Always taken in this order: `saving`, by whoever changes the file; `reading`, while records are read
back; `state`, for what is in memory; `changing`, by whoever changes that. The last two are never
held while anything waits for the file, and an assignment mostly needs none of them.

All are re-entrant, as a signal handler may assign at any point, in a thread that holds them. What
cannot be done there is put off, and done when what it interrupted is. They are held by plain `with`
statements: those let go of them even if the handler raises an exception at the very first moment,
as Ctrl-C does, where a context manager written in Python would hold them until it is forgotten.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from traininglog.sqlite import forks
from traininglog.sqlite.forks import is_mine


class Locks:
    """The locks of one open run."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, in a forked child: another thread of the parent may have held the old."""
        self.saving = threading.RLock()
        self.reading = threading.RLock()
        self.state = threading.RLock()
        self.changing = threading.RLock()
        self.later: list[Callable[[], None]] = []  #: what was put off

    @property
    def saving_here(self) -> bool:
        """Whether it is this thread that changes the file."""
        return is_mine(self.saving)

    @property
    def changing_here(self) -> bool:
        """Whether it is this thread that changes what is in memory."""
        return is_mine(self.changing)

    @property
    def held_here(self) -> bool:
        """Whether this thread is in the midst of something that a flush would get in the way of."""
        return self.changing_here or self.saving_here or is_mine(self.reading)

    def put_off(self, act: Callable[[], None]) -> bool:
        """Have something done later if this thread is in the midst of another; tell whether."""
        interrupts = self.held_here
        if interrupts:
            self.later.append(act)
        return interrupts

    def catch_up(self) -> None:
        """Do what signal handlers could not. To be called on leaving `saving` or `reading`."""
        forks.catch_up()
        forks.do_later(self.later, lambda: not self.held_here)
