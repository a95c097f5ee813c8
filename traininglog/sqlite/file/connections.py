"""The connections to a file: opening them, keeping idle ones, and closing them."""

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
    """Return the driver's connection under one of SQLAlchemy."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)  # noqa: S101 - an open connection has one
    return raw


def number_of(raw: sqlite3.Connection) -> int:
    """Return the number of a connection, which is unique in this process."""
    assert isinstance(raw, _Connection)  # noqa: S101 - `connect` makes no others
    return raw.number


def connect(uri: str, timeout: float) -> sqlite3.Connection:
    """Open a connection that waits up to `timeout` seconds for others."""
    connection = sqlite3.connect(
        uri,
        uri=True,
        timeout=timeout,
        isolation_level=None,  # the driver must not BEGIN by itself
        check_same_thread=False,  # the pool gives a connection to one thread at a time
        cached_statements=32,  # a statement that inserts thousands of rows takes memory
        factory=_Connection,
    )
    try:
        connection.uri = uri
        _LIVE.add(connection)
        guard(connection)
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        # Truncate the WAL when it is restarted after a checkpoint: its size decides when the next
        # checkpoint is due.
        connection.execute("PRAGMA journal_size_limit = 0").fetchall()
    except BaseException:  # Python 3.13 warns of a connection that is not closed
        connection.close()
        raise
    return connection


# The open connections of this process, for `is_connected`.
_LIVE: weakref.WeakSet[_Connection] = weakref.WeakSet()


def is_connected(uri: str) -> bool:
    """Return whether this process has an open connection with this URI."""
    return any(connection.uri == uri for connection in list(_LIVE))


def guard(connection: sqlite3.Connection, *, defensive: bool = True) -> None:
    """Make SQLite distrust the contents of a file, which may come from anywhere.

    SQLite then calls no functions with side effects from the schema, and checks the size of each
    cell. From Python 3.12 on, it also runs no triggers, and no statement can damage the file.

    Args:
        connection: A connection that has not run a statement yet.
        defensive: Whether to forbid ``PRAGMA writable_schema``, which lets a statement write the
            schema, or read a damaged one.

    """
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_TRUSTED_SCHEMA, False)
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, defensive)


class _Connection(sqlite3.Connection):
    """A connection with a unique number, which releases the file when it is closed.

    SQLite would keep the file open while there is a cursor that was not read to its end; after
    Ctrl-C, the exception's traceback holds one.
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
    """Opens connections as needed, and keeps one idle connection.

    It has no lock, as a signal handler may read while the program does. The locks of SQLAlchemy's
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
        """Close the idle connection, and each used connection when it is returned."""
        self._disposed = True
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def idle(self) -> sqlite3.Connection | None:
        """Return the idle connection, and keep it in the pool."""
        waiting = list(self._idle)
        connection = waiting[-1].dbapi_connection if waiting else None
        return connection if isinstance(connection, sqlite3.Connection) else None

    def recreate(self) -> Pool:
        """Return a pool like this one, without connections."""
        return type(self)(self._creator, _dispatch=self.dispatch, dialect=self._dialect)
