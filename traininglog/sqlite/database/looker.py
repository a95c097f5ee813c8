"""Reading a file without changing anything for others, in a process that may not write it.

A reader of a WAL database shares memory with other processes, through files beside it. If there are
none, SQLite makes them. A process that may only read the database must not make them, even if the
folder allows it: the next writer could not use files of another user. So a looker reads in one of
three ways:

* If another process has the file open, the looker shares its files, and makes none.
* If no process has, the looker reads the file as one that cannot change (``immutable``), and
  compares the file's stamp before and after. If the file changed meanwhile, it reads again.
* If neither works, the looker reads a copy of its own. But the owner of the file, and root, let
  SQLite make its files, as these are of use for others, too.

The way to read is right for a moment only. So the looker judges it anew at each look.
"""

from __future__ import annotations

import functools
import os
import shutil
import sqlite3
import stat
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

from traininglog.errors import StoreFailed, StoreLocked, StoreNotFound, StoreUnwritable
from traininglog.side_files import may
from traininglog.sqlite.database.live_wal import Guard
from traininglog.sqlite.file.connections import connect, is_connected, number_of, raw_of
from traininglog.sqlite.file.failures import PATIENCE, code_of, patiently
from traininglog.sqlite.file.header import beside_real, is_usable, makes_for_others, stat_of

# How often a look is repeated that a change interrupted, and after how many tries it uses a copy.
_TRIES = 6
_COPY_FROM = 2

# Two changes within one tick of the clock leave the same time with the file. The ticks, in seconds:
# of the kernel, and of a file system that notes whole seconds.
_TICK = 0.012
_LONG_TICK = 2.1

# The parts of a URI for sharing the files that other processes have open.
_SHARED = "mode=ro"
_MAKES_NOTHING = "&readonly_shm=1"

_T = TypeVar("_T")
_P = ParamSpec("_P")
_Reader = TypeVar("_Reader")

#: Examines a file, through a connection to it, before it is read.
Renewed = Callable[[Connection], None]


class ChangedMeanwhile(StoreLocked):
    """Others changed the file while it was read, so that the result is not valid."""

    code = "changed-meanwhile"


class Stamp(NamedTuple):
    """Facts of a file that differ after it was changed or replaced."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


class Look(NamedTuple):
    """How a file can be read at the moment."""

    real: Path  #: the database itself, where links lead
    uri: str | None  #: for SQLite; None: only by a copy
    identity: tuple[int, int]  #: device and inode of the database
    parts: tuple[Stamp | None, ...]  #: must not change: until the end of a look, or while copying
    verified: bool = False  #: whether `parts` are compared at the end of a look


def can_write(path: Path) -> bool:
    """Return whether this process may write a database, with the files that SQLite needs."""
    real = path.resolve()
    if not (may(real, os.W_OK) and is_usable(real)):
        return False
    there = [found for found in beside_real(real) if stat_of(found) is not None]
    return len(there) == 2 or may(real.parent, os.W_OK | os.X_OK)


def judge(path: Path, *, steadily: bool = False) -> Look:
    """Return how a file can be read now; with `steadily`, never by a look that is verified.

    Raises `StoreNotFound`.
    """
    real = path.resolve()
    found = _settled(real)
    if found is None:
        raise StoreNotFound(f"there is no {path} any more: it was removed or renamed")
    identity = found.st_dev, found.st_ino
    # After the file itself: a process that is killed while it changes it leaves a WAL or a journal.
    paths = beside_real(real)
    wal, shm = map(stat_of, paths)
    journal = stat_of(real.with_name(real.name + "-journal"))
    uri = real.as_uri()
    makes = makes_for_others(real, found)
    if journal is None or not journal.st_size:
        if wal is not None and shm is not None and all(may(p, os.R_OK) for p in paths):
            # All connections of a process share the memory, so one that may not write it hinders
            # the others.
            making = "" if makes or may(real, os.W_OK) else _MAKES_NOTHING
            return Look(real, f"{uri}?{_SHARED}{making}", identity, (_identity_stamp(wal),))
        if (wal is None or not wal.st_size) and not steadily:
            return Look(real, f"{uri}?immutable=1", identity, (_stamp(found),), verified=True)
    if makes:
        return Look(real, f"{uri}?{_SHARED}", identity, (_identity_stamp(wal),))
    parts = tuple(stamp(part) for part in _copied_parts(real))
    return Look(real, None, identity, parts)


def uris_shared(path: Path | None) -> tuple[str, ...]:
    """Return the URIs by which lookers share the files of the writers of a database."""
    if path is None:
        return ()
    uri = path.resolve().as_uri()
    return f"{uri}?{_SHARED}", f"{uri}?{_SHARED}{_MAKES_NOTHING}"


def stamp(path: Path) -> Stamp | None:
    """Return the stamp of a file; None if there is no file."""
    found = stat_of(path)
    return None if found is None else _stamp(found)


def _stamp(found: os.stat_result) -> Stamp:
    return Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _identity_stamp(found: os.stat_result | None) -> Stamp | None:
    return None if found is None else Stamp(found.st_dev, found.st_ino, 0, 0, 0)


def _settled(path: Path) -> os.stat_result | None:
    """Wait until any further change gives a file another stamp, and return its facts.

    If another process has the file open, there is no wait: its WAL tells of changes.
    """
    found = stat_of(path)
    for _ in range(10):
        if found is None:
            break
        whole = not (found.st_mtime_ns % 10**9 or found.st_ctime_ns % 10**9)
        tick = _LONG_TICK if whole else _TICK
        age = time.time() - max(found.st_mtime, found.st_ctime)
        if not 0 <= age < tick or all(stat_of(each) is not None for each in beside_real(path)):
            break
        time.sleep(tick - age)
        found = stat_of(path)
    return found


def _copied_parts(real: Path) -> list[Path]:
    return [real.with_name(real.name + ending) for ending in ("", "-wal", "-journal")]


class Looker:
    """The connections of a process that may not write a file, and its present way to read it.

    Args:
        path: The file.
        make_engine: Returns an engine for a URI.

    """

    def __init__(self, path: Path, make_engine: Callable[[str], Engine]) -> None:
        self._path = path
        self._make_engine = make_engine
        self._lock = threading.RLock()
        self._look: Look | None = None
        self._engine: Engine | None = None
        self._schema: int | None = None
        self._folder: tuple[str, int] | None = None  # of the copy, and the process that made it
        self._guard: Guard | None = None
        self._watch: sqlite3.Connection | None = None  # asks whether others have written
        self._unsteady = 0  # how many looks in a row a change interrupted

    @property
    def identity(self) -> tuple[int, int] | None:
        """Device and inode of the file that was read last."""
        return None if self._look is None else self._look.identity

    @contextmanager
    def reading(self, renewed: Renewed, *, lasting: bool = False) -> Iterator[Connection]:
        """Yield a connection that reads one snapshot of the file.

        Args:
            renewed: Called with the connection, before it is used, if the file is another one than
                at the last look, or its schema was changed. It raises if the file must not be read.
            lasting: The caller uses the values before the exit, and cannot read them again.

        Raises:
            ChangedMeanwhile: On exit: others changed the file.

        """
        connection, look = self._begun(renewed, lasting=lasting)
        with connection:
            try:
                yield connection
            except Exception as error:
                if self._is_overtaken(look):  # the change may be the cause
                    raise self._changed() from error
                raise
            finally:
                connection.rollback()
        if self._is_overtaken(look):
            raise self._changed()
        self._unsteady = 0

    def version(self) -> object:
        """Return a token that changes with each write to the file; None: that takes a look."""
        look = judge(self._path)
        with self._lock:
            if self._engine is None or not self._is_as_before(look):
                return None
            if look.uri is None or look.verified:
                return look
            try:
                if self._watch is None:
                    self._watch = connect(look.uri, PATIENCE)
                (version,) = self._watch.execute("PRAGMA data_version").fetchall()[0]
            except sqlite3.DatabaseError:  # a look then raises the error, if it lasts
                return None
            return number_of(self._watch), version

    def _is_overtaken(self, look: Look) -> bool:
        return look.verified and (stamp(look.real),) != look.parts

    def _changed(self) -> ChangedMeanwhile:
        self._unsteady += 1
        return ChangedMeanwhile(
            f"{self._path} was changed while it was read; nothing is lost, try again"
        )

    def _begun(self, renewed: Renewed, *, lasting: bool) -> tuple[Connection, Look]:
        """Return a connection in a transaction, and its way to read the file."""
        refused: Exception | None = None
        for turn in range(_TRIES):
            steadily = lasting or self._unsteady >= _COPY_FROM or turn >= _COPY_FROM
            look = judge(self._path, steadily=steadily)
            before = stat_of(beside_real(look.real)[0])
            connection = None
            try:
                engine = self._at(look)
                connection = patiently(engine.connect)
                patiently(connection.begin)
                self._check(connection, renewed)
                self._keep(look)
            except (DBAPIError, sqlite3.DatabaseError) as error:
                if connection is not None:
                    connection.close()
                self._drop()
                if not self._is_passing(error, look):
                    raise
                refused = error
            except BaseException:
                if connection is not None:
                    connection.close()
                raise
            else:
                return connection, look
            finally:
                self._take_back(before, look)
        assert refused is not None  # noqa: S101 - else there is a connection
        raise refused

    def _is_passing(self, error: Exception, look: Look) -> bool:
        """Return whether other processes may have caused an error, so that a new look may work."""
        if code_of(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            return True
        return self._is_overtaken(look)

    def _take_back(self, before: os.stat_result | None, look: Look) -> None:
        """Remove an empty WAL that SQLite made because the others' WAL had just been deleted."""
        if look.uri is None or not look.uri.endswith(_MAKES_NOTHING):
            return
        wal, shm = beside_real(look.real)
        found = stat_of(wal)
        if (
            found is not None
            and (before is None or found.st_ino != before.st_ino)
            and found.st_uid == os.geteuid()
            and not found.st_size
            and stat_of(shm) is None  # else another process uses it
        ):
            self._drop()
            with suppress(OSError):
                wal.unlink()

    def _check(self, connection: Connection, renewed: Renewed) -> None:
        """Begin to read; call `renewed` if the file or its schema is not the known one."""
        raw = raw_of(connection)
        schema = raw.execute("PRAGMA schema_version").fetchone()[0]
        if schema != self._schema:
            renewed(connection)
            self._schema = schema

    # -- engines ----------------------------------------------------------------------------

    def _at(self, look: Look) -> Engine:
        """Return the engine for a look: the same as before, if nothing has changed."""
        with self._lock:
            if self._engine is not None and self._is_as_before(look):
                return self._engine
            self._drop()
            if self._guard is not None and not any(map(is_connected, uris_shared(self._path))):
                self._unguard()  # it may guard another file, or shared memory that was replaced
            uri = look.uri or self._copy(look)
            self._engine, self._look, self._schema = self._make_engine(uri), look, None
            return self._engine

    def _is_as_before(self, look: Look) -> bool:
        known = self._look
        if known is None or known.uri != look.uri or known.identity != look.identity:
            return False
        if known.parts == look.parts:
            return True
        if look.uri is not None and not look.verified and known.parts == (None,):
            self._look = look  # our own connection made the WAL
            return True
        return False

    def _drop(self) -> None:
        """Close the engine; reads that are in progress finish."""
        with self._lock:
            watch, self._watch = self._watch, None
            if watch is not None:
                watch.close()
            engine, self._engine = self._engine, None
            if engine is not None:
                engine.dispose()
            folder, self._folder = self._folder, None
            if folder is not None:
                _remove(*folder)

    def close(self) -> None:
        """Close the file, for good or until the next look."""
        self._drop()
        self._unguard()

    # -- locks that others see --------------------------------------------------------------

    def _keep(self, look: Look) -> None:
        """Hold the locks that tell others that the file is open here; see `live_wal`."""
        if look.uri is None or look.verified:
            return
        guard = self._guard
        if guard is None:
            guard = self._guard = Guard.of(self._path, look.identity)
        guard.hold()

    def _unguard(self) -> None:
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.leave()

    # -- a copy -----------------------------------------------------------------------------

    def _copy(self, look: Look) -> str:
        """Copy the file with its WAL and rollback journal, and return the URI of the copy."""
        real = self._path.resolve()
        try:
            folder = tempfile.mkdtemp(prefix="traininglog-look-")
        except OSError as error:
            raise self._not_copied(tempfile.gettempdir(), error) from error
        self._folder = folder, os.getpid()
        weakref.finalize(self, _remove, *self._folder)
        target = Path(folder, "copy")
        try:
            # By SQLite: opening and closing it as a plain file would drop SQLite's locks on it.
            with (
                closing(sqlite3.connect(f"{real.as_uri()}?immutable=1", uri=True)) as source,
                closing(sqlite3.connect(target)) as made,
            ):
                source.backup(made)
            for part, stamped in zip(_copied_parts(real)[1:], look.parts[1:], strict=True):
                if stamped is not None and stat.S_ISREG(part.stat().st_mode):
                    shutil.copyfile(part, target.with_name(part.name.replace(real.name, "copy", 1)))
        except PermissionError as error:
            raise StoreUnwritable(
                f"{error.filename} cannot be read, and holds what was written last to "
                f"{self._path}; check its permissions"
            ) from error
        except (OSError, sqlite3.DatabaseError) as error:
            if tuple(map(stamp, _copied_parts(real))) != look.parts:
                raise self._changed() from error
            raise self._not_copied(folder, error) from error
        if tuple(map(stamp, _copied_parts(real))) != look.parts:
            raise self._changed()
        return f"{target.as_uri()}?mode=rw"

    def _not_copied(self, folder: str, error: Exception) -> StoreFailed:
        return StoreFailed(
            f"{self._path} must be copied to be read, as others left it in the middle of their "
            f"work, and cannot be copied to {folder} ({error}): set TMPDIR to a folder with room, "
            "or open it once as a user who may write it"
        )


def _remove(folder: str, pid: int) -> None:
    if os.getpid() == pid:  # a forked child leaves its parent's folder alone
        shutil.rmtree(folder, ignore_errors=True)


def steadily(act: Callable[[], _T]) -> _T:
    """Call `act`, which only reads, again after each `ChangedMeanwhile`, a few times."""
    for _ in range(_TRIES - 1):
        with suppress(ChangedMeanwhile):
            return act()
    return act()


def steady(
    method: Callable[Concatenate[_Reader, _P], _T],
) -> Callable[Concatenate[_Reader, _P], _T]:
    """Decorate a method that only reads: repeat it if others change the file meanwhile."""

    @functools.wraps(method)
    def repeated(self: _Reader, /, *args: _P.args, **options: _P.kwargs) -> _T:
        return steadily(lambda: method(self, *args, **options))

    return repeated
