"""Recovery: saving the journals of dead writers, in any store.

Recovery saves the journal of a dead writer as the writer would have: under its epoch, with the
position at which it ends. So the store has it once, however often recovery runs, and a store that
has given the run to another writer since refuses it. Then the rest of the journal becomes a run of
its own.

If the store has not heard of the run, recovery makes it first: the journal begins with its facts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import time as wall_now
from uuid import UUID

from traininglog.callers import warn_caller
from traininglog.errors import RunNotFound, RunTakenOver, TrainingLogError
from traininglog.journal.bulk import MOST_KEYS
from traininglog.journal.credible import NOT_AS_WRITTEN
from traininglog.journal.gaps import DROPPED, described
from traininglog.journal.leftover import (
    aside,
    dispose,
    journals_left,
    unreadable,
)
from traininglog.journal.reader import (
    Left,
    is_held,
    journals_beside,
    read_journal,
)
from traininglog.journal.record import Batch, changed_status
from traininglog.journal.rest import INCREDIBLE, Rest, read_rest
from traininglog.lineage import BEFORE_ALL
from traininglog.locked_files import FileLock, open_regular
from traininglog.writer.health import described as said_of
from traininglog.writer.sink import Birth, Lease, LogStore, Reader, Saving, StoredRun


def recover(store: LogStore, spool: Path) -> None:
    """Save the journals of dead writers beside a file, and warn of each that became its own run.

    If the store cannot be reached, the journals stay where they are. So does the journal of a run
    whose parent is missing in the store; a warning tells of it, once in a process.
    """
    waiting = journals_left(spool)
    while waiting:
        orphans = []  # their parents may be in the journals of this round
        for left in waiting:
            try:
                notice = _recover(store, left)
            except RunNotFound:
                orphans.append(left)
                continue
            if notice is not None:
                warn_caller(notice)
        if len(orphans) == len(waiting):
            _tell_orphans(store, spool, orphans)
            return
        waiting = orphans


#: The journals of which `_tell_orphans` has told.
_TOLD: set[Path] = set()


def _tell_orphans(store: LogStore, spool: Path, orphans: Sequence[Left]) -> None:
    """Warn of journals of runs whose parents are missing, unless others may still bring these."""
    paths = {left.path for left in orphans}
    others = (left.path for left in journals_beside(spool) if left.path not in paths)
    if any(map(_is_used, others)):
        return
    for path in sorted(paths - _TOLD):
        _TOLD.add(path)
        warn_caller(
            f"{path} holds what a killed process had assigned. {store.location} does not have the "
            "run that it was resumed from, so it cannot be put back. It stays until that run is "
            "there: restore the run, or remove this file if what it holds is not needed"
        )


def _is_used(journal: Path) -> bool:
    """Return whether a live process writes a journal, or recovers it."""
    try:
        lock = FileLock(open_regular(journal, os.O_RDWR))
    except OSError:
        return False
    try:
        return not lock.acquire() or is_held(journal)
    except OSError:
        return True
    finally:
        lock.release()


def _recover(store: LogStore, left: Left) -> str | None:
    """Save a journal if its writer is dead; return a warning, or None."""
    try:
        lock = FileLock(open_regular(left.path, os.O_RDWR))
    except FileNotFoundError:
        return None
    except OSError as error:
        return unreadable(left.path, error)
    try:
        # Another process may be recovering it, or have done so; or its writer may be alive.
        if not lock.acquire() or not lock.is_at(left.path) or is_held(left.path):
            return None
        return _put_back(store, left)
    except RunNotFound:
        raise
    except TrainingLogError as error:
        return (
            f"{said_of(error)}; what a killed process had assigned last is in {left.path} and will "
            "be put back when that can be done"
        )
    except OSError as error:
        return unreadable(left.path, error)
    finally:
        lock.release()


def _put_back(store: LogStore, left: Left) -> str | None:
    contents = read_journal(left)
    stored = next(iter(store.runs(left.uuid)), None)
    goes_on = stored is not None and stored.epoch == left.epoch
    rest = read_rest(contents, stored.position if stored is not None and goes_on else None)
    known = {} if stored is None else {number: key for key, number in stored.keys.items()}
    names = known | rest.batch.names
    rest = rest.credible(names)
    notice = None
    if stored is None:
        if rest.batch.birth is None:  # the run was deleted, or is in another store
            return None
        birth = _birth(left, rest.batch)
        if birth is None:
            rest = rest._replace(damage=INCREDIBLE)
        else:
            store.begin(birth, takeover=False, patience=None)
            stored = StoredRun(left.uuid, birth.parent, birth.at, 1, 0)
    if stored is not None and (rest.batch.size or rest.gap is not None):
        wall = min(left.path.stat().st_mtime, wall_now())
        told = _gaps(store, left.uuid, rest)
        saving = Saving(
            left.uuid, left.epoch, rest.end, lambda: rest.batch, names, told, final=True, wall=wall
        )
        try:
            store.save(saving, patience=None)
        except RunTakenOver:
            notice = _put_aside(store, left, rest, names, wall)
        else:
            with suppress(RunTakenOver):
                store.end(Lease(left.uuid, left.epoch), None, patience=None)
    damage = contents.damage or (rest.damage and f"{left.path} {rest.damage}")
    return dispose(left.path, damage) or notice


def _birth(left: Left, batch: Batch) -> Birth | None:
    """Return the birth of the run in a journal, or None if no writer can have written it."""
    try:
        return Birth.of(left.uuid, batch.birth or {}, changed_status({}, [batch]))
    except NOT_AS_WRITTEN:
        return None


def _gaps(store: Reader, run: UUID, rest: Rest) -> list[dict[str, int]] | None:
    """Return the status entry for dropped values, or None if there are none."""
    if rest.gap is None:
        return None
    before = rest.batch.status.get(DROPPED) or store.status(run).get(DROPPED) or ()
    return [*before, described(rest.gap)]


def _put_aside(
    store: LogStore, left: Left, rest: Rest, names: Mapping[int, str], wall: float
) -> str | None:
    """Make a run of the values that a writer assigned after its run was taken from it."""
    batch = rest.batch
    made = aside(left.uuid, left.epoch, batch, store.status(left.uuid), BEFORE_ALL)
    if made is None:
        return None
    birth = Birth(made.uuid, made.status, left.uuid, made.at, part_of=left.uuid)
    store.begin(birth, takeover=False, patience=None)
    used = {code & MOST_KEYS for code in batch.numbers.flat()[::3]}
    used |= {number for _, number in batch.others}
    batch.names = {number: names[number] for number in sorted(used)}
    saving = Saving(made.uuid, 1, rest.end, lambda: batch, batch.names, final=True, wall=wall)
    store.save(saving, patience=None)
    store.end(Lease(made.uuid, 1), None, patience=None)
    return made.notice
