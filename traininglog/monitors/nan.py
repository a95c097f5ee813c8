"""`NanGuard`: detects the first NaN or infinity of a metric."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from traininglog.base import TrainingLogBase
from traininglog.errors import ConfigurationError, TrainingLogWarning
from traininglog.monitors.base import Monitor, StopTraining
from traininglog.monitors.flattening import BLACKLIST, Blacklist, Flattener
from traininglog.monitors.steps import Steps, stand, stored

#: The key in a log's status of the record of the first NaN or infinity of each metric.
STATUS = "not_finite"


class NotFinite(NamedTuple):
    """The first NaN or infinity of a metric."""

    key: str
    step: float  #: over all sessions
    value: float  #: NaN or an infinity
    last_finite: float | None  #: the last finite value before it, None if there was none


class NanGuard(Monitor):
    """Watches every metric for the first NaN or infinity.

    The guard records it in the log's status, under ``"not_finite"``: a dict from the metric to a
    dict of ``step``, ``value`` and ``last_finite``. The start of a session removes the records past
    the point at which a run was resumed: those steps are still to come.

    Args:
        action: What to do besides, once a metric: ``"warn"`` (a `TrainingLogWarning`), ``"stop"``
            (raise `StopTraining`; a composite calls the siblings first), or a callable that
            receives a `NotFinite`.
        log: The log to record it in. By default the log of the first `LogMonitor` beside it in a
            composite; without either, the record is only in `found`.
        blacklist: Keys to leave out; see `LogMonitor`.
        name: The name in a composite.

    """

    def __init__(
        self,
        action: Literal["warn", "stop"] | Callable[[NotFinite], object] = "warn",
        log: TrainingLogBase | None = None,
        blacklist: Blacklist = BLACKLIST,
        name: str = "nan_guard",
    ) -> None:
        super().__init__(name)
        if action not in ("warn", "stop") and not callable(action):
            raise ConfigurationError(f"action is 'warn', 'stop' or a callable, not {action!r}")
        if log is not None and not isinstance(log, TrainingLogBase):
            raise TypeError(f"a NanGuard records in a log, not in a {type(log).__name__}")
        self.action = action
        self.log = log
        #: The first NaN or infinity that this guard found, by metric.
        self.found: dict[str, NotFinite] = {}
        self._flatten = Flattener(blacklist)
        self._finite: dict[str, float] = {}
        self._steps = Steps()

    def composed(self, siblings: Sequence[Monitor]) -> None:
        """Use the log of the first sibling that has one, if no log was passed."""
        logs = [getattr(sibling, "log", None) for sibling in siblings if sibling is not self]
        for log in logs:
            if self.log is None and isinstance(log, TrainingLogBase):
                self.log = log

    def start_session(self, num_steps: int | None, **kwargs: object) -> None:
        """Start a session; remove the records of steps that are still to come."""
        last = None if self.log is None else stand(self.log)[1]
        if self.log is not None and last is not None:  # else the log has no steps
            self._steps.last = last
            self.found = {key: new for key, new in self.found.items() if new.step <= last}
            records = self._recorded(self.log)
            kept = {key: record for key, record in records.items() if record["step"] <= last}
            if len(kept) < len(records):
                self.log.status[STATUS] = kept
        self._steps.start_session()

    def write(self, data: Mapping[str, Any], step: float, **kwargs: Any) -> None:
        """Check every float. Raises `StopTraining` if that is the action."""
        step = self._steps.take(step)
        news = []
        finite = self._finite
        for key, value in self._flatten(data).items():
            if type(value) is not float:
                continue
            if math.isfinite(value):
                finite[key] = value
            elif key not in self.found:
                self.found[key] = NotFinite(key, step, value, finite.get(key))
                news.append(self.found[key])
        if news:
            self._record(news)
            self._act(news)

    @staticmethod
    def _recorded(log: TrainingLogBase) -> dict[str, Any]:
        records = log.status.get(STATUS)
        return dict(records) if isinstance(records, dict) else {}

    def _record(self, news: Sequence[NotFinite]) -> None:
        if self.log is None:
            return
        records = self._recorded(self.log)
        for new in news:
            records.setdefault(
                new.key,
                {
                    "step": stored(new.step),
                    "value": new.value,
                    "last_finite": new.last_finite,
                },
            )
        self.log.status[STATUS] = records

    def _act(self, news: Sequence[NotFinite]) -> None:
        if callable(self.action):
            for new in news:
                self.action(new)
            return
        told = "; ".join(
            f"{new.key!r} is {new.value} at step {new.step:g}"
            + ("" if new.last_finite is None else f", after {new.last_finite:g}")
            for new in news[:5]
        )
        if len(news) > 5:
            told += f"; and {len(news) - 5} more"
        if self.action == "stop":
            raise StopTraining(told)
        warnings.warn(told, TrainingLogWarning, stacklevel=3)
