"""`Store`: all the runs in one SQLite file."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self
from uuid import UUID

from sqlalchemy import Connection, select

from traininglog.config import setting
from traininglog.errors import (
    AmbiguousRun,
    InvalidUUID,
    RunBusy,
    RunHasChildren,
    RunNotFound,
    TrainingLogWarning,
)
from traininglog.kept import copy_all, copy_over, folder_of
from traininglog.selection import Mode, bounds, check_layout, modes, names
from traininglog.sql import listing, reading, writing
from traininglog.sql.choosing import Choice, choose
from traininglog.sql.many import columns_of_runs
from traininglog.sql.merging import is_part_of, merge_run
from traininglog.sql.merging_trials import merge_trials
from traininglog.sql.tables import runs
from traininglog.sql.trials import move_logs
from traininglog.sqlite.checking import Check, Size, check
from traininglog.sqlite.database import Database
from traininglog.sqlite.file import locate, wal_path
from traininglog.sqlite.log import SQLiteLog
from traininglog.sqlite.owners import Owners, writer_byte
from traininglog.sqlite.recovery import recover
from traininglog.sqlite.repairing import repair
from traininglog.sqlite.sealing import seal_run
from traininglog.sqlite.streaming import streaming
from traininglog.values import MAX_TIME

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: What a run tells of the process that wrote it last.
ORIGIN = ("host", "pid", "boot_id", "command", "versions")

State = Literal["running", "finished", "failed", "lost"]

#: Told how far a long piece of work has got: done, and of how many.
Progress = Callable[[int, int], None]


class Merged(NamedTuple):
    """What `Store.merge` did."""

    added: list[UUID]  #: runs that were not here before
    updated: list[UUID]  #: runs of which the other store knew more
    unchanged: list[UUID]
    trials: list[str]  #: the UIDs of the trials that are new here, or of which more is known


class Sealed(NamedTuple):
    """What `Store.seal` did."""

    runs: list[UUID]  #: of which something was moved
    running: list[UUID]  #: which are being written, and were left alone
    values: int  #: how many were moved
    before: int  #: the size of the file, in bytes
    after: int  #: what it is now


class Store:
    """All the runs in one file: list, find, read, merge, back up and delete them.

    A store only looks, until it is told to delete or merge. It sees what the logs have flushed.

    Args:
        database: The path of the file, or ``sqlite:///path``; by default the configured store.
        readonly: Never write, not even to upgrade an older file.
        create: Make the file where there is none.
        allow_network: Write even on a network file system, which is unsafe.

    Raises what `SQLiteLog` raises for a file that cannot be used, and `LogClosed` after `close()`.

    """

    def __init__(
        self,
        database: str | Path | None = None,
        *,
        readonly: bool = False,
        create: bool = False,
        allow_network: bool | None = None,
    ) -> None:
        path = database if isinstance(database, Path) else locate(setting("store", database))
        if path is None:
            raise ValueError("a database in memory belongs to one log: there are no others to list")
        self.path = path.absolute()
        self._database = Database(
            self.path, readonly=readonly, create=create, allow_network=allow_network
        )
        try:
            recover(self._database)
        except BaseException:
            self._database.close()
            raise
        self._owners = Owners.of(self.path)
        self._finalizer = weakref.finalize(self, self._database.close)

    def close(self) -> None:
        """Let go of the file. Closing a closed store does nothing."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Store {self.path}>"

    @property
    def revision(self) -> str:
        """The revision of the file's schema."""
        return self._database.revision

    @property
    def upgraded(self) -> tuple[str, Path] | None:
        """The revision that the file had before opening it here upgraded it, and its backup."""
        return self._database.upgraded

    # -- finding ----------------------------------------------------------------------------

    def find(self, prefix: str | UUID) -> UUID:
        """Return the one run whose UUID starts with `prefix` (dashes and case do not matter).

        Raises `RunNotFound`, or `AmbiguousRun` naming the candidates.
        """
        wanted = prefix.hex if isinstance(prefix, UUID) else str(prefix).replace("-", "").lower()
        if not wanted or len(wanted) > 32 or set(wanted) - set("0123456789abcdef"):
            raise InvalidUUID(f"a run is named by hex digits, not by {str(prefix)[:80]!r}")
        with self._database.read() as connection:
            found = connection.scalars(
                select(runs.c.uuid)
                .where(runs.c.uuid >= wanted, runs.c.uuid <= wanted + "g")
                .order_by(runs.c.uuid)
                .limit(11)
            ).all()
        if not found:
            raise RunNotFound(f"{self.path} holds no run {wanted}; `traininglog runs` lists them")
        if len(found) > 1:
            shown = ", ".join(found[:10]) + (", ..." if len(found) > 10 else "")
            raise AmbiguousRun(f"{wanted} may be any of {shown}: give more digits")
        return reading.stored_uuid(found[0])

    def log(self, uuid: UUID | str, **options: Any) -> SQLiteLog:
        """Open the log of a run, by its UUID or a prefix, with the options of `SQLiteLog`."""
        options.setdefault("allow_network", self._database.allow_network)
        return SQLiteLog(self.path, self.find(uuid), **options)

    def latest(self) -> UUID:
        """Return the run that was created last. Raises `RunNotFound` in an empty store."""
        with self._database.read() as connection:
            newest = connection.scalar(
                select(runs.c.uuid).order_by(runs.c.created.desc(), runs.c.id.desc()).limit(1)
            )
        if newest is None:
            raise RunNotFound(f"{self.path} holds no runs yet")
        return reading.stored_uuid(newest)

    def state(self, uuid: UUID | str) -> State:
        """Return how a run stands now; see `runs`."""
        wanted = self.find(uuid).hex
        owned = self._owned()
        with self._database.read() as connection:
            row = writing.find_run(connection, wanted)
        if row is None:
            raise RunNotFound(f"run {wanted} was deleted from {self.path} meanwhile")
        return self._state(row, owned)

    def origin(self, uuid: UUID | str) -> dict[str, Any]:
        """Return which process wrote a run last: host, pid, boot_id, command, versions."""
        wanted = self.find(uuid).hex
        with self._database.read() as connection:
            row = writing.find_run(connection, wanted)
        return {name: getattr(row, name) for name in ORIGIN}

    def _owned(self) -> set[int]:
        """Return the runs that are being written.

        To be asked before the rows are read that tell how the others ended: a run that is closed
        in between has its outcome by then, where the other way round it would seem lost.
        """
        with self._database.read() as connection:
            unended = connection.execute(
                select(runs.c.id, runs.c.epoch).where(runs.c.outcome.is_(None))
            ).all()
        return {row.id for row in unended if self._owners.alive(writer_byte(row.id, row.epoch))}

    def _state(self, row: Any, owned: set[int]) -> State:
        if row.id in owned and row.outcome is None:
            return "running"
        if row.outcome in ("finished", "failed"):
            ended: State = row.outcome
            return ended
        # Perhaps one that began after `owned` was asked for.
        return "running" if self._owners.alive(writer_byte(row.id, row.epoch)) else "lost"

    def runs(
        self,
        keys: str | Iterable[str] | None = None,
        *,
        state: State | None = None,
        name: str | None = None,
        limit: int | None = None,
        best: Mapping[str, Mode] | Iterable[str] | str | None = None,
    ) -> pd.DataFrame:
        """Return a DataFrame with a line per run, in the order in which they were created.

        Columns: ``uuid`` (32 hex digits), ``name`` (the status value of that key, if it is a text),
        ``state``, ``created`` and ``updated`` (UTC), ``host``, ``resumed_from``, ``resumed_at``,
        and of what the run itself logged the ``first`` and ``last`` time, the number of ``rows``
        and of ``values``. Then the last value of each key asked for, as the run sees it; a key that
        is called like one of these columns comes in a column ``log.<key>``. Then the best numbers
        asked for, as ``best.<key>``.

        The state is worked out now, not stored: ``running`` (a live process is writing it),
        ``finished`` (it was closed), ``failed`` (an exception left it), ``lost`` (its process is
        gone without a word).

        Args:
            keys: Names or globs of keys whose last values to show.
            state: Only runs in this state.
            name: Only runs whose name fits this glob.
            limit: Only so many, the latest.
            best: Keys whose smallest number to show; as a dict, to ``"min"`` or ``"max"``.

        Raises:
            KeyError: A name in `keys` or `best` that no run has.

        """
        from traininglog import frames

        patterns = names(keys) or []
        asked = modes(best)
        owned = self._owned()
        with self._database.read() as connection:
            known = listing.names(connection)
            chosen = [
                (line, self._state(line, owned))
                for line in listing.lines(connection)
                if name is None or fnmatchcase(known.get(line.id) or "", name)
            ]
            chosen = [(line, now) for line, now in chosen if state in (None, now)]
            if limit is not None:
                chosen = chosen[-limit:] if limit > 0 else []
            counts = listing.counts(connection, [line for line, _ in chosen])
            shown = listing.match(connection, patterns)
            listing.match(connection, asked)
            ends = listing.Ends(connection, {*shown, *asked})
            records, values = [], []
            for line, now in chosen:
                counted = counts.get(line.id, listing.Counts())
                record = {
                    "uuid": line.uuid, "name": known.get(line.id), "state": now,
                    "created": line.created, "updated": line.updated, "host": line.host,
                    "resumed_from": line.resumed_from, "resumed_at": line.resumed_at,
                    **counted._asdict(),
                }  # fmt: skip
                records.append(record)
                values.append([
                    *(ends.last(line, key) for key in shown),
                    *(ends.best(line, key, mode) for key, mode in asked.items()),
                ])  # fmt: skip
        headings = [f"log.{key}" if key in _COLUMNS else key for key in shown]
        headings += [f"best.{key}" for key in asked]
        return frames.table_of_runs(records, _COLUMNS, headings, values)

    def to_dataframe(
        self,
        runs: Iterable[UUID | str] | None = None,
        keys: str | Iterable[str] | None = None,
        start: int | None = None,
        stop: int | None = None,
        layout: Literal["long", "wide"] = "long",
        lineage: bool = True,
    ) -> pd.DataFrame:
        """Return many runs as one DataFrame.

        Args:
            runs: The runs to take, by UUID or prefix; by default all.
            keys: Names or globs of the keys to take; by default all. One that some run lacks is
                simply not there.
            start: The first time to take.
            stop: The time to stop before.
            layout: ``"long"``: the columns ``run`` (32 hex digits), ``time``, ``key``, ``value``, a
                row per value. ``"wide"``: a column per key, indexed by (run, time).
            lineage: Whether a resumed run includes what it sees of its ancestors.

        Raises:
            KeyError: A name in `keys` that no run has.

        """
        from traininglog import frames

        check_layout(layout)
        with self._choosing(runs, keys, start, stop) as (connection, choice):
            parts = list(columns_of_runs(connection, choice, lineage=lineage))
        return frames.long_of_runs(parts) if layout == "long" else frames.wide_of_runs(parts)

    def to_arrow(
        self,
        runs: Iterable[UUID | str] | None = None,
        keys: str | Iterable[str] | None = None,
        start: int | None = None,
        stop: int | None = None,
        layout: Literal["long", "wide"] = "long",
        lineage: bool = True,
    ) -> pa.Table:
        """Return many runs as one Arrow table, without pandas. Needs the extra ``parquet``.

        The arguments and the rows are those of `to_dataframe`, the columns those of
        `SQLiteLog.to_arrow` after a column ``run`` (32 hex digits).

        Raises:
            KeyError: A name in `keys` that no run has.
            MissingExtra: pyarrow is not installed.
            ValueError: Two columns would have one name, as that of the times and a key "time".

        """
        from traininglog import arrow

        check_layout(layout)
        whole = MAX_TIME  # of each run at once: all of it is wanted anyway
        with streaming(self, runs, keys, start, stop, lineage=lineage, most=whole) as stream:
            parts = stream.parts()
            return arrow.long_of_runs(parts) if layout == "long" else arrow.wide_of_runs(parts)

    @contextmanager
    def _choosing(
        self, runs: Iterable[UUID | str] | None, keys: str | Iterable[str] | None,
        start: int | None, stop: int | None,
    ) -> Iterator[tuple[Connection, Choice]]:  # fmt: skip
        """Give a connection to read from, and what is to be read by the arguments."""
        wanted = None if runs is None else [self.find(run).hex for run in runs]
        low, high = bounds(start, stop)
        with self._database.read() as connection:
            yield connection, choose(connection, wanted, names(keys), low, high)

    # -- changing ---------------------------------------------------------------------------

    def delete(self, uuid: UUID | str, *, descendants: bool = False) -> list[UUID]:
        """Delete a run for good, give its space back to the file system, and return what went.

        A trial that wrote the run stays. Its metrics are then those of the run that this one was
        resumed from, or it has none.

        Args:
            uuid: The run, or a prefix of its UUID.
            descendants: Delete the runs that were resumed from it, too.

        Raises:
            RunHasChildren: Others were resumed from the run, and `descendants` is False.
            RunBusy: The run, or one to be deleted with it, is being written.

        """
        root = self.find(uuid).hex
        with self._database.write() as connection:
            doomed = [row for row in [writing.find_run(connection, root)] if row is not None]
            for row in doomed:
                children = select(runs).where(
                    runs.c.resumed_from == row.uuid,
                    runs.c.id.not_in([known.id for known in doomed]),  # whatever a file may say
                )
                doomed.extend(connection.execute(children).all())
            if len(doomed) > 1 and not descendants:
                raise RunHasChildren(
                    f"{len(doomed) - 1} runs descend from {root} and read through it: "
                    f"{', '.join(row.uuid for row in doomed[1:6])}; delete them with it "
                    "(descendants=True) or keep it"
                )
            for row in doomed:
                self._refuse_live(row)
            move_logs(connection, _instead_of(connection, doomed))
            writing.delete_runs(connection, [row.id for row in doomed])
        self._database.shrink()
        return [reading.stored_uuid(row.uuid) for row in doomed]

    def _refuse_live(self, row: Any) -> None:
        if self._owners.alive(writer_byte(row.id, row.epoch)):
            raise RunBusy(
                f"run {row.uuid} is being written by process {row.pid} on {row.host}: "
                "close it there first"
            )

    def merge(self, other: Store | str | Path, *, progress: Progress | None = None) -> Merged:
        """Copy every run of another store into this one, and what it knows more of runs in both.

        Runs are told apart by their UUIDs, so that merging again, merging back, or merging in any
        order gives the same. Where two copies of a run have a value for the same place, the copy
        counts that has been assigned to more often, and it tells how the run ended. Nothing is
        removed, here or there; what a run deleted stays deleted.

        Projects, groups and trials come along, and the files that were kept with them. Of two
        copies of a trial the one counts that was changed more often; tags, metadata, errors and
        files of either are kept. A trial whose UID is another one's here becomes its next revision.

        Raises:
            RunBusy: A run that is being written here, and of which the other store may know more.
                Nothing was merged.

        """
        if not isinstance(other, Store):
            with Store(other, readonly=True) as opened:
                return self.merge(opened, progress=progress)
        merged = Merged([], [], [], [])
        with other._database.read() as source:
            theirs = source.execute(select(runs).order_by(runs.c.id)).all()
            with self._database.read() as target:
                for row in theirs:
                    self._refuse_live_merge(row, writing.find_run(target, row.uuid))
            for done, row in enumerate(theirs):
                if progress is not None:
                    progress(done, len(theirs))
                with self._database.write() as target:
                    ours = writing.find_run(target, row.uuid)
                    self._refuse_live_merge(row, ours)
                    changed = (
                        ours is None
                        or not is_part_of(
                            row, ours, sure=self._owners.alive(writer_byte(ours.id, ours.epoch))
                        )
                    ) and merge_run(source, row, target, ours)
                group = (
                    merged.added if ours is None
                    else merged.updated if changed
                    else merged.unchanged
                )  # fmt: skip
                group.append(reading.stored_uuid(row.uuid))
            with self._database.write() as target:
                merged.trials.extend(merge_trials(source, target, self._bring_from(other)))
            if progress is not None:
                progress(len(theirs), len(theirs))
        self._database.checkpoint()
        return merged

    def _bring_from(self, other: Store) -> Callable[[str, dict[str, Any]], None]:
        """Return what copies a file that the other store has kept with a trial."""
        source, target = folder_of(other.path), folder_of(self.path)

        def bring(uid: str, artifact: dict[str, Any]) -> None:
            wrong = copy_over(source, target, artifact["sha256"])
            if wrong is not None:
                warnings.warn(
                    f"trial {uid}: the copy of {artifact['name']!r} in {source} {wrong}; the trial "
                    "was merged without it",
                    TrainingLogWarning,
                    stacklevel=4,
                )

        return bring

    def _refuse_live_merge(self, theirs: Any, ours: Any) -> None:
        # Its writer numbers keys and counts assignments by what it knows to be in the file.
        if ours is not None and not is_part_of(theirs, ours, sure=True):
            self._refuse_live(ours)

    def backup(self, path: str | Path) -> None:
        """Copy the store, as it is now, to a new file; runs may go on being written meanwhile.

        Files that were kept with trials are copied, too, into the folder beside the new file.

        Raises `StoreUnwritable` where a file of that name exists.
        """
        target = Path(path).absolute()
        self._database.backup(target)
        # Afterwards: what the copy names is there by now, and nothing is ever taken away.
        copy_all(folder_of(self.path), folder_of(target))

    # -- looking after ----------------------------------------------------------------------

    def seal(
        self,
        runs: UUID | str | Iterable[UUID | str] | None = None,
        *,
        progress: Progress | None = None,
    ) -> Sealed:
        """Move the numbers of runs from rows to packed segments, and give the space back.

        That is done by itself as a log is closed. It is for runs whose process was killed, that
        were written with ``seal=False``, or with an older version.

        Args:
            runs: A run or several, by UUID or prefix; by default all. Those that are being written
                are left alone: their own logs seal them.
            progress: Told how many runs are done, and of how many.

        """
        asked = [runs] if isinstance(runs, (str, UUID)) else runs
        wanted = None if asked is None else {self.find(run).hex for run in asked}
        with self._database.read() as connection:
            lines = [
                line for line in listing.lines(connection) if wanted is None or line.uuid in wanted
            ]
        self._database.checkpoint()
        before = self.size().file
        sealed, busy, values = [], [], 0
        for done, line in enumerate(lines):
            if progress is not None:
                progress(done, len(lines))
            with self._database.write() as connection:
                row = writing.find_run(connection, line.uuid)
                if row is None:
                    continue
                if self._owners.alive(writer_byte(row.id, row.epoch)):
                    busy.append(reading.stored_uuid(line.uuid))
                    continue
                moved = seal_run(connection, row)
            if moved:
                sealed.append(reading.stored_uuid(line.uuid))
                values += moved
        if progress is not None:
            progress(len(lines), len(lines))
        self._database.shrink()
        return Sealed(sealed, busy, values, before, self.size().file)

    def size(self) -> Size:
        """Return what the store takes on disk."""
        with self._database.read() as connection:
            free = connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()
            page = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
        wal = wal_path(self.path)
        return Size(
            self.path.stat().st_size, wal.stat().st_size if wal.exists() else 0, free * page
        )

    def check(self) -> Check:
        """Examine the file: every page and index, and every stored value."""
        return check(self._database, self.size(), folder_of(self.path))

    #: Write what can be read of a damaged file to a new one. For a file that nobody has open, which
    #: is why this is no method; see `traininglog.sqlite.repairing.repair`.
    repair = staticmethod(repair)


def _instead_of(connection: Connection, doomed: Sequence[Any]) -> dict[str, str | None]:
    """Return of runs that are to be deleted the nearest ancestor that stays."""
    parents = {row.uuid: row.resumed_from for row in doomed}
    found = {}
    for uuid in parents:
        at, passed = uuid, set()
        while at in parents and at not in passed:  # whatever a file may say of lineages
            passed.add(at)
            at = parents[at]
        there = at is not None and at not in parents and writing.find_run(connection, at)
        found[uuid] = at if there else None
    return found


# The columns of `Store.runs` and their dtypes; a moment is a number of seconds.
_COLUMNS = {
    "uuid": "object", "name": "object", "state": "object", "created": "moment",
    "updated": "moment", "host": "object", "resumed_from": "object", "resumed_at": "Int64",
    "first": "Int64", "last": "Int64", "rows": "int64", "values": "int64",
}  # fmt: skip
