"""Copying the trials of one store into another, with their metrics and stored files."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from traininglog import parts
from traininglog.base import TrainingLogBase
from traininglog.errors import RunNotFound, StoreFailed, StoreUnwritable, TrainingLogWarning
from traininglog.kept import copy_over, folder_of
from traininglog.stores import open_records
from traininglog.trial_records import KINDS
from traininglog.trials.entities import Record
from traininglog.trials.records import Records, going_through
from traininglog.trials.statuses import Status

#: Called with the progress: number of copied records, and number of all records.
Progress = Callable[[int, int], None]

_OUTCOMES = {Status.Completed.value: "finished", Status.Exception.value: "failed"}


class Copied(NamedTuple):
    """The result of `copy_all`, as UIDs of trials."""

    added: list[str]  #: the target did not have them
    updated: list[str]  #: the source had a later edit of them
    unchanged: list[str]


def copy_all(source: Records, target: Records, progress: Progress | None = None) -> Copied:
    """Copy the records that `target` does not have, or has in an earlier edit.

    A copied log is a single run: the values that the trial sees, without the history of its
    resumes. A record with a later edit in the target does not change. The copy is idempotent: a
    second call changes nothing.
    """
    copied = Copied([], [], [])
    records = [(kind, record) for kind in KINDS for record in _records(source, kind)]
    for done, (kind, record) in enumerate(records):
        if progress is not None:
            progress(done, len(records))
        there = target.get(kind, record["uid"])
        if there is not None and there["token"] == record["token"]:
            where = copied.unchanged
        elif there is None:
            new = record
            if _has_log(record):
                new = record | {"log": _copied_log(source, target, record)}
            target.insert(kind, new)
            where = copied.added
        elif there["edit"] < record["edit"]:
            new = record
            if _has_log(record):
                new = record | {"log": _copied_log(source, target, record, there.get("log"))}
            target.replace(kind, new, there["edit"])
            where = copied.updated
        else:
            where = copied.unchanged
        if kind == "trial":
            where.append(record["uid"])
            if where is not copied.unchanged:
                _copy_files(source.artifacts, target.artifacts, record)
    if progress is not None:
        progress(len(records), len(records))
    return copied


def export(source: Records, file: Path) -> None:
    """Write a whole store to one JSON document. It replaces an existing document.

    Raises `StoreUnwritable` if the existing document has a later edit of a trial than the store,
    or a trial that the store does not have. For an existing file that is no such document, raises
    the error of opening it.
    """
    target = Path(file).absolute()
    if source.location == f"file:{target.resolve()}":
        return  # the source is this document
    _refuse_loss(source, target)
    try:
        with parts.making_folder(target) as folder:
            part = folder / target.name
            records: Any = open_records(f"file:{part}")  # a JSON document, which has `fill`
            try:
                with ExitStack() as opened:
                    records.fill(_filling(source, opened))
            finally:
                records.close()
            for record in _records(source, "trial"):
                _copy_files(source.artifacts, folder_of(target), record)
            part.replace(target)
        parts.sync_folder(target.parent)
    except OSError as error:
        raise StoreFailed(f"{target} cannot be written: {error.strerror}") from error


def _refuse_loss(source: Records, target: Path) -> None:
    if not target.exists():
        return
    there = open_records(f"file:{target}", readonly=True)
    try:
        known = {record["uid"]: record["edit"] for record in _records(source, "trial")}
        others = [r for r in _records(there, "trial") if known.get(r["uid"], -1) < r["edit"]]
    finally:
        there.close()
    if others:
        raise StoreUnwritable(
            f"{target} says more than {source.location} of {len(others)} trials, the first being "
            f"{others[0]['uid'][:12]}...: name another file, or bring them here by traininglog "
            "import"
        )


def _filling(
    source: Records, opened: ExitStack
) -> Iterator[tuple[str, Record, TrainingLogBase | None]]:
    for kind in KINDS:
        for record in _records(source, kind):
            log = None
            if _has_log(record):
                try:
                    log = source.open_log(record["log"], readonly=True)
                    opened.callback(log.close)
                except RunNotFound:  # the run was deleted, and the trial was not
                    record["log"] = None
            yield kind, record, log
            if log is not None:
                log.close()


def _records(records: Records, kind: str) -> list[Record]:
    with going_through(records.select(kind, {})) as found:
        return [dict(record) for record in found]


def _has_log(record: Record) -> bool:
    return record.get("log") is not None


def _copied_log(
    source: Records, target: Records, record: Record, there: str | None = None
) -> str | None:
    """Copy the log of a trial, and return the UUID of its run in the target."""
    try:
        old = source.open_log(record["log"], readonly=True)
    except RunNotFound:
        return there
    with old:
        log = target.open_log(there) if there is not None else _new_log(target, record)
        with log:
            log.update(old.to_dict())
            log.status.update(
                {key: value for key, value in old.status.items() if key != "resumed_from"}
            )
            for time, wall in _marks(old):
                log.mark(time, wall)
            return log.h_uuid


def _new_log(target: Records, record: Record) -> TrainingLogBase:
    """Create a log with the trial's start and outcome, if the store can record them."""
    make: Any = target.new_log
    if not any(one.kind is one.VAR_KEYWORD for one in inspect.signature(make).parameters.values()):
        made: TrainingLogBase = make()
        return made
    began = record["started"] or record["created"]
    outcome = _OUTCOMES.get(record["status"]["value"], "lost")
    log: TrainingLogBase = make(created=began, outcome=outcome)
    return log


def _marks(log: TrainingLogBase) -> list[tuple[int, float]]:
    """Return the marks of a log as sorted pairs of (time, Unix seconds)."""
    return sorted(
        (time, wall)
        for run in log.clock().runs
        for time, wall in zip(run.times, run.walls, strict=True)
        if 0 <= time <= run.cut and wall >= 0
    )


def _copy_files(source: Path, target: Path, record: Record) -> None:
    for artifact in record["artifacts"]:
        wrong = copy_over(source, target, artifact["sha256"], artifact["size"])
        if wrong is not None:
            warnings.warn(
                f"trial {record['uid']}: the copy of {artifact['name']!r} in {source} {wrong}; the "
                "trial was copied without it",
                TrainingLogWarning,
                stacklevel=4,
            )
