"""The connections to a file: how they are opened, kept for the next who needs one, and closed."""

from __future__ import annotations

import itertools
import sqlite3
import sys
import weakref
from collections import deque
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, pool

_NUMBERS = itertools.count()


def raw_of(connection: Connection) -> sqlite3.Connection:
    """Return the connection of the driver under one of SQLAlchemy."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)  # noqa: S101 - an open connection has one
    return raw


def number_of(raw: sqlite3.Connection) -> int:
    """Return the number of a connection, which no other one of this process ever has."""
    assert isinstance(raw, _Connection)  # noqa: S101 - `connect` makes no others
    return raw.number


def connect(uri: str, timeout: float) -> sqlite3.Connection:
    """Open a connection that waits so many seconds for others."""
    connection = sqlite3.connect(
        uri,
        uri=True,
        timeout=timeout,
        isolation_level=None,  # transactions are ours: no BEGIN behind our back
        check_same_thread=False,  # the pool hands a connection to one thread at a time
        cached_statements=32,  # those that insert thousands of rows take memory
        factory=_Connection,
    )
    try:
        connection.uri = uri
        _LIVE.add(connection)
        guard(connection)
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        # Once the WAL was copied and is begun anew, cut it: it tells by its size when to copy.
        connection.execute("PRAGMA journal_size_limit = 0").fetchall()
    except BaseException:  # Python 3.13 warns of one that nobody closes
        connection.close()
        raise
    return connection


# Those that are open, by a path of their file, for who must know that none is.
_LIVE: weakref.WeakSet[_Connection] = weakref.WeakSet()


def is_connected(uri: str) -> bool:
    """Tell whether this process has a connection that was opened by this URI."""
    return any(connection.uri == uri for connection in list(_LIVE))


def guard(connection: sqlite3.Connection, *, defensive: bool = True) -> None:
    """Have SQLite trust nothing that a file says: it may be anybody's.

    Functions with side effects are not called from its schema, and no cell is believed to end where
    it says. Where Python can ask for it (from 3.12 on), no trigger runs either, and no statement
    can damage the file.

    Args:
        connection: Of which nothing has been asked yet.
        defensive: Whether the schema cannot be written, nor asked to be taken as it is.

    """
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_TRUSTED_SCHEMA, False)
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, defensive)


class _Connection(sqlite3.Connection):
    """Lets go of the file as it is closed, and has a number that no other one ever had.

    SQLite goes on holding it as long as there is a cursor that was not read to its end; after
    Ctrl-C, the exception's traceback has one.
    """

    uri = ""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.number = next(_NUMBERS)

    def close(self) -> None:
        with suppress(sqlite3.Error):  # it is closed already
            self.rollback()
        super().close()
        _LIVE.discard(self)


class Pool(pool.NullPool):
    """Opens connections that are needed, and keeps one of those that nobody uses.

    Without a lock: a signal handler may read while the program does, and those of SQLAlchemy's
    pools are conditions, which Ctrl-C at the wrong moment leaves held for good.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._idle: deque[pool.ConnectionPoolEntry] = deque()
        self._disposed = False

    def _do_get(self) -> pool.ConnectionPoolEntry:
        with suppress(IndexError):
            return self._idle.pop()
        return super()._do_get()

    def _do_return_conn(self, record: pool.ConnectionPoolEntry) -> None:
        if self._idle or self._disposed:
            record.close()
        else:
            self._idle.append(record)

    def dispose(self) -> None:
        """Close the one that nobody uses, and those that are in use when they come back."""
        self._disposed = True
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def idle(self) -> sqlite3.Connection | None:
        """Return the connection that nobody uses, and leave it where it is."""
        waiting = list(self._idle)
        connection = waiting[-1].dbapi_connection if waiting else None
        return connection if isinstance(connection, sqlite3.Connection) else None

    def recreate(self) -> Pool:
        """Return one like this, with no connections."""
        return type(self)(self._creator, _dispatch=self.dispatch, dialect=self._dialect)
