"""The WAL of a file that is open for writing here: held, and known to be the one others find.

SQLite goes on writing to a WAL that somebody has deleted, where nobody finds what is committed. So
what holds it (`guard`) is taken as soon as it is open, and its device and inode are noted; they are
compared before each transaction and after each commit.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from traininglog.errors import StoreFailed
from traininglog.sqlite.database.guard import Guard
from traininglog.sqlite.file import failures
from traininglog.sqlite.file.header import identity_of, wal_path
from traininglog.sqlite.file.witness import Identity


class WalLost(StoreFailed):
    """What was just committed is where nobody finds it; it has to be written again."""

    code = "wal-lost"


class LiveWal:
    """The WAL of one file, as one `Database` has it open.

    Args:
        path: The file.
        identity: Its device and inode.

    """

    def __init__(self, path: Path, identity: Identity) -> None:
        self.path = wal_path(path)
        self._guard = Guard.of(path, identity)
        self._known: Identity | None = None

    # -- which one it is --------------------------------------------------------------------

    def note(self) -> None:
        """Hold the WAL that SQLite has just opened, and note which one it is."""
        self._guard.hold()
        self._known = identity_of(self.path)

    def hold(self) -> None:
        """Take what could not be taken before."""
        self._guard.hold()

    @property
    def is_lost(self) -> bool:
        """Whether others find another WAL than the one that is written to, or none."""
        return self._known is not None and identity_of(self.path) != self._known

    @property
    def is_gone(self) -> bool:
        """Whether there is none by its name."""
        return identity_of(self.path) is None

    def forget(self) -> None:
        """Forget which one it was. No connection of this process may be open."""
        self._known = None
        self._guard.renew()

    def size(self) -> int:
        """Return how large it is, in bytes; 0 where there is none."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    # -- what is written to it --------------------------------------------------------------

    @contextmanager
    def alone(self) -> Iterator[Callable[[sqlite3.Connection], None]]:
        """Give what begins a transaction in which no other process writes, until this is left.

        It raises SQLite's error for a busy file where another one does.
        """
        entered = False

        def begin(connection: sqlite3.Connection) -> None:
            nonlocal entered
            connection.execute("BEGIN IMMEDIATE")
            entered = self._guard.enter()
            if not entered:  # another process that writes has lost SQLite's lock
                connection.rollback()
                raise failures.busy_file()

        try:
            yield begin
        finally:
            if entered:
                self._guard.exit()

    def sync(self) -> None:
        """Wait until the disk has all of it, and its name. Raises `StoreFailed`."""
        try:
            for path in (self.path, self.path.parent):  # whose name is the parent's to keep
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as error:
            raise StoreFailed(f"{self.path} cannot be written: {error.strerror}") from error

    # -- the end ----------------------------------------------------------------------------

    def release(self) -> None:
        """Let whoever closes the file last empty it; `leave` follows once that is done."""
        self._guard.release()

    def leave(self) -> None:
        """Use it no longer: every connection of ours is closed."""
        self._guard.leave()
