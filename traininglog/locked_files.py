"""Locks on files that the kernel drops when no process has the file open any more.

An advisory lock of `flock` belongs to the open file, not to the process. Closing another descriptor
of the same file does not drop it, as it would drop a POSIX record lock, and two descriptors exclude
each other also within one process. But a forked child inherits the open file and with it the lock,
which then outlives the process that took it. So `FileLock` closes the file in the child.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import weakref
from pathlib import Path

from traininglog.plain_files import kind_of

#: The error numbers of a lock that is held elsewhere.
_HELD = (errno.EAGAIN, errno.EACCES)


class NotRegular(OSError):
    """The path is not that of a regular file, as its `strerror` says."""

    def __init__(self, path: Path, kind: str) -> None:
        super().__init__(errno.EINVAL, f"it is {kind} and not a regular file", str(path))


def open_regular(path: Path, flags: int, mode: int = 0o666) -> int:
    """Open a regular file and return the descriptor.

    It neither opens anything else, which could wait for ever or start a machine, nor follows a
    link. Raises `NotRegular`, besides the errors of `os.open`.
    """
    kind = kind_of(path)
    if kind is not None:
        raise NotRegular(path, kind)
    flags |= os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW
    descriptor = os.open(path, flags, mode)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # it was replaced since `kind_of`
        os.close(descriptor)
        raise NotRegular(path, kind_of(path) or "something else")
    return descriptor


class FileLock:
    """An open file that this process can lock, and no process that it forks.

    Args:
        descriptor: The open file, which the lock now owns.

    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor: int | None = descriptor
        _OPEN.add(self)

    def acquire(self) -> bool:
        """Lock the file, and return False if another open file has it locked.

        Raises `OSError` if the file system has no locks.
        """
        if self.descriptor is None:
            return False
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _HELD:
                return False
            raise
        return True

    def is_at(self, path: Path) -> bool:
        """Return whether a path still leads to the file, which may have been renamed or removed."""
        if self.descriptor is None:
            return False
        try:
            return os.path.samestat(path.stat(), os.fstat(self.descriptor))
        except OSError:
            return False

    def release(self) -> None:
        """Unlock and close the file. A second call does nothing."""
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None:
            # Closing alone is not enough: a child that is just being forked may have it open, too.
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def __del__(self) -> None:
        self.release()


_OPEN: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _after_fork() -> None:
    for lock in list(_OPEN):
        descriptor, lock.descriptor = lock.descriptor, None
        if descriptor is not None:
            os.close(descriptor)  # unlocking it would also unlock it in the parent


os.register_at_fork(after_in_child=_after_fork)
