"""Opening the store that a command names, and finding runs in it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID
from weakref import WeakKeyDictionary

from traininglog.cli.mistakes import asking
from traininglog.cli.output.terminal import note
from traininglog.plain_json import shown
from traininglog.values import StoredValue

if TYPE_CHECKING:
    from traininglog.run_info import RunInfo
    from traininglog.sqlite.log import SQLiteLog
    from traininglog.sqlite.store import Store

_SHORTEST = 8  # the minimal number of digits of a UUID to show
_OTHERS = 5  # how many runs of the same name a note names

#: By store: how many digits tell each run from the others, and the names that runs have.
_KNOWN: WeakKeyDictionary[Store, tuple[dict[str, int], frozenset[str]]] = WeakKeyDictionary()


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
    """Return the run with this name or start of a UUID, or the latest run."""
    if run is not None:
        return named(store, run)
    latest = store.latest()
    if sys.stderr.isatty():
        note(f"run {shortest(store, latest.hex)}, the latest")
    return latest


def named(store: Store, run: str) -> UUID:
    """Return the run with this name or start of a UUID; a note says if others have the name."""
    found = store.find(run)
    others = [uuid for uuid in store.called(run) if uuid != found]
    if others and found.hex != run:
        some = ", ".join(shortest(store, uuid.hex) for uuid in others[: -_OTHERS - 1 : -1])
        note(
            f"run {shortest(store, found.hex)}, the newest of {len(others) + 1} with the name "
            f"{run}; others are {some}{', ...' if len(others) > _OTHERS else ''}"
        )
    return found


def several(store: Store, runs: Sequence[str] | None) -> list[UUID]:
    """Return the runs with these names or starts of UUIDs without duplicates, or the latest run."""
    if not runs:
        return [chosen(store, None)]
    return list(dict.fromkeys(named(store, run) for run in runs))


def shortest(store: Store, uuid: str) -> str:
    """Return the shortest unique prefix of a run's UUID, of at least eight digits."""
    known = _KNOWN.get(store)
    if known is None or uuid not in known[0]:
        names = store.names()
        ordered = sorted(each.hex for each in names)
        digits = {}
        for number, each in enumerate(ordered):
            beside = ordered[max(0, number - 1) : number] + ordered[number + 1 : number + 2]
            digits[each] = 1 + max((_common(each, other) for other in beside), default=0)
        known = _KNOWN[store] = digits, frozenset(name for name in names.values() if name)
    count = max(_SHORTEST, known[0].get(uuid, 32))
    while count < 32 and uuid[:count] in known[1]:  # a name of a run comes before digits
        count += 1
    return uuid[:count]


def _common(one: str, other: str) -> int:
    """Return how many digits two UUIDs begin with in common."""
    return next((at for at in range(32) if one[at] != other[at]), 32)


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
