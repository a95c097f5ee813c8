"""Records of projects, groups and trials in the tables of any SQL database.

A record is a dict that JSON can hold. It is stored whole. The fields that are searched also have
columns, which each write copies from the record.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Table, delete, insert, select, update

from traininglog.encoding import decode
from traininglog.errors import CorruptLog
from traininglog.plain_json import compact
from traininglog.selection import Mode
from traininglog.sql.runs import listing
from traininglog.sql.sound import is_moment
from traininglog.sql.tables import (
    environments,
    group_members,
    keys,
    projects,
    runs,
    summaries,
    trial_groups,
    trials,
)
from traininglog.trial_records import flaw_of, groups_of, in_order, made_of, with_groups

Record = dict[str, Any]

#: The kinds of records, each after the kinds that it names.
KINDS = ("project", "group", "environment", "trial")

#: The table of each kind of record.
TABLES: dict[str, Table] = {
    "project": projects,
    "group": trial_groups,
    "trial": trials,
    "environment": environments,
}

# How many of the records that were added last are examined to find the latest. One of them was made
# here, unless at least as many were merged since.
_LAST = 256

#: The most values that a statement takes as parameters. With more, the caller filters the records.
_MANY = 500


def insert_record(connection: Connection, kind: str, record: Record) -> bool:
    """Add a record. Returns whether it is there; False if another one has its UID."""
    table = TABLES[kind]
    found = connection.scalar(select(table.c.record).where(table.c.uid == record["uid"]))
    if found is not None:
        return bool(loaded(found, kind)["token"] == record["token"])  # a repeated call: idempotent
    ordered = in_order(record, _newest(connection, kind))
    connection.execute(insert(table).values(**columns_of(table, ordered)))
    _note_groups(connection, kind, ordered)
    return True


def _newest(connection: Connection, kind: str) -> float | None:
    """Return the latest moment by which the last records are ordered; None if there are none."""
    table = TABLES[kind]
    last = connection.execute(
        select(table.c.uid, table.c.created).order_by(table.c.id.desc()).limit(_LAST)
    ).all()
    found = [float(created) for _, created in last if is_moment(created)]
    if last:
        with suppress(CorruptLog):  # a damaged record must not prevent a new one
            record = get_record(connection, kind, last[0].uid)
            found += [] if record is None else [made_of(record)]
    return max(found, default=None)


def replace_record(connection: Connection, kind: str, record: Record, edit: int) -> bool:
    """Replace the record with this UID if it is still at `edit` (optimistic concurrency).

    Returns whether it was. A repeated call returns True, too.
    """
    table = TABLES[kind]
    row = connection.execute(
        select(table.c.edit, table.c.record).where(table.c.uid == record["uid"])
    ).one_or_none()
    if row is None:
        return False
    if row.edit != edit:
        return bool(loaded(row.record, kind)["token"] == record["token"])
    connection.execute(
        update(table).where(table.c.uid == record["uid"]).values(**columns_of(table, record))
    )
    _note_groups(connection, kind, record)
    return True


def put_record(connection: Connection, kind: str, record: Record) -> None:
    """Add a record, or replace the one with its UID.

    Groups that do not exist are removed from a trial. So the caller puts groups before trials.
    """
    if kind == "trial":
        record = _without_lost_groups(connection, record)
    table = TABLES[kind]
    there = connection.scalar(select(table.c.id).where(table.c.uid == record["uid"]))
    values = columns_of(table, record)
    connection.execute(
        insert(table).values(**values) if there is None
        else update(table).where(table.c.id == there).values(**values)
    )  # fmt: skip
    _note_groups(connection, kind, record)


def _without_lost_groups(connection: Connection, record: Record) -> Record:
    named = groups_of(record)
    if not named:
        return record
    table = TABLES["group"]
    known = set(connection.scalars(select(table.c.uid).where(table.c.uid.in_(named))))
    if known.issuperset(named):
        return record
    kept = with_groups(record, [group for group in named if group in known])
    return kept | {"edit": record["edit"] + 1, "token": uuid4().hex}


def _note_groups(connection: Connection, kind: str, record: Record) -> None:
    """Update the table of group members to match the record of a trial."""
    if kind != "trial":
        return
    there = groups_in(connection, record["uid"])
    wanted = set(groups_of(record))
    mine = (group_members.c.kind == "trial") & (group_members.c.member == record["uid"])
    for group in there - wanted:
        connection.execute(delete(group_members).where(mine & (group_members.c.group_id == group)))
    for group in sorted(wanted - there):
        connection.execute(
            insert(group_members).values(kind="trial", member=record["uid"], group_id=group)
        )


def groups_in(connection: Connection, uid: str) -> set[str]:
    """Return the groups that a trial is in, by the table of members."""
    return set(
        connection.scalars(
            select(group_members.c.group_id).where(
                group_members.c.kind == "trial", group_members.c.member == uid
            )
        )
    )


def move_logs(connection: Connection, instead: Mapping[str, str | None]) -> None:
    """Replace the deleted logs of trials: `instead` maps each UUID to another one, or None."""
    for record in list(select_records(connection, "trial", {"log": list(instead)})):
        if record["log"] in instead:
            new = {"log": instead[record["log"]], "edit": record["edit"] + 1, "token": uuid4().hex}
            put_record(connection, "trial", record | new)


def get_record(connection: Connection, kind: str, uid: str) -> Record | None:
    """Return the record with a UID, or None."""
    table = TABLES[kind]
    found = connection.scalar(select(table.c.record).where(table.c.uid == uid))
    return None if found is None else loaded(found, kind)


def select_records(
    connection: Connection, kind: str, where: Mapping[str, Sequence[object]]
) -> Iterator[Record]:
    """Yield records, the oldest first: all that `where` allows, and perhaps others.

    `where` maps a field to the values to match. A trial matches ``groups`` if it is in one of them.
    """
    table = TABLES[kind]
    statement = select(table.c.record).order_by(table.c.id)
    for field, values in where.items():
        if field == "groups" and kind == "trial" and len(values) <= _MANY:
            statement = statement.where(_in_groups(table, values))
        column = table.c.get(field)
        if column is None or len(values) > _MANY:
            continue
        wanted = column.in_([value for value in values if value is not None])
        statement = statement.where(wanted | column.is_(None) if None in values else wanted)
    # A generator, so that a caller that needs only the first record reads no more.
    return (loaded(found, kind) for found in connection.execute(statement).scalars())


def _in_groups(table: Table, values: Sequence[object]) -> Any:
    members = select(group_members.c.member).where(group_members.c.kind == "trial")
    wanted = [value for value in values if value is not None]
    found = table.c.uid.in_(members.where(group_members.c.group_id.in_(wanted)))
    return found | table.c.uid.not_in(members) if None in values else found


def ends_of_runs(
    connection: Connection, uuids: Sequence[str], best: Mapping[str, Mode]
) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Return the last value of every key, and the best of the keys in `best`, of runs by UUID."""
    wanted = set(uuids)
    lines = [line for line in listing.lines(connection) if line.uuid in wanted]
    simple = {line.id: line for line in lines if line.noted and line.resumed_from is None}
    found: dict[str, dict[str, tuple[Any, Any]]] = {line.uuid: {} for line in lines}
    rows = connection.exec_driver_sql(_NOTED)
    for run_id, name, kind, value, least, greatest in rows:
        line = simple.get(run_id)
        if line is not None:
            mode = best.get(name)
            found[line.uuid][name] = (
                value if kind in (3, 4) and type(value) in (int, float) else decode(kind, value),
                least if mode == "min" else greatest if mode == "max" else None,
            )
    others = [line for line in lines if line.id not in simple]
    if others:
        chosen = connection.scalars(select(keys.c.name).distinct()).all()
        ends = listing.Ends(connection, chosen, None, listing.histories(connection, others))
        for line in others:
            lasts = ends.lasts(line, chosen)
            extremes = ends.bests(line, {key: best[key] for key in lasts if key in best})
            for key, last in lasts.items():
                found[line.uuid][key] = (last.value, extremes.get(key))
    return found


_NOTED = str(
    select(
        summaries.c.run_id, keys.c.name, summaries.c.kind, summaries.c.value,
        summaries.c.least, summaries.c.greatest,
    ).join(keys, (keys.c.run_id == summaries.c.run_id) & (keys.c.id == summaries.c.key_id))
    .join(trials, trials.c.log == select(runs.c.uuid).where(runs.c.id == summaries.c.run_id)
          .scalar_subquery())
)  # fmt: skip


def columns_of(table: Table, record: Record) -> dict[str, Any]:
    """Return the row of a record, without its number."""
    values = {
        column.name: record.get(column.name)
        for column in table.columns
        if column.name not in ("id", "record")
    }
    if "status" in values:
        values["status"] = record["status"]["value"]
    return values | {"record": compact(record)}


def loaded(text: str, kind: str) -> Record:
    """Parse the text of a record of a kind. Raises `CorruptLog`."""
    try:
        record = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise CorruptLog(f"the record of a {kind} is no JSON: {error}") from error
    uid = record.get("uid") if isinstance(record, dict) else None
    flaw = flaw_of(kind, str(uid), record)
    if flaw is not None:
        raise CorruptLog(
            f"the record of {kind} {str(uid)!r:.80} is damaged: {flaw}; see `traininglog check`"
        )
    return dict(record)
