"""Deleting runs, and on request the runs that were resumed from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from traininglog.errors import RunHasChildren
from traininglog.sql import reading, writing
from traininglog.sql.trials.records import move_logs
from traininglog.sqlite.database.database import Database
from traininglog.sqlite.runs.run_list import refuse_live
from traininglog.sqlite.sink.leases import Owners


def delete(
    database: Database, owners: Owners, roots: Sequence[str], *, descendants: bool
) -> list[UUID]:
    """Delete runs, by their UUIDs in hex, in one step; return their UUIDs. See `Store.delete`."""
    with database.write() as connection:
        found = {row.uuid: row for row in writing.find_runs(connection, roots)}
        doomed = {uuid: found[uuid] for uuid in roots if uuid in found}
        level = list(doomed)
        while level:  # each run is visited once, even if a damaged file has a cyclic lineage
            children = writing.find_children(connection, level)
            fresh = {row.uuid: row for row in children if row.uuid not in doomed}
            doomed |= fresh
            level = list(fresh)
        more = [uuid for uuid in doomed if uuid not in found]
        if more and not descendants:
            raise RunHasChildren(
                f"{len(more)} runs descend from {_some(roots)} and read through "
                f"{'it' if len(roots) == 1 else 'them'}: {_some(more)}; delete them, too "
                "(descendants=True), or keep all"
            )
        for row in doomed.values():
            refuse_live(row, owners)
        rows = list(doomed.values())
        move_logs(connection, _instead_of(connection, rows))
        writing.delete_runs(connection, [row.id for row in rows])
    if doomed:
        database.shrink()
    return [reading.stored_uuid(uuid) for uuid in reversed(doomed)]  # children come first


def _some(uuids: Sequence[str]) -> str:
    return ", ".join(uuids[:5]) + (f" and {len(uuids) - 5} more" if len(uuids) > 5 else "")


def _instead_of(connection: Connection, doomed: Sequence[Any]) -> dict[str, str | None]:
    """Return the nearest ancestor that stays, for each run to delete; None if none stays."""
    parents = {row.uuid: row.resumed_from for row in doomed}
    outside = {parent for parent in parents.values() if parent is not None} - set(parents)
    there = {row.uuid for row in writing.find_runs(connection, sorted(outside))}
    found = {}
    for uuid in parents:
        at, passed = uuid, set()
        while at in parents and at not in passed:  # a damaged file may have a cyclic lineage
            passed.add(at)
            at = parents[at]
        found[uuid] = at if at in there else None
    return found
