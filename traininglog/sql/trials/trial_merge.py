"""Bringing projects, groups and trials from one database into another.

A trial is the same as another one if both have the same hash and were made at the same moment. Its
UID need not be: where the UID is another trial's, as two machines that do not know of each other
both begin to count revisions at 0, it becomes the next revision.

Of two copies of a record the one counts that has been changed more often; of those changed equally
often the one whose last change has the greater token, which is as good as by lot but the same
everywhere. Tags, metadata, groups, errors and kept files that only the other one has are added to
it. So merging again, or back, changes nothing, and nothing gets lost.
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

#: Brings a file that was kept with a trial: called with the trial's UID, and what it says of it.
Bring = Callable[[str, dict[str, Any]], None]


def merge_trials(source: Connection, target: Connection, bring: Bring) -> list[str]:
    """Bring all that is described over; return the UIDs of the trials that changed here."""
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
    """Return our copy of a trial, if there is one, and theirs under the UID that it has here."""
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
    """Return a record of which there are two copies: all that either says."""
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
