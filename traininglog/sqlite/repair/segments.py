"""Salvaging the segments of a damaged file that are undamaged themselves.

A segment's checksum covers all of it, and is seeded with the UUID of its run and the name of its
key: its *seed* is the crc32 of both. The CRC can be run backwards: an intact segment gives the seed
that it was made with. So a checksum decides between two possible names, and finds a lost name among
the known ones. If no name fits, two segments of a key with the same seed prove each other.
"""

from __future__ import annotations

import functools
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from sqlalchemy import Connection

from traininglog.errors import CorruptLog
from traininglog.sql import compaction, writing
from traininglog.sql import segments as sealed
from traininglog.sql.segments import RunKeys
from traininglog.sql.tables import segments
from traininglog.sqlite.repair.classify import Known
from traininglog.sqlite.repair.pages import Record
from traininglog.sqlite.repair.salvage import SEGMENTS_BY_TIME, Part, Rescue
from traininglog.values import MAX_TIME

if TYPE_CHECKING:
    from traininglog.packing import Block, Points

_BITS = 32
_ZERO = b"\0"

# How many segments are written in one transaction.
_TOGETHER = 200

# How many lost spans of a key a message names.
_TOLD = 5

_COLUMNS = segments.columns.keys()
_HEAD = _COLUMNS.index("size") + 1

#: The numbers of a run and of one of its keys.
Place = tuple[int, int]

#: The UUID of a run and the name of one of its keys.
Names = tuple[str, str]


class SegmentHead(NamedTuple):
    """A segment that was found, without its packed data."""

    id: int
    place: Place
    first: int  #: the first time
    last: int  #: the last time
    size: int  #: how many values; 0: unknown
    seed: int | None  #: the seed that makes its checksum right; None: it cannot be read anyway
    doubtful: bool  #: as in `Record`
    page: int  #: the page that it is on
    number: int  #: its number on that page

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last time."""
        return self.first, self.last


class Segments:
    """The segments that were found in a damaged file."""

    def __init__(self, rescue: Rescue) -> None:
        self._rescue = rescue
        self._heads: list[SegmentHead] = []
        self._listed: set[tuple[Place, int]] = set()  # places and first times, from the index
        self._untold = 0  # how many segments are lost without a trace of their head
        #: The UUIDs of runs and the names of keys that a checksum proves.
        self.uuids: dict[int, str] = {}
        self.names: dict[Place, str] = {}
        #: The segments to carry over: no two of a key overlap.
        self.kept: list[SegmentHead] = []
        #: The parts of older segments that `kept` does not cover, the newest first.
        self.rest: list[tuple[Place, Points]] = []
        #: The damaged segments.
        self.lost: list[SegmentHead] = []

    def add(self, part: Part) -> None:
        """Collect the segments of a page."""
        if part.name == SEGMENTS_BY_TIME:
            for run, key, first, _ in (record.values for record in part.records):
                self._listed.add(((run, key), first))
        if part.name == segments.name:
            self._untold += part.damaged - len(part.broken)
            for number, record in enumerate((*part.records, *part.broken)):
                head = _head(record, part.page, number)
                if head is None:
                    self._untold += 1
                else:
                    self._heads.append(head)

    # -- which are sound ------------------------------------------------------------------------

    def settle(self, known: Known) -> None:
        """Decide which segments to carry over, once all pages have been read."""
        there = {(head.place, head.first) for head in self._heads}
        sound = self._proven(known)
        sound |= self._agreeing(known, [head for head in self._heads if head not in sound])
        taken: dict[Place, list[tuple[int, int]]] = {}
        for head in sorted(sound, reverse=True):  # the newest first
            spans = taken.setdefault(head.place, [])
            if next(_gaps(spans, *head.span), None) == head.span:
                insort(spans, head.span)
                self.kept.append(head)
            else:
                points = _unpacked(self._block(head))
                for low, high in _gaps(spans, *head.span):
                    part = points and points.between(low, high)
                    if part is not None and len(part.times):
                        self.rest.append((head.place, part))
        for head in self._heads:
            # A damaged segment that was replaced is no loss.
            if head not in sound and any(_gaps(taken.get(head.place, []), *head.span)):
                self.lost.append(head)
        self._listed = {
            (place, first) for place, first in self._listed - there
            if any(_gaps(taken.get(place, []), first, first))
        }  # fmt: skip

    def _proven(self, known: Known) -> set[SegmentHead]:
        """Return the segments whose checksum fits a known run and key.

        If these differ from the run and key in the segment's row, the row is damaged.
        """
        owners: dict[int, dict[Place, Names]] = {}  # by seed
        for place, names in known.names.items():
            for seed, both in _seeds(known.uuids.get(place[0], known.orphans), names):
                owners.setdefault(seed, {})[place] = both
        every = list(dict.fromkeys(name for names in known.names.values() for name in names))
        nameless: dict[Place, dict[int, Names]] = {}
        sound = set()
        for number, head in enumerate(self._heads):
            if head.seed is None:
                continue
            found = owners.get(head.seed, {})
            if head.place not in found and head.place not in known.names:
                if head.place not in nameless:
                    uuids = known.uuids.get(head.place[0], known.orphans)
                    nameless[head.place] = dict(_seeds(uuids, every))
                if not found and head.seed in nameless[head.place]:
                    found = {head.place: nameless[head.place][head.seed]}
            if head.place not in found and len(found) == 1:
                head = self._heads[number] = head._replace(place=next(iter(found)))  # noqa: PLW2901
            if head.place in found:
                sound.add(head)
                uuid, name = found[head.place]
                self.uuids.setdefault(head.place[0], uuid)
                self.names.setdefault(head.place, name)
        return sound

    def _agreeing(self, known: Known, heads: Iterable[SegmentHead]) -> set[SegmentHead]:
        """Return the segments of which at least two have the same seed, even if its name is lost.

        A single segment of a run or key whose name is lost has no other to compare with, and
        counts, too.
        """
        groups: dict[tuple[int, ...], list[tuple[int, SegmentHead]]] = {}
        for head in heads:
            if head.seed is not None:
                names = [self.names.get(head.place), *known.names.get(head.place, [])]
                name = next(filter(None, names), None)
                if name is None:
                    groups.setdefault(head.place, []).append((head.seed, head))
                else:
                    end = name.encode("utf-8", "surrogatepass")
                    begin = seed_of(head.seed, crc32(end), len(end))
                    groups.setdefault(head.place[:1], []).append((begin, head))
        sound = set()
        for group in groups.values():
            witnesses = Counter(seed for seed, _ in {(seed, head[1:4]) for seed, head in group})
            for seed, head in group:
                run = head.place[0]
                nameless = not (
                    (run in known.uuids or run in self.uuids)
                    and (head.place in known.names or head.place in self.names)
                )
                if witnesses[seed] > 1 or (nameless and len(witnesses) == 1):
                    sound.add(head)
        return sound

    # -- reports --------------------------------------------------------------------------------

    @property
    def damaged(self) -> int:
        """How many values are left out, as far as known; at least one for each lost segment."""
        return self._untold + sum(max(1, head.size) for head in self.lost)

    @property
    def zeroed(self) -> bool:
        """Whether a damaged segment ends in a page of zeros."""
        return any(head.doubtful for head in self.lost)

    @property
    def places(self) -> set[Place]:
        """The keys that have values to carry over."""
        return {head.place for head in self.kept} | {place for place, _ in self.rest}

    def spans(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield (run, first time, last time, number of values) of all that is carried over."""
        for head in self.kept:
            yield (head.place[0], *head.span, head.size)
        for (run, _), points in self.rest:
            yield run, int(points.times[0]), int(points.times[-1]), len(points.times)

    def remarks(self, uuids: Mapping[int, str], names: Mapping[Place, str]) -> list[str]:
        """Return messages on what is left out, given the UUIDs of runs and the names of keys."""
        spans: dict[Place, list[tuple[int, str]]] = {}
        for head in self.lost:
            count = f"{head.size:,} values " if head.size else ""
            text = f"{count}from time {head.first} to {head.last}"
            spans.setdefault(head.place, []).append((head.first, text))
        for place, first in self._listed:
            spans.setdefault(place, []).append((first, f"from time {first} on"))
        texts = []
        for (run, key), found in sorted(spans.items()):
            told = [text for _, text in sorted(set(found))]
            more = [f"and {len(told) - _TOLD} more"] if len(told) > _TOLD else []
            name = repr(names[run, key]) if (run, key) in names else f"key number {key}"
            texts.append(
                f"run {uuids.get(run, f'number {run}')}, {name}: sealed values are damaged and "
                f"left out: {', '.join(told[:_TOLD] + more)}"
            )
        return texts

    # -- writing --------------------------------------------------------------------------------

    def batches(self) -> Iterator[list[SegmentHead]]:
        """Yield the segments to carry over, the oldest first, `_TOGETHER` at a time."""
        ordered = self.kept[::-1]
        for start in range(0, len(ordered), _TOGETHER):
            yield ordered[start : start + _TOGETHER]

    def write(
        self, connection: Connection, heads: Iterable[SegmentHead],
        uuids: Mapping[int, str], keys: Mapping[Place, tuple[int, str]],
    ) -> None:  # fmt: skip
        """Add segments, given the UUIDs of their runs, and the new numbers and names of keys."""
        for head in heads:
            run = head.place[0]
            key, name = keys[head.place]
            block = self._block(head)
            checksum = block.checksum(RunKeys(run, uuids[run], {key: name}).seed(key))
            sealed.copy(connection, run, key, (head.id, key, checksum, *block))

    def write_rest(self, connection: Connection, keys: Mapping[Place, tuple[int, str]]) -> None:
        """Add the rest of older segments, as entries; an existing entry wins."""
        for (run, key), points in self.rest:
            rows = compaction.as_entries(run, keys[run, key][0], points)
            writing.save_entries(connection, rows, replace=False)

    def _block(self, head: SegmentHead) -> Block:
        part = self._rescue.again(head.page)
        return _block((*part.records, *part.broken)[head.number])


def _seeds(uuids: Iterable[str], names: Iterable[str]) -> Iterator[tuple[int, Names]]:
    """Yield the seed of each pair of a UUID and a name, with the pair."""
    every = list(names)
    for uuid in uuids:
        for name in every:
            yield RunKeys(0, uuid, {0: name}).seed(0), (uuid, name)


# -- one segment --------------------------------------------------------------------------------


def _head(record: Record, page: int, number: int) -> SegmentHead | None:
    """Return the head of a segment; None if it is impossible."""
    if len(record.values) < _HEAD:
        return None
    _, run, key, first, last, step, size = record.values[:_HEAD]
    if record.rowid is None or run < 1 or key < 1 or not 0 <= first <= last <= MAX_TIME:
        return None
    regular = step > 0 and first + step * (size - 1) == last
    if size < 1 or not (regular or (step == 0 and size <= last - first + 1)):
        size = 0
    seed = None
    if size and len(record.values) == len(_COLUMNS):
        seed = _seed_in(record)
    return SegmentHead(
        record.rowid, (run, key), first, last, size, seed, record.doubtful, page, number
    )  # fmt: skip


def _seed_in(record: Record) -> int | None:
    block = _block(record)
    checksum = record.values[_COLUMNS.index("checksum")]
    if not 0 <= checksum < 2**32 or _unpacked(block) is None:
        return None
    return seed_of(checksum, block.checksum(), sum(map(len, block.parts())))


def _block(record: Record) -> Block:
    from traininglog.packing import Block

    named = dict(zip(_COLUMNS, record.values, strict=True))
    return Block(**{name: named[name] for name in Block._fields})


def _unpacked(block: Block) -> Points | None:
    from traininglog.packing import unpack

    try:
        return unpack(block)
    except CorruptLog:
        return None


def _gaps(spans: list[tuple[int, int]], low: int, high: int) -> Iterator[tuple[int, int]]:
    """Yield the gaps that disjoint ascending spans leave in another span. Ends are inclusive."""
    for first, last in spans[max(0, bisect_right(spans, (low, MAX_TIME)) - 1) :]:
        if first > high:
            break
        if low < first:
            yield low, first - 1
        low = max(low, last + 1)
    if low <= high:
        yield low, high


# -- crc32 backwards: the seed of a checksum, from its result ------------------------------------
#
# ``crc32(data, seed)`` is ``crc32(data, 0)`` XOR a number that depends only on the seed and on the
# number of bytes: it is the seed after as many steps over zero bytes. Each step is a linear map of
# 32 bits, and has an inverse. A map is stored as the image of each bit. The maps for 1, 2, 4, ...
# steps are composed of each other, so any number of steps takes few maps. After Ross Williams, "A
# Painless Guide to CRC Error Detection Algorithms" (1993), and zlib's `crc32_combine`, which does
# the same forwards.


def seed_of(checksum: int, unseeded: int, length: int) -> int:
    """Return the seed with which some bytes have a checksum.

    Args:
        checksum: The crc32 of the bytes with that seed.
        unseeded: Their crc32 without a seed.
        length: The number of bytes.

    """
    flipped = checksum ^ unseeded
    for power in range(length.bit_length()):
        if length >> power & 1:
            flipped = _mapped(_back(power), flipped)
    return flipped


def _mapped(columns: tuple[int, ...], bits: int) -> int:
    result = 0
    for column in columns:
        if bits & 1:
            result ^= column
        bits >>= 1
    return result


@functools.cache
def _back(power: int) -> tuple[int, ...]:
    """Return the map that undoes 2**power steps over zero bytes."""
    if power:
        half = _back(power - 1)
        return tuple(_mapped(half, column) for column in half)
    table = [crc32(_ZERO, byte) ^ crc32(_ZERO) for byte in range(256)]
    by_top = {entry >> 24: byte for byte, entry in enumerate(table)}
    columns = []
    for place in range(_BITS):
        byte = by_top[(1 << place) >> 24]
        columns.append(((1 << place ^ table[byte]) << 8 | byte) & 0xFFFFFFFF)
    return tuple(columns)
