"""Recovery: saving the journals of dead writers, in any store.

Recovery saves the journal of a dead writer as the writer would have: under its epoch, with the
position at which it ends. So the store has it once, however often recovery runs, and a store that
has given the run to another writer since refuses it. Then the rest of the journal becomes a run of
its own.

If the store has not heard of the run, recovery makes it first: the journal begins with its facts.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import time as wall_now
from uuid import UUID, uuid5

from traininglog.callers import level_of_caller
from traininglog.encoding import HIDDEN
from traininglog.errors import RunNotFound, RunTakenOver, TrainingLogError, TrainingLogWarning
from traininglog.journal.bulk import MOST_KEYS
from traininglog.journal.credible import NOT_AS_WRITTEN, is_credible
from traininglog.journal.gaps import DROPPED, described
from traininglog.journal.reader import Left, damaged_path, is_held, journals_beside, read_journal
from traininglog.journal.record import Batch
from traininglog.journal.rest import INCREDIBLE, Rest, read_rest
from traininglog.lineage import BEFORE_ALL
from traininglog.locked_files import FileLock, open_regular
from traininglog.writer.health import described as said_of
from traininglog.writer.sink import Birth, Lease, LogStore, Reader, Saving, StoredRun


def recover(store: LogStore, spool: Path) -> None:
    """Save the journals of dead writers beside a file, and warn of each that became its own run.

    If the store cannot be reached, the journals stay where they are.
    """
    waiting = sorted(journals_beside(spool), key=lambda left: left.epoch)
    while waiting:
        orphans = []  # their parents may be in the journals of this round
        for left in waiting:
            try:
                notice = _recover(store, left)
            except RunNotFound:
                orphans.append(left)
                continue
            if notice is not None:
                _warn(notice)
        if len(orphans) == len(waiting):
            return
        waiting = orphans


def _warn(notice: str) -> None:
    warnings.warn(notice, TrainingLogWarning, stacklevel=level_of_caller())


def _recover(store: LogStore, left: Left) -> str | None:
    """Save a journal if its writer is dead; return a warning, or None."""
    try:
        lock = FileLock(open_regular(left.path, os.O_RDWR))
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{left.path} cannot be read ({error.strerror}): what is in it is not put back"
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
    finally:
        lock.release()


def _put_back(store: LogStore, left: Left) -> str | None:
    contents = read_journal(left)
    stored = next(iter(store.runs(left.uuid)), None)
    goes_on = stored is not None and stored.epoch == left.epoch
    rest = read_rest(contents, stored.position if stored is not None and goes_on else None)
    known = {} if stored is None else {number: key for key, number in stored.keys.items()}
    names = known | rest.batch.names
    if not is_credible(rest.batch, names):
        rest = Rest(Batch(), rest.end, None, INCREDIBLE)
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
    if damage is None:
        left.path.unlink(missing_ok=True)
        return notice
    kept = damaged_path(left.path)
    left.path.rename(kept)
    return f"{damage}: the rest of what was assigned last is lost; the journal is kept as {kept}"


def _birth(left: Left, batch: Batch) -> Birth | None:
    """Return the birth of the run in a journal, or None if no writer can have written it."""
    status = {key: value for key, value in batch.status.items() if value is not HIDDEN}
    try:
        return Birth.of(left.uuid, batch.birth or {}, status)
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
    times = batch.times()
    if not (times or batch.status):
        return None
    uuid = uuid5(left.uuid, f"displaced {left.epoch}")  # the same UUID if this is done twice
    at = times[0] - 1 if times else BEFORE_ALL
    status = store.status(left.uuid) | batch.status | {"resumed_from": left.uuid.hex}
    status = {key: value for key, value in status.items() if value is not HIDDEN}
    store.begin(Birth(uuid, status, left.uuid, at), takeover=False, patience=None)
    used = {code & MOST_KEYS for code in batch.numbers.flat()[::3]}
    used |= {number for _, number in batch.others}
    batch.names = {number: names[number] for number in sorted(used)}
    store.save(
        Saving(uuid, 1, rest.end, lambda: batch, batch.names, final=True, wall=wall), patience=None
    )
    store.end(Lease(uuid, 1), None, patience=None)
    return (
        f"what a writer of run {left.uuid.hex} assigned after the run was taken from it is now run "
        f"{uuid.hex}, resumed from it at {at}"
    )
