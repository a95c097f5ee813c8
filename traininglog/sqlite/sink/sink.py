"""The SQLite file as a sink: it begins, saves and ends a writer's runs.

The writer of a run holds the lease of its epoch (`leases`). Each writer that begins to write a run
begins a new fencing epoch, and sends it with each batch. So a writer from whom the run was taken
learns from its next batch that the epoch is not its own.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from time import monotonic
from typing import Any, NoReturn
from uuid import UUID

from sqlalchemy import Connection

from traininglog.callers import warn_caller
from traininglog.errors import (
    CorruptLog,
    RunBusy,
    RunNotFound,
    RunTakenOver,
    StoreFailed,
    StoreLocked,
    StoreUnwritable,
)
from traininglog.imported import Imported
from traininglog.journal.gaps import DROPPED
from traininglog.journal.reader import journal_path
from traininglog.journal.record import Batch
from traininglog.journal.region import REGION
from traininglog.lineage import BEFORE_ALL
from traininglog.sql import compaction, reading, sound, writing
from traininglog.sql.segments import RunKeys
from traininglog.sqlite.database.database import Database
from traininglog.sqlite.database.open_file import WalLost
from traininglog.sqlite.sink.compaction import (
    Sealer,
    attempt,
    seal_in_the_end,
    seal_run,
    seal_small,
)
from traininglog.sqlite.sink.leases import Owners, writer_byte
from traininglog.sqlite.sink.origin import ended
from traininglog.sqlite.sink.origin import writing as now_writing
from traininglog.sqlite.sink.recovery import (
    changing,
    displace,
    mark_displaced,
    recover_run,
)
from traininglog.writer.health import described
from traininglog.writer.sink import Birth, Lease, Outcome, Saving, Start

#: A power cut loses at most what was assigned in the last so many seconds.
SYNC_SECONDS = 2.0

# How long the end of a run waits for other writers before it puts sealing off, in seconds.
_SOON = 0.5

#: Warns at the next assignment. Takes a key that tells this warning from others, and its words.
Warn = Callable[[str, str], None]


class SQLiteSink:
    """Saves the runs of one log in a SQLite file.

    Args:
        database: The file.
        durable: Wait for the disk with every transaction.
        seals: Whether a flush moves numbers to segments, once there are enough of them.

    """

    #: A limit, so that other writers get their turn in between.
    most_bytes = 8 * REGION

    def __init__(self, database: Database, *, durable: bool, seals: bool) -> None:
        self.run_id: int | None = None  #: None: no run is being written
        self.owners = None if database.path is None else Owners.of(database.path)
        self._database = database
        self._durable = durable
        self._seals = seals
        self.warn: Warn = _say_nothing  #: warns at the next assignment
        self._uuid = UUID(int=0)
        self._epoch = 0
        self._importing: Imported | None = None  # the facts of an imported run
        self._until: float | None = None  # of an imported run: its latest mark, or when it began
        self._fresh = False  # whether this sink has made the run
        self._sealer: Sealer | None = None
        self._unsynced_since: float | None = None
        self._position = 0  # the position up to which the file has everything
        self._doubtful = False  # whether the last batch may have been committed despite an error
        self._sealed = False  # whether the transaction that ended the run has also sealed it
        self._leases: list[int] = []

    # -- beginning --------------------------------------------------------------------------

    def begin(self, birth: Birth, *, takeover: bool, patience: float | None) -> Start:
        """Begin an epoch of a run; see `Sink.begin`."""
        with self._leasing() as leases:
            if birth.status is None:
                run_id, start, last = self._begin_epoch(birth, takeover, patience)
            else:
                run_id, start, last = self._add(birth, patience), _newborn(birth), -1
            if self.run_id is not None:
                leases.append(writer_byte(self.run_id, self._epoch))  # this epoch is over
            leases.remove(writer_byte(run_id, start.epoch))
        if birth.status is not None:
            self._fresh, self._importing = True, birth.imported
            self._until = None if birth.imported is None else birth.imported.created
        elif birth.uuid != self._uuid:
            self._fresh, self._importing = False, None
        self.run_id, self._uuid, self._epoch = run_id, birth.uuid, start.epoch
        self._sealer = Sealer(last) if self._seals else None
        self._position, self._doubtful, self._sealed = start.position, False, False
        return start

    @contextmanager
    def _leasing(self) -> Iterator[list[int]]:
        """Yield the list of leases to release on exit; `_lease` adds each new one to it."""
        leases = self._leases = []
        try:
            yield leases
        finally:
            for byte in leases:
                if self.owners is not None:
                    self.owners.release(byte)

    def _write(self, patience: float | None) -> AbstractContextManager[Connection]:
        return self._database.write(durable=self._durable, patience=patience)

    def _add(self, birth: Birth, patience: float | None) -> int:
        """Add a run to the file, with its lease: no reader ever sees it without a live writer."""
        assert birth.status is not None  # noqa: S101 - it is new
        with self._write(patience) as connection:
            if birth.parent is not None and writing.find_run(connection, birth.parent.hex) is None:
                raise _missing(self._database, birth.parent)
            if self.run_id is not None:
                self._end_before(connection, birth)
            number = self._find_own(connection, birth)
            if number is None:
                at = BEFORE_ALL if birth.at is None else birth.at
                parent = None if birth.parent is None else (birth.parent, at)
                origin = self._origin(birth.imported)
                number = writing.add_run(
                    connection, birth.uuid, birth.status, parent, origin,
                    variant=birth.variant, part_of=birth.part_of,
                )  # fmt: skip
                if birth.imported is not None:
                    writing.begin_import(connection, number, birth.imported.created)
            self._lease(writer_byte(number, 1))
        return number

    def _find_own(self, connection: Connection, birth: Birth) -> int | None:
        """Return the run if an earlier call made it, and the answer was lost."""
        row = writing.find_run(connection, birth.uuid.hex)
        if row is None:
            return None
        if row.epoch != 1:
            raise self._taken_over(connection)
        return int(row.id)

    def _end_before(self, connection: Connection, birth: Birth) -> None:
        """End the previous run, in the transaction that adds the next one."""
        run_id = self.run_id
        assert run_id is not None  # noqa: S101 - the caller has asked
        if birth.replaces and self._fresh and birth.parent != self._uuid:
            row = writing.untouched_run(connection, run_id)
            if row is not None:  # opening this log made it, and nothing used it
                writing.delete_runs(connection, [row.id])
                return
        if not writing.update_run(connection, run_id, self._ended("finished"), epoch=self._epoch):
            raise self._taken_over(connection)
        if self._seals:
            seal = functools.partial(seal_in_the_end, connection, run_id, self._uuid.hex)
            self._try_to_seal(connection, seal)

    def _begin_epoch(
        self, birth: Birth, takeover: bool, patience: float | None
    ) -> tuple[int, Start, int]:
        with self._database.read() as connection:
            row = require_run(connection, self._database, birth.uuid)
        owners = self.owners
        if owners is None:
            return self._next_epoch(birth, takeover, patience)
        # First without the `changing` lock, to refuse at once.
        if not takeover and owners.is_written(row):
            self._refuse_busy(row)
        with changing(owners, row.id):
            # Since this log opened, another process may have written the run and been killed.
            for notice in recover_run(self._database, owners, row.id):
                self.warn(notice, notice)
            return self._next_epoch(birth, takeover, patience)

    def _next_epoch(
        self, birth: Birth, takeover: bool, patience: float | None
    ) -> tuple[int, Start, int]:
        owners = self.owners
        importing = self._importing if birth.uuid == self._uuid else None
        with self._write(patience) as connection:
            row = require_run(connection, self._database, birth.uuid)
            run_id, epoch = row.id, row.epoch + 1
            if not sound.is_epoch(epoch):
                raise CorruptLog(
                    f"run {row.uuid} is said to have been opened {row.epoch} times, and can be "
                    "opened no more; see `traininglog check`, or resume it as a new run"
                )
            displaced = None
            if owners is not None:
                if owners.is_written(row):
                    if not takeover:
                        self._refuse_busy(row)
                    assert self._database.path is not None  # noqa: S101
                    tail = journal_path(self._database.path, birth.uuid, row.epoch)
                    displaced = displace(connection, run_id, tail, row.high_water)
                    row = require_run(connection, self._database, birth.uuid)
                self._lease(writer_byte(run_id, epoch))
            now = {"epoch": epoch, "outcome": None, "opened": time.time()}
            writing.update_run(connection, run_id, now | self._origin(importing))
            if importing is None:
                writing.end_import(connection, run_id, row.last_time)
            else:  # another log of this process may have written it meanwhile
                writing.begin_import(connection, run_id, None)
            keys = reading.read_run_keys(connection, run_id)
            status = reading.read_status(connection, run_id)
        if displaced is not None:
            mark_displaced(*displaced)
        last = -1 if row.last_time is None else row.last_time
        return run_id, Start(epoch, row.high_water, keys, status), last

    def _lease(self, byte: int) -> None:
        self._leases.append(byte)
        if self.owners is not None and not self.owners.hold(byte):
            warn_caller(
                f"another process holds the lock of a run in {self._database.name}-owners: until "
                "it lets go of it, processes that cannot see this one (in other containers) take "
                "the run for lost"
            )

    def _origin(self, said: Imported | None) -> dict[str, Any]:
        found = now_writing(None if self.owners is None else self.owners.identity)
        return found if said is None or said.host is None else found | {"host": said.host}

    def _refuse_busy(self, row: Any) -> NoReturn:
        raise RunBusy(
            f"run {row.uuid} is being written by process {row.pid} on {row.host} since "
            f"{_moment(row.opened)} (last flush {_moment(row.updated)}): look at it with "
            "readonly=True, or go on from it as a new run, with resume(); if that process hangs, "
            "takeover=True takes the run from it"
        )

    # -- saving -----------------------------------------------------------------------------

    def save(self, saving: Saving, *, patience: float | None) -> None:
        """Save a batch; see `Sink.save`."""
        self._hold_lease()
        if saving.is_empty and not (self._sealer is not None and self._sealer.holds_numbers):
            return
        if saving.position is not None and saving.position <= self._position:
            # The batch was committed, and the writer failed afterwards, as for want of memory.
            saving = saving.without_batch()
        doubtful, self._doubtful = self._doubtful, True
        seals = self._seals and saving.outcome is not None
        for again in (True, False):
            try:
                with self._write(patience) as connection:
                    if not (doubtful and self._has(connection, saving)):
                        self._put(connection, saving)
                    sealed = seals and self._seal_if_small(connection)
                break
            except StoreFailed as error:
                # The WAL was lost, or there is no room for what sealing adds.
                if not again or not (seals or isinstance(error, WalLost)):
                    raise
                if not isinstance(error, WalLost):  # or the commit failed only in the end
                    seals, doubtful = False, True
        self._doubtful, self._sealed = False, sealed
        if saving.position is not None:
            self._position = saving.position
        notice, self._database.notice = self._database.notice, None
        if notice is not None:
            self.warn("file", notice)
        if self._sealer is not None:
            self._sealer.committed()
        if self._unsynced_since is None and not self._durable:
            self._unsynced_since = monotonic()

    def _has(self, connection: Connection, saving: Saving) -> bool:
        """Return whether the file has a batch already: it was committed before an error."""
        if saving.position is None:
            return False
        row = require_run(connection, self._database, self._uuid)
        return bool(row.epoch == saving.epoch and row.high_water >= saving.position)

    def _put(self, connection: Connection, saving: Saving) -> None:
        """Write a batch in the caller's transaction."""
        run_id, batch = self.run_id, saving.batch
        assert run_id is not None  # noqa: S101 - it was begun
        now = time.time()
        values = self._updated(now, batch.marks)
        if saving.outcome is not None:
            values |= self._ended(saving.outcome)
        if saving.position is not None:
            values["high_water"] = saving.position
            writing.save_keys(connection, run_id, {
                name: number for number, name in batch.names.items()
            })  # fmt: skip
        times = batch.times()
        final = saving.final and self._seals
        if self._sealer is not None and (times is not None or final):
            self._seal_or_save(connection, run_id, batch, saving.names, final=final)
        elif times is not None:
            writing.save_numbers(connection, run_id, batch.numbers.flat())
        if times is not None:
            writing.save_others(connection, run_id, batch.others, times)
            if self._importing is None:
                writing.save_mark(connection, run_id, times[1], now)
        if batch.marks:
            writing.save_marks(connection, run_id, batch.marks)
        status = batch.status if saving.gap is None else batch.status | {DROPPED: saving.gap}
        if status:
            writing.save_status(connection, run_id, status, batch.renewed)
        if not writing.update_run(connection, run_id, values, epoch=saving.epoch):
            raise self._taken_over(connection)

    def _updated(self, now: float, marks: Mapping[int, float]) -> dict[str, Any]:
        """Return the columns that say when the run was last written, given new marks."""
        if self._importing is None:
            return {"updated": now}
        known = [*marks.values(), *([] if self._until is None else [self._until])]
        self._until = max(known, default=None)
        return {"epoch": self._epoch} if self._until is None else {"updated": self._until}

    def _ended(self, outcome: str | None) -> dict[str, Any]:
        """Return the columns to set at the end of the run; an import ends with its own outcome."""
        found, said = ended(outcome), self._importing
        if said is None or outcome is None:
            return found
        if outcome == "finished" and said.outcome is not None:
            found["outcome"] = None if said.outcome == "lost" else said.outcome
        if said.host is not None:  # this process did not run on that host
            found |= {"pid": None, "boot_id": None, "command": None, "versions": None}
        return found

    def _taken_over(self, connection: Connection) -> RunTakenOver:
        """Return the error to raise when the run is at an epoch that is not ours."""
        row = require_run(connection, self._database, self._uuid)
        return RunTakenOver(
            f"run {self._uuid.hex} was taken over by process {row.pid} on {row.host} at "
            f"{_moment(row.opened)}: what this log had assigned and not flushed becomes a run "
            "of its own when it is closed; open the run anew, or resume it, to go on"
        )

    # -- the lease, and the disk ------------------------------------------------------------

    def renew(self, lease: Lease | None, *, durable: bool) -> float | None:
        """Hold the lease, and sync the disk when that is due; see `Sink.renew`."""
        self._hold_lease()
        if not durable:
            if self._unsynced_since is None:
                return None
            left = self._unsynced_since + SYNC_SECONDS - monotonic()
            if left > 0:
                return left
        self._database.sync()
        self._unsynced_since = None
        return None

    def _hold_lease(self) -> None:
        if self.run_id is not None and self.owners is not None:
            self.owners.renew()  # the file that has the lock may have been deleted

    # -- sealing ----------------------------------------------------------------------------

    def seal(self) -> None:
        """Compact the run that is being written: move its numbers to segments."""
        self._seal_rest(None, seal_run)

    def _seal_or_save(
        self, connection: Connection, run_id: int, batch: Batch, names: Mapping[int, str],
        *, final: bool,
    ) -> None:  # fmt: skip
        """Write the numbers of a batch, some as segments; if that fails, all as entries."""
        sealer = self._sealer
        assert sealer is not None  # noqa: S101
        owner = RunKeys(run_id, self._uuid.hex, names)
        if not self._try_to_seal(
            connection, lambda: sealer.save(connection, owner, batch, final=final)
        ):
            writing.save_numbers(connection, run_id, batch.numbers.flat())
            sealer.leave(batch)

    def _try_to_seal(self, connection: Connection, act: Callable[[], object]) -> bool:
        """Seal within a transaction; return whether that worked, and warn if it did not."""
        error = attempt(connection, act)
        if error is not None:
            self._note_unsealed(error)
        return error is None

    def _note_unsealed(self, error: Exception) -> None:
        self.warn("sealing", (
            f"{self._database.name} keeps numbers as rows, which take more room than sealed ones "
            f"({described(error)}); nothing is lost, and `traininglog seal` seals them later"
        ))  # fmt: skip

    def _seal_if_small(self, connection: Connection) -> bool:
        """Seal a small run in the transaction that ends it; return whether that was done.

        A large one gets a transaction of its own: what it assigned is then safe before.
        """
        run_id = self.run_id
        assert run_id is not None  # noqa: S101 - it was begun
        if not compaction.is_small(connection, run_id):
            return False
        seal = functools.partial(seal_small, connection, run_id, self._uuid.hex)
        self._try_to_seal(connection, seal)
        return True

    def _seal_rest(
        self, patience: float | None, how: Callable[[Connection, int, str], object]
    ) -> None:
        """Seal the numbers that are still entries, and note the totals of the run."""
        with self._database.write(patience=patience) as connection:
            row = require_run(connection, self._database, self._uuid)
            if row.epoch == self._epoch:
                if self._sealer is not None:  # `how` seals what the sealer has at hand
                    self._sealer = Sealer(-1 if row.last_time is None else row.last_time)
                how(connection, row.id, row.uuid)
        self._database.shrink_if_worth()

    # -- the end ----------------------------------------------------------------------------

    def end(self, lease: Lease, outcome: Outcome, *, patience: float | None) -> None:
        """End writing the run; see `Sink.end`."""
        run_id = self.run_id
        if run_id is None:
            return
        try:
            if outcome is None:
                with self._write(patience) as connection:
                    writing.update_run(connection, run_id, self._ended(None), epoch=self._epoch)
            elif self._seals and not self._sealed:
                self._seal_in_the_end(patience)
        finally:
            self.run_id = None
            if self.owners is not None:
                self.owners.release(writer_byte(run_id, self._epoch))

    def _seal_in_the_end(self, patience: float | None) -> None:
        """Seal what is left, unless that takes too long or fails; no value is lost without it."""
        try:
            self._seal_rest(_SOON if patience is None else patience, seal_in_the_end)
        except (StoreLocked, StoreFailed, StoreUnwritable, CorruptLog):
            pass  # a reader may well hold the file, and `check` reports the other errors
        except Exception as error:  # noqa: BLE001 - whatever it is, the run is in the file
            self._note_unsealed(error)


def require_run(connection: Connection, database: Database, uuid: UUID) -> Any:
    """Return the row of a run. Raises `RunNotFound`, and `CorruptLog` for an impossible row."""
    row = writing.find_run(connection, uuid.hex)
    if row is None:
        raise _missing(database, uuid)
    return sound.require_run(row)


def _missing(database: Database, uuid: UUID) -> RunNotFound:
    return RunNotFound(f"{database.name} holds no run {uuid.hex}; was it deleted?")


def _say_nothing(what: str, notice: str) -> None:
    """Do nothing: the default for `SQLiteSink.warn`."""


def _newborn(birth: Birth) -> Start:
    return Start(1, 0, {}, birth.status or {})


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(" ", "seconds")
