"""What keeps others from deleting the WAL of a file that is open here.

SQLite tells other processes by record locks that a file is open. A process loses those when it
closes *any* descriptor of the file, as a program does that copies or hashes its own files. The next
process that closes the file then believes that nobody else has it open: it deletes the WAL, and
what is committed from then on goes into a file without a name. Likewise with the file of the shared
memory, which it would truncate under our feet.

So each process holds the same two locks once more, by descriptors of its own, from which no close
of others can take them (`file_locks`): read locks on the bytes that SQLite locks while it has a
file open. Where the system has no such locks, `Database` still notices what happened.

Likewise with the right to write. Whoever closes the shared memory amid a transaction, as a thread
does that copies the folder, lets another process in, and one of the two commits is overwritten. So
who has begun a transaction also locks a byte of the file that SQLite does not use.

See os_unix.c of SQLite for the bytes: SHARED_FIRST, SHARED_SIZE, UNIX_SHM_DMS.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

from traininglog import file_locks
from traininglog.sqlite.file.header import shm_path
from traininglog.sqlite.file.witness import Identity

_Span = tuple[int, int]

_FILE: _Span = (0x40000000 + 2, 510)
_MEMORY: _Span = (128, 1)

# Far beyond the end of any file.
_WRITING: _Span = (2**62, 1)

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

# How long to wait for one that is just closing the file, in seconds.
_PATIENCE = 5.0


class Guard:
    """The locks of this process on one file, for all who have it open here."""

    def __init__(self, path: Path, identity: Identity) -> None:
        real = path.resolve()
        self._identity = identity
        self._users = 0
        self._paths = {_FILE: real, _MEMORY: shm_path(real)}
        self._descriptors: dict[_Span, int] = {}
        self._held: set[_Span] = set()
        self._writers = 0  # of this process; SQLite lets one in after the other

    @staticmethod
    def of(path: Path, identity: Identity) -> Guard:
        """Return the one of this process for a file; each use of it ends with `leave`."""
        with _LOCK:
            guard = _GUARDS.get(identity)
            if guard is None:
                guard = _GUARDS[identity] = Guard(path, identity)
            guard._users += 1
            return guard

    def hold(self) -> None:
        """Take the locks that are not held yet. To be called once SQLite has opened the WAL."""
        if not file_locks.OWN or len(self._held) == len(self._paths):
            return
        with _LOCK:
            for span, path in self._paths.items():
                # Where it cannot be, as no descriptor is free, the next one who writes tries again.
                with suppress(OSError):
                    if span not in self._descriptors:
                        self._descriptors[span] = _opened(path)
                    if span not in self._held and file_locks.lock(
                        self._descriptors[span], *span, shared=True, patience=_PATIENCE
                    ):
                        self._held.add(span)

    def enter(self) -> bool:
        """Be the only process that writes, within a transaction; False if another one is at it.

        Whoever gets True calls `exit` once the transaction has ended. Where there is no such lock,
        SQLite's own has to do.
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
        """End what `enter` began."""
        with _LOCK:
            self._writers -= 1
            descriptor = self._descriptors.get(_FILE)
            if descriptor is not None and self._writers == 0:
                file_locks.unlock(descriptor, *_WRITING)

    def release(self) -> None:
        """Unlock if nobody else here has the file open.

        Before the last connection is closed, which empties the WAL; `leave` must follow it.
        """
        with _LOCK:
            while self._users == 1 and self._held:
                span = self._held.pop()
                file_locks.unlock(self._descriptors[span], *span)

    def leave(self) -> None:
        """Use it no longer, after the connections were closed: a close drops SQLite's own locks."""
        with _LOCK:
            self._users -= 1
            if self._users == 0:
                if _GUARDS.get(self._identity) is self:
                    del _GUARDS[self._identity]
                self.close()

    def renew(self) -> None:
        """Let go of a shared memory that may have been replaced; `hold` takes the new one.

        To be called when no connection is open here.
        """
        with _LOCK:
            self._held.discard(_MEMORY)
            descriptor = self._descriptors.pop(_MEMORY, None)
            if descriptor is not None:
                os.close(descriptor)

    def close(self) -> None:
        """Close the descriptors; a forked child does not unlock what is its parent's."""
        self._held.clear()
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])


_GUARDS: dict[Identity, Guard] = {}
_LOCK = threading.RLock()


def _opened(path: Path) -> int:
    """Open a file, to write if this user may: only then it can be locked alone."""
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
