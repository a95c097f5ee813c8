"""Segments: the numbers of a run, moved out of the entries and packed by key.

Within a run, the segments of a key never overlap in time. Entries lie over segments: where both
have a value, the entry wins, and an entry of kind `HIDDEN` hides the segment's value. Sealing moves
numbers from entries to segments in one transaction. It does not change what a log returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from sqlalchemy import Connection, delete, select

from traininglog.columns import Strip
from traininglog.encoding import Kind
from traininglog.errors import CorruptLog
from traininglog.sql.prepared import Prepared, bind
from traininglog.sql.segment_cache import SegmentCache
from traininglog.sql.sound import is_time, is_whole
from traininglog.sql.tables import entries, keys, segments
from traininglog.sql.writing import insert_rows
from traininglog.values import StoredValue

if TYPE_CHECKING:
    from traininglog.packing import Block, Points, Times

#: Which entries segments can hold: their kinds follow one another.
IS_NUMBER = entries.c.kind.between(Kind.BOOL.value, Kind.FLOAT.value)

_COLUMNS = [column.name for column in segments.columns if column.name != "id"]

# How many ids one statement takes.
_TOGETHER = 10_000

BLOCK = (
    segments.c.id, segments.c.key_id, segments.c.checksum, segments.c.first, segments.c.last,
    segments.c.step, segments.c.size, segments.c.kind, segments.c.codec, segments.c.times,
    segments.c.data,
)  # fmt: skip
_meeting = (segments.c.first <= bind("high")) & (segments.c.last >= bind("low"))

_ALL = Prepared("""
    SELECT id, key_id, checksum, first, last, step, size, kind, codec, times, data FROM segments
    WHERE run_id = :run_id AND first <= :high AND last >= :low
    ORDER BY key_id, first
""")
_OF_KEY = Prepared("""
    SELECT id, key_id, checksum, first, last, step, size, kind, codec, times, data FROM segments
    WHERE run_id = :run_id AND first <= :high AND last >= :low AND key_id = :key_id
    ORDER BY first
""")
_OF_RUNS = Prepared(
    select(segments.c.run_id, *BLOCK)
    .where(_meeting)
    .order_by(segments.c.run_id, segments.c.key_id, segments.c.first)
)
_OF_RUNS_AND_KEY = Prepared(
    select(segments.c.run_id, *BLOCK)
    .join(keys, (keys.c.run_id == segments.c.run_id) & (keys.c.id == segments.c.key_id))
    .where(_meeting, keys.c.name == bind("name"))
    .order_by(segments.c.run_id, segments.c.first)
)
_HEADS_WITHIN = Prepared("""
    SELECT key_id, first, last, step, size, times, kind FROM segments
    WHERE run_id = :run_id AND first <= :high AND last >= :low
    ORDER BY key_id, first
""")
_HEADS_OF_KEY = Prepared("""
    SELECT key_id, first, last, step, size, times, kind FROM segments
    WHERE run_id = :run_id AND first <= :high AND last >= :low AND key_id = :key_id
    ORDER BY first
""")
_LAST_OF_KEY = Prepared(
    select(*BLOCK)
    .where(segments.c.run_id == bind("run_id"), segments.c.key_id == bind("key_id"), _meeting)
    .order_by(segments.c.first.desc())
    .limit(1)
)
# For each key, the index finds the one segment that may hold the time.
_AT = Prepared("""
    SELECT
        segments.id, key_id, checksum, first, last, step, size, kind, codec, times, data
    FROM segments JOIN keys ON keys.run_id = segments.run_id AND keys.id = segments.key_id
    WHERE
        keys.run_id = :run_id
        AND first = (
            SELECT newest.first FROM segments AS newest
            WHERE newest.run_id = keys.run_id AND newest.key_id = keys.id AND newest.first <= :time
            ORDER BY newest.first DESC LIMIT 1
        )
        AND last >= :time
    ORDER BY keys.id
""")
_TIMES = Prepared("""
    SELECT DISTINCT first, last, step, size, times FROM segments
    WHERE run_id = :run_id AND first <= :high AND last >= :low
""")
_KEYS_BEFORE = Prepared("""
    SELECT DISTINCT key_id FROM segments WHERE run_id = :run_id AND first <= :high
""")
_LAST_TIME = Prepared("""
    SELECT last FROM segments WHERE run_id = :run_id AND last <= :high ORDER BY last DESC LIMIT 1
""")
_DELETE = Prepared("DELETE FROM segments WHERE id = :id")
_ONE = Prepared(select(*BLOCK).where(segments.c.id == bind("id")))
_HEADS = Prepared("SELECT id, key_id, checksum, first, last FROM segments WHERE run_id = :run_id")
_COVERED = Prepared(
    select(segments.c.id, segments.c.key_id, segments.c.first, entries.c.time)
    .join(
        entries,
        (entries.c.run_id == segments.c.run_id)
        & (entries.c.key_id == segments.c.key_id)
        & entries.c.time.between(segments.c.first, segments.c.last),
    )
    .where(segments.c.run_id == bind("run_id"))
)
_SPANS = Prepared("""
    SELECT key_id, id, first, last, size FROM segments WHERE run_id = :run_id
    ORDER BY key_id, first
""")


class RunKeys(NamedTuple):
    """The run that segments belong to, and the names of its keys. Checksums cover both."""

    run_id: int
    uuid: str
    names: Mapping[int, str]

    def seed(self, key_id: int) -> int:
        """Return the crc32 of the run's UUID and a key's name, the seed of a segment's checksum.

        Raises `CorruptLog` for a key that the run does not have.
        """
        name = self.names[self.known(key_id)]
        return crc32(f"{self.uuid}\0{name}".encode("utf-8", "surrogatepass"))

    def known(self, key_id: int) -> int:
        """Return `key_id` if the run has this key. Raises `CorruptLog` if not."""
        if key_id not in self.names:
            raise CorruptLog(
                f"run {self.uuid} has a segment of a key {key_id!r:.40} that it does not know; "
                "see `traininglog check`"
            )
        return key_id


# -- reading ------------------------------------------------------------------------------------


def read_strips(
    connection: Connection, owner: RunKeys, low: int, high: int, key_id: int | None = None
) -> dict[int, Strip]:
    """Return the sealed numbers of a run (or of one key) at ``low <= time <= high``, by key."""
    from traininglog.packing import BlockHead, room_for, run_on

    bounds = {"run_id": owner.run_id, "low": low, "high": high}
    if key_id is None:
        heads, rows = _HEADS_WITHIN.run(connection, **bounds), _ALL.each(connection, **bounds)
    else:
        bounds["key_id"] = key_id
        heads, rows = _HEADS_OF_KEY.run(connection, **bounds), _OF_KEY.each(connection, **bounds)
    heads_by_key: dict[int, list[BlockHead]] = {}
    for number, *head in heads:
        heads_by_key.setdefault(number, []).append(BlockHead(*head))
    shared: dict[object, object] = {}  # most keys have the same times
    # One array for all, which the system can map in large pages. Each block is unpacked directly
    # into its place, while it is in the processor's cache.
    strips = {}
    try:
        words = room_for(head for found in heads_by_key.values() for head in found)
        at = 0
        with closing(rows):
            for number, found in heads_by_key.items():
                room = words[at : at + sum(head.size for head in found)]
                at += len(room)
                blocks = (verified(owner, row) for row in islice(rows, len(found)))
                strips[number] = run_on(found, blocks, low, high, room, shared)
    except CorruptLog:
        for number in heads_by_key:  # if a checksum fails, raise an error that names the segment
            for row in _OF_KEY.each(connection, **(bounds | {"key_id": number})):
                verified(owner, row)
        raise
    return strips


def strips_of(owner: RunKeys, rows: Iterable[Any], low: int, high: int) -> dict[int, Strip]:
    """Return the numbers in a few given segments at ``low <= time <= high``, by key."""
    from traininglog.packing import joined

    parts: dict[int, list[Points]] = {}
    for row in rows:
        if row[1] in owner.names:
            parts.setdefault(row[1], []).append(decoded(owner, row).between(low, high))
    found = {number: joined(points) for number, points in parts.items()}
    return {number: (points.times, points.values()) for number, points in found.items()}


def each_of_runs(
    connection: Connection, low: int, high: int, name: str | None = None
) -> Iterator[Any]:
    """Yield the segments of all runs, or of one key in all runs, each after the id of its run."""
    if name is None:
        return _OF_RUNS.each(connection, low=low, high=high)
    return _OF_RUNS_AND_KEY.each(connection, low=low, high=high, name=name)


def read_at(
    connection: Connection,
    owner: RunKeys,
    time: int,
    cache: SegmentCache | None,
    key_id: int | None = None,
) -> Iterator[tuple[int, Any]]:
    """Yield the sealed numbers of a run (or of one key) at a time, as (key, number)."""
    if key_id is None:
        rows = _AT.run(connection, run_id=owner.run_id, time=time)
    else:
        rows = _OF_KEY.run(connection, run_id=owner.run_id, low=time, high=time, key_id=key_id)
    for row in rows:
        value = _value_at(owner, row, time, cache)
        if value is not None:
            yield row[1], value


def read_last(
    connection: Connection,
    owner: RunKeys,
    key_id: int,
    low: int,
    high: int,
    cache: SegmentCache | None,
) -> tuple[int, Any] | None:
    """Return the last time at which a key has a sealed number, and that number."""
    bounds = {"run_id": owner.run_id, "low": low, "high": high, "key_id": key_id}
    for row in _LAST_OF_KEY.run(connection, **bounds):
        points = _kept(owner, row, cache).between(low, high)
        if len(points.times):
            time = int(points.times[-1])
            return time, points.at(time)
    return None


def read_times(connection: Connection, run_id: int, low: int, high: int) -> list[int]:
    """Return the times at which a run has sealed numbers, with repetitions."""
    found: list[int] = []
    for segment in _TIMES.run(connection, run_id=run_id, low=low, high=high):
        times = _times(segment)
        found += times[(times >= low) & (times <= high)].tolist()
    return found


def _times(segment: Any) -> Times:
    from traininglog.packing import unpack_times

    return unpack_times(*segment)


def read_one(connection: Connection, owner: RunKeys, number: int) -> tuple[int, Points]:
    """Return the key and the content of the segment with an id."""
    (row,) = _ONE.run(connection, id=number)
    return row[1], decoded(owner, row)


def each(connection: Connection, run_id: int) -> Iterator[Any]:
    """Yield the segments of a run as stored: id, key, checksum, and the fields of a block."""
    for _, number, *_ in _SPANS.run(connection, run_id=run_id):
        yield from _ONE.run(connection, id=number)


def heads(connection: Connection, run_id: int) -> list[Any]:
    """Return id, key, checksum, first and last time of the segments of a run."""
    return _HEADS.run(connection, run_id=run_id)


def covered(connection: Connection, run_id: int) -> set[tuple[int, int]]:
    """Return key and first time of the segments of a run whose span has an entry of their key."""
    return {(key_id, first) for _, key_id, first, _ in _COVERED.run(connection, run_id=run_id)}


def count_uncovered(connection: Connection, owner: RunKeys) -> int:
    """Return how many sealed numbers of a run have no entry over them."""
    over: dict[int, set[int]] = {}
    for number, _, _, time in _COVERED.run(connection, run_id=owner.run_id):
        over.setdefault(number, set()).add(time)
    sealed = sum(int(size) for *_, size in spans(connection, owner.run_id))
    for number, times in over.items():
        sealed -= len(times.intersection(read_one(connection, owner, number)[1].times.tolist()))
    return sealed


def copy(connection: Connection, run_id: int, key_id: int, row: Any) -> None:
    """Add a segment of another copy of the same run, unchanged."""
    named = dict(zip((column.name for column in BLOCK), row, strict=True))
    named |= {"run_id": run_id, "key_id": key_id}
    _insert(connection, [named])


def spans(connection: Connection, run_id: int) -> list[Any]:
    """Return key, id, first and last time, and count of the segments of a run, by key and time.

    Raises `CorruptLog` for impossible ones.
    """
    found = _SPANS.run(connection, run_id=run_id)
    before = (None, -1)  # a key, and the last time of its segments so far
    for key, _, first, last, size in found:
        sound = is_whole(key) and is_time(first) and is_time(last) and is_whole(size)
        after = -1 if key != before[0] else before[1]
        before = key, last
        if not (sound and 0 < size <= last - first + 1 and after < first):
            raise CorruptLog(
                f"run number {run_id} has a segment of key {key!r:.40} from {first!r:.40} to "
                f"{last!r:.40}, which there cannot be; see `traininglog check`"
            )
    return found


def read_last_time(connection: Connection, run_id: int, high: int) -> int:
    """Return the greatest time up to `high` at which a run has a sealed number, or -1."""
    found = [time for (time,) in _LAST_TIME.run(connection, run_id=run_id, high=high)]
    for segment in _TIMES.run(connection, run_id=run_id, low=high, high=high):
        times = _times(segment)
        found.append(int(times[times <= high][-1]))
    return max(found, default=-1)


def keys_before(connection: Connection, run_id: int, high: int) -> set[int]:
    """Return the numbers of the keys with sealed values at times up to `high` in a run."""
    return {number for (number,) in _KEYS_BEFORE.run(connection, run_id=run_id, high=high)}


def decoded(owner: RunKeys, row: object) -> Points:
    """Return the content of a segment. Raises `CorruptLog` if the segment is damaged."""
    from traininglog.packing import unpack

    return unpack(verified(owner, row))


def verified(owner: RunKeys, row: Any) -> Block:
    """Return a segment as a block, still packed. Raises `CorruptLog` if it is damaged."""
    from traininglog.packing import Block

    _, key_id, checksum, *block = row
    found = Block(*block)
    try:
        sound = found.checksum(owner.seed(key_id)) == checksum
    except TypeError:  # a column that should have bytes has something else
        sound = False
    if not sound:
        raise CorruptLog(
            f"the segment of {owner.names[key_id]!r} from time {found.first} in run {owner.uuid} "
            "is damaged; see `traininglog check`"
        )
    return found


def _value_at(owner: RunKeys, row: Any, time: int, cache: SegmentCache | None) -> object:
    """Return the number that a segment has at a time, or None.

    The first call decodes only that number. A second call for the segment decodes and caches all.
    """
    from traininglog.packing import pick

    if cache is None or not (cache.get(row[0]) or cache.asked_before(row[0])):
        return pick(verified(owner, row), time)
    return _kept(owner, row, cache).at(time)


def _kept(owner: RunKeys, row: Any, cache: SegmentCache | None) -> Points:
    points = None if cache is None else cache.get(row[0])
    if points is None:
        points = decoded(owner, row)
        if cache is not None:
            cache.keep(row[0], points)
    return points


# -- writing ------------------------------------------------------------------------------------


def save_points(
    connection: Connection, owner: RunKeys, found: Iterable[tuple[int, Points]]
) -> None:
    """Add segments. The caller makes sure that they overlap with none."""
    from traininglog.packing import pack

    rows = [
        {
            **block._asdict(), "run_id": owner.run_id, "key_id": number,
            "checksum": block.checksum(owner.seed(number)),
        }
        for number, points in found
        if len(points.times)
        for block in pack(points)
    ]  # fmt: skip
    _insert(connection, rows)


def _insert(connection: Connection, rows: Sequence[Mapping[str, StoredValue]]) -> None:
    insert_rows(
        connection,
        f"INSERT INTO {segments.name} ({', '.join(_COLUMNS)}) VALUES",
        "",
        [tuple(row[name] for name in _COLUMNS) for row in rows],
    )


def delete_segments(connection: Connection, numbers: Sequence[int]) -> None:
    """Remove segments by their ids."""
    for number in numbers:  # one at a time: a statement of many is compiled anew for each count
        _DELETE.change(connection, id=number)


def delete_numbers(
    connection: Connection, run_id: int, low: int, high: int, key_ids: Iterable[int],
    *, bools: bool = True,
) -> None:  # fmt: skip
    """Remove those entries of some keys that are numbers, after they were sealed."""
    is_number = IS_NUMBER if bools else IS_NUMBER & (entries.c.kind != Kind.BOOL.value)
    chosen = list(key_ids)
    for start in range(0, len(chosen), _TOGETHER):
        connection.execute(
            delete(entries).where(
                entries.c.run_id == run_id,
                entries.c.time.between(low, high),
                is_number,
                entries.c.key_id.in_(chosen[start : start + _TOGETHER]),
            )
        )
