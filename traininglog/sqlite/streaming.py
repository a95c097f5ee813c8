"""Reading many runs of a store in one look, and no more of them at a time than is bearable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import select

from traininglog.sql import listing
from traininglog.sql.streaming import MOST, Stream
from traininglog.sql.tables import runs as table
from traininglog.values import MAX_TIME, check_time

if TYPE_CHECKING:
    from traininglog.sqlite.store import Store


@contextmanager
def streaming(
    store: Store,
    runs: Iterable[UUID | str] | None = None,
    keys: str | Iterable[str] | None = None,
    start: int | None = None,
    stop: int | None = None,
    *,
    lineage: bool = True,
    most: int = MOST,
) -> Iterator[Stream]:
    """Give what `Store.to_dataframe` would return of the same arguments, as a `Stream`.

    All of it is as it was when this began, whatever others write meanwhile.
    """
    wanted = None if runs is None else [store.find(run).hex for run in runs]
    low = 0 if start is None else check_time(start)
    high = MAX_TIME if stop is None else check_time(stop) - 1
    with store._database.read() as connection:
        chosen = None
        if keys is not None:
            chosen = listing.match(connection, [keys] if isinstance(keys, str) else list(keys))
        rows = connection.execute(
            select(table.c.id, table.c.uuid).order_by(table.c.created, table.c.id)
        )
        known = {uuid: number for number, uuid in rows}
        order = known if wanted is None else dict.fromkeys(wanted)
        found = [(known[uuid], uuid) for uuid in order]
        yield Stream(connection, found, chosen, low, high, lineage=lineage, most=most)
