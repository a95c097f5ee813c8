"""Putting back what a dead process had assigned: its journal into the database, once.

Whoever opens a database does it. A journal's owner is dead if nobody holds the lock of its run;
whoever takes that lock replays the records past the database's high-water mark, in one transaction
that also moves the mark, and then removes the journal. Killed at any point in between, it leaves
everything to the next one.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from traininglog.encoding import HIDDEN, decode
from traininglog.errors import StoreFailed, StoreLocked, StoreUnwritable, TrainingLogWarning
from traininglog.sql import reading, writing
from traininglog.sql.tables import REVISION
from traininglog.sqlite.database import Database
from traininglog.sqlite.failures import PATIENCE
from traininglog.sqlite.journal import (
    STATUS,
    DamagedJournal,
    Record,
    journals_beside,
    read_journal,
)
from traininglog.sqlite.owners import RECOVERY, Handover, Owners


def recover(database: Database) -> None:
    """Replay every journal beside a database whose owner is dead."""
    if database.path is None or database.revision != REVISION:
        return
    owners = Owners.of(database.path)
    dead = list(_dead(database, owners, database.path))
    if not dead:
        return
    try:
        if database.readonly:
            # Who only reads wants to see what was assigned, too; and may not be able to do this.
            writable = Database(database.path, readonly=False)
            try:
                _recover_all(writable, owners, dead)
            finally:
                writable.close()
        else:
            _recover_all(database, owners, dead)
    except (StoreUnwritable, StoreLocked, StoreFailed, PermissionError) as error:
        warnings.warn(
            f"{error}; what a killed process had assigned last is in {dead[0][1]} and will be put "
            "back when the file can be written",
            TrainingLogWarning,
            stacklevel=4,
        )


def _dead(database: Database, owners: Owners, path: Path) -> Iterator[tuple[int, Path]]:
    """Return the runs, with their journals, whose writer is gone."""
    for uuid, journal in journals_beside(path):
        with database.read() as connection:
            row = writing.find_run(connection, uuid.hex)
        if row is None:  # the run was deleted; or this is about a run of a database that was here
            continue
        if owners.alive(row.id):
            # By its writer; or it is being recovered: then wait, to see it recovered.
            deadline = time.monotonic() + PATIENCE
            while owners.alive(row.id + RECOVERY) and time.monotonic() < deadline:
                time.sleep(0.002)
        else:
            yield row.id, journal


def _recover_all(database: Database, owners: Owners, dead: list[tuple[int, Path]]) -> None:
    for run_id, path in dead:
        with Handover.lock:
            turn = run_id + RECOVERY
            deadline = time.monotonic() + PATIENCE
            while not owners.take(turn):
                if time.monotonic() > deadline:
                    raise StoreLocked(f"{path} is being recovered by another process")
            try:
                if not owners.alive(run_id) and owners.take(run_id):
                    try:
                        recover_run(database, run_id, path)
                    finally:
                        owners.release(run_id)
            finally:
                owners.release(turn)


def recover_run(database: Database, run_id: int, path: Path) -> None:
    """Replay a journal, if it is there. To be called by whoever holds the lock of its run."""
    try:
        base, records = read_journal(path)
        damage = None
    except FileNotFoundError:
        return
    except DamagedJournal as error:
        base, records, damage = error.base, error.records, error
    gap = False
    if records:
        with database.write() as connection:
            mark = writing.high_water(connection, run_id)
            # After a power cut the database may be at an earlier point than the journal begins at:
            # what is left is then a prefix, and must stay one.
            gap = base > mark
            if not gap:
                _replay(connection, run_id, records[mark - base :], base + len(records))
    if damage is None and not gap:
        path.unlink(missing_ok=True)
        return
    kept = path.with_name(path.name.replace("-tail-", "-damaged-tail-"))
    path.rename(kept)
    warnings.warn(
        f"{damage or f'{path} does not follow on what is in the database'}: the rest of what was "
        f"assigned last is lost; the journal is kept as {kept}",
        TrainingLogWarning,
        stacklevel=5,
    )


def _replay(connection: Connection, run_id: int, records: list[Record], mark: int) -> None:
    rows: dict[int, dict[str, Any]] = {}
    status: dict[str, Any] = {}
    renewed: set[str] = set()
    numbers = reading.read_run_keys(connection, run_id)
    known = len(numbers)
    for record in records:
        value = decode(record.kind, record.stored)
        if record.what == STATUS:
            note_status(status, renewed, {record.key: value})
        else:
            numbers.setdefault(record.key, len(numbers) + 1)
            rows.setdefault(record.time, {})[record.key] = value
    writing.save_rows(connection, run_id, rows, numbers, known)
    writing.save_status(connection, run_id, status, renewed)
    writing.update_run(connection, run_id, {"high_water": mark})


def note_status(status: dict[str, Any], renewed: set[str], values: dict[str, Any]) -> None:
    """Add changes to what is to be written of a status, keeping what was deleted in between."""
    for key, value in values.items():
        if status.pop(key, None) is HIDDEN:
            renewed.add(key)
        status[key] = value
