"""The order of epochs and steps: the work before, after, and when the program leaves one.

The user writes the bodies of the loops. A body ends at its end, by `break`, or by an exception. The
last two look the same from here: a closed iterator. So the schedule notes that the epoch or step
was left, and fires its after-events at once. It decides later whether it counts as done: it does if
the loop goes on, or ends without an exception.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from traininglog.loop.checkpoint.snapshots import Moment, Snapshots
from traininglog.loop.counters import Counters
from traininglog.loop.errors import LoopMisuse
from traininglog.loop.events import EventKeys, EventSource
from traininglog.loop.measures.best import Best
from traininglog.loop.measures.metrics_log import MetricsLog
from traininglog.loop.passes.passes import Passes, Replay
from traininglog.loop.passes.waiting_for_data import CUT_OFF, END, DataWait, length
from traininglog.loop.reports.mishaps import Mishaps
from traininglog.loop.reports.progress import Progress
from traininglog.loop.reports.reporter import Reporter
from traininglog.loop.states import randomness
from traininglog.loop.stops.agreement import Agreement
from traininglog.loop.stops.interrupts import Interrupts
from traininglog.loop.stops.ranks import Ranks, Wish

_AFTER_STEP = EventKeys.AFTER_STEP  # an attribute of an Enum takes time to find


class Schedule:
    """Runs through epochs and steps, and makes checkpoints when they are due.

    Args:
        counters: The counters, which the schedule advances.
        told: The argument of event handlers: the loop.
        freq: The number of epochs between two checkpoints; None: only one at each end.
        restores_best: Whether the loop restores the best parameters in the end.

    The other arguments are the parts of the loop, each documented in its own module.
    """

    def __init__(
        self,
        counters: Counters,
        metrics_log: MetricsLog,
        reporter: Reporter,
        progress: Progress,
        snapshots: Snapshots,
        best: Best,
        interrupts: Interrupts,
        events: EventSource,
        mishaps: Mishaps,
        ranks: Ranks,
        told: object,
        *,
        freq: int | None,
        restores_best: bool,
        replay: Replay,
    ) -> None:
        self._counters = counters
        self._metrics_log = metrics_log
        self._reporter = reporter
        self._progress = progress
        self._snapshots = snapshots
        self._best = best
        self._interrupts = interrupts
        self._events = events
        self._mishaps = mishaps
        self.agreement = Agreement(
            ranks, counters, interrupts, metrics_log, reporter, snapshots, best, self._loop_state
        )
        self._ranks = ranks
        self._told = told
        self._freq = freq
        self._restores_best = restores_best
        self._passes = Passes(
            snapshots.generators, resumable=snapshots.folder is not None, replay=replay
        )
        self._wait = DataWait(self._passes, interrupts)
        self.postponed: list[Exception] = []  #: errors of handlers, which `settle` raises
        self._saved: tuple[int, int, bool] | None = None  # the place of the last checkpoint
        self._owed = False  # whether a checkpoint that was due could not be written
        self._first_step = 0  # the last step before the epoch began
        self._epoch_began = 0.0
        self._epoch_timed = False
        self._epoch_random: dict[str, Any] | None = None  # random states when the epoch began
        self._step_began: float | None = None  # None: the time of the step is recorded
        self._left_epoch: float | None = None  # seconds of an epoch or step that was left
        self._left_step: float | None = None
        self._resuming: Moment | None = None
        self._cut: Moment | bool = False  # the moment of a cut; True: none was kept
        self._iterators: list[weakref.ref[Generator[Any, None, None]]] = []

    @property
    def reason(self) -> str | None:
        """Why the training ended."""
        return self.agreement.reason

    @reason.setter
    def reason(self, reason: str | None) -> None:
        self.agreement.reason = reason

    @property
    def stopped(self) -> bool:
        """Whether the training was told to end."""
        return self.agreement.stopped

    @stopped.setter
    def stopped(self, stopped: bool) -> None:
        self.agreement.stopped = stopped

    def _fire(self, key: EventKeys) -> None:
        self._events.fire(key, self._told)

    def _reverse_fire(self, key: EventKeys) -> None:
        self._events.reverse_fire(key, self._told)

    # -- epochs -----------------------------------------------------------------------------

    def epochs(self) -> Generator[int, None, None]:
        """Iterate over the epochs."""
        return self._followed(self._epochs())

    def _epochs(self) -> Generator[int, None, None]:
        self.refuse_nested_epochs()
        self.settle()
        if self._resuming is not None:
            randomness.restore(_at_first(self._resuming), self._snapshots.generators)
        while self._may_go_on():
            self._begin_epoch()
            try:
                yield self._counters.epoch
            except GeneratorExit:
                self._left_epoch = perf_counter() - self._epoch_began
                self._postpone(EventKeys.AFTER_EPOCH)
                self._counters.within_epoch = False
                raise
            self.close_iterators()  # the program may hold a step loop that it has left
            self.settle()
            self.agreement.on_epoch()
            self._reverse_fire(EventKeys.AFTER_EPOCH)
            self._finish_epoch()
        self._attempt(self.save_end)  # reports an error; `Session.finish` tries again, and raises
        self._metrics_log.metrics.clear_all()

    def refuse_nested_epochs(self) -> None:
        """Raise `LoopMisuse` if an epoch is open."""
        if self._counters.within_epoch:
            raise LoopMisuse("another epoch loop is open, and epochs cannot be nested")

    def _may_go_on(self) -> bool:
        """Return whether another epoch follows; if not, set the reason."""
        now = self._counters
        within = self._resuming is not None and self._resuming["loop"]["within_epoch"]
        if self.stopped:
            return False
        if self.agreement.ends_epoch:
            self.reason = self._interrupts.name
        elif now.step >= now.last_step:
            self.reason = "max_step"
        elif now.max_epoch is not None and now.epoch - within >= now.max_epoch:
            self.reason = "max_epoch"
        else:
            return True
        return False

    def _begin_epoch(self) -> None:
        now, elapsed = self._counters, 0.0
        moment, self._resuming = self._resuming, None
        self._first_step = now.step
        self._passes.begin_epoch()
        if moment is not None:
            self._passes.tell(moment["loop"]["position"])
        if moment is not None and moment["loop"]["within_epoch"]:
            before = moment["loop"]
            self._passes.go_to(before["position"], moment["random"])
            self._first_step, elapsed = before["first_step"], before["elapsed"]
        else:
            now.epoch += 1
            self._metrics_log.metrics.clear("epoch")
        # The row of the last step belongs to the previous epoch, if there was one.
        now.row = now.step + (now.epoch > 1 and now.step == self._first_step)
        now.within_epoch, now.reported = True, False
        self._epoch_random = None
        if self._snapshots.folder is not None:
            self._epoch_random = randomness.capture(self._snapshots.generators)
        self._cut = self._epoch_timed = False
        self._epoch_began = perf_counter() - elapsed
        self._fire(EventKeys.BEFORE_EPOCH)
        self._show()

    def _finish_epoch(self) -> None:
        """Record an epoch that has ended."""
        now = self._counters
        self.time_epoch()
        now.within_epoch = False
        if self._cut is not False:
            return
        if now.row != now.step:  # an epoch without steps counts as one step in the log
            now.step = now.row
            self._metrics_log.set_done("iterations_done", now.step)
        self._metrics_log.epoch_done()
        self._progress.epoch_ended()
        due = self._owed or (self._freq is not None and now.epoch % self._freq == 0)
        if due and self._may_go_on():  # else the checkpoint of the end follows at once
            self._owed = not self._attempt(self.checkpoint)

    def _attempt(self, save: Callable[[], object]) -> bool:
        """Call `save`, report its error instead of raising it, and return whether it succeeded."""
        try:
            save()
        except Exception as error:  # noqa: BLE001 - a full disk, or a `state_dict` that raises
            self._mishaps.tell("writing a checkpoint", error, "it is tried again")
            return False
        return True

    def time_epoch(self, seconds: float | None = None) -> None:
        """Record the time of the epoch, by default up to now, unless it is recorded already."""
        if not self._epoch_timed:
            self._epoch_timed = True
            if seconds is None:
                seconds = perf_counter() - self._epoch_began
            self._metrics_log.collect_time("epoch_time", seconds)

    # -- steps ------------------------------------------------------------------------------

    def steps(self, data: object) -> Generator[Any, None, None]:
        """Iterate over steps, with data or without."""
        self._refuse_nested_steps()
        return self._followed(self._steps(data))

    def _refuse_nested_steps(self) -> None:
        if self._passes.is_open:
            raise LoopMisuse(
                "another step loop is open, and steps cannot be nested; one that was left, but is "
                "held in a variable, must be closed: steps.close()"
            )

    def _steps(self, data: Any) -> Generator[Any, None, None]:
        self._refuse_nested_steps()
        self.settle()
        now, passes, interrupts = self._counters, self._passes, self._interrupts
        agreement = self.agreement
        awaited, before, many = self._events.awaited, EventKeys.BEFORE_STEP, self._ranks.many
        if passes.skipped(data):
            return
        iterator = None
        try:
            iterator = self._wait.opened(data)
            if iterator is CUT_OFF:
                iterator, now.data = None, CUT_OFF
                self._ends(data)
                return
            self._progress.expect(length(data))
            interrupts.look_after_children()  # the data may have started some
            while True:
                ends = agreement.ends_step if many else interrupts.step
                if ends or now.step >= now.last_step or agreement.stopped:
                    self._end_early(data, iterator)
                    break
                if iterator is not None:
                    now.data = self._wait.next(iterator)
                    if now.data is END:
                        iterator = passes.exhausted(iterator)
                        if iterator is not None:
                            continue
                if (many or now.data is END or now.data is CUT_OFF) and self._ends(data):
                    break
                passes.took(now.data)
                now.begin_step()
                if iterator is not None:
                    self._metrics_log.collect_data_time(self._wait.take_time())
                if before in awaited:
                    self._fire(before)
                self._step_began = perf_counter()
                try:
                    yield now.step if iterator is None else (now.step, now.data)
                except GeneratorExit:
                    self._left_step = perf_counter() - (self._step_began or 0.0)
                    self._postpone(EventKeys.AFTER_STEP)
                    raise
                self._finish_step()
        finally:
            now.leave_step()
            now.data = None
            passes.leave(iterator)

    def _finish_step(self) -> None:
        """Record a finished step, raise an error of its lost workers, and show the progress."""
        interrupts = self._interrupts
        if _AFTER_STEP in self._events.awaited:
            self._reverse_fire(_AFTER_STEP)
        if self._step_began is not None:
            self.time_step()
        self._counters.leave_step()
        self._metrics_log.set_done("iterations_done", self._counters.step)
        if interrupts.lost is not None:
            lost = interrupts.take_lost()
            if lost is not None:
                raise lost
        if interrupts.unsaid:
            self.say_unsaid()
        if self._reporter.display is not None:
            self._show()

    def _ends(self, data: object) -> bool:
        """Return whether all ranks agree that this pass has no further step; end it then."""
        batch = self._counters.data
        found = self.agreement.on_step(no_data=batch is END, cut_off=batch is CUT_OFF)
        if found is Wish.CUT_OFF:
            self.say_unsaid()
            self._end_early(data)
        return found is not Wish.NOTHING

    def say_unsaid(self) -> None:
        """Print the message that a signal handler has left."""
        if self._interrupts.unsaid:
            self._reporter.say(self._interrupts.take_unsaid())

    def _end_early(self, data: object, iterator: Iterator[Any] | None = None) -> None:
        """Mark the epoch as cut, unless its data ends here as well; keep the moment of the cut."""
        by_limit = not self.stopped and not self.agreement.ends_step
        if by_limit and (data is None or length(data) == self._passes.batches):
            if iterator is not None:  # samplers may draw random numbers at their end: let them
                next(iterator, None)
            return
        if self._cut is not False:  # by an earlier pass of this epoch: a restart continues there
            return
        self._cut = True
        if self._snapshots.folder is not None:
            self._attempt(self._keep_cut)

    def _keep_cut(self) -> None:
        """Keep the moment at which an epoch ends before its data does; save it after a signal."""
        self._cut = self.agreement.completed(self.moment)
        if self.agreement.ends_step:  # the sender of a signal may kill us soon: save at once
            self.reason = self.reason or self._interrupts.name
            self.save_end()

    def time_step(self, seconds: float | None = None) -> None:
        """Record the time of the step, by default up to now, unless it is recorded already."""
        began, self._step_began = self._step_began, None
        if began is not None:
            self._metrics_log.collect_step_time(
                perf_counter() - began if seconds is None else seconds
            )

    def _show(self) -> None:
        if self._reporter.due():
            self._reporter.show(self._metrics_log.metrics.statistics("steps"))

    # -- epochs and steps that were left ----------------------------------------------------

    def _followed(self, iterator: Generator[Any, None, None]) -> Generator[Any, None, None]:
        self._iterators = [known for known in self._iterators if known() is not None]
        self._iterators.append(weakref.ref(iterator))
        return iterator

    def close_iterators(self) -> None:
        """Close the iterators that the program has left but still holds."""
        for reference in reversed(self._iterators):
            iterator = reference()
            if iterator is not None and not iterator.gi_running:
                iterator.close()

    def _postpone(self, key: EventKeys) -> None:
        """Fire an event while a generator is closed; keep an error for `settle` to raise."""
        try:
            self._reverse_fire(key)
        except Exception as error:  # noqa: BLE001 - raised by settle
            self.postponed.append(error)

    def settle(self) -> None:
        """Record the step and the epoch that were left as done; raise a postponed error."""
        if self._left_step is not None:
            seconds, self._left_step = self._left_step, None
            self.time_step(seconds)
            self._metrics_log.set_done("iterations_done", self._counters.step)
        if self._left_epoch is not None:
            seconds, self._left_epoch = self._left_epoch, None
            self.time_epoch(seconds)
            self._finish_epoch()
        if self.postponed:
            raise self.postponed.pop(0)

    # -- checkpoints ------------------------------------------------------------------------

    def start_from(self, status: Mapping[str, Any]) -> None:
        """Set the counters to those in the status of a log, or to zero if the log is new."""
        now = self._counters
        now.epoch = int(status.get("epochs_done", 0))
        now.step = now.row = int(status.get("iterations_done", 0))
        self._saved = self._place()

    def resume(self, moment: Moment) -> None:
        """Set counters and metrics to those of a moment; the first epoch continues from it."""
        before = moment["loop"]
        self._resuming = moment
        self._counters.epoch, self._counters.step = before["epoch"], before["step"]
        self._counters.row = before["step"]
        self._saved = self._place()
        self._metrics_log.metrics.set_state(before["metrics"])
        self._progress.steps_per_epoch = before["steps_per_epoch"]

    def moment(self) -> Moment:
        """Return the present moment; an open step counts as done."""
        if self._snapshots.folder is not None:
            self._metrics_log.set_done("iterations_done", self._counters.step)
        return self._snapshots.moment(self._metrics_log.log, self._loop_state)

    def _loop_state(self) -> dict[str, Any]:
        now = self._counters
        elapsed = perf_counter() - self._epoch_began if now.within_epoch else 0.0
        return {
            "epoch": now.epoch,
            "step": now.step,
            "within_epoch": now.within_epoch,
            "first_step": self._first_step,
            "elapsed": elapsed,
            "position": self._passes.position(),
            "epoch_random": self._epoch_random if now.within_epoch else None,
            "metrics": self._metrics_log.metrics.get_state(),
            "steps_per_epoch": self._progress.steps_per_epoch,
        }

    def checkpoint(self) -> Path:
        """Write a checkpoint of the present moment."""
        return self._write(self.agreement.completed(self.moment))

    def _write(self, moment: Moment, ended: dict[str, Any] | None = None) -> Path:
        """Write a checkpoint on the first rank; return its path, on other ranks the folder."""
        if self._ranks.first:
            path = self._snapshots.write(moment, self._best, ended)
            self._metrics_log.saved(path, moment["loop"]["step"])
            return path
        assert self._snapshots.folder is not None  # noqa: S101 - the callers have checked
        return self._snapshots.folder.path

    def _place(self) -> tuple[int, int, bool]:
        """Return the epoch, the step, and whether the training is amid an epoch."""
        within = self._cut is not False
        if self._resuming is not None:
            within = self._resuming["loop"]["within_epoch"]
        return self._counters.epoch, self._counters.step, within

    def save_end(self) -> None:
        """Write the checkpoint of the end, with its reason, unless this place is saved already."""
        if self._snapshots.folder is None or self._saved == self._place():
            return
        restored = self._restores_best and self._best.moment is not None
        ended = {
            "reason": self.reason,
            "stopped": self.stopped,
            "params_source": "best" if restored else "last",
        }
        cut = self._cut
        moment = cut if isinstance(cut, dict) else self.agreement.completed(self.moment)
        self._write(moment, ended)
        self._saved = self._place()


def _at_first(moment: Moment) -> dict[str, Any]:
    """Return the random states that a resumed training begins with.

    Amid an epoch these are the states at its beginning: its body may draw before it asks for data.
    """
    loop = moment["loop"]
    position = loop["position"]
    drawn: dict[str, Any] | None = loop.get("epoch_random")
    random: dict[str, Any] = moment["random"]
    return drawn if drawn is not None and (position["open"] or position["done"]) else random
