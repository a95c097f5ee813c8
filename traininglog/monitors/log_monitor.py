"""`LogMonitor`: what a trainer tells, as rows of a log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from traininglog.base import TrainingLogBase
from traininglog.errors import TrainingLogError
from traininglog.monitors.base import Monitor
from traininglog.monitors.flattening import BLACKLIST, Blacklist, Flattener
from traininglog.monitors.steps import STEP, Steps, stand, stored
from traininglog.values import plain


class LogMonitor(Monitor):
    """Writes a row a step to a log.

    Every write is one row, at the next time: behind the last one of the log, the first at 1. The
    step stands in it under ``"step"``, as a float. A log keeps its history, so the steps of a
    session are counted on behind those that the log has when the session starts, be they of an
    earlier session or of the run that it was resumed from. Without a session, steps are written as
    they are given.

    Nested dicts are flattened (``{"model": {"norm": 2.0}}`` stands under ``"model/norm"``); tensors
    and arrays become numbers, one of several elements its mean.

    After `log.resume` or `log.load_state_dict`, the monitor goes on behind what the log then has.

    Args:
        log: Any log. The monitor does not close it.
        blacklist: Regular expressions. What one of them is found in, a key at any depth or the path
            to it, is left out. By default batches: what ends in ``_inputs``, ``_outputs`` or
            ``_targets``.
        name: The name in a composite.

    Raises `TypeError` if `log` is not a log, and `ConfigurationError` for a bad pattern.

    """

    vital = True

    def __init__(
        self, log: TrainingLogBase, blacklist: Blacklist = BLACKLIST, name: str = "log_monitor"
    ) -> None:
        super().__init__(name)
        if not isinstance(log, TrainingLogBase):
            raise TypeError(
                f"a LogMonitor writes to a log, not to a {type(log).__name__}: "
                "LogMonitor(open_log(...))"
            )
        self._log = log
        self._flatten = Flattener(blacklist)
        self._join()

    @property
    def log(self) -> TrainingLogBase:
        """The log that is written."""
        return self._log

    def _join(self) -> None:
        """Look where the log stands."""
        self._uuid: UUID = self._log.uuid
        self._time, last = stand(self._log)
        self._steps = Steps(last)

    def start_session(self, num_steps: int | None, **kwargs: object) -> None:
        """Count the steps of this session on behind those of the log."""
        self._join()
        self._steps.start_session()

    def write(self, data: Mapping[str, Any], step: float, **kwargs: Any) -> None:
        """Write a row.

        Raises what the log raises: `ValueTypeError` for a value that it does not take, for example.
        A ``"step"`` in `data` gives way to `step`. Two values that flattening would put under one
        name are an `InvalidKey`.
        """
        log = self._log
        if log.uuid is not self._uuid and log.uuid != self._uuid:  # it was resumed
            offset = self._steps.offset
            self._join()
            self._steps.offset = offset
        row = self._flatten(data, step=0.0)
        row[STEP] = stored(self._steps.take(step))
        time = self._time + 1
        try:
            log[time].update(row)
        except (TypeError, ValueError) as error:
            self._explain(error, row)
            raise
        self._time = time

    def _explain(self, error: Exception, row: Mapping[str, object]) -> None:
        """Say which key it was: a row may have many."""
        for key, value in row.items():
            try:
                plain(value)
            except TrainingLogError:
                error.add_note(f"It stands under {key!r}, which a blacklist could leave out.")
                return
