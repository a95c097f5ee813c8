"""SQLite's WAL, read without SQLite: the pages that were written and are not in the file yet.

SQLite reads a WAL only together with its file. See sqlite.org/fileformat.html, 4.
"""

from __future__ import annotations

import struct
from pathlib import Path

#: The possible sizes of a page, in bytes.
PAGE_SIZES = frozenset(2**power for power in range(9, 17))

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")


class Wal:
    """The committed pages in a WAL: those with right checksums, by SQLite's rules."""

    def __init__(self, path: Path) -> None:
        self.page_size = 0  #: 0: the WAL has no committed pages
        self.count = 0  #: how many pages the database has after the last transaction
        self._places: dict[int, int] = {}
        self._file = path.open("rb") if path.exists() else None
        if self._file is not None:
            self._scan(self._file.read(_HEADER.size))

    def _scan(self, header: bytes) -> None:
        assert self._file is not None  # noqa: S101 - the caller has checked
        if len(header) < _HEADER.size:
            return
        magic, _, size, _, *salt, sum1, sum2 = _HEADER.unpack(header)
        if magic & ~1 != 0x377F0682 or size not in PAGE_SIZES:
            return
        words = struct.Struct(">II" if magic & 1 else "<II")
        if _checksum(words, header[:24], 0, 0) != (sum1, sum2):
            return
        waiting: dict[int, int] = {}
        while len(frame := self._file.read(_FRAME.size + size)) == _FRAME.size + size:
            number, count, *frame_salt, stated1, stated2 = _FRAME.unpack_from(frame)
            if frame_salt != salt or number == 0:
                break
            sum1, sum2 = _checksum(words, frame[:8], sum1, sum2)
            sum1, sum2 = _checksum(words, frame[_FRAME.size :], sum1, sum2)
            if (sum1, sum2) != (stated1, stated2):
                break
            waiting[number] = self._file.tell() - size
            if count:  # the last page of a transaction
                self._places |= waiting
                waiting = {}
                self.count = count
                self.page_size = size

    @property
    def first_page(self) -> bytes | None:
        """The page with the header of the database, if the WAL has it."""
        return self.read(1)

    def read(self, number: int) -> bytes | None:
        """Return a page, or None if the WAL does not have it."""
        place = self._places.get(number)
        if place is None or self._file is None:
            return None
        self._file.seek(place)
        return self._file.read(self.page_size)

    def forget(self) -> None:
        """Ignore the pages of the WAL: it belongs to another file."""
        self._places = {}
        self.count = 0

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _checksum(words: struct.Struct, data: bytes, sum1: int, sum2: int) -> tuple[int, int]:
    for one, two in words.iter_unpack(data):
        sum1 = (sum1 + one + sum2) & 0xFFFFFFFF
        sum2 = (sum2 + two + sum1) & 0xFFFFFFFF
    return sum1, sum2
