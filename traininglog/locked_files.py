"""Locks on files that the kernel drops when nobody has the file open any more.

An advisory lock of `flock` belongs to the open file, not to the process: closing another descriptor
of the same file does not drop it, as it drops POSIX record locks, and two descriptors exclude each
other also within one process. The price is that a forked child inherits the open file, and with it
the lock, which would so outlive the process that took it: `FileLock` closes it in the child.
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

#: What a lock that another one holds is told by.
_HELD = (errno.EAGAIN, errno.EACCES)


class NotRegular(OSError):
    """What has the name of a file is something else, as its `strerror` says."""

    def __init__(self, path: Path, kind: str) -> None:
        super().__init__(errno.EINVAL, f"it is {kind} and not a regular file", str(path))


def open_regular(path: Path, flags: int, mode: int = 0o666) -> int:
    """Open a regular file and return the descriptor.

    Whatever else may lie under the name is neither opened, which could wait for ever or start a
    machine, nor followed. Raises `NotRegular`, besides what `os.open` raises.
    """
    kind = kind_of(path)
    if kind is not None:
        raise NotRegular(path, kind)
    flags |= os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW
    descriptor = os.open(path, flags, mode)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # another one since a moment ago
        os.close(descriptor)
        raise NotRegular(path, kind_of(path) or "something else")
    return descriptor


class FileLock:
    """An open file that may be locked, for this process and none that it forks.

    Args:
        descriptor: The open file, which is the lock's from now on.

    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor: int | None = descriptor
        _OPEN.add(self)

    def acquire(self) -> bool:
        """Lock the file if no other open file has it locked; return whether it is now.

        Raises `OSError` where the file system has no locks.
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
        """Tell whether a path still leads to the file, which may have been renamed or removed."""
        if self.descriptor is None:
            return False
        try:
            return os.path.samestat(path.stat(), os.fstat(self.descriptor))
        except OSError:
            return False

    def release(self) -> None:
        """Unlock and close the file. Doing it twice does nothing."""
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None:
            # Not by closing alone: a child that is just being forked may have it open, too.
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
            os.close(descriptor)  # without unlocking it, which would unlock the parent's


os.register_at_fork(after_in_child=_after_fork)
