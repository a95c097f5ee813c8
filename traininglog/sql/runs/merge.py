"""Copying a run from one database to another that may have a copy of it."""

from __future__ import annotations

from collections.abc import Iterator
from time import time as time_now
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from traininglog.encoding import Kind
from traininglog.sql import compaction, reading, segments, writing
from traininglog.sql.runs.totals import forget_totals, total_up
from traininglog.sql.sound import are_totals, is_relation, require_entries, require_marks
from traininglog.sql.tables import (
    UNKNOWN_POSITION,
    entries,
    marks,
    relations,
    runs,
    status,
    summaries,
    totals,
)

_COPIED = [
    column.name
    for column in runs.columns
    if column.name not in ("id", "first_time", "last_time", "deletions")
]


def is_part_of(theirs: object, ours: object, *, sure: bool) -> bool:
    """Return whether one copy of a run holds all of another, by their rows of the table of runs.

    Args:
        theirs: The copy that may be the smaller one.
        ours: The copy that may hold all of it.
        sure: Whether the writer named in `ours` is known to be writing it. It cannot have written
            `theirs` elsewhere at the same time, so `theirs` is an earlier copy.

    """
    if _age(theirs) == _age(ours):
        return True  # each change of a run also changes one of these values
    writer = ("epoch", "host", "pid", "boot_id")
    same_writer = all(getattr(theirs, name) == getattr(ours, name) for name in writer)
    return sure and same_writer and _age(theirs) < _age(ours)


def merge_run(source: Connection, theirs: Any, target: Connection, ours: Any) -> bool:
    """Copy the run `theirs` (a row of runs) into `target`, over its copy `ours` if there is one.

    The copy that was assigned to more often wins where both have a value, and says how the run
    ended. Two copies may have gone on separately, and nothing tells whether they did. So everything
    in either copy is kept. Returns whether the target's copy changed.

    Raises `CorruptLog` if either copy holds an impossible value: `traininglog check --repair` makes
    a file without it.
    """
    described = {name: getattr(theirs, name) for name in _COPIED}
    before = 0
    if ours is None:
        number = writing.insert_run(target, described | {"deletions": 0})
        newer = True
    else:
        number = ours.id
        newer = _age(theirs) > _age(ours)
        before = _count(target, number)
        if newer:
            writing.update_run(target, number, described)
    new_numbers = _merge_keys(source, theirs.id, target, number)
    # The span in the copy's row may be wrong, and readers would then skip values. So the span is
    # widened by what the copy holds.
    times = [] if theirs.first_time is None else [theirs.first_time, theirs.last_time]
    times += [time for _, _, *span, _ in segments.spans(source, theirs.id) for time in span]
    deletions = 0
    resealed = _merge_segments(source, theirs, target, number, new_numbers, replace=newer)
    for batch in reading.entry_batches(source, theirs.id):
        rows = [
            (number, time, new_numbers[key], kind, value)
            for _, time, key, kind, value in require_entries(theirs.uuid, batch, new_numbers)
        ]
        writing.save_entries(target, rows, replace=newer)
        times += rows[0][1], rows[-1][1]
        deletions += sum(kind == Kind.HIDDEN for *_, kind, _ in rows)
    if resealed:
        compaction.seal(target, number, theirs.uuid)
    if times:
        deletions = max(deletions, theirs.deletions) - (0 if ours is None else ours.deletions)
        writing.widen_run(target, number, min(times), max(times), max(0, deletions))
    values = reading.read_whole_status(source, theirs.id)
    if not newer:
        known = reading.read_whole_status(target, number)
        values = {key: value for key, value in values.items() if key not in known}
    writing.save_status(target, number, values)
    for time, wall in require_marks(
        source.execute(select(marks.c.time, marks.c.wall).where(marks.c.run_id == theirs.id))
    ):
        writing.save_mark(target, number, time, wall)
    if ours is None:
        _copy_totals(source, theirs.id, target, number, new_numbers)
        return True
    after = _count(target, number)
    if after > (_count(source, theirs.id) if newer else before):
        # Neither copy had everything. A later merge must not take this one for either of them.
        writing.update_run(target, number, {"updated": time_now()})
    if resealed:
        total_up(target, number)
    else:
        forget_totals(target, number)
    return newer or after > before


def merge_relation(source: Connection, from_run: int, target: Connection, to_run: int) -> None:
    """Copy what a run is to another; of two copies, the one that knows more of the other run wins.

    They differ only where each was told at the upgrade of its own file.
    """
    found, known = (
        connection.execute(select(relations).where(relations.c.run_id == run)).mappings().first()
        for connection, run in ((source, from_run), (target, to_run))
    )
    if found is None or not is_relation(dict(found)):
        return
    if known is None:
        target.execute(insert(relations).values(dict(found) | {"run_id": to_run}))
    elif UNKNOWN_POSITION > found["position"] > known["position"] % UNKNOWN_POSITION:
        change = update(relations).where(relations.c.run_id == to_run)
        target.execute(change.values(position=found["position"], role=found["role"]))


def _merge_segments(
    source: Connection, theirs: Any, target: Connection, number: int, new_numbers: dict[int, int],
    *, replace: bool,
) -> bool:  # fmt: skip
    """Copy the segments of a run; return whether some became entries.

    If both copies have the same segment, and no entry over it, it stays. Other segments are merged
    value by value, as entries.
    """
    mine = {
        (key, first, last): (segment, checksum)
        for segment, key, checksum, first, last in segments.heads(target, number)
    }
    covered = segments.covered(source, theirs.id)
    covered = {(new_numbers[key], first) for key, first in covered if key in new_numbers}
    covered |= segments.covered(target, number)
    kept: set[int] = set()
    owner = reading.owner_of(source, theirs.id, theirs.uuid)
    apart: list[Any] = []
    for row in segments.each(source, theirs.id):
        _, key, checksum, first, last, *_ = row
        place = new_numbers[owner.known(key)], first, last
        twin = mine.get(place)
        if twin is not None and twin[1] == checksum and place[:2] not in covered:
            kept.add(twin[0])
        else:
            apart.append(row)
    if not mine and not _count(target, number):
        for row in apart:
            segments.decoded(owner, row)  # raises for a damaged one, which must not spread
            segments.copy(target, number, new_numbers[row[1]], row)
        return False
    doomed = [segment for segment, _ in mine.values() if segment not in kept]
    ours = reading.owner_of(target, number, theirs.uuid)
    compaction.unseal(target, ours, doomed)
    for row in apart:
        found = compaction.as_entries(number, new_numbers[row[1]], segments.decoded(owner, row))
        writing.save_entries(target, found, replace=replace)
    return bool(doomed or apart)


def _copy_totals(
    source: Connection, from_run: int, target: Connection, to_run: int, new_numbers: dict[int, int]
) -> None:
    """Copy the totals of a run; impossible ones are left out, and computed when they are needed."""
    whole, by_key = (
        list(map(dict, source.execute(select(table).where(table.c.run_id == from_run)).mappings()))
        for table in (totals, summaries)
    )
    if not are_totals(whole, by_key) or any(row["key_id"] not in new_numbers for row in by_key):
        return
    for row in whole:
        target.execute(insert(totals).values(row | {"run_id": to_run}))
    for row in by_key:
        moved = {"run_id": to_run, "key_id": new_numbers[row["key_id"]]}
        target.execute(insert(summaries).values(row | moved))


def _age(run: Any) -> tuple[int, int, bool, float]:
    """Return the key that orders copies of a run: how much was assigned, and whether it ended."""
    return run.high_water, run.epoch, run.outcome is not None, run.updated


def _count(connection: Connection, run_id: int) -> int:
    """Return for how many places a run has a value or tombstone, in entries, status or segments."""
    stored = sum(
        connection.scalar(select(func.count()).where(table.c.run_id == run_id)) or 0
        for table in (entries, status)
    )
    uuid = connection.scalar(select(runs.c.uuid).where(runs.c.id == run_id))
    owner = reading.owner_of(connection, run_id, str(uuid))
    return stored + segments.count_uncovered(connection, owner)


def _merge_keys(
    source: Connection, from_run: int, target: Connection, to_run: int
) -> dict[int, int]:
    """Add the keys that the target's copy lacks; return the new number of each source key."""
    known = reading.read_run_keys(target, to_run)
    fresh = dict(_numbered(reading.read_run_keys(source, from_run), known))
    writing.save_keys(target, to_run, fresh)
    known |= fresh
    return {old: known[name] for name, old in reading.read_run_keys(source, from_run).items()}


def _numbered(names: dict[str, int], known: dict[str, int]) -> Iterator[tuple[str, int]]:
    number = max(known.values(), default=0)
    for name in names:
        if name not in known:
            number += 1
            yield name, number
