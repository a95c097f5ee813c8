"""Deleting experiments, or single runs, and on request the runs that were resumed from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from traininglog.errors import RunHasChildren
from traininglog.sql import reading, writing
from traininglog.sql.runs.experiments import Experiments
from traininglog.sql.trials.records import move_logs
from traininglog.sqlite.database.database import Database
from traininglog.sqlite.runs.run_list import refuse_live
from traininglog.sqlite.sink.leases import Owners


def delete(
    database: Database, owners: Owners, roots: Sequence[str], *, descendants: bool, alone: bool,
    only_ask: bool,
) -> list[UUID]:  # fmt: skip
    """Delete runs, by their UUIDs in hex, in one step; return their UUIDs. See `Store.delete`."""
    with database.read() if only_ask else database.write() as connection:
        doomed = _doomed(connection, roots, descendants=descendants, alone=alone)
        for row in doomed.values():
            refuse_live(row, owners)
        rows = list(doomed.values())
        if not only_ask:
            move_logs(connection, _instead_of(connection, rows))
            writing.delete_runs(connection, [row.id for row in rows])
    if doomed and not only_ask:
        database.shrink()
    return [reading.stored_uuid(uuid) for uuid in _children_first(doomed)]


def _doomed(
    connection: Connection, roots: Sequence[str], *, descendants: bool, alone: bool
) -> dict[str, Any]:
    """Return the rows of the runs to delete, by UUID.

    Raises `RunHasChildren`.
    """
    asked = {row.uuid: row for row in writing.find_runs(connection, roots)}
    found = {uuid: asked[uuid] for uuid in roots if uuid in asked}
    experiments = Experiments(connection)
    if not alone:
        found |= _with_parts(connection, experiments, found)
    doomed, level = dict(found), list(found)
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
            "(descendants=True, or --descendants), or keep all"
        )
    return doomed if alone else doomed | _superseded(connection, experiments, doomed)


def _with_parts(
    connection: Connection, experiments: Experiments, found: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the runs that accompany some runs."""
    numbers = experiments.parts({row.id for row in found.values()})
    return {row.uuid: row for row in writing.numbered_runs(connection, numbers)}


def _superseded(
    connection: Connection, experiments: Experiments, doomed: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the ancestors that only some runs to delete go on from."""
    numbers = {run for row in doomed.values() for run in experiments.of(row.id)}
    numbers -= {row.id for row in doomed.values()}
    rows = {row.uuid: row for row in writing.numbered_runs(connection, sorted(numbers))}
    rows |= _with_parts(connection, experiments, rows)
    while True:  # another run may still read through one of them, and then through all before it
        gone = {*doomed, *rows}
        kept = {
            child.resumed_from
            for child in writing.find_children(connection, rows)
            if child.uuid not in gone
        }
        if not kept:
            return rows
        rows = {uuid: row for uuid, row in rows.items() if uuid not in kept}


def _children_first(doomed: Mapping[str, Any]) -> list[str]:
    """Return the UUIDs of runs in an order in which no run comes before one that reads it."""
    depths: dict[str, int] = {}
    for uuid in doomed:
        path: dict[str, None] = {}
        at = uuid
        while at in doomed and at not in depths and at not in path:  # or a damaged, cyclic lineage
            path[at] = None
            at = doomed[at].resumed_from
        depth = depths.get(at, -1)
        for each in reversed(path):
            depth += 1
            depths[each] = depth
    return sorted(doomed, key=lambda uuid: -depths[uuid])


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
