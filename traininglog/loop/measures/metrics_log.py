"""Writes the metrics, counters and ends of a loop to the log and to the summary writer."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from traininglog.base import TrainingLogBase
from traininglog.loop.counters import Counters
from traininglog.loop.events import EventKeys, EventSource
from traininglog.loop.measures.metrics import Metrics
from traininglog.loop.measures.statistics import Statistics
from traininglog.loop.measures.summary_writer import Summaries

_TIMES = EventKeys.TIME_METRICS_COLLECTED  # an attribute of an Enum takes time to find
_MOST_TRACEBACK = 60_000  # characters; a log limits the size of texts


class MetricsLog:
    """Writes metrics and events of a loop into its log.

    Args:
        counters: The counters of the loop: everything is written at its step.
        events: The source of events, to fire for times that were measured.
        told: The first argument of handlers: the loop.
        summaries: Writes to a summary writer; or None.

    """

    def __init__(
        self, counters: Counters, events: EventSource, told: object, summaries: Summaries | None
    ) -> None:
        self._counters = counters
        self._events = events
        self._awaited = events.awaited
        self._told = told
        self._summaries = summaries
        self.metrics = Metrics()
        self.set_done: Callable[[str, int], None]

    def open(self, log: TrainingLogBase) -> None:
        """Set the log to write to."""
        self.log = log
        self.set_done = log.status.__setitem__  # look it up once, for every step

    def collect(self, values: Mapping[str, float]) -> None:
        """Write metrics into the row of the step, and keep them for the statistics."""
        now = self._counters
        row = self.log[now.row]
        for name, value in values.items():
            row[name] = value
        self.metrics.add(values, in_step=now.within_step)
        if self._summaries is not None:
            self._summaries.add(values, now.row)

    def collect_time(self, name: str, seconds: float) -> None:
        """Collect a measured time as a metric, and fire its event."""
        self.collect({name: seconds})
        self._events.fire(_TIMES, self._told, {name: seconds})

    def collect_step_time(self, seconds: float) -> None:
        """Collect the time of a step, for the statistics only: most users want no rows of it."""
        self._collect_each_step("step_time", seconds)

    def collect_data_time(self, seconds: float) -> None:
        """Collect the time that a step waited for its data, for the statistics only."""
        self._collect_each_step("data_time", seconds)

    def _collect_each_step(self, name: str, seconds: float) -> None:
        self.metrics.add_in_step(name, seconds)
        if self._summaries is not None:
            self._summaries.add({name: seconds}, self._counters.step)
        if _TIMES in self._awaited:
            self._events.fire(_TIMES, self._told, {name: seconds})

    def epoch_done(self) -> None:
        """Write the number and the statistics of the epoch at its last step, and count it."""
        now, status = self._counters, self.log.status
        self.log[now.step].update({"epoch": now.epoch} | _columns(self.metrics.statistics("epoch")))
        ends = [*status["_epoch_ends"], now.step]
        status.update(_epoch_ends=ends, epochs_done=now.epoch)

    def best(self, name: str, value: float) -> None:
        """Write the best value of the validation metric."""
        now = self._counters
        self.log.status["best"] = {
            "metric": name, "value": value, "step": now.row, "epoch": now.epoch,
        }  # fmt: skip

    def saved(self, path: Path, step: int) -> None:
        """Write the path of a checkpoint into the row of its step."""
        self.log[step]["saved_to"] = str(path)

    def failed(self, error: BaseException) -> None:
        """Write the exception that ended the training into the log, and flush it."""
        text = "".join(traceback.format_exception(error))
        if len(text) > _MOST_TRACEBACK:
            half = _MOST_TRACEBACK // 2
            text = f"{text[:half]}\n...\n{text[-half:]}"
        self.log[self._counters.step]["got_exception"] = text.encode("utf-8", "replace").decode()
        self.log.status["stop_reason"] = "exception"
        self.log.flush()


def _columns(statistics: Mapping[str, Statistics]) -> dict[str, Any]:
    """Return the statistics of an epoch as values of a row."""
    row: dict[str, Any] = {}
    for name, found in statistics.items():
        row[f"epoch/{name}"] = found.mean
        if found.counter - found.nan_counter - found.inf_counter > 1:
            row[f"epoch/{name}_std"] = found.stddev
        if found.nan_counter:
            row[f"epoch/{name}_nan"] = found.nan_counter
    return row
