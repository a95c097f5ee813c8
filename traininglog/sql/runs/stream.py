"""Reading runs in stretches of times, one after the other, to bound the memory.

A stream first finds the lengths of the stretches, and the types of the columns, as far as possible
without reading the values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, case, func, select

from traininglog.columns import Belonging, Column
from traininglog.encoding import Kind
from traininglog.sql import reading
from traininglog.sql.lineage_chain import Chain, Link
from traininglog.sql.prepared import Prepared, bind
from traininglog.sql.runs.ownership import shares_of
from traininglog.sql.runs.run_query import Choice
from traininglog.sql.segments import spans
from traininglog.sql.tables import entries, segments
from traininglog.values import MAX_TIME

if TYPE_CHECKING:
    from traininglog.arrays import Content

#: About how many values a part holds.
MOST = 200_000

# How many entries each step of counting passes.
_STEP = 50_000

_within = (
    (entries.c.run_id == bind("run_id"))
    & (entries.c.time >= bind("low"))
    & (entries.c.time <= bind("high"))
)
_STEP_ON = Prepared(
    select(entries.c.time)
    .where(_within)
    .order_by(entries.c.time, entries.c.key_id)
    .limit(1)
    .offset(bind("step"))
)
_COUNT = Prepared(select(func.count()).where(_within))
_KINDS_OF_ENTRIES = Prepared(select(entries.c.key_id, entries.c.kind).where(_within).distinct())
_inside = (segments.c.first >= bind("low")) & (segments.c.last <= bind("high"))
_KINDS_OF_SEGMENTS = Prepared(
    select(segments.c.key_id, segments.c.kind, func.max(case((_inside, 1), else_=0)))
    .where(
        segments.c.run_id == bind("run_id"),
        segments.c.first <= bind("high"),
        segments.c.last >= bind("low"),
    )
    .group_by(segments.c.key_id, segments.c.kind)
)  # fmt: skip


class _Run(NamedTuple):
    """A run, and the stretches in which it is read."""

    run_id: int
    uuid: str
    stretches: list[tuple[int, int]]


class Stream:
    """The values of some runs, keys and times, as one read transaction sees them.

    Args:
        connection: The connection to read from.
        choice: The runs, keys and times to take.
        lineage: Whether a resumed run includes what it sees of its ancestors.
        most: About how many values a part may have.

    """

    def __init__(
        self, connection: Connection, choice: Choice, *, lineage: bool = True, most: int = MOST
    ) -> None:
        self._connection, self._most, self._choice = connection, most, choice
        runs, keys, self._low, self._high, _ = choice
        self._keys = None if keys is None else frozenset(keys)
        self._lineage = lineage
        self._runs = [
            _Run(number, uuid, self._stretches(Chain(connection, number)))
            for number, uuid, _ in runs
        ]

    def __len__(self) -> int:
        """Return how many parts there are."""
        return sum(len(run.stretches) for run in self._runs)

    def parts(self) -> Iterator[tuple[str, list[Column]]]:
        """Yield the UUID of a run and its columns, for one stretch of times after the other."""
        for run in self._runs:
            chain = Chain(self._connection, run.run_id)
            for columns in self._read(chain, run, self._keys):
                yield run.uuid, columns

    def shares(self) -> dict[str, Belonging]:
        """Return which values belong to the runs that share some; see `shares_of`."""
        return shares_of(self._connection, self._choice) if self._lineage else {}

    def contents(self) -> dict[str, Content]:
        """Return the keys that have a value, in order, with the types of their values.

        The values of a key are read only if there may be several types of them, or no values.
        """
        from traininglog.arrays import Content, content

        outlines = [self._outline(Chain(self._connection, run.run_id)) for run in self._runs]
        found: dict[str, Content] = {}
        for outline in outlines:
            for key, (kinds, _) in outline.items():
                found[key] = found.get(key, Content()) | Content(frozenset(kinds))
        mixed = {key for key, known in found.items() if {"float", "int"} <= known.kinds}
        found = {}
        for run, outline in zip(self._runs, outlines, strict=True):
            chain = Chain(self._connection, run.run_id)
            mine = {
                key: Content(frozenset(kinds)) for key, (kinds, sure) in outline.items()
                if sure and not (key in mixed and "int" in kinds)
            }  # fmt: skip
            doubtful = [key for key in outline if key not in mine]
            if doubtful:
                for columns in self._read(chain, run, doubtful):
                    for column in columns:
                        mine[column.key] = mine.get(column.key, Content()) | content(column)
            for key in chain.places(self._connection):
                if key in mine:
                    found[key] = found.get(key, Content()) | mine[key]
        return found

    def _read(
        self, chain: Chain, run: _Run, keys: Collection[str] | None
    ) -> Iterator[list[Column]]:
        order = chain.places(self._connection)
        for low, high in run.stretches:
            yield reading.read_columns(
                self._connection, chain, keys, low, high, {}, order, lineage=self._lineage
            )

    def _links(self, chain: Chain) -> list[tuple[Link, int]]:
        """Return the runs of a chain that may have values, each with the last time to read."""
        links = chain.covering(self._low, self._high)
        return [
            (link, min(self._high, link.cut))
            for link in links
            if self._lineage or link is chain.links[0]
        ]

    def _stretches(self, chain: Chain) -> list[tuple[int, int]]:
        pieces: list[tuple[int, int, int]] = []
        for link, high in self._links(chain):
            if link.sealed:
                pieces += [
                    (first, last, size)
                    for _, _, first, last, size in spans(self._connection, link.run_id)
                    if first <= high and last >= self._low
                ]
            pieces += self._pieces_of_entries(link, high)
        return stretches(pieces, self._low, self._high, self._most)

    def _pieces_of_entries(self, link: Link, high: int) -> Iterator[tuple[int, int, int]]:
        bounds = {"run_id": link.run_id, "high": min(high, link.last)}
        low = max(self._low, link.first)
        while found := _STEP_ON.run(self._connection, low=low, step=_STEP - 1, **bounds):
            ((last,),) = found
            yield low, last, _STEP
            low = last + 1
            if low > bounds["high"]:
                return
        ((count,),) = _COUNT.run(self._connection, low=low, **bounds)
        if count:
            yield low, bounds["high"], count

    def _outline(self, chain: Chain) -> dict[str, tuple[set[str], bool]]:
        """Return the kinds of value that each key may show, and whether they are sure."""
        kinds: dict[str, set[int]] = {}
        there: set[str] = set()
        for link, high in self._links(chain):
            bounds = {"run_id": link.run_id, "low": self._low, "high": high}
            names = chain.keys(self._connection, link)
            found = [(*row, 1) for row in _KINDS_OF_ENTRIES.run(self._connection, **bounds)]
            if link.sealed:
                # Kind 0 means several kinds in a segment, and a tombstone in an entry: neither is
                # sure.
                found += _KINDS_OF_SEGMENTS.run(self._connection, **bounds)
            for number, kind, whole in found:
                name = names.get(number)
                if name is not None and (self._keys is None or name in self._keys):
                    kinds.setdefault(name, set()).add(kind)
                    if whole:
                        there.add(name)
        return {
            name: (
                {Kind(kind).name.lower() for kind in some if kind},
                name in there and 0 not in some and len(some - {Kind.NONE}) <= 1,
            )
            for name, some in kinds.items()
        }


def stretches(
    pieces: Sequence[tuple[int, int, int]], low: int, high: int, most: int
) -> list[tuple[int, int]]:
    """Return first and last times of stretches with about equally many values, at most `most`.

    Args:
        pieces: First time, last time and number of values, which count as evenly spread.
        low: The first time of the first stretch.
        high: The last time of the last stretch.
        most: The most values of a stretch.

    >>> stretches([(0, 99, 100), (100, 149, 100)], 0, 10**6, 50)
    [(0, 49), (50, 99), (100, 124), (125, 1000000)]
    """
    total = sum(size for _, _, size in pieces)
    number = -(-total // most)
    if number <= 1:
        return [(low, min(high, MAX_TIME))]
    # Times stay integers: a float past 2**53 would be another time.
    changes = sorted(
        change
        for first, last, size in pieces
        for rate in [size / (last + 1 - first)]
        for change in ((first, rate), (last + 1, -rate))
    )
    wanted = iter(range(1, number))
    step, following = total / number, next(wanted, None)
    borders = []
    before = rate = 0.0
    for (place, change), (end, _) in pairwise(changes):
        rate += change
        within = rate * (end - place)
        while following is not None and within > 0 and following * step <= before + within:
            borders.append(place + int((following * step - before) / rate))
            following = next(wanted, None)
        before += max(0.0, within)
    inner = sorted({border for border in borders if low < border <= high})
    return list(zip([low, *inner], [*(border - 1 for border in inner), high], strict=True))
