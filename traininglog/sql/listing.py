"""What a list of runs says of each: its name, how much it logged, its last values."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select

from traininglog.encoding import Kind, decode
from traininglog.sql import reading
from traininglog.sql.tables import entries, keys, status

# Up to so many runs are asked for by number; of more, all are counted.
_FEW = 200


class Counts(NamedTuple):
    """How much a run logged itself."""

    first: int | None = None  #: time
    last: int | None = None  #: time
    rows: int = 0
    values: int = 0


def names(connection: Connection) -> dict[int, str]:
    """Return the names of those runs whose status has one."""
    rows = connection.execute(
        select(status.c.run_id, status.c.kind, status.c.value).where(status.c.key == "name")
    )
    values = ((number, decode(kind, stored)) for number, kind, stored in rows)
    return {number: value for number, value in values if isinstance(value, str)}


def counts(connection: Connection, chosen: Sequence[int]) -> dict[int, Counts]:
    """Return what some runs logged themselves; a run without values is left out."""
    shown = entries.c.kind != Kind.HIDDEN.value
    if len(chosen) <= _FEW:
        shown &= entries.c.run_id.in_(chosen)
    # By time first, which is the order of the primary key: count(DISTINCT time) would sort.
    rows = (
        select(entries.c.run_id, entries.c.time, func.count().label("number"))
        .where(shown)
        .group_by(entries.c.run_id, entries.c.time)
        .subquery()
    )
    found = connection.execute(
        select(
            rows.c.run_id,
            func.min(rows.c.time),
            func.max(rows.c.time),
            func.count(),
            func.sum(rows.c.number),
        ).group_by(rows.c.run_id)
    )
    return {number: Counts(*counted) for number, *counted in found}


def match(connection: Connection, patterns: list[str]) -> list[str]:
    """Return the keys in the file that names and globs stand for."""
    if not patterns:
        return []
    seen = dict.fromkeys(
        connection.scalars(select(keys.c.name).order_by(keys.c.run_id, keys.c.id)).all()
    )
    chosen: dict[str, None] = {}
    for pattern in patterns:
        if pattern in seen:
            chosen[pattern] = None
        elif any(character in pattern for character in "*?["):
            chosen.update(dict.fromkeys(key for key in seen if fnmatchcase(key, pattern)))
        else:
            known = ", ".join(map(repr, list(seen)[:20])) or "none yet"
            raise KeyError(f"no run has a key {pattern!r}; there are: {known}")
    return list(chosen)


def key_numbers(connection: Connection, names: list[str]) -> dict[tuple[int, str], int]:
    """Return the numbers that keys have in the runs that have them, by (run, key)."""
    rows = connection.execute(
        select(keys.c.run_id, keys.c.name, keys.c.id).where(keys.c.name.in_(names))
    )
    return {(run, name): number for run, name, number in rows}


def last_values(
    connection: Connection, row: Any, names: list[str], numbers: dict[tuple[int, str], int]
) -> list[Any]:
    """Return the last value that a run sees of each key, or None where there is none."""
    if names and row.resumed_from is not None:
        chain = reading.Chain(connection, row.id)
        return [reading.read_last(connection, chain, key) for key in names]
    own = [numbers.get((row.id, key)) for key in names]
    return [
        None if number is None else reading.read_own_last(connection, row.id, number)
        for number in own
    ]
