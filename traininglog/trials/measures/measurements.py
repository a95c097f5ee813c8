"""Measurements of a trial, as entries of its training log.

A metric with steps is a key of the log's rows. A series without steps is a key, too, at the times
0, 1, 2, …; the log's status lists these keys (``_series``). The status also holds aggregators and
chronos, under ``_aggregate.<name>`` and ``_chrono.<name>``. So measurements are as durable as the
log, and are resumed with it.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from traininglog.base import TrainingLogBase
from traininglog.errors import CorruptLog
from traininglog.flattening import advice
from traininglog.trials.measures.aggregators import (
    Aggregator,
    StatAggregator,
    TimeSeriesAggregator,
    ValueAggregator,
    made,
    restored,
)
from traininglog.trials.measures.timing import Callback, Chrono
from traininglog.trials.trial_errors import InvalidMetric
from traininglog.values import StoredRow, StoredValue, called, check_key, check_time, plain

Factory = Callable[[], Aggregator]

_SERIES = "_series"
_AGGREGATE = "_aggregate."
_CHRONO = "_chrono."
RUNTIME = "runtime"
_SAVE_EVERY = 0.05  # seconds between two writes of a chrono


class Measurements:
    """Writes the metrics and chronos of one trial to its log. Any thread may call it."""

    def __init__(self, log: TrainingLogBase) -> None:
        self.log = log
        self.pid = os.getpid()
        # Held while a thread reads and then writes the kind of a name, or an aggregator. It does
        # not protect the next time of a series (an `itertools.count`): a signal handler may log to
        # the series in between, in this thread.
        self._lock = threading.RLock()
        status = log.status.copy()
        self._series: dict[str, itertools.count[int]] = {}  # name -> the times of its next values
        for name in _series_in(status):
            first = log.last(name).time + 1 if name in log.keys_seen() else 0
            self._series[name] = itertools.count(first)
        self._aggregates = _restored(status, _AGGREGATE)
        self.chronos = _restored(status, _CHRONO)
        self._saved: dict[str, float] = {}  # name -> moment of the chrono's last write
        self._stepped = {name for name in log.keys_seen() if name not in self._series}
        #: Name -> (thread, chrono) of the blocks that have started and not ended.
        self.open_chronos: dict[str, list[tuple[int, Chrono]]] = {}

    def log_metrics(
        self, step: Any, aggregator: Factory | Aggregator | None, metrics: Mapping[str, StoredValue]
    ) -> None:
        """Write all metrics; if one of them is invalid, write none."""
        if step is None or aggregator is not None:
            self._log_stepless(step, aggregator, metrics)
            return
        # The hot path of a training loop: floats under names that were logged with steps before.
        if not metrics.keys() <= self._stepped or set(map(type, metrics.values())) != {float}:
            check_time(step)
            metrics = self._checked_stepped(metrics)
        self.log[step].update(metrics)

    def _checked_stepped(self, metrics: Mapping[str, StoredValue]) -> StoredRow:
        checked = {check_key(name): _number(name, value) for name, value in metrics.items()}
        with self._lock:
            for name in checked:
                if name in self._series or name in self._aggregates:
                    raise InvalidMetric(
                        f"{name!r} was logged without steps before: leave the step out, or take "
                        "another name"
                    )
            self._stepped.update(checked)
        return checked

    def _log_stepless(
        self,
        step: object,
        aggregator: Factory | Aggregator | None,
        metrics: Mapping[str, StoredValue],
    ) -> None:
        if step is not None:
            raise InvalidMetric("an aggregator keeps no steps: leave out one of the two")
        checked = {check_key(name): _number(name, value) for name, value in metrics.items()}
        with self._lock:
            for name in checked:
                if name in self._stepped:
                    raise InvalidMetric(
                        f"{name!r} was logged with steps before: say step=..., or take another name"
                    )
            kept = {name: self._aggregate_of(name, aggregator) for name in checked}
            series = [name for name, found in kept.items() if found is None]
            if any(name not in self._series for name in series):
                # Written before the values, so that a reader of them knows that they are a series.
                self.log.status[_SERIES] = list(dict.fromkeys([*self._series, *series]))
                for name in series:
                    self._series.setdefault(name, itertools.count())
            for name, found in kept.items():
                if found is not None:
                    found.append(checked[name])
                    self._aggregates[name] = found
                    self.log.status[_AGGREGATE + name] = found.state()
        for name in series:
            self.log[next(self._series[name])][name] = checked[name]

    def _aggregate_of(
        self, name: str, aggregator: Factory | Aggregator | None
    ) -> Aggregator | None:
        """Return the aggregator of a metric without steps, or None if it is a series."""
        known = self._aggregates.get(name)
        if aggregator is None or known is not None:
            return known
        new = made(aggregator)
        if isinstance(new, TimeSeriesAggregator):
            return None
        if name in self._series:
            raise InvalidMetric(f"{name!r} is a series already: take another name to aggregate it")
        return new

    def chrono(
        self,
        name: str,
        aggregator: Factory | Aggregator | None = None,
        start_callback: Callback | None = None,
        end_callback: Callback | None = None,
    ) -> Chrono:
        """Return a chrono for blocks of this name. They all share one aggregator."""
        key = _CHRONO + check_key(name)
        with self._lock:
            kept = self.chronos.get(name)
            if kept is None:
                kept = StatAggregator(0) if aggregator is None else made(aggregator)
                self.chronos[name] = kept

        def ended() -> None:
            # Not after each block: a write takes longer than many short blocks.
            now = time.monotonic()
            if now - self._saved.get(name, 0.0) > _SAVE_EVERY and not self.log.closed:
                self._saved[name] = now
                self.log.status[key] = kept.state()

        return Chrono(
            kept, start_callback, end_callback, ended, self._lock, name=f"chrono({name!r})"
        )

    def save_chronos(self) -> None:
        """Write the current state of all chronos to the status."""
        if not self.log.closed:
            with self._lock:
                states = {_CHRONO + name: kept.state() for name, kept in self.chronos.items()}
            self.log.status.update(states)

    def add_runtime(self, seconds: float) -> None:
        """Add to the run time of the trial, the sum over all its processes."""
        before = self.chronos.get(RUNTIME)
        total = seconds + (before.val or 0.0 if before is not None else 0.0)
        self.chronos[RUNTIME] = ValueAggregator(total)
        self.log.status[_CHRONO + RUNTIME] = self.chronos[RUNTIME].state()


def read_logged(log: TrainingLogBase, *, short: bool = False) -> StoredRow:
    """Return the metrics and chronos of a trial from its log, as plain data."""
    status = log.status.copy()
    series = set(_series_in(status))
    metrics: StoredRow = {}
    for column in log.columns():
        values = column.values
        if column.key in series:
            metrics[column.key] = list(values)
        else:
            metrics[column.key] = dict(zip(column.times, values, strict=True))
    for name, aggregate in _restored(status, _AGGREGATE).items():
        metrics[name] = aggregate.to_json(short=short)
    return {"metrics": metrics, "chronos": chronos_as_json(_restored(status, _CHRONO))}


def write_logged(
    log: TrainingLogBase, metrics: Mapping[str, StoredValue], chronos: Mapping[str, StoredValue]
) -> None:
    """Write metrics and chronos to a log, so that `read_logged` returns them."""
    series = [name for name, kept in metrics.items() if isinstance(kept, list)]
    if series:
        log.status[_SERIES] = series
    for name, kept in metrics.items():
        if isinstance(kept, list):
            for place, value in enumerate(kept):
                log[place][name] = value
        elif isinstance(kept, Mapping) and all(isinstance(step, int) for step in kept):
            for step, value in kept.items():
                log[step][name] = value
        else:
            log.status[_AGGREGATE + name] = _summed_up(kept).state()
    for name, kept in chronos.items():
        log.status[_CHRONO + name] = _summed_up(kept).state()


def _summed_up(kept: object) -> Aggregator:
    if isinstance(kept, Mapping):
        return StatAggregator.from_json(dict(kept))
    return ValueAggregator.from_json(kept)


def chronos_as_json(chronos: Mapping[str, Aggregator]) -> StoredRow:
    """Return chronos as plain data: seconds, or their statistics with the unit."""
    found = {}
    for name, aggregate in chronos.items():
        shown = aggregate.to_json(short=True)
        found[name] = shown | {"unit": "s"} if isinstance(shown, dict) else shown
    return found


def _series_in(status: Mapping[str, StoredValue]) -> list[str]:
    names = status.get(_SERIES, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CorruptLog(
            f"the status of a run holds {names!r:.80} as {_SERIES}, the names of its series "
            "without steps; restore a copy of the store"
        )
    return names


def _restored(status: Mapping[str, StoredValue], prefix: str) -> dict[str, Aggregator]:
    return {
        key.removeprefix(prefix): restored(state)
        for key, state in status.items()
        if key.startswith(prefix) and isinstance(state, dict)
    }


def _number(name: str, value: StoredValue) -> int | float:
    if type(value) is float:
        return value
    number = None if isinstance(value, (str, bytes)) else _plain(name, value)
    if not isinstance(number, (int, float)):
        raise InvalidMetric(
            f"the metric {name!r:.80} must be a number, not a {called(value)}; what is none "
            f"goes into log_metadata, or into trial.log{advice(name, value)}"
        )
    return number


def _plain(name: str, value: StoredValue) -> object:
    try:
        return plain(value)
    except TypeError as error:
        raise InvalidMetric(f"the metric {name!r:.80} must be a number: {error}") from error
