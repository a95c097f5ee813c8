"""`TrainLoop`: runs epochs and steps, and does everything that a training needs around them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

from traininglog.base import TrainingLogBase
from traininglog.blocks import block
from traininglog.display.notebook import in_notebook
from traininglog.event_files import EventFile
from traininglog.loop.checkpoint.snapshots import Snapshots
from traininglog.loop.counters import Counters
from traininglog.loop.errors import LoopMisuse
from traininglog.loop.events import EventKeys, EventSource
from traininglog.loop.measures.best import Best, Tracked, smaller_is_better, tracked_bests
from traininglog.loop.measures.metrics import TIME_METRIC, MetricFormatter, is_time, number
from traininglog.loop.measures.metrics_log import MetricsLog
from traininglog.loop.measures.statistics import StatisticsCollector
from traininglog.loop.measures.summary_writer import Summaries
from traininglog.loop.measures.validation import Validation
from traininglog.loop.reports import training_summary
from traininglog.loop.reports.mishaps import Mishaps
from traininglog.loop.reports.progress import Progress
from traininglog.loop.reports.reporter import Reporter
from traininglog.loop.schedule import Schedule
from traininglog.loop.session import Session
from traininglog.loop.stops.interrupts import Interrupts
from traininglog.loop.stops.ranks import Ranks

Batch = TypeVar("Batch")

_METRICS = EventKeys.METRICS_COLLECTED  # an attribute of an Enum takes time to find


class TrainLoop:
    """A training loop that counts, measures, prints, logs, keeps checkpoints, and can be resumed.

    ::

        with TrainLoop(params, log=log, max_epoch=10, checkpoint_dir="checkpoints",
                       checkpoint_epoch_freq=1, checkpoint_save_objects={"optimizer": optimizer},
                       early_stopping=True) as loop:
            loop.print_training_summary()
            for epoch in loop.iter_epochs():
                for step, (x, y) in loop.iter_steps(batches):
                    loop.collect_metrics(loss=train(x, y))
                with loop.timeit("valid_time"):
                    loop.collect_metrics(valid_loss=validate())
                loop.print_logs()

    The loop writes everything into the log. A metric goes into the row of its step. The row of the
    last step of an epoch also gets the number of the epoch as ``epoch``, and the statistics of its
    metrics as ``epoch/loss``, ``epoch/loss_std`` (and ``epoch/loss_nan``, the number of NaN, if
    there were any). Times are metrics, too: ``epoch_time``, the blocks that `timeit` measures, and,
    in the statistics only, ``step_time`` and ``data_time``, the time a step waited for its data.
    The status of the log gets ``iterations_done``, ``epochs_done``, ``_epoch_ends``, ``best``,
    ``stop_reason`` and ``params_source``. An epoch that ends before its data does, by `max_step`, a
    signal or `request_stop`, does not count as done; one that the program leaves by ``break`` does.

    A new loop with the same `checkpoint_dir` continues from the last checkpoint. It restores the
    parameters, objects, random states, the position in the data and the statistics so far, and
    resumes the log at that step. If an epoch was interrupted, the code of its body outside of the
    steps runs again.

    Args:
        params: The trained parameters: an object with ``state_dict`` and ``load_state_dict`` (or
            ``get_state`` and ``set_state``), arrays or a list or dict of them, a ``(getter,
            setter)`` pair, or a `Holder`.
        log: The log to write; by default ``open_log()``, which the loop closes. The loop continues
            a log that has iterations already: epochs and steps count on from there.
        max_epoch: The last epoch; None: no limit.
        max_step: The last step, counted over all epochs; None: no limit. With both limits the
            training ends at the first that it reaches.
        var_groups: Prefixes of parameter names, to group them by in the training summary.
        show_eta: Whether printed lines contain the time left.
        print_func: Prints a line. If it fails, the loop reports that once and goes on.
        metric_formatter: Formats metrics for printing.
        checkpoint_dir: The folder of the checkpoints. The loop writes one at the end of the
            training, also if a signal ended it, on `make_checkpoint`, and every
            `checkpoint_epoch_freq` epochs. If one of the last kind fails, the loop reports that
            once, and tries again after the next epoch. On entry the loop checks whether the state
            can be saved. The row of a checkpoint's step contains its path as ``saved_to``.
        checkpoint_epoch_freq: The number of epochs between two checkpoints.
        checkpoint_max_to_keep: How many checkpoints to keep, over all restarts; None or 0: all.
        checkpoint_save_objects: The objects to save beside the parameters, by name.
        restore_checkpoint: Whether to continue from the newest checkpoint; or the path of one.
        resume_from: ``"last"`` or ``"best"``: which of the two moments in the checkpoint to restore
            as a whole. It also continues a training that early stopping or `request_stop` has
            stopped; without it that training stays stopped.
        replay: ``"check"``: where a training continues amid an epoch, compare the replayed data
            with the earlier data, and raise `DataDiffers` if it is not the same. ``"trust"``: it is
            the same, or is meant to be random. The loop finds and saves the random generators that
            the data has.
        serializer: ``(dump, load)``, to bytes and back, for objects that are not plain data.
        summary_dir: A folder for TensorBoard's event files (the extra ``tensorboard``); ignored if
            there is a `summary_writer`.
        summary_writer: Anything with ``add_scalar(tag, value, step)``; the loop does not close it.
        summary_metric_prefix: The prefix of metric names in tags.
        summary_skip_pattern: Metrics whose whole name matches do not go to the writer; by default
            times.
        summary_commit_freqs: By metric, n: only each n-th value goes to the writer.
        valid_metric_name: The validation metric, which tells how good the parameters are.
        valid_metric_smaller_is_better: Or pass ``mode="min"`` or ``"max"``; the default depends on
            the name: accuracy, auc, f1, precision, recall and reward (``valid_acc``) grow.
        track_best: Metrics whose best value the loop keeps as ``best_<name>`` in the log's status;
            the row of each value that is the best so far has ``<name>_best_so_far``. A mapping
            names ``"min"`` or ``"max"`` for each.
        early_stopping: Whether to restore the parameters of the best value in the end, whatever
            ended the training. The loop restores only `params`, nothing else.
        patience: Stop after this many values in a row that were no better.
        min_delta: By how much a value must be better to count.
        mode: See `valid_metric_smaller_is_better`.
        handle_signals: Whether SIGINT, SIGTERM and SIGHUP end the training in good order: the first
            SIGINT after the epoch, the second after the step, the third at once; SIGTERM and SIGHUP
            after the step, with a checkpoint. Signals are handled in the main thread only. An error
            that an earlier handler raises is raised once the loop has been left. In a notebook a
            training that SIGINT ended raises KeyboardInterrupt then, so that later cells do not
            run.
        progress: None: a live bar if stderr is a terminal, lines if that is a dumb one. True: a
            bar, or elsewhere a line every ten seconds. False: nothing.

        distributed: Whether the ranks of ``torch.distributed`` end, stop and make checkpoints
            together. None: if there are several. False: for a loop that only one rank runs.

    With several ranks each runs a loop. The ranks decide together at each step, in an exchange of a
    few bytes. A signal, `request_stop` or the end of data in one rank ends the step, the training
    or the pass of all. The validation metric of the first rank counts. The first rank prints, and
    writes the checkpoints and summaries, in a `checkpoint_dir` that all ranks can read. Checkpoints
    contain the random states and the position of each rank. The other ranks log to memory, unless
    each is passed a log. All parameters are those of the first rank, as under
    ``DistributedDataParallel``.

    A loop can be entered once, and not within itself. Several loops may be nested, each with a log
    of its own. A call out of turn raises `LoopMisuse`.
    """

    def __init__(
        self,
        params: Any = None,
        *,
        log: TrainingLogBase | None = None,
        max_epoch: Any = None,
        max_step: Any = None,
        var_groups: Iterable[str] = (),
        show_eta: bool = True,
        print_func: Callable[[str], object] = print,
        metric_formatter: MetricFormatter | None = None,
        checkpoint_dir: str | Path | None = None,
        checkpoint_epoch_freq: int | None = None,
        checkpoint_max_to_keep: int | None = None,
        checkpoint_save_objects: Mapping[str, Any] | None = None,
        restore_checkpoint: bool | str | Path = True,
        resume_from: Literal["last", "best"] | None = None,
        replay: Literal["check", "trust"] = "check",
        serializer: tuple[Callable[[Any], bytes], Callable[[bytes], Any]] | None = None,
        summary_dir: str | os.PathLike[str] | None = None,
        summary_writer: Any = None,
        summary_metric_prefix: str = "metrics/",
        summary_skip_pattern: str | re.Pattern[str] | None = TIME_METRIC,
        summary_commit_freqs: Mapping[str, int] | None = None,
        valid_metric_name: str = "valid_loss",
        valid_metric_smaller_is_better: bool | None = None,
        track_best: Tracked = (),
        early_stopping: bool = False,
        patience: int | None = None,
        min_delta: float = 0.0,
        mode: Literal["min", "max"] | None = None,
        handle_signals: bool = True,
        progress: bool | None = None,
        distributed: bool | None = None,
    ) -> None:
        if log is not None and not isinstance(log, TrainingLogBase):
            raise TypeError(
                f"log is a TrainingLogBase, not a {type(log).__name__}: use open_log(...)"
            )
        if checkpoint_epoch_freq is not None and checkpoint_epoch_freq < 1:
            raise ValueError(
                f"checkpoint_epoch_freq must be at least 1, not {checkpoint_epoch_freq}"
            )
        if checkpoint_dir is None and checkpoint_epoch_freq is not None:
            raise ValueError("checkpoint_epoch_freq needs a checkpoint_dir")
        if resume_from not in (None, "last", "best"):
            raise ValueError(f"resume_from must be 'last' or 'best', not {resume_from!r}")
        if replay not in ("check", "trust"):
            raise ValueError(f"replay must be 'check' or 'trust', not {replay!r}")
        self._snapshots = Snapshots(
            params, checkpoint_save_objects, checkpoint_dir, checkpoint_max_to_keep, serializer
        )
        if early_stopping and self._snapshots.params is None:
            raise ValueError("early_stopping puts parameters back: pass params")
        self._best = Best(
            valid_metric_name,
            smaller=smaller_is_better(valid_metric_name, valid_metric_smaller_is_better, mode),
            min_delta=min_delta,
            patience=patience,
        )
        tracked = tracked_bests(track_best)
        self._early_stopping = early_stopping
        self._groups = tuple(var_groups)
        self._wants_progress = progress
        self._handle_signals = handle_signals
        self._state: Literal["new", "open", "closed"] = "new"
        self._event_file: EventFile | None = None
        self._ranks = Ranks(distributed=distributed)
        if summary_writer is None and summary_dir is not None and self._ranks.first:
            summary_writer = self._event_file = EventFile(summary_dir)
        self._summaries = (
            None
            if summary_writer is None
            else Summaries(
                summary_writer, summary_metric_prefix, summary_skip_pattern, summary_commit_freqs
            )
        )
        self._events = EventSource(EventKeys)
        self._counters = Counters(max_epoch, max_step)
        self._interrupts = Interrupts(self._counters)
        self._interrupts.silent = not self._ranks.first
        self._mishaps = Mishaps()
        self._progress = Progress(self._counters)
        self._metrics_log = MetricsLog(self._counters, self._events, self, self._summaries)
        self._reporter = Reporter(
            self._counters, self._progress, print_func, metric_formatter or MetricFormatter(),
            self._mishaps, show_eta=show_eta, silent=not self._ranks.first,
        )  # fmt: skip
        self._schedule = Schedule(
            self._counters, self._metrics_log, self._reporter, self._progress, self._snapshots,
            self._best, self._interrupts, self._events, self._mishaps, self._ranks, self,
            freq=checkpoint_epoch_freq, restores_best=early_stopping, replay=replay,
        )  # fmt: skip
        self._validation = Validation(
            self._best, tracked, self._counters, self._metrics_log, self._reporter,
            self._schedule.agreement, self._schedule.moment if early_stopping else None,
            first=self._ranks.first,
        )  # fmt: skip
        self._session = Session(
            log, self._counters, self._metrics_log, self._reporter, self._snapshots, self._best,
            self._schedule, self._mishaps, self._ranks, restore_from=restore_checkpoint,
            resume_from=resume_from, early_stopping=early_stopping,
        )  # fmt: skip

    # -- properties -------------------------------------------------------------------------

    @property
    def log(self) -> TrainingLogBase:
        """The log that the loop writes."""
        if self._state == "new":
            raise LoopMisuse("the loop has no log before it is entered: use it in a with statement")
        return self._metrics_log.log

    @property
    def params(self) -> Any:
        """The trained parameters."""
        return self._snapshots.params

    @property
    def epoch(self) -> int:
        """The number of the epoch, from 1 on; 0 before the first."""
        return self._counters.epoch

    @property
    def step(self) -> int:
        """The number of the step over all epochs, from 1 on; 0 before the first."""
        return self._counters.step

    @property
    def step_data(self) -> Any:
        """The batch of the step that is open, else None."""
        return self._counters.data

    @property
    def max_epoch(self) -> int | None:
        """The last epoch, or None. The program may set it at any time."""
        return self._counters.max_epoch

    @max_epoch.setter
    def max_epoch(self, value: Any) -> None:
        self._counters.max_epoch = value

    @property
    def max_step(self) -> int | None:
        """The last step over all epochs, or None. The program may set it at any time."""
        return self._counters.max_step

    @max_step.setter
    def max_step(self, value: Any) -> None:
        self._counters.max_step = value

    @property
    def within_epoch(self) -> bool:
        """Whether an epoch is open."""
        return self._counters.within_epoch

    @property
    def within_step(self) -> bool:
        """Whether a step is open."""
        return self._counters.within_step

    @property
    def events(self) -> EventSource:
        """The source of events, to register handlers with; see `EventKeys`."""
        return self._events

    @property
    def summary_writer(self) -> Any:
        """The summary writer, or None."""
        return None if self._summaries is None else self._summaries.writer

    @property
    def use_early_stopping(self) -> bool:
        """Whether the loop restores the parameters of the best value in the end."""
        return self._early_stopping

    @property
    def valid_metric_name(self) -> str:
        """The name of the validation metric, which tells how good the parameters are."""
        return self._best.name

    @property
    def valid_metric_smaller_is_better(self) -> bool:
        """Whether a smaller value of the validation metric is better."""
        return self._best.smaller

    @property
    def best_valid_metric(self) -> float | None:
        """The best value of the validation metric so far, or None."""
        return self._best.value

    @property
    def params_source(self) -> Literal["last", "best"]:
        """The step that the parameters come from: the last one, or that of the best value."""
        return self._session.params_source

    @property
    def stop_reason(self) -> str | None:
        """Why the training ended.

        ``"max_epoch"``, ``"max_step"``, ``"early stopping"``, ``"SIGINT"``, ``"SIGTERM"``,
        ``"SIGHUP"``, ``"break"``, ``"exception"``, or the argument of `request_stop`; None while
        the training goes on.
        """
        return self._schedule.reason

    def get_progress(self) -> float | None:
        """Return the progress from 0 to 1, or None if the training has no known end."""
        return self._progress.fraction()

    def get_eta(self) -> float | None:
        """Return the estimated seconds left, or None if they cannot be estimated."""
        return self._progress.left()

    def _require(self, what: str, *, epoch: bool = True) -> None:
        if self._state != "open":
            raise LoopMisuse(f"{what} needs an open loop: use it in a with statement")
        if epoch and not self._counters.within_epoch:
            raise LoopMisuse(f"{what} needs an open epoch: for epoch in loop.iter_epochs()")

    # -- entering and leaving ---------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._state != "new":
            raise LoopMisuse("a loop can be entered once: make a new one")
        self._session.enter()
        self._state = "open"
        try:
            if self._handle_signals:
                self._interrupts.listen()
            self._progress.begin()
            self._reporter.open(wanted=self._wants_progress)
            self._events.fire(EventKeys.ENTER_LOOP, self)
        except BaseException as error:
            self._release(error)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reporter.close()
        ends: list[Callable[[], None]] = [
            self._schedule.close_iterators,
            self._session.finish if error is None else partial(self._session.fail, error),
            self._session.put_best_back,
            partial(self._events.reverse_fire, EventKeys.EXIT_LOOP, self),
        ]
        failures: list[Exception] = []
        try:
            for end in ends:
                try:
                    end()
                except Exception as failure:  # noqa: BLE001 - the other ends must still run
                    failures.append(failure)
        finally:
            self._release(error or (failures[0] if failures else None))
        if error is None and failures:
            raise failures[0]
        if error is None and self._interrupts.postponed is not None:
            raise self._interrupts.postponed  # a previous handler's error
        if error is None and self._interrupts.interrupted and in_notebook():
            raise KeyboardInterrupt(
                f"the training ended in good order after step {self.step}; this stops the cells "
                "after it"
            )
        if error is not None and self._interrupts.epoch:
            error.add_note(
                f"{self._interrupts.name} had come before: workers that a step asks for something "
                "may have been ended by it as well."
            )
        for lesser in [*self._schedule.postponed, *failures]:
            if error is not None:
                error.add_note(f"While the loop was being left: {lesser!r}")

    def _release(self, error: BaseException | None) -> None:
        """Release the terminal, the signal handlers and the log, whatever happened."""
        self._state = "closed"
        self._reporter.close()
        self._interrupts.stop()
        self._reporter.finish()
        try:
            if self._event_file is not None:
                self._event_file.close()
        except Exception as failure:  # noqa: BLE001 - a full disk must not fail a training
            self._mishaps.tell("writing the summaries", failure)
        finally:
            self._session.release(error)

    # -- epochs and steps -------------------------------------------------------------------

    def iter_epochs(self) -> Iterator[int]:
        """Iterate over the numbers of the epochs, up to the limit.

        An epoch without steps, as of a loop that only evaluates, counts as one step in the log, so
        that it gets its own row. Raises `LoopMisuse` within another epoch.
        """
        self._require("iter_epochs()", epoch=False)
        self._schedule.refuse_nested_epochs()
        return self._schedule.epochs()

    @overload
    def iter_steps(self) -> Iterator[int]: ...
    @overload
    def iter_steps(
        self, data: Iterable[Batch] | Callable[[], Iterable[Batch]]
    ) -> Iterator[tuple[int, Batch]]: ...
    def iter_steps(self, data: Any = None) -> Iterator[Any]:
        """Iterate over steps, to the end of the data or to `max_step`.

        Yields the number of the step, or ``(step, batch)`` if there is data.

        Args:
            data: An iterable with a batch for each step, or a function that returns one. A
                checkpoint contains the position that ``state_dict`` of the data returns, and
                ``load_state_dict`` restores it. Data without these methods is replayed up to the
                position on a restart. Without data there must be a `max_step`.

        Raises:
            LoopMisuse: Outside of an epoch, within another step loop, or without any end.
            NoBatches: The data has no batch, or is an iterator that is exhausted already.

        """
        self._require("iter_steps()")
        if data is None and self.max_step is None:
            raise LoopMisuse("steps without data have no end: pass data, or set max_step")
        return self._schedule.steps(data)

    # -- metrics ----------------------------------------------------------------------------

    def collect_metrics(self, metrics: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Collect metrics: into the row of the step, and for the statistics.

        Outside of a step they go into the row of the last step of this epoch. Before its first step
        they go into the row of that step (in the first epoch into row 0).

        Args:
            metrics: Numbers by name; an array or tensor counts as its mean.
            more: The same, by keyword; keywords override `metrics`.

        Raises `LoopMisuse` outside of an epoch, and `TypeError` for a value that is no number.
        """
        if not self._counters.within_epoch:
            self._require("collect_metrics()")
        values = more
        if metrics is not None:
            if not isinstance(metrics, Mapping):
                raise TypeError(
                    f"metrics are a mapping from names to numbers, not a {type(metrics).__name__}"
                )
            values = {**metrics, **more}
        for value in values.values():
            if type(value) is not float:
                values = {name: number(name, value) for name, value in values.items()}
                break
        self._metrics_log.collect(values)
        self._validation.offer(values)
        if _METRICS in self._events.awaited:
            self._events.fire(_METRICS, self, dict(values))

    @block
    def timeit(self, name: str) -> Iterator[None]:
        """Measure the wall time of a block in seconds, as a metric, unless the block raises."""
        self._require("timeit()")
        began = perf_counter()
        yield
        self._metrics_log.collect_time(name, perf_counter() - began)

    @block
    def metric_collector(self, name: str) -> Iterator[StatisticsCollector]:
        """Yield a collector whose weighted mean becomes a metric, unless the block raises."""
        self._require("metric_collector()")
        collector = StatisticsCollector(name=name)
        yield collector
        if collector.has_value:
            self.collect_metrics({name: collector.mean})

    def add_summary(self, summary: Mapping[str, Any]) -> None:
        """Write numbers to the summary writer, by tag.

        Raises `LoopMisuse` if there is no writer.
        """
        self._require("add_summary()")
        if self._summaries is None:
            if not self._ranks.first:
                return
            raise LoopMisuse(
                "there is no summary writer: pass summary_writer or summary_dir to the loop"
            )
        values = {tag: number(tag, value) for tag, value in summary.items()}
        for tag, value in values.items():
            self._summaries.write(tag, value, self.step)
        self._events.fire(EventKeys.SUMMARY_ADDED, self, values)

    # -- printing ---------------------------------------------------------------------------

    def println(self, message: object, with_tag: bool = False) -> None:
        """Print a line; `with_tag` adds the epoch, the step and the time left.

        Raises `LoopMisuse` for a tag outside of an epoch.
        """
        if with_tag:
            self._require("a tag")
            self._reporter.say_tagged(message)
        else:
            self._reporter.say(message)

    def print_logs(self) -> None:
        """Print the statistics of the metrics since the last call.

        Within a step these are the metrics collected in steps, else all. Call it at the end of a
        step or epoch: it takes the time of that step or epoch, which then counts as done in the
        progress and the time left. " (*)" marks a new best validation metric.
        """
        self._require("print_logs()")
        if self.within_step:
            stretch = "steps"
            self._schedule.time_step()
        else:
            stretch = "epochs"
            self._schedule.settle()
            self._schedule.time_epoch()
        self._counters.reported = True
        found = self._metrics_log.metrics.statistics(stretch)
        self._reporter.say_metrics(found, " (*)" if self._validation.new_best else "")
        self._validation.new_best = False
        times = {name: value for name, value in found.items() if is_time(name)}
        others = {name: value for name, value in found.items() if name not in times}
        for key, values in (
            (EventKeys.METRIC_STATS_PRINTED, others),
            (EventKeys.TIME_METRIC_STATS_PRINTED, times),
        ):
            if values:
                self._events.fire(key, self, values)
        self._metrics_log.metrics.clear(stretch)

    def print_training_summary(self) -> None:
        """Print the environment, the trained parameters, and the places of log and checkpoints."""
        self._require("print_training_summary()", epoch=False)
        lines = training_summary.environment_lines()
        lines += ["Training", f"  log {self.log.h_uuid} in {self.log.location}"]
        if self._snapshots.folder is not None:
            lines.append(f"  checkpoints in {self._snapshots.folder.path}")
        found = training_summary.parameters(self._snapshots.params)
        for line in [*lines, *training_summary.parameter_lines(found, self._groups)]:
            self._reporter.say(line)

    # -- stopping and checkpoints -----------------------------------------------------------

    def request_stop(self, reason: str = "requested") -> None:
        """End the training after this step; outside of a step, after this epoch's body.

        The training counts as ended. A loop that restores its checkpoint does not continue it,
        unless `resume_from` is passed.
        """
        self._require("request_stop()", epoch=False)
        self._schedule.agreement.ask_to_stop(str(reason))

    def make_checkpoint(self) -> Path:
        """Write a checkpoint, and return its path.

        Call it when the work of the step or epoch is done: a restored training continues after
        that step or epoch.

        Raises `LoopMisuse` outside of an epoch or without a `checkpoint_dir`.
        """
        self._require("make_checkpoint()")
        if self._snapshots.folder is None:
            raise LoopMisuse("there is no place for checkpoints: pass checkpoint_dir to the loop")
        return self._schedule.checkpoint()
