"""The tail journal: what was assigned and is not in the database yet, where a kill cannot reach it.

Each run that is being written has a file ``runs.db-tail-<uuid>-<epoch>`` beside the database,
preallocated and mapped into memory. An assignment is copied there before it counts as made: from
then on its bytes belong to the kernel, and outlive the process. The copying is one call that no
other thread and no signal handler can come between, so that it needs no lock.

The file is made of regions. Assignments go to one of them until it is full or a flush begins; then
the region rests, closed to writing, until the flush has committed, and is erased and used again.
While the database cannot be written, more regions are added. A region is::

    magic (8), run (16), epoch (8), round (8), size (8), base (8), file size (8), crc32 (4)
    at 72: how many assignments had to be left out, from and to which time (8 each), crc32 (4)
    at 128: records, and zeros to the end

`round` counts the regions as they are used; `base` counts the bytes of records of the run before
this region's. The database has, in the same transaction as what was flushed, the like count of what
is in it (`high_water`): so whoever finds a journal left behind knows which records are in already.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple
from uuid import UUID
from zlib import crc32

from traininglog.errors import StoreFailed
from traininglog.sqlite.file import stat_of
from traininglog.sqlite.gaps import Gap
from traininglog.sqlite.records import FLOAT_HEAD, INT_HEAD, Batch, pack_row

SUFFIX = "-tail-"
DISPLACED = "-displaced-"
DAMAGED = "-damaged-tail-"

REGION = 2**19
HEADER = 128

_MAGIC = b"TLTAIL2\0"
_HEAD = Struct("<8s16sQQQQQ")
_CHECK = Struct("<I")
_GAP_AT = 72
_GAP = Struct("<QQQ")

# A fresh file has room for one region to be written while another is flushed.
_FIRST_REGIONS = 2

_TO_INT = INT_HEAD - FLOAT_HEAD

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class JournalFull(StoreFailed):
    """The journal holds as much as it may and the database cannot take it."""

    code = "journal-full"


class _NoRow:
    """Stands where there is no row at hand: a row of no time."""

    __slots__ = ("_time",)

    def __init__(self) -> None:
        self._time = object()


NO_ROW = _NoRow()


class Tail:
    """Where an assignment goes: what the hottest path of all needs to know, and nothing else.

    `write` raises `ValueError` once the region is full or at rest; whoever meets that asks the
    writer, who knows why and what to do.
    """

    __slots__ = ("counters", "numbers", "row", "tag", "write")

    def __init__(self, write: Callable[[bytes], int], tag: int, numbers: dict[str, int]) -> None:
        self.write = write
        self.tag = tag
        self.numbers = numbers  #: key -> head of a float's record
        self.counters: dict[str, int] = {}  #: key of the status -> head of a count's record
        self.row: Any = NO_ROW  #: the last one asked for; see `SQLiteLog.__getitem__`

    def write_row(self, time: int, row: Mapping[str, Any]) -> bool:
        """Write floats and ints of one time as one record; return False if something else is there.

        Raises `KeyError` for a key that the run has not seen, `ValueError` as `write` does, and
        `struct.error` for an int that does not fit; nothing is written then.
        """
        numbers = self.numbers
        flat: list[Any] = []
        ints = False
        for key, value in row.items():
            if type(value) is float:
                flat += (numbers[key], value)
            elif type(value) is int:
                flat += (numbers[key] + _TO_INT, value)
                ints = True
            else:
                return False
        if flat:
            self.write(pack_row(time, flat, self.tag, ints=ints))
        return True


def _refuse(_: bytes) -> int:
    raise ValueError("no region is open")


#: Stands where no region is open.
ASLEEP = Tail(_refuse, 0, {})


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

    def begin(self, head: tuple[Any, ...], base: int, numbers: dict[str, int]) -> Tail:
        """Open for records, in an erased region."""
        uuid, epoch, number, file_size = head
        header = _HEAD.pack(_MAGIC, uuid, epoch, number, self.size, base, file_size)
        self.base = base
        self.tag = tag_of(header)
        self.batch = Batch()
        opened = self._open = self._map(header + _CHECK.pack(crc32(header)))
        opened.seek(HEADER)
        return Tail(opened.write, self.tag, numbers)

    def rest(self) -> None:
        """Close to writing. What is in it stays, and can be read."""
        if self._open is not None:
            self._shut(self._open)
            self._open = None
            self.length = len(self._content(0, self.size - HEADER).rstrip(b"\0"))

    @property
    def end(self) -> int:
        """What the base of the next region is, once this one rests."""
        return self.base + self.length

    @property
    def written(self) -> int:
        """How many bytes of records there are now. To be asked for under the writer's lock."""
        return self.length if self._open is None else self._open.tell() - HEADER

    def read(self, stop: int) -> None:
        """Add to `batch` what was written up to byte `stop`."""
        start = self.batch.size
        if start < stop:
            self.batch.add(self._content(start, stop), self.tag)

    def erase(self) -> None:
        """Make it ready for another round: its records are in the database."""
        # The header last: what has one and is only half erased is known to be in the database.
        os.pwrite(self._descriptor, bytes(self.length), self.offset + HEADER)
        os.pwrite(self._descriptor, bytes(HEADER), self.offset)
        self.length = 0
        self.batch = Batch()

    def note_gap(self, gap: Gap) -> None:
        """Write down, where there is always room, that assignments had to be left out after it."""
        data = _GAP.pack(*gap)
        place = self.offset + _GAP_AT
        os.pwrite(self._descriptor, data + _CHECK.pack(crc32(data, self.tag)), place)

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
        opened.seek(self.size)  # so that nothing more fits; closed, it could not be read

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


class Journal:
    """The journal of one run, held by its writer; all but `tail.write` under the writer's lock."""

    def __init__(
        self, path: Path | None, mode: int, uuid: UUID, epoch: int, base: int,
        numbers: dict[str, int], most_bytes: int,
    ) -> None:  # fmt: skip
        self.path = path  #: None: in memory, for a log that does not mind
        self.tail = ASLEEP
        self.current: Region | None = None
        self.waiting: list[Region] = []  #: at rest, the oldest first; still to be flushed
        self._uuid = uuid
        self._epoch = epoch
        self._round = 0
        self._end = base
        self._numbers = numbers
        self._most_bytes = most_bytes
        self._free: list[Region] = []
        self._memory_size = 0  # taken where the file can have no more
        self._file_size = 0
        self._descriptor = None if path is None else _make(path, mode)
        try:
            for _ in range(_FIRST_REGIONS):
                self._free.append(self._add(REGION))
        except BaseException:
            self.remove()
            raise

    # -- writing ----------------------------------------------------------------------------

    def begin(self, need: int = 0) -> None:
        """Open a region with room for a record of `need` bytes. None may be open.

        Raises `JournalFull`.
        """
        size = -(-(need + HEADER) // REGION) * REGION
        fitting = [region for region in self._free if region.size >= size]
        if fitting:
            region = min(fitting, key=lambda each: (not each.lasting, each.offset))
            self._free.remove(region)
        else:
            region = self._add(size)
        self._round += 1
        head = self._uuid.bytes, self._epoch, self._round, self._file_size
        try:
            self.tail = region.begin(head, self._end, self._numbers)
        except BaseException:
            self._free.append(region)
            raise
        self.current = region

    def rest(self) -> None:
        """Let the open region, if there is one, rest, so that it can be flushed."""
        region, tail = self.current, self.tail
        self.tail = ASLEEP
        if region is None:
            return
        region.rest()
        self.current = None
        self._end = region.end
        if region.length:
            self.waiting.append(region)
        else:
            region.erase()
            self._free.append(region)
        tail.row = NO_ROW  # which may be all that holds its log

    def recycle(self, count: int) -> None:
        """Make the first `count` regions that wait free: they are in the database."""
        for region in self.waiting[:count]:
            region.erase()
            self._free.append(region)
        del self.waiting[:count]
        if not self.idle:
            return
        # Nothing is in here: give back what was taken while the database could not be written.
        usual = _FIRST_REGIONS * REGION
        if self._descriptor is None:
            self._free = self._free[:_FIRST_REGIONS]
            self._memory_size = sum(region.size for region in self._free)
        elif self._file_size > usual or self._memory_size:
            self._memory_size = 0
            if self._file_size > usual:
                os.ftruncate(self._descriptor, usual)
                self._file_size = usual
            self._free = [
                Region(self._descriptor, at, REGION) for at in range(0, self._file_size, REGION)
            ]

    @property
    def idle(self) -> bool:
        """Whether nothing is in it."""
        return not self.waiting and self.current is None

    @property
    def vanished(self) -> bool:
        """Whether somebody has deleted its file."""
        return self._descriptor is not None and os.fstat(self._descriptor).st_nlink == 0

    @property
    def volatile(self) -> bool:
        """Whether some of it would not outlive the process."""
        return self._memory_size > 0

    def _add(self, size: int) -> Region:
        """Add room. Not sparse: touching a page without room on the disk would kill the process."""
        if self._file_size + self._memory_size + size > max(self._most_bytes, 2 * REGION, size):
            raise JournalFull(
                f"{self.path or 'memory'} holds {self._most_bytes >> 20} MiB (max_pending_bytes) "
                "that the database could not take: nothing more can be assigned until it can be "
                "written again"
            )
        if self._descriptor is not None:
            try:
                _allocate(self._descriptor, self._file_size, size)
            except OSError:
                with suppress(OSError):  # what it got so far
                    os.ftruncate(self._descriptor, self._file_size)
            else:
                region = Region(self._descriptor, self._file_size, size)
                self._file_size += size
                return region
        self._memory_size += size
        return MemoryRegion(size)

    # -- the end ----------------------------------------------------------------------------

    def remove(self) -> None:
        """Delete the journal: everything in it is in the database."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        self.leave()

    def leave(self) -> None:
        """Let go of the journal, and leave the file to whoever recovers it."""
        self.tail = ASLEEP
        if self.current is not None:
            self.current.rest()
            self.current = None
        self._close()

    def forget(self) -> None:
        """Let go of what a forked child inherited: it is its parent's."""
        self.tail = ASLEEP
        if self.current is not None:
            self.current.forget()
        self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


class _Appended:
    """Stands in for a mapping where a file system has none: one write to the file a record."""

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._size = size
        self._at = 0
        self._closed = False
        self._lock = threading.RLock()

    def write(self, data: bytes) -> int:
        with self._lock:
            if self._closed or self._at + len(data) > self._size:
                raise ValueError("no room")
            try:
                written = os.pwrite(self._descriptor, data, self._offset + self._at)
            except OSError as error:
                if error.errno in _NO_SPACE:
                    raise ValueError("no room") from error
                raise
            if written < len(data):  # the disk became full: take the part back
                os.pwrite(self._descriptor, bytes(written), self._offset + self._at)
                raise ValueError("no room")
            self._at += written
            return written

    def __setitem__(self, place: slice, data: bytes) -> None:
        os.pwrite(self._descriptor, data, self._offset)

    def seek(self, at: int) -> None:
        self._at = at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        with self._lock:
            self._closed = True


def _map(descriptor: int, offset: int, size: int) -> mmap.mmap | _Appended:
    # All pages at once: to meet them one by one would be a fault every hundred assignments.
    flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
    try:
        return mmap.mmap(descriptor, size, flags=flags, offset=offset)
    except OSError as error:
        if error.errno not in (errno.ENODEV, errno.EOPNOTSUPP, errno.EINVAL, errno.EACCES):
            raise
        return _Appended(descriptor, offset, size)


def _allocate(descriptor: int, offset: int, size: int) -> None:
    try:
        os.posix_fallocate(descriptor, offset, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
        zeros = bytes(2**16)  # written out, there is room for it as well
        for at in range(offset, offset + size, len(zeros)):
            if os.pwrite(descriptor, zeros, at) < len(zeros):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None


def _make(path: Path, mode: int) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, mode)
    os.fchmod(descriptor, mode)  # whatever the umask: as open as the database, no more
    return descriptor


def mode_of(database: Path) -> int:
    """Return the mode that the journals beside a database get: the database's own."""
    found = stat_of(database)
    return 0o600 if found is None else found.st_mode & 0o777


# -- reading what is left of one ----------------------------------------------------------------


class Left(NamedTuple):
    """A journal beside a database, as its name tells."""

    path: Path
    uuid: UUID
    epoch: int
    displaced_at: int | None  #: up to where the run's next writer has taken it over


class LeftRegion(NamedTuple):
    """What is left of one region."""

    base: int
    tag: int
    data: bytes  #: records
    gap: Gap | None


class Contents(NamedTuple):
    """What is left of a journal."""

    regions: list[LeftRegion]  #: in the order in which they were used
    damage: str | None  #: what is wrong with the file as a whole; for people


def journal_path(database: Path, uuid: UUID, epoch: int) -> Path:
    """Return where the journal of a run is: beside the file that a link leads to."""
    real = database.resolve()
    return real.with_name(f"{real.name}{SUFFIX}{uuid.hex}-{epoch}")


def displaced_path(journal: Path, position: int) -> Path:
    """Return the name of a journal whose run somebody else has taken over, up to a position."""
    head, _, rest = journal.name.rpartition(SUFFIX)
    return journal.with_name(f"{head}{DISPLACED}{rest}-{position}")


def damaged_path(journal: Path) -> Path:
    """Return the name under which a damaged journal is kept."""
    for kind in (SUFFIX, DISPLACED):
        head, found, rest = journal.name.rpartition(kind)
        if found:
            return journal.with_name(f"{head}{DAMAGED}{rest}")
    return journal


def journals_beside(database: Path) -> Iterator[Left]:
    """Return the journals that lie beside a database."""
    real = database.resolve()
    with os.scandir(real.parent) as entries:
        names = sorted(entry.name for entry in entries if entry.name.startswith(real.name + "-"))
    for name in names:
        for kind, parts in ((SUFFIX, 2), (DISPLACED, 3)):
            words = name.removeprefix(real.name + kind).split("-")
            if not name.startswith(real.name + kind) or len(words) != parts:
                continue
            digits, *numbers = words
            if (
                len(digits) == 32
                and not set(digits) - set("0123456789abcdef")
                and all(number.isascii() and number.isdecimal() for number in numbers)
            ):
                position = int(numbers[1]) if parts == 3 else None
                yield Left(real.with_name(name), UUID(digits), int(numbers[0]), position)


def damaged_beside(database: Path) -> list[Path]:
    """Return the journals beside a database that were kept because they are damaged."""
    real = database.resolve()
    return sorted(real.parent.glob(f"{_escaped(real.name)}{DAMAGED}*"))


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def tag_of(header: bytes) -> int:
    """Return the tag of a region's records, by its header; no flipped bit makes its top byte 0."""
    return crc32(header) | 0xC0000000


def read_journal(path: Path) -> Contents:
    """Return what is in a journal. Whoever writes it may go on meanwhile.

    One that was being made when its process died has nothing in it. Raises `FileNotFoundError`.
    """
    content = path.read_bytes()
    found: list[tuple[int, LeftRegion]] = []
    damage = None
    wanted_size = 0
    at = 0
    while at < len(content):
        header = content[at : at + _HEAD.size]
        if not header.strip(b"\0"):
            at += REGION
            continue
        check = content[at + _HEAD.size : at + _HEAD.size + 4]
        if len(header) < _HEAD.size or check != _CHECK.pack(crc32(header)):
            # One that was being written as the process died has no records after it.
            if content[at + HEADER : at + REGION].strip(b"\0"):
                damage = f"{path} is damaged: a region of it has no header"
            at += REGION
            continue
        magic, _, _, number, size, base, file_size = _HEAD.unpack(header)
        if magic != _MAGIC:
            return Contents([], f"{path} is of a version of traininglog that this one is not")
        wanted_size = max(wanted_size, file_size)
        data = content[at + HEADER : at + size].rstrip(b"\0")
        tag = tag_of(header)
        found.append((number, LeftRegion(base, tag, data, _gap(content, at, tag))))
        at += size
    if len(content) < wanted_size or (len(content) % REGION and content.strip(b"\0")):
        damage = f"{path} is damaged: it was cut short"
    found.sort(key=lambda pair: pair[0])
    return Contents([region for _, region in found], damage)


def _gap(content: bytes, at: int, tag: int) -> Gap | None:
    data = content[at + _GAP_AT : at + _GAP_AT + _GAP.size]
    check = content[at + _GAP_AT + _GAP.size : at + _GAP_AT + _GAP.size + 4]
    if not data.strip(b"\0") or check != _CHECK.pack(crc32(data, tag)):
        return None
    return _GAP.unpack(data)
