"""Deleting runs, with those that were resumed from them if that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select

from traininglog.errors import RunHasChildren
from traininglog.sql import reading, writing
from traininglog.sql.tables import runs
from traininglog.sql.trials import move_logs
from traininglog.sqlite.database import Database
from traininglog.sqlite.owners import Owners
from traininglog.sqlite.states import refuse_live


def delete(database: Database, owners: Owners, root: str, *, descendants: bool) -> list[UUID]:
    """Delete a run, by its UUID in hex, and return what went; see `Store.delete`."""
    with database.write() as connection:
        doomed = [row for row in [writing.find_run(connection, root)] if row is not None]
        for row in doomed:
            children = select(runs).where(
                runs.c.resumed_from == row.uuid,
                runs.c.id.not_in([known.id for known in doomed]),  # whatever a file may say
            )
            doomed.extend(connection.execute(children).all())
        if len(doomed) > 1 and not descendants:
            raise RunHasChildren(
                f"{len(doomed) - 1} runs descend from {root} and read through it: "
                f"{', '.join(row.uuid for row in doomed[1:6])}; delete them with it "
                "(descendants=True) or keep it"
            )
        for row in doomed:
            refuse_live(row, owners)
        move_logs(connection, _instead_of(connection, doomed))
        writing.delete_runs(connection, [row.id for row in doomed])
    database.shrink()
    return [reading.stored_uuid(row.uuid) for row in doomed]


def _instead_of(connection: Connection, doomed: Sequence[Any]) -> dict[str, str | None]:
    """Return of runs that are to be deleted the nearest ancestor that stays."""
    parents = {row.uuid: row.resumed_from for row in doomed}
    found = {}
    for uuid in parents:
        at, passed = uuid, set()
        while at in parents and at not in passed:  # whatever a file may say of lineages
            passed.add(at)
            at = parents[at]
        there = at is not None and at not in parents and writing.find_run(connection, at)
        found[uuid] = at if there else None
    return found
