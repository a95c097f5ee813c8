"""SQLite's errors: waiting for others when the file is busy, and translating the rest to ours."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from traininglog import waiting
from traininglog.errors import (
    CorruptLog,
    NotATrainingLog,
    StoreFailed,
    StoreLocked,
    StoreUnwritable,
    TrainingLogError,
)
from traininglog.side_files import in_the_way, may

#: How many seconds a writer waits for others before it raises. They hold the file for milliseconds.
PATIENCE = 60.0

#: The name of a database in memory.
MEMORY = ":memory:"

_T = TypeVar("_T")


def patiently(act: Callable[[], _T], *, longest: float = 0.1, patience: float | None = None) -> _T:
    """Call `act`, again while the file is busy; SQLite's own timeout does not cover every case.

    `longest` is the longest pause between two tries, and `patience` the time to go on, in seconds.
    """
    deadline = time.monotonic() + (PATIENCE if patience is None else min(patience, PATIENCE))
    pause = 0.001
    while True:
        try:
            return act()
        except (DBAPIError, sqlite3.OperationalError) as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            # A random backoff, so that those who wait do not all come back together.
            waiting.pause(pause * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret
            pause = min(longest, pause * 2)


def is_busy(error: BaseException) -> bool:
    """Return whether an error says that the file is busy, so that the call may be repeated."""
    return code_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def code_of(error: BaseException) -> int:
    """Return SQLite's primary result code for an error of the driver or of SQLAlchemy."""
    original = getattr(error, "orig", error)
    return int(getattr(original, "sqlite_errorcode", 0)) & 0xFF


def busy_file() -> sqlite3.OperationalError:
    """Return the error that SQLite raises while another process writes."""
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_BUSY, "SQLITE_BUSY"
    return error


_TRANSLATIONS: dict[int, tuple[type[TrainingLogError], str]] = {
    sqlite3.SQLITE_BUSY: (
        StoreLocked, "{name} is held by another process; nothing is lost, try again later"
    ),
    sqlite3.SQLITE_LOCKED: (
        StoreLocked, "{name} is held by another thread; nothing is lost, try again later"
    ),
    sqlite3.SQLITE_READONLY: (
        StoreUnwritable,
        "{name} cannot be written ({reason}); make it writable, or use readonly=True",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        StoreUnwritable,
        "{name} cannot be opened ({reason}); check its permissions, its folder's, and `ulimit -n`",
    ),
    sqlite3.SQLITE_PERM: (
        StoreUnwritable, "{name} may not be opened ({reason}); check its permissions"
    ),
    sqlite3.SQLITE_PROTOCOL: (
        StoreLocked, "{name} is too busy ({reason}); nothing is lost, try again later"
    ),
    sqlite3.SQLITE_INTERRUPT: (StoreFailed, "{name} was not written: {reason}; try again"),
    sqlite3.SQLITE_FULL: (StoreFailed, "the disk of {name} is full; free space and try again"),
    sqlite3.SQLITE_IOERR: (StoreFailed, "{name} cannot be read or written: {reason}"),
    sqlite3.SQLITE_CORRUPT: (
        CorruptLog, "{name} is damaged ({reason}); it was left as it is, see `traininglog check`"
    ),
    sqlite3.SQLITE_NOTADB: (NotATrainingLog, "{name} is not a training log; it was left as it is"),
}  # fmt: skip


# Errors that our own statements never get from a file whose schema is as we made it. The first has
# no code in Python; SQLite gives the others the code of any error in a statement.
_SIGNS_OF_DAMAGE = (
    "Could not decode to UTF-8", "no such table: ", "no such column: ", "unsupported file format",
)  # fmt: skip


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Translate the database errors that a user can mend into ours; let bugs through."""
    try:
        yield
    except (DBAPIError, sqlite3.DatabaseError) as error:
        kind, message = _TRANSLATIONS.get(code_of(error), (None, ""))
        if any(sign in str(error) for sign in _SIGNS_OF_DAMAGE):
            kind, message = _TRANSLATIONS[sqlite3.SQLITE_CORRUPT]
        if kind is None:
            raise
        reason = getattr(error, "orig", error)
        if kind is StoreUnwritable and name != MEMORY:
            reason = _what_hinders(Path(name), code_of(error)) or reason
        raise kind(message.format(name=name, reason=reason)) from error
    except UnicodeDecodeError as error:  # SQLite's own message holds bytes of the file
        kind, message = _TRANSLATIONS[sqlite3.SQLITE_CORRUPT]
        raise kind(message.format(name=name, reason="text that is none")) from error


def _what_hinders(path: Path, code: int) -> str | None:
    """Return a message on the cause of SQLite's error; None if no cause is found."""
    # If this user may not write the file anyway, that is not why it cannot be opened.
    if code == sqlite3.SQLITE_CANTOPEN and path.exists() and not may(path, os.W_OK):
        return None
    return in_the_way(path)


@contextmanager
def distrustful(name: str) -> Iterator[None]:
    """Raise `CorruptLog` if a statement of ours does not fit the tables.

    It is for examining a file. Elsewhere this error is more likely a bug, and must look like one.
    """
    try:
        yield
    except (DBAPIError, sqlite3.DatabaseError) as error:
        if code_of(error) != sqlite3.SQLITE_ERROR:
            raise
        reason = getattr(error, "orig", error)
        raise CorruptLog(
            f"{name} is damaged: its tables are not as they were made ({reason}); it was left as "
            "it is, see `traininglog check`"
        ) from error
