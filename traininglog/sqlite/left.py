"""The journals beside a database: what they are called, and what is left in one.

For whoever finds them: the writer of a run may be dead, or alive and at work on its journal.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from traininglog import file_locks
from traininglog.sqlite.gaps import Gap
from traininglog.sqlite.regions import HEADER, MAGIC, REGION, is_blank, read_gap, read_head

# The byte that is locked; far beyond the end, where nothing is ever written.
_HOLDING = 2**62

_SUFFIX = "-tail-"
_DISPLACED = "-displaced-"
_DAMAGED = "-damaged-tail-"


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
    return real.with_name(f"{real.name}{_SUFFIX}{uuid.hex}-{epoch}")


def displaced_path(journal: Path, position: int) -> Path:
    """Return the name of a journal whose run somebody else has taken over, up to a position."""
    head, _, rest = journal.name.rpartition(_SUFFIX)
    return journal.with_name(f"{head}{_DISPLACED}{rest}-{position}")


def damaged_path(journal: Path) -> Path:
    """Return the name under which a damaged journal is kept."""
    for kind in (_SUFFIX, _DISPLACED):
        head, found, rest = journal.name.rpartition(kind)
        if found:
            return journal.with_name(f"{head}{_DAMAGED}{rest}")
    return journal


def journals_beside(database: Path) -> Iterator[Left]:
    """Return the journals that lie beside a database."""
    real = database.resolve()
    with os.scandir(real.parent) as entries:
        names = sorted(entry.name for entry in entries if entry.name.startswith(real.name + "-"))
    for name in names:
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
                position = int(numbers[1]) if parts == 3 else None
                yield Left(real.with_name(name), UUID(digits), int(numbers[0]), position)


def damaged_beside(database: Path) -> list[Path]:
    """Return the journals beside a database that were kept because they are damaged."""
    real = database.resolve()
    return sorted(real.parent.glob(f"{_escaped(real.name)}{_DAMAGED}*"))


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def hold(descriptor: int) -> None:
    """Hold a journal of ours by its open file, whatever becomes of its name and of the owners."""
    if file_locks.OWN:  # else whoever read it in this process would let go of it
        file_locks.lock(descriptor, _HOLDING)


def is_held(path: Path) -> bool:
    """Tell whether a process that lives has a journal open to write it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return file_locks.OWN and file_locks.is_locked(descriptor, _HOLDING)
    finally:
        os.close(descriptor)


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
        if is_blank(content, at):
            at += REGION
            continue
        header = read_head(content, at)
        if header is None:
            # One that was being written as the process died has no records after it.
            if content[at + HEADER : at + REGION].strip(b"\0"):
                damage = f"{path} is damaged: a region of it has no header"
            at += REGION
            continue
        head, tag = header
        if head.magic != MAGIC:
            return Contents([], f"{path} is of a version of traininglog that this one is not")
        wanted_size = max(wanted_size, head.file_size)
        data = content[at + HEADER : at + head.size].rstrip(b"\0")
        found.append((head.round, LeftRegion(head.base, tag, data, read_gap(content, at, tag))))
        at += head.size
    if len(content) < wanted_size or (len(content) % REGION and content.strip(b"\0")):
        damage = f"{path} is damaged: it was cut short"
    found.sort(key=lambda pair: pair[0])
    return Contents([region for _, region in found], damage)
