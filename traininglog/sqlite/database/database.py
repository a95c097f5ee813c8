"""One SQLite file: opening it safely, transactions that wait instead of failing, checkpoints.

Nothing here knows what a log is. Three things about SQLite shape it:

* A deferred transaction that starts to write fails at once if another connection wrote meanwhile,
  whatever the timeout. So writers say BEGIN IMMEDIATE, and wait there.
* Reading a file with plain file calls in a process that has it open drops SQLite's locks on it. So
  even the check whether a file is ours goes through SQLite.
* SQLite before 3.51.3 (3.50.7, 3.44.6) can lose data when connections that write and checkpoint
  meet ("WAL-reset bug"). So automatic checkpoints are off; `checkpoint` does it, under the write
  lock.
"""

from __future__ import annotations

import functools
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, event, pool
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.engine import Engine

from traininglog import parts
from traininglog.config import setting
from traininglog.errors import (
    CorruptLog,
    ForkedLog,
    LogClosed,
    StoreFailed,
    StoreUnwritable,
    TrainingLogError,
)
from traininglog.forks import in_use
from traininglog.side_files import fit_all, in_the_way, make_store
from traininglog.sql import sound
from traininglog.sql.tables import REVISION
from traininglog.sqlite.database import backup
from traininglog.sqlite.database.adoption import take_over
from traininglog.sqlite.database.live_wal import LiveWal, WalLost
from traininglog.sqlite.database.looker import Looker, can_write, steadily, uris_shared
from traininglog.sqlite.database.second_names import refuse_second_name
from traininglog.sqlite.database.turns import Turns
from traininglog.sqlite.file import failures, revisions, shape
from traininglog.sqlite.file.connections import Pool, connect, is_connected, number_of, raw_of
from traininglog.sqlite.file.failures import MEMORY, distrustful, patiently, translated
from traininglog.sqlite.file.header import identity_of, inspect, stat_of, uri_of
from traininglog.sqlite.file.mounts import refuse_network
from traininglog.sqlite.file.witness import Identity

# The errors of values that have another type or size than this package ever writes.
_SURPRISES = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError)

_CHECKPOINT_BYTES = 4 * 2**20

# How many bytes of free pages a file keeps for reuse before it is shrunk.
_FREE_BYTES = 2**20

# All files share one dialect and one cache of compiled statements. `create_engine` would make new
# ones for each log, and compiling the statements takes longer than all queries of a short run.
_DIALECT = pysqlite.dialect(dbapi=sqlite3)
_DIALECT.server_version_info = sqlite3.sqlite_version_info  # else the first engine would ask for it
_DIALECT.default_schema_name = "main"
_COMPILED: dict[Any, Any] = {}

_T = TypeVar("_T")

# The open databases, for the handler that runs after a fork.
_OPEN: dict[int, Database] = {}


class Database:
    """An open file (or ``:memory:``), for any number of threads of the process that opened it.

    Args:
        path: The file; None is a database in memory.
        readonly: Never write.
        create: Make the file if it does not exist.
        allow_network: Write even on a network file system, which is unsafe; by default as set.
        follows: Go on with another file that gets this name. A database that is opened for reading
            does so anyway. A writer of runs must not, as the other file has other runs.

    Raises:
        NetworkFileSystem: The file is to be written on a network file system, and that was not
            allowed. Nothing was read, made or changed.

    """

    def __init__(
        self,
        path: Path | None,
        *,
        readonly: bool,
        create: bool = False,
        allow_network: bool | None = None,
        follows: bool = False,
    ) -> None:
        self.path = path
        self.readonly = readonly
        self.allow_network: bool = setting("allow_network", allow_network)
        twin = None if readonly else _twin_of(path)
        allowed = self.allow_network or (twin is not None and not twin.allow_network)
        if path is not None and not readonly and not allowed:
            refuse_network(path)
        self.revision = revisions.current()
        self.upgraded: tuple[str, Path] | None = None  # the revision before, and the backup
        self._pid = os.getpid()
        self._closed = False
        self._lock = threading.RLock()
        self._users: dict[object, int] = {}  # the uses of connections just now, with their threads
        self._watch: sqlite3.Connection | None = None
        self._identity: Identity | None = None
        # Held while `_watch` is used: closing a connection that another thread uses crashes the
        # process.
        self._watching = threading.RLock()
        self._wal: LiveWal | None = None  # only for a writer
        #: A warning for the next assignment; the sink takes it and clears it.
        self.notice: str | None = None
        self._linked = False  # whether a second name of the file was found, and warned of
        self._sound_schema: int | None = None  # the version of the schema that was examined
        fresh = path is None or (
            twin is None and inspect(path, readonly=readonly, create=create and not readonly)
        )
        if path is not None and not readonly and twin is None:
            refuse_second_name(path)
            parts.sweep(path)
        self._turns = Turns(path)
        self._uri = MEMORY if path is None else uri_of(path)
        self._follows = follows
        self._make_engines()
        self._looker: Looker | None = None  # only for a process that may not write the file
        writes = twin is not None or fresh or (path is not None and can_write(path))
        if path is not None and not (readonly or writes or is_open_here(path)):
            take_over(path)
        if path is not None and (readonly or not writes):
            self._looker = Looker(path, functools.partial(_engine, timeout=failures.PATIENCE))
        try:
            with in_use(), translated(self.name):
                if twin is None:
                    self._prepare(fresh=fresh)
                else:  # each transaction checks whether these have changed
                    self.revision, self._sound_schema = twin.revision, twin._sound_schema
        except BaseException:
            self._dispose()
            raise
        _OPEN[id(self)] = self
        try:
            with in_use(), translated(self.name):
                self._attach()
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """The name of the file in messages."""
        return MEMORY if self.path is None else str(self.path)

    @property
    def closed(self) -> bool:
        """Whether the database was closed in this process."""
        return self._closed

    @property
    def is_used_here(self) -> bool:
        """Whether this thread is inside a transaction."""
        return threading.get_ident() in list(self._users.values())

    # -- transactions -----------------------------------------------------------------------

    @contextmanager
    def read(self, *, lasting: bool = False) -> Iterator[Connection]:
        """Yield a connection that reads one snapshot of the database.

        In a process that may not write the file, this may raise `ChangedMeanwhile` on exit, as
        others changed the file: call it within `steadily`. With `lasting` that does not happen; use
        it if the caller uses the values before the exit.
        """
        self._check_process()
        looker = self._looker
        if looker is not None:
            looking = looker.reading(self._renewed, lasting=lasting)
            with self._using(), translated(self.name), looking as connection:
                try:
                    yield connection
                except _SURPRISES as error:
                    self._blame(connection, error)
                    raise
            return
        self._follow()
        with self._using(), self._alone(), translated(self.name):
            self._check_wal()
            connection = patiently(self._engine.connect)
            with connection:
                transaction = patiently(connection.begin)
                try:
                    self._check_schema(connection)
                    yield connection
                except _SURPRISES as error:
                    self._blame(connection, error)
                    raise
                finally:
                    transaction.rollback()

    @contextmanager
    def write(
        self, *, durable: bool = False, patience: float | None = None
    ) -> Iterator[Connection]:
        """Yield the only connection that writes; commit on exit, or roll back after an error.

        Args:
            durable: Wait until the disk has this commit and every commit before it.
            patience: How many seconds to wait for other writers at the most.

        """
        self._check_process()
        self._require_writer()
        self._follow()
        with self._using():
            self._check_file()
            with self._alone(), translated(self.name):
                self._check_wal()
                connection = patiently(self._writing.connect)
                with self._beginning() as begin, connection:
                    # The pragma reads the file, and can get SQLITE_BUSY while another process
                    # opens it.
                    level = "FULL" if durable else "NORMAL"
                    set_level = functools.partial(self._set_synchronous, connection, level)
                    patiently(set_level, longest=0.008, patience=patience)
                    # Not by SQLite's busy timeout, which sleeps longer and longer: a writer that
                    # has waited long sleeps on while others pass it. And not by `connection.begin`,
                    # which takes ten times as long to fail.
                    self._turns.take(functools.partial(begin, raw_of(connection)), patience)
                    self._check_schema(connection)  # others may have changed it meanwhile
                    try:
                        yield connection
                    except _SURPRISES as error:
                        self._blame(connection, error)
                        raise
                    # Not by SQLAlchemy, which turns Ctrl-C during a commit into an AssertionError.
                    raw_of(connection).commit()
            if self._wal is not None and self._wal.is_lost:
                raise WalLost(
                    f"{self._wal.path} was deleted or replaced while {self.name} was being "
                    "written: nothing else than this program may touch it. It is written again"
                )
            self._checkpoint_if_due()

    def sync(self) -> None:
        """Wait until the disk has all commits, of any process.

        Each commit is in the WAL, or SQLite copied it from there to the file and synced that. An
        empty commit would not do: SQLite syncs nothing for it.
        """
        self._check_process()
        with self._using(), translated(self.name):
            self._check_wal()
            if self._wal is not None:
                self._wal.sync()

    def _set_synchronous(self, connection: Connection, level: str) -> None:
        if connection.info.get("synchronous") != level:
            _pragma(connection, f"synchronous = {level}")
            connection.info["synchronous"] = level

    def change_token(self, connection: Connection) -> object:
        """Return a token that changes with each write to the file.

        Compare it only with earlier tokens. It takes two microseconds.
        """
        raw = raw_of(connection)
        # `data_version` counts the commits of others, `total_changes` those of this connection.
        return number_of(raw), raw.execute("PRAGMA data_version").fetchone()[0], raw.total_changes

    def version(self) -> object:
        """Return a token that changes with each write to the file, without a transaction.

        Compare it only with earlier tokens. It takes a tenth of the time of a transaction.
        """
        self._check_process()
        if self.path is None:
            return object()
        looker = self._looker
        if looker is not None:
            with in_use(), translated(self.name):
                found = looker.version()
            return self.steadily(self._version_seen) if found is None else found
        with in_use(), translated(self.name), self._watching:
            self._check_process()  # another thread may have closed it
            watch = self._watch = self._watch or connect(self._uri, failures.PATIENCE)
            return number_of(watch), watch.execute("PRAGMA data_version").fetchall()[0][0]

    def _version_seen(self) -> object:
        with self.read() as connection:
            return self.change_token(connection)

    @property
    def identity(self) -> tuple[int, int] | None:
        """Device and inode of the file; a reader that may not write follows its name to another."""
        if self._closed:
            return None if self.path is None else identity_of(self.path)
        return self._identity if self._looker is None else self._looker.identity

    def close(self) -> None:
        """Close every connection. The process that closes a file last also empties its WAL.

        If connections are in use, the last user closes them when it is done.
        """
        if os.getpid() == self._pid:
            self._closed = True
            _OPEN.pop(id(self), None)
            if not self._users:
                self._detach()

    @contextmanager
    def _using(self) -> Iterator[None]:
        """Count a use of connections; the last use of a database closed meanwhile detaches it."""
        token = object()
        self._users[token] = threading.get_ident()
        try:
            self._check_process()
            with in_use():
                yield
        finally:
            self._users.pop(token, None)
            if self._closed and not self._users:
                self._detach()

    def _attach(self) -> None:
        """Note the identity of the file, which is in order; a writer also holds its WAL."""
        self._identity = None if self.path is None else identity_of(self.path)
        if self._identity is not None and self.path is not None and self._looker is None:
            self._wal = LiveWal(self.path, self._identity)
            self._settle()

    def _detach(self) -> None:
        wal, self._wal = self._wal, None
        if wal is not None:
            wal.release()
        self._dispose()
        if wal is not None:
            wal.leave()

    def _dispose(self) -> None:
        with in_use():
            with self._watching:
                if self._watch is not None:
                    self._watch.close()
                    self._watch = None
            if self._looker is not None:
                self._looker.close()
            self._engine.dispose()
            self._writers.dispose()
            self._turns.close()

    def _make_engines(self) -> None:
        # Two engines, as writers and readers wait for others in different ways; see `write`.
        self._engine = _engine(self._uri, failures.PATIENCE)
        self._writers = self._engine if self.path is None else _engine(self._uri, 0)
        self._writing = self._writers.execution_options(traininglog_begin="BEGIN IMMEDIATE")

    def _follow(self) -> None:
        """Go on with another file, if the path names one now."""
        if not self._follows or self.path is None or self._identity is None:
            return
        if identity_of(self.path) == self._identity:
            return
        with in_use(), self._lock, translated(self.name):
            if identity_of(self.path) == self._identity:
                return  # another thread was faster
            inspect(self.path, readonly=False, create=False)
            self._detach()
            self._sound_schema = None
            self._prepare(fresh=False)
            self._attach()

    # -- the WAL ----------------------------------------------------------------------------

    def _settle(self) -> None:
        """Take locks of our own on the file and note its WAL; see `live_wal`."""
        if self._wal is None:
            return
        with self._engine.connect() as connection:  # a first read makes SQLite open the WAL
            patiently(connection.begin).rollback()
            patiently(lambda: _pragma(connection, "data_version"))
            self._wal.note()

    def _beginning(self) -> AbstractContextManager[Callable[[sqlite3.Connection], Any]]:
        """Return a context that yields the function to begin a write; see `LiveWal.alone`."""
        return nullcontext(_begin) if self._wal is None else self._wal.alone()

    def _check_wal(self) -> None:
        """Before a read or write, reopen the file if others find another WAL than ours."""
        if self._wal is None:
            return
        self._wal.hold()
        if self._wal.is_lost:
            with self._lock:
                self._begin_anew(self._wal)

    def _begin_anew(self, wal: LiveWal) -> None:
        """Close every connection of this process to the file, and open it again.

        Raises `WalLost` as long as some are in use. While one is left, SQLite would let new
        connections share its state of a WAL that is gone.
        """
        mine = [each for each in list(_OPEN.values()) if each.identity == self._identity]
        # If no file has the WAL's name, no process has opened the database since. So the lost WAL
        # still continues the file.
        saved = wal.is_gone and any(each._salvage() for each in mine)
        for each in mine:
            each._dispose()
        uris = {each._uri for each in mine}
        if any(map(is_connected, uris.union(*(uris_shared(each.path) for each in mine)))):
            raise WalLost(
                f"{wal.path} was deleted or replaced while {self.name} was open: what is being "
                "read from it here must end before it can be opened again"
            )
        for each in mine:
            if each._wal is not None:
                each._wal.forget()
        for each in mine:
            each._settle()
            each.notice = (
                f"somebody deleted or replaced {wal.path}, which belongs to {self.name} while it "
                "is open; " + (
                    "what it held was saved" if saved else
                    "what was committed to it and not yet copied to the file is lost"
                )
            )  # fmt: skip

    def _salvage(self) -> bool:
        """Checkpoint a deleted WAL into the file; return whether all of it was copied."""
        connections = [engine.pool.idle() for engine in (self._writers, self._engine)
                       if isinstance(engine.pool, Pool)]  # fmt: skip
        for connection in filter(None, [*connections, self._watch]):
            with suppress(sqlite3.Error), self._watching:
                row = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()[0]
                if row[0] == 0 and row[1] == row[2]:
                    return True
        return False

    def checkpoint(self) -> None:
        """Copy the WAL into the file, as far as readers allow.

        If that fails, a later checkpoint does it: a commit stays a commit.
        """
        if self._looker is not None:
            return
        with (
            suppress(sqlite3.Error),
            self._beginning() as begin,
            self._raw_connection(0) as holder,
            self._raw_connection(0) as other,
        ):
            # One connection holds the write lock while another copies. So no process can reset the
            # WAL meanwhile, and without that the WAL-reset bug cannot happen.
            begin(holder)
            other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            holder.execute("ROLLBACK")

    def shrink(self) -> None:
        """Give the free pages back to the file system, as far as other connections allow."""
        self._check_process()
        self._require_writer()
        with (
            translated(self.name),
            self._beginning() as begin,
            self._raw_connection() as connection,
        ):
            patiently(functools.partial(begin, connection))
            connection.execute("ROLLBACK")  # the vacuum is a transaction of its own
            # Each step frees one page and returns no row; `execute` would stop after the first.
            connection.executescript("PRAGMA incremental_vacuum")
        self.checkpoint()

    def shrink_if_worth(self) -> None:
        """Call `shrink` if the file has many free pages."""
        with self.read() as connection:
            free, pages, page = (
                int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
                for name in ("freelist_count", "page_count", "page_size")
            )
        if free * page > _FREE_BYTES and free > pages // 4:
            self.shrink()

    def _checkpoint_if_due(self) -> None:
        if self._wal is not None and self._wal.size() > _CHECKPOINT_BYTES:
            self.checkpoint()

    # -- opening ----------------------------------------------------------------------------

    @contextmanager
    def _raw_connection(self, timeout: float | None = None) -> Iterator[sqlite3.Connection]:
        seconds = failures.PATIENCE if timeout is None else timeout
        with in_use(), closing(connect(self._uri, seconds)) as connection:
            yield connection

    def _prepare(self, *, fresh: bool) -> None:
        """Make the schema if there is none; refuse or upgrade one of another revision."""
        if self._looker is not None:
            self.steadily(self._look_first)
            return
        if fresh or self._is_blank():
            if self.path is not None:
                make_store(self.path)
            with self._changing().connect() as connection:
                # With it, deleting frees space.
                patiently(lambda: _pragma(connection, "auto_vacuum = INCREMENTAL"))
                with patiently(connection.begin):
                    if revisions.is_blank(connection):
                        revisions.create_schema(connection)
        self._check_revision()
        # Last, as a refused file must stay unchanged, even its header.
        if self.path is not None:
            patiently(self._set_wal)
            fit_all(self.path)

    def _look_first(self) -> None:
        """Read the file for the first time, to examine its schema."""
        assert self._looker is not None and self.path is not None  # noqa: S101, PT018
        with self._looker.reading(self._renewed):
            fit_all(self.path)

    def _renewed(self, connection: Connection) -> None:
        """Examine the schema of a file to read; others may have changed it."""
        self._examine(connection)
        revisions.refuse_older(self.name, self.revision)

    def _changing(self) -> Engine:
        """Return the engine for changing a file that may have no WAL yet.

        Without a WAL, even a commit waits for readers.
        """
        return self._engine.execution_options(traininglog_begin="BEGIN IMMEDIATE")

    def _is_blank(self) -> bool:
        """Return whether the file is empty.

        It is if a process was killed while it made the file, after SQLite has rolled that back.
        """
        with self._engine.connect() as connection, patiently(connection.begin):
            return revisions.is_blank(connection)

    def _set_wal(self) -> None:
        with self._raw_connection() as connection:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode = WAL").fetchall()

    def _check_revision(self) -> None:
        with (
            distrustful(self.name),
            self._engine.connect() as connection,
            patiently(connection.begin),
        ):
            self._check_schema(connection)
        if revisions.is_old(self.revision):
            self._upgrade()

    def _check_schema(self, connection: Connection) -> None:
        """Examine the schema if others have changed it; raise if it must not be read or written.

        A newer version of this package may have upgraded it. Another program may have added
        something that reading or writing would run, such as a trigger.
        """
        version = raw_of(connection).execute("PRAGMA schema_version").fetchone()[0]
        if version != self._sound_schema:
            self._examine(connection)
            self._sound_schema = version

    def _examine(self, connection: Connection) -> None:
        with distrustful(self.name):
            self.revision = revisions.read_revision(connection, self.name)
            readable = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            current = self.revision == REVISION
            shape.examine(connection, self.name, current=current, readonly=self.readonly)
        revisions.refuse_newer(self.name, self.revision, readable, readonly=self.readonly)

    # -- copies -----------------------------------------------------------------------------

    def _upgrade(self) -> None:
        assert self.path is not None  # noqa: S101 - a database in memory is never old
        self.upgraded = backup.upgrade(self._changing(), self.name, self.path, self.backup)
        self.revision = revisions.current()

    def backup(self, target: Path) -> None:
        """Copy a snapshot of the database to a new file; others may go on writing."""
        self._check_process()
        backup.refuse_target(target)
        with self.read(lasting=True) as connection:
            backup.copy(raw_of(connection), target, self.path)

    # -- guards -----------------------------------------------------------------------------

    def _check_file(self) -> None:
        """Raise if the file was removed or replaced: no process would find what SQLite writes."""
        found = None if self.path is None else stat_of(self.path)
        now = None if found is None else (found.st_dev, found.st_ino)
        if now == self._identity:
            if found is not None and found.st_nlink > 1 and not self._linked:
                self._linked = True
                self.notice = (
                    f"{self.name} was given a second name (a hard link) while it is being written: "
                    "nobody may open it by that one, where SQLite would keep a second WAL. Delete "
                    "it; to copy a store that is open, use `traininglog backup`"
                )
            return
        what = "was removed or renamed" if now is None else "was replaced by another file"
        raise StoreFailed(
            f"{self.name} {what} while it was open: nothing is written to it before it is put back"
        )

    def _blame(self, connection: Connection, error: Exception) -> None:
        """Raise `CorruptLog` if the file holds rows that may have caused an error.

        The rows are examined only after an error. Only they tell a made-up file from a bug of ours.
        """
        if not isinstance(error, TrainingLogError):
            found = sound.problems(connection)
            if found:
                raise CorruptLog(
                    f"{self.name} is damaged ({found[0]}); it was left as it is, see "
                    "`traininglog check`"
                ) from error

    def _check_process(self) -> None:
        if self._closed:
            raise LogClosed(f"{self.name} was closed here; open it again to go on")
        if os.getpid() != self._pid:
            raise ForkedLog(
                f"{self.name} was opened before this process was forked; open it anew here: "
                "SQLiteLog(path, uuid=...) or Store(path)"
            )

    def _require_writer(self) -> None:
        """Raise `StoreUnwritable` if this process may not write; become a writer if it may now."""
        if self.readonly:
            raise StoreUnwritable(f"{self.name} was opened for reading only")
        if self._looker is None:
            return
        assert self.path is not None  # noqa: S101 - who looks does so at a file
        if not can_write(self.path):
            why = in_the_way(self.path) or f"{self.path} cannot be written"
            raise StoreUnwritable(f"{self.name} was opened to be looked at: {why}")
        with self._lock:
            looker, self._looker = self._looker, None
            if looker is not None:
                looker.close()
                with in_use(), translated(self.name):
                    self._prepare(fresh=False)
                    self._attach()

    def steadily(self, act: Callable[[], _T]) -> _T:
        """Call `act`, which only reads, again after each `ChangedMeanwhile`; see `looker`."""
        return steadily(act)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Lock the single connection of a database in memory, for one thread at a time."""
        if self.path is None:
            with self._lock:
                yield
        else:
            yield


def _after_fork_in_child() -> None:
    # While these connections are open, SQLite believes that this process has the locks, which the
    # parent kept. So it would take none for a file that is opened here. Closing them is harmless:
    # the parent's locks stay.
    for database in list(_OPEN.values()):
        database._watching = threading.RLock()  # another thread of the parent may have held it
        database._dispose()


os.register_at_fork(after_in_child=_after_fork_in_child)


def is_open_here(path: Path) -> bool:
    """Return whether this process has a file open: plain file calls would drop its locks on it."""
    return any(
        database._pid == os.getpid()
        and database.path is not None
        and database.path.exists()
        and database.path.samefile(path)
        for database in list(_OPEN.values())
    )


def _twin_of(path: Path | None) -> Database | None:
    """Return a database of this process that writes this very file, and has checked it."""
    if path is None:
        return None
    identity = identity_of(path)
    return next(
        (
            other
            for other in list(_OPEN.values())
            if other.path == path
            and other._identity == identity is not None
            and other._looker is None
            and not other.closed
            and other._pid == os.getpid()
        ),
        None,
    )


def _engine(uri: str, timeout: float) -> Engine:
    """Return an engine whose connections wait up to `timeout` seconds for others."""
    kind = pool.StaticPool if uri == MEMORY else Pool
    connecting: Callable[[], Any] = functools.partial(connect, uri, timeout)
    engine = Engine(kind(connecting, dialect=_DIALECT), _DIALECT, URL.create("sqlite"))
    engine.update_execution_options(compiled_cache=_COMPILED)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if not raw_of(connection).in_transaction:
            options = connection.get_execution_options()
            connection.exec_driver_sql(options.get("traininglog_begin", "BEGIN"))

    return engine


def _begin(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")


def _pragma(connection: Connection, text: str) -> None:
    raw_of(connection).execute(f"PRAGMA {text}").close()
