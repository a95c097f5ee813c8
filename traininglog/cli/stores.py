"""Opening the store that a command names, and finding runs in it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from traininglog.cli.mistakes import asking
from traininglog.cli.output.terminal import note
from traininglog.errors import AmbiguousRun
from traininglog.plain_json import shown
from traininglog.values import StoredValue

if TYPE_CHECKING:
    from traininglog.run_info import RunInfo
    from traininglog.sqlite.log import SQLiteLog
    from traininglog.sqlite.store import Store

_SHORTEST = 8  # the minimal number of digits of a UUID to show


@contextmanager
def opened(where: str | None, *, readonly: bool = True, create: bool = False) -> Iterator[Store]:
    """Open a store, by default the configured one, and close it at the end."""
    from traininglog.stores import open_store

    with asking():
        store = open_store(where, readonly=readonly, create=create)
    with store:
        yield store


@contextmanager
def reading(store: Store, run: UUID) -> Iterator[SQLiteLog]:
    """Open the log of a run for reading, and close it at the end."""
    with store.log(run, readonly=True) as log:
        yield log


def chosen(store: Store, run: str | None) -> UUID:
    """Return the run with this prefix, or the latest run."""
    if run is not None:
        return store.find(run)
    latest = store.latest()
    if sys.stderr.isatty():
        note(f"run {shortest(store, latest.hex)}, the latest")
    return latest


def several(store: Store, runs: Sequence[str] | None) -> list[UUID]:
    """Return the runs with these prefixes without duplicates, or the latest run."""
    if not runs:
        return [chosen(store, None)]
    return list(dict.fromkeys(store.find(run) for run in runs))


def shortest(store: Store, uuid: str) -> str:
    """Return the shortest unique prefix of a run's UUID, of at least eight digits."""
    least, most = _SHORTEST, 32
    digits = least  # mostly enough, so it is tried first; otherwise a binary search follows
    while least < most:
        try:
            store.find(uuid[:digits])
        except AmbiguousRun:
            least = digits + 1
        else:
            most = digits
        digits = (least + most) // 2
    return uuid[:most]


def as_dict(info: RunInfo) -> dict[str, StoredValue]:
    """Return the description of a run for JSON, without its values."""
    parent = info.resumed_from
    return {
        "uuid": info.uuid.hex, "name": info.name, "state": info.state,
        "created": shown(info.created), "updated": shown(info.updated), "host": info.host,
        "resumed_from": None if parent is None else parent.hex, "resumed_at": info.resumed_at,
        "resumes": info.resumes, "head": info.head,
        "variant_of": None if info.variant_of is None else info.variant_of.hex,
        "part_of": None if info.part_of is None else info.part_of.hex,
        "config": shown(info.config), "tags": shown(info.tags),
        "first": info.first_time, "last": info.last_time, "rows": info.rows, "values": info.values,
    }  # fmt: skip


def patterns(keys: Iterable[str] | None) -> list[str] | None:
    """Return the keys of the user as a list, or None, which means all keys."""
    return list(keys) if keys else None
