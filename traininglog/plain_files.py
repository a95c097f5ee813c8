"""Reading regular files without trusting their names, which may lead anywhere.

Beside a store, in a folder that others can write or that came from an archive, a name may be that
of a pipe, which blocks for ever when opened, of a device without an end, of a link to either, or of
a sparse file of terabytes.
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
    """Return the kind of an entry that is no regular file, as a text for people, else None.

    It does not follow links. It also returns None if there is no entry. Raises `OSError`.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return None
    return next((name for test, name in _KINDS if test(mode)), None)


def open_plain(path: Path, *, follow: bool = False) -> int:
    """Open a regular file for reading; return its descriptor.

    It never waits. Raises `OSError`, with a reason, for anything but a regular file, and for a link
    unless `follow` is set.
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
    """Return whether a file is large, with hardly a byte of it on the disk."""
    return found.st_size > _LARGE and found.st_blocks * 512 < found.st_size // 16


class PlainFile:
    """A regular file that is open for reading. Opening it raises what `open_plain` raises."""

    def __init__(self, path: Path) -> None:
        self._descriptor = open_plain(path)
        found = os.fstat(self._descriptor)
        self.size = found.st_size  #: in bytes, when it was opened
        self.allocated = found.st_blocks * 512  #: bytes on the disk
        # Only of a hollow file the holes are asked for: some file systems report them wrong.
        self._hollow = is_hollow(found)

    def close(self) -> None:
        """Close the file."""
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
        """Whether it contains a byte that is not zero."""
        end = self.end_of_content(0, self.size)
        return end > _CHUNK or bool(self.read(0, end).strip(b"\0"))

    def start_of_content(self, at: int) -> int:
        """Return the place itself, or in a hollow file the end of the hole at that place."""
        if not self._hollow or at >= self.size:
            return at
        try:
            return os.lseek(self._descriptor, at, os.SEEK_DATA)
        except OSError as error:
            # The rest is a hole, or the file system does not support this.
            return self.size if error.errno == errno.ENXIO else at

    def end_of_content(self, start: int, stop: int) -> int:
        """Return a place between two, near the last content, after which there are only zeros."""
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
