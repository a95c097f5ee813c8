"""The projects, groups and trials of a new file, made from those found in a damaged one.

They agree with each other: of what a record names and is lost, a project is made up, as its name is
all that identifies it; a group or an environment is left out of the record.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from sqlalchemy import Connection

from traininglog.sql.trial_checks import REFERENCES
from traininglog.sql.trials import KINDS, put_record
from traininglog.sqlite.found import Found


def write_records(connection: Connection, found: Found) -> list[str]:
    """Write the records, and return what was made up or left out, for people."""
    records = dict(sorted(found.records.items(), key=lambda item: item[1]["created"]))
    notes: dict[str, None] = {}
    for kind, field, other in REFERENCES:
        for uid in [uid for one, uid in records if one == kind]:
            named = records[kind, uid][field]
            if named is None or (other, named) in records:
                continue
            if other == "project":
                records[other, named] = _made_up(named, records[kind, uid]["created"])
                notes[f"project {named!r} is lost; it was made anew, without a description"] = None
            else:
                records[kind, uid] = _edited(records[kind, uid] | {field: None})
                notes[f"{other} {named} is lost, and left out of what named it"] = None
    for kind in KINDS:
        for (one, _), record in records.items():
            if one == kind:
                put_record(connection, kind, record)
    return list(notes)


def _made_up(name: str, created: float) -> dict[str, Any]:
    return {
        "uid": name, "name": name, "description": None, "tags": {}, "metadata": {},
        # So that in a merge any other copy goes before it.
        "edit": 0, "token": "", "created": created,
    }  # fmt: skip


def _edited(record: dict[str, Any]) -> dict[str, Any]:
    return record | {"edit": record["edit"] + 1, "token": uuid4().hex}
