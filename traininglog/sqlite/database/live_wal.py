"""The WAL of a file that is open here: held, so that no process deletes it, and checked.

SQLite uses record locks to tell other processes that a file is open. A process loses those when it
closes *any* descriptor of the file; a program that copies or hashes its own files does that. The
next process that closes the file then believes that no other has it open. It deletes the WAL, and
later commits go into a file without a name. The file of the shared memory has the same problem: it
would be truncated while this process uses it.

So each process holds the same two locks once more, by descriptors of its own. Closing another
descriptor does not release these (`file_locks`). They are read locks on the bytes that SQLite locks
while it has a file open. If the system has no such locks, `Database` still notices the loss.

The right to write has the same problem. If a thread closes the shared memory during a transaction,
as one does that copies the folder, another process can write, too, and one of the two commits is
overwritten. So a writer also locks a byte of the file that SQLite does not use.

See os_unix.c of SQLite for the bytes: SHARED_FIRST, SHARED_SIZE, UNIX_SHM_DMS.

SQLite goes on writing to a WAL that another process has deleted all the same, and no process finds
these commits. So a writer takes the locks as soon as it has the WAL open, and notes its device and
inode. It compares these before each transaction and after each commit.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from traininglog import file_locks
from traininglog.errors import StoreFailed
from traininglog.sqlite.file import failures
from traininglog.sqlite.file.header import identity_of, shm_path, wal_path
from traininglog.sqlite.file.witness import Identity

_Span = tuple[int, int]

_FILE: _Span = (0x40000000 + 2, 510)
_MEMORY: _Span = (128, 1)

# Far beyond the end of any file.
_WRITING: _Span = (2**62, 1)

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

# How long to wait for a process that is just closing the file, in seconds.
_PATIENCE = 5.0


class Guard:
    """The locks of this process on one file, shared by all of its users in the process."""

    def __init__(self, path: Path, identity: Identity) -> None:
        real = path.resolve()
        self._identity = identity
        self._users = 0
        self._paths = {_FILE: real, _MEMORY: shm_path(real)}
        self._descriptors: dict[_Span, int] = {}
        self._held: set[_Span] = set()
        self._writers = 0  # of this process; SQLite admits them one after the other

    @staticmethod
    def of(path: Path, identity: Identity) -> Guard:
        """Return the process's one guard of a file; each use of it ends with `leave`."""
        with _LOCK:
            guard = _GUARDS.get(identity)
            if guard is None:
                guard = _GUARDS[identity] = Guard(path, identity)
            guard._users += 1
            return guard

    def hold(self) -> None:
        """Take the locks that are not held yet. SQLite must have opened the WAL before."""
        if not file_locks.OWN or len(self._held) == len(self._paths):
            return
        with _LOCK:
            for span, path in self._paths.items():
                # If that fails, as when no descriptor is free, the next writer tries again.
                with suppress(OSError):
                    if span not in self._descriptors:
                        self._descriptors[span] = _opened(path)
                    if span not in self._held and file_locks.lock(
                        self._descriptors[span], *span, shared=True, patience=_PATIENCE
                    ):
                        self._held.add(span)

    def enter(self) -> bool:
        """Lock out other writing processes, within a transaction; False if another one writes.

        After True, the caller calls `exit` once the transaction has ended. If the system does not
        support the lock, only SQLite's own protects the transaction.
        """
        with _LOCK:
            descriptor = self._descriptors.get(_FILE)
            if descriptor is not None and self._writers == 0:
                with suppress(OSError):  # this user may not write, or the system cannot
                    if not file_locks.lock(descriptor, *_WRITING):
                        return False
            self._writers += 1
            return True

    def exit(self) -> None:
        """Release the lock of `enter`."""
        with _LOCK:
            self._writers -= 1
            descriptor = self._descriptors.get(_FILE)
            if descriptor is not None and self._writers == 0:
                file_locks.unlock(descriptor, *_WRITING)

    def release(self) -> None:
        """Unlock if there is no other user of the file in this process.

        Call it before the last connection is closed, as that empties the WAL. `leave` must follow.
        """
        with _LOCK:
            while self._users == 1 and self._held:
                span = self._held.pop()
                file_locks.unlock(self._descriptors[span], *span)

    def leave(self) -> None:
        """End one use, after its connections were closed: closing here drops SQLite's own locks."""
        with _LOCK:
            self._users -= 1
            if self._users == 0:
                if _GUARDS.get(self._identity) is self:
                    del _GUARDS[self._identity]
                self.close()

    def renew(self) -> None:
        """Close the file of the shared memory, which may have been replaced; `hold` takes the new.

        No connection may be open in this process.
        """
        with _LOCK:
            self._held.discard(_MEMORY)
            descriptor = self._descriptors.pop(_MEMORY, None)
            if descriptor is not None:
                os.close(descriptor)

    def close(self) -> None:
        """Close the descriptors. In a forked child this leaves the parent's locks alone."""
        self._held.clear()
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])


_GUARDS: dict[Identity, Guard] = {}
_LOCK = threading.RLock()


def _opened(path: Path) -> int:
    """Open a file, for writing if this user may: an exclusive lock needs that."""
    try:
        return os.open(path, _FLAGS | os.O_RDWR)
    except OSError:
        return os.open(path, _FLAGS)


def _after_fork_in_child() -> None:
    global _LOCK  # noqa: PLW0603 - another thread of the parent may have held it
    _LOCK = threading.RLock()
    for guard in _GUARDS.values():
        guard.close()
    _GUARDS.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


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
