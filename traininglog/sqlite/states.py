"""How the runs of a file stand: which are being written, and how the others ended."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import select

from traininglog.errors import RunBusy
from traininglog.sql.tables import runs
from traininglog.sqlite.database import Database
from traininglog.sqlite.owners import Owners

State = Literal["running", "finished", "failed", "lost"]


def owned(database: Database, owners: Owners) -> set[int]:
    """Return the runs that are being written.

    To be asked before the rows are read that tell how the others ended: a run that is closed in
    between has its outcome by then, where the other way round it would seem lost.
    """
    owners.owner.settle()
    with database.read() as connection:
        unended = connection.execute(
            select(runs.c.id, runs.c.epoch, runs.c.pid, runs.c.boot_id).where(
                runs.c.outcome.is_(None)
            )
        ).all()
    return {row.id for row in unended if owners.is_written(row)}


def state_of(row: Any, live: set[int], owners: Owners) -> State:
    """Return how a run stands, by its row and by what `owned` said before that was read."""
    if row.id in live and row.outcome is None:
        return "running"
    if row.outcome in ("finished", "failed"):
        ended: State = row.outcome
        return ended
    # Perhaps one that began after `owned` was asked for.
    return "running" if owners.is_written(row) else "lost"


def refuse_live(row: Any, owners: Owners) -> None:
    """Raise `RunBusy` if a run is being written."""
    if owners.is_written(row):
        raise RunBusy(
            f"run {row.uuid} is being written by process {row.pid} on {row.host}: "
            "close it there first"
        )
