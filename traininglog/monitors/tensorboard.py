"""`TensorBoardMonitor`: writes the measurements of a trainer to TensorBoard's event files."""

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

    Nested dicts give tags with ``/``, which TensorBoard shows as groups. TensorBoard's steps are
    integers: a part of a step is written at the step it belongs to. The steps of a session count on
    from those of the previous sessions.

    Args:
        where: A folder for event files, which `tensorboardX` writes (the extra ``tensorboard``); or
            any writer with ``add_scalar(tag, value, step)``.
        blacklist: Keys to leave out; see `LogMonitor`.
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
        """Start a session, whose steps count on from those of the previous sessions."""
        self._steps.start_session()

    def write(self, data: Mapping[str, Any], step: float, **kwargs: Any) -> None:
        """Write every number in the data."""
        at = math.ceil(self._steps.take(step))
        for key, value in self._flatten(data).items():
            number = number_in(value)
            if number is not None:
                self._writer.add_scalar(key, number, at)

    def end_session(self, **kwargs: object) -> None:
        """Close the event file, which is complete then; flush a writer that was passed instead."""
        if self._own is not None:
            self.close()
        elif callable(flush := getattr(self._writer, "flush", None)):
            flush()

    def close(self) -> None:
        """Close the event file; the next write begins another. A passed writer stays open."""
        if self._own is not None:
            self._own.close()
