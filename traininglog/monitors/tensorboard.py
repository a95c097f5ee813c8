"""`TensorBoardMonitor`: what a trainer tells, as TensorBoard's event files."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from traininglog.event_files import EventFile
from traininglog.monitors.base import Monitor
from traininglog.monitors.flattening import BLACKLIST, Blacklist, Flattener, number_in
from traininglog.monitors.steps import Steps


class TensorBoardMonitor(Monitor):
    """Writes every number as a scalar for TensorBoard.

    Nested dicts give tags with ``/``, which TensorBoard shows as groups. Its steps are integers: a
    part of a step is written at the step to which it belongs. The steps of a session are counted on
    behind those of the sessions before.

    Args:
        where: A folder for event files, which `tensorboardX` writes (the extra ``tensorboard``); or
            a writer, of whatever kind, with ``add_scalar(tag, value, step)``.
        blacklist: What to leave out; see `LogMonitor`.
        name: The name in a composite.

    Raises `MissingExtra` if tensorboardX is needed and not installed, and `TypeError` for anything
    else as `where`.

    """

    def __init__(
        self,
        where: str | os.PathLike[str] | object,
        blacklist: Blacklist = BLACKLIST,
        name: str = "tensorboard_monitor",
    ) -> None:
        super().__init__(name)
        self._own = EventFile(where) if isinstance(where, (str, os.PathLike)) else None
        if self._own is None and not callable(getattr(where, "add_scalar", None)):
            raise TypeError(
                "a TensorBoardMonitor takes a folder, or a writer with add_scalar(), "
                f"not a {type(where).__name__}"
            )
        self._writer: Any = self._own or where
        self._flatten = Flattener(blacklist)
        self._steps = Steps()

    def start_session(self, num_steps: int | None, **kwargs: object) -> None:
        """Count the steps of this session on behind those of the sessions before."""
        self._steps.start_session()

    def write(self, data: Mapping[str, Any], step: float, **kwargs: Any) -> None:
        """Write every number in the data."""
        at = math.ceil(self._steps.take(step))
        for key, value in self._flatten(data).items():
            number = number_in(value)
            if number is not None:
                self._writer.add_scalar(key, number, at)

    def end_session(self, **kwargs: object) -> None:
        """Close the event file, which is complete then; a writer that was handed in is flushed."""
        if self._own is not None:
            self.close()
        elif callable(flush := getattr(self._writer, "flush", None)):
            flush()

    def close(self) -> None:
        """Close the event file; the next write begins another. A handed in writer is left open."""
        if self._own is not None:
            self._own.close()
