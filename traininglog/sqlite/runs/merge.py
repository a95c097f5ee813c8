"""Merging another file into this one: its runs, its trials, and their kept files."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, select

from traininglog.errors import TrainingLogWarning
from traininglog.kept import copy_over
from traininglog.sql import reading, writing
from traininglog.sql.runs.merge import is_part_of, merge_relation, merge_run
from traininglog.sql.sound import require_run
from traininglog.sql.tables import runs
from traininglog.sql.trials.trial_merge import Bring, merge_trials
from traininglog.sqlite.database.database import Database
from traininglog.sqlite.runs.run_list import refuse_live
from traininglog.sqlite.sink.leases import Owners

#: Reports the progress of a long operation: called with how many are done, and how many there are.
Progress = Callable[[int, int], None]


class Merged(NamedTuple):
    """What `Store.merge` did."""

    added: list[UUID]  #: runs that were not here before
    updated: list[UUID]  #: runs of which the other store had more
    unchanged: list[UUID]
    trials: list[str]  #: the UIDs of the trials that are new or changed here


def merge(
    other: Database, own: Database, owners: Owners, bring: Bring, progress: Progress | None
) -> Merged:
    """Copy the contents of another database into our own; see `Store.merge`."""
    merged = Merged([], [], [], [])
    with other.read(lasting=True) as source:
        rows = source.execute(select(runs).order_by(runs.c.id)).all()
        theirs = [require_run(row) for row in rows]
        with own.read() as target:
            for row in theirs:
                _refuse_live_merge(row, _ours(target, row), owners)
        for done, row in enumerate(theirs):
            if progress is not None:
                progress(done, len(theirs))
            with own.write() as target:
                ours = _ours(target, row)
                _refuse_live_merge(row, ours, owners)
                changed = (
                    ours is None or not is_part_of(row, ours, sure=owners.is_written(ours))
                ) and merge_run(source, row, target, ours)
                here = _ours(target, row)
                merge_relation(source, row.id, target, here.id)
            group = (
                merged.added if ours is None
                else merged.updated if changed
                else merged.unchanged
            )  # fmt: skip
            group.append(reading.stored_uuid(row.uuid))
        with own.write() as target:
            merged.trials.extend(merge_trials(source, target, bring))
        if progress is not None:
            progress(len(theirs), len(theirs))
    own.checkpoint()
    return merged


def _ours(target: Connection, theirs: Any) -> Any:
    """Return the row of our copy of a run, or None. Raises `CorruptLog`."""
    row = writing.find_run(target, theirs.uuid)
    return None if row is None else require_run(row)


def _refuse_live_merge(theirs: object, ours: object, owners: Owners) -> None:
    # A merge would break the writer's numbers of keys and its position: it does not reread them.
    if ours is not None and not is_part_of(theirs, ours, sure=True):
        refuse_live(ours, owners)


def bringing(source: Path, target: Path) -> Bring:
    """Return a function that copies a kept file of a trial from one folder to another."""

    def bring(uid: str, artifact: dict[str, Any]) -> None:
        wrong = copy_over(source, target, artifact["sha256"], artifact["size"])
        if wrong is not None:
            warnings.warn(
                f"trial {uid}: the copy of {artifact['name']!r} in {source} {wrong}; the trial "
                "was merged without it",
                TrainingLogWarning,
                stacklevel=5,  # the caller of `Store.merge`
            )

    return bring
