"""Copying a run from one database to another that may have a copy of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, select

from traininglog.sql import reading, writing
from traininglog.sql.tables import marks, runs

_COPIED = [
    column.name
    for column in runs.columns
    if column.name not in ("id", "first_time", "last_time", "deletions")
]


def merge_run(source: Connection, theirs: Any, target: Connection, ours: Any) -> None:
    """Copy the run `theirs` (a row of runs) into `target`, over its copy `ours` if there is one.

    The copy that has been written longer wins where both have a value, and tells how the run ended.
    """
    described = {name: getattr(theirs, name) for name in _COPIED}
    if ours is None:
        number = writing.insert_run(target, described | {"deletions": 0})
        newer = True
    else:
        number = ours.id
        newer = (theirs.epoch, theirs.high_water) > (ours.epoch, ours.high_water)
        if newer:
            writing.update_run(target, number, described)
    new_numbers = _merge_keys(source, theirs.id, target, number)
    for batch in reading.entry_batches(source, theirs.id):
        rows = [(number, time, new_numbers[key], kind, value) for time, key, kind, value in batch]
        writing.save_entries(target, rows, replace=newer)
    if theirs.first_time is not None:
        writing.widen_run(target, number, theirs.first_time, theirs.last_time, theirs.deletions)
    values = reading.read_status(source, theirs.id)
    if not newer:
        known = reading.read_status(target, number)
        values = {key: value for key, value in values.items() if key not in known}
    writing.save_status(target, number, values)
    for time, wall in source.execute(
        select(marks.c.time, marks.c.wall).where(marks.c.run_id == theirs.id)
    ):
        writing.save_mark(target, number, time, wall)


def _merge_keys(
    source: Connection, from_run: int, target: Connection, to_run: int
) -> dict[int, int]:
    """Add the keys that the target's copy lacks; return for each of the source its new number."""
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
