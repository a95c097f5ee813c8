"""The regions of a journal: their layout, and the life of one from round to round.

A region is::

    magic (8), run (16), epoch (8), round (8), size (8), base (8), file size (8), crc32 (4)
    at 72: the number of dropped assignments, their first and last time (8 each), crc32 (4)
    at 104: base (8), crc32 (4)
    at 128: records, and zeros to the end

`round` counts the regions as they are used. `base` is the position of the region: the bytes of
records of the run before it. A region is opened before the one in front of it is full. Its base is
not known yet then, and is written at 104 later. Until then a reader computes it from the region in
front, which is still there.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
from contextlib import suppress
from functools import partial
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from traininglog.journal.gaps import Gap
from traininglog.journal.tail import ASLEEP, NO_ROW, Tail

#: The usual size of a region. A record that needs more gets a larger region.
REGION = 2**19

#: Where its records begin.
HEADER = 128

# The bytes of one step of the search for the end of the records.
_LOOK = 2**12

#: The first bytes of a region.
MAGIC = b"TLTAIL5\0"

#: The same in older versions: before regions could be opened in advance, and before that, when
#: records were not counted either (see `order`).
IN_TURN, UNCOUNTED = b"TLTAIL4\0", b"TLTAIL3\0"

#: The base of a region that is open in advance.
UNKNOWN = 2**64 - 1

_HEAD = Struct("<8s16sQQQQQ")
_CHECK = Struct("<I")
_GAP_AT = 72
_GAP = Struct("<QQQ")
_BASE_AT = 104
_BASE = Struct("<Q")


class Head(NamedTuple):
    """The header of a region."""

    magic: bytes
    run: bytes  #: its UUID
    epoch: int
    round: int
    size: int
    base: int
    file_size: int  #: of the whole journal, so that a reader can tell whether it was truncated


def pack_head(head: Head) -> tuple[bytes, int]:
    """Return a region's first bytes, and the tag of its first record."""
    header = _HEAD.pack(*head)
    return header + _CHECK.pack(crc32(header)), _tag_of(header)


def is_blank(content: bytes, at: int) -> bool:
    """Return whether the bytes at a place hold no head."""
    return not content[at : at + _HEAD.size].strip(b"\0")


def read_head(content: bytes, at: int) -> tuple[Head, int] | None:
    """Return the head of a region and the tag of its records; None if it is damaged."""
    header = content[at : at + _HEAD.size]
    check = content[at + _HEAD.size : at + _HEAD.size + 4]
    if len(header) < _HEAD.size or check != _CHECK.pack(crc32(header)):
        return None
    return Head._make(_HEAD.unpack(header)), _tag_of(header)


def _tag_of(header: bytes) -> int:
    """Return the tag of a region's first record, from its header.

    No flipped bit makes its top byte 0, nor the top byte of any tag that is counted from it.
    """
    if header.startswith(UNCOUNTED):
        return crc32(header) | 0xC0000000
    return crc32(header) & 0x0FFFFFFF | 0xC0000000


def pack_gap(gap: Gap, tag: int) -> bytes:
    """Return the bytes that record dropped assignments after a region's records."""
    data = _GAP.pack(*gap)
    return data + _CHECK.pack(crc32(data, tag))


def read_gap(content: bytes, at: int, tag: int) -> Gap | None:
    """Return the dropped assignments that a region records, or None."""
    data = content[at + _GAP_AT : at + _GAP_AT + _GAP.size]
    check = content[at + _GAP_AT + _GAP.size : at + _GAP_AT + _GAP.size + 4]
    if not data.strip(b"\0") or check != _CHECK.pack(crc32(data, tag)):
        return None
    return _GAP.unpack(data)


def read_base(content: bytes, at: int, head: Head, tag: int) -> int | None:
    """Return the base of a region from its header, or None if only the region before it tells."""
    data = content[at + _BASE_AT : at + _BASE_AT + _BASE.size]
    check = content[at + _BASE_AT + _BASE.size : at + _BASE_AT + _BASE.size + 4]
    if head.base != UNKNOWN:
        return head.base
    if check != _CHECK.pack(crc32(data, tag)):
        return None
    return int(_BASE.unpack(data)[0])


def write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Write all bytes: one `pwrite` may write fewer where a limit is near. Raises `OSError`."""
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, offset)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left = left[written:]
        offset += written


class JournalFile:
    """The open file of a journal, closed once nothing refers to it any more.

    Another thread may read a region while the owner closes the journal. If that closed the
    descriptor, the thread might read any other file that got its number.
    """

    __slots__ = ("descriptor",)

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        with suppress(OSError):
            os.close(self.descriptor)


class Region:
    """A part of a journal's file, for one round.

    The owner of the journal opens it, closes it and erases it. Any thread may read it meanwhile.
    What the thread read is valid if the region is not `gone` afterwards; else the store has all of
    it by now.
    """

    lasting = True  #: whether it outlives the process

    def __init__(self, file: JournalFile | None, offset: int, size: int) -> None:
        self.offset = offset
        self.size = size
        self.round = 0
        self.base = UNKNOWN  #: bytes of records of the run before its own, once that is known
        self.noted = False  #: whether the base is written in the file
        self.tag = 0
        self.length = 0  #: bytes of records, once it rests
        self.gone = False  #: whether the store has its records, so that it may be erased
        self.tail = ASLEEP
        self._file = file
        self._open: mmap.mmap | _Appended | None = None

    def begin(self, head: Head, numbers: dict[str, int]) -> Tail:
        """Open an erased region for records, and return its tail."""
        header, self.tag = pack_head(head)
        self.round, self.base, self.noted = head.round, head.base, head.base != UNKNOWN
        opened = self._map(header)
        opened.seek(HEADER)
        self._open = opened
        self.tail = Tail(opened.write, partial(_stop, opened, self.size), self.tag, numbers)
        return self.tail

    def note_base(self) -> None:
        """Write the base into the header, if the region is open.

        Call it before the region in front is erased: from then on nothing else tells the base.
        Raises `OSError` if the file is not mapped.
        """
        if self._open is not None and not self.noted:
            data = _BASE.pack(self.base)
            data += _CHECK.pack(crc32(data, self.tag))
            self._open[_BASE_AT : _BASE_AT + len(data)] = data
            self.noted = True

    def rest(self) -> None:
        """Close the region to writing; its records stay readable. A second call does nothing."""
        opened = self._open
        if opened is None:
            return
        self.tail.row = NO_ROW  # the row may be the last reference to its log
        self.tail.rests = True
        self.length = self._end(opened) - HEADER
        self._open = None  # after the length: a reader that finds None uses the length
        self._shut(opened)

    @property
    def end(self) -> int:
        """The base of the next region, once this one rests."""
        return self.base + self.length

    @property
    def is_open(self) -> bool:
        """Whether it takes records."""
        return self._open is not None

    @property
    def has_records(self) -> bool:
        """Whether it has records, or an append to it found no room."""
        opened = self._open
        return bool(self.length) if opened is None else opened.tell() > HEADER

    @property
    def written(self) -> int:
        """The bytes of records in it by now."""
        opened = self._open
        if opened is None:
            return self.length
        try:
            at = opened.tell()
            return (at if at < self.size else self._last(opened)) - HEADER
        except ValueError:  # it came to rest meanwhile
            return self.length

    def _end(self, opened: mmap.mmap | _Appended) -> int:
        """Stop further appends, and return where the records end."""
        if isinstance(opened, _Appended):
            return opened.stop()
        at = opened.tell()
        opened.seek(self.size)  # from now on no append finds room
        # The first word of a record is never 0: if it is, no other thread has appended in between.
        if at < self.size and not opened[at : at + 4].strip(b"\0"):
            return at
        return self._last(opened)

    def _last(self, opened: mmap.mmap | _Appended) -> int:
        """Return where the records of a stopped region end: their last byte is never 0."""
        if isinstance(opened, _Appended):
            return opened.stop()
        for stop in range(self.size, HEADER, -_LOOK):
            found = opened[max(HEADER, stop - _LOOK) : stop].rstrip(b"\0")
            if found:
                return max(HEADER, stop - _LOOK) + len(found)
        return HEADER

    def content(self, start: int, stop: int) -> bytes:
        """Return the bytes of its records from one place to another."""
        assert self._file is not None  # noqa: S101 - a region of memory has its own way
        return os.pread(self._file.descriptor, stop - start, self.offset + HEADER + start)

    def erase(self) -> Region:
        """Erase the region, whose records the store has, and return it for another round.

        Raises `OSError`; then it may be erased again.
        """
        # The header last: as long as it is there, its position says that the store has the records.
        self._put(bytes(self.length), HEADER)
        self._put(bytes(HEADER), 0)
        return Region(self._file, self.offset, self.size)

    def note_gap(self, gap: Gap) -> None:
        """Write into the header, which always has room, that later assignments were dropped."""
        with suppress(OSError):  # the process also keeps it, and will write it into the status
            self._put(pack_gap(gap, self.tag), _GAP_AT)

    def forget(self) -> None:
        """Close the mapping in a forked child, whose parent goes on with the region."""
        opened, self._open = self._open, None
        if opened is not None:
            opened.close()

    def _put(self, data: bytes, at: int) -> None:
        assert self._file is not None  # noqa: S101 - as above
        write_all(self._file.descriptor, data, self.offset + at)

    def _map(self, header: bytes) -> mmap.mmap | _Appended:
        assert self._file is not None  # noqa: S101 - as above
        opened = _map(self._file.descriptor, self.offset, self.size)
        opened[: len(header)] = header
        return opened

    def _shut(self, opened: mmap.mmap | _Appended) -> None:
        opened.close()  # the next round makes a mapping of its own


class MemoryRegion(Region):
    """A region in memory, where there is no file or no room in it. It dies with the process."""

    lasting = False

    def __init__(self, size: int) -> None:
        super().__init__(None, 0, size)
        self._memory: mmap.mmap | None = None

    def _map(self, header: bytes) -> mmap.mmap:
        self._memory = mmap.mmap(-1, self.size)
        return self._memory

    def _shut(self, opened: mmap.mmap | _Appended) -> None:
        """Leave the memory open: closed, it could not be read."""

    def _put(self, data: bytes, at: int) -> None:
        """Write nothing: no other process could read it."""

    def content(self, start: int, stop: int) -> bytes:
        """Return the bytes of its records from one place to another."""
        assert self._memory is not None  # noqa: S101 - it was begun
        return self._memory[HEADER + start : HEADER + stop]

    def erase(self) -> Region:
        """Return a region of new memory for another round."""
        return MemoryRegion(self.size)


def _stop(opened: mmap.mmap | _Appended, size: int) -> None:
    with suppress(ValueError):  # the mapping is closed
        opened.seek(size)


class _Appended:
    """A substitute where there can be no mapping: one write to the file per record."""

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
                if written < len(data):  # the disk became full: erase the part
                    os.pwrite(self._descriptor, bytes(written), self._offset + self._at)
            except OSError as error:
                raise ValueError("no room") from error
            if written < len(data):
                raise ValueError("no room")
            self._at += written
            return written

    def __setitem__(self, place: slice, data: bytes) -> None:
        write_all(self._descriptor, data, self._offset + (place.start or 0))

    def seek(self, at: int) -> None:
        """Go to where records begin; at the end of the region, refuse all further records."""
        if at < self._size:
            self._at = at
        else:
            self._size = 0

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
    # Populate all pages at once: else there is a page fault every hundred assignments.
    flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
    try:
        return mmap.mmap(descriptor, size, flags=flags, offset=offset)
    except (OSError, ValueError):
        # The file system has no mappings, there is no memory, or no descriptor for the duplicate
        # that Python makes of ours. Writing to the file works all the same.
        return _Appended(descriptor, offset, size)
