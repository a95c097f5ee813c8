"""Writing a log into the tables. Every function works inside the caller's transaction."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from time import time as time_now
from types import SimpleNamespace
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    Column,
    Connection,
    case,
    delete,
    insert,
    select,
    update,
)

from traininglog.encoding import Encoded, Kind, encode
from traininglog.errors import CorruptLog
from traininglog.imported import UNKNOWN
from traininglog.lineage import BEFORE_ALL, Role
from traininglog.sql.ordering import newest_before
from traininglog.sql.prepared import Prepared, bind
from traininglog.sql.sound import is_run
from traininglog.sql.tables import (
    UNKNOWN_POSITION,
    entries,
    keys,
    marks,
    metadata,
    runs,
    status,
)
from traininglog.values import MAX_TIME
from traininglog.waiting import pause

_T = TypeVar("_T")

#: Rows per statement. One statement of many rows releases the interpreter lock once, not once a
#: row, and writes three times as fast as `executemany`. More rows than this change little.
BATCH_ROWS = 2000

# The most names in one statement; SQLite before 3.32 takes fewer than a thousand parameters.
_IN_ONE = 500

_REPLACE = """\
ON CONFLICT (run_id, time, key_id) DO UPDATE SET kind = excluded.kind, value = excluded.value"""


# SQLAlchemy takes longer to build a statement than SQLite takes to run it. So the statements that
# each log uses are built once.
_RUN_COLUMNS = [column.name for column in runs.columns]
_FIND_RUN = Prepared(select(runs).where(runs.c.uuid == bind("wanted")))
_FIRST: BindParameter[int] = bind("first")
_LAST: BindParameter[int] = bind("last")
_WIDEN_RUN = Prepared(
    update(runs)
    .where(runs.c.id == bind("this"))
    .values(
        first_time=case((runs.c.first_time < _FIRST, runs.c.first_time), else_=_FIRST),
        last_time=case((runs.c.last_time > _LAST, runs.c.last_time), else_=_LAST),
        deletions=runs.c.deletions + bind("more"),
    )
)
_RELATE = Prepared("""
    INSERT INTO relations (run_id, role, other, position) VALUES (
        :run_id, :role, :other,
        coalesce((SELECT high_water FROM runs WHERE uuid = :other), :unknown)
    )
""")
_RELATE_AS_PART = Prepared("""
    INSERT INTO relations (run_id, role, other, position)
    SELECT :run_id, relations.role, relations.other, relations.position
    FROM relations JOIN runs ON runs.id = relations.run_id
    WHERE runs.uuid = :other AND relations.role = 'part'
""")
_drop = delete(status).where(status.c.run_id == bind("this"), status.c.key == bind("name"))
_DROP_STATUS = Prepared(_drop)
_DROP_HIDDEN = Prepared(_drop.where(status.c.kind == Kind.HIDDEN.value))


def batched(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Yield the items in their order, in lists of up to `size`."""
    left = iter(items)
    while some := list(islice(left, size)):
        yield some


def insert_run(connection: Connection, values: Mapping[str, object]) -> int:
    """Add a run and return its id. Raises `CorruptLog` if the file has no valid id left."""
    _insert_of(frozenset(values)).change(connection, **values)
    number: int = find_run(connection, str(values["uuid"])).id
    if not is_run(number):
        raise CorruptLog(
            "no run can be added: what the file says of how many it has had is damaged (in the "
            "table sqlite_sequence); `traininglog check --repair` makes a file that is sound"
        )
    return number


@functools.cache
def _insert_of(names: frozenset[str]) -> Prepared:
    return Prepared(insert(runs).inline().values({name: bind(name) for name in sorted(names)}))


def add_run(
    connection: Connection, uuid: UUID, status: Mapping[str, object],
    parent: tuple[UUID, int] | None, origin: Mapping[str, object], *, variant: bool = False,
    part_of: UUID | None = None,
) -> int:  # fmt: skip
    """Add a run that begins now, in its first epoch, as a child if `parent` is given.

    See `Birth` for `variant` and `part_of`. Returns its id.
    """
    now = time_now()
    values = {
        **origin, "uuid": uuid.hex, "created": now, "updated": now, "opened": now, "epoch": 1,
        "high_water": 0, "deletions": 0,
    }  # fmt: skip
    if parent is not None:
        values |= {"resumed_from": parent[0].hex, "resumed_at": parent[1]}
    number = insert_run(connection, values)
    newest = newest_before(connection, number)
    if newest is not None and now < newest:  # the clock was set back
        save_mark(connection, number, BEFORE_ALL, newest)
    _insert_status(connection, number, status)
    if part_of is not None:
        relate(connection, number, "part", part_of)
    elif parent is not None:
        relate(connection, number, "variant" if variant else "continue", parent[0])
    return number


def relate(connection: Connection, run_id: int, role: Role, other: UUID) -> None:
    """Note what a new run is to another. A run that continues a part is a part of the same run."""
    if role != "continue" or not _RELATE_AS_PART.change(connection, run_id=run_id, other=other.hex):
        _RELATE.change(
            connection, run_id=run_id, role=role, other=other.hex, unknown=UNKNOWN_POSITION
        )


def update_run(
    connection: Connection, run_id: int, values: Mapping[str, object], *, epoch: int | None = None
) -> bool:
    """Change a run; with `epoch`, only if it is still at that epoch. Return whether it did."""
    given = {f"new_{name}": value for name, value in values.items()}
    change = _change_of(frozenset(values), fenced=epoch is not None)
    known = {"this": run_id} if epoch is None else {"this": run_id, "held": epoch}
    return change.change(connection, **given, **known) == 1


@functools.cache
def _change_of(names: frozenset[str], *, fenced: bool) -> Prepared:
    change = update(runs).where(runs.c.id == bind("this"))
    if fenced:
        change = change.where(runs.c.epoch == bind("held"))
    return Prepared(change.values({name: bind(f"new_{name}") for name in sorted(names)}))


def widen_run(connection: Connection, run_id: int, first: int, last: int, deletions: int) -> None:
    """Widen a run's bounds to include `first` and `last`, and count more deletions.

    The bounds never narrow again.
    """
    _WIDEN_RUN.change(connection, this=run_id, first=first, last=last, more=deletions)


def find_run(connection: Connection, uuid: str) -> Any:
    """Return the row of the run with this UUID in hex, or None."""
    for row in _FIND_RUN.run(connection, wanted=uuid):
        return SimpleNamespace(**dict(zip(_RUN_COLUMNS, row, strict=True)))
    return None


def find_runs(connection: Connection, uuids: Iterable[str]) -> list[Any]:
    """Return the rows of the runs with these UUIDs in hex; missing runs are left out."""
    return _rows_by(connection, runs.c.uuid, uuids)


def numbered_runs(connection: Connection, numbers: Iterable[int]) -> list[Any]:
    """Return the rows of the runs with these numbers; missing runs are left out."""
    return _rows_by(connection, runs.c.id, numbers)


def find_children(connection: Connection, uuids: Iterable[str]) -> list[Any]:
    """Return the rows of the runs that were resumed from runs with these UUIDs in hex."""
    return _rows_by(connection, runs.c.resumed_from, uuids)


def _rows_by(connection: Connection, column: Column[Any], wanted: Iterable[object]) -> list[object]:
    return [
        row
        for some in batched(dict.fromkeys(wanted), _IN_ONE)
        for row in connection.execute(select(runs).where(column.in_(some)))
    ]


def untouched_run(connection: Connection, run_id: int) -> Any:
    """Return the row of a run if it has no writes since it was made, and no children; or None."""
    child = runs.alias()
    return connection.execute(
        select(runs).where(
            runs.c.id == run_id,
            runs.c.epoch == 1,
            runs.c.high_water == 0,
            ~select(child.c.id).where(child.c.resumed_from == runs.c.uuid).exists(),
        )
    ).one_or_none()


def delete_runs(connection: Connection, numbers: Sequence[int]) -> None:
    """Remove runs and all rows that belong to them."""
    for table in reversed(metadata.sorted_tables):
        column = table.c.id if table is runs else table.c.get("run_id")
        if column is None:  # projects, groups and trials are kept
            continue
        for some in batched(numbers, _IN_ONE):
            connection.execute(delete(table).where(column.in_(some)))


def save_keys(connection: Connection, run_id: int, named: Mapping[str, int]) -> None:
    """Add keys to a run; keys that it has are left alone."""
    insert_rows(
        connection,
        f"INSERT INTO {keys.name} (run_id, id, name) VALUES",
        "ON CONFLICT (run_id, id) DO NOTHING",
        [(run_id, number, name) for name, number in named.items()],
    )


def save_entries(
    connection: Connection,
    rows: Iterable[tuple[int, int, int, int, object]],
    *,
    replace: bool = True,
) -> None:
    """Set entries, given as (run_id, time, key_id, kind, value).

    An existing entry is overwritten only if `replace`.
    """
    insert_rows(
        connection,
        f"INSERT INTO {entries.name} (run_id, time, key_id, kind, value) VALUES",
        _REPLACE if replace else "ON CONFLICT (run_id, time, key_id) DO NOTHING",
        list(rows),
    )


def save_numbers(connection: Connection, run_id: int, numbers: list[Any]) -> None:
    """Set entries that are floats or ints, over existing ones. The last one for a place wins.

    Args:
        connection: The connection to write to.
        run_id: The run.
        numbers: A code, a time and a value of each, one after the other. The code is the number of
            the key, with the kind of the value in the bits from 24 up.

    """
    total = sum(numbers[2::3])
    if total != total:  # noqa: PLR0124 - there is a NaN, or infinities of both signs
        numbers = _with_nans_to_the_bit(numbers)
    # Binding the columns that are the same in all rows, or follow from others, would take as long
    # as the rest.
    _insert_flat(
        connection,
        f"INSERT INTO {entries.name} (run_id, time, key_id, kind, value) "  # noqa: S608
        f"SELECT {int(run_id)}, column2, column1 & 16777215, column1 >> 24, column3 FROM (VALUES",
        f"({', '.join([_mark(connection)] * 3)})",
        f") WHERE true {_REPLACE}",
        numbers,
        3,
    )


def _with_nans_to_the_bit(numbers: list[object]) -> list[object]:
    kept = numbers[:]
    kept[2::3] = [
        value if value == value else encode(value)[1]  # noqa: PLR0124 - a NaN
        for value in numbers[2::3]
    ]
    return kept


def save_others(
    connection: Connection,
    run_id: int,
    others: Mapping[tuple[int, int], Encoded],
    times: tuple[int, int],
) -> None:
    """Write the values of a batch that are no numbers, after the numbers; widen the run's span.

    Args:
        connection: The connection to write to.
        run_id: The run.
        others: The values by time and number of the key.
        times: The first and the last time of the whole batch.

    """
    deletions = sum(cell.kind == Kind.HIDDEN for cell in others.values()) if others else 0
    widen_run(connection, run_id, *times, deletions)
    if others:
        save_entries(
            connection,
            [(run_id, time, number, *cell) for (time, number), cell in others.items()],
        )


def save_status(
    connection: Connection,
    run_id: int,
    values: Mapping[str, object],
    renewed: Collection[str] = (),
) -> None:
    """Set values of the status of a run; `HIDDEN` removes one.

    A key that was deleted and is set again comes last, as in a dict. `renewed` names the keys that
    were deleted and set again since the last call.
    """
    # A deleted value leaves a tombstone, so that a merge does not bring it back.
    for key in values:
        drop = _DROP_STATUS if key in renewed else _DROP_HIDDEN
        drop.change(connection, this=run_id, name=key)
    _insert_status(connection, run_id, values)


def _insert_status(connection: Connection, run_id: int, values: Mapping[str, object]) -> None:
    insert_rows(
        connection,
        f"INSERT INTO {status.name} (run_id, key, kind, value) VALUES",
        "ON CONFLICT (run_id, key) DO UPDATE SET kind = excluded.kind, value = excluded.value",
        [
            (run_id, key, *encode(value))
            for key, value in values.items()
        ],
    )  # fmt: skip


def save_mark(connection: Connection, run_id: int, time: int, wall: float) -> None:
    """Note when a run had got to a time; an existing mark stays."""
    insert_rows(
        connection,
        f"INSERT INTO {marks.name} (run_id, time, wall) VALUES",
        "ON CONFLICT (run_id, time) DO NOTHING",
        [(run_id, time, wall)],
    )


def save_marks(connection: Connection, run_id: int, found: Mapping[int, float]) -> None:
    """Note when a run had got to some times, over existing marks."""
    insert_rows(
        connection,
        f"INSERT INTO {marks.name} (run_id, time, wall) VALUES",
        "ON CONFLICT (run_id, time) DO UPDATE SET wall = excluded.wall",
        [(run_id, time, wall) for time, wall in found.items()],
    )


def begin_import(connection: Connection, run_id: int, created: float | None) -> None:
    """Mark a run as an import: only its marks say when it was logged."""
    save_marks(connection, run_id, {MAX_TIME: UNKNOWN})
    if created is not None:
        update_run(connection, run_id, {"created": created, "updated": created})
        before = (marks.c.run_id == run_id) & (marks.c.time == BEFORE_ALL)
        connection.execute(delete(marks).where(before))  # `created` alone orders an import


def is_import(connection: Connection, run_id: int) -> bool:
    """Return whether a run is an import, whose marks alone say when it was logged."""
    wall = connection.scalar(
        select(marks.c.wall).where(marks.c.run_id == run_id, marks.c.time == MAX_TIME)
    )
    return wall == UNKNOWN


def end_import(connection: Connection, run_id: int, last: int | None) -> None:
    """Note that an imported run goes on here and now, after its last imported time."""
    if is_import(connection, run_id):
        where = (marks.c.run_id == run_id) & (marks.c.time == MAX_TIME)
        connection.execute(delete(marks).where(where))
        if last is not None:
            save_mark(connection, run_id, last, UNKNOWN)


def insert_rows(
    connection: Connection, head: str, tail: str, rows: Sequence[tuple[object, ...]]
) -> None:
    """Insert rows, many per statement. `head` and `tail` are constants of the callers."""
    if rows:
        width = len(rows[0])
        group = f"({', '.join([_mark(connection)] * width)})"
        _insert_flat(connection, head, group, tail, list(chain.from_iterable(rows)), width)


def _insert_flat(
    connection: Connection, head: str, group: str, tail: str, values: list[object], width: int
) -> None:
    """Insert rows of `width` values each, given one after the other, many per statement."""
    size = BATCH_ROWS * width
    for start in range(0, len(values), size):
        if start:  # there are many rows, and an assignment may wait for the owner thread
            pause(0.0)
        part = tuple(values[start : start + size])
        cursor = connection.connection.cursor()
        cursor.execute(_statement(head, group, tail, len(part) // width), part)
        cursor.close()


@functools.lru_cache(maxsize=16)
def _statement(head: str, group: str, tail: str, count: int) -> str:
    return f"{head} {', '.join([group] * count)} {tail}"


def _mark(connection: Connection) -> str:
    return "?" if connection.dialect.paramstyle == "qmark" else "%s"
