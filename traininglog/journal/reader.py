"""The reader of journals beside a database: their names and their contents.

The writer of a journal that a reader finds may be dead, or alive and still writing it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from traininglog import file_locks
from traininglog.errors import StoreUnwritable
from traininglog.journal.gaps import Gap
from traininglog.journal.region import (
    HEADER,
    IN_TURN,
    MAGIC,
    REGION,
    UNCOUNTED,
    UNKNOWN,
    is_blank,
    read_base,
    read_gap,
    read_head,
)
from traininglog.plain_files import PlainFile, kind_of

# The byte that is locked: far beyond the end, where nothing is ever written.
_HOLDING = 2**62

_SUFFIX = "-tail-"
_DISPLACED = "-displaced-"
_DAMAGED = "-damaged-tail-"

# Byte n + e * 2**32 of a file is locked for epoch e of run n, and locks end at 2**63.
_MOST_EPOCHS = 2**29
_MOST_BYTES = 2**63

# A log has written a larger region than this only if at least 1/16 of it is on the disk.
_LARGE, _LEAST_SHARE = 2**26, 16

# The bytes of one step of the search for the end of the records.
_LOOK = 2**16


class FolderNotListed(StoreUnwritable):
    """The folder of a database may be entered, but not listed."""

    code = "folder-not-listed"


class Left(NamedTuple):
    """A journal beside a database, described by its name."""

    path: Path
    uuid: UUID
    epoch: int
    #: The position up to which the database has it, if the run's next writer took the run over.
    displaced_at: int | None


class Lookalike(NamedTuple):
    """A file or folder that has the name of a journal, and cannot be one."""

    path: Path
    why: str  #: for people, after the path


class BoundlessRegion(Exception):
    """A region that claims far more bytes than it has on the disk, and would take all memory."""


class LeftRegion(NamedTuple):
    """The place of a region in a journal that was left."""

    base: int
    tag: int
    gap: Gap | None
    path: Path
    at: int  #: where its records begin in the file
    end: int
    counted: bool  #: whether its tags count records, see `order`

    def read(self) -> bytes:
        """Return its records. Raises `BoundlessRegion`, and `OSError`."""
        with closing(PlainFile(self.path)) as file:
            end = file.end_of_content(self.at, self.end)
            if end - self.at > _LARGE and file.allocated * _LEAST_SHARE < end - self.at:
                raise BoundlessRegion
            return file.read(self.at, end).rstrip(b"\0")


class Contents(NamedTuple):
    """The contents of a journal that was left."""

    regions: list[LeftRegion]  #: in the order in which they were used
    damage: str | None  #: the damage of the file as a whole; for people


def journal_path(database: Path, uuid: UUID, epoch: int) -> Path:
    """Return the path of the journal of a run: beside the file that a link leads to."""
    real = database.resolve()
    return real.with_name(f"{real.name}{_SUFFIX}{uuid.hex}-{epoch}")


def displaced_path(journal: Path, position: int) -> Path:
    """Return the path of a journal that the next writer took over, with its checkpoint position."""
    head, _, rest = journal.name.rpartition(_SUFFIX)
    return journal.with_name(f"{head}{_DISPLACED}{rest}-{position}")


def damaged_path(journal: Path) -> Path:
    """Return the path at which a damaged journal is kept."""
    for kind in (_SUFFIX, _DISPLACED):
        head, found, rest = journal.name.rpartition(kind)
        if found:
            return journal.with_name(f"{head}{_DAMAGED}{rest}")
    return journal


def journals_beside(database: Path) -> Iterator[Left]:
    """Return the journals that lie beside a database. Raises `FolderNotListed`."""
    return (found for found in named_like_journals(database) if isinstance(found, Left))


def lookalikes_beside(database: Path) -> list[Lookalike]:
    """Return the entries beside a database that have the name of a journal and cannot be one.

    Anything may lie in a shared folder, or in one from an archive. No entry is opened: opening or
    reading it may never end.
    """
    return [found for found in named_like_journals(database) if isinstance(found, Lookalike)]


def named_like_journals(database: Path) -> Iterator[Left | Lookalike]:
    """Yield what lies beside a database and has the name of a journal. Raises `FolderNotListed`."""
    real = database.resolve()
    try:
        with os.scandir(real.parent) as entries:
            beside = {
                entry.name: entry.is_file(follow_symlinks=False)
                for entry in entries
                if entry.name.startswith((real.name + _SUFFIX, real.name + _DISPLACED))
            }
    except PermissionError as error:
        raise FolderNotListed(
            f"the folder {real.parent} may not be listed, so that journals in it cannot be found; "
            "whoever owns it may allow that: chmod +r"
        ) from error
    for name, regular in sorted(beside.items()):
        for kind, parts in ((_SUFFIX, 2), (_DISPLACED, 3)):
            words = name.removeprefix(real.name + kind).split("-")
            if not name.startswith(real.name + kind) or len(words) != parts:
                continue
            digits, *numbers = words
            if (
                len(digits) == 32
                and not set(digits) - set("0123456789abcdef")
                and all(number.isascii() and number.isdecimal() for number in numbers)
            ):
                path = real.with_name(name)
                if not regular:
                    yield Lookalike(path, f"is {kind_of(path)}")
                elif not all(map(_is_below, numbers, (_MOST_EPOCHS, _MOST_BYTES))):
                    yield Lookalike(path, "has a number in its name that no journal has")
                else:
                    position = int(numbers[1]) if parts == 3 else None
                    yield Left(path, UUID(digits), int(numbers[0]), position)


def _is_below(digits: str, most: int) -> bool:
    return len(digits) < 20 and int(digits) < most


def damaged_beside(database: Path) -> list[Path]:
    """Return the journals beside a database that were kept because they are damaged."""
    real = database.resolve()
    return sorted(real.parent.glob(f"{_escaped(real.name)}{_DAMAGED}*"))


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def hold(descriptor: int) -> None:
    """Lock a journal of ours by its open file, whatever happens to its name and its owner."""
    if file_locks.OWN:
        file_locks.lock(descriptor, _HOLDING)
    else:  # a record lock would be released once any reader in this process closes the file
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def release(descriptor: int) -> None:
    """Unlock a journal that this process no longer writes."""
    if file_locks.OWN:
        file_locks.unlock(descriptor, _HOLDING)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def is_held(path: Path) -> bool:
    """Return whether a live process has a journal open to write it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if file_locks.OWN:
            return file_locks.is_locked(descriptor, _HOLDING)
        return _is_flocked(descriptor)
    finally:
        os.close(descriptor)


def _is_flocked(descriptor: int) -> bool:
    """Return whether a file is locked by `flock`, on systems without locks of an open file."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def read_journal(left: Left | Path) -> Contents:
    """Return the contents of a journal. Its writer may go on meanwhile.

    A journal whose process died as it made the file has no regions. The records themselves are read
    later, one region at a time. Raises `FileNotFoundError`, and `OSError` if it cannot be read.
    """
    path = left if isinstance(left, Path) else left.path
    found: list[tuple[int, LeftRegion]] = []
    damage = None
    wanted_size = 0
    at = 0
    with closing(PlainFile(path)) as file:
        while (at := file.start_of_content(at) // REGION * REGION) < file.size:
            start = file.read(at, at + HEADER)
            if is_blank(start, 0):
                at += REGION
                continue
            header = read_head(start, 0)
            if header is None:
                # A header that the process was writing as it died has no records after it.
                if file.read(at + HEADER, at + REGION).strip(b"\0"):
                    damage = f"{path} is damaged: a region of it has no header"
                at += REGION
                continue
            head, tag = header
            if head.magic not in (MAGIC, IN_TURN, UNCOUNTED):
                return Contents([], f"{path} is of a version of traininglog that this one is not")
            if isinstance(left, Left) and (head.run, head.epoch) != (left.uuid.bytes, left.epoch):
                return Contents([], f"{path} is damaged: its name is that of another journal")
            if head.size < REGION or head.size % REGION:
                damage = f"{path} is damaged: a region of it has no possible size"
                at += REGION
                continue
            wanted_size = max(wanted_size, head.file_size)
            end = min(at + head.size, file.size)
            gap = read_gap(start, 0, tag)
            counted = head.magic != UNCOUNTED
            base = read_base(start, 0, head, tag)
            left_of_it = LeftRegion(
                UNKNOWN if base is None else base, tag, gap, path, at + HEADER, end, counted
            )
            found.append((head.round, left_of_it))
            at += head.size
        if file.size < wanted_size or (file.size % REGION and file.has_content):
            damage = f"{path} is damaged: it was cut short"
    regions, more = _in_order(found)
    if more and damage is None:
        damage = f"{path} is damaged: what comes before a region of it is not there"
    return Contents(regions, damage)


def _in_order(found: list[tuple[int, LeftRegion]]) -> tuple[list[LeftRegion], bool]:
    """Return regions in the order in which they were used, and whether others have records.

    A region that was opened in advance gets its base from the region before it, if that is there.
    """
    regions: list[LeftRegion] = []
    last, more = -1, False
    for number, region in sorted(found, key=lambda pair: pair[0]):
        placed = region
        if region.base == UNKNOWN:
            if last != number - 1 or not regions:
                more = more or bool(_length(region))
                continue
            before = regions[-1]
            placed = region._replace(base=before.base + _length(before))
        regions.append(placed)
        last = number
    return regions, more


def _length(region: LeftRegion) -> int:
    """Return the bytes of records in a region. The last byte of a record is never 0."""
    with closing(PlainFile(region.path)) as file:
        stop = file.end_of_content(region.at, region.end)
        while stop > region.at:
            start = max(region.at, stop - _LOOK)
            found = file.read(start, stop).rstrip(b"\0")
            if found:
                return start + len(found) - region.at
            stop = start
    return 0
