"""`SQLiteLog`: a training log in a SQLite file that may hold any number of runs."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from time import time as wall_now
from typing import Any, Unpack
from uuid import UUID

from sqlalchemy import Connection

from traininglog.base import Reduced
from traininglog.clock import Clock, Marks
from traininglog.columns import Column, Point, layer_of_rows
from traininglog.config import Durability, OnFull, settings
from traininglog.encoding import HIDDEN
from traininglog.errors import LogClosed, RunNotFound
from traininglog.identity import About, described
from traininglog.imported import Ending, Imported, Outcome
from traininglog.journal.reader import journal_path
from traininglog.lineage import Ancestor, Descent, new_status, new_uuid
from traininglog.selection import bounds
from traininglog.sql import reading
from traininglog.sql.lineage_chain import Chain
from traininglog.sql.segment_cache import SegmentCache
from traininglog.sqlite.database.database import Database
from traininglog.sqlite.database.looker import steady
from traininglog.sqlite.file.failures import MEMORY
from traininglog.sqlite.file.header import locate, stamp_of
from traininglog.sqlite.sink.recovery import recover
from traininglog.sqlite.sink.sink import SQLiteSink
from traininglog.values import MAX_TIME, check_uuid
from traininglog.writer.buffer import Place
from traininglog.writer.log import WriterLog, check_opening, why_readonly
from traininglog.writer.owner import Owner
from traininglog.writer.sink import Birth
from traininglog.writer.writer import Writer

Rows = dict[int, dict[str, Any]]


class SQLiteLog(WriterLog):
    """A training log in one SQLite file, beside any number of other runs.

    This object returns an assigned value at once. Other processes see it after the next flush. A
    thread flushes every quarter of a second; `flush`, `close` and the end of the log or of the
    interpreter flush, too.

    Any number of processes may write runs of their own to the same file, and read every run. They
    wait for each other for the milliseconds that a flush takes.

    Args:
        store: The path of the file, ``"sqlite:///path"`` or ``":memory:"``; by default the
            configured store (``TRAININGLOG_STORE``, a TOML file, else ``traininglog.db`` here). For
            a new run, the file is made if it does not exist.
        uuid: The run to open; by default a new one.
        resume: Resume the run on opening, at its last time or at `at`.
        at: The resume point; implies `resume`.
        durability: ``"process"``: an assigned value survives ``kill -9``, by the write-ahead
            journal. ``"buffered"``: no journal. ``"power"``: as ``"process"``, and every flush
            waits for the disk.
        seal: Move numbers from rows to packed segments (compaction), many at a time and at the end
            of the run. Segments take a quarter of the room and are read twenty times as fast. False
            keeps numbers as rows of the table ``entries``, for people who read them with SQL.
        readonly: Never write. The file may then have a newer schema, or not be writable.
        takeover: Take the run from a process that is writing it. That process gets `RunTakenOver`.
            The run keeps what that process assigned so far; what it assigns afterwards becomes
            another run.
        max_value_bytes: The largest size of one text, bytes, array or container.
        max_pending_bytes: How many bytes may wait, in the journal and in memory, while the file
            cannot be written.
        on_full: What to do with an assignment beyond that: ``"raise"``, or ``"drop"`` it and record
            in ``status["_dropped"]`` how many were dropped, and from which to which time.
        allow_network: Write even on a network file system, which is unsafe.
        created: When the new run began, in unix seconds or as a `datetime` with a time zone. It is
            for a run that happened elsewhere or earlier. Any of `created`, `host` and `outcome`
            makes the run an import: only `mark` says when its rows were logged, and its latest mark
            is when it was last updated.
        host: Where the imported run ran.
        outcome: How the imported run ended, ``"finished"``, ``"failed"`` or ``"lost"``. This is its
            state once this log is closed. An exception that leaves the log makes it ``"failed"``.
        part_of: The run that the new run accompanies, as a rank of a distributed training does.
            It is no experiment of its own: no list of experiments shows or counts it.
            `Store.parts` finds it through the run that it accompanies.
        about: What the run is, all of it kept in its status: ``name``; ``config`` (nested dicts, a
            dataclass, an `argparse.Namespace`, a pydantic or attrs model, an OmegaConf
            configuration); ``tags`` (a dict, or names); ``notes``; ``groups`` (names). A run that
            is resumed inherits them. Given for a run that is there, they replace what it has.

    Raises:
        RunNotFound: The file does not hold the run.
        RunBusy: At the first assignment: another process is writing the run.
        NetworkFileSystem: The file is on a network file system, and would be written.
        NotATrainingLog, StoreNotFound, StoreUnwritable, SchemaTooNew: The file cannot be used. It
            is left unchanged.

    """

    def __init__(
        self,
        store: str | Path | None = None,
        uuid: UUID | str | None = None,
        *,
        resume: bool = False,
        at: int | None = None,
        durability: Durability | None = None,
        seal: bool | None = None,
        readonly: bool = False,
        takeover: bool = False,
        max_value_bytes: int | None = None,
        max_pending_bytes: int | None = None,
        on_full: OnFull | None = None,
        allow_network: bool | None = None,
        created: float | datetime | None = None,
        host: str | None = None,
        outcome: Ending | None = None,
        part_of: UUID | str | None = None,
        **about: Unpack[About],
    ) -> None:
        imported = Imported.of(created, host, outcome)
        named = {} if isinstance(store, Path) else {"store": store}
        options = settings(
            durability=durability,
            seal=seal,
            max_pending_bytes=max_pending_bytes,
            on_full=on_full,
            max_value_bytes=max_value_bytes,
            allow_network=allow_network,
            **named,
        )
        self._max_value_bytes = options.pop("max_value_bytes")
        self._about = described(about, self._max_value_bytes) if about else {}
        if readonly and self._about:
            raise ValueError(f"{next(iter(self._about))} is written: leave out readonly=True")
        path = store.absolute() if isinstance(store, Path) else locate(options.pop("store"))
        wanted, point = check_opening(
            uuid, at, resume=resume, readonly=readonly, takeover=takeover, imported=imported,
            advice=" (a Store lists the runs of a file)",
        )  # fmt: skip
        accompanied = None if part_of is None else check_uuid(part_of)
        if accompanied is not None and wanted is not None:
            raise ValueError("part_of is said of a new run: leave out the UUID")
        opened = Database(
            path, readonly=readonly, create=wanted is None,
            allow_network=options.pop("allow_network"),
        )  # fmt: skip
        try:
            self._start(opened, wanted or new_uuid(), options, takeover=takeover)
            if wanted is None:
                status = new_status() | self._about
                self._writer.create(
                    Birth(self.uuid, status, imported=imported, part_of=accompanied)
                )
            else:
                self._find(wanted)
                self._writer.open()
            if resume or at is not None:
                self._imported = imported
                self.resume(point)
            if wanted is not None and self._about:
                self.status.update(self._about)
        except BaseException:
            opened.close()
            raise

    def _start(
        self, database: Database, uuid: UUID, options: dict[str, Any], *, takeover: bool = False
    ) -> None:
        self._database = database
        self._options = options
        path, durability = database.path, options["durability"]
        place = None
        if path is not None and durability != "buffered":
            place = Place(path, functools.partial(journal_path, path))
        self._sink = sink = SQLiteSink(
            database, durable=durability == "power", seals=options["seal"]
        )
        recover(database, sink.owners)
        owner = Owner(database.name) if sink.owners is None else sink.owners.owner
        writer = Writer(
            owner, sink, uuid, name=database.name, place=place,
            why_readonly=why_readonly(uuid) if database.readonly else None,
            takeover=takeover, max_pending_bytes=options["max_pending_bytes"],
            on_full=options["on_full"],
            may_wait=None if path is not None else lambda: not database.is_used_here,
            ended=functools.partial(_ended, database, sink),
        )  # fmt: skip
        sink.warn = writer.warn
        self._write_through(writer)
        self._run_id: int | None = None  # the number of the run in the file, once looked up
        self._run_uuid: UUID | None = None  # the run that `_run_id` belongs to
        self._chain: Chain | None = None
        self._chain_token: object = None
        # The row that was read last: its time, the version of the file, and the stored values. A
        # caller that goes through a row asks for each of its values.
        self._last_row: tuple[int, object, dict[str, Any]] | None = None
        self._last_status: tuple[object, dict[str, Any]] | None = None
        self._segments = SegmentCache()
        self._identity = database.identity

    @steady
    def _find(self, uuid: UUID) -> int:
        with self._database.read() as connection:
            number = reading.find_id(connection, uuid.hex)
        if number is None:
            raise RunNotFound(
                f"{self._database.name} holds no run {uuid.hex}; `traininglog runs` lists its runs"
            )
        return number

    # -- identity and lineage ---------------------------------------------------------------

    @steady
    def lineage(self) -> list[Ancestor]:
        """Return the runs from this one to the root, each with its resume point in its parent.

        A parent that is not in the file (only its child was copied here) comes last.
        """
        with self._reading() as (_, chain):
            links = chain.links
        found = [Ancestor(reading.stored_uuid(link.uuid), link.resumed_at) for link in links]
        unborn = self._writer.unborn
        if unborn is not None:
            found.insert(0, Ancestor(self.uuid, unborn.at))
        missing = links[-1].resumed_from
        if missing is not None:
            found.append(Ancestor(reading.stored_uuid(missing), None))
        return found

    def _descend(self, descent: Callable[[], Descent]) -> None:
        super()._descend(descent)
        self._chain = self._last_row = None

    # -- lifecycle --------------------------------------------------------------------------

    def seal(self) -> None:
        """Flush, and compact the numbers of the run into segments; see `Store.seal`."""
        self._writer.flush_and(self._sink.seal)

    def _close(self, outcome: Outcome) -> None:
        try:
            super()._close(outcome)
        finally:
            if self._writer.closed and self._database.path is None:
                self._finalizer = weakref.finalize(self, self._database.close)

    # -- reading ----------------------------------------------------------------------------

    @contextmanager
    def _connected(self) -> Iterator[tuple[Connection, object]]:
        """Yield a connection to read from, and a token that changes with each write (or None).

        A closed log holds no file open: this opens the file, and closes it again.
        """
        self._writer.check_readable()
        with ExitStack() as stack:
            token: object = None
            try:
                if not self._database.closed:
                    connection = stack.enter_context(self._database.read())
                    token = self._database.change_token(connection)
            except LogClosed:  # another thread has just closed it
                pass
            if token is None:
                database = stack.enter_context(self._reopened())
                connection = stack.enter_context(database.read())
            yield connection, token

    @contextmanager
    def _reopened(self) -> Iterator[Database]:
        old = self._database
        database = Database(old.path, readonly=True, allow_network=old.allow_network)
        try:
            if self._writer.left:
                recover(database)
            yield database
        finally:
            database.close()

    def _number(self, connection: Connection) -> int:
        """Return the number that the run has in the file, or -1."""
        identity, uuid = self._database.identity, self.uuid
        if identity != self._identity:  # the path names another file since
            self._chain, self._segments, self._identity = None, SegmentCache(), identity
            self._run_uuid = None
        if uuid != self._run_uuid or self._run_id is None:
            self._run_id, self._run_uuid = reading.find_id(connection, uuid.hex), uuid
        return -1 if self._run_id is None else self._run_id

    def _version(self) -> object:
        """Return a token that changes with each write to the file."""
        try:
            return self._database.version()
        except LogClosed:
            found = stamp_of(self._database.path)
            return object() if found is None else found

    @contextmanager
    def _reading(self) -> Iterator[tuple[Connection, Chain]]:
        """Yield a connection, and the chain of runs as its transaction sees it."""
        writer = self._writer
        with self._connected() as (connection, token):
            chain = self._chain
            if chain is None or token is None or token != self._chain_token:
                unborn = writer.unborn
                if unborn is None or unborn.parent is None or unborn.at is None:
                    chain = Chain(connection, self._number(connection), cache=self._segments)
                else:
                    number = reading.find_id(connection, unborn.parent.hex)
                    chain = Chain(connection, number or -1, unborn.at, self._segments)
                if not chain.links:
                    raise RunNotFound(f"run {self.h_uuid} was deleted from {self._database.name}")
                self._chain, self._chain_token = chain, token
            yield connection, chain

    @steady
    def _read_status(self) -> dict[str, Any]:
        writer = self._writer
        writer.check_readable()
        status = self._read_back.status()
        if status is not None:
            return status
        closed = self._database.closed  # then each read opens the file, and there are several
        version = self._version() if closed else None
        last = self._last_status
        if closed and last is not None and last[0] == version:
            return last[1]
        with self._connected() as (connection, _):
            found = reading.read_status(connection, self._number(connection))
        self._last_status = (version, found) if closed else None
        return found

    def _stored_status_value(self, key: str) -> Any:
        if self._database.closed:
            return self._read_status().get(key, HIDDEN)
        with self._connected() as (connection, _):
            return reading.read_status_value(connection, self._number(connection), key)

    @steady
    def _stored_value(self, time: int, key: str) -> Any:
        last = self._last_row
        if last is not None and last[0] == time and last[1] == self._version():
            return last[2].get(key, HIDDEN)
        with self._reading() as (connection, chain):
            return reading.read_value(connection, chain, time, key)

    @steady
    def _read_row(self, time: int) -> dict[str, Any]:
        pending = self._read_back.row(time)
        self._writer.check_readable()
        version = self._version()  # before the read: a write meanwhile changes it
        with self._reading() as (connection, chain):
            stored = reading.read_row(connection, chain, time)
            seen = stored | pending
            order = self._in_order(connection, chain, seen) if seen else []
        self._last_row = time, version, stored
        return {key: seen[key] for key in order if seen[key] is not HIDDEN}

    def _in_order(
        self, connection: Connection, chain: Chain, keys: Collection[str] | None = None
    ) -> list[str]:
        """Return some keys (None: all) as first seen; unflushed values may have new keys."""
        places, new = chain.places(connection), self._buffer.numbers
        if keys is None:
            return list(dict.fromkeys([*places, *new]))
        count = len(places)
        return sorted(keys, key=lambda key: places.get(key, count + new.get(key, 0)))

    @steady
    def _read_times(self, start: int | None, stop: int | None) -> list[int]:
        low, high = bounds(start, stop)
        pending = self._read_back.rows(low, high)
        with self._reading() as (connection, chain):
            found, doubtful = reading.read_times(connection, chain, low, high)
        doubtful.update(pending)
        found -= doubtful
        if len(doubtful) > 100:
            columns = self._read_columns(None, start, stop, lineage=True)
            return sorted(found | {time for column in columns for time in column.times})
        return sorted(found | {time for time in doubtful if self._read_row(time)})

    @steady
    def _read_columns(
        self, keys: list[str] | None, start: int | None, stop: int | None, *, lineage: bool
    ) -> list[Column]:
        low, high = bounds(start, stop)
        pending = self._read_back.rows(low, high)
        if keys is not None:
            wanted = frozenset(keys)
            pending = {
                time: {key: value for key, value in row.items() if key in wanted}
                for time, row in pending.items()
            }
        top = layer_of_rows(pending.items())
        with self._reading() as (connection, chain):
            own_only = not lineage and self._writer.unborn is None
            if not lineage and not own_only:
                low, high = 1, 0  # a run that is not in the file yet has no entries
            order = self._in_order(connection, chain)
            return reading.read_columns(
                connection, chain, keys, low, high, top, order, lineage=not own_only
            )

    @steady
    def _read_clock(self, *, lineage: bool) -> Clock:
        read_back = self._read_back
        pending, marks = read_back.rows(0, MAX_TIME), read_back.marks()
        with self._reading() as (connection, chain):
            unborn = self._writer.unborn is not None
            if unborn and not lineage:
                return Clock(None, [])  # a run that is not in the file yet has no marks
            clock = reading.read_clock(connection, chain, lineage=lineage)
        own = clock.runs[-1]
        if marks and not unborn:
            known = dict(sorted((dict(zip(own.times, own.walls, strict=True)) | marks).items()))
            own = clock.runs[-1] = Marks(own.cut, list(known), list(known.values()))
        last = max(pending, default=-1)
        if not unborn and last > max(own.times, default=-1):
            clock.runs[-1] = Marks(own.cut, [*own.times, last], [*own.walls, wall_now()])
        return clock

    @steady
    def _read_keys(self) -> list[str]:
        pending = layer_of_rows(self._read_back.rows(0, MAX_TIME).items())
        with self._reading() as (connection, chain):
            found, doubtful = reading.read_keys(connection, chain)
            order = self._in_order(connection, chain)
        doubtful.update(pending)
        sure = set(found) - doubtful
        if doubtful:
            columns = self._read_columns(list(doubtful), None, None, lineage=True)
            sure.update(column.key for column in columns)
        return [key for key in order if key in sure]

    @steady
    def last(self, key: str) -> Point:
        """Return the last value of a key and its time. Raises `KeyError` if there is none."""
        pending = self._read_back.rows(0, MAX_TIME)
        if not any(key in row for row in pending.values()):
            with self._reading() as (connection, chain):
                found = reading.read_last_point(connection, chain, key)
            if found is not None:
                return found
        return super().last(key)

    def _own_last_time(self, pending: Rows, *, deleted: bool) -> int | None:
        """Return the last time, or None if only the ancestors of this run can tell.

        Mostly the run alone tells. So a run that is resumed again and again need not read all of
        its lineage each time.
        """
        if self._writer.unborn is not None:
            return None
        with self._connected() as (connection, _):
            links = Chain(connection, self._number(connection), alone=True).links
        if not links or links[0].hides or deleted:
            return None
        last = max(links[0].last, max(pending, default=-1))
        inherited = links[0].resumed_at
        return last if last >= 0 and (inherited is None or last >= inherited) else None

    @steady
    def _last_time(self) -> int | None:
        pending = self._read_back.rows(0, MAX_TIME)
        deleted = any(value is HIDDEN for row in pending.values() for value in row.values())
        last = self._own_last_time(pending, deleted=deleted)
        if last is not None:
            return last
        below = MAX_TIME
        while True:
            waiting = max((time for time in pending if time <= below), default=-1)
            with self._reading() as (connection, chain):
                last = max(waiting, reading.read_last_time(connection, chain, below))
                hides = deleted or any(link.hides for link in chain.links)
            if last < 0:
                return None
            if not hides or self._read_row(last):
                return last
            below = last - 1  # all values at this time are hidden

    # -- elsewhere --------------------------------------------------------------------------

    def _location(self) -> str:
        path = self._database.path
        return f"sqlite:///{MEMORY}" if path is None else f"sqlite:///{path}"

    def __reduce__(self) -> Reduced:
        path = self._database.path
        if path is None:
            raise TypeError(
                "a log in SQLite's :memory: cannot be pickled or copied: it is nowhere but in this "
                "object; use a file, or TrainingLog"
            )
        allow_network = self._database.allow_network
        return _restore, (
            str(path), self.state_dict(), self._options, self._max_value_bytes, allow_network
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<SQLiteLog {self.h_uuid} in {self._database.name}>"


def _restore(
    path: str, state: dict[str, Any], options: dict[str, Any], limit: int, allow_network: bool
) -> SQLiteLog:
    """Unpickle a log: open its file at the run and time of the state.

    The first write makes a child run.
    """
    log = SQLiteLog.__new__(SQLiteLog)
    log._max_value_bytes = limit
    uuid, at, status = log._checked_state(state)
    database = Database(Path(path), readonly=False, allow_network=allow_network)
    try:
        log._start(database, new_uuid(), options)
        log._find(uuid)
    except BaseException:
        database.close()
        raise
    log._writer.descend_later(Birth(log.uuid, status | {"resumed_from": uuid.hex}, uuid, at))
    return log


def _ended(database: Database, sink: SQLiteSink, *, taken_over: bool, gone: bool) -> None:
    """Close the file of a closed log, in the owner thread."""
    sink.owners = None  # the last user of an `Owners` closes its file
    if taken_over:
        recover(database)  # what was assigned since the takeover becomes a run of its own
    if gone or database.path is not None:  # a closed log keeps a database in memory, to be read
        database.close()
