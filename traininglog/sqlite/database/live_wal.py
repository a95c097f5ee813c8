"""The WAL of a file that is open for writing here, held and checked to be the one others find.

SQLite goes on writing to a WAL that another process has deleted, and no process finds these
commits. So the writer takes locks that protect it (`guard`) as soon as it is open, and notes its
device and inode. It compares these before each transaction and after each commit.
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
    """The last commit went to a WAL that no process finds; it has to be written again."""

    code = "wal-lost"


class LiveWal:
    """The WAL of one file, for one open `Database`.

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
        """Hold the WAL that SQLite has just opened, and note its device and inode."""
        self._guard.hold()
        self._known = identity_of(self.path)

    def hold(self) -> None:
        """Take the locks that could not be taken before."""
        self._guard.hold()

    @property
    def is_lost(self) -> bool:
        """Whether others find another WAL than the one that this process writes, or none."""
        return self._known is not None and identity_of(self.path) != self._known

    @property
    def is_gone(self) -> bool:
        """Whether no file has the WAL's name."""
        return identity_of(self.path) is None

    def forget(self) -> None:
        """Forget the noted WAL. No connection of this process may be open."""
        self._known = None
        self._guard.renew()

    def size(self) -> int:
        """Return the size of the WAL in bytes; 0 if there is none."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    # -- writing to it ----------------------------------------------------------------------

    @contextmanager
    def alone(self) -> Iterator[Callable[[sqlite3.Connection], None]]:
        """Yield a function that begins a transaction and shuts out other writing processes.

        The function raises SQLite's error for a busy file if another process is writing. The lock
        is released on exit.
        """
        entered = False

        def begin(connection: sqlite3.Connection) -> None:
            nonlocal entered
            connection.execute("BEGIN IMMEDIATE")
            entered = self._guard.enter()
            if not entered:  # another process is writing, and has lost SQLite's lock
                connection.rollback()
                raise failures.busy_file()

        try:
            yield begin
        finally:
            if entered:
                self._guard.exit()

    def sync(self) -> None:
        """Wait until the disk has all of the WAL, and its name. Raises `StoreFailed`."""
        try:
            for path in (self.path, self.path.parent):  # the folder keeps the name
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as error:
            raise StoreFailed(f"{self.path} cannot be written: {error.strerror}") from error

    # -- the end ----------------------------------------------------------------------------

    def release(self) -> None:
        """Release the locks, so that the last close can empty the WAL; `leave` must follow."""
        self._guard.release()

    def leave(self) -> None:
        """End the use of the WAL, after every connection of ours was closed."""
        self._guard.leave()
