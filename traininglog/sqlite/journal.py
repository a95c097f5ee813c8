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
from traininglog.sqlite.tail import ASLEEP, NO_ROW

# A fresh file has room for one region to be written while another is flushed.
_FIRST_REGIONS = 2


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
        self._memory_size = 0  # taken where the file can have no more
        self._file_size = 0
        self._descriptor = None if path is None else _make(path, database or path)
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
        head = Head(
            MAGIC, self._uuid.bytes, self._epoch, self._round, region.size, self._end,
            self._file_size,
        )  # fmt: skip
        try:
            tail = region.begin(head, self._numbers)
        except BaseException as error:
            self._used.append(region)
            if not isinstance(error, OSError):
                raise
            region = self._add_memory(region.size)
            tail = region.begin(head, self._numbers)
        self.tail, self.current = tail, region

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
            self._memory_size = sum(region.size for region in self._free)
        elif self._file_size > usual or self._memory_size:
            size = min(self._file_size, usual)
            free = [Region(self._descriptor, at, REGION) for at in range(0, size, REGION)]
            self._memory_size, self._file_size, self._free = 0, size, free
            with suppress(OSError):  # it is no loss
                os.ftruncate(self._descriptor, size)

    def _erase(self) -> None:
        """Make free what was used.

        Where that fails, it is done another time: the database has these records by now, and its
        high-water mark says so to whoever finds them.
        """
        for region in self._used:
            with suppress(OSError):
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
        return self._descriptor is not None and os.fstat(self._descriptor).st_nlink == 0

    @property
    def volatile(self) -> bool:
        """Whether some of it would not outlive the process."""
        return self._memory_size > 0 or self.vanished

    def _add(self, size: int) -> Region:
        """Add room. Not sparse: touching a page without room on the disk would kill the process."""
        if self._descriptor is not None:
            self._require_room(size)
            try:
                _allocate(self._descriptor, self._file_size, size)
            except OSError:
                with suppress(OSError):  # what it got so far
                    os.ftruncate(self._descriptor, self._file_size)
            else:
                region = Region(self._descriptor, self._file_size, size)
                self._file_size += size
                return region
        return self._add_memory(size)

    def _add_memory(self, size: int) -> Region:
        self._require_room(size)
        self._memory_size += size
        return MemoryRegion(size)

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
        if self.path is not None:
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
    hold(descriptor)
    return descriptor
