"""`TrialLogger`: through it a program logs to a running trial."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from traininglog.base import TrainingLogBase
from traininglog.errors import LogClosed, TrainingLogError, TrainingLogWarning
from traininglog.trials.entities import Trial
from traininglog.trials.lifetimes import endings
from traininglog.trials.measures.aggregators import Aggregator
from traininglog.trials.measures.eta import Eta
from traininglog.trials.measures.measurements import Measurements
from traininglog.trials.measures.timing import Callback, Chrono
from traininglog.trials.statuses import AnyStatus, Status, status_of
from traininglog.trials.store import TrialStore
from traininglog.trials.surroundings import artifacts, versions
from traininglog.trials.surroundings.arguments import arguments_of, stored_arguments
from traininglog.trials.surroundings.capture import CapturedOutput
from traininglog.trials.surroundings.environments import environment
from traininglog.trials.trial_errors import TrialNeedsParameters
from traininglog.values import StoredRow, Value

if TYPE_CHECKING:
    from argparse import Namespace

    import pandas as pd

    from traininglog.selection import Layout
    from traininglog.trials.surroundings.arguments import Arguments

Factory = Callable[[], Aggregator]
#: Creates the trial from its parameters and tags.
Make = Callable[[StoredRow, StoredRow], Trial]

_SAVE_OUTPUT_EVERY = 0.05  # seconds between two writes of captured lines
_ENVIRONMENT_PATIENCE = 5.0  # seconds that the end of a trial waits for the environment's thread


class TrialLogger:
    """Logger of one trial. As a block, it starts and ends the trial::

        with trial:
            for step in range(100):
                trial.log_metrics(step=step, loss=0.5)

    Without a block, the first logged value starts the trial, and `finish` or the end of the program
    ends it. The final status is Completed, Exception (with type, message and traceback in `errors`;
    the exception itself propagates unchanged) or Interrupted (SIGINT, SIGTERM). If the process was
    killed, a reader works out the status Broken.

    `TrialClient.new_trial` and `TrialClient.set_trial` return loggers.
    """

    def __init__(self, store: TrialStore, trial: Trial | None, make: Make | None = None) -> None:
        self.store = store
        self._trial = trial
        self._make = make
        self._waiting_tags: StoredRow = {}
        self._measurements: Measurements | None = None
        self._since = 0.0
        self._chosen: AnyStatus | None = None  # the status that the program set
        self._ended = False
        self._eta: Eta | None = None
        self._environment: threading.Thread | None = None
        self._lock = threading.RLock()
        self._captures: list[CapturedOutput] = []
        self.signalled = False
        self.pid = os.getpid()

    # -- properties -------------------------------------------------------------------------

    @property
    def trial(self) -> Trial:
        """The trial, read from the store. Raises `TrialNeedsParameters`."""
        self._trial = self.store.trial(self.uid)
        return self._trial

    @property
    def uid(self) -> str:
        """The UID of the trial. Raises `TrialNeedsParameters` before it has parameters."""
        if self._trial is None:
            raise TrialNeedsParameters(
                "the trial has no parameters yet, which are a part of its identity: "
                "trial.log_arguments(lr=0.1), or new_trial(parameters={...}), first"
            )
        return self._trial.uid

    @property
    def made(self) -> bool:
        """Whether the trial is in the store; a trial without parameters is not."""
        return self._trial is not None

    @property
    def running(self) -> bool:
        """Whether this logger started the trial and has not ended it."""
        return self._measurements is not None

    @property
    def ended(self) -> bool:
        """Whether this logger ended the trial."""
        return self._ended

    @property
    def log(self) -> TrainingLogBase:
        """The training log of the trial. After the end of the trial it is read-only."""
        if self._ended:
            uuid = self.trial.log
            assert uuid is not None  # noqa: S101 - a trial that ended has a log
            return self.store.records.open_log(uuid, readonly=True)
        log = self._started().log
        self._save_output(log)
        return log

    @property
    def metrics(self) -> StoredRow:
        """The logged metrics; see `Trial.metrics`."""
        return self.trial.metrics

    @property
    def status(self) -> AnyStatus:
        """The current status of the trial."""
        return self.trial.status

    def __repr__(self) -> str:
        return f"<TrialLogger of {self._trial!r}>"

    # -- start and end ----------------------------------------------------------------------

    def start(self) -> Self:
        """Start the trial, or continue one that ran before."""
        self._started()
        return self

    def _started(self) -> Measurements:
        measured = self._measurements
        if measured is None:
            with self._lock:
                if self._measurements is None:
                    self._measurements = self._begin()
                measured = self._measurements
        return measured

    def _begin(self) -> Measurements:
        if self._ended:
            raise LogClosed(
                "the trial was ended here: go on with it by client.set_trial(uid=...), or make a "
                "new one"
            )
        measured = self.store.log_trial_start(self.uid)
        self._since = time.perf_counter()
        self.pid = os.getpid()
        self.store.watch(self)
        self._environment = threading.Thread(
            target=self._keep_environment, args=(self.uid,), daemon=True, name="environment"
        )
        self._environment.start()
        return measured

    def _keep_environment(self, uid: str) -> None:
        try:
            self.store.keep_environment(uid, environment())
        except (TrainingLogError, OSError) as error:  # the trial runs without its environment
            warnings.warn(
                f"the environment of the trial could not be kept: {error}",
                TrainingLogWarning,
                stacklevel=2,
            )

    def _wait_for_environment(self) -> None:
        if self._environment is not None:
            self._environment.join(_ENVIRONMENT_PATIENCE)

    def finish(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> Self:
        """End the trial as Completed, or with the status that an exception implies.

        A status that the program set stays.

        Args:
            exc_type, exc_val, exc_tb: The arguments of an ``__exit__``. The class or the exception
                alone is enough.

        """
        error = endings.error_of(exc_type, exc_val, exc_tb)
        if error is None:
            self.end(Status.Completed)
        else:
            self.leave(error)
        return self

    def leave(self, error: BaseException | None) -> None:
        """End the trial like a block that `error` leaves; None means without an error."""
        self.end(*endings.told_of(error, signalled=self.signalled))

    def end(self, status: AnyStatus, error: StoredRow | None = None) -> None:
        """End the trial with a status, unless it has ended or the program set a status."""
        with self._lock:
            if self._ended:
                return
            measured = self._started()
            if self.store.is_writing(self.uid, measured):
                self._end(measured, status, error)
            else:  # the store's verb or another logger ended it, and recorded its status
                self._wait_for_environment()  # which needs the store
            self._ended, self._measurements = True, None
        self.store.unwatch(self)

    def _end(self, measured: Measurements, status: AnyStatus, error: StoredRow | None) -> None:
        runtime = time.perf_counter() - self._since
        self._stop_captures()
        self._wait_for_environment()
        if not measured.log.closed:
            measured.add_runtime(runtime)
        chosen = self._chosen
        if chosen is not None and chosen != Status.Running and error is None:
            status = chosen
        self._trial = self.store.end(self.uid, status, error)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.leave(error)
        except (TrainingLogError, OSError) as failure:
            if error is None:
                raise
            # A failure to write the end must not hide the exception that ended the trial.
            warnings.warn(
                f"the end of the trial could not be written: {failure}",
                TrainingLogWarning,
                stacklevel=2,
            )

    def resume(self, at: int | None = None) -> Self:
        """Resume a trial that ran before from a time, by default its last one.

        Call this before the start. Values that the trial logged later stay in its old run, and
        readers of the trial no longer see them.
        """
        if self._measurements is not None:
            raise LogClosed("the trial is running here: resume it before it is started")
        self.store.resume(self.uid, at)
        return self

    def set_status(self, status: AnyStatus | str, error: BaseException | Value = None) -> Self:
        """Set the status, which may be a custom one. It stays when the block ends."""
        chosen = status_of(status)
        if error is not None and isinstance(error, BaseException):
            error = endings.described(error)
        self._trial = self.store.set_trial_status(self.uid, chosen, error)
        self._chosen = chosen
        return self

    # -- logging ----------------------------------------------------------------------------

    def log_metrics(
        self,
        step: int | None = None,
        aggregator: Factory | Aggregator | None = None,
        **metrics: float,
    ) -> None:
        """Log numbers. If one of them is invalid, log none.

        Args:
            step: The time of the numbers, a non-negative integer. A second call with the same step
                overwrites. Without a step, the numbers are appended to a series.
            aggregator: Without a step, this keeps the numbers instead, for example
                ``StatAggregator.lazy(10)``. Only the first call with a name uses it.
            metrics: Numbers, or scalars of NumPy, PyTorch and the like.

        Raises:
            InvalidMetric: A value is no number, or its name was logged both with and without steps.
            InvalidTime: The step is no non-negative integer.

        """
        measured = self._measurements
        if measured is None:
            measured = self._started()
        measured.log_metrics(step, aggregator, metrics)

    def log_metadata(self, **metadata: Value) -> None:
        """Record data that is neither a parameter nor a metric: plain data by name."""
        self._trial = self.store.log_trial_metadata(self.uid, **metadata)

    def add_tags(self, **tags: Value) -> None:
        """Set tags: plain data by name. This works before the trial has parameters, too."""
        if self._trial is None:
            self._waiting_tags |= tags
        else:
            self._trial = self.store.add_trial_tags(self.uid, **tags)

    def log_arguments(
        self,
        args: Arguments = None,
        show: bool = False,
        *,
        arguments: Arguments = None,
        **more: Value,
    ) -> Namespace:
        """Set the parameters of the trial, and return them.

        Args:
            args: An `ArgumentParser` (it parses the command line), a `Namespace`, a dict, or a
                dataclass. For the first two, which come from a command line, texts under names like
                ``api_key`` and ``password`` are masked in the store. The returned Namespace has
                the texts themselves.
            arguments: Another name of `args`.
            show: Print the parameters.
            more: Parameters by name. Those of `args` take precedence.

        Raises `ParametersFixed` if the trial has other parameters.
        """
        given: dict[str, object] = dict(more)
        if args is None:
            args = arguments
        elif arguments is not None:
            given["arguments"] = arguments
        namespace = arguments_of(args, given, show=show)
        found = stored_arguments(args, namespace)
        with self._lock:
            if self._trial is not None:
                self._trial = self.store.log_trial_arguments(self.uid, **found)
            else:
                assert self._make is not None  # noqa: S101 - a logger has a trial or `_make`
                self._trial = self._make(found, self._waiting_tags)
        return namespace

    get_arguments = log_arguments

    def chrono(
        self,
        name: str,
        aggregator: Factory | Aggregator | None = None,
        start_callback: Callback | None = None,
        end_callback: Callback | None = None,
    ) -> Chrono:
        """Measure the duration of a block: ``with trial.chrono("batch_time"): ...``

        Args:
            name: Blocks of the same name share one aggregator.
            aggregator: Keeps the seconds. Defaults to `StatAggregator.lazy(0)`.
            start_callback: Is called before the measured time, for example
                ``torch.cuda.synchronize``.
            end_callback: Is called at the end of the block, within the measured time.

        """
        return self._started().chrono(name, aggregator, start_callback, end_callback)

    def capture_output(self, lines: int = 50) -> CapturedOutput:
        """Also save the last printed lines to the log's status ``output``.

        The capture ends with the trial, with `CapturedOutput.stop`, or with its block::

            trial.capture_output(50)

            with trial.capture_output(50) as output:
                train()
            output.lines
        """
        measured = self._started()
        capture = CapturedOutput(lines)
        capture.told = _Saved(measured.log, capture)
        with self._lock:
            self._captures = [one for one in self._captures if one.active]
            self._captures.append(capture.start())
        return capture

    def _stop_captures(self) -> None:
        captures, self._captures = self._captures, []
        for capture in captures:
            capture.stop()

    def _save_output(self, log: TrainingLogBase) -> None:
        """Write the captured lines that the status does not have yet, before a read of the log."""
        for capture in self._captures:
            if capture.active and isinstance(capture.told, _Saved):
                capture.told.save()

    # -- files ------------------------------------------------------------------------------

    def log_code(self, file: str | Path | None = None) -> None:
        """Store a copy of the main script, or of another file of code."""
        path = versions.main_script() if file is None else Path(file)
        if path is None:
            raise FileNotFoundError("this session was not started with a script: name a file")
        self._keep(path, path.name, "code")

    def log_file(self, file: str | Path, name: str | None = None) -> None:
        """Store a copy of a file, under its own or another name."""
        path = Path(file)
        self._keep(path, path.name if name is None else name, "file")

    def log_directory(self, folder: str | Path, name: str | None = None) -> None:
        """Store copies of the files in a folder and its subfolders.

        Links are left out, and so are the files of stores, for example the store of the trial.
        """
        path = Path(folder)
        if not path.is_dir():
            raise NotADirectoryError(f"{path} is not a folder")
        below = artifacts.check_relative(path.absolute().name if name is None else name)
        for inner, file in artifacts.files_below(path, self.store.records.artifacts):
            self._keep(file, f"{below}/{inner}", "directory")

    def _keep(self, file: Path, name: str, kind: artifacts.Kind) -> None:
        uid, name = self.uid, artifacts.check_relative(name)
        kept = artifacts.keep(self.store.records.artifacts, file, name, kind)
        self._trial = self.store.keep_artifact(uid, kept)

    # -- remaining time ---------------------------------------------------------------------

    def set_eta_total(self, total: int | Sequence[int], start: int = 0) -> None:
        """Set the number of steps for `show_eta`; a tuple for nested loops."""
        self._eta = Eta(total, start)

    def show_eta(
        self,
        step: int | Sequence[int],
        timer: Aggregator | None = None,
        msg: str = "",
        throttle: int | None = None,
        every: float | None = None,
        no_print: bool = False,
    ) -> str | None:
        """Print the progress of the loop and its remaining time, and return that line.

        Args:
            step: The last finished step, or the steps of nested loops.
            timer: The duration of a step: the `timer` of ``with trial.chrono(...) as timer``.
                Defaults to the time between two calls of this method.
            msg: A text to print after the line.
            throttle: Print only at the first call and then at each `throttle`-th one. At other
                calls return None.
            every: Print only if this many seconds have passed.
            no_print: Return the line without printing it.

        """
        if self._eta is None:
            raise ValueError("say how many steps there are first: trial.set_eta_total(total)")
        return self._eta.show(step, timer, msg, throttle, every, no_print=no_print)

    # -- reading ----------------------------------------------------------------------------

    def to_dataframe(
        self,
        keys: str | Iterable[str] | None = None,
        *,
        start: int | None = None,
        stop: int | None = None,
        layout: Layout = "wide",
        lineage: bool = True,
        index: str | None = None,
        wall: bool = False,
    ) -> pd.DataFrame:
        """Return the trial's log as a DataFrame; see `TrainingLogBase.to_dataframe`."""
        log = self.log if self._measurements is None else self._measurements.log
        with log if self._measurements is None else nullcontext():
            return log.to_dataframe(
                keys, start=start, stop=stop, layout=layout, lineage=lineage, index=index, wall=wall
            )


class _Saved:
    """Writes captured lines to the status of a log, once per `_SAVE_OUTPUT_EVERY` at most.

    If a write fails, the program's print still succeeds, and one warning tells of the failure.
    """

    def __init__(self, log: TrainingLogBase, capture: CapturedOutput) -> None:
        self._log = log
        self._capture = capture
        self._pid = os.getpid()
        self._saved: list[str] | None = None
        self._last = float("-inf")
        self._busy = False  # a warning printed in here is a captured line itself

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._last > _SAVE_OUTPUT_EVERY or not self._capture.active:
            self._last = now
            self.save()

    def save(self) -> None:
        """Write the lines, unless the status has them already."""
        lines = self._capture.lines
        if self._busy or lines == self._saved or self._log.closed or os.getpid() != self._pid:
            return
        self._busy = True
        try:
            self._log.status["output"] = lines
            self._saved = lines
        except (TrainingLogError, OSError) as error:
            self._last = float("inf")
            warnings.warn(
                f"what is printed cannot be kept any more: {error}",
                TrainingLogWarning,
                stacklevel=2,
            )
        finally:
            self._busy = False
