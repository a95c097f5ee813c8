"""Whose turn it is to write a file: those who wait for it queue, across processes.

SQLite lets in whoever asks at the right moment. Where many write at once that is now and then the
same few, and one of the others waits for minutes. So who finds the file taken, or others waiting,
draws a number: it locks a byte of the file of locks (``runs.db-owners``), the one after the last
that is locked. It asks SQLite once no byte before its own is locked, and unlocks it as soon as it
is let in. The kernel drops the lock of a process that dies.

This is about fairness alone: who may write is up to SQLite's BEGIN IMMEDIATE. So nothing depends on
the queue. Where no number can be had, everybody asks again and again. And whoever is first and
makes no use of it, as a process that was stopped, is gone round: who has waited behind the same one
for a second asks SQLite, too, and, once let in, takes that one to be asleep. On a machine so busy
that everybody oversleeps, it takes that much longer: there the first one is slow, not stopped.

Nobody is blocked in the kernel: a signal handler may run, and write, at any moment of the wait, and
a patience is kept. The handler's transaction uses the number of the one that it interrupts.
"""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from traininglog import file_locks, waiting
from traininglog.sqlite.file import failures
from traininglog.sqlite.file.failures import is_busy, patiently

_T = TypeVar("_T")

# The bytes that are numbers lie between those of writers and those of takeovers; see `owners`.
_FIRST, _END = 2**61, 2**62

#: How long the same one may be first before it is gone round, in seconds.
ASLEEP = 1.0

# Who is first on a busy machine may only be slow: so many times what others there oversleep.
_LATE = 20

# How often a number is tried to be had that another process was faster to take.
_TRIES = 1000

# The pauses between two looks, in seconds: of who is first, of others for each place that they are
# behind, and of who goes round somebody, who might wake up.
_NEXT = (0.0005, 0.008)
_BEHIND = (0.001, 0.03)
_ROUND = 0.03


class Turns:
    """The queue at one database file, as who has it open sees it.

    Args:
        path: The file; None is a database in memory.

    """

    def __init__(self, path: Path | None) -> None:
        self._path: Path | None = None
        if path is not None and file_locks.OWN:
            real = path.resolve()
            self._path = real.with_name(real.name + "-owners")
        self._file: FileIO | None = None  # for looking

    def take(self, begin: Callable[[], _T], patience: float | None = None) -> _T:
        """Do what fails while others are in the way, once it is this one's turn.

        Args:
            begin: What to do. It raises SQLite's error for a busy file, at once.
            patience: How many seconds to wait at the most; then that error is raised.

        """
        if self._path is None:
            return patiently(begin, longest=_NEXT[1], patience=patience)
        longest = failures.PATIENCE if patience is None else min(patience, failures.PATIENCE)
        deadline = time.monotonic() + longest
        if not self._is_anybody_waiting():
            try:
                return begin()
            except (DBAPIError, sqlite3.OperationalError) as error:
                if not is_busy(error):
                    raise
        number = _Number()
        try:
            place = number.interrupted(self._path)
            if place is None:
                place = number.draw(self._path)
            return _wait(place, begin, deadline)
        finally:
            number.give_back()

    def _is_anybody_waiting(self) -> bool:
        assert self._path is not None  # noqa: S101 - who has none does not ask
        try:
            if self._file is None or os.fstat(self._file.fileno()).st_nlink == 0:
                self.close()
                self._file = _opened(self._path, "r")
            if self._file is None:
                return False
            asleep = _ASLEEP.get(self._path)
            if asleep:
                asleep.intersection_update(_still_locked(self._file, asleep))
            return _first(self._file, _FIRST, _END, asleep or set()) is not None
        except (OSError, ValueError, AttributeError):  # another thread has closed it
            return False

    def close(self) -> None:
        """Let go of the file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


class _Number:
    """A place in a queue, from `draw` on until it is given back or forgotten."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self.at: int | None = None
        self.file: FileIO | None = None
        self._thread = threading.get_ident()

    def interrupted(self, path: Path) -> _Number | None:
        """Return the number with which this thread waits already, in what a signal interrupted."""
        return next(
            (
                number
                for number in list(_WAITING)
                if number.at is not None
                and (number.path, number._thread) == (path, threading.get_ident())
            ),
            None,
        )

    def draw(self, path: Path) -> _Number:
        """Take the place after the last one; stay without where that cannot be."""
        self.path = path
        self.file = _opened(path, "r+")
        if self.file is not None:
            _WAITING.add(self)
            # A file system without such locks; or another thread has closed it.
            with suppress(OSError, ValueError):
                at = _FIRST
                for _ in range(_TRIES):  # more, and somebody has locked what he should not
                    while (place := _some(self.file, at, _END)) is not None:
                        at = place + 1
                    if file_locks.lock(self.file.fileno(), at):
                        self.at = at
                        break
        return self

    def ahead(self) -> tuple[int, int] | None:
        """Return who is first and how many places that is ahead; None: it is our turn."""
        file, at = self.file, self.at
        if file is None or at is None or self.path is None:
            return None
        try:
            first = _first(file, _FIRST, at, _ASLEEP.get(self.path, set()))
        except (OSError, ValueError):
            return None
        return None if first is None else (first, at - first)

    def go_round(self, first: int) -> None:
        """Take who is first to be asleep, as long as it has that number."""
        if self.path is not None:
            _ASLEEP.setdefault(self.path, set()).add(first)

    def give_back(self) -> None:
        """Leave the queue; another may follow."""
        file, self.file, self.at = self.file, None, None
        if file is not None:
            file.close()
        _WAITING.discard(self)

    def __del__(self) -> None:
        if self.file is not None:
            self.file.close()


#: Those of this process that wait.
_WAITING: weakref.WeakSet[_Number] = weakref.WeakSet()

#: By file of locks: the numbers of those who make no use of being first.
_ASLEEP: dict[Path, set[int]] = {}


def _wait(number: _Number, begin: Callable[[], _T], deadline: float) -> _T:
    first, since, pause = None, time.monotonic(), _NEXT[0]
    late = 0.0  # how much longer than asked for this one sleeps: all do on a busy machine
    while True:
        ahead = number.ahead()
        now = time.monotonic()
        if ahead is None or ahead[0] != first:
            if ahead is not None or first is not None:
                since, pause = now, _NEXT[0]
            first = None if ahead is None else ahead[0]
        rounding = ahead is not None and now - since > ASLEEP + _LATE * late
        if ahead is None or rounding or now >= deadline:
            try:
                done = begin()
            except (DBAPIError, sqlite3.OperationalError) as error:
                if now >= deadline or not is_busy(error):
                    raise
            else:
                if rounding and first is not None:
                    number.go_round(first)
                return done
        if ahead is None:
            pause = min(_NEXT[1], pause * 1.2)
        elif rounding:
            pause = _ROUND
        else:
            pause = min(_BEHIND[1], _BEHIND[0] * ahead[1])
        # With some chance in it, so that those who wait do not all come back together.
        seconds = pause * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
        asked = max(0.0, min(seconds, deadline - now))
        start = time.monotonic()
        waiting.pause(asked)
        late = max(0.9 * late, time.monotonic() - start - asked)


def _opened(path: Path, mode: str) -> FileIO | None:
    """Open a file of locks; None where there is none that this process can use."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return None
        # In one step: a signal handler that raises finds either nothing or an object that closes.
        return FileIO(path, mode)
    except OSError:
        return None


def _some(file: FileIO, start: int, stop: int) -> int | None:
    """Return some number of a stretch that somebody has."""
    return file_locks.some_locked(file.fileno(), start, stop - start)


def _first(file: FileIO, start: int, stop: int, asleep: set[int]) -> int | None:
    """Return the first number of a stretch that somebody has who is not asleep."""
    found = None
    while start < stop:
        place = _some(file, start, stop)
        if place is None:
            break
        # The kernel names the one that has waited longest, which mostly is the first.
        if place in asleep:
            before = _first(file, start, place, asleep)
            if before is not None:
                return before
            start = place + 1
        else:
            found = stop = place
    return found


def _still_locked(file: FileIO, places: set[int]) -> set[int]:
    return {place for place in list(places) if _some(file, place, place + 1) is not None}


def _after_fork_in_child() -> None:
    # What a child inherits would keep its parent's place after the parent has left it.
    for number in list(_WAITING):
        number.give_back()
    _ASLEEP.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
