"""Reading many runs of a store in one transaction, a bounded part of them at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from traininglog.columns import Belonging
from traininglog.sql.runs.ownership import shares_of
from traininglog.sql.runs.stream import MOST, Stream

if TYPE_CHECKING:
    from traininglog.sqlite.store import Store


def belongings(
    store: Store, runs: Iterable[UUID | str], keys: str | Iterable[str] | None, start: int | None,
    stop: int | None,
) -> dict[str, Belonging]:  # fmt: skip
    """Return which values belong to those of some runs that share some, by UUID in hex."""
    with store._choosing(runs, keys, start, stop) as (connection, choice):
        return shares_of(connection, choice)


@contextmanager
def streaming(
    store: Store,
    runs: Iterable[UUID | str] | None = None,
    keys: str | Iterable[str] | None = None,
    start: int | None = None,
    stop: int | None = None,
    *,
    lineage: bool = True,
    heads: bool = True,
    most: int = MOST,
) -> Iterator[Stream]:
    """Yield a `Stream` of what `Store.to_dataframe` would return for the same arguments.

    The stream reads one snapshot, from when this began; it does not see later writes.
    """
    choosing = store._choosing(runs, keys, start, stop, heads=heads, lasting=True)
    with choosing as (connection, choice):
        yield Stream(connection, choice, lineage=lineage, most=most)
