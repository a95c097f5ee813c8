"""Checking a store: what is damaged, and what its user should know."""

from __future__ import annotations

import functools
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, func, or_, select

from traininglog.encoding import Kind
from traininglog.errors import CorruptLog
from traininglog.journal.reader import (
    FolderNotListed,
    damaged_beside,
    journals_beside,
    lookalikes_beside,
    read_journal,
)
from traininglog.sql import reading, sound
from traininglog.sql.runs.totals import totals_of
from traininglog.sql.tables import REVISION, entries, keys, runs, segments, summaries, totals
from traininglog.sql.trials import record_checks
from traininglog.sqlite.database.database import Database
from traininglog.sqlite.database.second_names import second_name
from traininglog.sqlite.file import mounts, shape
from traininglog.sqlite.file.failures import distrustful
from traininglog.sqlite.file.header import wal_path
from traininglog.sqlite.file.witness import speaks
from traininglog.sqlite.repair.wal import Wal
from traininglog.sqlite.sink.leases import Owners
from traininglog.values import MAX_TIME


class Size(NamedTuple):
    """The space that a store takes on disk, in bytes."""

    file: int  #: the database
    wal: int  #: SQLite's WAL, which is not in the database yet
    free: int  #: the free pages of the file, which will be used again

    @property
    def total(self) -> int:
        """The size of file and WAL together."""
        return self.file + self.wal


class Check(NamedTuple):
    """The state of a store's file, and of the SQLite library that reads it."""

    path: str
    ok: bool  #: nothing is damaged
    problems: list[str]  #: messages on damage
    warnings: list[str]  #: messages on other things that the user should know
    revision: str  #: of the schema
    runs: int
    size: Size
    sqlite: str  #: the version of the SQLite library in use
    wal_reset_bug: bool  #: whether that version has this bug (we avoid it; others may not)
    file_system: str | None  #: the type of file system that the file is on; None: unknown
    journals: list[str]  #: the journals beside the file: in use, left behind, or damaged


def check(database: Database, size: Size, kept: Path | None = None) -> Check:
    """Examine a database: every page and index, every stored value, and references between runs.

    Args:
        database: The database.
        size: Its size on disk.
        kept: The folder of the files that are kept with trials, to examine these, too.

    """
    problems: list[str] = []
    warnings: list[str] = []
    count = 0
    cut = functools.partial(_cut_short, path=database.path)
    for look in (
        functools.partial(shape.problems, current=database.revision == REVISION),
        _damaged_pages,
        cut,
        sound.problems,
        reading.unreadable,
        _impossible,
        _misnoted,
        record_checks.problems,
    ):
        try:
            with distrustful(database.name), database.read() as connection:
                problems += look(connection)
        except CorruptLog as error:
            problems.append(str(error))
    try:
        with distrustful(database.name), database.read() as connection:
            count = connection.scalar(select(func.count()).select_from(runs)) or 0
            warnings += _orphans(connection)
            warnings += _unseen(connection, database)
            warnings += record_checks.notes(connection, kept)
    except CorruptLog as error:
        problems.append(str(error))
    affected = _has_wal_reset_bug(sqlite3.sqlite_version_info)
    if affected:
        warnings.append(
            f"SQLite {sqlite3.sqlite_version} can lose data when several connections write and "
            "checkpoint (fixed in 3.51.3, 3.50.7, 3.44.6); traininglog avoids it, others "
            "that write to this file may not"
        )
    file_system = None if database.path is None else mounts.file_system(database.path)
    if file_system in mounts.NETWORK:
        warnings.append(
            f"the file is on a network file system ({file_system}), where it can be damaged if it "
            "is written, and what is read while it is written elsewhere may be wrong: copy it to "
            "a local path"
        )
    if database.path is not None and (named := second_name(database.path)) is not None:
        warnings.append(named)
    journals, notes = ([], []) if database.path is None else _journals(database.path)
    warnings += notes
    problems = list(dict.fromkeys(problems))
    return Check(
        database.name, not problems, problems, warnings, database.revision, count, size,
        sqlite3.sqlite_version, affected, file_system, journals,
    )  # fmt: skip


# The storage classes of the kinds for which decoding would not notice a wrong one.
_FORMS = {
    Kind.HIDDEN: ("null",),
    Kind.NONE: ("null",),
    Kind.BOOL: ("integer",),
    Kind.BYTES: ("blob",),
}


def _unseen(connection: Connection, database: Database) -> list[str]:
    """Return messages on the runs for which only a lock tells that they are being written."""
    if database.path is None:
        return []
    owners = Owners.of(database.path)
    unended = select(runs).where(runs.c.outcome.is_(None)).order_by(runs.c.id)
    unseen = [
        f"{row.uuid} (process {row.pid} on {row.host})"
        for row in connection.execute(unended)
        if speaks(row.boot_id) and owners.testified(row) is None and owners.is_written(row)
    ]
    return [
        f"run {each} is being written by a process that cannot be seen from here, in another "
        "container: that it lives is told by its lock in the -owners file alone, which nobody may "
        "delete"
        for each in unseen
    ]


def _journals(path: Path) -> tuple[list[str], list[str]]:
    """Return the names of the journals beside a file, and messages on them."""
    names, notes = [], []
    try:
        lefts = list(journals_beside(path))
    except FolderNotListed as error:
        return [], [str(error)]
    for left in lefts:
        names.append(left.path.name)
        try:
            damage = read_journal(left).damage
        except FileNotFoundError:  # its writer has just closed
            continue
        except OSError as error:
            damage = f"{left.path} cannot be read ({error.strerror})"
        if left.displaced_at is not None:
            notes.append(
                f"{left.path} is of a writer from whom run {left.uuid.hex} was taken; what it "
                "still assigns becomes a run of its own when it ends"
            )
        elif damage is not None:
            notes.append(damage)
    notes += [
        f"{other.path} {other.why}: it is named like a journal and is none"
        for other in lookalikes_beside(path)
    ]
    for kept in damaged_beside(path):
        names.append(kept.name)
        notes.append(
            f"{kept} is a damaged journal, of which what could be read was put back: delete it if "
            "you do not want to look into it"
        )
    return names, notes


def _damaged_pages(connection: Connection) -> list[str]:
    found = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
    problems = [str(line) for line in found if line != "ok"]
    dangling = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    tables = Counter(str(table) for table, *_ in dangling)
    return problems + [
        f"table {table}: {number} rows belong to no run" for table, number in tables.items()
    ]


def _cut_short(connection: Connection, path: Path | None) -> list[str]:
    """Return a message if pages are missing at the end of a file; SQLite may read them as zeros."""
    if path is None:
        return []
    # In this order: a page that is copied from the WAL meanwhile is in the file by then.
    count, size = (
        int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
        for name in ("page_count", "page_size")
    )
    held = path.stat().st_size // size
    if held >= count:
        return []
    with closing(Wal(wal_path(path))) as wal:
        missing = sum(wal.read(number) is None for number in range(held + 1, count + 1))
        missing = missing if path.stat().st_size // size < count else 0
    if not missing:
        return []
    return [f"the file is cut: it should have {count} pages, and the last {missing} are missing"]


def _impossible(connection: Connection) -> list[str]:
    """Return messages on rows that can be read, but cannot have been written."""
    problems = []
    form = func.typeof(entries.c.value)
    wrong = or_(
        *(and_(entries.c.kind == kind.value, form.not_in(fit)) for kind, fit in _FORMS.items())
    )
    for uuid, time, kind, found in connection.execute(
        select(runs.c.uuid, entries.c.time, entries.c.kind, form)
        .join(runs, runs.c.id == entries.c.run_id)
        .where(wrong)
    ):
        name = Kind(kind).name.lower()
        problems.append(f"run {uuid}, time {time}: a value of kind {name} is stored as {found}")
    outside = (
        select(runs.c.uuid)
        .join(entries, entries.c.run_id == runs.c.id)
        .group_by(runs.c.id)
        .having(
            or_(
                func.min(entries.c.time) < func.coalesce(runs.c.first_time, MAX_TIME),
                func.max(entries.c.time) > func.coalesce(runs.c.last_time, -1),
                (runs.c.deletions == 0) & (func.min(entries.c.kind) == Kind.HIDDEN.value),
            )
        )
    )
    problems += [
        f"run {uuid}: it has entries that its line in the table of runs denies"
        for uuid in connection.scalars(outside)
    ]
    problems += _misplaced(connection)
    rows = connection.execute(select(runs.c.uuid, runs.c.resumed_from)).all()
    parents: dict[str, str | None] = {row.uuid: row.resumed_from for row in rows}
    sound: set[str] = set()
    for uuid in parents:
        path: dict[str, None] = {}
        at: str | None = uuid
        while at in parents and at not in sound and at not in path:
            path[at] = None
            at = parents[at]
        if at in path:
            problems.append(f"run {uuid}: its lineage goes in a circle")
        else:
            sound.update(path)
    return problems


def _misplaced(connection: Connection) -> list[str]:
    """Return messages on misplaced segments, and on wrong numbers of keys."""
    outside = (
        select(runs.c.uuid)
        .join(segments, segments.c.run_id == runs.c.id)
        .group_by(runs.c.id)
        .having(
            or_(
                func.min(segments.c.first) < func.coalesce(runs.c.first_time, MAX_TIME),
                func.max(segments.c.last) > func.coalesce(runs.c.last_time, -1),
            )
        )
    )
    problems = [
        f"run {uuid}: it has segments that its line in the table of runs denies"
        for uuid in connection.scalars(outside)
    ]
    later = segments.alias()
    overlapping = (
        select(runs.c.uuid, segments.c.key_id, later.c.first)
        .select_from(segments)
        .join(runs, runs.c.id == segments.c.run_id)
        .join(
            later,
            (later.c.run_id == segments.c.run_id)
            & (later.c.key_id == segments.c.key_id)
            & (later.c.first > segments.c.first)
            & (later.c.first <= segments.c.last),
        )
    )
    problems += [
        f"run {uuid}: two segments of its key {key} have time {time}"
        for uuid, key, time in connection.execute(overlapping)
    ]
    apart = (
        select(runs.c.uuid)
        .join(keys, keys.c.run_id == runs.c.id)
        .group_by(runs.c.id)
        .having(or_(func.min(keys.c.id) != 1, func.max(keys.c.id) != func.count()))
    )
    problems += [
        f"run {uuid}: the numbers of its keys are not 1, 2, 3, ..."
        for uuid in connection.scalars(apart)
    ]
    return problems


def _misnoted(connection: Connection) -> list[str]:
    """Return messages on the runs whose up-to-date totals differ from their values."""
    problems = []
    for row in connection.execute(
        select(runs.c.uuid, totals)
        .join(totals, totals.c.run_id == runs.c.id)
        .where(totals.c.high_water == runs.c.high_water)
    ).all():
        try:
            whole, by_key = totals_of(connection, row.run_id)
        except CorruptLog as error:
            problems.append(str(error))
            continue
        noted = connection.execute(
            select(summaries).where(summaries.c.run_id == row.run_id).order_by(summaries.c.key_id)
        ).all()
        if any(row._mapping[name] != number for name, number in whole.items()) or [
            tuple(each)[1:] for each in noted
        ] != sorted(map(_as_stored, by_key)):
            problems.append(f"run {row.uuid}: what is noted of how much it logged is not so")
    return problems


def _as_stored(row: tuple[object, ...]) -> tuple[Any, ...]:
    return tuple(None if value != value else value for value in row)  # noqa: PLR0124 - a NaN


def _orphans(connection: Connection) -> list[str]:
    rows = connection.execute(
        select(runs.c.uuid, runs.c.resumed_from).where(
            runs.c.resumed_from.not_in(select(runs.c.uuid))
        )
    )
    return [
        f"run {uuid} was resumed from {parent}, which is not in this file; merge the file that "
        "has it"
        for uuid, parent in rows
    ]


def _has_wal_reset_bug(version: tuple[int, ...]) -> bool:
    """Return whether a SQLite has the WAL-reset bug, fixed in 3.51.3; see sqlite.org/wal.html."""
    fixed_in = {44: 6, 50: 7, 51: 3}
    _, minor, patch = version[:3]
    return minor < 52 and not (minor in fixed_in and patch >= fixed_in[minor])
