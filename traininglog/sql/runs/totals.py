"""Totals: how much a run has logged itself, stored when it is sealed, for lists of many runs.

They are up to date as long as they have the same ``high_water`` as the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, Connection, delete, insert, select

from traininglog.columns import Column, union
from traininglog.encoding import encode
from traininglog.sql import reading, segments
from traininglog.sql.lineage_chain import Chain
from traininglog.sql.prepared import Prepared, bind
from traininglog.sql.tables import runs, summaries, totals
from traininglog.sql.writing import insert_rows
from traininglog.values import MAX_TIME

# How many values of a run are read at once; of a larger run, a group of keys at a time.
_AT_ONCE = 1_000_000

_COLUMNS = [column.name for column in summaries.columns]

_THIS: BindParameter[int] = bind("this")
_TOTAL_UP = Prepared(
    insert(totals).values(
        run_id=_THIS,
        high_water=select(runs.c.high_water).where(runs.c.id == _THIS).scalar_subquery(),
        **{name: bind(name) for name in ("rows", "count", "first", "last")},
    )
)
_FORGET = [Prepared(delete(table).where(table.c.run_id == _THIS)) for table in (totals, summaries)]


class Totals(NamedTuple):
    """How much a run has logged itself, as the columns of its totals and of its summaries."""

    whole: dict[str, int | None]
    by_key: list[tuple[Any, ...]]  #: rows of summaries, without the number of the run


def totals_of(connection: Connection, run_id: int) -> Totals:
    """Compute how much a run has logged itself, and the last value and extremes of each key."""
    chain = Chain(connection, run_id, alone=True)
    numbers = {
        name: number
        for link in chain.links
        for number, name in chain.keys(connection, link).items()
    }
    times: Any = []
    count = 0
    by_key = []
    for columns in _parts(connection, run_id, chain, numbers):
        times = union([times, *(column.raw_times for column in columns)])
        count += sum(map(len, columns))
        by_key += [_summary(numbers[column.key], column) for column in columns]
    whole = {
        "rows": len(times),
        "count": count,
        "first": int(times[0]) if len(times) else None,
        "last": int(times[-1]) if len(times) else None,
    }
    return Totals(whole, by_key)


def _parts(
    connection: Connection, run_id: int, chain: Chain, numbers: Mapping[str, int]
) -> Iterator[list[Column]]:
    """Yield the columns that a run has logged itself: all at once, or some keys at a time."""
    order = chain.places(connection)
    sizes: dict[int, int] = {}
    sealed = any(link.sealed for link in chain.links)
    for number, *_, size in segments.spans(connection, run_id) if sealed else []:
        sizes[number] = sizes.get(number, 0) + size
    for chosen in (
        [None]
        if sum(sizes.values()) <= _AT_ONCE
        else _groups({key: sizes.get(number, 0) for key, number in numbers.items()})
    ):
        yield reading.read_columns(connection, chain, chosen, 0, MAX_TIME, {}, order, lineage=False)


def _groups(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield keys in groups that have at most `_AT_ONCE` sealed values, or are one key."""
    group: list[str] = []
    held = 0
    for key, size in sizes.items():
        if group and held + size > _AT_ONCE:
            yield group
            group, held = [], 0
        group.append(key)
        held += size
    if group:
        yield group


def total_up(connection: Connection, run_id: int) -> None:
    """Compute and store the totals of a run."""
    forget_totals(connection, run_id)
    whole, by_key = totals_of(connection, run_id)
    _TOTAL_UP.change(connection, this=run_id, **whole)
    insert_rows(
        connection,
        f"INSERT INTO {summaries.name} ({', '.join(_COLUMNS)}) VALUES",
        "",
        [(run_id, *row) for row in by_key],
    )


def _summary(number: int, column: Column) -> tuple[Any, ...]:
    time, value = column.last
    least, greatest = column.best("min"), column.best("max")
    return (
        number, len(column), time, *encode(value),
        None if least is None else encode(least.value)[1],
        None if greatest is None else encode(greatest.value)[1],
    )  # fmt: skip


def forget_totals(connection: Connection, run_id: int) -> None:
    """Delete the totals of a run, as another than its writer has changed it."""
    for statement in _FORGET:
        statement.change(connection, this=run_id)
