"""What a report is asked for, and what it asks of a store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from traininglog.columns import Column
from traininglog.query.groups import Of
from traininglog.run_info import RunInfo
from traininglog.selection import Mode

#: How many experiments a report shows, unless it is asked for another number.
MOST_RUNS = 100


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a report is asked for; see `Store.report`."""

    runs: tuple[UUID, ...] | None = None
    where: str | None = None
    sort: tuple[str, ...] | None = None
    limit: int = MOST_RUNS
    keys: tuple[str, ...] | None = None
    group_by: tuple[str, ...] = ()
    of: Of = "last"
    title: str | None = None
    archived: bool = False


class ManyRuns(Protocol):
    """What a report asks of a store; `Store` is one."""

    def keys_seen(self, keys: str | Iterable[str] | None = None) -> list[str]:
        """Return the keys of all runs."""

    def iter_runs(
        self,
        keys: str | Iterable[str] | None = None,
        *,
        best: Mapping[str, Mode] | Iterable[str] | str | None = None,
        heads: bool = True,
        where: str | None = None,
        sort: str | Iterable[str] | None = None,
        archived: bool = False,
    ) -> Iterator[RunInfo]:
        """Yield the facts of runs."""

    def columns(
        self,
        runs: Iterable[UUID | str] | None = None,
        keys: str | Iterable[str] | None = None,
    ) -> dict[str, list[Column]]:
        """Return the columns of runs, by their UUIDs in hex."""

    def origin(self, uuid: UUID | str) -> Any:
        """Return which process wrote a run last."""
