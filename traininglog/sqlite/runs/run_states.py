"""The states of the runs of a file: which are being written, and how the others ended."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import select

from traininglog.errors import RunBusy
from traininglog.run_info import State
from traininglog.sql.prepared import Prepared
from traininglog.sql.tables import runs
from traininglog.sqlite.database.database import Database
from traininglog.sqlite.sink.leases import Owners


class Unended(NamedTuple):
    """The columns of a run that tell whether it is being written; see `Owners.is_written`."""

    id: int
    epoch: int
    pid: int | None
    boot_id: str | None


_UNENDED = Prepared(
    select(runs.c.id, runs.c.epoch, runs.c.pid, runs.c.boot_id).where(runs.c.outcome.is_(None))
)


def owned(database: Database, owners: Owners) -> set[int]:
    """Return the runs that are being written.

    Call it before reading the rows that tell how the others ended. A run that is closed in between
    then has its outcome; in the other order it would seem lost.
    """
    owners.owner.settle()
    with database.read() as connection:
        unended = _UNENDED.run(connection)
    return {row[0] for row in unended if owners.is_written(Unended(*row))}


def state_of(row: Any, live: set[int], owners: Owners) -> State:
    """Return the state of a run, by its row and by an earlier result of `owned`."""
    if row.id in live and row.outcome is None:
        return "running"
    if row.outcome in ("finished", "failed"):
        ended: State = row.outcome
        return ended
    # It may have begun after `owned` was called.
    return "running" if owners.is_written(row) else "lost"


def refuse_live(row: Any, owners: Owners) -> None:
    """Raise `RunBusy` if a run is being written."""
    if owners.is_written(row):
        raise RunBusy(
            f"run {row.uuid} is being written by process {row.pid} on {row.host}: "
            "close it there first"
        )
