"""Recovery: replaying the journal of a dead process into the database, once.

Each process that opens a database does it. The writer of a journal is dead if no process holds its
lease. The process that then holds the run's `changing_byte` replays the records past the
database's checkpoint (``high_water``). One transaction writes them and moves the checkpoint; then
the process removes the journal. If it is killed at any point in between, the next process does it.

A journal may also belong to a writer from whom the run was taken. What that writer assigned after
the takeover contradicts what its successor did. It is kept, too: it becomes a run of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select

from traininglog.callers import warn_caller
from traininglog.errors import (
    NetworkFileSystem,
    StoreFailed,
    StoreLocked,
    StoreUnwritable,
    TrainingLogError,
)
from traininglog.journal.bulk import MOST_KEYS
from traininglog.journal.gaps import DROPPED, described
from traininglog.journal.leftover import (
    aside,
    dispose,
    journals_left,
    unreadable,
)
from traininglog.journal.reader import (
    Left,
    displaced_path,
    is_held,
    journals_beside,
    read_journal,
)
from traininglog.journal.record import Batch
from traininglog.journal.rest import Rest, read_rest
from traininglog.lineage import BEFORE_ALL
from traininglog.side_files import in_the_way
from traininglog.sql import reading, writing
from traininglog.sql.lineage_chain import read_key_names
from traininglog.sql.sound import is_run
from traininglog.sql.tables import REVISION, runs
from traininglog.sqlite.database.database import Database
from traininglog.sqlite.database.looker import can_write
from traininglog.sqlite.file import failures
from traininglog.sqlite.file.header import stat_of
from traininglog.sqlite.sink.leases import Owners, changing_byte, writer_byte
from traininglog.sqlite.sink.origin import origin


def recover(database: Database, owners: Owners | None = None) -> None:
    """Replay every journal beside a database whose writer is dead."""
    path = database.path
    if path is None or database.revision != REVISION:
        return
    owners = owners or Owners.of(path)
    owners.owner.settle()
    left = [each for each in journals_left(path) if not _is_ours(owners, each)]
    dead = database.steadily(lambda: _dead(database, owners, left)) if left else {}
    if not dead:
        return
    try:
        if not can_write(path):  # recovery must not leave files that only this user can write
            raise StoreUnwritable(in_the_way(path) or f"{path} cannot be written")
        if database.readonly:
            # A reader must see these values, too. It may not be able to write them.
            writable = Database(path, readonly=False, allow_network=database.allow_network)
            try:
                notices = _recover_all(writable, owners, dead)
            finally:
                writable.close()
        else:
            notices = _recover_all(database, owners, dead)
        for notice in notices:
            warn_caller(notice)
    except (
        StoreUnwritable, StoreLocked, StoreFailed, NetworkFileSystem, PermissionError,
    ) as error:  # fmt: skip
        some = next(filter(_holds_something, dead.values()), None)
        if some is None:  # the journals are empty: only their removal failed
            return
        warn_caller(
            f"{error}; what a killed process had assigned last is in {some} and will be put "
            "back when the file can be written"
        )


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


def _is_ours(owners: Owners, left: Left) -> bool:
    """Return whether a log of this process writes a journal just now."""
    writer = owners.owner.holders.get(left.uuid)
    return writer is not None and writer.buffer.epoch == left.epoch


def _dead(database: Database, owners: Owners, lefts: list[Left]) -> dict[int, Path]:
    """Return the runs of which a dead writer left a journal, each with one of its journals."""
    found = {}
    for left in lefts:
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
        return unreadable(left.path, error)
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
                tail = tail.credible(read_key_names(connection, run_id) | tail.batch.names)
                if left.epoch < row.epoch:
                    notice = _put_aside(connection, row, left, tail)
                else:
                    _replay(connection, run_id, tail, left.path)
                damage = damage or (tail.damage and f"{left.path} {tail.damage}")
        except OSError as error:
            if isinstance(error, TrainingLogError):  # the database cannot be used, not the journal
                raise
            return unreadable(left.path, error)
    return dispose(left.path, damage) or notice


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
        writing.save_numbers(connection, run_id, batch.numbers.flat())
        writing.save_others(connection, run_id, batch.others, times)


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
    batch, run = tail.batch, UUID(row.uuid)
    last = BEFORE_ALL if row.last_time is None else row.last_time
    made = aside(run, left.epoch, batch, reading.read_status(connection, row.id), last)
    if made is None or writing.find_run(connection, made.uuid.hex) is not None:
        return None
    number = writing.add_run(
        connection, made.uuid, made.status, (run, made.at), origin(), part_of=run
    )
    names = read_key_names(connection, row.id) | batch.names
    mine: dict[str, int] = {}

    def renumbered(code: int) -> int:
        kind, name = code & ~MOST_KEYS, names[code & MOST_KEYS]
        return kind + mine.setdefault(name, len(mine) + 1)

    displaced = Batch()
    flat = batch.numbers.flat()[:]
    flat[::3] = map(renumbered, flat[::3])
    displaced.numbers.add(flat)
    displaced.others = {(at, renumbered(old)): cell for (at, old), cell in batch.others.items()}
    writing.save_keys(connection, number, mine)
    save_batch(connection, number, displaced, displaced.times())
    return made.notice
