"""The pages of a SQLite file, read without SQLite, which stops at the first damage.

Nothing here knows what a log is; sqlite.org/fileformat.html explains the terms. A file is a
sequence of pages. Tables and indexes are trees of pages, whose cells hold records. A long record
goes on in a chain of overflow pages. A lost page loses only its own contents: this code goes
through the file from end to end, and so finds all other pages, whichever page should lead to them.

In a damaged file anything may be wrong. A cell counts only if it fits to the byte: its lengths add
up, and its chain has the stated length, ends there, and belongs to it alone. Any other cell is
`Damage`.
"""

from __future__ import annotations

import struct
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from traininglog.sqlite.repair.cells import Damage, leading_values, values_of, varint
from traininglog.sqlite.repair.wal import PAGE_SIZES, Wal

#: The kinds of pages of a tree, by the first byte of a page.
INNER_INDEX, INNER_TABLE, INDEX, TABLE = 2, 5, 10, 13

_TREE = frozenset((INNER_INDEX, INNER_TABLE, INDEX, TABLE))
_INNER = frozenset((INNER_INDEX, INNER_TABLE))
_FILE_HEADER = 100  # bytes, at the beginning of page 1

# The types of pages in the pointer map, which files that can shrink have.
_ROOT, _FREE, _FIRST_OVERFLOW, _LATER_OVERFLOW, _BRANCH = 1, 2, 3, 4, 5

_MAGIC = b"SQLite format 3\0"
_USUAL_SIZE = 4096
_LOCKED_BYTE = 0x40000000  # SQLite never uses the page with this byte

_U32 = struct.Struct(">I")
_MAP_ENTRY = struct.Struct(">BI")


class Record(NamedTuple):
    """The contents of a cell."""

    rowid: int | None  #: None in an index, or in a table without rowids
    values: tuple[Any, ...]
    #: Its last page is all zeros: as it was written, or because it was zeroed since.
    doubtful: bool


class Reading(NamedTuple):
    """The contents of a page, if it is of a certain kind."""

    kind: int  #: as in the first byte of a page
    records: list[Record]
    damaged: int  #: how many cells are damaged
    #: The remains of some damaged cells: the first columns, if the page itself still has them; or
    #: all columns, if two records claim the same overflow page and nothing tells which is right.
    broken: list[Record]


class Pages:
    """All pages of a file, as they were after the last transaction in its WAL.

    No process may write to the file meanwhile. It is read with plain file calls, so a process that
    has the file open in SQLite would lose its locks on it.
    """

    def __init__(self, path: Path, wal: Path) -> None:
        self._log = Wal(wal)
        self._file = path.open("rb")
        try:
            start = self._log.first_page or self._file.read(_FILE_HEADER)
            self.has_header = start.startswith(_MAGIC) and len(start) >= _FILE_HEADER
            self._start = start[:_FILE_HEADER].ljust(_FILE_HEADER, b"\0")
            self.size = self._page_size()
            if self._log.page_size != self.size:
                self._log.forget()
            held = path.stat().st_size // self.size
            told = _U32.unpack_from(self._start, 28)[0] if self.has_header else 0
            #: How many pages there should be. An implausible number in the header is ignored.
            self.count = self._log.count or max(held, told if told < 20 * held + 1000 else 0)
            unused = self._start[20] if self.has_header else 0  # bytes at the end of each page
            self._usable = self.size
            if unused and self._misfits(self.size - unused) <= self._misfits(self.size):
                self._usable = self.size - unused
            self._survey()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        self._log.close()

    @property
    def application_id(self) -> int:
        """The application id in the header, which says whose file it is."""
        return int(_U32.unpack_from(self._start, 68)[0])

    def _page_size(self) -> int:
        stated = int.from_bytes(self._start[16:18], "big")
        size = 65536 if stated == 1 else stated
        if self.has_header and size in PAGE_SIZES:
            return size
        return self._log.page_size or _USUAL_SIZE

    def _misfits(self, usable: int) -> int:
        """Return how many cells seem damaged, on some pages, if a page has so many usable bytes."""
        self._usable = usable
        self._survey()
        return sum(
            reading.damaged for number in self.used()[:200] for reading in self.readings(number)
        )

    def read(self, number: int) -> bytes:
        """Return a page, or empty bytes if it is missing."""
        page = self._log.read(number)
        if page is None:
            self._file.seek((number - 1) * self.size)
            page = self._file.read(self.size)
        return page if len(page) == self.size else b""

    # -- the structure of the file --------------------------------------------------------------

    def _survey(self) -> None:
        """Read the file once, to find the parents and the roles of its pages."""
        self._parents: dict[int, int] = {}
        self._roles: dict[int, int] = {}
        self._maps = set(self._read_map())
        continued = {
            parent for number, parent in self._parents.items()
            if self._roles[number] == _LATER_OVERFLOW
        }  # fmt: skip
        free = self._read_free_list()
        #: Pages that are not in use. Their contents were deleted, or moved elsewhere.
        self.free = {
            number for number in range(1, self.count + 1)
            if (self._roles[number] == _FREE if number in self._roles else number in free)
        }  # fmt: skip
        self.missing: set[int] = set()
        #: Zeroed pages that once had contents. Reading records may find more of them.
        self.zeroed: set[int] = set()
        nothing = bytes(self.size)
        for number in self.used():
            page = self.read(number)
            if not page:
                self.missing.add(number)
            elif page == nothing:
                role = self._roles.get(number)
                # The last page of a long value may rightly be all zeros.
                if role not in (_FIRST_OVERFLOW, _LATER_OVERFLOW) or number in continued:
                    self.zeroed.add(number)
            else:
                for child in self._children(number, page):
                    self._parents.setdefault(child, number)

    def used(self) -> list[int]:
        """Return the numbers of all pages that are in use."""
        return [
            number for number in range(1, self.count + 1)
            if number not in self.free and number != self._locked
        ]  # fmt: skip

    @property
    def _locked(self) -> int:
        return _LOCKED_BYTE // self.size + 1

    def _read_map(self) -> list[int]:
        """Read the pointer map; return the numbers of its pages.

        A page of the map is recognized by its contents: in another page at its place, few entries
        would be possible.
        """
        each = self._usable // 5
        numbers = []
        for base in range(2, self.count + 1, each + 1):
            number = base + (base == self._locked)
            page = self.read(number)
            told = min(each, self.count - number, len(page) // 5)
            entries = {
                entry: (role, parent)
                for entry, (role, parent) in enumerate(
                    _MAP_ENTRY.iter_unpack(page[: 5 * max(0, told)]), start=number + 1
                )
                if _ROOT <= role <= _BRANCH
                and parent <= self.count
                and (parent == 0) == (role in (_ROOT, _FREE))
            }
            if 2 * len(entries) > told > 0:
                numbers.append(number)
                self._roles |= {entry: role for entry, (role, _) in entries.items()}
                self._parents |= {entry: parent for entry, (_, parent) in entries.items() if parent}
        return numbers

    def _read_free_list(self) -> set[int]:
        """Return the pages in the list of free pages; none if the list is damaged."""
        free: set[int] = set()
        if not self.has_header:
            return free
        trunk, total = struct.unpack_from(">II", self._start, 32)
        while trunk:
            page = self.read(trunk) if 1 < trunk <= self.count and trunk not in free else b""
            if not page:
                return set()
            trunk_was, (trunk, count) = trunk, struct.unpack_from(">II", page, 0)
            if count > self._usable // 4 - 2:
                return set()
            free |= {trunk_was, *struct.unpack_from(f">{count}I", page, 8)}
        return free if len(free) == total else set()

    def _children(self, number: int, page: bytes) -> list[int]:
        """Return the child pages of an inner page of a tree; none for another page."""
        at = _FILE_HEADER if number == 1 else 0
        if page[at] not in _INNER or number in self._maps:
            return []
        count = min(int.from_bytes(page[at + 3 : at + 5], "big"), self._most_cells)
        pointers = struct.unpack_from(f">{count}H", page, at + 12)
        places = [at + 8, *(pointer for pointer in pointers if pointer <= self._usable - 4)]
        numbers = [_U32.unpack_from(page, place)[0] for place in places]
        return [number for number in numbers if 1 < number <= self.count]

    def root(self, number: int) -> int:
        """Return the root of the tree that a page belongs to, as far as its parents are known."""
        seen = set()
        while number in self._parents and number not in seen:
            seen.add(number)
            number = self._parents[number]
        return number

    def is_of_a_tree(self, number: int) -> bool:
        """Return whether a page should be one of a tree, whatever its contents."""
        if number in self._maps:
            return False
        role = self._roles.get(number)
        return number == 1 or role in (_ROOT, _BRANCH)

    def is_damaged(self, number: int) -> bool:
        """Return whether a page is lost as a whole."""
        if number in self.missing or number in self.zeroed:
            return True
        at = _FILE_HEADER if number == 1 else 0
        return self.is_of_a_tree(number) and self.read(number)[at] not in _TREE

    # -- records ----------------------------------------------------------------------------

    @property
    def _most_cells(self) -> int:
        return (self._usable - 8) // 6

    def readings(self, number: int) -> list[Reading]:
        """Return the possible readings of a page.

        If its stated kind fits without damage, there is only that reading. If not, there is also a
        reading for each other kind that finds records: the byte with the kind may be damaged.
        """
        page = self.read(number)
        if not page or number in self._maps:
            return []
        stated = page[_FILE_HEADER if number == 1 else 0]
        readings = []
        if stated in (INDEX, TABLE, INNER_INDEX):
            reading = self._records(number, page, stated)
            readings.append(reading)
            if not reading.damaged:
                return readings
        elif stated != INNER_TABLE and not self.is_of_a_tree(number):
            return []
        for kind in {INDEX, TABLE, INNER_INDEX} - {stated}:
            reading = self._records(number, page, kind)
            if reading.records:
                readings.append(reading)
        return readings

    def _records(self, number: int, page: bytes, kind: int) -> Reading:
        at = _FILE_HEADER if number == 1 else 0
        start = at + (12 if kind in _INNER else 8)
        count = int.from_bytes(page[at + 3 : at + 5], "big")
        damaged = 0
        if count > self._most_cells:
            count = min(self._most_cells, (self._usable - start) // 2)
            damaged = 1
        stop = start + 2 * count
        records = []
        broken: list[Record] = []
        chains = []
        for pointer in struct.unpack_from(f">{count}H", page, start):
            try:
                if not stop <= pointer < self._usable:
                    raise Damage
                record, chain = self._record(number, page, pointer, kind)
            except Damage as damage:
                damaged += 1
                broken += damage.args
            else:
                records.append(record)
                chains.append(chain)
        if len(set(chains) - {0}) < len(chains) - chains.count(0):
            # If two records go on in the same page, one is wrong, and nothing tells which.
            twice = {chain for chain, claims in Counter(chains).items() if chain and claims > 1}
            pairs = list(zip(records, chains, strict=True))
            records = [record for record, chain in pairs if chain not in twice]
            broken += [record for record, chain in pairs if chain in twice]
            damaged += len(pairs) - len(records)
        return Reading(kind, records, damaged, broken)

    def _record(self, number: int, page: bytes, at: int, kind: int) -> tuple[Record, int]:
        """Return the record of a cell, and the first page of its overflow chain, or 0.

        Raises `Damage`, with the remains of the record if the page itself has its beginning.
        """
        rowid = None
        chain = zeros = 0
        payload = b""
        try:
            if kind == INNER_INDEX:
                at += 4
            size, at = varint(page, at)
            if kind == TABLE:
                rowid, at = varint(page, at)
            local = self._local(size, kind)
            if at + local > self._usable:
                raise Damage
            payload = page[at : at + local]
            if local < size:
                chain = _U32.unpack_from(page, at + local)[0]
                rest, zeros = self._overflow(number, chain, size - local)
                payload += rest
            return Record(rowid, values_of(payload), zeros > 0), chain
        except (Damage, IndexError, struct.error, UnicodeDecodeError) as error:
            if zeros:  # the record does not fit, so its zeros were not written
                self.zeroed.add(zeros)
            left = []
            with suppress(Damage, IndexError, struct.error, UnicodeDecodeError):
                left = [Record(rowid, leading_values(payload), zeros > 0)] if chain else []
            raise Damage(*left) from error

    def _local(self, size: int, kind: int) -> int:
        """Return how many bytes of a record of some size its cell itself holds."""
        usable = self._usable
        most = usable - 35 if kind == TABLE else (usable - 12) * 64 // 255 - 23
        if 0 <= size <= most:
            return size
        if size < 0 or size > self.count * usable:
            raise Damage
        least = (usable - 12) * 32 // 255 - 23
        local = least + (size - least) % (usable - 4)
        return local if local <= most else least

    def _overflow(self, owner: int, number: int, size: int) -> tuple[bytes, int]:
        """Return `size` bytes from an overflow chain, and the number of its last page, or 0.

        The number is given only if that page is all zeros.
        """
        parts = []
        page = b""
        each = self._usable - 4
        role = _FIRST_OVERFLOW
        while size > 0:
            if not 1 < number <= self.count or number in self.free:
                raise Damage
            if self._roles.get(number, role) != role:
                raise Damage
            if number in self._roles and self._parents.get(number) != owner:
                raise Damage  # it belongs to another value
            page = self.read(number)
            if not page:
                raise Damage
            parts.append(page[4 : 4 + min(size, each)])
            owner, number = number, _U32.unpack_from(page, 0)[0]
            size -= each
            role = _LATER_OVERFLOW
        if number:
            raise Damage
        return b"".join(parts), owner if page == bytes(self.size) else 0
