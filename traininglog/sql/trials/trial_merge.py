"""Merging projects, groups and trials from one database into another.

Two trials are the same if they have the same hash and were made at the same moment. Their UIDs may
differ: two machines that do not know of each other both count revisions from 0. If the UID of a
trial belongs to another trial here, the trial becomes the next revision.

Of two copies of a record, the one that was changed more often wins. If both were changed equally
often, the one whose last change has the greater token wins; that is arbitrary, but the same
everywhere. Tags, metadata, groups, errors and kept files that only the other copy has are added to
it. So merging is idempotent in both directions, and nothing gets lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, select

from traininglog.sql.trials.records import (
    KINDS,
    TABLES,
    Record,
    get_record,
    loaded,
    put_record,
    select_records,
)
from traininglog.trial_records import groups_of, with_groups

#: Copies a kept file of a trial: called with the trial's UID, and its record of the file.
Bring = Callable[[str, dict[str, Any]], None]


def merge_trials(source: Connection, target: Connection, bring: Bring) -> list[str]:
    """Copy all records; return the UIDs of the trials that changed here."""
    changed = []
    for kind in KINDS:
        for theirs in select_records(source, kind, {}):
            if kind == "trial":
                ours, theirs = _pair(target, theirs)  # noqa: PLW2901 - under its UID here
            else:
                ours = get_record(target, kind, theirs["uid"])
            merged = theirs if ours is None else united(ours, theirs)
            if merged != ours:
                for artifact in merged.get("artifacts", ()):
                    bring(merged["uid"], artifact)
                put_record(target, kind, merged)
                if kind == "trial":
                    changed.append(str(merged["uid"]))
    return changed


def _pair(target: Connection, theirs: Record) -> tuple[Record | None, Record]:
    """Return our copy of a trial, or None, and their copy under the UID that it has here."""
    table = TABLES["trial"]
    rows = target.scalars(select(table.c.record).where(table.c.hash == theirs["hash"])).all()
    revisions = {}
    for record in (loaded(row, "trial") for row in rows):
        if record["created"] == theirs["created"]:
            return record, theirs | {name: record[name] for name in ("uid", "revision")}
        revisions[record["revision"]] = record
    if theirs["revision"] not in revisions:
        return None, theirs
    free = max(revisions) + 1
    return None, theirs | {"revision": free, "uid": f"{theirs['hash']}_{free}"}


def united(ours: Record, theirs: Record) -> Record:
    """Return the union of two copies of a record."""
    older, newer = sorted((ours, theirs), key=lambda record: (record["edit"], record["token"]))
    if older["token"] == newer["token"]:
        return ours
    both = dict(newer)
    for field in ("tags", "metadata"):
        if field in both:
            extra = {name: older[field][name] for name in older[field].keys() - newer[field].keys()}
            both[field] = newer[field] | dict(sorted(extra.items()))
    if "group_id" in both:
        groups = groups_of(newer)
        if not set(groups).issuperset(groups_of(older)):
            both = with_groups(both, [*groups, *groups_of(older)])
    if "errors" in both:
        both["errors"] = [
            *newer["errors"],
            *(e for e in older["errors"] if e not in newer["errors"]),
        ]
        names = {artifact["name"] for artifact in newer["artifacts"]}
        more = (artifact for artifact in older["artifacts"] if artifact["name"] not in names)
        both["artifacts"] = [*newer["artifacts"], *more]
    if both == newer:
        return newer
    token = hashlib.sha256(f"{older['token']} {newer['token']}".encode()).hexdigest()[:32]
    return both | {"edit": newer["edit"] + 1, "token": token}
