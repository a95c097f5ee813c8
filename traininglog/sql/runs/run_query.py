"""The query for reading many runs at once: which runs, keys and times."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, select

from traininglog.errors import RunNotFound
from traininglog.sql.ordering import FIRST_TO_LAST, RUNS
from traininglog.sql.prepared import Prepared
from traininglog.sql.runs import listing
from traininglog.sql.runs.experiments import Experiments
from traininglog.sql.tables import runs as table

_RUNS = Prepared(
    select(table.c.id, table.c.uuid, table.c.resumed_from)
    .select_from(RUNS)
    .order_by(*FIRST_TO_LAST)
)


class ChosenRun(NamedTuple):
    """A run to read."""

    run_id: int
    uuid: str
    resumed_from: str | None


class Choice(NamedTuple):
    """The runs, keys and times to read."""

    runs: list[ChosenRun]  #: in the order of the query, or else in the order of their making
    keys: list[str] | None  #: None: all
    low: int  #: the first time
    high: int  #: the last time
    of: int  #: how many runs there are in all


def choose(
    connection: Connection, uuids: Iterable[str] | None, keys: list[str] | None, low: int,
    high: int, *, heads: bool = True,
) -> Choice:  # fmt: skip
    """Look up the runs and keys of a query.

    Args:
        connection: The connection to read from.
        uuids: The runs, in hex; by default all heads, or all runs.
        keys: Names or globs of the keys; by default all.
        low: The first time to read.
        high: The last time to read.
        heads: Whether all runs means only the runs that stand for an experiment.

    Raises:
        KeyError: A name in `keys` that no run has.
        RunNotFound: There is no such run.

    """
    chosen = None if keys is None else listing.match(connection, keys)
    known = {row[1]: ChosenRun(*row) for row in _RUNS.run(connection)}
    found = list(known.values())
    if uuids is None:
        if heads:
            experiments = Experiments(connection)
            found = [run for run in found if experiments.is_head(run.run_id)]
    else:
        wanted = dict.fromkeys(uuids)
        missing = [uuid for uuid in wanted if uuid not in known]
        if missing:
            raise RunNotFound(f"run {missing[0]} was deleted meanwhile")
        found = [known[uuid] for uuid in wanted]
    return Choice(found, chosen, low, high, len(known))
