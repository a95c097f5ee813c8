"""The counters of a loop, and the limits at which it ends."""

from __future__ import annotations

from typing import Any

ENDLESS = float("inf")


class Counters:
    """The counters of a loop and their limits; all parts of the loop share one instance."""

    __slots__ = (
        "_max_epoch", "_max_step", "data", "epoch", "last_step", "reported", "row", "step",
        "within_epoch", "within_step",
    )  # fmt: skip

    def __init__(self, max_epoch: object = None, max_step: object = None) -> None:
        self.epoch = 0  #: the open epoch, or the last one
        self.step = 0  #: over all epochs
        self.row = 0  #: the row of metrics in the log: of the open step, the last, or the next
        self.reported = False  #: whether the open step, or else epoch, was printed as done
        self.within_epoch = False
        self.within_step = False
        self.data: Any = None  #: the batch of the open step
        self.max_epoch = max_epoch
        self.max_step = max_step

    def begin_step(self) -> None:
        """Count a step and open it."""
        self.step += 1
        self.row = self.step
        self.within_step, self.reported = True, False

    def leave_step(self) -> None:
        """Close the open step."""
        self.within_step = self.reported = False

    @property
    def max_epoch(self) -> int | None:
        """The last epoch, or None."""
        return self._max_epoch

    @max_epoch.setter
    def max_epoch(self, value: object) -> None:
        self._max_epoch = _limit("max_epoch", value)

    @property
    def max_step(self) -> int | None:
        """The last step, or None."""
        return self._max_step

    @max_step.setter
    def max_step(self, value: object) -> None:
        self._max_step = _limit("max_step", value)
        self.last_step = ENDLESS if self._max_step is None else self._max_step


def _limit(name: str, value: object) -> int | None:
    if value is None:
        return None
    limit = int(value.item()) if hasattr(value, "item") else value
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"{name} is a whole number or None, not a {type(value).__name__}")
    if limit < 0:
        raise ValueError(f"{name} must not be negative, and is {limit}")
    return limit
