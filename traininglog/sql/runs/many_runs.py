"""Reading many runs at once: a few statements for all the runs without a parent.

A run that was resumed is read alone, through its lineage; most runs were not resumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, select

from traininglog.columns import Column, Layer, overlay
from traininglog.sql import reading, segments
from traininglog.sql.lineage_chain import ENTRY, Chain
from traininglog.sql.prepared import Prepared, bind
from traininglog.sql.runs.run_query import Choice
from traininglog.sql.segments import RunKeys
from traininglog.sql.sound import require_names
from traininglog.sql.tables import entries, keys

# Fewer runs than this are read one by one.
_MANY = 8

# For more keys than this, one query reads all keys of the runs, instead of one query per key.
_FEW_KEYS = 8

_KEYS = Prepared(select(keys.c.run_id, keys.c.id, keys.c.name).order_by(keys.c.run_id, keys.c.id))
_KEYS_OF_NAME = Prepared(
    select(keys.c.run_id, keys.c.id, keys.c.name)
    .where(keys.c.name == bind("name"))
    .order_by(keys.c.run_id, keys.c.id)
)
_within = (entries.c.time >= bind("low")) & (entries.c.time <= bind("high"))
_ENTRIES = Prepared(
    select(*ENTRY)
    .where(_within)
    .order_by(entries.c.run_id, entries.c.time, entries.c.key_id)
)  # fmt: skip
# A key mostly has the same number in all runs. If not, this also returns entries of other keys,
# which are dropped later; a join with the table of keys takes three times as long.
_ENTRIES_OF_NAME = Prepared(
    select(*ENTRY)
    .where(entries.c.key_id.in_(select(keys.c.id).where(keys.c.name == bind("name"))), _within)
    .order_by(entries.c.run_id, entries.c.time, entries.c.key_id)
)


def columns_of_runs(
    connection: Connection, choice: Choice, *, lineage: bool
) -> Iterator[tuple[str, list[Column]]]:
    """Yield the UUID of each chosen run, and the columns of the chosen keys.

    Args:
        connection: The connection to read from.
        choice: The runs, keys and times to read.
        lineage: Whether a resumed run includes what it sees of its ancestors.

    """
    alone = {run.run_id: run.uuid for run in choice.runs if not (lineage and run.resumed_from)}
    found: dict[int, list[Column]] = {}
    if len(alone) >= _MANY and 2 * len(alone) > choice.of:
        found = _read_together(connection, alone, choice)
    for number, uuid, _ in choice.runs:
        if number not in found:
            chain = Chain(connection, number)
            order = chain.places(connection)
            found[number] = reading.read_columns(
                connection, chain, choice.keys, choice.low, choice.high, {}, order, lineage=lineage
            )
        yield uuid, found.pop(number)


def _read_together(
    connection: Connection, wanted: Mapping[int, str], choice: Choice
) -> dict[int, list[Column]]:
    """Return the columns that some runs, given by number and UUID, logged themselves."""
    _, keys, low, high, _ = choice
    among = None if keys is None else frozenset(keys)
    chosen = None if keys is None or len(keys) > _FEW_KEYS else keys
    names: dict[int, dict[int, str]] = {}
    for run_id, key_id, name in require_names(_each(connection, _KEYS, _KEYS_OF_NAME, chosen)):
        if among is None or name in among:
            names.setdefault(run_id, {})[key_id] = name
    layers: dict[int, list[Layer]] = {number: [] for number in wanted}
    for run_id, rows in groupby(_segments(connection, chosen, low, high), itemgetter(0)):
        if run_id in wanted:
            owner = RunKeys(run_id, wanted[run_id], names.get(run_id, {}))
            sealed = segments.strips_of(owner, (row[1:] for row in rows), low, high)
            layers[run_id].append({owner.names[key]: strip for key, strip in sealed.items()})
    of_runs: dict[int, Layer] = {}
    stored = _each(connection, _ENTRIES, _ENTRIES_OF_NAME, chosen, low=low, high=high)
    for run_id, rows in groupby(stored, itemgetter(0)):
        if run_id in wanted:
            layer = reading.layer_of_entries(rows, names.get(run_id, {}))
            of_runs.setdefault(run_id, {}).update(layer)
    for run_id, layer in of_runs.items():
        layers[run_id].append(layer)
    return {
        run_id: overlay(found, list(names.get(run_id, {}).values()))
        for run_id, found in layers.items()
    }


def _each(
    connection: Connection, whole: Prepared, of_name: Prepared, chosen: list[str] | None,
    **bounds: int,
) -> Iterator[Any]:  # fmt: skip
    """Yield rows by run: of all keys together, or of each chosen key in turn."""
    if chosen is None:
        yield from whole.each(connection, **bounds)
    for name in chosen or ():
        yield from of_name.each(connection, name=name, **bounds)


def _segments(
    connection: Connection, chosen: list[str] | None, low: int, high: int
) -> Iterator[Any]:
    """Yield the segments of runs, each after the number of its run, ordered by run."""
    if chosen is None:
        yield from segments.each_of_runs(connection, low, high)
        return
    found = [row for name in chosen for row in segments.each_of_runs(connection, low, high, name)]
    yield from sorted(found, key=itemgetter(0))
