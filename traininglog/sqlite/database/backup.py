"""Copies of a whole file: a backup on request, and the backup before an upgrade."""

from __future__ import annotations

import glob
import os
import re
import shlex
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy.engine import Engine

from traininglog import file_locks, parts
from traininglog.errors import StoreNotFound, StoreUnwritable
from traininglog.file_names import free_name
from traininglog.plain_files import open_plain
from traininglog.sqlite.file import revisions
from traininglog.sqlite.file.connections import guard
from traininglog.sqlite.file.failures import patiently
from traininglog.sqlite.file.header import stat_of
from traininglog.sqlite.file.revisions import APPLICATION_ID


def refuse_target(target: Path) -> None:
    """Raise unless a new file can be made at a path."""
    if not target.parent.is_dir():
        raise StoreNotFound(
            f"the folder of {target} does not exist; make it first: "
            f"mkdir -p {shlex.quote(str(target.parent))}"
        )
    if stat_of(target) is not None:
        raise StoreUnwritable(f"{target} exists already: name a file that does not")


def copy(source: sqlite3.Connection, target: Path, like: Path | None = None) -> None:
    """Copy a snapshot of a database to a new file; others may go on writing.

    The copy gets mode and owner of the file `like`, so that no more people can read it.
    """
    _sweep_earlier(target)
    with parts.making(target, like) as part:
        with closing(sqlite3.connect(part)) as made:
            guard(made)
            source.backup(made)
            made.execute("PRAGMA journal_mode = DELETE")  # one file, complete in itself
        part.rename(target)


def _sweep_earlier(target: Path) -> None:
    """Remove parts that killed processes of earlier versions left; those did not lock them."""
    for part in target.parent.glob(f"{glob.escape(target.name)}.part*"):
        if not re.fullmatch(r"\.part(-\d+)?", part.name.removeprefix(target.name)):
            continue
        with suppress(OSError):  # it may belong to another user, and is left alone
            descriptor = open_plain(part)
            try:
                header = os.pread(descriptor, 100, 0)
                dead = file_locks.is_free(descriptor)
            finally:
                os.close(descriptor)
            if dead and (not header or header[68:72] == APPLICATION_ID.to_bytes(4, "big")):
                part.unlink()
                part.with_name(f"{part.name}-journal").unlink(missing_ok=True)


def upgrade(
    engine: Engine, name: str, path: Path, back_up: Callable[[Path], None]
) -> tuple[str, Path] | None:
    """Upgrade an older file to today's schema, after a backup beside it.

    Returns the revision that it had, and the backup; None if another process was first.

    Args:
        engine: An engine whose transactions begin by locking the file.
        name: The name of the file in messages.
        path: The file.
        back_up: Copies the file to a path.

    """
    from traininglog.sqlite.file import migrations

    backup: Path | None = None
    try:
        with engine.connect() as connection, patiently(connection.begin):
            # Another process may have done the upgrade while this one waited for the lock.
            before = revisions.read_revision(connection, name)
            if before == revisions.current():
                return None
            backup = free_name(path.with_name(f"{path.name}.backup-{before}"))
            back_up(backup)
            migrations.upgrade(connection)
    except BaseException:
        if backup is not None:  # the file itself is unchanged
            backup.unlink(missing_ok=True)
        raise
    return before, backup
