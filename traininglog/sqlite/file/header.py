"""A file as seen from outside: its name, its header, and whether it is one of ours.

Nothing here locks a file or changes it, but for undoing what a killed process began. Even the
header is read through SQLite: plain file calls in a process that has the file open would drop
SQLite's locks on it.
"""

from __future__ import annotations

import functools
import os
import shlex
import sqlite3
import stat
import time
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import unquote

from traininglog.errors import (
    CorruptLog,
    NotATrainingLog,
    StoreNotFound,
    StoreUnwritable,
    UnknownScheme,
)
from traininglog.file_names import refuse_long
from traininglog.plain_files import kind_of
from traininglog.schemes import scheme_of, unknown_scheme
from traininglog.side_files import may
from traininglog.sql.tables import VERSION_TABLE
from traininglog.sqlite.file import shape
from traininglog.sqlite.file.connections import guard
from traininglog.sqlite.file.failures import MEMORY, PATIENCE, code_of
from traininglog.sqlite.file.revisions import (
    APPLICATION_ID,
    READ_REVISION,
    is_revision,
    refuse_newer,
)

#: The suffixes of the files beside a database: SQLite's own, and ours with the locks of writers.
SUFFIXES = ("-wal", "-shm", "-journal", "-owners")

#: How many bytes the longest name beside a database adds to its own: that of a damaged journal,
#: with an epoch of up to ten digits and a position of up to sixteen.
ADDED = len("-damaged-tail-") + 32 + len("-") + 10 + len("-") + 16

#: How many bytes the journal of a run adds at the least: no assignment works without it.
LEAST_ADDED = len("-tail-") + 32 + len("-0")

# Two changes of a file within this many seconds may have the same time.
_TICK = 2.0

# How long a file that is being written may look foreign before it counts as foreign, in seconds.
_STRANGER_PATIENCE = 0.5


def locate(name: str) -> Path | None:
    """Return the file that a path or a URL ``sqlite:///path`` names; None: a database in memory.

    Raises `UnknownScheme` for a URL of another kind, so that it is not used as a path.
    """
    if name == MEMORY:
        return None
    scheme = scheme_of(name, ("sqlite", "memory"))
    if not scheme:
        return Path(name).absolute()
    if scheme != "sqlite":
        raise unknown_scheme(name, "file of runs", ["a path", "sqlite:///path"])
    rest = name.partition(":")[2]
    if not rest.startswith("///") or "?" in rest:
        raise UnknownScheme(
            f"write sqlite:///relative/path or sqlite:////absolute/path, not {name!r}"
        )
    path = unquote(rest[3:]) or MEMORY
    return None if path == MEMORY else Path(path).absolute()


def wal_path(path: Path) -> Path:
    """Return the path of SQLite's WAL of a file: beside the real file, if the path is a link."""
    path = path.resolve()
    return path.with_name(path.name + "-wal")


def shm_path(path: Path) -> Path:
    """Return the path of the memory that SQLite shares between processes, for a file."""
    path = path.resolve()
    return path.with_name(path.name + "-shm")


def beside(path: Path) -> tuple[Path, Path]:
    """Return the paths of SQLite's WAL of a file, and of the memory that it shares."""
    return beside_real(path.resolve())


@functools.lru_cache(maxsize=64)
def beside_real(path: Path) -> tuple[Path, Path]:
    """Return the same as `beside`, for a path without links."""
    return path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")


def makes_for_others(path: Path, found: os.stat_result) -> bool:
    """Return whether other writers can use the files that this process makes beside a database.

    Args:
        path: The database, by a path without links.
        found: The stat of the database.

    """
    return (
        os.geteuid() in (0, found.st_uid)
        and may(path, os.W_OK)
        and may(path.parent, os.W_OK | os.X_OK)
        and is_usable(path)
    )


def is_usable(path: Path) -> bool:
    """Return whether this process may write SQLite's files beside a database, if there are any.

    The path has no links in it.
    """
    # In this order, as others may close the database meanwhile, and delete these files.
    return all(may(each, os.R_OK | os.W_OK) or stat_of(each) is None for each in beside_real(path))


def uri_of(path: Path) -> str:
    """Return the URI by which SQLite opens a file for writing."""
    return f"{path.absolute().as_uri()}?mode=rwc"


def stat_of(path: Path) -> os.stat_result | None:
    """Return the stat of a path; None if there is no file. Raises `StoreUnwritable`."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # no permission, a name too long, a NUL in it
        raise StoreUnwritable(f"{str(path)!r} cannot be used: {error}") from error


def identity_of(path: Path) -> tuple[int, int] | None:
    """Return device and inode of a file; None if there is no file."""
    found = stat_of(path)
    return None if found is None else (found.st_dev, found.st_ino)


def stamp_of(path: Path | None) -> tuple[object, ...] | None:
    """Return a token that changes with each write to a file or its WAL; None: no token is safe.

    A file that was written just now may be written again in the same tick of the file system's
    clock.
    """
    if path is None:
        return None
    stamp: list[object] = []
    for each in (path, wal_path(path)):
        found = stat_of(each)
        if found is not None and not found.st_size:  # readers leave an empty WAL
            found = None
        if found is not None and abs(time.time() - found.st_mtime) < _TICK:
            return None
        stamp += [None] if found is None else [found.st_ino, found.st_size, found.st_mtime_ns]
    return tuple(stamp)


def inspect(path: Path, *, readonly: bool, create: bool) -> bool:
    """Raise if a path cannot be a training log, without touching it. Return whether it is new."""
    found = stat_of(path)
    if not readonly:
        refuse_long(path, ADDED if found is None else LEAST_ADDED)
    refuse_odd(path)
    if found is None:
        folder = stat_of(path.parent)
        if folder is None or not stat.S_ISDIR(folder.st_mode):
            raise StoreNotFound(
                f"the folder of {path} does not exist; make it first: "
                f"mkdir -p {shlex.quote(str(path.parent))}"
            )
        if not create:
            raise StoreNotFound(f"there is no {path}; a SQLiteLog without a UUID would make it")
        return True
    if stat.S_ISDIR(found.st_mode):
        raise NotATrainingLog(f"{path} is a folder; name a file in it, {path / 'runs.db'}")
    if not stat.S_ISREG(found.st_mode):
        raise NotATrainingLog(f"{path} is not a regular file; name another one")
    if found.st_size == 0:
        wal = stat_of(wal_path(path))
        if wal is not None and wal.st_size:
            raise CorruptLog(
                f"{path} is empty, and what was written is in the WAL beside it, which SQLite "
                "would delete; it was left as it is. What can be read of it: "
                f"traininglog check --repair --store {shlex.quote(str(path))}"
            )
        if not create:
            raise NotATrainingLog(f"{path} is empty: nothing has been logged to it yet")
        return True
    if not may(path, os.R_OK):
        raise StoreUnwritable(f"{path} cannot be read; check its permissions")
    if not is_ours(path):
        if create and is_half_made(path):
            return True  # its maker was killed; SQLite will roll back what there is
        raise NotATrainingLog(
            f"{path} is not a training log; it was left as it is. Name another file"
        )
    if readonly and undo_half_done(path):
        return inspect(path, readonly=readonly, create=create)
    revision, readable = peek(path)
    if revision is not None and not is_revision(revision):
        raise CorruptLog(
            f"{path} is damaged: it has {revision!r} where its schema should be; it was left "
            "as it is, see `traininglog check --repair`"
        )
    refuse_newer(str(path), revision, readable, readonly=readonly)
    return False


def is_ours(path: Path) -> bool:
    """Return whether a file is ours, by its header, without locks or files beside it.

    Other processes may be at work under locks that this look does not see. They may write the very
    first pages, or copy a WAL into the file, whose header then names pages that are yet to come. So
    a file is foreign only if it looks foreign twice while it has no rollback journal. After a
    while the journal is ignored: a foreign file may keep one, and our own first pages take less
    than a second.
    """
    journal = path.with_name(path.name + "-journal")
    deadline = time.monotonic() + _STRANGER_PATIENCE
    strange = 0
    while strange < 2:
        busy = journal.exists()
        try:
            with closing(_look(path)) as connection:
                # Without this, SQLite raises for a file that is shorter than its header says.
                connection.execute("PRAGMA writable_schema = ON")
                found = connection.execute("PRAGMA application_id").fetchone()[0]
        except sqlite3.DatabaseError as error:
            found = None
            busy = busy or code_of(error) == sqlite3.SQLITE_CORRUPT
        if found == APPLICATION_ID:
            return True
        if not busy or time.monotonic() > deadline:
            strange += 1
        time.sleep(0.01)
    return False


def is_half_made(path: Path) -> bool:
    """Return whether a process was killed while it made a file, so that the file is empty.

    Then a rollback journal would undo all but the first page; or the first page is all there is,
    with the one setting that we make before the tables (auto_vacuum).
    """
    journal = path.with_name(path.name + "-journal")
    try:
        with journal.open("rb") as file:
            header = file.read(20)
    except OSError:
        header = b""
    # The journal has the file's size in pages before the transaction; see
    # sqlite.org/fileformat.html, 3.
    if header[:8] == b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7":
        return int.from_bytes(header[16:20], "big") <= 1
    if wal_path(path).exists():
        return False
    try:
        with closing(_look(path)) as connection:
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            (vacuum,) = connection.execute("PRAGMA auto_vacuum").fetchone()
            (owner,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return False
    return (tables, pages, vacuum, owner, version) == (0, 1, 2, 0, 0)


def undo_half_done(path: Path) -> bool:
    """Roll back the transaction of a killed process, from before the file had its WAL.

    Any other connection would do it, but a read-only one does not. Returns whether it was done.
    """
    journal = path.with_name(path.name + "-journal")
    # A process that may not write cannot do it, and would leave files that no other can use.
    if not journal.exists() or not (may(path, os.W_OK) and may(path.parent, os.W_OK | os.X_OK)):
        return False
    with suppress(sqlite3.DatabaseError), closing(
        sqlite3.connect(uri_of(path), uri=True, timeout=PATIENCE)
    ) as connection:  # fmt: skip
        guard(connection)
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return not journal.exists()


def peek(path: Path) -> tuple[str | None, int]:
    """Return the revision of one of our files (None if it cannot be read), and its user_version.

    The file is opened only for reading: a writing connection would empty its WAL when it closes.
    """
    file, (wal, shm) = path.stat(), map(stat_of, beside(path))
    making = makes_for_others(path.resolve(), file)
    # A WAL is ignored if reading it would make a file beside it.
    alone = wal is None or wal.st_size == 0 or (shm is None and not making)
    way = "immutable=1" if alone else "mode=ro" if making else "mode=ro&readonly_shm=1"
    try:
        with closing(_look(path, way)) as connection:
            listed = connection.execute(shape.LIST).fetchall()
            known = shape.is_table(listed, VERSION_TABLE)
            row = connection.execute(READ_REVISION).fetchone() if known else None
            readable = connection.execute("PRAGMA user_version").fetchone()[0]
    except (sqlite3.DatabaseError, UnicodeDecodeError):  # the latter from bytes in SQLite's message
        return None, 0
    return (None if row is None else str(row[0])), readable


def _look(path: Path, way: str = "immutable=1") -> sqlite3.Connection:
    """Open a file for reading, by default without a lock, as a file that cannot change."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{way}", uri=True, timeout=PATIENCE)
    try:
        guard(connection, defensive=False)
    except BaseException:
        connection.close()
        raise
    return connection


def refuse_odd(path: Path) -> None:
    """Raise `StoreUnwritable` if one of the files beside a database is not a regular file.

    SQLite waits for ever at a pipe, or fails with a message on the disk. Through a link, it would
    write to another place.
    """
    real = path.resolve()
    for suffix in SUFFIXES:
        beside = real.with_name(real.name + suffix)
        try:
            kind = kind_of(beside)
        except OSError:  # no file beside it can be used; a later call raises the error
            return
        if kind is not None:
            raise StoreUnwritable(
                f"{beside} is {kind}, where a file that belongs to {path} has to be: look who put "
                "it there, and move it away; nothing was read or changed"
            )
