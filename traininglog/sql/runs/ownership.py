"""Which of the values that several runs show belong to which of them.

A variant shows the rows of its origin, too, and so do two runs that both go on from the same one. A
frame over many runs repeats such rows under each run, and marks to which one they belong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from traininglog.columns import Belonging, Column
from traininglog.sql import reading
from traininglog.sql.lineage_chain import Chain
from traininglog.sql.runs.experiments import Experiments
from traininglog.sql.runs.run_query import Choice, ChosenRun
from traininglog.values import MAX_TIME


def shares_of(connection: Connection, choice: Choice) -> dict[str, Belonging]:
    """Return which rows belong to those of the chosen runs that share some, by their UUIDs.

    A row belongs to the run that logged it, if that is among the chosen ones. Else it belongs to
    the run that continues that run, or to the newest that shows the row.
    """
    resumed = [run for run in choice.runs if run.resumed_from is not None]
    if not resumed or len(choice.runs) < 2:
        return {}
    chains = {run.run_id: Chain(connection, run.run_id) for run in resumed}
    floors = _floors(chains, Experiments(connection), choice.runs)
    return {
        run.uuid: share
        for run in resumed
        if (share := _share(connection, chains[run.run_id], floors[run.run_id], choice)) is not None
    }


def _floors(
    chains: Mapping[int, Chain], experiments: Experiments, chosen: Sequence[ChosenRun]
) -> dict[int, dict[int, int]]:
    """Return up to which time the rows of each link of each chain belong to another run."""
    viewers: dict[int, list[tuple[int, int]]] = {}
    for run in reversed(chosen):  # the newest first
        if run.run_id in chains:
            seen_by_run = [(link.run_id, link.cut) for link in chains[run.run_id].links]
        else:  # it shows what it logged itself
            seen_by_run = [(run.run_id, MAX_TIME)]
        for number, cut in seen_by_run:
            viewers.setdefault(number, []).append((run.run_id, cut))
    among = {run.run_id for run in chosen}
    floors: dict[int, dict[int, int]] = {number: {} for number in among}
    for logged_by, seen in viewers.items():
        if len(seen) > 1:
            owner = experiments.owner(logged_by, among)
            floor = -1
            for number, cut in sorted(seen, key=lambda viewer: viewer[0] != owner):
                floors[number][logged_by] = floor
                floor = max(floor, cut)
    return floors


def _share(
    connection: Connection, chain: Chain, floors: Mapping[int, int], choice: Choice
) -> Belonging | None:
    floor = max(floors.values(), default=-1)
    if floor < choice.low:
        return None
    shared = [floors.get(link.run_id, -1) >= 0 for link in chain.links]
    alone = Chain(connection, chain.links[0].run_id)
    del alone.links[shared.index(True) :]
    columns: list[Column] = []
    if alone.links:
        columns = reading.read_columns(
            connection, alone, choice.keys, choice.low, min(floor, choice.high), {},
            chain.places(connection), lineage=True,
        )  # fmt: skip
    return Belonging(floor, {column.key: column.raw_times for column in columns})
