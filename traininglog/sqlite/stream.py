"""Reading many runs of a store in one transaction, a bounded part of them at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from traininglog.sql.runs.stream import MOST, Stream

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
    """Yield a `Stream` of what `Store.to_dataframe` would return for the same arguments.

    The stream reads one snapshot, from when this began; it does not see later writes.
    """
    with store._choosing(runs, keys, start, stop, lasting=True) as (connection, choice):
        yield Stream(connection, choice, lineage=lineage, most=most)
