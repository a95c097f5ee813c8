"""Reading JSON that anybody may have written: strictly, and with limits on its size."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from traininglog.errors import CorruptLog, NotATrainingLog, StoreFailed, StoreUnwritable
from traininglog.locked_files import NotRegular, open_regular
from traininglog.values import StoredRow

_BLOCK = 2**20
#: A document of more bytes than this is only read if it begins as ours do.
_LARGE = 2**25
_BEGINNING = 4096
#: A document or tail of more bytes than this is not read at all.
MOST = 2**30
#: A line of a tail of more bytes than this is not read.
_LONGEST_LINE = 2**26

#: The inode, size and time of change of a file, which tell its states apart.
Stamp = tuple[int, int, int]


def stamp_of(found: os.stat_result) -> Stamp:
    """Return the stamp of a file, which changes when the file is written or replaced."""
    return found.st_ino, found.st_size, found.st_mtime_ns


def read_text(path: Path, mark: str, known: Stamp | None) -> tuple[Stamp, str | None]:
    """Return the stamp of a document and its text, or None in its place if the stamp is `known`.

    Args:
        path: The document.
        mark: A text near the beginning of every large document of ours.
        known: The stamp of a document whose text the caller knows.

    Raises `FileNotFoundError` and, if it cannot be read, `CorruptLog`, `NotATrainingLog`,
    `StoreUnwritable` or `StoreFailed`.
    """
    try:
        descriptor = open_regular(path, os.O_RDONLY)
        with open(descriptor, "rb", buffering=0) as stream:  # noqa: PTH123 - it is open
            found = os.fstat(descriptor)
            stamp = stamp_of(found)
            if stamp == known:
                return stamp, None
            return stamp, _decoded(path, _read(path, stream, found.st_size, mark.encode()))
    except NotRegular as error:
        raise NotATrainingLog(f"{path}: {error.strerror}; name another one") from error
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise StoreUnwritable(f"{path} cannot be read; check its permissions") from error
    except OSError as error:
        raise StoreFailed(f"{path} cannot be read: {error.strerror}") from error


def _read(path: Path, stream: Any, size: int, mark: bytes) -> bytearray:
    if size > MOST:
        raise NotATrainingLog(
            f"{path} has {size:,} bytes, more than a document of trials can have; it was left as "
            "it is, name another one"
        )
    found = bytearray()
    while block := stream.read(_BLOCK):
        if 0 in block:  # the hole of a sparse file reads as zeros
            raise CorruptLog(
                f"{path} is no JSON: there is a NUL in it; it was left as it is, mend it or "
                "restore a copy"
            )
        found += block
        if len(found) > _LARGE and mark not in found[:_BEGINNING]:
            raise NotATrainingLog(f"{path} holds no trials; it was left as it is")
    return found


def _decoded(path: Path, found: bytearray) -> str:
    try:
        return found.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorruptLog(
            f"{path} is no JSON: {error}; it was left as it is, mend it or restore a copy"
        ) from error


def parsed(text: str) -> Any:
    """Parse JSON. Raises `ValueError` for anything that `json.dumps` does not write."""
    try:
        return json.loads(
            text, object_pairs_hook=_object, parse_constant=_refuse, parse_float=_number
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _object(pairs: list[tuple[str, object]]) -> StoredRow:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise ValueError(f"the key {twice[:80]!r} is there twice")
    return made


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        _refuse(text)
    return number


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text[:80]} is no number of JSON's, or one too large")


def lines_of(descriptor: int, size: int) -> Iterator[bytes | None]:
    """Yield the whole lines in the first bytes of an open file; None for one longer than ours are.

    It leaves out the bytes after the last whole line: a writer may still be writing that line.
    """
    position, length = 0, 0
    waiting = bytearray()
    while position < size:
        block = os.pread(descriptor, min(_BLOCK, size - position), position)
        if not block:
            return
        position += len(block)
        *whole, rest = block.split(b"\n")
        for part in whole:
            length += len(part)
            yield bytes(waiting + part) if length <= _LONGEST_LINE else None
            waiting, length = bytearray(), 0
        length += len(rest)
        if length <= _LONGEST_LINE:
            waiting += rest


def end_of_lines(descriptor: int, size: int) -> int:
    """Return where the last whole line in the first bytes of an open file ends."""
    end = size
    while end:
        start = max(0, end - _BLOCK)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
