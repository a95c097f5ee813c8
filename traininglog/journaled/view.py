"""A view of a stored run and its ancestors, as a log in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

from traininglog.clock import Clock, Marks
from traininglog.errors import CorruptLog, RunNotFound
from traininglog.memory.layers import Layer, Rows, log_of
from traininglog.memory.log import TrainingLog
from traininglog.values import MAX_TIME
from traininglog.writer.sink import Birth, Reader, StoredRun


class StoredView(NamedTuple):
    """A run and its ancestors, as a store has them."""

    log: TrainingLog
    clock: Clock  #: of the run and its ancestors


def ancestry(store: Reader, uuid: UUID) -> Iterator[StoredRun]:
    """Yield a run and its ancestors, as far as the store has them.

    Raises `RunNotFound` if the run itself is not there, and `CorruptLog` for a run that is its own
    ancestor.
    """
    seen: set[UUID] = set()
    following: UUID | None = uuid
    while following is not None:
        found = next(iter(store.runs(following)), None)
        if found is None:
            if not seen:
                raise RunNotFound(f"the store holds no run {uuid.hex}; was it deleted?")
            return
        if found.uuid in seen:
            raise CorruptLog(f"run {found.uuid.hex} is its own ancestor")
        seen.add(found.uuid)
        yield found
        following = found.parent


def view_of(store: Reader, uuid: UUID, birth: Birth | None = None) -> StoredView:
    """Return a view of a run and its ancestors.

    Args:
        store: The store.
        uuid: The run.
        birth: The birth of the run, if the store does not have it.

    """
    parent = uuid if birth is None else birth.parent
    runs = [] if parent is None else list(ancestry(store, parent))
    clocks = [store.clock(run.uuid) for run in runs]
    layers = [_layer(store, run) for run in reversed(runs)]
    cuts, cut = [], MAX_TIME if birth is None or birth.at is None else birth.at
    for run in runs:
        cuts.append(cut)
        cut = cut if run.at is None else min(cut, run.at)
    marks = [
        Marks(cut, each.times, each.walls)
        for cut, clock in zip(cuts, clocks, strict=True)
        for each in clock.runs
    ]
    created = clocks[-1].created if clocks else None
    if birth is not None:
        layers.append(Layer(uuid, birth.at, [], {}, dict(birth.status or {}), 0.0, {}))
        marks.insert(0, Marks(MAX_TIME, [], []))
        created = birth.created if created is None else created
    return StoredView(log_of(layers), Clock(created, marks[::-1]))


def _layer(store: Reader, run: StoredRun) -> Layer:
    rows: Rows = {}
    columns = store.columns(run.uuid)
    for key, times, values in columns:
        for time, value in zip(times, values, strict=True):
            rows.setdefault(time, {})[key] = value
    keys = run.keys or [column.key for column in columns]
    return Layer(run.uuid, run.at, list(keys), rows, store.status(run.uuid), 0.0, {})
