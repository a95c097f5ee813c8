"""Recovery: replaying the journal of a dead process into the database, once.

Each process that opens a database does it. The writer of a journal is dead if no process holds its
lease. The process that then holds the run's `changing_byte` replays the records past the
database's checkpoint (``high_water``). One transaction writes them and moves the checkpoint; then
the process removes the journal. If it is killed at any point in between, the next process does it.

A journal may also belong to a writer from whom the run was taken. What that writer assigned after
the takeover contradicts what its successor did. It is kept, too: it becomes a run of its own.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Connection, select

from traininglog.callers import level_of_caller
from traininglog.encoding import HIDDEN, Kind
from traininglog.errors import (
    NetworkFileSystem,
    StoreFailed,
    StoreLocked,
    StoreUnwritable,
    TrainingLogError,
    TrainingLogWarning,
)
from traininglog.journal.bulk import MOST_KEYS
from traininglog.journal.credible import is_credible
from traininglog.journal.gaps import DROPPED, described
from traininglog.journal.reader import (
    FolderNotListed,
    Left,
    damaged_path,
    displaced_path,
    is_held,
    journals_beside,
    lookalikes_beside,
    read_journal,
)
from traininglog.journal.record import Batch
from traininglog.journal.rest import INCREDIBLE, Rest, read_rest
from traininglog.lineage import BEFORE_ALL
from traininglog.side_files import in_the_way
from traininglog.sql import reading, writing
from traininglog.sql.lineage_chain import read_key_names
from traininglog.sql.sound import is_run
from traininglog.sql.tables import REVISION, runs
from traininglog.sqlite.database.database import Database
from traininglog.sqlite.database.looker import can_write
from traininglog.sqlite.file import failures
from traininglog.sqlite.file.header import free_name, stat_of
from traininglog.sqlite.sink.leases import Owners, changing_byte, writer_byte
from traininglog.sqlite.sink.origin import origin

# How many of the files that only look like journals a warning names.
_TOLD = 3


def recover(database: Database) -> None:
    """Replay every journal beside a database whose writer is dead."""
    if database.path is None or database.revision != REVISION:
        return
    owners = Owners.of(database.path)
    owners.owner.settle()
    path = database.path
    try:
        _warn_of_lookalikes(path)
        dead = database.steadily(lambda: _dead(database, owners, path))
    except FolderNotListed as error:
        _warn(f"{error}; what a killed process had assigned last may be there, and is not seen")
        return
    if not dead:
        return
    try:
        if not can_write(path):  # recovery must not leave files that only this user can write
            raise StoreUnwritable(in_the_way(path) or f"{path} cannot be written")
        if database.readonly:
            # A reader must see these values, too. It may not be able to write them.
            writable = Database(database.path, readonly=False, allow_network=database.allow_network)
            try:
                notices = _recover_all(writable, owners, dead)
            finally:
                writable.close()
        else:
            notices = _recover_all(database, owners, dead)
        for notice in notices:
            _warn(notice)
    except (
        StoreUnwritable, StoreLocked, StoreFailed, NetworkFileSystem, PermissionError,
    ) as error:  # fmt: skip
        some = next(filter(_holds_something, dead.values()), None)
        if some is None:  # the journals are empty: only their removal failed
            return
        _warn(
            f"{error}; what a killed process had assigned last is in {some} and will be put "
            "back when the file can be written"
        )


def _warn(notice: str) -> None:
    warnings.warn(notice, TrainingLogWarning, stacklevel=level_of_caller())


@contextmanager
def changing(owners: Owners, run_id: int) -> Iterator[None]:
    """Hold the lock for changing the writer of a run. Raises `StoreLocked`.

    Only one process has it. In this process only the owner thread may call this, so that no two
    threads have it either.
    """
    byte = changing_byte(run_id)
    if not owners.take(byte, failures.PATIENCE):
        raise StoreLocked("what a process left behind is being recovered by another one")
    try:
        yield
    finally:
        owners.release(byte)


def _dead(database: Database, owners: Owners, path: Path) -> dict[int, Path]:
    """Return the runs of which a dead writer left a journal, each with one of its journals."""
    found = {}
    for left in journals_beside(path):
        with database.read() as connection:
            row = writing.find_run(connection, left.uuid.hex)
        # Without a row, the run was deleted, or it belongs to a database that was here before.
        if row is not None and is_run(row.id) and not _is_written(owners, row, left):
            found[row.id] = left.path
    return found


def _is_written(owners: Owners, row: Any, left: Left) -> bool:
    """Return whether the writer of a journal lives, by the row of its run.

    The row names the last writer only. An earlier writer, from whom the run was taken, may live.
    """
    if left.epoch == row.epoch and (told := owners.testified(row)) is not None:
        return told
    return owners.is_locked(writer_byte(row.id, left.epoch)) or is_held(left.path)


def _holds_something(journal: Path) -> bool:
    try:
        contents = read_journal(journal)
    except OSError:
        return True  # it may hold something
    return bool(contents.regions or contents.damage)


def _recover_all(database: Database, owners: Owners, dead: dict[int, Path]) -> list[str]:
    """Replay the journals of dead writers of some runs, in the owner thread; return warnings."""

    def act() -> list[str]:
        notices = []
        for run_id in dead:
            with changing(owners, run_id):
                notices += recover_run(database, owners, run_id)
        return notices

    return owners.owner.run(act)


def recover_run(database: Database, owners: Owners, run_id: int) -> list[str]:
    """Replay the journals of the dead writers of a run. The caller holds `changing`.

    Returns the warnings to give.
    """
    assert database.path is not None  # noqa: S101 - a journal lies beside a file
    with database.read() as connection:
        row = connection.execute(select(runs).where(runs.c.id == run_id)).one_or_none()
    if row is None:
        return []
    return [
        notice
        for left in sorted(journals_beside(database.path), key=lambda left: left.epoch)
        if left.uuid.hex == row.uuid and not _is_written(owners, row, left)
        if (notice := _recover_journal(database, run_id, left)) is not None
    ]


def _recover_journal(database: Database, run_id: int, left: Left) -> str | None:
    """Replay a journal; return the warning to give, if any."""
    try:
        contents = read_journal(left)
    except FileNotFoundError:
        return None
    except OSError as error:
        return _unreadable(left.path, error)
    notice = None
    damage = contents.damage
    if contents.regions or damage:
        try:
            # Durable, as the journal is then deleted.
            with database.write(durable=True) as connection:
                row = connection.execute(select(runs).where(runs.c.id == run_id)).one_or_none()
                if row is None:
                    return None
                mark = left.displaced_at if left.epoch < row.epoch else row.high_water
                tail = read_rest(contents, mark)
                names = read_key_names(connection, run_id) | tail.batch.names
                if not is_credible(tail.batch, names):
                    tail = Rest(Batch(), mark or 0, None, INCREDIBLE)
                if left.epoch < row.epoch:
                    notice = _put_aside(connection, row, left, tail)
                else:
                    _replay(connection, run_id, tail, left.path)
                damage = damage or (tail.damage and f"{left.path} {tail.damage}")
        except OSError as error:
            if isinstance(error, TrainingLogError):  # the database cannot be used, not the journal
                raise
            return _unreadable(left.path, error)
    if damage is None:
        _discard(left.path)
        return notice
    kept = damaged_path(left.path)
    if kept.exists():
        kept = free_name(kept, "again")
    left.path.rename(kept)
    return f"{damage}: the rest of what was assigned last is lost; the journal is kept as {kept}"


def _unreadable(journal: Path, error: OSError) -> str:
    return (
        f"{journal} cannot be read ({error.strerror}): what a killed process had assigned last may "
        "be in it, and is put back when it can be read and the store is opened"
    )


def _warn_of_lookalikes(database: Path) -> None:
    found = lookalikes_beside(database)
    if found:
        more = f", and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
        told = ", ".join(f"{one.path} {one.why}" for one in found[:_TOLD])
        _warn(
            f"beside {database} lies what is named like a journal and is none: {told}{more}; it "
            "was not opened: move it away"
        )


def _discard(journal: Path) -> None:
    """Delete a journal whose records are all in the database."""
    try:
        journal.unlink(missing_ok=True)
    except PermissionError:
        # In a sticky folder only the file's owner may delete it. An empty journal does no harm.
        os.truncate(journal, 0)


def _replay(connection: Connection, run_id: int, tail: Rest, journal: Path) -> None:
    batch = tail.batch
    times = batch.times()
    known = reading.read_run_keys(connection, run_id)
    fresh = {name: number for number, name in batch.names.items() if name not in known}
    writing.save_keys(connection, run_id, fresh)
    save_batch(connection, run_id, batch, times)
    if times is not None:
        found = stat_of(journal)
        wall = time.time() if found is None else min(found.st_mtime, time.time())
        if not writing.is_import(connection, run_id):
            writing.save_mark(connection, run_id, times[1], wall)
    if batch.marks:
        writing.save_marks(connection, run_id, batch.marks)
    status = dict(batch.status)
    if tail.gap is not None:
        before = status.get(DROPPED) or reading.read_status(connection, run_id).get(DROPPED)
        status[DROPPED] = [*(before or ()), described(tail.gap)]
    writing.save_status(connection, run_id, status, batch.renewed)
    if batch.size:
        writing.update_run(connection, run_id, {"high_water": tail.end})


def save_batch(
    connection: Connection, run_id: int, batch: Batch, times: tuple[int, int] | None
) -> None:
    """Write the values of a batch; `times` are its first and last time, or None."""
    if times is not None:
        save_numbers(connection, run_id, batch)
        save_others(connection, run_id, batch, times)


def save_numbers(connection: Connection, run_id: int, batch: Batch) -> None:
    """Write the numbers of a batch."""
    writing.save_numbers(connection, run_id, batch.numbers.flat())


def save_others(connection: Connection, run_id: int, batch: Batch, times: tuple[int, int]) -> None:
    """Write the values that are not numbers, after the numbers, and widen the run's span."""
    deletions = sum(cell.kind == Kind.HIDDEN for cell in batch.others.values())
    writing.widen_run(connection, run_id, *times, deletions)
    writing.save_entries(
        connection,
        [(run_id, time, number, *cell) for (time, number), cell in batch.others.items()],
    )


# -- taking a run from a writer that is alive ---------------------------------------------------


def displace(
    connection: Connection, run_id: int, journal: Path, mark: int
) -> tuple[Path, int] | None:
    """Put what a live writer has assigned so far into the database.

    Returns the journal and the position up to which it was read. The caller passes them to
    `mark_displaced` after the transaction.
    """
    try:
        contents = read_journal(journal)
    except FileNotFoundError:
        return None
    # Its writer goes on meanwhile, so its end may seem damaged: that is ignored.
    tail = read_rest(contents, mark)
    _replay(connection, run_id, tail, journal)
    return journal, tail.end


def mark_displaced(journal: Path, position: int) -> None:
    """Rename a journal to note up to which position the database has it.

    Its writer has it open, and can go on.
    """
    if journal.exists():
        journal.rename(displaced_path(journal, position))


def _put_aside(connection: Connection, row: Any, left: Left, tail: Rest) -> str | None:
    """Make a new run of what a writer assigned after its run was taken from it."""
    batch = tail.batch
    uuid = uuid5(UUID(row.uuid), f"displaced {left.epoch}")  # idempotent: the same UUID each time
    times = batch.times()
    if not (times or batch.status) or writing.find_run(connection, uuid.hex) is not None:
        return None
    at = times[0] - 1 if times else row.last_time
    status = reading.read_status(connection, row.id) | batch.status | {"resumed_from": row.uuid}
    status = {key: value for key, value in status.items() if value is not HIDDEN}
    parent = UUID(row.uuid), BEFORE_ALL if at is None else at
    number = writing.add_run(connection, uuid, status, parent, origin())
    names = read_key_names(connection, row.id) | batch.names
    mine: dict[str, int] = {}

    def renumbered(code: int) -> int:
        kind, name = code & ~MOST_KEYS, names[code & MOST_KEYS]
        return kind + mine.setdefault(name, len(mine) + 1)

    aside = Batch()
    flat = batch.numbers.flat()[:]
    flat[::3] = map(renumbered, flat[::3])
    aside.numbers.add(flat)
    aside.others = {(at, renumbered(old)): cell for (at, old), cell in batch.others.items()}
    writing.save_keys(connection, number, mine)
    save_batch(connection, number, aside, times)
    return (
        f"what a writer of run {row.uuid} assigned after the run was taken from it is now run "
        f"{uuid.hex}, resumed from it at {parent[1]}"
    )
