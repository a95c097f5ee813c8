"""One session, from entering a loop to leaving it: its log, its checkpoint, and its end."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Literal

from traininglog.base import TrainingLogBase
from traininglog.errors import TrainingLogWarning
from traininglog.loop.checkpoint.folder import Checkpoint
from traininglog.loop.checkpoint.snapshots import Snapshots
from traininglog.loop.counters import Counters
from traininglog.loop.errors import CheckpointNotFound, LoopMisuse
from traininglog.loop.measures.best import Best
from traininglog.loop.measures.metrics_log import MetricsLog
from traininglog.loop.reports.mishaps import Mishaps
from traininglog.loop.reports.reporter import Reporter
from traininglog.loop.schedule import Schedule
from traininglog.loop.stops.ranks import Ranks
from traininglog.loop.trained_params import remember_trained, was_trained
from traininglog.stores import open_log

#: The ids of the logs that open loops write: two loops would count in the status of one log.
_WRITTEN: set[int] = set()


class Session:
    """One session of a training; the training may have had others before.

    Args:
        log: The log to write; None: one from `open_log`, which the session closes in the end.
        restore_from: Whether to continue from the newest checkpoint, or which one to continue from.
        resume_from: Which of its moments to restore; it also continues a stopped training.
        early_stopping: Whether to restore the best parameters in the end.

    The other arguments are the parts of the loop, each documented in its own module.
    """

    def __init__(
        self,
        log: TrainingLogBase | None,
        counters: Counters,
        metrics_log: MetricsLog,
        reporter: Reporter,
        snapshots: Snapshots,
        best: Best,
        schedule: Schedule,
        mishaps: Mishaps,
        ranks: Ranks,
        *,
        restore_from: bool | str | Path,
        resume_from: Literal["last", "best"] | None,
        early_stopping: bool,
    ) -> None:
        self._given = log
        self._counters = counters
        self._metrics_log = metrics_log
        self._reporter = reporter
        self._snapshots = snapshots
        self._best = best
        self._schedule = schedule
        self._mishaps = mishaps
        self._ranks = ranks
        self._restore_from = restore_from
        self._resume_from = resume_from
        self._early_stopping = early_stopping
        self.params_source: Literal["last", "best"] = "last"  #: the step that params come from

    def enter(self) -> None:
        """Open the log, and continue from a checkpoint if there is one, else from the log."""
        if id(self._given) in _WRITTEN:
            raise LoopMisuse("another open loop writes this log: give each loop a log of its own")
        if self._given is not None:
            log = self._given
        else:  # readers of logs need only that of the first rank
            log = open_log() if self._ranks.first else open_log("memory:")
        self._metrics_log.open(log)
        _WRITTEN.add(id(log))
        try:
            self._ranks.enter(self._reporter.say)
            if self._snapshots.folder is not None and self._ranks.first:
                self._snapshots.folder.try_out()
            self._restore(log)
            self._snapshots.rehearse(self._mishaps)
        except BaseException as error:
            self.release(error)
            raise

    def _restore(self, log: TrainingLogBase) -> None:
        schedule, say = self._schedule, self._reporter.say
        found = self._find()
        if found is None:
            if self._resume_from is not None:
                say("There is no checkpoint to resume from: this is a new training.")
            schedule.start_from(log.status)
            self._tell_where_it_starts(log)
            return
        source = self._resume_from or "last"
        keeps_best = self._early_stopping
        schedule.resume(
            self._snapshots.restore(
                found, source, self._best, log, early_stopping=keeps_best, rank=self._ranks.rank
            )
        )
        if self._resume_from is not None:  # the patience may have run out: it starts anew
            self._best.waited = 0
        log.status.update(params_source="last", loaded_from=str(found.path))
        ended = found.facts["ended"] or {}
        step = self._counters.step
        where = f"epoch {self._counters.epoch}, step {step}"
        if ended.get("stopped") and self._resume_from is None:
            schedule.stopped, schedule.reason = True, ended["reason"]
            say(
                f"This training ended at {where} ({ended['reason']}), and stays ended. To go on, "
                "pass resume_from='last', or resume_from='best' for the moment of the best "
                f"{self._best.name}."
            )
            return
        say(f"Resume training: {where}, from {found.path}.")
        if ended.get("params_source") == "best" and self._resume_from is None:
            say(
                f"It had ended with the best parameters, those of step {self._best.step}; it goes "
                f"on with those of step {step} (resume_from='best' goes back)."
            )

    def _tell_where_it_starts(self, log: TrainingLogBase) -> None:
        """Print that a log with steps is continued, or is done; warn of untrained parameters."""
        now, say = self._counters, self._reporter.say
        if not now.epoch and not now.step:
            return
        where = f"epoch {now.epoch}, step {now.step}"
        say(
            f"Continue the log: {where}, of run {log.h_uuid}. For a training of its own, give the "
            "loop a log of its own."
        )
        for name, limit, reached in (
            ("max_epoch", now.max_epoch, now.epoch), ("max_step", now.max_step, now.step),
        ):  # fmt: skip
            if limit is not None and reached >= limit:
                say(
                    f"Nothing is left to do: {name}={limit} is counted over the whole log, which "
                    f"has {reached}. To go on, pass {name}={reached + limit} for {limit} more."
                )
                return
        if self._snapshots.params is not None and not was_trained(log, self._snapshots.params):
            warnings.warn(
                f"the log stands at {where}, but the parameters were restored from nowhere: they "
                "are as the program made them. Pass the checkpoint_dir of that training or "
                "restore_checkpoint=PATH, or give the loop a log of its own",
                TrainingLogWarning,
                stacklevel=5,
            )

    def _find(self) -> Checkpoint | None:
        """Read the checkpoint to continue from; all ranks take the one that the first finds."""
        if not self._ranks.many:
            return self._snapshots.find(self._restore_from)
        found = self._snapshots.find(self._restore_from) if self._ranks.first else None
        name = b"" if found is None else os.fsencode(found.path)
        path = self._ranks.from_first(name)
        if not path or self._ranks.first:
            return found
        try:
            return self._snapshots.find(Path(os.fsdecode(path)))
        except CheckpointNotFound as error:
            raise CheckpointNotFound(
                f"{error}, for rank {self._ranks.rank}: the first rank goes on from it, so that "
                "checkpoint_dir must be on a file system that all ranks see; or start anew, with "
                "restore_checkpoint=False"
            ) from error

    def finish(self) -> None:
        """End a training that the program left without an exception."""
        schedule, log = self._schedule, self._metrics_log.log
        schedule.say_unsaid()
        schedule.settle()
        schedule.agreement.on_exit()
        schedule.reason = schedule.reason or "break"
        try:
            schedule.save_end()
        finally:
            log.status["stop_reason"] = schedule.reason
            log.flush()

    def fail(self, error: BaseException) -> None:
        """Record the exception that ended the training."""
        self._ranks.leave(error)  # first: the other ranks wait for this one
        self._schedule.reason = "exception"
        self._metrics_log.failed(error)

    def put_best_back(self) -> None:
        """Restore the best parameters, if `early_stopping` is set."""
        best = self._best
        if not self._early_stopping:
            return
        params = None if best.moment is None else best.moment["params"]
        params = self._schedule.agreement.best_params(params)
        if params is None:
            self._reporter.say(
                f"No {best.name} was collected: the parameters are those of the last step."
            )
            return
        self._snapshots.put_params(params)
        self.params_source = "best"
        self._metrics_log.log.status.update(params_source="best", params_step=best.step)

    def release(self, error: BaseException | None) -> None:
        """Release the folder and the log, close a log of our own, and leave the ranks on error."""
        if error is not None:
            self._ranks.leave(error)
        if self._snapshots.folder is not None:
            self._snapshots.folder.ownership.release()
        log = self._metrics_log.log
        if self._snapshots.params is not None:
            remember_trained(log, self._snapshots.params)
        _WRITTEN.discard(id(log))
        if self._given is None:
            log.__exit__(None if error is None else type(error), error, None)
