"""A run and its ancestors, as a chain: what a log sees of each.

A log sees its own run and, up to each resume point, the runs that it was resumed from. One
statement reads the chain. One statement per run reads its contents, or, if there are many runs, one
statement reads all of them: a thousand resumes cost little more than one. Either way Python code
decides which run lies over which, never the order in which a query planner visits tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import CTE, Connection, Select, case, exists, literal, literal_column, select

from traininglog.encoding import Kind
from traininglog.errors import CorruptLog
from traininglog.sql import segments
from traininglog.sql.prepared import Prepared, bind
from traininglog.sql.segment_cache import SegmentCache
from traininglog.sql.segments import RunKeys
from traininglog.sql.sound import LINK_FORM, require_names, require_sound
from traininglog.sql.tables import entries, keys, runs
from traininglog.sql.tables import segments as sealed
from traininglog.values import MAX_TIME

# Far longer than any real lineage. It ends the chain of a damaged file, whose lineage has a cycle.
_MAX_CHAIN = 100_000

# From this many runs on, one statement reads all of them, unless they may hold more times than the
# second number.
_MANY, _MOST_TIMES = 8, 100_000

#: An entry, after the id of its run.
ENTRY = (entries.c.run_id, entries.c.time, entries.c.key_id, entries.c.kind, entries.c.value)

_LINK = (
    runs.c.id, runs.c.uuid, runs.c.resumed_from, runs.c.resumed_at,
    runs.c.first_time, runs.c.last_time, runs.c.deletions,
    exists(literal(1)).where(sealed.c.run_id == runs.c.id).label("sealed"),
)  # fmt: skip


def _chain(*columns: Any) -> CTE:
    """Return some columns of a run and its ancestors, with the depth and the cut of each."""
    depth: Any = literal_column("0")
    cut = bind("cut")
    start = select(*columns, depth.label("depth"), cut.label("cut")).where(
        runs.c.id == bind("run_id")
    )
    chain = start.cte("chain", recursive=True)
    nearer = case((chain.c.resumed_at < chain.c.cut, chain.c.resumed_at), else_=chain.c.cut)
    step = select(*columns, (chain.c.depth + 1).label("depth"), nearer.label("cut"))
    step = step.join(chain, runs.c.uuid == chain.c.resumed_from)
    return chain.union_all(step.where(chain.c.depth < literal_column(str(_MAX_CHAIN))))


def _links() -> Select[Any]:
    chain = _chain(*_LINK)
    # Not ordered by depth: sorting would first wait for all rows of a lineage with a cycle.
    return select(*(chain.c[column.name] for column in _LINK), chain.c.cut, chain.c.depth)


_runs = _chain(runs.c.id, runs.c.resumed_from, runs.c.resumed_at)
# One upper bound, so that an index can be used.
_high = case((_runs.c.cut < bind("high"), _runs.c.cut), else_=bind("high"))
_within = (entries.c.run_id == _runs.c.id) & entries.c.time.between(bind("low"), _high)
_meeting = (
    (sealed.c.run_id == _runs.c.id) & (sealed.c.first <= _high) & (sealed.c.last >= bind("low"))
)
_named = keys.c.name == bind("name")


def _known(table: Any) -> Any:
    return (keys.c.run_id == table.c.run_id) & (keys.c.id == table.c.key_id)


# Most runs have no parent. For these this quick statement is enough; the others need a second one.
_RUN = Prepared("""
    SELECT
        id, uuid, resumed_from, resumed_at, first_time, last_time, deletions,
        EXISTS (SELECT 1 FROM segments WHERE run_id = runs.id), :cut
    FROM runs WHERE id = :run_id
""")
_CHAIN = Prepared(_links())
_KEYS = Prepared("SELECT id, name FROM keys WHERE run_id = :run_id ORDER BY id")
_KEYS_OF_ALL = Prepared(
    select(keys.c.run_id, keys.c.id, keys.c.name).join(_runs, keys.c.run_id == _runs.c.id)
)
_ENTRIES = select(*ENTRY).join(_runs, _within)
_SEGMENTS = select(sealed.c.run_id, *segments.BLOCK).join(_runs, _meeting)
_ENTRIES_OF_ALL = Prepared(_ENTRIES)
_ENTRIES_OF_NAME = Prepared(_ENTRIES.join(keys, _known(entries)).where(_named))
_TIMES_OF_ALL = Prepared(
    select(entries.c.time)
    .join(_runs, _within)
    .where(entries.c.kind != Kind.HIDDEN.value)
    .distinct()
)  # fmt: skip
_SEGMENTS_OF_ALL = Prepared(_SEGMENTS)
_SEGMENTS_OF_NAME = Prepared(_SEGMENTS.join(keys, _known(sealed)).where(_named))


class Link(NamedTuple):
    """One run of a chain."""

    run_id: int
    uuid: str
    resumed_from: str | None
    resumed_at: int | None
    cut: int  #: the last time of this run that is seen
    first: int  #: a lower bound for the times of its entries
    last: int  #: an upper bound for the times of its entries that are seen
    hides: bool  #: whether it has tombstones; only then need a reader look for them
    sealed: bool  #: whether it has segments


class Chain:
    """A run and its ancestors, nearest first, as one read transaction saw them.

    Args:
        connection: The connection to read from.
        run_id: The run.
        cut: The last time of the run that is seen.
        cache: A cache of decoded segments of its runs.
        alone: Leave the ancestors out, to save time if the question is about the run itself.

    """

    def __init__(
        self, connection: Connection, run_id: int, cut: int = MAX_TIME,
        cache: SegmentCache | None = None, *, alone: bool = False,
    ) -> None:  # fmt: skip
        self.links: list[Link] = []
        self.cache = cache
        self._start = {"run_id": run_id, "cut": cut}
        self._keys: dict[int, dict[int, str]] = {}
        self._numbers: dict[int, dict[str, int]] = {}
        self._places: dict[str, int] | None = None
        rows = _RUN.run(connection, **self._start)
        if rows and rows[0][2] is not None and not alone:
            rows = _read_chain(connection, self._start)
        for row in rows:
            require_sound(row, LINK_FORM)
            number, uuid, parent, resumed_at, low, high, deletions, segmented, seen = row
            first, last = (MAX_TIME, -1) if low is None else (low, min(high, seen))
            link = Link(
                number, uuid, parent, resumed_at, seen, first, last, deletions > 0, segmented > 0
            )
            self.links.append(link)

    def covering(self, low: int, high: int) -> Iterator[Link]:
        """Return the runs that may hold something at ``low <= time <= high``, nearest first."""
        return (link for link in self.links if link.first <= high and low <= link.last)

    def keys(self, connection: Connection, link: Link) -> dict[int, str]:
        """Return the names of a run's keys."""
        if link.run_id not in self._keys:
            if self.long:
                self._keys = {link.run_id: {} for link in self.links}
                found = require_names(_KEYS_OF_ALL.run(connection, **self._start))
                for run_id, number, name in sorted(found):
                    self._keys[run_id][number] = name
            else:
                self._keys[link.run_id] = read_key_names(connection, link.run_id)
        return self._keys[link.run_id]

    def owner(self, connection: Connection, link: Link) -> RunKeys:
        """Return a run and its keys, as the checksums of its segments need them."""
        return RunKeys(link.run_id, link.uuid, self.keys(connection, link))

    def number(self, connection: Connection, link: Link, key: str) -> int | None:
        """Return the number that a key has in a run, or None."""
        numbers = self._numbers.get(link.run_id)
        if numbers is None:
            names = self.keys(connection, link)
            numbers = self._numbers[link.run_id] = {name: number for number, name in names.items()}
        return numbers.get(key)

    def places(self, connection: Connection) -> dict[str, int]:
        """Return the place of each key of the lineage, in the order in which they were first seen.

        The places count from 0.
        """
        if self._places is None:
            names = (self.keys(connection, link).values() for link in reversed(self.links))
            order = dict.fromkeys(name for group in names for name in group)
            self._places = {name: place for place, name in enumerate(order)}
        return self._places

    # -- all of its runs at once ------------------------------------------------------------

    @property
    def long(self) -> bool:
        """Whether it has enough runs to read all of them with one statement."""
        return len(self.links) >= _MANY

    def brief(self, low: int, high: int) -> bool:
        """Return whether its runs span few enough times at ``low <= time <= high`` to hold all."""
        spans = (
            min(link.last, high) - max(link.first, low) + 1 for link in self.covering(low, high)
        )
        return sum(spans) <= _MOST_TIMES

    def entries(
        self, connection: Connection, low: int, high: int, name: str | None = None
    ) -> dict[int, list[Any]]:
        """Return the entries that its runs show, all or of one key, as `ENTRY`: by run and time."""
        found = self._by_run(connection, _ENTRIES_OF_ALL, _ENTRIES_OF_NAME, low, high, name)
        for rows in found.values():
            rows.sort(key=itemgetter(1))
        return found

    def times(self, connection: Connection, low: int, high: int) -> set[int]:
        """Return the times at which its runs show entries other than tombstones."""
        rows = _TIMES_OF_ALL.run(connection, **self._start, low=low, high=high)
        return {time for (time,) in rows}

    def segments(
        self, connection: Connection, low: int, high: int, name: str | None = None
    ) -> dict[int, list[Any]]:
        """Return the segments of its runs that may show something, by run, each after a run id."""
        if not any(link.sealed for link in self.links):
            return {}
        found = self._by_run(connection, _SEGMENTS_OF_ALL, _SEGMENTS_OF_NAME, low, high, name)
        for rows in found.values():
            rows.sort(key=itemgetter(2, 4))  # by key and first time
        return found

    def _by_run(
        self, connection: Connection, whole: Prepared, of_name: Prepared, low: int, high: int,
        name: str | None,
    ) -> dict[int, list[Any]]:  # fmt: skip
        bounds = self._start | {"low": low, "high": high}
        if name is None:
            rows = whole.run(connection, **bounds)
        else:
            rows = of_name.run(connection, name=name, **bounds)
        found: dict[int, list[Any]] = {}
        for run_id, mine in groupby(rows, itemgetter(0)):
            found.setdefault(run_id, []).extend(mine)
        return found


def _read_chain(connection: Connection, start: dict[str, Any]) -> list[Any]:
    """Return the rows of a run and its ancestors, the nearest first. Raises `CorruptLog`."""
    rows: list[Any] = []
    seen: set[Any] = set()
    with closing(_CHAIN.each(connection, **start)) as found:
        for *row, depth in found:
            if row[0] in seen or depth != len(rows):
                raise CorruptLog(
                    f"run {row[1]!r:.60} is among its own ancestors, or its UUID is that of two "
                    "runs; see `traininglog check`"
                )
            seen.add(row[0])
            rows.append(row)
    return rows


def read_key_names(connection: Connection, run_id: int) -> dict[int, str]:
    """Return the names of the keys that a run itself has written, by their numbers.

    Raises `CorruptLog` for an invalid name.
    """
    return dict(require_names(_KEYS.run(connection, run_id=run_id)))
