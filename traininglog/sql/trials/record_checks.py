"""Checks of the records of projects, groups and trials: damage, and what the user should know."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from traininglog import kept
from traininglog.sql.tables import runs
from traininglog.sql.trials.records import KINDS, TABLES, Record, columns_of, groups_in
from traininglog.trial_records import flaw_of, groups_of

_TEXT, _MOMENT = (str, NoneType), (int, float, NoneType)
_FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "project": {"name": str, "description": _TEXT, "tags": dict, "metadata": dict},
    "environment": {"environment": dict},
    "trial": {
        "hash": str, "revision": int, "project_id": str, "group_id": _TEXT, "name": _TEXT,
        "description": _TEXT, "version": _TEXT, "tags": dict, "metadata": dict, "parameters": dict,
        "status": dict, "errors": list, "log": _TEXT, "started": _MOMENT, "finished": _MOMENT,
        "environment": _TEXT, "artifacts": list, "chronos": dict, "owner": (dict, NoneType),
    },
}  # fmt: skip
_FIELDS["group"] = _FIELDS["project"] | {"project_id": str}
_ALWAYS: dict[str, type | tuple[type, ...]] = {
    "uid": str, "edit": int, "token": str, "created": (int, float),
}  # fmt: skip

#: The references between records: a kind, its field, and the kind of the record that it names.
REFERENCES = (
    ("group", "project_id", "project"), ("trial", "project_id", "project"),
    ("trial", "group_id", "group"), ("trial", "environment", "environment"),
)  # fmt: skip


class Examined(NamedTuple):
    """A row of one of the tables, as `examine` found it."""

    uid: str
    record: Record | None  #: the record; None: it is damaged
    flaw: str  #: a message on the damage; empty if there is none


def examine(kind: str, row: Mapping[str, Any]) -> Examined:
    """Check a row, given by column, and return its record or its flaw."""
    uid = str(row["uid"])
    try:
        record = json.loads(row["record"])
    except (TypeError, ValueError, RecursionError) as error:
        return Examined(uid, None, f"its record is no JSON ({error})")
    fields = _ALWAYS | _FIELDS[kind]
    if not isinstance(record, dict) or not fields.keys() <= record.keys():
        missing = sorted(fields.keys() - record.keys()) if isinstance(record, dict) else []
        return Examined(uid, None, f"its record is not that of a {kind}: no {', '.join(missing)}")
    for name, types in fields.items():
        if not isinstance(record[name], types) or isinstance(record[name], bool):
            return Examined(uid, None, f"its record cannot have {record[name]!r:.40} as {name}")
    status = record.get("status", {"name": "", "value": 0})
    if set(status) != {"name", "value"} or type(status["value"]) is not int:
        return Examined(uid, None, f"its record cannot have {status!r:.40} as status")
    for artifact in record.get("artifacts", ()):
        if not (
            isinstance(artifact, dict)
            and artifact.keys() >= {"name", "sha256", "size", "kind", "mode"}
            and isinstance(artifact["name"], str)
            and kept.is_hash(artifact["sha256"])
        ):
            return Examined(uid, None, f"its record cannot have {artifact!r:.80} as a kept file")
    flaw = flaw_of(kind, uid, record)
    if flaw is not None:
        return Examined(uid, None, f"its record is damaged: {flaw}")
    for name, value in columns_of(TABLES[kind], record).items():
        if name != "record" and row[name] != value:
            return Examined(uid, None, f"its column {name} is not what its record says")
    return Examined(uid, record, "")


def problems(connection: Connection) -> list[str]:
    """Return messages on damaged records."""
    found = []
    uids: dict[str, set[str]] = {}
    for kind in KINDS:
        uids[kind] = set()
        for uid, _, flaw in _examined(connection, kind):
            uids[kind].add(uid)
            if flaw:
                found.append(f"{kind} {uid}: {flaw}")
    for kind, field, other in REFERENCES:
        for uid, record, _ in _examined(connection, kind):
            named = None if record is None else record[field]
            if named is not None and named not in uids[other]:
                found.append(f"{kind} {uid}: it names {other} {named!r}, which is not there")
    for uid, record, _ in _examined(connection, "trial"):
        if record is not None:
            named = groups_of(record)
            found += [
                f"trial {uid}: it names group {group!r}, which is not there"
                for group in named
                if group not in uids["group"] and group != record["group_id"]
            ]
            if set(named) != groups_in(connection, uid):
                found.append(f"trial {uid}: the table group_members is not what its record says")
    return found


def notes(connection: Connection, folder: Path | None) -> list[str]:
    """Return messages on missing runs and kept files of trials; the database is not damaged.

    Args:
        connection: A connection to the database.
        folder: The folder of the files that are kept with trials; None: they are not checked.

    """
    found = []
    known = set(connection.scalars(select(runs.c.uuid)))
    damage: dict[str, str | None] = {}
    for uid, record, _ in _examined(connection, "trial"):
        if record is None:
            continue
        if record["log"] is not None and record["log"] not in known:
            found.append(
                f"trial {uid}: its run {record['log']} is not in this file; merge the file that "
                "has it"
            )
        if folder is None:
            continue
        for artifact in record["artifacts"]:
            digest = artifact["sha256"]
            if digest not in damage:
                damage[digest] = kept.damage(folder, digest, artifact["size"])
            if damage[digest]:
                found.append(
                    f"trial {uid}: the copy of {artifact['name']!r} that was kept with it "
                    f"{damage[digest]}, in {folder}"
                )
    return found


def _examined(connection: Connection, kind: str) -> Iterator[Examined]:
    table = TABLES[kind]
    for row in connection.execute(select(table).order_by(table.c.id)).mappings():
        yield examine(kind, {str(name): value for name, value in row.items()})
