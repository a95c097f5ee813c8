"""Sealing (compaction): moving a run's numbers from entries to segments.

Every function works inside the caller's transaction. Sealing rewrites the segments that the new
numbers fall into, and small neighbours. So a run that was opened and closed a thousand times has a
few dozen segments, not a thousand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, literal, select

from traininglog.encoding import decode, encode
from traininglog.errors import CorruptLog
from traininglog.sql import reading, segments, writing
from traininglog.sql.prepared import Prepared, bind
from traininglog.sql.segments import IS_NUMBER, RunKeys
from traininglog.sql.sound import require_times
from traininglog.sql.tables import entries
from traininglog.values import MAX_TIME

if TYPE_CHECKING:
    from traininglog.packing import Points

#: Fewer numbers of a key than this stay entries: a segment of them would take more room.
LEAST = 16

# How many entries are read at a time.
_WINDOW = 500_000

# A run without segments and with at most so many entries is small.
_SMALL = 2_000

_NUMBERS = Prepared(
    select(entries.c.key_id, entries.c.time, entries.c.kind, entries.c.value)
    .where(
        entries.c.run_id == bind("run_id"),
        entries.c.time >= bind("low"),
        IS_NUMBER,
    )
    .order_by(entries.c.time)
    .limit(bind("limit"))
)

_ANOTHER_ENTRY = Prepared("SELECT 1 FROM entries WHERE run_id = :run_id LIMIT 1 OFFSET :others")
_ANOTHER_NUMBER = Prepared(
    select(literal(1))
    .where(entries.c.run_id == bind("run_id"), IS_NUMBER)
    .limit(1)
    .offset(bind("others"))
)

#: The numbers of some keys: key -> (ascending times, values).
Found = dict[int, tuple[list[int], list[Any]]]


class Piece(NamedTuple):
    """A segment without its data: its id, times and size."""

    number: int
    first: int
    last: int
    size: int


def seal(connection: Connection, run_id: int, uuid: str) -> int:
    """Move the numbers of a run to segments; return how many were moved.

    Raises `CorruptLog` if an entry cannot have been logged.
    """
    owner = reading.owner_of(connection, run_id, uuid)
    moved = 0
    for low, high, found in _windows(connection, owner):
        moved += _seal_window(connection, owner, low, high, found)
    gather(connection, owner)
    return moved


def is_small(connection: Connection, run_id: int) -> bool:
    """Return whether a run has few values, so that sealing it takes no longer than a flush."""
    few = not _ANOTHER_ENTRY.run(connection, run_id=run_id, others=_SMALL)
    return few and not segments.spans(connection, run_id)


def has_numbers(connection: Connection, run_id: int, least: int) -> bool:
    """Return whether a run has at least `least` numbers among its entries."""
    return bool(_ANOTHER_NUMBER.run(connection, run_id=run_id, others=least - 1))


def _windows(connection: Connection, owner: RunKeys) -> Iterator[tuple[int, int, Found]]:
    """Yield the numbers of a run by key, in windows of whole times: (first, last, numbers)."""
    low = 0
    while rows := _NUMBERS.run(connection, run_id=owner.run_id, low=low, limit=_WINDOW):
        # An invalid time may have no next one: without this check, the loop might not end.
        require_times(owner.uuid, [row[1] for row in rows])
        high = rows[-1][1]
        if len(rows) == _WINDOW and rows[0][1] < high:
            high -= 1  # the next window may have more numbers of the last time
        found: Found = {}
        for key_id, time, kind, stored in rows:
            if time <= high:
                times, values = found.setdefault(key_id, ([], []))
                times.append(time)
                values.append(decode(kind, stored))
        yield low, high, found
        if high == MAX_TIME:
            return
        low = high + 1


def _seal_window(connection: Connection, owner: RunKeys, low: int, high: int, found: Found) -> int:
    from traininglog.packing import points_of

    there = outline(connection, owner.run_id)
    moved: list[int] = []
    for key_id, (times, values) in found.items():
        pieces = there.get(key_id, [])
        inside = any(
            piece.first <= time <= piece.last for piece in pieces for time in times[:LEAST]
        )
        if len(times) >= LEAST or inside:
            lay(connection, owner, key_id, points_of(times, values), pieces)
            moved.append(key_id)
    segments.delete_numbers(connection, owner.run_id, low, high, moved)
    return sum(len(found[key_id][0]) for key_id in moved)


def outline(connection: Connection, run_id: int) -> dict[int, list[Piece]]:
    """Return the segments of a run by key, ascending."""
    found: dict[int, list[Piece]] = {}
    for key_id, *piece in segments.spans(connection, run_id):
        found.setdefault(key_id, []).append(Piece(*piece))
    return found


def lay(
    connection: Connection, owner: RunKeys, key_id: int, points: Points, pieces: list[Piece]
) -> None:
    """Put numbers of a key into segments, over its existing segments, which are `pieces`."""
    import numpy as np

    from traininglog.packing import BLOCK, joined

    firsts = np.array([piece.first for piece in pieces], np.int64)
    lasts = np.array([piece.last for piece in pieces], np.int64)
    # The segments to rewrite: at first, those that the points fall into.
    again: set[int] = set()
    if pieces:
        places = np.searchsorted(firsts, points.times, side="right") - 1
        inside = (places >= 0) & (points.times <= lasts[places])
        again = set(places[inside].tolist())
    while True:
        # All numbers between two segments that stay become one group of new segments.
        stay = [place for place in range(len(pieces)) if place not in again]
        borders = firsts[stay]
        groups = np.searchsorted(borders, points.times, side="right")
        group_of = {
            place: int(np.searchsorted(borders, firsts[place], side="right")) for place in again
        }
        sizes = np.bincount(groups, minlength=len(stay) + 1)
        for place, group in group_of.items():
            sizes[group] += pieces[place].size
        # A neighbour is small if it is no larger than the group after it, and at most half full.
        small = {
            place
            for number, place in enumerate(stay)
            if pieces[place].size <= min(int(sizes[number + 1]), BLOCK // 2)
        }
        if not small:
            break
        again |= small
    old: dict[int, list[Points]] = {}
    for place, group in sorted(group_of.items()):
        _, found = segments.read_one(connection, owner, pieces[place].number)
        old.setdefault(group, []).append(found)
    segments.delete_segments(connection, [pieces[place].number for place in again])
    for group in sorted({*groups.tolist(), *old}):
        new = joined([*old.get(group, []), points.part(groups == group)])
        segments.save_points(connection, owner, [(key_id, new)])


def gather(connection: Connection, owner: RunKeys) -> None:
    """Merge each group of small neighbouring segments into one; a slow run leaves many."""
    from traininglog.packing import joined

    for key_id, pieces in outline(connection, owner.run_id).items():
        for group in _small(pieces):
            for found in _sound(connection, owner, group):
                if len(found) > 1:
                    segments.delete_segments(connection, list(found))
                    points = joined(list(found.values()))
                    segments.save_points(connection, owner, [(key_id, points)])


def _sound(
    connection: Connection, owner: RunKeys, pieces: list[Piece]
) -> Iterator[dict[int, Points]]:
    """Yield the contents of neighbouring segments, by id; a damaged one splits them, and stays."""
    found: dict[int, Points] = {}
    for piece in pieces:
        try:
            found[piece.number] = segments.read_one(connection, owner, piece.number)[1]
        except CorruptLog:
            yield found
            found = {}
    yield found


def _small(pieces: list[Piece]) -> Iterator[list[Piece]]:
    """Yield groups of small neighbours to merge, none much larger than the rest of its group.

    So each number is packed only a few times. The last group is limited to a smaller size, as
    closing a log waits for this; the rest of it is left for the next pass.
    """
    from traininglog.packing import BLOCK

    group: list[Piece] = []
    size = 0
    for piece in [*pieces, None]:
        if piece is None or piece.size > BLOCK // 4 or size + piece.size > BLOCK:
            most = BLOCK // 4 if piece is None else BLOCK
            while len(group) > 1 and (size > most or group[0].size > size - group[0].size):
                size -= group.pop(0).size
            if len(group) > 1:
                yield group
            group, size = [], 0
        if piece is not None and piece.size <= BLOCK // 4:
            group.append(piece)
            size += piece.size


def unseal(connection: Connection, owner: RunKeys, numbers: Sequence[int]) -> None:
    """Turn segments of a run back into entries; an existing entry wins."""
    for number in numbers:
        key_id, points = segments.read_one(connection, owner, number)
        found = as_entries(owner.run_id, key_id, points)
        writing.save_entries(connection, found, replace=False)
    segments.delete_segments(connection, numbers)


def as_entries(
    run_id: int, key_id: int, points: Points
) -> Iterator[tuple[int, int, int, int, Any]]:
    """Yield numbers in the form that `writing.save_entries` takes."""
    values = points.values()
    listed = values.tolist() if hasattr(values, "tolist") else values
    for time, value in zip(points.times.tolist(), listed, strict=True):
        yield (run_id, time, key_id, *encode(value))
