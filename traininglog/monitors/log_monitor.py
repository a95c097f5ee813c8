"""`LogMonitor`: writes the measurements of a trainer as rows of a log."""

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

    Every write is one row at the next time: after the last time of the log, or 1 in an empty log.
    The row has the step under ``"step"``, as a float. A log keeps its history, so the steps of a
    session count on from the last step that the log has when the session starts, be it of an
    earlier session or of the run that it was resumed from. Without a session, steps are written as
    they are passed.

    Nested dicts are flattened (``{"model": {"norm": 2.0}}`` becomes the key ``"model/norm"``).
    Tensors and arrays become numbers; one of several elements becomes its mean.

    After `log.resume` or `log.load_state_dict`, the monitor continues after the last row of the
    log.

    Args:
        log: Any log. The monitor does not close it.
        blacklist: Regular expressions. A key at any depth is left out if one of them is found in
            the key or in the path to it. By default batches are left out: keys that end in
            ``_inputs``, ``_outputs`` or ``_targets``.
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
        """The log that the monitor writes."""
        return self._log

    def _join(self) -> None:
        """Read the last time and the last step of the log."""
        self._uuid: UUID = self._log.uuid
        self._time, last = stand(self._log)
        self._steps = Steps(last)

    def start_session(self, num_steps: int | None, **kwargs: object) -> None:
        """Start a session, whose steps count on from the last step of the log."""
        self._join()
        self._steps.start_session()

    def write(self, data: Mapping[str, Any], step: float, **kwargs: Any) -> None:
        """Write a row.

        `step` overrides a ``"step"`` in `data`. Raises the errors of the log, such as
        `ValueTypeError` for a value that it does not take, and `InvalidKey` if flattening puts two
        values under one name.
        """
        log = self._log
        if log.uuid is not self._uuid and log.uuid != self._uuid:  # the log was resumed
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
        """Add the key of the refused value to the error: a row may have many keys."""
        for key, value in row.items():
            try:
                plain(value)
            except TrainingLogError:
                error.add_note(f"It stands under {key!r}, which a blacklist could leave out.")
                return
