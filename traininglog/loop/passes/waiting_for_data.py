"""Asking the program's data for batches, and the time that it takes; a signal may end the wait."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Any

from traininglog.loop.passes.passes import Passes
from traininglog.loop.stops.interrupts import DataGivenUp, Interrupts

END: Any = object()  #: stands for the batch after the last one
CUT_OFF: Any = object()  #: stands for data that a signal has cut off


class DataWait:
    """Asks for data, and measures how long a step waits for it.

    Args:
        passes: The passes over data, which open it.
        interrupts: Tells of signals, and explains errors of data that a signal has cut off.

    """

    def __init__(self, passes: Passes, interrupts: Interrupts) -> None:
        self._passes = passes
        self._interrupts = interrupts
        self._waited = 0.0  # seconds, for the data of the next step

    def opened(self, data: Any) -> Any:
        """Return an iterator over data, or `CUT_OFF` after a signal."""
        asked = perf_counter()
        try:
            with self._interrupts.waiting():
                iterator = self._passes.open(data)
        except (Exception, DataGivenUp) as error:
            if not self._interrupts.explains(error):
                raise
            return CUT_OFF
        # A replay of the batches of an earlier session does not count as waiting for data.
        self._waited = 0.0 if self._passes.gone_through else perf_counter() - asked
        return iterator

    def next(self, iterator: Iterator[Any]) -> Any:
        """Return the next batch, `END` if there is none, or `CUT_OFF` after a signal."""
        interrupts, asked = self._interrupts, perf_counter()
        try:
            interrupts.wait = asked
            if interrupts.step:
                interrupts.lose_patience()
            batch = next(iterator, END)
            interrupts.wait = 0.0
        except (Exception, DataGivenUp) as error:
            interrupts.wait = 0.0
            if not interrupts.explains(error):
                raise
            return CUT_OFF
        self._waited += perf_counter() - asked
        return batch

    def take_time(self) -> float:
        """Return the seconds waited since the last call."""
        waited, self._waited = self._waited, 0.0
        return waited


def length(data: Any) -> int | None:
    """Return the number of batches of data, or None if it does not tell."""
    try:
        return len(data)
    except (TypeError, AttributeError):
        return None
