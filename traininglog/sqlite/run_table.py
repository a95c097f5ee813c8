"""The table of runs: a line for each, with how it stands and what it logged last and best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from traininglog.selection import Mode, modes, names
from traininglog.sql import listing
from traininglog.sqlite.database import Database
from traininglog.sqlite.owners import Owners
from traininglog.sqlite.states import State, owned, state_of

if TYPE_CHECKING:
    import pandas as pd

# The columns and their dtypes; a moment is a number of seconds.
_COLUMNS = {
    "uuid": "object", "name": "object", "state": "object", "created": "moment",
    "updated": "moment", "host": "object", "resumed_from": "object", "resumed_at": "Int64",
    "first": "Int64", "last": "Int64", "rows": "int64", "values": "int64",
}  # fmt: skip


def run_table(
    database: Database,
    owners: Owners,
    keys: str | Iterable[str] | None,
    *,
    state: State | None,
    name: str | None,
    limit: int | None,
    best: Mapping[str, Mode] | Iterable[str] | str | None,
) -> pd.DataFrame:
    """Return what `Store.runs` says, of the runs in a database."""
    from traininglog import frames

    patterns = names(keys) or []
    asked = modes(best)
    live = owned(database, owners)
    with database.read() as connection:
        known = listing.names(connection)
        chosen = [
            (line, state_of(line, live, owners))
            for line in listing.lines(connection)
            if name is None or fnmatchcase(known.get(line.id) or "", name)
        ]
        chosen = [(line, now) for line, now in chosen if state in (None, now)]
        if limit is not None:
            chosen = chosen[-limit:] if limit > 0 else []
        counts = listing.counts(connection, [line for line, _ in chosen])
        shown = listing.match(connection, patterns)
        listing.match(connection, asked)
        ends = listing.Ends(connection, {*shown, *asked})
        records, values = [], []
        for line, now in chosen:
            counted = counts.get(line.id, listing.Counts())
            record = {
                "uuid": line.uuid, "name": known.get(line.id), "state": now,
                "created": line.created, "updated": line.updated, "host": line.host,
                "resumed_from": line.resumed_from, "resumed_at": line.resumed_at,
                **counted._asdict(),
            }  # fmt: skip
            records.append(record)
            values.append([
                *(ends.last(line, key) for key in shown),
                *(ends.best(line, key, mode) for key, mode in asked.items()),
            ])  # fmt: skip
        headings = [*shown, *(f"best.{key}" for key in asked)]
        return frames.table_of_runs(records, _COLUMNS, headings, values)
