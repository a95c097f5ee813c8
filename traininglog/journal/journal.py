"""The write-ahead journal: what was assigned and no store has yet, where a kill cannot reach it.

Each run that is being written has a file ``runs.db-tail-<uuid>-<epoch>`` beside its store,
preallocated and mapped into memory. An assignment is copied there before it counts as made: from
then on its bytes belong to the kernel, and outlive the process. The copying is one call that no
other thread and no signal handler can come between, so that it needs no lock.

The file is made of regions. Assignments go to one of them until it is full or a flush begins. Then
the region rests, closed to writing, and the next one takes the assignments, which was opened in
advance so that nobody has to wait. What rests is flushed. Once that was committed, the region is
erased and used again. While the store cannot be written, more regions are added.

The position (log sequence number) of a record is how many bytes of records of the run came before
it. The store has, in the same transaction as what was flushed, the position up to which everything
is in it. So whoever finds a journal left behind (`reader`) knows which records are in already.
"""

from __future__ import annotations

import errno
import os
from contextlib import closing, suppress
from pathlib import Path
from uuid import UUID

from traininglog.errors import StoreFailed
from traininglog.journal.reader import hold, release
from traininglog.journal.region import (
    HEADER,
    MAGIC,
    REGION,
    UNKNOWN,
    Head,
    JournalFile,
    MemoryRegion,
    Region,
    write_all,
)
from traininglog.journal.tail import ASLEEP, Tail
from traininglog.plain_files import PlainFile, kind_of
from traininglog.side_files import make_beside

# A fresh file has room for one region to be written while another is flushed.
_FIRST_REGIONS = 2

# Why a file cannot be made that can be made later: what is assigned is kept in memory meanwhile.
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT)


class JournalFull(StoreFailed):
    """The journal holds as much as it may and the store cannot take it."""

    code = "journal-full"


class Journal:
    """The journal of one run, held by its writer. Only the owner thread of the run is in here.

    Args:
        path: The file; None: in memory, for a log that does not mind.
        beside: The file of the store, whose mode and owner it gets.
        uuid: Of the run.
        epoch: Of its writer.
        base: The position that the store has.
        numbers: The keys of the run, with the heads of the records of floats under them.
        most_bytes: How large it may become.

    """

    def __init__(
        self, path: Path | None, beside: Path | None, uuid: UUID, epoch: int, base: int,
        numbers: dict[str, int], most_bytes: int,
    ) -> None:  # fmt: skip
        self.path = path
        self.open: list[Region] = []  #: the one that is written to, and those that come after it
        self.waiting: list[Region] = []  #: at rest, the oldest first; still to be flushed
        self._beside = beside or path
        self._uuid = uuid
        self._epoch = epoch
        self._round = 0
        self._end = base
        self._numbers = numbers
        self._most_bytes = most_bytes
        self._free: list[Region] = []
        self._used: list[Region] = []  # in the store, and to be erased
        self._file_size = 0
        self._file: JournalFile | None = None
        self._make_file()

    def _make_file(self) -> None:
        """Make the file, if there is to be one and is none yet, and it can be made just now."""
        if self.path is None or self._beside is None or self._file is not None:
            return
        try:
            self._file = JournalFile(_make(self.path, self._beside))
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

    @property
    def tail(self) -> Tail:
        """Where to append; from there on, whoever finds it full goes on by itself."""
        return self.open[0].tail if self.open else ASLEEP

    def begin(self, need: int = 0) -> Tail:
        """Open one more region, with room for a record of `need` bytes, behind those that are open.

        Raises `JournalFull`, and `StoreFailed` where there is neither a file nor memory for it.
        """
        self._make_file()
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
            MAGIC, self._uuid.bytes, self._epoch, self._round, region.size,
            UNKNOWN if self.open else self._end, self._file_size,
        )  # fmt: skip
        try:
            tail = region.begin(head, self._numbers)
        except BaseException as error:
            if region.lasting:
                self._used.append(region)  # there may be a part of a header
            if not isinstance(error, OSError):
                raise
            region, tail = self._begin_in_memory(head, error)
        before = self.open[-1].tail if self.open else None
        self.open.append(region)
        if before is not None:
            before.next = tail  # last: from now on others may be there
        return tail

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

    def rest(self, *, whole: bool = False) -> None:
        """Let what was written come to rest, so that it can be flushed.

        Args:
            whole: Leave no region open, so that nothing more can be appended.

        """
        # A want of memory may come at any call: what belongs together is changed by one statement
        # without any, and what was cut short is done again.
        while self.open and (whole or self.open[0].has_records or not self.open[0].is_open):
            region, *others = self.open
            region.rest()
            end, waiting, used = region.end, self.waiting, self._used
            if others:
                others[0].base = end
                with suppress(OSError):  # it is written once more before it is needed
                    others[0].note_base()
            if region.length:
                waiting = [*waiting, region]
            else:
                used = [*used, region]
            self._end, self.waiting, self._used, self.open = end, waiting, used, others
        self._erase()

    def recycle(self, saved: list[Region]) -> None:
        """Make regions free, the first of those that wait: they are in the store."""
        for region in saved:
            region.gone = True
        self.waiting = [region for region in self.waiting if not region.gone]
        self._used += saved
        self._erase()

    def trim(self) -> None:
        """Give back what was taken while the store could not be reached, if nothing is in here."""
        usual = _FIRST_REGIONS * REGION
        if self._file_size <= usual and not self._memory_size:
            return
        self.rest(whole=True)
        if not self.idle or self._used:
            return
        if self._file is None:
            self._free = self._free[:_FIRST_REGIONS]
            return
        size = min(self._file_size, usual)
        self._free = [Region(self._file, at, REGION) for at in range(0, size, REGION)]
        self._file_size = size
        with suppress(OSError):  # it is no loss
            os.ftruncate(self._file.descriptor, size)

    def _erase(self) -> None:
        """Make free what was used.

        Where that fails, it is done another time: the store has these records by now, and its
        position says so to whoever finds them.
        """
        for region in self._used[:]:
            with suppress(OSError, MemoryError):
                for other in (*self.waiting, *self.open[:1]):
                    other.note_base()
                free = region.erase()
                self._used.remove(region)
                self._free.append(free)

    @property
    def idle(self) -> bool:
        """Whether nothing is in it."""
        return not self.waiting and not any(region.has_records for region in self.open)

    @property
    def vanished(self) -> bool:
        """Whether somebody has deleted its file."""
        try:
            return self._file is not None and os.fstat(self._file.descriptor).st_nlink == 0
        except OSError:
            return False  # who knows; it is asked again with the next flush

    @property
    def volatile(self) -> bool:
        """Whether some of it would not outlive the process."""
        return self.path is None or self.in_memory or self.vanished

    @property
    def in_memory(self) -> bool:
        """Whether some of it is where no file is, or no room in it."""
        return any(not region.lasting for region in (*self.open, *self.waiting))

    @property
    def _memory_size(self) -> int:
        """How many bytes were taken where the file could have no more."""
        regions = (*self.open, *self.waiting, *self._used, *self._free)
        return sum(region.size for region in regions if not region.lasting)

    def _add(self, size: int) -> Region:
        """Add room, in memory where the file can have no more."""
        self._require_room(size)
        return self._add_to_file(size) or MemoryRegion(size)

    def _add_to_file(self, size: int) -> Region | None:
        """Add room to the file, if there is one and it can have more.

        Not sparse: touching a page without room on the disk would kill the process.
        """
        if self._file is None:
            return None
        descriptor = self._file.descriptor
        try:
            _allocate(descriptor, self._file_size, size)
        except OSError:
            with suppress(OSError):  # what it got so far
                os.ftruncate(descriptor, self._file_size)
            return None
        region = Region(self._file, self._file_size, size)
        self._file_size += size
        return region

    def _require_room(self, size: int) -> None:
        if self._file_size + self._memory_size + size > max(self._most_bytes, 2 * REGION, size):
            raise JournalFull(
                f"{self.path or 'memory'} holds {self._most_bytes >> 20} MiB (max_pending_bytes) "
                "that the store could not take: nothing more can be assigned until it can be "
                "written again"
            )

    # -- the end ----------------------------------------------------------------------------

    def remove(self) -> None:
        """Delete the journal: everything in it is in the store.

        Where that is not allowed, whoever opens the store next does it.
        """
        if self.path is not None and self._file is not None:
            with suppress(OSError):
                self.path.unlink()
        self.leave()

    def leave(self) -> None:
        """Let go of the journal, and leave the file to whoever recovers it."""
        self.rest(whole=True)
        file, self._file = self._file, None
        if file is not None:
            release(file.descriptor)  # at once, though somebody may still be reading it here

    def forget(self) -> None:
        """Let go of what a forked child inherited: it is its parent's."""
        for region in self.open:
            region.forget()
        self.open, self.waiting, self._free, self._used, self._file = [], [], [], [], None


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
