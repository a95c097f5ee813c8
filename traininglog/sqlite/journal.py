"""The tail journal: what was assigned and is not in the database yet, where a kill cannot reach it.

Each run that is being written has a file ``runs.db-tail-<uuid>-<epoch>`` beside the database,
preallocated and mapped into memory. An assignment is copied there before it counts as made: from
then on its bytes belong to the kernel, and outlive the process. The copying is one call that no
other thread and no signal handler can come between, so that it needs no lock.

The file is made of regions. Assignments go to one of them until it is full or a flush begins; then
the region rests, closed to writing, until the flush has committed, and is erased and used again.
While the database cannot be written, more regions are added.

Each region says how many bytes of records of the run came before its own. The database has, in the
same transaction as what was flushed, the like count of what is in it (`high_water`): so whoever
finds a journal left behind (`left`) knows which records are in already.
"""

from __future__ import annotations

import errno
import os
from contextlib import closing, suppress
from pathlib import Path
from uuid import UUID

from traininglog.errors import StoreFailed
from traininglog.plain_files import PlainFile, kind_of
from traininglog.side_files import make_beside
from traininglog.sqlite.left import hold
from traininglog.sqlite.regions import (
    HEADER,
    MAGIC,
    REGION,
    Head,
    MemoryRegion,
    Region,
    write_all,
)
from traininglog.sqlite.tail import ASLEEP, NO_ROW, Tail

# A fresh file has room for one region to be written while another is flushed.
_FIRST_REGIONS = 2

# Why a file cannot be made that can be made later: what is assigned is kept in memory meanwhile.
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT)


class JournalFull(StoreFailed):
    """The journal holds as much as it may and the database cannot take it."""

    code = "journal-full"


class Journal:
    """The journal of one run, held by its writer; all but `tail.write` under the writer's lock.

    An exception may come out of a signal handler at any call, as Ctrl-C does. So what belongs
    together is changed by one statement without any, and what was cut short can be done again.
    """

    def __init__(
        self, path: Path | None, database: Path | None, uuid: UUID, epoch: int, base: int,
        numbers: dict[str, int], most_bytes: int,
    ) -> None:  # fmt: skip
        self.path = path  #: None: in memory, for a log that does not mind
        self._database = database or path  #: beside which it is
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
        self._used: list[Region] = []  # in the database, and to be erased
        self._file_size = 0
        self._descriptor: int | None = None
        self._make_file()

    def _make_file(self) -> None:
        """Make the file, if there is to be one and is none yet, and it can be made just now."""
        if self.path is None or self._database is None or self._descriptor is not None:
            return
        try:
            self._descriptor = _make(self.path, self._database)
        except OSError as error:
            why = error.__cause__ if isinstance(error, StoreFailed) else error
            if getattr(why, "errno", None) not in _PASSING:
                raise
            return
        for _ in range(_FIRST_REGIONS):
            region = self._add_to_file(REGION)
            if region is not None:
                self._free.append(region)

    # -- writing ----------------------------------------------------------------------------

    def begin(self, need: int = 0) -> None:
        """Open a region with room for a record of `need` bytes. None may be open.

        Raises `JournalFull`, and `StoreFailed` where there is neither a file nor memory for it.
        """
        self._make_file()
        if self._used:
            self._erase()
        size = -(-(need + HEADER) // REGION) * REGION
        fitting = [region for region in self._free if region.size >= size]
        if fitting:
            region = min(fitting, key=lambda each: (not each.lasting, each.offset))
            self._free.remove(region)
        else:
            region = self._add(size)
        self._round += 1
        head = Head(
            MAGIC, self._uuid.bytes, self._epoch, self._round, region.size, self._end,
            self._file_size,
        )  # fmt: skip
        try:
            tail = region.begin(head, self._numbers)
        except BaseException as error:
            if region.lasting:
                self._used.append(region)  # there may be a part of a header
            if not isinstance(error, OSError):
                raise
            region, tail = self._begin_in_memory(head, error)
        self.tail, self.current = tail, region

    def _begin_in_memory(self, head: Head, why: OSError) -> tuple[Region, Tail]:
        """Open a region of memory, where the file could not be written."""
        self._require_room(head.size)
        region = MemoryRegion(head.size)
        try:
            return region, region.begin(head, self._numbers)
        except OSError:
            raise StoreFailed(
                f"nothing can be assigned just now: {self.path or 'the journal'} cannot be written "
                f"({why.strerror}), and there is no memory to keep it in. What was assigned before "
                "is safe; try again once there is more memory"
            ) from why

    def rest(self) -> None:
        """Let the open region, if there is one, rest, so that it can be flushed."""
        region, tail = self.current, self.tail
        self.tail = ASLEEP
        if region is None:
            return
        region.rest()
        end, waiting, used = region.end, self.waiting, self._used
        if region.length:
            waiting = [*waiting, region]
        else:
            used = [*used, region]
        self._end, self.waiting, self._used, self.current = end, waiting, used, None
        if not region.length:
            self._erase()
        tail.row = NO_ROW  # which may be all that holds its log

    def recycle(self, count: int) -> None:
        """Make the first `count` regions that wait free: they are in the database."""
        left, used = self.waiting[count:], self._used + self.waiting[:count]
        self.waiting, self._used = left, used
        self._erase()
        if not self.idle or self._used:
            return
        # Nothing is in here: give back what was taken while the database could not be written.
        usual = _FIRST_REGIONS * REGION
        if self._descriptor is None:
            self._free = self._free[:_FIRST_REGIONS]
        elif self._file_size > usual or self._memory_size:
            size = min(self._file_size, usual)
            free = [Region(self._descriptor, at, REGION) for at in range(0, size, REGION)]
            self._file_size, self._free = size, free
            with suppress(OSError):  # it is no loss
                os.ftruncate(self._descriptor, size)

    def _erase(self) -> None:
        """Make free what was used.

        Where that fails, it is done another time: the database has these records by now, and its
        high-water mark says so to whoever finds them.
        """
        for region in self._used:
            with suppress(OSError, MemoryError):
                region.erase()
                used, free = (
                    [each for each in self._used if each is not region],
                    [*self._free, region],
                )
                self._used, self._free = used, free

    @property
    def idle(self) -> bool:
        """Whether nothing is in it."""
        return not self.waiting and self.current is None

    @property
    def vanished(self) -> bool:
        """Whether somebody has deleted its file."""
        try:
            return self._descriptor is not None and os.fstat(self._descriptor).st_nlink == 0
        except OSError:
            return False  # who knows; it is asked again with the next flush

    @property
    def volatile(self) -> bool:
        """Whether some of it would not outlive the process."""
        return self.in_memory or self.vanished

    @property
    def in_memory(self) -> bool:
        """Whether some of it is where no file is, or no room in it."""
        return any(not region.lasting for region in (self.current, *self.waiting) if region)

    @property
    def _memory_size(self) -> int:
        """How many bytes were taken where the file could have no more."""
        regions = (self.current, *self.waiting, *self._used, *self._free)
        return sum(region.size for region in regions if region and not region.lasting)

    def _add(self, size: int) -> Region:
        """Add room, in memory where the file can have no more."""
        self._require_room(size)
        return self._add_to_file(size) or MemoryRegion(size)

    def _add_to_file(self, size: int) -> Region | None:
        """Add room to the file, if there is one and it can have more.

        Not sparse: touching a page without room on the disk would kill the process.
        """
        if self._descriptor is None:
            return None
        try:
            _allocate(self._descriptor, self._file_size, size)
        except OSError:
            with suppress(OSError):  # what it got so far
                os.ftruncate(self._descriptor, self._file_size)
            return None
        region = Region(self._descriptor, self._file_size, size)
        self._file_size += size
        return region

    def _require_room(self, size: int) -> None:
        if self._file_size + self._memory_size + size > max(self._most_bytes, 2 * REGION, size):
            raise JournalFull(
                f"{self.path or 'memory'} holds {self._most_bytes >> 20} MiB (max_pending_bytes) "
                "that the database could not take: nothing more can be assigned until it can be "
                "written again"
            )

    # -- the end ----------------------------------------------------------------------------

    def remove(self) -> None:
        """Delete the journal: everything in it is in the database.

        Where that is not allowed, whoever opens the database next does it.
        """
        if self.path is not None and self._descriptor is not None:
            with suppress(OSError):
                self.path.unlink()
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
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _allocate(descriptor: int, offset: int, size: int) -> None:
    try:
        os.posix_fallocate(descriptor, offset, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
        zeros = bytes(2**16)  # written out, there is room for it as well
        for at in range(offset, offset + size, len(zeros)):
            write_all(descriptor, zeros, at)


def _make(path: Path, database: Path) -> int:
    try:
        descriptor = make_beside(database, path)  # as open to others as the database, no more
    except FileExistsError:
        kind = kind_of(path)
        if kind is not None:
            raise OSError(errno.EEXIST, f"{kind} has its name: move it away") from None
        # Nobody else has this epoch of the run: making it was cut short before, by Ctrl-C.
        with closing(PlainFile(path)) as file:
            if file.has_content:
                raise
        path.unlink()
        descriptor = make_beside(database, path)
    try:
        hold(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
