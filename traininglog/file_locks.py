"""Locks on parts of a file that the kernel drops when the process dies, and only then.

POSIX record locks belong to a process, and the kernel drops them as soon as the process closes
*any* descriptor of the file: a program that copies or hashes its own files loses them.
Open-file-description locks (Linux, see fcntl(2)) belong to the descriptor with which they were
taken, so closing another one does not drop them. Where there are none, these functions take record
locks.

A forked child that inherits the descriptor keeps an open-file-description lock alive: it has to
close the descriptor.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
import time

from traininglog.waiting import pause

#: Whether locks belong to descriptors. The struct below has the layout of 64-bit Linux.
OWN = sys.platform == "linux" and sys.maxsize > 2**32 and hasattr(fcntl, "F_OFD_SETLK")

# struct flock: type, whence, (padding), start, length, pid, (padding)
_FLOCK = struct.Struct("hhqqi4x")

_IN_THE_WAY = (errno.EAGAIN, errno.EACCES)


def lock(
    descriptor: int, start: int, length: int = 1, *, shared: bool = False, patience: float = 0.0
) -> bool:
    """Lock bytes of a file; return False if they are still locked after `patience` seconds.

    A shared lock needs a descriptor for reading, an exclusive one a descriptor for writing.
    """
    kind = fcntl.F_RDLCK if shared else fcntl.F_WRLCK
    deadline = time.monotonic() + patience
    while True:
        try:
            _set(descriptor, kind, start, length)
        except OSError as error:
            if error.errno not in _IN_THE_WAY:
                raise
        else:
            return True
        if time.monotonic() >= deadline:
            return False
        pause(0.002)


def unlock(descriptor: int, start: int, length: int = 1) -> None:
    """Unlock bytes that this descriptor has locked."""
    _set(descriptor, fcntl.F_UNLCK, start, length)


def is_locked(descriptor: int, start: int, length: int = 1) -> bool:
    """Return whether another lock covers any of these bytes, without taking one.

    A process that took a lock to find out, and was stopped meanwhile, would look like an owner.
    """
    command = fcntl.F_OFD_GETLK if OWN else fcntl.F_GETLK
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    if not OWN and sys.platform != "linux":  # the struct has another layout: try to take the lock
        if not lock(descriptor, start, length, shared=True):
            return True
        unlock(descriptor, start, length)
        return False
    kind = _FLOCK.unpack(fcntl.fcntl(descriptor, command, asked))[0]
    return bool(kind != fcntl.F_UNLCK)


def is_free(descriptor: int) -> bool:
    """Return whether no byte of a file is locked; False if that is not known."""
    try:
        return sys.platform == "linux" and not is_locked(descriptor, 0, 0)
    except OSError:
        return False


def some_locked(descriptor: int, start: int, length: int) -> int | None:
    """Return the place of some lock of a single byte in a range, or None if there is none.

    It ignores a lock of this very descriptor, and a longer lock, which no program of ours takes.
    It works only where locks belong to descriptors (`OWN`).
    """
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    found = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))
    kind, _, at, size, _ = found
    return None if kind == fcntl.F_UNLCK or size != 1 else at


def _set(descriptor: int, kind: int, start: int, length: int) -> None:
    if OWN:
        asked = _FLOCK.pack(kind, os.SEEK_SET, start, length, 0)
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, asked)
        return
    operation = {
        fcntl.F_RDLCK: fcntl.LOCK_SH | fcntl.LOCK_NB,
        fcntl.F_WRLCK: fcntl.LOCK_EX | fcntl.LOCK_NB,
        fcntl.F_UNLCK: fcntl.LOCK_UN,
    }[kind]
    fcntl.lockf(descriptor, operation, length, start)
