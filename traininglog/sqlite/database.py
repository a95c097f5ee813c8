"""One SQLite file: opening it safely, transactions that wait instead of failing, checkpoints.

Nothing here knows what a log is. Three things about SQLite shape it:

* A deferred transaction that turns into a writing one fails at once when another wrote meanwhile,
  whatever the timeout. So writers say BEGIN IMMEDIATE, and wait there.
* Reading a file with plain file calls in a process that has it open drops SQLite's locks on it. So
  even the look whether a file is ours goes through SQLite.
* SQLite before 3.51.3 (3.50.7, 3.44.6) can lose data when connections that write and checkpoint
  meet ("WAL-reset bug"). So nobody checkpoints automatically; `checkpoint` does, under the write
  lock.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from sqlalchemy import Connection, create_engine, event, pool
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

from traininglog.errors import (
    CorruptLog,
    ForkedLog,
    LogClosed,
    NotATrainingLog,
    SchemaTooNew,
    SchemaTooOld,
    StoreFailed,
    StoreLocked,
    StoreNotFound,
    StoreUnwritable,
    TrainingLogError,
    UnknownScheme,
)
from traininglog.sql.tables import (
    READER_VERSION,
    REVISION,
    REVISIONS,
    VERSION_TABLE,
    VERSION_TABLE_DDL,
    metadata,
)

APPLICATION_ID = 0x746C6F67  # "tlog"; in the file's header, where `file` and others can see it
MEMORY = ":memory:"

#: How long a writer waits for others before it says so. They hold the file for milliseconds.
PATIENCE = 60.0

_CHECKPOINT_BYTES = 4 * 2**20

# How long a file that is being written may look like a stranger before it is taken for one.
_STRANGER_PATIENCE = 1.0

_T = TypeVar("_T")

# The open databases. A forked child keeps those of its parent, unused, for as long as it lives:
# closing an inherited connection could undo what the parent's still holds.
_OPEN: dict[int, Database] = {}


class Database:
    """An open file (or ``:memory:``), for any number of threads of the process that opened it."""

    def __init__(self, path: Path | None, *, readonly: bool, create: bool = False) -> None:
        self.path = path
        self.readonly = readonly
        self.revision = REVISION
        self.upgraded: tuple[str, Path] | None = None  # the revision before, and the backup
        self._pid = os.getpid()
        self._closed = False
        self._memory_lock = threading.RLock()
        fresh = path is None or self._inspect(path, create=create and not readonly)
        self._wal = None if path is None else wal_path(path)
        self._uri = MEMORY if path is None else _uri(path, readonly=readonly)
        self._engine = self._make_engine()
        self._writing = self._engine.execution_options(traininglog_begin="BEGIN IMMEDIATE")
        try:
            with translated(self.name):
                self._prepare(fresh=fresh)
        except BaseException:
            self._engine.dispose()
            raise
        _OPEN[id(self)] = self

    @property
    def name(self) -> str:
        """What to call the file in messages."""
        return MEMORY if self.path is None else str(self.path)

    # -- transactions -----------------------------------------------------------------------

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that sees one state of the database throughout."""
        self._check_process()
        with self._alone(), translated(self.name):
            connection = _patiently(self._engine.connect)
            with connection:
                transaction = _patiently(connection.begin)
                try:
                    yield connection
                finally:
                    transaction.rollback()

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[Connection]:
        """Give a connection that is the only one to write; commit at the end, or undo it all.

        Args:
            durable: Wait until the disk has it, and with it everything that was committed before.

        """
        self._check_process()
        if self.readonly:
            raise StoreUnwritable(f"{self.name} was opened for reading only")
        with self._alone(), translated(self.name):
            connection = _patiently(self._writing.connect)
            with connection:
                _pragma(connection, f"synchronous = {'FULL' if durable else 'NORMAL'}")
                transaction = _patiently(connection.begin)
                with transaction:
                    yield connection
        self._checkpoint_if_due()

    def change_token(self, connection: Connection) -> object:
        """Return something that differs from before if anyone has written since.

        To be compared only with what it returned before; takes two microseconds.
        """
        raw = connection.connection.driver_connection
        assert raw is not None  # noqa: S101 - an open connection has one
        # What others committed, and what this very connection changed, which the first leaves out.
        return id(raw), raw.execute("PRAGMA data_version").fetchone()[0], raw.total_changes

    def close(self) -> None:
        """Close every connection. Whoever closes a file last also empties its WAL."""
        if os.getpid() == self._pid:
            self._closed = True
            _OPEN.pop(id(self), None)
            self._engine.dispose()

    # -- the WAL ----------------------------------------------------------------------------

    def checkpoint(self) -> None:
        """Move what is in the WAL into the file, as far as readers allow."""
        with self._raw() as holder, self._raw() as other:
            try:
                # One connection holds the write lock while another copies: nobody can reset the WAL
                # meanwhile, which is what the bug needs.
                holder.execute("BEGIN IMMEDIATE")
                other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                holder.execute("ROLLBACK")
            except sqlite3.OperationalError:  # busy: a later flush will come round to it
                return

    def shrink(self) -> None:
        """Give the pages that hold nothing back to the file system, as far as others allow."""
        self._check_process()
        with translated(self.name), self._raw() as connection:
            # A page a step and no rows: `execute` would stop after the first of them.
            connection.executescript("PRAGMA incremental_vacuum")
        self.checkpoint()

    def _checkpoint_if_due(self) -> None:
        if self._wal is not None:
            with suppress(OSError):  # there may be no WAL
                if self._wal.stat().st_size > _CHECKPOINT_BYTES:
                    self.checkpoint()

    # -- opening ----------------------------------------------------------------------------

    def _inspect(self, path: Path, *, create: bool) -> bool:
        """Refuse, without touching it, a path that cannot be a training log; tell if it is new."""
        found = _stat(path)
        if found is None:
            folder = _stat(path.parent)
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
            if not create:
                raise NotATrainingLog(f"{path} is empty: nothing has been logged to it yet")
            return True
        if not os.access(path, os.R_OK):
            raise StoreUnwritable(f"{path} cannot be read; check its permissions")
        if not _is_ours(path):
            raise NotATrainingLog(
                f"{path} is not a training log; it was left as it is. Name another file"
            )
        self._refuse_newer(*_peek(path))
        return False

    def _refuse_newer(self, revision: str | None, readable: int) -> None:
        """Raise for a revision that this version does not know, unless it may read it.

        A look that failed (None) decides nothing: it did not lock the file, and will be repeated.
        """
        if revision is None or revision in REVISIONS or revision == REVISION:
            return
        if not self.readonly or readable > READER_VERSION:
            raise SchemaTooNew(
                f"{self.name} has schema {revision}, this version knows {REVISION}: install a "
                "newer traininglog"
                + ("" if readable > READER_VERSION else ", or open it with readonly=True")
            )

    def _make_engine(self) -> Engine:
        engine = create_engine(
            "sqlite://",
            creator=self._connect,
            poolclass=pool.StaticPool if self.path is None else pool.QueuePool,
        )

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            options = connection.get_execution_options()
            connection.exec_driver_sql(options.get("traininglog_begin", "BEGIN"))

        return engine

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._uri,
            uri=True,
            timeout=PATIENCE,
            isolation_level=None,  # transactions are ours: no BEGIN behind our back
            check_same_thread=False,  # the pool hands a connection to one thread at a time
            cached_statements=256,
        )
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        # Once the WAL was copied and is begun anew, cut it: it tells by its size when to copy.
        connection.execute("PRAGMA journal_size_limit = 0").fetchall()
        return connection

    @contextmanager
    def _raw(self) -> Iterator[sqlite3.Connection]:
        with closing(self._connect()) as connection:
            yield connection

    def _prepare(self, *, fresh: bool) -> None:
        """Make the schema where there is none; refuse or upgrade one that is not today's."""
        if not self.readonly and (fresh or self._is_blank()):
            with self._writing.connect() as connection:
                _pragma(connection, "auto_vacuum = INCREMENTAL")  # so that deleting frees space
                with _patiently(connection.begin):
                    if _is_blank(connection):
                        create_schema(connection)
        self._check_revision()
        # Last: a file that was refused must not have been changed, not even in its header.
        if self.path is not None and not self.readonly:
            _patiently(self._set_wal)

    def _is_blank(self) -> bool:
        """Tell whether there is nothing in the file.

        A process that was killed as it made the file left it so, once SQLite has undone its work.
        """
        with self._engine.connect() as connection, _patiently(connection.begin):
            return _is_blank(connection)

    def _set_wal(self) -> None:
        with self._raw() as connection:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode = WAL").fetchall()

    def _check_revision(self) -> None:
        with self._engine.connect() as connection, _patiently(connection.begin):
            self.revision = _revision(connection, self.name)
            readable = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        self._refuse_newer(self.revision, readable)
        if self.revision == REVISION or self.revision not in REVISIONS:
            return
        if self.readonly:
            raise SchemaTooOld(
                f"{self.name} has schema {self.revision}, this version reads {REVISION}; "
                f"upgrade it first: traininglog upgrade --store {shlex.quote(self.name)}"
            )
        self._upgrade()

    def _upgrade(self) -> None:
        from traininglog.sqlite import migrations

        assert self.path is not None  # noqa: S101 - a database in memory is never old
        copy: Path | None = None
        try:
            with self._writing.connect() as connection, _patiently(connection.begin):
                # Others may have waited for the same lock to do the same work.
                if _revision(connection, self.name) != REVISION:
                    copy = free_name(self.path, f"backup-{self.revision}")
                    self.backup(copy)
                    migrations.upgrade(connection)
                    self.upgraded = self.revision, copy
        except BaseException:
            if copy is not None:  # the file itself is what it was
                copy.unlink(missing_ok=True)
            raise
        self.revision = REVISION

    def backup(self, target: Path) -> None:
        """Copy the database, as it is now, to a new file; others may go on writing."""
        self._check_process()
        if not target.parent.is_dir():
            raise StoreNotFound(
                f"the folder of {target} does not exist; make it first: "
                f"mkdir -p {shlex.quote(str(target.parent))}"
            )
        if target.exists():
            raise StoreUnwritable(f"{target} exists already: name a file that does not")
        part = free_name(target, "part")
        with translated(self.name), self._raw() as source:
            try:
                with closing(sqlite3.connect(part)) as copy:
                    source.backup(copy)
                    copy.execute("PRAGMA journal_mode = DELETE")  # one file, complete in itself
                part.rename(target)
            finally:
                part.unlink(missing_ok=True)

    # -- guards -----------------------------------------------------------------------------

    def _check_process(self) -> None:
        if self._closed:
            raise LogClosed(f"{self.name} was closed here; open it again to go on")
        if os.getpid() != self._pid:
            raise ForkedLog(
                f"{self.name} was opened before this process was forked; open it anew here: "
                "SQLiteLog(path, uuid=...) or Store(path)"
            )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one thread at a time use the single connection that a database in memory has."""
        if self.path is None:
            with self._memory_lock:
                yield
        else:
            yield


def create_schema(connection: Connection) -> None:
    """Give an empty database the tables of today and mark it as ours."""
    metadata.create_all(connection)
    connection.exec_driver_sql(VERSION_TABLE_DDL)
    connection.exec_driver_sql(_STAMP, (REVISION,))
    mark_as_ours(connection)


def mark_as_ours(connection: Connection) -> None:
    """Write into the header whose file this is and which readers can read it."""
    _pragma(connection, f"application_id = {APPLICATION_ID}")
    _pragma(connection, f"user_version = {READER_VERSION}")


def locate(name: str) -> Path | None:
    """Return the file that a path or a URL ``sqlite:///path`` names; None: a database in memory.

    Raises `UnknownScheme` for a URL of another kind, which would otherwise be taken for a path.
    """
    if name == MEMORY:
        return None
    scheme, colon, rest = name.partition(":")
    if not colon or not (scheme.lower() in ("sqlite", "memory") or rest.startswith("//")):
        return Path(name).absolute()
    if scheme.lower() != "sqlite":
        raise UnknownScheme(f"{scheme}: is not a file of runs; name a path or sqlite:///path")
    if not rest.startswith("///") or "?" in rest:
        raise UnknownScheme(
            f"write sqlite:///relative/path or sqlite:////absolute/path, not {name!r}"
        )
    path = unquote(rest[3:]) or MEMORY
    return None if path == MEMORY else Path(path).absolute()


def wal_path(path: Path) -> Path:
    """Return where SQLite keeps the write-ahead log of a file: beside what a link leads to."""
    path = path.resolve()
    return path.with_name(path.name + "-wal")


def free_name(path: Path, suffix: str) -> Path:
    """Return a name beside `path` that is not taken."""
    candidate = path.with_name(f"{path.name}.{suffix}")
    number = 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}.{suffix}-{number}")
    return candidate


def _uri(path: Path, *, readonly: bool) -> str:
    if not readonly:
        return f"{path.absolute().as_uri()}?mode=rwc"
    # A reader of a WAL file must share memory with others through a file beside it. Where none can
    # be made, and none is needed, nobody can be writing either.
    alone = not os.access(path.parent, os.W_OK) and not wal_path(path).exists()
    return f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if alone else ''}"


def _stat(path: Path) -> os.stat_result | None:
    """Return what the file system knows of a path; None where there is nothing."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # no permission, a name too long, a NUL in it
        raise StoreUnwritable(f"{str(path)!r} cannot be used: {error}") from error


def _is_ours(path: Path) -> bool:
    """Look into the header of a file without locking it or leaving files beside it.

    Other processes may be at work under locks that this look does not see: writing the very first
    pages, or copying a WAL into the file, whose header then tells of pages that are yet to come. So
    a file is a stranger only if it is one twice while no rollback journal tells of work under way.
    A stranger may have a journal for as long as it likes; our own first pages take no second.
    """
    journal = path.with_name(path.name + "-journal")
    deadline = time.monotonic() + _STRANGER_PATIENCE
    strange = 0
    while strange < 2:
        busy = journal.exists()
        try:
            with closing(_look(path)) as connection:
                # Otherwise a file that is shorter than its header says is an error.
                connection.execute("PRAGMA writable_schema = ON")
                found = connection.execute("PRAGMA application_id").fetchone()[0]
        except sqlite3.DatabaseError as error:
            found = None
            busy = busy or _code(error) == sqlite3.SQLITE_CORRUPT
        if found == APPLICATION_ID:
            return True
        if not busy or time.monotonic() > deadline:
            strange += 1
        time.sleep(0.01)
    return False


def _peek(path: Path) -> tuple[str | None, int]:
    """Return the revision of one of our files, None if that cannot be told, and its user_version.

    Only a look: to open the file for writing would be to change it, by emptying its WAL on closing.
    """
    wal = _stat(wal_path(path))
    try:
        with closing(_look(path, alone=wal is None or wal.st_size == 0)) as connection:
            row = connection.execute(_READ_REVISION).fetchone()
            readable = connection.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.DatabaseError:
        return None, 0
    return (None if row is None else str(row[0])), readable


def _look(path: Path, *, alone: bool = True) -> sqlite3.Connection:
    """Open a file for reading; with `alone` without a lock, as if nobody else had it open."""
    mode = "immutable=1" if alone else "mode=ro"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=PATIENCE)


def _is_blank(connection: Connection) -> bool:
    return not connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()


_READ_REVISION = f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 - a constant of ours
_STAMP = f"INSERT INTO {VERSION_TABLE} VALUES (?)"  # noqa: S608 - a constant of ours


def _revision(connection: Connection, name: str) -> str:
    tables = connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars().all()
    found = (
        connection.exec_driver_sql(_READ_REVISION).scalars().all()
        if VERSION_TABLE in tables
        else []
    )
    if len(found) != 1:
        raise CorruptLog(
            f"{name} is marked as a training log but does not tell its schema; it was left as it "
            "is, restore a backup"
        )
    return str(found[0])


def _patiently(act: Callable[[], _T]) -> _T:
    """Do it again while others are in the way; SQLite's own timeout does not cover every case."""
    deadline = time.monotonic() + PATIENCE
    pause = 0.001
    while True:
        try:
            return act()
        except (DBAPIError, sqlite3.OperationalError) as error:
            if _code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            if time.monotonic() > deadline:
                raise
            time.sleep(pause)
            pause = min(0.1, pause * 2)


def _pragma(connection: Connection, text: str) -> None:
    raw = connection.connection.driver_connection
    assert raw is not None  # noqa: S101 - an open connection has one
    raw.execute(f"PRAGMA {text}").close()


def _code(error: BaseException) -> int:
    original = getattr(error, "orig", error)
    return int(getattr(original, "sqlite_errorcode", 0)) & 0xFF


_TRANSLATIONS: dict[int, tuple[type[TrainingLogError], str]] = {
    sqlite3.SQLITE_BUSY: (
        StoreLocked, "{name} is held by another process; nothing is lost, try again later"
    ),
    sqlite3.SQLITE_LOCKED: (
        StoreLocked, "{name} is held by another thread; nothing is lost, try again later"
    ),
    sqlite3.SQLITE_READONLY: (
        StoreUnwritable,
        "{name} cannot be written ({reason}); make it writable, or use readonly=True",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        StoreUnwritable,
        "{name} cannot be opened ({reason}); check its permissions and its folder's",
    ),
    sqlite3.SQLITE_FULL: (StoreFailed, "the disk of {name} is full; free space and try again"),
    sqlite3.SQLITE_IOERR: (StoreFailed, "{name} cannot be read or written: {reason}"),
    sqlite3.SQLITE_CORRUPT: (
        CorruptLog, "{name} is damaged ({reason}); it was left as it is, see `traininglog check`"
    ),
    sqlite3.SQLITE_NOTADB: (NotATrainingLog, "{name} is not a training log; it was left as it is"),
}  # fmt: skip


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn the database errors that a user can do something about into ours; let bugs through."""
    try:
        yield
    except (DBAPIError, sqlite3.DatabaseError) as error:
        kind, message = _TRANSLATIONS.get(_code(error), (None, ""))
        if "Could not decode to UTF-8" in str(error):  # which Python gives no code
            kind, message = _TRANSLATIONS[sqlite3.SQLITE_CORRUPT]
        if kind is None:
            raise
        reason = getattr(error, "orig", error)
        raise kind(message.format(name=name, reason=reason)) from error
