"""How what was assigned gets to the file: in one transaction with how far the file then is.

Whoever saves has `Locks.saving`. What is at rest in the journal is written, a few regions at a
time, and forgotten once it was committed. If that fails, everything is still pending.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, NamedTuple

from sqlalchemy import Connection

from traininglog.errors import CorruptLog, StoreFailed, StoreLocked, StoreUnwritable
from traininglog.sql import writing
from traininglog.sql.segments import Owner
from traininglog.sqlite.forks import busy
from traininglog.sqlite.gaps import DROPPED, Gap
from traininglog.sqlite.live_wal import WalLost
from traininglog.sqlite.locks import Locks
from traininglog.sqlite.own_run import OwnRun, Start, require_run
from traininglog.sqlite.pending import Pending
from traininglog.sqlite.read_back import ReadBack
from traininglog.sqlite.records import Batch, changed_status
from traininglog.sqlite.recovery import save_numbers, save_others
from traininglog.sqlite.regions import Region
from traininglog.sqlite.sealing import Sealer, attempt, seal_in_the_end, seal_run
from traininglog.sqlite.troubles import Troubles, described, is_fatal

#: A power cut costs what was assigned in the last so many seconds, at the most.
SYNC_SECONDS = 2.0

# How many regions go into one transaction: others want to write in between.
_TOGETHER = 8

# How long a flush in the background waits for others who write, and when it is tried again.
_SOON = 0.5
_RETRY_SECONDS = 0.5


class _Put(NamedTuple):
    """What was written in a transaction."""

    regions: list[Region]
    batch: Batch  #: what is in them
    gap: Gap | None


class Saver:
    """Saves what one log has assigned.

    Args:
        run: The run.
        pending: What to save.
        read_back: Reads it.
        locks: Of the open run.
        troubles: Where to note what goes wrong in the background.
        seals: Whether numbers become segments as they come, where there are enough.

    """

    def __init__(
        self, run: OwnRun, pending: Pending, read_back: ReadBack, locks: Locks, troubles: Troubles,
        *, seals: bool,
    ) -> None:  # fmt: skip
        self.seals = seals
        self._run = run
        self._pending = pending
        self._read_back = read_back
        self._locks = locks
        self._troubles = troubles
        self._sealer: Sealer | None = None
        self._unsynced_since: float | None = None
        self._put: _Put | None = None  # last, and may be committed
        self._waiters: dict[int, threading.Lock] = {}  # by their threads

    def begin(self, start: Start) -> None:
        """Save what is assigned to a run that we begin to write. In `Locks.state`."""
        self._sealer = Sealer(start.last) if self.seals else None
        self._put = None

    def save_all(
        self, *, patience: float | None, changes: dict[str, Any] | None = None, final: bool = False
    ) -> None:
        """Save what is pending, change what the file says of the run, and forget it.

        Args:
            patience: How many seconds to wait for others at the most.
            changes: Columns of the run.
            final: The run ends: numbers that are few become segments, too.

        """
        self._make_sure()
        if self._troubles.current is not None:
            # First what waits already: else each vain try would use up a region.
            self.save_regions(self._pending.waiting, patience)
        self.save_regions(self._pending.take(), patience, changes, final=final)

    def take(self) -> list[Region]:
        """Let what was assigned rest, and return all of it that is to be saved."""
        self._make_sure()
        return self._pending.take()

    def _make_sure(self) -> None:
        """Hold the lease, and find out whether what was saved last was committed.

        Somebody may have deleted the file that has the lease. And an exception of a signal handler,
        as Ctrl-C is, may come right after the commit.
        """
        self._run.renew()
        if self._put is None:
            return
        regions, run = self._put.regions, self._run
        with run.database.read() as connection:
            row = require_run(connection, run.database, run.uuid)
        if regions and row.epoch == run.epoch and row.high_water >= regions[-1].end:
            self.committed()
        self._put = None

    def save_regions(
        self, regions: list[Region], patience: float | None, changes: dict[str, Any] | None = None,
        *, final: bool = False,
    ) -> None:  # fmt: skip
        """Save regions that rest; see `save_all`."""
        final = final and self.seals
        gaps = self._pending.gaps
        groups = [regions[at : at + _TOGETHER] for at in range(0, len(regions), _TOGETHER)]
        if not groups and (changes is not None or gaps.current is not None or final):
            groups = [[]]
        for group in groups:
            for again in (True, False):
                try:
                    with self._run.write(patience) as connection:
                        gap, last = gaps.current, group is groups[-1]
                        more = changes if last and changes else {}
                        self.put(connection, group, more, gap, final=final and last)
                    break
                except WalLost:
                    if not again:
                        raise
            self.committed()

    def put(
        self, connection: Connection, regions: list[Region], changes: dict[str, Any],
        gap: Gap | None, *, final: bool,
    ) -> None:  # fmt: skip
        """Write regions that rest, in the caller's transaction; `committed` must follow it."""
        run = self._run
        run_id = run.run_id
        assert run_id is not None  # noqa: S101
        now = time.time()
        batch = self._read_back.batch(regions)
        values = run.updated(now, batch.marks) | changes
        self._put = _Put(regions, batch, gap)
        if regions:
            values["high_water"] = regions[-1].end
            writing.save_keys(connection, run_id, {
                name: number for number, name in batch.names.items()
            })  # fmt: skip
        times = batch.times()
        if self._sealer is not None and (times is not None or final):
            self._seal_or_save(connection, run_id, batch, final=final)
        elif times is not None:
            save_numbers(connection, run_id, batch)
        if times is not None:
            save_others(connection, run_id, batch, times)
            if run.importing is None:
                writing.save_mark(connection, run_id, times[1], now)
        if batch.marks:
            writing.save_marks(connection, run_id, batch.marks)
        if gap is not None:
            batch.status[DROPPED] = self._pending.gaps.described(gap)
        if batch.status:
            writing.save_status(connection, run_id, batch.status, batch.renewed)
        if not writing.update_run(connection, run_id, values, epoch=run.epoch):
            self._troubles.fatal = run.taken_over(connection)
            self._pending.sleep()
            self._troubles.raise_fatal(run.uuid)

    def committed(self) -> None:
        """Forget what `put` wrote, as it was committed."""
        self._troubles.are_over()
        notice, self._run.database.notice = self._run.database.notice, None
        if notice is not None:
            self._troubles.warn_of("file", notice)
            self._pending.sleep()  # so that the next assignment tells
        if self._sealer is not None:
            self._sealer.committed()
        if self._unsynced_since is None and not self._run.durable:
            self._unsynced_since = monotonic()
        back, gaps = self._read_back, self._pending.gaps
        regions, batch, gap = self._put or _Put([], Batch(), None)
        with self._locks.reading, self._locks.state, self._locks.changing:
            if back.saved_status is not None and regions:
                back.saved_status = changed_status(back.saved_status, [batch])
            self._pending.recycle(regions)
            if gaps.saved(gap) and back.saved_status is not None:
                back.saved_status[DROPPED] = gaps.described()
        self._put = None
        for waiter in list(self._waiters.values()):
            with suppress(RuntimeError):  # it goes on already
                waiter.release()

    def wait_for_progress(self, seconds: float) -> None:
        """Wait until something was saved, so long at the most.

        Not in a signal handler that interrupts this, or a thread in the midst of a change: each
        that came would wait on top of the last, and some hold what saving needs.
        """
        me = threading.get_ident()
        if me in self._waiters or self._locks.held_here:
            return
        # No `Condition`: one that Ctrl-C interrupts raises a `RuntimeError` instead.
        waiter = threading.Lock()
        waiter.acquire()
        self._waiters[me] = waiter
        try:
            waiter.acquire(timeout=seconds)  # until it is released
        finally:
            self._waiters.pop(me, None)

    def sync(self) -> None:
        """Have the disk take what was committed."""
        self._run.database.sync()
        self._unsynced_since = None

    def forget(self) -> None:
        """Wait for nobody, in a forked child."""
        self._waiters = {}

    # -- in the background ------------------------------------------------------------------

    def save_in_background(self) -> float | None:
        """Save, and return when to do so again. What goes wrong is for those who assign."""
        with busy():
            try:
                with self._locks.saving:
                    again = self._save_and_sync() if self._run.held else None
                self._locks.catch_up()
                return again
            except Exception as error:  # noqa: BLE001 - nobody sees it here; see `Troubles.tell`
                if not is_fatal(error):
                    self._note_trouble(error)
                    return _RETRY_SECONDS
                self._troubles.end(error)
                self._pending.sleep()
                return None

    def _save_and_sync(self) -> float | None:
        self.save_all(patience=_SOON)
        if self._unsynced_since is None:
            return None
        left = self._unsynced_since + SYNC_SECONDS - monotonic()
        if left > 0:
            return left
        self.sync()
        return None

    def _note_trouble(self, error: Exception) -> None:
        if not self._troubles.note(error):
            return
        with self._locks.state, self._locks.changing:
            where = "in the journal"
            if self._pending.volatile:
                where = "in memory, where a kill would lose it,"
        self._troubles.warn_of("flush", (
            f"{self._named(error)}; what is assigned waits {where} and will be written when it "
            "can be"
        ))  # fmt: skip
        with suppress(OSError, MemoryError):  # it may be that of which there is trouble
            self._pending.sleep()  # so that the next assignment tells

    def _named(self, error: Exception) -> str:
        """Return what to say of an error, with the name of the file."""
        name, said = self._run.database.name, described(error)
        return said if name in said else f"{name} cannot be written ({said})"

    # -- sealing ----------------------------------------------------------------------------

    def _seal_or_save(
        self, connection: Connection, run_id: int, batch: Batch, *, final: bool
    ) -> None:
        """Write the numbers of a batch, some of them as segments; where that fails, as entries."""
        sealer = self._sealer
        assert sealer is not None  # noqa: S101
        owner = Owner(run_id, self._run.uuid.hex, self._pending.names)
        if not self.try_to_seal(
            connection, lambda: sealer.save(connection, owner, batch, final=final)
        ):
            save_numbers(connection, run_id, batch)
            sealer.leave(batch)

    def try_to_seal(self, connection: Connection, act: Callable[[], object]) -> bool:
        """Seal in the midst of a transaction; tell whether it could be done, and warn if not."""
        error = attempt(connection, act)
        if error is not None:
            self._note_unsealed(error)
        return error is None

    def _note_unsealed(self, error: Exception) -> None:
        if self._troubles.may_warn_of("sealing"):
            self._troubles.warn_of("sealing", (
                f"{self._run.database.name} keeps numbers as rows, which take more room than "
                f"sealed ones ({described(error)}); nothing is lost, and `traininglog seal` seals "
                "them later"
            ))  # fmt: skip

    def seal_rest(
        self, patience: float | None, how: Callable[[Connection, Any], object] = seal_run
    ) -> None:
        """Seal what could not be sealed as it came, and note the totals of the run."""
        run = self._run
        with run.database.write(patience=patience) as connection:
            row = require_run(connection, run.database, run.uuid)
            if row.epoch == run.epoch:
                if self._sealer is not None:  # what it has at hand is sealed here
                    self._sealer = Sealer(-1 if row.last_time is None else row.last_time)
                how(connection, row)
        run.database.shrink_if_worth()

    def seal_in_the_end(self, patience: float | None) -> None:
        """Seal what is left, unless that would be a burden; it loses nothing if it is not."""
        try:
            self.seal_rest(_SOON if patience is None else patience, seal_in_the_end)
        except (StoreLocked, StoreFailed, StoreUnwritable, CorruptLog):
            pass  # as usual as a reader that has the file, or as well told of by `check`
        except Exception as error:  # noqa: BLE001 - whatever it is, the run is in the file
            self._note_unsealed(error)
            self._troubles.tell(self._run.uuid)
