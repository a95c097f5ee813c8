"""A file that is open: its connections, its WAL, and the queue of those that write it.

All databases of a process that write one file share this. So a log that is opened in a file that
the process has open opens no connection, and reads neither the schema nor the WAL's index again.

SQLite goes on writing to a WAL that another process has deleted, and no process finds these
commits. So a writer takes locks that protect the WAL (`guard`) as soon as the file is open, and
notes its device and inode. It compares these before each transaction and after each commit.
"""

from __future__ import annotations

import functools
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, event, pool
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.engine import Engine

from traininglog.errors import StoreFailed
from traininglog.sqlite.database.guard import Guard
from traininglog.sqlite.database.turns import Turns
from traininglog.sqlite.file import failures
from traininglog.sqlite.file.connections import Pool, connect, number_of, raw_of
from traininglog.sqlite.file.failures import MEMORY, patiently
from traininglog.sqlite.file.header import identity_of, uri_of, wal_path
from traininglog.sqlite.file.witness import Identity

# All files share one dialect and one cache of compiled statements. `create_engine` would make new
# ones for each file, and compiling the statements takes longer than all queries of a short run.
_DIALECT = pysqlite.dialect(dbapi=sqlite3)
_DIALECT.server_version_info = sqlite3.sqlite_version_info  # else the first engine would ask for it
_DIALECT.default_schema_name = "main"
_COMPILED: dict[Any, Any] = {}


class WalLost(StoreFailed):
    """The last commit went to a WAL that no process finds; it has to be written again."""

    code = "wal-lost"


class OpenFile:
    """The connections to one file (or to a database in memory), and what protects its WAL.

    It has users: the one that makes it, and each with whom it is shared. When the last one leaves,
    the connections are closed.

    Args:
        path: The file; None is a database in memory.
        user: The first user.

    """

    def __init__(self, path: Path | None, user: object) -> None:
        self.uri = MEMORY if path is None else uri_of(path)
        # Two engines, as writers and readers wait for others in different ways; see
        # `Database.write`.
        self.engine = engine_of(self.uri, failures.PATIENCE)
        self.writers = self.engine if path is None else engine_of(self.uri, 0)
        #: An engine that begins each transaction as a writer.
        self.writing = self.writers.execution_options(traininglog_begin="BEGIN IMMEDIATE")
        self.turns = Turns(path)
        self.wal = None if path is None else wal_path(path)  #: its path
        self._path = path
        self._guard: Guard | None = None  # only for a writer
        self._known: Identity | None = None  # the WAL that SQLite has opened
        self._watch: sqlite3.Connection | None = None
        # Held while `_watch` is used: closing a connection that another thread uses crashes the
        # process.
        self._watching = threading.RLock()
        self._users = {id(user)}

    # -- who uses it ------------------------------------------------------------------------

    def share(self, user: object) -> bool:
        """Add a user. Returns False if the last one has just left."""
        with _LOCK:
            if self._users:
                self._users.add(id(user))
            return bool(self._users)

    def leave(self, user: object) -> None:
        """Drop a user; a second call does nothing.

        The process that closes a file last also empties its WAL.
        """
        with _LOCK:
            if id(user) not in self._users:
                return
            self._users.remove(id(user))
            if self._users:
                return
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.release()  # so that the last close can empty the WAL
        self.dispose()
        if guard is not None:
            guard.leave()

    def dispose(self) -> None:
        """Close every connection; those that are in use close when they are returned."""
        with self._watching:
            if self._watch is not None:
                self._watch.close()
                self._watch = None
        self.engine.dispose()
        self.writers.dispose()
        self.turns.close()

    def forget(self) -> None:
        """Close every connection in a forked child, where another thread may have held the lock."""
        self._watching = threading.RLock()
        self.dispose()

    def version(self) -> object:
        """Return a token that changes with each write to the file, without a transaction."""
        with self._watching:
            watch = self._watch = self._watch or connect(self.uri, failures.PATIENCE)
            return number_of(watch), watch.execute("PRAGMA data_version").fetchall()[0][0]

    # -- the WAL ----------------------------------------------------------------------------

    def hold(self, identity: Identity) -> None:
        """Take locks of our own on the file and note its WAL, if nobody has done it yet."""
        if self._guard is None and self._path is not None:
            self._guard = Guard.of(self._path, identity)
            self.settle()

    def settle(self) -> None:
        """Open the WAL, hold it, and note its device and inode."""
        if self._guard is None or self.wal is None:
            return
        with self.engine.connect() as connection:  # a first read makes SQLite open the WAL
            patiently(connection.begin).rollback()
            patiently(lambda: raw_of(connection).execute("PRAGMA data_version").close())
            self._guard.hold()
            self._known = identity_of(self.wal)

    def is_lost(self) -> bool:
        """Return whether others find another WAL than the one that this process writes, or none.

        Takes the locks that could not be taken before.
        """
        if self._guard is None or self.wal is None:
            return False
        self._guard.hold()
        return self._known is not None and identity_of(self.wal) != self._known

    def salvage(self) -> bool:
        """Checkpoint a deleted WAL into the file; return whether all of it was copied."""
        connections = [engine.pool.idle() for engine in (self.writers, self.engine)
                       if isinstance(engine.pool, Pool)]  # fmt: skip
        for connection in filter(None, [*connections, self._watch]):
            with suppress(sqlite3.Error), self._watching:
                row = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()[0]
                if row[0] == 0 and row[1] == row[2]:
                    return True
        return False

    def forget_wal(self) -> None:
        """Forget the noted WAL. No connection of this process may be open."""
        self._known = None
        if self._guard is not None:
            self._guard.renew()

    def wal_size(self) -> int:
        """Return the size of the WAL in bytes; 0 if there is none."""
        try:
            return 0 if self.wal is None else self.wal.stat().st_size
        except OSError:
            return 0

    @contextmanager
    def alone(self) -> Iterator[Callable[[sqlite3.Connection], None]]:
        """Yield a function that begins a transaction and shuts out other writing processes.

        The function raises SQLite's error for a busy file if another process is writing. The lock
        is released on exit.
        """
        guard, entered = self._guard, False

        def begin(connection: sqlite3.Connection) -> None:
            nonlocal entered
            connection.execute("BEGIN IMMEDIATE")
            if guard is None:
                return
            entered = guard.enter()
            if not entered:  # another process is writing, and has lost SQLite's lock
                connection.rollback()
                raise failures.busy_file()

        try:
            yield begin
        finally:
            if entered and guard is not None:
                guard.exit()

    def sync(self) -> None:
        """Wait until the disk has all of the WAL, and its name. Raises `StoreFailed`."""
        if self._guard is None or self.wal is None:
            return
        try:
            for path in (self.wal, self.wal.parent):  # the folder keeps the name
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as error:
            raise StoreFailed(f"{self.wal} cannot be written: {error.strerror}") from error


def engine_of(uri: str, timeout: float) -> Engine:
    """Return an engine whose connections wait up to `timeout` seconds for others."""
    kind = pool.StaticPool if uri == MEMORY else Pool
    connecting: Callable[[], Any] = functools.partial(connect, uri, timeout)
    engine = Engine(kind(connecting, dialect=_DIALECT), _DIALECT, URL.create("sqlite"))
    engine.update_execution_options(compiled_cache=_COMPILED)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if not raw_of(connection).in_transaction:
            options = connection.get_execution_options()
            connection.exec_driver_sql(options.get("traininglog_begin", "BEGIN"))

    return engine


_LOCK = threading.RLock()  # a signal handler may open a log while the program does


def _after_fork_in_child() -> None:
    global _LOCK  # noqa: PLW0603 - another thread of the parent may have held it
    _LOCK = threading.RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)
