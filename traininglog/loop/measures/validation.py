"""Values of metrics against the best so far: the validation metric, and those that are tracked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from traininglog.callers import warn_caller
from traininglog.loop.counters import Counters
from traininglog.loop.measures.best import Best
from traininglog.loop.measures.metrics_log import MetricsLog
from traininglog.loop.reports.reporter import Reporter
from traininglog.loop.stops.agreement import Agreement


class Validation:
    """Watches collected metrics for a new best, and asks to stop when patience runs out.

    Args:
        best: The validation metric and its best value.
        tracked: Other metrics, by name, whose best value is kept in the log's status.
        counters: The counters of the loop.
        metrics_log: Where values go.
        reporter: Says that the training stops early.
        agreement: Is asked to stop the training.
        moment: Returns the present moment, to restore it in the end; None if nothing is restored.
        first: Whether this is the first rank, whose validation metric counts.

    """

    def __init__(
        self,
        best: Best,
        tracked: Mapping[str, Best],
        counters: Counters,
        metrics_log: MetricsLog,
        reporter: Reporter,
        agreement: Agreement,
        moment: Callable[[], dict[str, Any]] | None,
        *,
        first: bool,
    ) -> None:
        self._tracked = tracked
        self._best = best
        self._counters = counters
        self._metrics_log = metrics_log
        self._reporter = reporter
        self._agreement = agreement
        self._moment = moment
        self._first = first
        self.new_best = False  #: whether there was a new best since this was last set to False
        self._place: tuple[int, bool] | None = None  # row and within_step of the last value
        self._told_repeated = False
        self._told_goal = False

    def offer(self, values: Mapping[str, float]) -> None:
        """Compare collected metrics with the best ones."""
        if self._tracked:
            for name in self._tracked.keys() & values.keys():
                self._track(self._tracked[name], values[name])
        if self._best.name in values:
            self._validate(values[self._best.name])

    def _track(self, best: Best, value: float) -> None:
        """Compare a value of a tracked metric with its best, and record a new best."""
        name, row, log = best.name, self._counters.row, self._metrics_log.log
        if best.value is None:  # an earlier session of the same log may have one
            best.value = log.status.get(f"best_{name}")
        if best.offer(value, row):
            log.status[f"best_{name}"] = value
            log[row][f"{name}_best_so_far"] = True

    def _validate(self, value: float) -> None:
        """Compare a validation value with the best one; ask to stop if patience runs out."""
        best, row = self._best, self._counters.row
        place = row, self._counters.within_step
        if place == self._place:
            self._tell_repeated(row)
        self._place = place
        if not self._first:  # the first rank tells the others the best, and when to stop
            return
        if not self._told_goal:  # for best.KEY in tables
            self._told_goal = True
            self._metrics_log.log.goal(best.name, "min" if best.smaller else "max")
        if best.offer(value, row):
            self.new_best = True
            self._metrics_log.best(best.name, value)
            if self._moment is not None:
                best.moment = self._moment()
        elif best.out_of_patience and not self._agreement.stopped:
            self._reporter.say(
                f"Early stopping: {best.name} was no better for {best.waited} validations (best "
                f"{best.value if best.value is not None else math.nan:.6g} at step {best.step})."
            )
            self._agreement.ask_to_stop("early stopping")

    def _tell_repeated(self, row: int) -> None:
        if self._told_repeated:
            return
        self._told_repeated = True
        name = self._best.name
        warn_caller(
            f"{name} was collected more than once at step {row}: each value counts as a validation "
            "of its own, for the best one and for patience. Collect the mean over the batches "
            f"once: with loop.metric_collector({name!r}) as valid: "
            "valid.collect(value, weight=len(batch))"
        )
