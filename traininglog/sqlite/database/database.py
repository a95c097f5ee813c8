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
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection
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
from traininglog.sqlite.database.looker import Looker, can_write, steadily, uris_shared
from traininglog.sqlite.database.open_file import OpenFile, WalLost, engine_of
from traininglog.sqlite.database.second_names import refuse_second_name
from traininglog.sqlite.file import failures, revisions, shape
from traininglog.sqlite.file.connections import connect, is_connected, number_of, raw_of
from traininglog.sqlite.file.failures import MEMORY, distrustful, patiently, translated
from traininglog.sqlite.file.header import identity_of, inspect, stat_of
from traininglog.sqlite.file.mounts import refuse_network
from traininglog.sqlite.file.witness import Identity

# The errors of values that have another type or size than this package ever writes.
_SURPRISES = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError)

_CHECKPOINT_BYTES = 4 * 2**20

# How many bytes of free pages a file keeps for reuse before it is shrunk.
_FREE_BYTES = 2**20

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
        if allow_network is None:
            allow_network = setting("allow_network")
        self.allow_network = bool(allow_network)
        self.revision = revisions.current()
        self.upgraded: tuple[str, Path] | None = None  # the revision before, and the backup
        self._pid = os.getpid()
        self._closed = False
        self._lock = threading.RLock()
        self._users: dict[object, int] = {}  # the uses of connections just now, with their threads
        self._identity: Identity | None = None
        #: A warning for the next assignment; the sink takes it and clears it.
        self.notice: str | None = None
        self._linked = False  # whether a second name of the file was found, and warned of
        self._sound_schema: int | None = None  # the version of the schema that was examined
        self._follows = follows
        self._looker: Looker | None = None  # only for a process that may not write the file
        try:
            twin = None if readonly else self._share(path)
            if twin is None:
                fresh = path is None or self._inspect(path, create=create)
                self._file = OpenFile(path, self)
                self._open_first(fresh=fresh)
            else:  # each transaction checks whether these have changed
                self.revision, self._sound_schema = twin.revision, twin._sound_schema
                if path is not None and not self.allow_network and twin.allow_network:
                    refuse_network(path)
            _OPEN[id(self)] = self
            with in_use(), translated(self.name):
                self._attach()
        except BaseException:
            if hasattr(self, "_file"):  # else it was refused before that
                self.close()
            raise

    def _share(self, path: Path | None) -> Database | None:
        """Return a database of this process that writes this very file; use its open file, too."""
        identity = None if path is None else identity_of(path)
        for other in list(_OPEN.values()):
            if (
                other.path == path
                and other._identity == identity is not None
                and other._looker is None
                and other._pid == self._pid
            ):
                self._file = other._file  # first: whatever interrupts this, `close` leaves it
                if self._file.share(self):
                    return other
        return None

    def _inspect(self, path: Path, *, create: bool) -> bool:
        """Refuse what is no file of ours; return whether the file has to be made."""
        if not (self.readonly or self.allow_network):
            refuse_network(path)
        fresh = inspect(path, readonly=self.readonly, create=create and not self.readonly)
        if not self.readonly:
            refuse_second_name(path)
            parts.sweep(path)
        return fresh

    def _open_first(self, *, fresh: bool) -> None:
        """Open a file that no other database of this process writes."""
        path = self.path
        if path is not None:
            writes = fresh or can_write(path)
            if not (self.readonly or writes or is_open_here(path)):
                take_over(path)
            if self.readonly or not writes:
                engine = functools.partial(engine_of, timeout=failures.PATIENCE)
                self._looker = Looker(path, engine)
        with in_use(), translated(self.name):
            self._prepare(fresh=fresh)

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
        with self._using(), translated(self.name):
            self._follow()
            self._check_wal()
            connection = patiently(self._file.engine.connect)
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
        with self._using():
            self._require_writer()
            self._follow()
            self._check_file()
            with translated(self.name):
                self._check_wal()
                file = self._file
                connection = patiently(file.writing.connect)
                with file.alone() as begin, connection:
                    # The pragma reads the file, and can get SQLITE_BUSY while another process
                    # opens it.
                    level = "FULL" if durable else "NORMAL"
                    set_level = functools.partial(self._set_synchronous, connection, level)
                    patiently(set_level, longest=0.008, patience=patience)
                    # Not by SQLite's busy timeout, which sleeps longer and longer: a writer that
                    # has waited long sleeps on while others pass it. And not by `connection.begin`,
                    # which takes ten times as long to fail.
                    file.turns.take(functools.partial(begin, raw_of(connection)), patience)
                    self._check_schema(connection)  # others may have changed it meanwhile
                    try:
                        yield connection
                    except _SURPRISES as error:
                        self._blame(connection, error)
                        raise
                    # Not by SQLAlchemy, which turns Ctrl-C during a commit into an AssertionError.
                    raw_of(connection).commit()
            if file.is_lost():
                raise WalLost(
                    f"{file.wal} was deleted or replaced while {self.name} was being "
                    "written: nothing else than this program may touch it. It is written again"
                )
            if file.wal_size() > _CHECKPOINT_BYTES:
                self.checkpoint()

    def sync(self) -> None:
        """Wait until the disk has all commits, of any process.

        Each commit is in the WAL, or SQLite copied it from there to the file and synced that. An
        empty commit would not do: SQLite syncs nothing for it.
        """
        self._check_process()
        with self._using(), translated(self.name):
            self._check_wal()
            self._file.sync()

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
        with self._using(), translated(self.name):
            return self._file.version()

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
        """Count a use of connections; the last use of a database closed meanwhile detaches it.

        The single connection of a database in memory is for one thread at a time.
        """
        token = object()
        self._users[token] = threading.get_ident()
        try:
            self._check_process()
            with in_use(), self._lock if self.path is None else nullcontext():
                yield
        finally:
            self._users.pop(token, None)
            if self._closed and not self._users:
                self._detach()

    def _attach(self) -> None:
        """Note the identity of the file, which is in order; a writer also holds its WAL."""
        identity = None if self.path is None else identity_of(self.path)
        if identity is not None and self._looker is None:
            self._file.hold(identity)
        self._identity = identity  # last: from now on others of this process share the file

    def _detach(self) -> None:
        with in_use():
            if self._looker is not None:
                self._looker.close()
            self._file.leave(self)

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
            self._file.leave(self)
            self._file, self._sound_schema = OpenFile(self.path, self), None
            self._prepare(fresh=False)
            self._attach()

    # -- the WAL ----------------------------------------------------------------------------

    def _check_wal(self) -> None:
        """Before a read or write, reopen the file if others find another WAL than ours."""
        if self._file.is_lost():
            with self._lock:
                self._begin_anew()

    def _begin_anew(self) -> None:
        """Close every connection of this process to the file, and open it again.

        Raises `WalLost` as long as some are in use. While one is left, SQLite would let new
        connections share its state of a WAL that is gone.
        """
        wal = self._file.wal
        assert wal is not None  # noqa: S101 - it is lost
        mine = [each for each in list(_OPEN.values()) if each.identity == self._identity]
        files = {each._file for each in mine}
        # If no file has the WAL's name, no process has opened the database since. So the lost WAL
        # still continues the file.
        saved = identity_of(wal) is None and any(file.salvage() for file in files)
        for each in mine:
            if each._looker is not None:
                each._looker.close()
        for file in files:
            file.dispose()
        uris = {file.uri for file in files}
        if any(map(is_connected, uris.union(*(uris_shared(each.path) for each in mine)))):
            raise WalLost(
                f"{wal} was deleted or replaced while {self.name} was open: what is being "
                "read from it here must end before it can be opened again"
            )
        for file in files:
            file.forget_wal()
        for file in files:
            file.settle()
        for each in mine:
            each.notice = (
                f"somebody deleted or replaced {wal}, which belongs to {self.name} while it "
                "is open; " + (
                    "what it held was saved" if saved else
                    "what was committed to it and not yet copied to the file is lost"
                )
            )  # fmt: skip

    def checkpoint(self) -> None:
        """Copy the WAL into the file, as far as readers allow.

        If that fails, a later checkpoint does it: a commit stays a commit.
        """
        if self._looker is not None:
            return
        with (
            suppress(sqlite3.Error),
            self._file.alone() as begin,
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
            self._file.alone() as begin,
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

    # -- opening ----------------------------------------------------------------------------

    @contextmanager
    def _raw_connection(self, timeout: float | None = None) -> Iterator[sqlite3.Connection]:
        seconds = failures.PATIENCE if timeout is None else timeout
        with in_use(), closing(connect(self._file.uri, seconds)) as connection:
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
        return self._file.engine.execution_options(traininglog_begin="BEGIN IMMEDIATE")

    def _is_blank(self) -> bool:
        """Return whether the file is empty.

        It is if a process was killed while it made the file, after SQLite has rolled that back.
        """
        with self._file.engine.connect() as connection, patiently(connection.begin):
            return revisions.is_blank(connection)

    def _set_wal(self) -> None:
        with self._raw_connection() as connection:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode = WAL").fetchall()

    def _check_revision(self) -> None:
        with (
            distrustful(self.name),
            self._file.engine.connect() as connection,
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


def _after_fork_in_child() -> None:
    # While these connections are open, SQLite believes that this process has the locks, which the
    # parent kept. So it would take none for a file that is opened here. Closing them is harmless:
    # the parent's locks stay.
    for database in list(_OPEN.values()):
        if database._looker is not None:
            database._looker.close()
        database._file.forget()


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


def _pragma(connection: Connection, text: str) -> None:
    raw_of(connection).execute(f"PRAGMA {text}").close()
