"""Writing a log into the tables. Every function works inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Connection, case, delete, insert, select, update

from traininglog.encoding import Kind, encode
from traininglog.sql.tables import entries, keys, marks, metadata, runs, status

#: Rows a statement. One statement of many rows gives the interpreter lock up once, not once a row,
#: and writes three times as fast as `executemany`; from here on more rows change little.
BATCH_ROWS = 500


def insert_run(connection: Connection, values: Mapping[str, Any]) -> int:
    """Add a run and return its id."""
    result = connection.execute(insert(runs).values(**values))
    number = result.inserted_primary_key
    assert number is not None  # noqa: S101 - an insert without one would have raised
    return int(number[0])


def update_run(connection: Connection, run_id: int, values: Mapping[str, Any]) -> bool:
    """Change a run; return whether there is one."""
    result = connection.execute(update(runs).where(runs.c.id == run_id).values(**values))
    return result.rowcount == 1


def touch_run(connection: Connection, run_id: int) -> None:
    """Write a run as it is, so that there is something to commit."""
    connection.execute(update(runs).where(runs.c.id == run_id).values(updated=runs.c.updated))


def widen_run(connection: Connection, run_id: int, first: int, last: int, deletions: int) -> None:
    """Note that a run has entries from `first` to `last`, and how many more of them delete.

    The bounds never narrow again.
    """
    connection.execute(
        update(runs)
        .where(runs.c.id == run_id)
        .values(
            first_time=case((runs.c.first_time < first, runs.c.first_time), else_=first),
            last_time=case((runs.c.last_time > last, runs.c.last_time), else_=last),
            deletions=runs.c.deletions + deletions,
        )
    )


def find_run(connection: Connection, uuid: str) -> Any:
    """Return the row of the run with this UUID in hex, or None."""
    return connection.execute(select(runs).where(runs.c.uuid == uuid)).one_or_none()


def untouched_run(connection: Connection, run_id: int) -> Any:
    """Return the row of a run if nobody has written to it since it was made, nor resumed it."""
    child = runs.alias()
    return connection.execute(
        select(runs).where(
            runs.c.id == run_id,
            runs.c.epoch == 1,
            runs.c.high_water == 0,
            ~select(child.c.id).where(child.c.resumed_from == runs.c.uuid).exists(),
        )
    ).one_or_none()


def high_water(connection: Connection, run_id: int) -> int:
    """Return how many assignments of a run are in the database."""
    found = connection.scalar(select(runs.c.high_water).where(runs.c.id == run_id))
    return int(found or 0)


def delete_runs(connection: Connection, numbers: Sequence[int]) -> None:
    """Remove runs and all that hangs on them."""
    for table in reversed(metadata.sorted_tables):
        column = table.c.id if table is runs else table.c.run_id
        for number in numbers:
            connection.execute(delete(table).where(column == number))


def save_keys(connection: Connection, run_id: int, named: Mapping[str, int]) -> None:
    """Add keys to a run."""
    _insert(connection, f"INSERT INTO {keys.name} (run_id, id, name) VALUES", "",
            [(run_id, number, name) for name, number in named.items()])  # fmt: skip


def save_entries(
    connection: Connection,
    rows: Iterable[tuple[int, int, int, int, Any]],
    *,
    replace: bool = True,
) -> None:
    """Set entries, given as (run_id, time, key_id, kind, value); over others only if `replace`."""
    action = "UPDATE SET kind = excluded.kind, value = excluded.value" if replace else "NOTHING"
    _insert(
        connection,
        f"INSERT INTO {entries.name} (run_id, time, key_id, kind, value) VALUES",
        f"ON CONFLICT (run_id, time, key_id) DO {action}",
        list(rows),
    )


def save_rows(
    connection: Connection,
    run_id: int,
    rows: Mapping[int, Mapping[str, Any]],
    numbers: Mapping[str, int],
    known: int,
) -> None:
    """Set values by time and key; `HIDDEN` hides what is seen at its place.

    Args:
        connection: Where to.
        run_id: The run.
        rows: The values.
        numbers: The run's keys, with their numbers.
        known: How many of the keys, the first ones, the database has.

    """
    if not rows:
        return
    save_keys(connection, run_id, dict(list(numbers.items())[known:]))
    written = [
        (run_id, time, numbers[key], *encode(value))
        for time, row in rows.items()
        for key, value in row.items()
    ]
    save_entries(connection, written)
    deletions = sum(entry[3] == Kind.HIDDEN for entry in written)
    widen_run(connection, run_id, min(rows), max(rows), deletions)


def save_status(
    connection: Connection,
    run_id: int,
    values: Mapping[str, Any],
    renewed: Collection[str] = (),
) -> None:
    """Set values of the status of a run; `HIDDEN` removes one.

    What was deleted and is set again comes last, as in a dict: `renewed` names the keys to which
    both has happened since the last time.
    """
    # What is deleted leaves a mark, so that a merge does not bring it back.
    for key in values:
        is_key = (status.c.run_id == run_id) & (status.c.key == key)
        hidden = status.c.kind == Kind.HIDDEN.value
        connection.execute(delete(status).where(is_key if key in renewed else is_key & hidden))
    _insert(
        connection,
        f"INSERT INTO {status.name} (run_id, key, kind, value) VALUES",
        "ON CONFLICT (run_id, key) DO UPDATE SET kind = excluded.kind, value = excluded.value",
        [
            (run_id, key, *encode(value))
            for key, value in values.items()
        ],
    )  # fmt: skip


def save_mark(connection: Connection, run_id: int, time: int, wall: float) -> None:
    """Note when a run had got to a time; the first to say so counts."""
    _insert(
        connection,
        f"INSERT INTO {marks.name} (run_id, time, wall) VALUES",
        "ON CONFLICT (run_id, time) DO NOTHING",
        [(run_id, time, wall)],
    )


def _insert(connection: Connection, head: str, tail: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, many a statement. `head` and `tail` are constants of this module."""
    if not rows:
        return
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    group = f"({', '.join([mark] * len(rows[0]))})"
    text = ""
    for start in range(0, len(rows), BATCH_ROWS):
        part = rows[start : start + BATCH_ROWS]
        if start == 0 or len(part) < BATCH_ROWS:
            text = f"{head} {', '.join([group] * len(part))} {tail}"
        connection.exec_driver_sql(text, tuple(chain.from_iterable(part)))
