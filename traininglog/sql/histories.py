"""Histories of resumed runs that are whole runs one after the other, told without their values.

Mostly a run goes on where its parent ended, or where the parent had got to. Then what it shows is
all that each run of its lineage logged, and no time is in two of them. So counts, last values and
extremes follow from the totals and summaries of those runs. Any other history has to be read.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, select

from traininglog.sql.prepared import Prepared
from traininglog.sql.sound import Test, is_count, is_resume_point, is_run, is_time, is_uuid, perhaps
from traininglog.sql.tables import runs, totals

# For more runs, those of all lineages are read. They must fit into one statement.
_MANY = 1000


def _statement(start: Any) -> Any:
    """Return the statement for some runs and their ancestors, each once, also if there is a cycle.

    Args:
        start: The condition for the runs.

    """
    family = select(runs.c.id, runs.c.resumed_from).where(start).cte("family", recursive=True)
    older = select(runs.c.id, runs.c.resumed_from).join(
        family, runs.c.uuid == family.c.resumed_from
    )
    family = family.union(older)
    noted = and_(totals.c.run_id == runs.c.id, totals.c.high_water == runs.c.high_water)
    return select(
        runs.c.id, runs.c.uuid, runs.c.resumed_from, runs.c.resumed_at, runs.c.deletions,
        totals.c.rows, totals.c.count, totals.c.first, totals.c.last,
    ).select_from(family.join(runs, runs.c.id == family.c.id).outerjoin(totals, noted))  # fmt: skip


_OF_ALL = Prepared(_statement(runs.c.resumed_from.is_not(None)))
_FORM: tuple[Test, ...] = (
    is_run, is_uuid, perhaps(is_uuid), perhaps(is_resume_point), is_count, is_count, is_count,
    perhaps(is_time), perhaps(is_time),
)  # fmt: skip


class _Own(NamedTuple):
    """A run, and what it logged itself."""

    id: int
    uuid: str
    resumed_from: str | None
    resumed_at: int | None
    deletions: int
    rows: int
    values: int
    first: int | None
    last: int | None


class History(NamedTuple):
    """What a resumed run shows: all that some runs logged, one after the other."""

    runs: tuple[int, ...]  #: their numbers, the nearest first
    first: int | None
    last: int | None
    rows: int
    values: int


def whole_histories(connection: Connection, resumed: Collection[int]) -> dict[int, History]:
    """Return the histories of resumed runs that are whole runs, by the numbers of the runs.

    Args:
        connection: The connection to read from.
        resumed: The numbers of the runs. A run that is left out of the answer has to be read: a
            part of it is hidden, or was logged again, or is not totalled up.

    """
    rows: Collection[Any]
    if len(resumed) > _MANY:
        rows = _OF_ALL.run(connection)
    else:
        rows = connection.execute(_statement(runs.c.id.in_(resumed))).all()
    named: set[str] = set()  # also the runs that cannot be used
    known: dict[str, _Own] = {}
    for row in rows:
        named.add(row[1])
        if all(test(value) for test, value in zip(_FORM, row, strict=True)):
            known[row[1]] = _Own(*row)
    of_number = {own.id: own for own in known.values()}
    found = {}
    for number in resumed:
        if number in of_number:
            history = _whole(of_number[number], known, named)
            if history is not None:
                found[number] = history
    return found


def _whole(head: _Own, known: dict[str, _Own], named: Collection[str]) -> History | None:
    path: dict[int, None] = {}
    first = last = bound = None  # bound: only what is at this time or before is seen
    rows = values = 0
    at: _Own | None = head
    while at is not None:
        if at.deletions or at.id in path:
            return None
        path[at.id] = None
        if at.first is not None and at.last is not None:
            if bound is not None and at.last > bound:
                return None
            first, last = at.first, at.last if last is None else last
            rows, values = rows + at.rows, values + at.values
        elif at.values:
            return None
        if at.resumed_from is None:
            break
        if at.resumed_at is None:
            return None
        bound = at.resumed_at if bound is None else min(bound, at.resumed_at)
        if first is not None and first <= bound:
            return None  # it logged a time again that it also inherits
        if at.resumed_from in named and at.resumed_from not in known:
            return None
        at = known.get(at.resumed_from)
    return History(tuple(path), first, last, rows, values)
