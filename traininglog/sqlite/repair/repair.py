"""Repair: making a new file with everything that can still be read of a damaged one.

The damaged file is only copied, as SQLite may change a file merely by opening it. All work is done
on the copy, in a folder of its own beside the new file.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from sqlalchemy import func, select

from traininglog import parts
from traininglog.config import setting
from traininglog.encoding import Kind, fits
from traininglog.errors import (
    CorruptLog,
    NotATrainingLog,
    RunBusy,
    SchemaTooNew,
    SchemaTooOld,
    StoreFailed,
    StoreLocked,
    StoreNotFound,
    StoreUnwritable,
    TrainingLogError,
)
from traininglog.journal.reader import journals_beside
from traininglog.kept import folder_of
from traininglog.side_files import fit
from traininglog.sql import writing
from traininglog.sql.runs.totals import total_up
from traininglog.sql.tables import REVISION, REVISIONS, VERSION_TABLE, entries, metadata, totals
from traininglog.sqlite.check import Size, check
from traininglog.sqlite.database.database import Database, is_open_here
from traininglog.sqlite.file.connections import guard
from traininglog.sqlite.file.failures import translated
from traininglog.sqlite.file.header import locate, peek, refuse_odd, stat_of, wal_path
from traininglog.sqlite.file.revisions import APPLICATION_ID
from traininglog.sqlite.repair.classify import Found
from traininglog.sqlite.repair.pages import Pages
from traininglog.sqlite.repair.rebuild import Build, write_records
from traininglog.sqlite.repair.salvage import Rescue
from traininglog.sqlite.repair.segments import Segments
from traininglog.sqlite.sink.leases import Owners
from traininglog.values import MAX_TIME

_BATCH = 50_000  # values per transaction


class LeftOut(NamedTuple):
    """Counts of what could not be carried over, as far as it can be counted."""

    values: int  #: values that were found, but are damaged
    status: int  #: lost values of a status whose key, or some remnant, was found
    pages: int  #: damaged pages of the file; what was on a lost page is unknown
    records: int = 0  #: lost records of projects, groups, trials and environments


class Repaired(NamedTuple):
    """What `repair` did."""

    path: str  #: the damaged file, which is unchanged
    target: str | None  #: the new file; None: nothing is damaged, and none was made
    runs: int  #: how many runs the new file has; the next counts are of the new file, too
    values: int  #: how many values, without tombstones
    status: int  #: how many values in the status of all runs
    left_out: LeftOut
    notes: list[str]  #: messages on what replaces lost rows, and other things to know
    trials: int = 0

    @property
    def sound(self) -> bool:
        """Whether the file is not damaged at all."""
        return self.target is None


def repair(
    database: str | Path | None = None,
    target: str | Path | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Repaired:
    """Write a new file with everything that can still be read of a damaged one.

    The damaged file and its WAL stay unchanged. If nothing is damaged, nothing is written.

    All values in the new file were written to the old one, except for numbers or texts among the
    entries with a few changed bits: no checksum covers these. A checksum covers each segment; of a
    damaged segment nothing is kept. If a lost value lay over another one, that one shows again. A
    run whose row is lost is kept, under its UUID if an index has it or a checksum proves it. Values
    of a key whose name is lost are kept under ``_recovered/<number>``.

    Args:
        database: The file, as for `Store`; no process may be writing to it.
        target: The file to make; by default ``<name>.repaired`` beside the damaged one.
        progress: Called with the number of pages done, and the number of all.

    Raises:
        CorruptLog: Nothing in the file can be read.
        NotATrainingLog, StoreNotFound: There is no file of ours to repair.
        SchemaTooOld, SchemaTooNew: Only files of today's schema can be repaired.
        StoreUnwritable: The target exists, or its folder cannot be written.
        RunBusy, StoreLocked: The file is being written, or open in this very process.

    """
    found = database if isinstance(database, Path) else locate(setting("store", database))
    if found is None:
        raise ValueError("a database in memory cannot be repaired: name a file")
    path = found.absolute()
    new = (path.with_name(path.name + ".repaired") if target is None else Path(target)).absolute()
    _refuse(path, new)
    with _folder_for(new) as folder:
        copy = _copy(path, folder)
        part = folder / "repaired"
        # Before SQLite opens the copy: it deletes the WAL of an empty file.
        with closing(Pages(copy, wal_path(copy))) as pages:
            _refuse_other_revisions(path, copy)
            if _is_sound(copy):
                nothing = LeftOut(0, 0, 0)
                return Repaired(str(path), None, 0, 0, 0, nothing, _note_journals(path))
            repaired = _repair(path, pages, part, new, progress)
        _hand_over(part, path, new)
    return repaired


# -- files ----------------------------------------------------------------------------------


def _refuse(path: Path, target: Path) -> None:
    found = stat_of(path)
    refuse_odd(path)
    wal = stat_of(wal_path(path))
    if found is None:
        raise StoreNotFound(f"there is no {path}")
    if not stat.S_ISREG(found.st_mode):
        raise NotATrainingLog(f"{path} is not a regular file; name another one")
    if found.st_size == 0 and (wal is None or wal.st_size == 0):
        raise NotATrainingLog(f"{path} is empty: nothing has been logged to it yet")
    if is_open_here(path):
        raise StoreLocked(f"{path} is open in this process: close its logs and stores first")
    if stat_of(target.parent) is None:
        raise StoreNotFound(
            f"the folder of {target} does not exist; make it first: "
            f"mkdir -p {shlex.quote(str(target.parent))}"
        )
    _refuse_existing(target)


def _refuse_existing(target: Path) -> None:
    if os.path.lexists(target):
        raise StoreUnwritable(f"{target} exists already: name a file that does not")


@contextmanager
def _folder_for(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside the target, and remove it on exit."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(parts.making_folder(target))
        except OSError as error:
            raise StoreUnwritable(
                f"{target.parent} cannot be written ({error.strerror}): name a file elsewhere to "
                "make"
            ) from error
        yield folder


def _copy(path: Path, folder: Path) -> Path:
    """Copy a file, with its WAL and rollback journal, into a folder."""
    real = path.resolve()
    copy = folder / "damaged"
    sources = [(real.with_name(real.name + end), copy.with_name(copy.name + end))
               for end in ("", "-wal", "-journal")]  # fmt: skip
    before = _state(source for source, _ in sources)
    try:
        for source, target in sources:
            if source.exists():
                shutil.copyfile(source, target)
    except PermissionError as error:
        raise StoreUnwritable(f"{path} cannot be read; check its permissions") from error
    except OSError as error:
        raise StoreFailed(
            f"{path} cannot be copied to {folder.parent} ({error.strerror}): if the disk is full, "
            "name a file elsewhere to make; if it cannot be read, copy first what it still gives"
        ) from error
    if _state(source for source, _ in sources) != before:
        raise StoreLocked(f"{path} is being written: end what writes to it first")
    _roll_back(copy)
    return copy


def _state(paths: Iterable[Path]) -> list[tuple[int, int] | None]:
    found = [stat_of(path) for path in paths]
    return [None if one is None else (one.st_size, one.st_mtime_ns) for one in found]


def _roll_back(copy: Path) -> None:
    """Roll back the transaction of a rollback journal: not every file has a WAL."""
    if copy.with_name(copy.name + "-journal").exists():
        with (
            closing(sqlite3.connect(copy, isolation_level=None)) as connection,
            suppress(sqlite3.DatabaseError),  # if it fails, the copy stays as it is
        ):
            guard(connection)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")


def _refuse_other_revisions(path: Path, copy: Path) -> None:
    revision, _ = peek(copy)
    if revision is None or revision == REVISION or not revision.isdigit():
        return  # it is today's, or damaged, too
    kind = SchemaTooOld if revision in REVISIONS else SchemaTooNew
    raise kind(
        f"{path} has schema {revision}, and only schema {REVISION} can be repaired by this "
        "version: use the one that wrote it, or restore a backup"
    )


def _is_sound(copy: Path) -> bool:
    try:
        with closing(Database(copy, readonly=True)) as database:
            return check(database, Size(0, 0, 0)).ok
    except TrainingLogError:
        return False


def _hand_over(part: Path, path: Path, target: Path) -> None:
    """Move the new file to its name, without a WAL, with the permissions of the old one."""
    with translated(str(target)):
        with closing(sqlite3.connect(part)) as connection:
            guard(connection)
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()
        fit(path, part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
    _refuse_existing(target)
    part.rename(target)


# -- the new file ---------------------------------------------------------------------------


def _repair(
    path: Path,
    pages: Pages,
    part: Path,
    target: Path,
    progress: Callable[[int, int], None] | None,
) -> Repaired:
    """Make a new file, under the name `part` for now, and return a report on it."""
    rescue = Rescue(pages)
    foreign = pages.has_header and pages.application_id != APPLICATION_ID
    if foreign and VERSION_TABLE not in rescue.tables:
        raise NotATrainingLog(f"{path} is not a training log; it was left as it is")
    found = Found()
    sealed = Segments(rescue)
    with closing(Database(part, readonly=False, create=True)) as database:
        damaged_values = _carry_entries(pages, rescue, database, found, sealed, progress)
        with database.write() as connection:
            build = Build(connection, found, sealed, path.stat().st_mtime)
            if not (build.rows or found.records):
                raise CorruptLog(
                    f"nothing of {path} can be read any more; it was left as it is, restore a "
                    "backup"
                )
            _refuse_live(path, build.rows.values())
            build.write()
            sealed.write_rest(connection, build.keys)
            described = write_records(connection, found)
        values = _carry_segments(database, sealed, build)
        result = check(database, Size(0, 0, 0))
        if not result.ok:  # should not happen: what is written here has passed stricter tests
            raise CorruptLog(f"{path} cannot be repaired ({result.problems[0]}); restore a backup")
    names = {place: name for place, (_, name) in build.keys.items()}
    others = set(rescue.tables) - set(metadata.tables) - {VERSION_TABLE, "sqlite_sequence"}
    return Repaired(
        str(path), str(target), len(build.rows), values,
        sum(kind != Kind.HIDDEN for _, kind, _ in found.status.values()),
        LeftOut(
            damaged_values + sealed.damaged, found.lost_status, len(rescue.damaged),
            found.lost_records,
        ),
        [*build.notes, *described, *sealed.remarks(build.uuids, names),
         *(f"table {name!r} is not ours and was left out" for name in sorted(others)),
         *_note_kept(path), *_note_journals(path)],
        sum(kind == "trial" for kind, _ in found.records),
    )  # fmt: skip


def _carry_entries(
    pages: Pages,
    rescue: Rescue,
    database: Database,
    found: Found,
    sealed: Segments,
    progress: Callable[[int, int], None] | None,
) -> int:
    """Write the found entries and return how many are damaged; collect all other rows."""
    total = len(pages.used())
    damaged = 0
    zeroed = False
    waiting: list[Any] = []
    doubtful: list[Any] = []
    for done, part in enumerate(rescue.parts()):
        if progress is not None:
            progress(done, total)
        if part.name != entries.name:
            found.add(part)
            sealed.add(part)
            continue
        damaged += part.damaged
        for record in part.records:
            if not _is_entry(*record.values):
                damaged += 1
                zeroed |= record.doubtful
            elif record.doubtful:
                doubtful.append(record.values)
            else:
                waiting.append(record.values)
        if len(waiting) >= _BATCH:
            _save(database, waiting)
            waiting = []
    sealed.settle(found.known())
    # If pages have been zeroed, one of them may be the last page of a value.
    zeroed = zeroed or sealed.zeroed or bool(pages.zeroed)
    if zeroed:
        damaged += len(doubtful)
    else:
        waiting += doubtful
    _save(database, waiting)
    found.settle(zeroed=zeroed)
    if progress is not None:
        progress(total, total)
    return damaged


def _carry_segments(database: Database, sealed: Segments, build: Build) -> int:
    """Write the sound segments and the totals of all runs; return how many values there are."""
    for heads in sealed.batches():
        with database.write() as connection:
            sealed.write(connection, heads, build.uuids, build.keys)
    with database.write() as connection:
        for run in build.rows:
            total_up(connection, run)
        return connection.scalar(select(func.sum(totals.c.count))) or 0


def _is_entry(run: Any, time: Any, key: Any, kind: Any, stored: Any) -> bool:
    return run > 0 and 0 <= time <= MAX_TIME and key > 0 and fits(kind, stored)


def _save(database: Database, rows: list[Any]) -> None:
    with database.write() as connection:
        # If an entry is found twice, either may be the later one.
        writing.save_entries(connection, rows, replace=False)


def _refuse_live(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    owners = Owners.of(path)
    for row in rows:
        epoch = row["epoch"] if isinstance(row["epoch"], int) else 0  # it may be damaged
        if owners.is_written(SimpleNamespace(**row | {"epoch": epoch})):
            raise RunBusy(f"run {row['uuid']} of {path} is being written: end it first")


# -- files beside it -----------------------------------------------------------------------


def _note_kept(path: Path) -> list[str]:
    """Return a message on the folder of the files that were kept with trials.

    They are found again as soon as the new file has the name of the old one.
    """
    folder = folder_of(path)
    if not folder.is_dir():
        return []
    return [f"the files that were kept with trials are in {folder}, which was left as it is"]


def _note_journals(path: Path) -> list[str]:
    """Return messages on the journals beside a file, which a repair does not read yet."""
    return [
        f"what run {left.uuid.hex} was assigned last is in {left.path}, which was not read"
        for left in journals_beside(path)
    ]
