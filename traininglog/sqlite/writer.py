"""The open run of a `SQLiteLog`: who writes it, from the first assignment to the last flush.

A run is opened without being written: only an assignment claims it, so that looking at a run leaves
no trace in it. From then on it is `held`, until it is handed over to another log of this process,
forked, or closed.

What is assigned is `pending` until the `saver`, in the flusher's thread or on demand, has brought
it to the file. Who may do what, and when, is for the `locks` to say: read there first.
"""

from __future__ import annotations

import functools
import os
import sys
import warnings
import weakref
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection

from traininglog.errors import (
    ForkedLog,
    LogClosed,
    ReadOnlyLog,
    RunTakenOver,
    StoreFailed,
    StoreLocked,
    StoreUnwritable,
    TrainingLogWarning,
)
from traininglog.imported import Imported
from traininglog.sql import writing
from traininglog.sqlite.database import Database
from traininglog.sqlite.flusher import Flusher
from traininglog.sqlite.forks import busy, catch_up
from traininglog.sqlite.journal import JournalFull
from traininglog.sqlite.locks import Locks
from traininglog.sqlite.origin import ended
from traininglog.sqlite.own_run import OwnRun, Start, require_run
from traininglog.sqlite.owners import Handover, Owners
from traininglog.sqlite.pending import Act, Pending, Span
from traininglog.sqlite.processes import remember
from traininglog.sqlite.read_back import ReadBack
from traininglog.sqlite.recovery import recover
from traininglog.sqlite.saving import Saver
from traininglog.sqlite.sealing import seal_in_the_end
from traininglog.sqlite.troubles import Troubles, described, is_fatal

# How many may wait for the flusher before those who assign do, and how long they do, in seconds.
_BACKLOG = 6
_BACK_PRESSURE = 0.1

# How long a log that is closed by the end of the interpreter waits for others who write.
_LAST_PATIENCE = 5.0

Outcome = Literal["finished", "failed"]


class Writer:
    """A run, as one log writes it. Every public method may be called from any thread."""

    def __init__(
        self, database: Database, uuid: UUID, *, durability: str, seal: bool,
        why_readonly: str | None, takeover: bool = False, max_pending_bytes: int, on_full: str,
        imported: Imported | None = None,
    ) -> None:  # fmt: skip
        self.database = database
        self.closed = False
        self.left = False  #: whether some of it is in a journal that was left to others
        self.run = OwnRun(database, uuid, takeover=takeover, durable=durability == "power")
        self.run.imported = imported
        self._takeover = takeover
        self._releasing = False  # whether what is pending is saved for the last time
        self._in_file = durability != "buffered"
        self._on_full = on_full
        self._why_readonly = why_readonly
        self._pid = os.getpid()
        self._troubles = Troubles()
        self._locks = Locks()
        self._flusher = Flusher(self._save_in_background, f"traininglog {uuid.hex[:8]}")
        self.pending = Pending(
            self.run, self._locks, self._troubles, act_as_writer=self._act_as_writer,
            wake=self._flusher.wake, in_file=self._in_file, most_bytes=max_pending_bytes,
        )  # fmt: skip
        self.read_back = ReadBack(self.run, self.pending, self._locks)
        self._saver = Saver(
            self.run, self.pending, self.read_back, self._locks, self._troubles, seals=seal
        )
        remember(self)

    # -- whose run it is --------------------------------------------------------------------

    def open(self, run_id: int) -> None:
        """Be a log of a run that is in the file. Nothing is written until something is assigned."""
        self.run.run_id = run_id
        if self._takeover:
            self.claim()

    def descend_later(self, parent: UUID, at: int, status: dict[str, Any]) -> None:
        """Be a new child of a run, to be put into the file only if something is ever written.

        Looking at an unpickled log must not leave a run behind.
        """
        self.run.parent = (parent, at)
        self.read_back.saved_status = status

    def create(self, status: dict[str, Any]) -> None:
        """Put a new root run into the file."""
        with busy(), self._locks.saving, self.run.locking():
            self.check_open()
            with self.run.write() as connection:
                start = self.run.add(connection, self.run.uuid, status, None)
            self._begin(start)
        self._locks.catch_up()

    def fork(self, parent: UUID, at: int, uuid: UUID, status: dict[str, Any]) -> None:
        """Flush, and become a new child of `parent`, in one transaction."""
        self.check_writable()
        run, saver = self.run, self._saver
        with busy(), self._locks.saving, run.locking():
            left = run.run_id if run.held else None
            regions = saver.take()
            with run.write() as connection:
                gap = self.pending.gaps.current
                final = saver.seals and left is not None
                if regions or gap is not None or final:
                    saver.put(connection, regions, {}, gap, final=final)
                if run.parent is not None and parent == run.uuid:
                    passed = self._be_born(connection)
                    writing.update_run(connection, passed.run_id, ended("finished"))
                require_run(connection, self.database, parent)
                if left is not None and parent != run.uuid and not run.kept:
                    _delete_untouched(connection, left)  # made for nothing, by opening this log
                if left is not None:
                    writing.update_run(connection, left, run.ended("finished"))
                if final and (row := writing.find_run(connection, run.uuid.hex)) is not None:
                    seal = functools.partial(seal_in_the_end, connection, row)
                    saver.try_to_seal(connection, seal)
                start = run.add(connection, uuid, status, (parent, at))
            saver.committed()
            if left is not None:
                self._release()
            self._begin(start)
            run.kept = True  # a resumed run is kept, written to or not
        self._locks.catch_up()

    def _be_born(self, connection: Connection) -> Start:
        """Put the run of `descend_later` into the file."""
        status = self.read_back.saved_status
        assert status is not None  # noqa: S101
        return self.run.be_born(connection, status)

    def _begin(self, start: Start) -> None:
        """Write, from now on, a run whose lock we have."""
        with self._locks.state:  # from the moment in which it is ours, other threads write it
            self.run.become(start)
            self.pending.begin(start)
            self.read_back.saved_status = dict(start.status)
            self._saver.begin(start)
            self.run.held = True  # last: whoever finds it held assigns
            if self.run.owners is not None:
                _HOLDERS[self.run.owners, start.run_id] = self

    def claim(self) -> None:
        """Become the writer of the run, if we are not yet: from now on its state is `running`.

        Raises `RunBusy` if another process is. Another log of this process hands the run over, and
        takes it back when it is next assigned to, so that in a notebook an old log that something
        still holds is in nobody's way.
        """
        # Before any writer's locks, or two that claim at once wait for each other.
        with busy(), Handover.lock:
            other = _HOLDERS.get((self.run.owners, self.run.run_id))
            if other is not None and other is not self:
                other.hand_over()
            with self._locks.saving:
                if not self.run.held:
                    self.check_writable()
                    self._claim()
        self._locks.catch_up()

    def _claim(self) -> None:
        with self.run.locking():
            if self.run.parent is None:
                start = self.run.take()
            else:
                with self.run.write() as connection:
                    start = self._be_born(connection)
            self._begin(start)

    def hand_over(self) -> None:
        """Flush, and let another log of this process write the run."""
        with busy(), self._locks.saving:
            if self.run.held:
                self._saver.save_all(patience=None, changes=ended())
                self._release()
        self._locks.catch_up()

    def keep(self) -> None:
        """See to it that the run is in the file and stays: a checkpoint is about to name it."""
        if self.run.run_id is None:
            self.claim()
        if not self.closed:
            self.check_open()
            self.run.kept = True

    def _release(self, patience: float | None = None) -> None:
        """Be the writer of the run no longer: all of it is in the file."""
        self._releasing = True
        try:
            while True:
                # Other threads may have assigned until they were seen to be kept waiting.
                with self._locks.state, self._locks.changing:
                    if self.pending.end():
                        self._let_go()
                        return
                self._saver.save_regions(self._saver.take(), patience)
        finally:
            self._releasing = False

    def _leave(self) -> None:
        """Be the writer no longer, and leave the journal to whoever opens the file next."""
        self.left = True
        with self._locks.state, self._locks.changing:
            self.pending.leave()
            self._let_go()

    def _let_go(self) -> None:
        self.run.let_go()
        _HOLDERS.pop((self.run.owners, self.run.run_id), None)
        self.read_back.saved_status = None  # others may change it

    # -- assignments ------------------------------------------------------------------------

    def _act_as_writer(self, act: Act, span: Span) -> None:
        """Assign something as the writer of the run, at once or after what it interrupts."""
        self._troubles.tell(self.run.uuid)
        for last in (False, True):  # the flusher may only have fallen behind
            try:
                self._try(act)
                break
            except JournalFull:
                if not last and (self._troubles.current is None or self._on_full == "raise"):
                    self._relieve()
                elif self._on_full == "drop":
                    self.pending.leave_out(*span())
                    break
                else:
                    raise
        if self._flusher.missing:
            if not self._locks.held_here:
                self._save_in_background()
        elif len(self.pending.waiting) > _BACKLOG and self._troubles.current is None:
            self._saver.wait_for_progress(_BACK_PRESSURE)

    def _try(self, act: Act) -> None:
        locks = self._locks
        with busy():  # a log that nobody holds any more may be let go of in here
            while True:
                if self._releasing and not locks.held_here:
                    # Threads that assign as fast as this is saved would keep it from ever ending.
                    with locks.saving:
                        pass
                with locks.state:
                    if locks.changing_here or (locks.saving_here and not self.run.held):
                        self.check_open()  # later, nobody would be told
                        locks.later.append(lambda: self._try_later(act))
                        return
                    if self.run.held:
                        with locks.changing:
                            act()
                        break
                self.claim()
        locks.catch_up()

    def _try_later(self, act: Act) -> None:
        """Assign what had to wait; it counts as made, so what may pass must not lose it."""
        try:
            self._try(act)
        except (StoreLocked, StoreFailed, StoreUnwritable, OSError, MemoryError):
            self._locks.later.insert(0, lambda: self._try_later(act))
            raise

    def _relieve(self) -> None:
        """Make room in the journal by a flush."""
        if self._locks.held_here:
            return
        try:
            with busy(), self._locks.saving:
                self._saver.save_all(patience=_BACK_PRESSURE)
        except Exception as error:
            if is_fatal(error):
                raise  # else there is no room still, which who assigns is told
        self._locks.catch_up()

    # -- flushing ---------------------------------------------------------------------------

    def flush(self, *, durable: bool = False) -> None:
        """Write what is pending; with `durable`, wait until the disk has it."""
        self.check_open()
        if self._locks.put_off(lambda: self.flush(durable=durable)):
            return
        if self.run.run_id is None or self._why_readonly:
            return  # nothing of ours can be in the file
        self._troubles.raise_fatal(self.run.uuid)
        with busy(), self._locks.saving:
            if self.run.held:
                self._saver.save_all(patience=None)
            if durable:
                self._saver.sync()
        self._locks.catch_up()

    def seal(self) -> None:
        """Flush, and move what can be moved to segments."""
        self.check_writable()
        if self.run.run_id is None:
            return
        self.claim()
        with busy(), self._locks.saving:
            self._saver.save_all(patience=None, final=True)
            self._saver.seal_rest(None)
        self._locks.catch_up()

    def _save_in_background(self) -> float | None:
        again = self._saver.save_in_background()
        catch_up()
        return again

    # -- the end ----------------------------------------------------------------------------

    def close(self, outcome: Outcome, *, patience: float | None = None) -> None:
        """Flush, say how the run ended, and let go of the file. Again, it does nothing."""
        if self.closed:
            return
        if os.getpid() != self._pid:
            self.closed = True
            return
        if self._locks.put_off(lambda: self.close(outcome)):
            return
        self._flusher.stop()
        troubles, locks = self._troubles, self._locks
        while not self.closed:
            with busy(), locks.saving:
                if self.closed:
                    return  # type: ignore[unreachable]  # another thread was first
                if self.run.held and troubles.fatal is None:
                    self._save_in_the_end(outcome, patience)
                if self.run.held and troubles.fatal is None:
                    self._release(patience)
                elif self.run.held:
                    self._leave()
                with locks.state, locks.changing:
                    self.closed = True
                    if locks.later:  # a signal handler assigned meanwhile
                        self.closed = False
            locks.catch_up()
        if isinstance(troubles.fatal, RunTakenOver):
            recover(self.database)
        if self.database.path is not None:  # in memory it is all there is: the log holds it on
            self.database.close()
        self.run.owners = None  # whose file is closed with the last who needs it
        if not troubles.told:
            troubles.raise_fatal(self.run.uuid)

    def _save_in_the_end(self, outcome: Outcome, patience: float | None) -> None:
        troubles, saver = self._troubles, self._saver
        told = troubles.told
        try:
            saver.save_all(patience=patience, changes=self.run.ended(outcome), final=True)
        except RunTakenOver:
            troubles.told = told  # it is raised once the rest is done
        if saver.seals and troubles.fatal is None:
            saver.seal_in_the_end(patience)

    def abandon(self) -> None:
        """Close for a log that is no longer there to do it: collected, or the interpreter ends."""
        if os.getpid() != self._pid:  # a forked child has no say in its parent's run
            return
        # An exception that nobody caught has been printed by now, and noted by the printing.
        died = getattr(sys, "last_value", None) is not None and not hasattr(sys, "ps1")
        try:
            self.close("failed" if died else "finished", patience=_LAST_PATIENCE)
        except Exception as error:  # noqa: BLE001 - nobody else would be told
            kept = self._in_file and not self.pending.volatile
            lost = "in the journal, for the next" if kept else "lost"
            warnings.warn(
                f"{described(error)}; what run {self.run.uuid.hex} had assigned last is {lost}",
                TrainingLogWarning,
                stacklevel=2,
            )

    def check_open(self) -> None:
        """Raise unless the log can be used here."""
        if self.closed:
            raise LogClosed("the log is closed; open the run again by its UUID to go on")
        self.check_readable()

    def check_readable(self) -> None:
        """Raise unless the log can be read here: a closed one can, and opens its file for it."""
        if self.closed and self.database.path is not None:
            return
        if os.getpid() != self._pid:
            raise ForkedLog(
                "this log was opened before the process was forked; open the run anew in the "
                f"child, or a run of its own: SQLiteLog({self.database.name!r})"
            )

    def check_writable(self) -> None:
        """Raise unless the log can be written."""
        self.check_open()
        if self._why_readonly:
            raise ReadOnlyLog(self._why_readonly)
        self._troubles.raise_fatal(self.run.uuid)

    # -- around a fork ----------------------------------------------------------------------

    def before_fork(self) -> None:
        """Have no thread, which the child would be without, and hold what another might."""
        self._flusher.stop()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if self.pending:
            self._flusher.wake()

    def after_fork_in_child(self) -> None:
        """Be of no use: the run is the parent's."""
        for part in (self._locks, self._saver, self.read_back, self._flusher, self.pending):
            part.forget()
        self.run.held = False  # so that the next assignment looks, and finds where it is
        _HOLDERS.clear()


# Who writes which run in this process.
_HOLDERS: weakref.WeakValueDictionary[tuple[Owners | None, int | None], Writer] = (
    weakref.WeakValueDictionary()
)


def _delete_untouched(connection: Connection, run_id: int) -> None:
    """Delete a run unless somebody has written to it or resumed it."""
    row = writing.untouched_run(connection, run_id)
    if row is not None:
        writing.delete_runs(connection, [row.id])
