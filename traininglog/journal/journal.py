"""The write-ahead journal: assignments that no store has yet, where a kill cannot reach them.

Each run that a log writes has a file ``runs.db-tail-<uuid>-<epoch>`` beside its store, preallocated
and mapped into memory. An assignment returns once it is copied there: from then on its bytes belong
to the kernel, and outlive the process. The copy is one call into C, which no other thread and no
signal handler can interrupt, so it needs no lock.

The file consists of regions. Assignments go to one of them until it is full or a flush begins. Then
that region rests, closed to writing, and the next one takes the assignments. From the first flush
on it was opened in advance, so no assignment waits for it. A flush saves the regions at rest. After
the commit, they are erased and used again. While the store cannot be written, the journal adds
regions.

The position (log sequence number) of a record is the number of bytes of records of the run before
it. Each flush stores, in the same transaction, the position up to which everything is in the store:
the checkpoint. So a process that finds a journal left behind (`reader`) knows which records the
store already has.
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

# A new file has room to write one region while another is flushed.
_FIRST_REGIONS = 2

# Errors after which the file may be made later. Meanwhile assignments are kept in memory.
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT)


class JournalFull(StoreFailed):
    """The journal holds as much as it may, and the store cannot take it."""

    code = "journal-full"


class Journal:
    """The journal of one run, as its writer uses it. Only the owner thread calls its methods.

    Args:
        path: The file. None: in memory, for a log that may lose it with the process.
        beside: The file of the store, whose mode and owner the journal gets.
        uuid: The run.
        epoch: The epoch of its writer.
        base: The position that the store has.
        numbers: The keys of the run, with the heads of the records of floats under them.
        most_bytes: The most bytes that the journal may take.

    """

    def __init__(
        self, path: Path | None, beside: Path | None, uuid: UUID, epoch: int, base: int,
        numbers: dict[str, int], most_bytes: int,
    ) -> None:  # fmt: skip
        self.path = path
        self.open: list[Region] = []  #: the current region, and those opened in advance
        self.waiting: list[Region] = []  #: regions at rest, the oldest first; not flushed yet
        self._beside = beside or path
        self._uuid = uuid
        self._epoch = epoch
        self._round = 0
        self._end = base
        self._numbers = numbers
        self._most_bytes = most_bytes
        self._free: list[Region] = []
        self._used: list[Region] = []  # in the store, but not erased yet
        self._file_size = 0
        self._file: JournalFile | None = None
        self._make_file()

    def _make_file(self) -> None:
        """Make the file if it is missing, or ignore an error that may pass."""
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
        """Where to append. A thread that finds the tail full goes on to the next one by itself."""
        return self.open[0].tail if self.open else ASLEEP

    def begin(self, need: int = 0) -> Tail:
        """Open one more region behind the open ones, with room for a record of `need` bytes.

        Raises `JournalFull`, and `StoreFailed` if there is neither a file nor memory for it.
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
                self._used.append(region)  # it may hold a part of a header
            if not isinstance(error, OSError):
                raise
            region, tail = self._begin_in_memory(head, error)
        before = self.open[-1].tail if self.open else None
        self.open.append(region)
        if before is not None:
            before.next = tail  # last: from now on other threads may append to it
        return tail

    def _begin_in_memory(self, head: Head, why: OSError) -> tuple[Region, Tail]:
        """Open a region in memory, because the file could not be written."""
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
        """Close the written regions, so that they can be flushed.

        Args:
            whole: Close every region, so that nothing more can be appended.

        """
        # Any call may raise `MemoryError`. So one statement without calls changes all attributes
        # that belong together, and the next call repeats what an error cut short.
        while self.open and (whole or self.open[0].has_records or not self.open[0].is_open):
            region, *others = self.open
            region.rest()
            end, waiting, used = region.end, self.waiting, self._used
            if others:
                others[0].base = end
                with suppress(OSError):  # `_erase` writes it again before it is needed
                    others[0].note_base()
            if region.length:
                waiting = [*waiting, region]
            else:
                used = [*used, region]
            self._end, self.waiting, self._used, self.open = end, waiting, used, others
        self._erase()

    def recycle(self, saved: list[Region]) -> None:
        """Free regions that the store has, the first of those that wait."""
        for region in saved:
            region.gone = True
        self.waiting = [region for region in self.waiting if not region.gone]
        self._used += saved
        self._erase()

    def trim(self) -> None:
        """Shrink an empty journal to its usual size: it grows while the store cannot be reached."""
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
        with suppress(OSError):  # a larger file does no harm
            os.ftruncate(self._file.descriptor, size)

    def _erase(self) -> None:
        """Erase the used regions, and make them free.

        A region that cannot be erased is tried again later. The store has its records by now, and
        the position of the store says so to a reader that finds them.
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
        """Whether the journal has no records to flush."""
        return not self.waiting and not any(region.has_records for region in self.open)

    @property
    def vanished(self) -> bool:
        """Whether its file was deleted."""
        try:
            return self._file is not None and os.fstat(self._file.descriptor).st_nlink == 0
        except OSError:
            return False  # not known; the next flush asks again

    @property
    def volatile(self) -> bool:
        """Whether some of its records would not outlive the process."""
        return self.path is None or self.in_memory or self.vanished

    @property
    def in_memory(self) -> bool:
        """Whether some of its regions are in memory, because there was no file or no room in it."""
        return any(not region.lasting for region in (*self.open, *self.waiting))

    @property
    def _memory_size(self) -> int:
        """The bytes of its regions in memory."""
        regions = (*self.open, *self.waiting, *self._used, *self._free)
        return sum(region.size for region in regions if not region.lasting)

    def _add(self, size: int) -> Region:
        """Add a region, in memory if the file cannot grow."""
        self._require_room(size)
        return self._add_to_file(size) or MemoryRegion(size)

    def _add_to_file(self, size: int) -> Region | None:
        """Add a region to the file; return None if there is no file or it cannot grow.

        The room is allocated, not sparse: touching a page without room on the disk would kill the
        process.
        """
        if self._file is None:
            return None
        descriptor = self._file.descriptor
        try:
            _allocate(descriptor, self._file_size, size)
        except OSError:
            with suppress(OSError):  # give back the part that was allocated
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
        """Delete the journal: the store has everything in it.

        If that is not allowed, the next process that opens the store does it.
        """
        if self.path is not None and self._file is not None:
            with suppress(OSError):
                self.path.unlink()
        self.leave()

    def leave(self) -> None:
        """Close the journal, and leave the file to a process that recovers it."""
        self.rest(whole=True)
        file, self._file = self._file, None
        if file is not None:
            release(file.descriptor)  # at once, though a thread may still read the file

    def forget(self) -> None:
        """Drop everything in a forked child: the journal is its parent's."""
        for region in self.open:
            region.forget()
        self.open, self.waiting, self._free, self._used, self._file = [], [], [], [], None


def _allocate(descriptor: int, offset: int, size: int) -> None:
    try:
        os.posix_fallocate(descriptor, offset, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
        zeros = bytes(2**16)  # writing zeros allocates the room as well
        for at in range(offset, offset + size, len(zeros)):
            write_all(descriptor, zeros, at)


def _make(path: Path, database: Path) -> int:
    try:
        descriptor = make_beside(database, path)  # with the mode of the database, no wider
    except FileExistsError:
        kind = kind_of(path)
        if kind is not None:
            raise OSError(errno.EEXIST, f"{kind} has its name: move it away") from None
        # No other writer has this epoch of the run: Ctrl-C interrupted an earlier attempt.
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
