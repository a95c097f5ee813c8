"""A fair queue, across processes, of the writers that wait for a file.

SQLite admits the writer that asks at the right moment. If many write at once, now and then the same
few win, and another one waits for minutes. So a writer that finds the file taken, or others
waiting, draws a number: it locks a byte of the file of locks (``runs.db-owners``), the one after
the last that is locked. It asks SQLite once no byte before its own is locked, and unlocks its byte
as soon as SQLite admits it. The kernel drops the lock of a process that dies.

The queue is only for fairness: SQLite's BEGIN IMMEDIATE decides who may write. So correctness does
not depend on the queue. If no number can be drawn, each writer asks SQLite again and again. A first
in the queue that does not write, as a stopped process, is passed over: a writer that has waited
behind the same one for a second asks SQLite, too. Once admitted, it takes the first one to be
asleep. On a machine so busy that sleeps take too long, the wait for the first one is longer than a
second: there it is slow, not stopped.

No writer blocks in the kernel: a signal handler may run, and write, at any moment of the wait, and
the wait ends when the patience does. The handler's transaction uses the number of the wait that it
interrupts.
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

# The bytes of the queue lie between those of writers and those of takeovers; see `leases`.
_FIRST, _END = 2**61, 2**62

#: How long the same number may be first before it is passed over, in seconds.
ASLEEP = 1.0

# The first one on a busy machine may only be slow. So `ASLEEP` is extended by this many times the
# time by which a sleep here was too long.
_LATE = 20

# How often to try for a number when other processes take each one first.
_TRIES = 1000

# The pauses between two tries, in seconds: of the first one, of the others for each place that they
# are behind, and of one that passes over another, which might wake up.
_NEXT = (0.0005, 0.008)
_BEHIND = (0.001, 0.03)
_ROUND = 0.03


class Turns:
    """The queue at one database file, for one user of the file.

    Args:
        path: The file; None is a database in memory.

    """

    def __init__(self, path: Path | None) -> None:
        self._path: Path | None = None
        if path is not None and file_locks.OWN:
            real = path.resolve()
            self._path = real.with_name(real.name + "-owners")
        self._file: FileIO | None = None  # to see whether others wait

    def take(self, begin: Callable[[], _T], patience: float | None = None) -> _T:
        """Wait for our turn, then call `begin`, until it does not find the file busy.

        Args:
            begin: The function to call. It raises SQLite's error for a busy file, at once.
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
        assert self._path is not None  # noqa: S101 - the caller has checked
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
        """Close the file of locks."""
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
        """Return the number with which this thread waits already, in a wait that a signal broke."""
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
        """Take the place after the last one; if that fails, stay without a number."""
        self.path = path
        self.file = _opened(path, "r+")
        if self.file is not None:
            _WAITING.add(self)
            # The file system may lack these locks, or another thread may have closed the file.
            with suppress(OSError, ValueError):
                at = _FIRST
                for _ in range(_TRIES):  # if all fail, a foreign program holds locks here
                    while (place := _some(self.file, at, _END)) is not None:
                        at = place + 1
                    if file_locks.lock(self.file.fileno(), at):
                        self.at = at
                        break
        return self

    def ahead(self) -> tuple[int, int] | None:
        """Return the first number and how many places it is ahead; None: it is our turn."""
        file, at = self.file, self.at
        if file is None or at is None or self.path is None:
            return None
        try:
            first = _first(file, _FIRST, at, _ASLEEP.get(self.path, set()))
        except (OSError, ValueError):
            return None
        return None if first is None else (first, at - first)

    def go_round(self, first: int) -> None:
        """Mark the owner of the first number as asleep, as long as it holds that number."""
        if self.path is not None:
            _ASLEEP.setdefault(self.path, set()).add(first)

    def give_back(self) -> None:
        """Leave the queue, so that the next one can follow."""
        file, self.file, self.at = self.file, None, None
        if file is not None:
            file.close()
        _WAITING.discard(self)

    def __del__(self) -> None:
        if self.file is not None:
            self.file.close()


#: The numbers with which this process waits.
_WAITING: weakref.WeakSet[_Number] = weakref.WeakSet()

#: The numbers that were first and did not write, by file of locks.
_ASLEEP: dict[Path, set[int]] = {}


def _wait(number: _Number, begin: Callable[[], _T], deadline: float) -> _T:
    first, since, pause = None, time.monotonic(), _NEXT[0]
    late = 0.0  # how much longer than asked for a sleep takes: on a busy machine all do
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
        # Random, so that those who wait do not all come back together.
        seconds = pause * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
        asked = max(0.0, min(seconds, deadline - now))
        start = time.monotonic()
        waiting.pause(asked)
        late = max(0.9 * late, time.monotonic() - start - asked)


def _opened(path: Path, mode: str) -> FileIO | None:
    """Open a file of locks; None if there is none that this process can use."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return None
        # In one step: a signal handler that raises leaves no file, or an object that closes itself.
        return FileIO(path, mode)
    except OSError:
        return None


def _some(file: FileIO, start: int, stop: int) -> int | None:
    """Return a number of a stretch that another process holds, or None."""
    return file_locks.some_locked(file.fileno(), start, stop - start)


def _first(file: FileIO, start: int, stop: int, asleep: set[int]) -> int | None:
    """Return the first number of a stretch that is held, by a process that is not asleep."""
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
    # An inherited descriptor would keep the parent's place after the parent has left it.
    for number in list(_WAITING):
        number.give_back()
    _ASLEEP.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
