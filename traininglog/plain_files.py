"""Regular files, read without trust in their names: these may lead anywhere.

Beside a store, in a folder that others can write or that came out of an archive, a name may stand
for a pipe, which keeps whoever opens it waiting for ever, for a device without an end, for a link
to either, or for a file of terabytes of which nothing is on the disk.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_CHUNK = 2**20
_LARGE = 2**29

_KINDS = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISLNK, "a link"), (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)  # fmt: skip


def kind_of(path: Path) -> str | None:
    """Return what stands under a name that is no regular file, for people; else None.

    Links are not followed. None, too, where there is nothing. Raises `OSError`.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return None
    return next((name for test, name in _KINDS if test(mode)), None)


def open_plain(path: Path, *, follow: bool = False) -> int:
    """Open a regular file for reading; return its descriptor.

    Never waits. Raises `OSError`, with a reason, for whatever is no regular file, and for a link,
    unless those are to be followed.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        descriptor = os.open(path, flags if follow else flags | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            raise OSError(errno.EINVAL, f"it is {kind_of(path)}", str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"it is {kind_of(path) or 'no regular file'}", str(path))
    return descriptor


def is_hollow(found: os.stat_result) -> bool:
    """Tell whether a file is large, and nearly nothing of it is on the disk."""
    return found.st_size > _LARGE and found.st_blocks * 512 < found.st_size // 16


class PlainFile:
    """A regular file that is open for reading. Opening it raises what `open_plain` does."""

    def __init__(self, path: Path) -> None:
        self._descriptor = open_plain(path)
        found = os.fstat(self._descriptor)
        self.size = found.st_size  #: in bytes, when it was opened
        self.allocated = found.st_blocks * 512  #: what it takes on the disk
        # Only then are file systems asked where its holes are: some have told it wrong.
        self._hollow = is_hollow(found)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes between two places, or fewer at the end of the file."""
        parts = []
        while start < stop and (part := os.pread(self._descriptor, stop - start, start)):
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @property
    def has_content(self) -> bool:
        """Whether there is anything in it but zeros."""
        end = self.end_of_content(0, self.size)
        return end > _CHUNK or bool(self.read(0, end).strip(b"\0"))

    def start_of_content(self, at: int) -> int:
        """Return where to look on from a place: there, or past a hole of a file full of them."""
        if not self._hollow or at >= self.size:
            return at
        try:
            return os.lseek(self._descriptor, at, os.SEEK_DATA)
        except OSError as error:
            # Nothing is there; or the file system does not tell.
            return self.size if error.errno == errno.ENXIO else at

    def end_of_content(self, start: int, stop: int) -> int:
        """Return a place between two behind which nothing but zeros are; not far behind."""
        stop = min(stop, self.size)
        if self._hollow:
            end = at = start
            while (at := self.start_of_content(at)) < stop:
                try:
                    end = at = min(os.lseek(self._descriptor, at, os.SEEK_HOLE), stop)
                except OSError:
                    return stop
            return end
        while stop - start > _CHUNK and not self.read(stop - _CHUNK, stop).strip(b"\0"):
            stop -= _CHUNK
        return stop
