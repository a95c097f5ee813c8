"""Salvaging the rows of our tables from the pages of a damaged file.

The contents of a page tell which table or index it belongs to: each has records of a form of its
own. Exceptions are some indexes, and projects and environments, which their contents tell apart. So
the list of tables, and the path from it to a page, may be lost. If they exist, they tell those
indexes apart, and foreign tables.
"""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from types import NoneType
from typing import NamedTuple

from sqlalchemy import Float, Integer, LargeBinary, String, Table

from traininglog.sql.tables import (
    VERSION_TABLE,
    entries,
    environments,
    keys,
    marks,
    metadata,
    projects,
    runs,
    segments,
    status,
)
from traininglog.sqlite.repair.pages import TABLE, Pages, Reading, Record

#: The indexes. Each has a second copy of some columns of its table.
KEYS_BY_NAME = "keys by name"  # run_id, name, id
STATUS_BY_KEY = "status by key"  # run_id, key, id
RUNS_BY_UUID = "runs by uuid"  # uuid, id
RUNS_BY_PARENT = "runs by parent"  # resumed_from, id
SEGMENTS_BY_TIME = "segments by time"  # run_id, key_id, first, id

#: A table whose records have the same form as another table's. They get the other one's name.
_ALIKE = {environments.name: projects.name}

_SCHEMA = "sqlite_master"
_FOREIGN = "another's"


class Part(NamedTuple):
    """The records of one table or index on a page."""

    name: str  #: of a table, or one of the indexes above
    records: list[Record]
    damaged: int = 0  #: how many records cannot be read
    broken: tuple[Record, ...] = ()  #: the remains of some of these: see `Reading`
    page: int = 0


class _Form(NamedTuple):
    """The types that the columns of a record may have."""

    has_rowid: bool
    types: tuple[tuple[type, ...], ...]

    def fits(self, found: tuple[type, ...], *, has_rowid: bool, whole: bool = True) -> bool:
        """Return whether column types fit this form; with ``whole=False``, the start of it."""
        return (
            has_rowid == self.has_rowid
            and (len(found) == len(self.types) if whole else 0 < len(found) <= len(self.types))
            and all(one in types for one, types in zip(found, self.types, strict=False))
        )


def _form_of(table: Table) -> _Form:
    has_rowid: bool = table.dialect_options["sqlite"]["with_rowid"]
    types: list[tuple[type, ...]] = []
    for column in table.columns:
        if has_rowid and column.primary_key:  # the rowid, which the record does not store
            types.append((NoneType,))
            continue
        some: tuple[type, ...] = (int, float, str, bytes, NoneType)
        if isinstance(column.type, Integer):
            some = (int,)
        elif isinstance(column.type, Float):
            some = (float, int)  # SQLite stores 2.0 as 2 in a column with the type of floats
        elif isinstance(column.type, String):
            some = (str,)
        elif isinstance(column.type, LargeBinary):
            some = (bytes,)
        types.append((*some, NoneType) if column.nullable else some)
    return _Form(has_rowid, tuple(types))


_FORMS = {
    **{table.name: _form_of(table) for table in metadata.sorted_tables if table.name not in _ALIKE},
    VERSION_TABLE: _Form(True, ((str,),)),
    _SCHEMA: _Form(True, ((str,), (str,), (str,), (int,), (str, NoneType))),
    KEYS_BY_NAME: _Form(False, ((int,), (str,), (int,))),
    STATUS_BY_KEY: _Form(False, ((int,), (str,), (int,))),
    RUNS_BY_UUID: _Form(False, ((str,), (int,))),
    RUNS_BY_PARENT: _Form(False, ((str, NoneType), (int,))),
    SEGMENTS_BY_TIME: _Form(False, ((int,), (int,), (int,), (int,))),
}

#: The index of each table; of several, the one that `_note_table` does not name.
_INDEXES = {
    keys.name: KEYS_BY_NAME,
    status.name: STATUS_BY_KEY,
    runs.name: RUNS_BY_UUID,
    segments.name: SEGMENTS_BY_TIME,
}

#: How many first columns order the records of a table. Others are ordered by rowid, or not checked.
_ORDER = {table.name: len(table.primary_key) for table in (keys, entries, marks)}


@functools.cache
def _names(found: tuple[type, ...], has_rowid: bool, whole: bool = True) -> tuple[str, ...]:
    """Return the tables and indexes whose records have these types, or begin with them."""
    return tuple(
        name for name, form in _FORMS.items()
        if form.fits(found, has_rowid=has_rowid, whole=whole)
    )  # fmt: skip


def _names_of(records: Sequence[Record], kind: int, *, whole: bool) -> list[tuple[str, ...]]:
    return [_names(tuple(map(type, record.values)), kind == TABLE, whole) for record in records]


class Rescue:
    """All records of our tables on the pages of a file, in no particular order.

    A record that was rewritten or moved may be found twice. Values are as stored, unchecked.
    """

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._roots = {1: _SCHEMA}
        self._last = Part("", [])
        #: The tables that the file lists, as far as the list can be read.
        self.tables: list[str] = []
        #: The pages that are lost, as a whole or in part.
        self.damaged: set[int] = set()
        for number in pages.used():
            if pages.root(number) == 1:
                part = self._part(number)
                for record in part.records if part.name == _SCHEMA else ():
                    self._note_table(record)
        if set(metadata.tables) - set(self.tables):
            # A table that seems foreign may be ours, with a damaged name.
            self._roots = {
                root: name for root, name in self._roots.items() if name != _FOREIGN
            }  # fmt: skip

    def _note_table(self, record: Record) -> None:
        kind, name, table, root, _ = record.values
        if kind == "table":
            self.tables.append(str(name))
        name = _ALIKE.get(str(name), name)
        if kind == "table" and name in _FORMS:
            self._roots[int(str(root))] = str(name)
        elif kind == "index" and table in _INDEXES:
            by_parent = name == "runs_by_parent"
            self._roots[int(str(root))] = RUNS_BY_PARENT if by_parent else _INDEXES[str(table)]
        else:
            self._roots[int(str(root))] = _FOREIGN

    def parts(self) -> Iterator[Part]:
        """Yield the records of each page, empty pages included."""
        for number in self._pages.used():
            part = self._part(number)
            if part.damaged or self._pages.is_damaged(number):
                self.damaged.add(number)
            yield part

    def again(self, number: int) -> Part:
        """Return the records of a page again; the last such page is not read again."""
        if self._last.page != number:
            self._last = self._part(number)
        return self._last

    def _part(self, number: int) -> Part:
        owner = self._roots.get(self._pages.root(number), "")
        if owner == _FOREIGN:
            return Part(owner, [], page=number)
        best = Part(owner, [], page=number)
        for reading in self._pages.readings(number):
            part = _part_of(reading, owner, number)
            if len(part.records) > len(best.records) or (
                not best.records and part.damaged > best.damaged
            ):
                best = part
        return best


def _part_of(reading: Reading, owner: str, page: int) -> Part:
    """Return the records of a page, in one reading, of its most likely table or index."""
    kind, records, damaged, broken = reading
    found = _names_of(records, kind, whole=True)
    parts = _names_of(broken, kind, whole=False)
    name = _most_likely(Counter(name for names in found or parts for name in names), owner)
    kept = _in_order(
        name, [record for record, names in zip(records, found, strict=True) if name in names]
    )
    left = tuple(record for record, names in zip(broken, parts, strict=True) if name in names)
    return Part(name, kept, damaged + len(records) - len(kept), left, page)


def _most_likely(counts: Counter[str], owner: str) -> str:
    """Return the table or index of a page: the one that fits most records; "" if that is unclear.

    If any record fits the owner, the owner wins.
    """
    if counts[owner]:
        return owner
    most = max(counts.values(), default=0)
    likely = [name for name, count in counts.items() if count == most]
    return likely[0] if len(likely) == 1 else ""


def _in_order(name: str, records: list[Record]) -> list[Record]:
    """Drop records that are out of order; keep all segments, as these have checksums."""
    if name in _ORDER:
        keys = [record.values[: _ORDER[name]] for record in records]
    elif name in _FORMS and _FORMS[name].has_rowid and name != segments.name:
        keys = [(record.rowid,) for record in records]
    else:
        return records
    return [records[number] for number in ascending(keys)]


def ascending(keys: list[tuple[int, ...]]) -> list[int]:
    """Return the places of the keys to keep: the longest ascending subsequence.

    A page keeps its cells in order. A cell that is out of order is damaged.
    """
    if all(one < two for one, two in pairwise(keys)):
        return list(range(len(keys)))
    tops: list[tuple[int, ...]] = []  # by length: the lowest key at the end of a subsequence
    ends: list[int] = []  # by length: the place of that key
    before: list[int] = []  # by key: the place of the key before it in its subsequence
    for number, key in enumerate(keys):
        length = bisect_left(tops, key)
        before.append(ends[length - 1] if length else -1)
        tops[length:] = [key, *tops[length + 1 :]]
        ends[length:] = [number, *ends[length + 1 :]]
    chosen = []
    at = ends[-1]
    while at >= 0:
        chosen.append(at)
        at = before[at]
    return chosen[::-1]
