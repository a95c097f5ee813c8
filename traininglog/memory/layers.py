"""Building a log in memory from layers: the rows that each run wrote itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from traininglog.imported import Imported
from traininglog.lineage import BEFORE_ALL
from traininglog.memory.log import TrainingLog
from traininglog.memory.runs import RUNS, Run
from traininglog.values import check_key

Rows = dict[int, dict[str, Any]]


class Layer(NamedTuple):
    """The rows and the status of one run itself; a deleted inherited value is `HIDDEN`."""

    uuid: UUID
    resumed_at: int | None  #: None at the root
    keys: Sequence[str]  #: in the order in which it first saw them
    rows: Rows
    status: dict[str, object]
    created: float  #: unix seconds
    walls: Mapping[int, float]  #: when its rows were first written, in unix seconds
    marked: Mapping[int, float] = {}  #: its marks
    imported: Imported | None = None  #: if not None, the run did not happen when it was written


def log_of(layers: Sequence[Layer]) -> TrainingLog:
    """Return a log on the last of some runs; the runs before it are its ancestors.

    No other log sees these runs, not even a log in memory that asks for one of their UUIDs.
    """
    run: Run | None = None
    for layer in layers:
        known = RUNS.get(layer.uuid)
        at = BEFORE_ALL if layer.resumed_at is None else layer.resumed_at
        run = Run(layer.uuid, dict(layer.status), run, at)
        if known is None:
            del RUNS[layer.uuid]
        else:
            RUNS[layer.uuid] = known
        for key in layer.keys:
            run.note_key(check_key(key))
        run.write(layer.rows)
        run.created = layer.created
        run.set_walls(layer.walls)
        run.marked, run.imported = dict(layer.marked), layer.imported
    assert run is not None  # noqa: S101 - there is at least the run itself
    log = TrainingLog()
    log._run = run
    return log
