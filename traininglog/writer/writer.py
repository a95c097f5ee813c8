"""The writer of the run of one log, from the first assignment to the last flush.

Opening a run does not write it. Only an assignment claims it, so that looking at a run leaves no
trace in it. The writer then holds the run (`held`) until another log of this process wants it, the
log resumes as another run, or the log is closed.

Only the owner thread of the store changes any of this, one request after the other. The methods of
the first half send requests and may be called from any thread. The methods of the second half run
in the owner thread.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TypeVar
from uuid import UUID

from traininglog.errors import (
    ForkedLog,
    LogClosed,
    ReadOnlyLog,
    RunTakenOver,
    TrainingLogWarning,
)
from traininglog.imported import Imported
from traininglog.journal.gaps import DROPPED
from traininglog.journal.journal import JournalFull
from traininglog.journal.record import changed_status
from traininglog.journal.region import Region
from traininglog.writer import lifetimes
from traininglog.writer.buffer import Buffer, Place, Snapshot, Span, Undelivered
from traininglog.writer.health import Health, described
from traininglog.writer.owner import INTERVAL, NotNow, Owner, Request
from traininglog.writer.read_back import ReadBack
from traininglog.writer.sink import Birth, Lease, Outcome, Saving, Sink, Start, verdict

# How long a flush in the background waits for other writers, and the delay before it is tried
# again. No caller waits for it, and a writer that gives up loses its place in the queue.
_SOON = 5.0
_RETRY_SECONDS = 0.5

# How long an assignment waits for a flush to make room.
_BACK_PRESSURE = 0.1

# After so many flushes in a row with nothing to save, the next assignment asks the owner thread.
_QUIET = 4

# How long a log that the end of the interpreter closes waits for other writers.
_LAST_PATIENCE = 5.0

_T = TypeVar("_T")


class Writer:
    """The writer of a run for one log.

    Args:
        owner: The owner thread of the store.
        sink: The sink that batches go to.
        uuid: The run.
        name: The name of the store, for people.
        place: Where the journal is. None: in memory, so that it dies with the process.
        why_readonly: Why the run cannot be written. None: it can.
        takeover: Take the run even from a writer that lives.
        max_pending_bytes: The most bytes that may wait while the store cannot be written.
        on_full: What to do with an assignment beyond that, ``"raise"`` or ``"drop"`` it.
        waits: Whether a new run waits for the sink. If not, the journal takes it at once, and the
            sink hears of it when it can be reached.
        may_wait: Returns whether this thread may wait for the owner thread. It must not while it
            holds what the owner thread needs.
        ended: Called by the owner thread once the log is closed. ``taken_over`` says whether
            another writer has taken the run, ``gone`` whether nothing refers to the log any more.

    """

    def __init__(
        self, owner: Owner, sink: Sink, uuid: UUID, *, name: str, place: Place | None,
        why_readonly: str | None = None, takeover: bool = False, max_pending_bytes: int,
        on_full: str = "raise", waits: bool = True, may_wait: Callable[[], bool] | None = None,
        ended: Callable[..., None] | None = None,
    ) -> None:  # fmt: skip
        self.uuid = uuid
        self.closed = False
        #: Whether the log was asked to close. A signal may have interrupted the caller meanwhile.
        self.is_closing = False
        self.left = False  #: whether the writer left a journal behind, for another to recover
        self.held = False  #: whether this log writes the run
        #: A child run that the store makes only when something is written to it.
        self.unborn: Birth | None = None
        self.kept = False  #: whether something names the run, so that it must not vanish
        self.owner = owner
        self._sink = sink
        self._name = name
        self._takeover = takeover
        self._lasting = place is not None
        self._on_full = on_full
        self._waits = waits
        self._why_readonly = why_readonly
        self._may_wait = may_wait
        self._ended = ended
        self._pid = os.getpid()
        self._health = Health()
        self._left: deque[Request] = deque()  # requests whose callers were interrupted in the wait
        self._shut = False  # whether assignments wait until the log has another run, or is closed
        self._quiet = 0  # flushes in a row with nothing to save
        self._late: Birth | None = None  # the run, if the sink has not heard of it yet
        self._imported: Imported | None = None  # facts of a run that happened elsewhere
        self._earlier: deque[Undelivered] = deque()  # earlier runs, of which the sink lacks some
        self.buffer = Buffer(
            name, self._health, ask=self._ask_to_assign, nudge=partial(owner.nudge, self),
            place=place, most_bytes=max_pending_bytes,
        )  # fmt: skip
        self.read_back = ReadBack(self.buffer)
        lifetimes.remember(self)

    @property
    def late(self) -> Birth | None:
        """The current run, if its store has not heard of it yet."""
        return self._late

    @property
    def is_imported(self) -> bool:
        """Whether the run happened elsewhere, so that only its marks tell when."""
        return self._imported is not None

    @property
    def is_behind(self) -> bool:
        """Whether the store lacks something of runs that this log wrote before."""
        return bool(self._earlier)

    @property
    def readonly(self) -> bool:
        """Whether the run cannot be written here."""
        return self._why_readonly is not None

    # -- asking: any thread -----------------------------------------------------------------

    def ask(self, act: Callable[[], _T], is_light: Callable[[], bool] | None = None) -> _T:
        """Run an action in the owner thread and return its result.

        Raises what the action raises. It first raises, once, the error of any earlier request whose
        caller was interrupted in the wait.
        """
        for left in list(self._left):
            if left.finished:
                with suppress(ValueError):  # a signal handler or another thread has removed it
                    self._left.remove(left)
                left.answer()
        request = Request(act, is_light)
        if self._may_wait is not None and not self._may_wait():
            # A signal handler interrupted a read that holds what only one thread at a time may use.
            self._left.append(request)
            self.owner.put(request)
            return None  # type: ignore[return-value]
        try:
            self.owner.put(request)
            self.owner.wait(request)
        except BaseException:
            self._left.append(request)
            raise
        if not request.finished:  # the owner thread serves it later
            self._left.append(request)
        answer: _T = request.answer()
        return answer

    def create(self, birth: Birth) -> None:
        """Put a new root run into the store."""
        self.ask(lambda: self._become(birth, self._begin(birth)))

    def open(self) -> None:
        """Open a run of the store. Without `takeover`, nothing is written before an assignment."""
        if self._takeover:
            self.claim()

    def descend_later(self, birth: Birth) -> None:
        """Prepare a new child run, which the store makes only when something is written to it.

        Looking at an unpickled log must not leave a run behind.
        """
        self.unborn = birth
        self.buffer.snapshot = Snapshot((), birth.status)

    def claim(self) -> None:
        """Become the writer of the run, unless it is already: the run's state is `running`.

        Another log of this process hands the run over, and takes it back at its next assignment.
        So an old log that a notebook still refers to blocks nobody.

        Raises `RunBusy` if another process writes the run.
        """
        self.ask(self._claim)

    def keep(self) -> None:
        """Make sure that the run is in the store and stays: a checkpoint is about to name it."""
        if self.unborn is not None:
            self.claim()
        if not self.closed:
            self.check_open()
            self.kept = True

    def fork(self, birth: Callable[[], Birth]) -> None:
        """Become a new run. `birth` makes it, at a moment when assignments have to wait."""
        self.check_writable()
        self.ask(lambda: self._fork(birth))

    def flush(self, *, durable: bool = False) -> None:
        """Save what is pending. With `durable`, wait until it survives a power cut."""
        self.check_open()
        if self.unborn is not None or self._why_readonly:
            return  # nothing of ours can be in the store
        self._health.raise_fatal(self.uuid)
        self.ask(lambda: self._flush(durable=durable))

    def flush_and(self, act: Callable[[], object]) -> None:
        """Save what is pending, then run an action in the owner thread."""
        self.check_writable()
        if self.unborn is None:
            self.ask(lambda: self._flush_and(act))

    def close(self, outcome: Outcome, *, patience: float | None = None) -> None:
        """Flush, record how the run ended, and release the store. A second call does nothing."""
        if self.closed:
            return
        if os.getpid() != self._pid:
            self.closed = True
            return
        self.is_closing = True
        self.ask(lambda: self._close(outcome, patience))
        self._health.say()  # there is no next assignment to warn at

    def let_go(self) -> None:
        """Close for a log that nothing refers to. The garbage collector calls it in any thread."""
        if self.closed or os.getpid() != self._pid:
            return
        lifetimes.hold(self)
        self.owner.let_go(Request(self._abandon))

    def abandon(self) -> None:
        """Close as the interpreter ends, for a log that can no longer do it itself."""
        if os.getpid() == self._pid:  # a forked child has no say in its parent's run
            request = Request(self._abandon)
            self.owner.put(request)
            self.owner.wait(request)

    def check_open(self) -> None:
        """Raise unless the log is open and belongs to this process."""
        if self.closed:
            raise LogClosed("the log is closed; open the run again by its UUID to go on")
        self.check_readable()

    def check_readable(self) -> None:
        """Raise unless this process can read the log. A closed log opens its store to be read."""
        if os.getpid() != self._pid and not (self.closed and self._lasting_store):
            raise ForkedLog(
                f"this log was opened before the process was forked; open run {self.uuid.hex} of "
                f"{self._name} anew in the child, or a run of its own there"
            )

    @property
    def _lasting_store(self) -> bool:
        return self._name != ":memory:"

    def check_writable(self) -> None:
        """Raise unless the log can be written."""
        self.check_open()
        if self._why_readonly:
            raise ReadOnlyLog(self._why_readonly)
        self._health.raise_fatal(self.uuid)

    def _ask_to_assign(self, act: Callable[[], None], span: Span) -> None:
        """Ask the owner thread to make an assignment that the hot path cannot make."""
        self.check_open()
        self._health.tell(self.uuid)
        self.ask(lambda: self._assign(act, span), self._may_assign_now)
        if self._health.notice is not None:  # a warning that the assignment itself gave rise to
            self._health.tell(self.uuid)

    # -- serving requests: the owner thread -------------------------------------------------

    def _may_assign_now(self) -> bool:
        """Return whether an assignment needs nothing but the journal."""
        return self.held and not self._shut and self._health.fatal is None

    def _assign(self, act: Callable[[], None], span: Span) -> None:
        for last in (False, True):  # the flushes may only have fallen behind
            if not self.held:
                self.check_open()
                self._claim()
            try:
                act()
                break
            except JournalFull:
                drops = self._on_full == "drop"
                if drops and (last or self._health.current is not None):
                    self.buffer.leave_out(*span())
                    break
                if self.owner.is_waiting:
                    raise NotNow from None
                if last:
                    raise
                self._relieve()
        self._do_without_thread()
        self._quiet = 0
        self.owner.schedule(self, 0.0 if self.buffer.is_urgent else INTERVAL)

    def _do_without_thread(self) -> None:
        """Let an assignment flush soon and ask for a thread, if none could be started."""
        if self.owner.missing:
            self.buffer.close_at(monotonic() + INTERVAL)

    def _relieve(self) -> None:
        """Make room in the journal by a flush."""
        try:
            self._save_all(patience=_BACK_PRESSURE)
        except Exception as error:
            if verdict(error) != "later":
                raise  # else there still is no room, and the assignment raises `JournalFull`

    def _begin(self, birth: Birth) -> Start:
        """Begin a run in the store, or a new one in the journal if the store cannot be reached."""
        self.check_open()
        if not self._earlier:  # else the sink has to have the earlier runs first
            try:
                return self._sink.begin(birth, takeover=self._takeover, patience=None)
            except Exception as error:
                if birth.status is None or not self._may_be_late(error):
                    raise
                self._note_trouble(error)
        assert birth.status is not None  # noqa: S101 - it is a child
        self._late = birth._replace(began=time.time())
        return Start(1, 0, {}, birth.status)

    def _may_be_late(self, error: Exception) -> bool:
        """Return whether to go on without the sink, which hears of the run later."""
        return not self._waits and verdict(error) == "later"

    @property
    def _lease(self) -> Lease:
        return Lease(self.uuid, self.buffer.epoch)

    def _become(self, birth: Birth, start: Start) -> None:
        """Switch to a run whose lease this log has."""
        self.held = True  # first: whatever fails, closing the log then ends the lease
        self.uuid, self.unborn, self.kept = birth.uuid, None, False
        self._imported = birth.imported
        self.read_back.forget()
        self.buffer.begin(birth.uuid, start, None)
        self.owner.holders[birth.uuid] = self
        if self._late is not None:
            self.buffer.note_birth(self._late)

    def _claim(self) -> None:
        if self.held:
            return
        self.check_writable()
        other = self.owner.holders.get(self.uuid)
        if other is not None:
            other._hand_over()
        birth = self.unborn or Birth(self.uuid, imported=self._imported)
        self._become(birth, self._begin(birth))

    def _hand_over(self) -> None:
        """Flush, and let another log of this process write the run."""
        self._shut = True
        try:
            self._let_go_of_all(None, None)
        finally:
            self._shut = False

    def _let_go_of_all(self, outcome: Outcome, patience: float | None) -> None:
        """Save what is left, and end the lease. Raises what saving raises."""
        self.buffer.shut()
        self._save_all(patience=patience, final=outcome is not None, outcome=outcome)
        self.buffer.end()
        self._sink.end(self._lease, outcome, patience=patience)
        self._let_go()

    def _let_go(self) -> None:
        self.held = False
        self.owner.drop(self)
        if self.owner.holders.get(self.uuid) is self:
            del self.owner.holders[self.uuid]
        self.read_back.forget()

    def _fork(self, make: Callable[[], Birth]) -> None:
        self.check_writable()
        self._shut = True
        try:
            # First: from now on, assignments of other threads wait for the new run.
            self.buffer.shut()
            birth = make()
            if self.unborn is not None and birth.parent == self.uuid:
                self._claim()
            if self.held:
                self._save_or_detach()
            start = self._begin(birth._replace(ends=self._lease) if self.held else birth)
            if self.held:
                self.buffer.end()
                self._let_go()
            self._become(birth, start)
            self.kept = True  # a resumed run stays, even if nothing is written to it
        finally:
            self._shut = False

    def _save_or_detach(self) -> None:
        """Save what is left of a finished run, or put it aside if the sink cannot be reached."""
        try:
            self._save_all(patience=None, final=True)
        except Exception as error:
            if not self._may_be_late(error):
                raise
            self._note_trouble(error)
            self._earlier.append(self.buffer.detach(self._late))
            self._late = None

    def _flush(self, *, durable: bool = False) -> None:
        self.check_open()
        self._health.raise_fatal(self.uuid)
        if self.held:
            self._save_all(patience=None)
        if durable:
            self._sink.renew(self._lease if self.held else None, durable=True)

    def _flush_and(self, act: Callable[[], object]) -> None:
        self._claim()
        self._save_all(patience=None, final=True)
        act()

    # -- saving: the owner thread -----------------------------------------------------------

    def tick(self) -> float | None:
        """Flush what is pending. The next assignment raises or warns of what goes wrong here."""
        if not self.held or self._shut:
            return None
        self.buffer.forget_rows()
        try:
            return self._flush_in_background()
        except Exception as error:  # noqa: BLE001 - no caller would see it here; see `Health.tell`
            if verdict(error) == "later":
                self._note_trouble(error)
                return _RETRY_SECONDS
            self._health.end(error)
            self.buffer.shut()  # so that the next assignment raises it
            return None

    def _flush_in_background(self) -> float | None:
        if self.buffer.has_records or self.buffer.gaps.current is not None:
            self._quiet = 0
        else:
            self._quiet += 1
            self.buffer.be_slow()
        self._save_all(patience=_SOON)
        again = self._sink.renew(self._lease, durable=False)
        if self.buffer.waiting:
            return 0.0
        if self._quiet < _QUIET:
            return INTERVAL if again is None else min(INTERVAL, again)
        if not self.buffer.has_records:
            self.buffer.shut()  # the next assignment asks the owner thread, which begins this again
        return again

    def _save_all(
        self, *, patience: float | None, final: bool = False, outcome: Outcome = None
    ) -> None:
        """Save what is pending, and remove it from the journal.

        Args:
            patience: The most seconds to wait for other writers.
            final: Whether no other flush follows soon.
            outcome: How the run ends with this flush.

        """
        while self._earlier:
            self._deliver(self._earlier[0], patience)
            journal = self._earlier.popleft().journal
            if journal is not None:
                journal.remove()
        if self._late is not None:
            self._sink.begin(self._late, takeover=False, patience=patience)
            self._late = None
        if self._health.current is not None:
            # First the regions that already wait: else each failed try would use up a region.
            self._save_regions(self.buffer.waiting, patience)
        try:
            self._save_regions(self.buffer.take(), patience, final=final, outcome=outcome)
        finally:
            self._do_without_thread()  # assignments go on in another region

    def _deliver(self, left: Undelivered, patience: float | None) -> None:
        """Save all of an earlier run. The sink ignores batches that it already has."""
        if left.birth is not None:
            self._sink.begin(left.birth, takeover=False, patience=patience)
        regions = [] if left.journal is None else left.journal.waiting
        for group in _grouped(regions, self._sink.most_bytes):
            saving = Saving(
                left.uuid, left.epoch, group[-1].end, partial(self.read_back.batch, group),
                left.names, left.gaps, final=group[-1] is regions[-1],
            )  # fmt: skip
            self._sink.save(saving, patience=patience)

    def _save_regions(
        self, regions: list[Region], patience: float | None, *, final: bool = False,
        outcome: Outcome = None,
    ) -> None:  # fmt: skip
        groups = _grouped(regions, self._sink.most_bytes)
        gap = self.buffer.gaps.current
        if not groups and (final or outcome is not None or gap is not None):
            groups = [[]]
        for group in groups:
            last = group is groups[-1]
            self._save(
                group, patience, final=final and last, outcome=outcome if last else None
            )  # fmt: skip

    def _save(
        self, regions: list[Region], patience: float | None, *, final: bool, outcome: Outcome
    ) -> None:
        """Save some regions in one atomic step, and remove them from the journal."""
        buffer, gap = self.buffer, self.buffer.gaps.current
        told = None if gap is None else buffer.gaps.described(gap)
        saving = Saving(
            self.uuid, buffer.epoch, regions[-1].end if regions else None,
            partial(self.read_back.batch, regions), buffer.names, told, final=final,
            outcome=outcome, imported=self._imported is not None,
        )  # fmt: skip
        try:
            self._sink.save(saving, patience=patience)
        except RunTakenOver as error:
            self._health.fatal = self._health.fatal or error
            buffer.shut()
            raise
        self._health.are_over()
        status = buffer.snapshot.status
        if status is not None:
            status = changed_status(status, [saving.batch])
            if told is not None:
                status[DROPPED] = told
        buffer.gaps.saved(gap)
        buffer.saved(regions, status)

    def warn(self, what: str, notice: str) -> None:
        """Warn at the next assignment, at most once a minute of the same. The sink calls this."""
        if self._health.may_warn_of(what):
            self._health.warn_of(what, notice)
            self.buffer.shut()  # so that the next assignment asks the owner thread

    def _note_trouble(self, error: Exception) -> None:
        if not self._health.note(error):
            return
        where = "in the journal"
        if self.buffer.volatile or not self._lasting:
            where = "in memory, where a kill would lose it,"
        said = described(error)
        named = said if self._name in said else f"{self._name} cannot be written ({said})"
        self._health.warn_of("flush", (
            f"{named}; what is assigned waits {where} and will be written when it can be"
        ))  # fmt: skip
        self.buffer.shut()  # so that the next assignment warns

    # -- the end: the owner thread ----------------------------------------------------------

    def _close(self, outcome: Outcome, patience: float | None, *, gone: bool = False) -> None:
        if self.closed:
            return
        health = self._health
        told = health.told
        self._shut = True
        try:
            if self.held and health.fatal is None:
                try:
                    self._let_go_of_all(outcome, patience)
                except RunTakenOver:
                    health.told = told  # raised below, once the log is closed
            if self.held and health.fatal is not None:
                self.left = True
                self.buffer.leave()
                with suppress(Exception):  # another writer has the run, or it cannot be written
                    self._sink.end(self._lease, None, patience=0.0)
                self._let_go()
            self.closed = True
        finally:
            self._shut = self.is_closing = False
            lifetimes.release(self)
        if self._ended is not None:
            self._ended(taken_over=isinstance(health.fatal, RunTakenOver), gone=gone)
        if not health.told:
            health.raise_fatal(self.uuid)

    def _abandon(self) -> None:
        # Python has printed an uncaught exception by now, and set `sys.last_value` as it did so.
        died = getattr(sys, "last_value", None) is not None and not hasattr(sys, "ps1")
        try:
            self._close("failed" if died else "finished", _LAST_PATIENCE, gone=True)
        except Exception as error:  # noqa: BLE001 - no caller would see it
            kept = self._lasting and not self.buffer.volatile
            lost = "in the journal, for the next" if kept else "lost"
            lifetimes.release(self)
            warnings.warn(
                f"{described(error)}; what run {self.uuid.hex} had assigned last is {lost}",
                TrainingLogWarning,
                stacklevel=2,
            )

    def forget(self) -> None:
        """Drop everything in a forked child: the run is the parent's."""
        self.buffer.forget()
        self.read_back.forget()
        self._left.clear()
        self.held = False  # so that the next assignment checks, and raises `ForkedLog`


def _grouped(regions: list[Region], most_bytes: int) -> list[list[Region]]:
    """Return regions in groups of at most so many bytes of records. A larger region is alone."""
    groups: list[list[Region]] = []
    size = 0
    for region in regions:
        if not groups or size + region.length > most_bytes:
            groups.append([])
            size = 0
        groups[-1].append(region)
        size += region.length
    return groups
