"""The metrics of a loop: numbers by name, collected at each step and summed up later."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from traininglog.display.durations import format_duration
from traininglog.flattening import advice
from traininglog.loop.measures.statistics import Statistics, StatisticsCollector, summed_up
from traininglog.scalars import as_number
from traininglog.values import called

#: Metrics that are seconds: "epoch_time", "timer", but not "lifetime".
TIME_METRIC = re.compile(r"(.*[^A-Za-z0-9])?(time|timer)")

#: How many numbers of a metric may wait to be summed up.
_WAITING = 1024


def is_time(name: str) -> bool:
    """Return whether a metric is a time in seconds, by its name."""
    return TIME_METRIC.fullmatch(name) is not None


def number(name: str, value: object) -> float:
    """Return a metric as a float; an array or tensor becomes the mean of its unmasked elements.

    Raises `TypeError` with the name of the metric for a value that is no number.
    """
    holds = isinstance(value, (int, float, list, tuple)) or any(
        hasattr(value, name) for name in ("shape", "item", "__array__", "__float__", "__index__")
    )
    if not holds or isinstance(value, Mapping):
        raise TypeError(
            f"the metric {name!r} is a {called(value)}, and must be a number or an array of "
            "numbers; what is not belongs into the log: loop.log[loop.step][key] = value"
            + advice(name, value)
        )
    try:
        return as_number(value)
    except TypeError as error:
        raise TypeError(f"the metric {name!r} is not made of numbers: {error}") from error


class MetricFormatter:
    """Formats metrics for printing. Derive from it to change the order or the numbers.

    >>> MetricFormatter().format_metric("step_time", 61.5)
    '1m 1.5s'
    """

    def sort_metrics(self, names: Iterable[str]) -> list[str]:
        """Return the names in the order of printing: times first, then by alphabet.

        ``data_time`` is the last of the times.
        """
        return sorted(names, key=lambda name: (not is_time(name), name == "data_time", name))

    def format_metric(self, name: str, value: float) -> str:
        """Return the value of a metric as text."""
        return format_duration(value) if is_time(name) else f"{value:.6g}"

    def format_statistics(self, statistics: Mapping[str, Statistics]) -> str:
        """Return a line about several metrics: the mean, and the deviation of several values."""
        parts = []
        for name in self.sort_metrics(statistics):
            found = statistics[name]
            if not found.counter:
                continue
            text = f"{name.replace('_', ' ')}: {self.format_metric(name, found.mean)}"
            if found.counter - found.nan_counter - found.inf_counter > 1:
                text += f" (±{self.format_metric(name, found.stddev)})"
            if found.nan_counter or found.inf_counter:
                text += f" [{found.nan_counter} NaN, {found.inf_counter} inf]"
            parts.append(text)
        return "; ".join(parts)


class Metrics:
    """The numbers collected in a loop, summed up over three stretches.

    `steps` is since the last print inside a step, `epochs` since the last print outside of one, and
    `epoch` since the epoch began. Numbers wait in a list until the statistics are read: a step pays
    for an append, not for three collectors.
    """

    STRETCHES = ("steps", "epochs", "epoch")

    def __init__(self) -> None:
        self._collectors: dict[str, dict[str, StatisticsCollector]] = {
            stretch: {} for stretch in self.STRETCHES
        }
        self._in_step: dict[str, list[float]] = {}
        self._outside: dict[str, list[float]] = {}

    def add(self, values: Mapping[str, float], *, in_step: bool) -> None:
        """Collect numbers."""
        waiting = self._in_step if in_step else self._outside
        for name, value in values.items():
            if name in waiting:
                waiting[name].append(value)
            else:
                waiting[name] = [value]
        # Check the length for one metric only: all come about equally often.
        if values and len(waiting[name]) >= _WAITING:
            self._sum_up()

    def add_in_step(self, name: str, value: float) -> None:
        """Collect one number in a step."""
        numbers = self._in_step.setdefault(name, [])
        numbers.append(value)
        if len(numbers) >= _WAITING:
            self._sum_up()

    def _sum_up(self) -> None:
        for waiting, stretches in (
            (self._in_step, self.STRETCHES),
            (self._outside, self.STRETCHES[1:]),
        ):
            for name, numbers in waiting.items():
                part = summed_up(numbers)
                for stretch in stretches:
                    collectors = self._collectors[stretch]
                    if name not in collectors:
                        collectors[name] = StatisticsCollector()
                    collectors[name].merge(part)
            waiting.clear()

    def statistics(self, stretch: str) -> dict[str, Statistics]:
        """Return the statistics of a stretch, by name."""
        self._sum_up()
        return {name: found.frozen() for name, found in self._collectors[stretch].items()}

    def clear(self, stretch: str) -> None:
        """Restart a stretch."""
        self._sum_up()
        self._collectors[stretch].clear()

    def clear_all(self) -> None:
        """Restart all stretches."""
        for stretch in self.STRETCHES:
            self.clear(stretch)

    def get_state(self) -> dict[str, Any]:
        """Return everything as plain data; does not sum up, so the call changes no digit."""
        return {
            "in_step": {name: list(numbers) for name, numbers in self._in_step.items()},
            "outside": {name: list(numbers) for name, numbers in self._outside.items()},
            "collectors": {
                stretch: {name: found.get_state() for name, found in collectors.items()}
                for stretch, collectors in self._collectors.items()
            },
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore the result of `get_state`."""
        self.clear_all()
        self._in_step.update(state["in_step"])
        self._outside.update(state["outside"])
        for stretch, collectors in state["collectors"].items():
            for name, found in collectors.items():
                self._collectors[stretch][name] = collector = StatisticsCollector()
                collector.set_state(found)
