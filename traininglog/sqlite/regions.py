"""The regions of a journal: what they are made of, and one of them from round to round.

A region is::

    magic (8), run (16), epoch (8), round (8), size (8), base (8), file size (8), crc32 (4)
    at 72: how many assignments had to be left out, from and to which time (8 each), crc32 (4)
    at 128: records, and zeros to the end

`round` counts the regions as they are used; `base` counts the bytes of records of the run before
this region's.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
from contextlib import suppress
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from traininglog.sqlite.gaps import Gap
from traininglog.sqlite.order import Order
from traininglog.sqlite.records import Batch
from traininglog.sqlite.tail import Tail

#: The size of a region, mostly; a larger one is for a record that needs it.
REGION = 2**19

#: Where its records begin.
HEADER = 128

# So much is looked at together where the end of the records is looked for.
_LOOK = 2**12

#: What it begins with.
MAGIC = b"TLTAIL4\0"

#: What it began with before records were counted, see `order`.
UNCOUNTED = b"TLTAIL3\0"

_HEAD = Struct("<8s16sQQQQQ")
_CHECK = Struct("<I")
_GAP_AT = 72
_GAP = Struct("<QQQ")


class Head(NamedTuple):
    """What a region says of itself."""

    magic: bytes
    run: bytes  #: its UUID
    epoch: int
    round: int
    size: int
    base: int
    file_size: int  #: of the whole journal, so that it can be told whether some was cut off


def pack_head(head: Head) -> tuple[bytes, int]:
    """Return a region's first bytes, and the tag of its first record."""
    header = _HEAD.pack(*head)
    return header + _CHECK.pack(crc32(header)), _tag_of(header)


def is_blank(content: bytes, at: int) -> bool:
    """Tell whether there is no head."""
    return not content[at : at + _HEAD.size].strip(b"\0")


def read_head(content: bytes, at: int) -> tuple[Head, int] | None:
    """Return the head of a region and the tag of its records; None if it is damaged."""
    header = content[at : at + _HEAD.size]
    check = content[at + _HEAD.size : at + _HEAD.size + 4]
    if len(header) < _HEAD.size or check != _CHECK.pack(crc32(header)):
        return None
    return Head._make(_HEAD.unpack(header)), _tag_of(header)


def _tag_of(header: bytes) -> int:
    """Return the tag of a region's first record, by its header.

    No flipped bit makes its top byte 0, nor that of any that is counted from it.
    """
    if header.startswith(UNCOUNTED):
        return crc32(header) | 0xC0000000
    return crc32(header) & 0x0FFFFFFF | 0xC0000000


def pack_gap(gap: Gap, tag: int) -> bytes:
    """Return what says that assignments had to be left out after a region's records."""
    data = _GAP.pack(*gap)
    return data + _CHECK.pack(crc32(data, tag))


def read_gap(content: bytes, at: int, tag: int) -> Gap | None:
    """Return what a region says of assignments that had to be left out after it."""
    data = content[at + _GAP_AT : at + _GAP_AT + _GAP.size]
    check = content[at + _GAP_AT + _GAP.size : at + _GAP_AT + _GAP.size + 4]
    if not data.strip(b"\0") or check != _CHECK.pack(crc32(data, tag)):
        return None
    return _GAP.unpack(data)


def write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of it, which one call may not do where a limit is near. Raises `OSError`."""
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, offset)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left = left[written:]
        offset += written


class Region:
    """A part of a journal's file, for one round of it."""

    lasting = True  #: whether it outlives the process

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        self.offset = offset
        self.size = size
        self.base = 0
        self.tag = 0
        self.length = 0  #: bytes of records, once it rests
        self.batch = Batch()  #: what was read of it
        self._descriptor = descriptor
        self._open: mmap.mmap | _Appended | None = None
        self._resting = False  # or about to

    def begin(self, head: Head, numbers: dict[str, int]) -> Tail:
        """Open for records, in an erased region."""
        header, self.tag = pack_head(head)
        self.base = head.base
        self.batch = Batch()
        opened = self._map(header)
        opened.seek(HEADER)
        self._open, self._resting = opened, False
        return Tail(opened.write, self.tag, numbers)

    def rest(self) -> None:
        """Close to writing. What is in it stays, and can be read."""
        opened = self._open
        if opened is None:
            return
        self._resting = True
        if not opened.closed:
            self.length = self._stop(opened) - HEADER
            self._shut(opened)
        self._open = None  # last: what could not be measured must not count as nothing

    @property
    def end(self) -> int:
        """What the base of the next region is, once this one rests."""
        return self.base + self.length

    @property
    def written(self) -> int:
        """How many bytes of records are in it by now."""
        opened = self._open
        if opened is None:
            return self.length
        # In a signal handler that interrupts `rest`, it may be shut already.
        if self._resting:
            return self.length if opened.closed else self._stop(opened) - HEADER
        return opened.tell() - HEADER

    def _stop(self, opened: mmap.mmap | _Appended) -> int:
        """See to it that nothing more fits, and return where the records end.

        Again, it returns the same. It reads no file and takes hardly any memory, so that it can be
        done whatever there is no more of.
        """
        if isinstance(opened, _Appended):
            return opened.stop()
        least = opened.tell() if opened.tell() < self.size else HEADER
        opened.seek(self.size)
        # Another thread may have written in between. The last byte of a record is never 0.
        for stop in range(self.size, least, -_LOOK):
            found = opened[max(least, stop - _LOOK) : stop].rstrip(b"\0")
            if found:
                return max(least, stop - _LOOK) + len(found)
        return least

    def read(self, stop: int, into: Batch | None = None) -> Batch:
        """Add to `batch`, or another, what it has not of what was written up to a byte.

        Returns the batch.
        """
        batch = self.batch if into is None else into
        if batch.size < stop:
            order = batch.order = batch.order or Order(self.tag)
            batch.add(self._content(batch.size, stop), order)
        return batch

    def erase(self) -> None:
        """Make it ready for another round: its records are in the database.

        Raises `OSError`; then it is not ready, and may be erased again.
        """
        # The header last: what has one and is only half erased is known to be in the database.
        write_all(self._descriptor, bytes(self.length), self.offset + HEADER)
        write_all(self._descriptor, bytes(HEADER), self.offset)
        self.length = 0
        self.batch = Batch()

    def note_gap(self, gap: Gap) -> None:
        """Write down, where there is always room, that assignments had to be left out after it."""
        with suppress(OSError):  # the process knows it, too, and will say so in the status
            write_all(self._descriptor, pack_gap(gap, self.tag), self.offset + _GAP_AT)

    def forget(self) -> None:
        """Drop the mapping, in a forked child whose parent goes on with it."""
        if self._open is not None:
            self._open.close()

    def _map(self, header: bytes) -> mmap.mmap | _Appended:
        opened = _map(self._descriptor, self.offset, self.size)
        opened[: len(header)] = header
        return opened

    def _shut(self, opened: mmap.mmap | _Appended) -> None:
        opened.close()  # for good: the next round has a mapping of its own

    def _content(self, start: int, stop: int) -> bytes:
        return os.pread(self._descriptor, stop - start, self.offset + HEADER + start)


class MemoryRegion(Region):
    """A region where there is no file, or no room in it. It is gone with the process."""

    lasting = False

    def __init__(self, size: int) -> None:
        super().__init__(-1, 0, size)
        self._memory: mmap.mmap | None = None

    def _map(self, header: bytes) -> mmap.mmap:
        self._memory = mmap.mmap(-1, self.size)
        return self._memory

    def _shut(self, opened: mmap.mmap | _Appended) -> None:
        """Leave it open: closed, it could not be read."""

    def _content(self, start: int, stop: int) -> bytes:
        assert self._memory is not None  # noqa: S101 - it was begun
        return self._memory[HEADER + start : HEADER + stop]

    def erase(self) -> None:
        """Make it ready for another round, with memory of its own."""
        self._memory = None
        self.length = 0
        self.batch = Batch()

    def note_gap(self, gap: Gap) -> None:
        """Do nothing: this would be gone with the process."""


class _Appended:
    """Stands in for a mapping where there can be none: one write to the file a record."""

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._size = size
        self._at = 0
        self.closed = False
        self._lock = threading.RLock()

    def write(self, data: bytes) -> int:
        with self._lock:
            if self.closed or self._at + len(data) > self._size:
                raise ValueError("no room")
            try:
                written = os.pwrite(self._descriptor, data, self._offset + self._at)
                if written < len(data):  # the disk became full: take the part back
                    os.pwrite(self._descriptor, bytes(written), self._offset + self._at)
            except OSError as error:
                raise ValueError("no room") from error
            if written < len(data):
                raise ValueError("no room")
            self._at += written
            return written

    def __setitem__(self, place: slice, data: bytes) -> None:
        write_all(self._descriptor, data, self._offset)

    def seek(self, at: int) -> None:
        self._at = at

    def tell(self) -> int:
        return self._at

    def stop(self) -> int:
        with self._lock:
            self._size = 0
            return self._at

    def close(self) -> None:
        with self._lock:
            self.closed = True


def _map(descriptor: int, offset: int, size: int) -> mmap.mmap | _Appended:
    # All pages at once: to meet them one by one would be a fault every hundred assignments.
    flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
    try:
        return mmap.mmap(descriptor, size, flags=flags, offset=offset)
    except (OSError, ValueError):
        # The file system has no mappings; or there is no memory, or no descriptor for the copy that
        # Python takes of ours. None of that keeps us from writing to the file.
        return _Appended(descriptor, offset, size)
