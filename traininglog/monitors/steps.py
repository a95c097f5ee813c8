"""Steps that start anew in every session, mapped to the steps of one history."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from traininglog.base import TrainingLogBase

#: The key of the step in a row.
STEP = "step"

_EXACT = 2**53  # integers up to here are exact as float64


class Steps:
    """Counts the steps of several sessions as one history.

    Args:
        last: The last step of the history so far, None if it is empty.

    >>> steps = Steps()
    >>> steps.start_session()
    >>> [steps.take(step) for step in (0.5, 1, 1.5)]
    [0.5, 1, 1.5]
    >>> steps.start_session()
    >>> [steps.take(step) for step in (0.5, 1)]
    [2.5, 3]
    """

    def __init__(self, last: float | None = None) -> None:
        self.last = last
        self.offset = 0  #: the number of steps in previous sessions
        self._fresh = False

    def start_session(self) -> None:
        """Count on from the last step. A session without a step has no effect."""
        self.offset = 0 if self.last is None else math.ceil(self.last)
        self._fresh = True

    def take(self, step: Any) -> float:
        """Return a step of this session as one of the whole history.

        Raises `TypeError` or `ValueError` unless it is a finite number of at least 0.
        """
        if type(step) is not int or step < 0:
            step = check_step(step)
        if self._fresh:
            self._fresh = False
            if step == 0 and self.last is not None:
                self.offset += 1  # steps that begin at 0 are one more than the last step says
        if type(step) is float and step.is_integer():
            step = int(step)  # a sum with a float would not be exact past 2**53
        self.last = step = self.offset + step
        return step  # type: ignore[no-any-return]


def check_step(step: Any) -> float:
    """Return a step as an `int` or a `float`.

    Raises `TypeError` or `ValueError` unless it is a finite number of at least 0.
    """
    if not isinstance(step, (int, float)) and callable(getattr(type(step), "item", None)):
        step = step.item()
    if isinstance(step, bool) or not isinstance(step, (int, float)):
        raise TypeError(f"a step is a number, not a {type(step).__name__}")
    if not 0 <= step < math.inf:
        raise ValueError(f"a step is a finite number and not negative, unlike {step!r}")
    return int(step) if isinstance(step, int) else float(step)


def stored(step: float) -> float:
    """Return the form of a step in a row: a float, since a step may be fractional."""
    return float(step) if step <= _EXACT else step


def stand(log: TrainingLogBase) -> tuple[int, float | None]:
    """Return the last time of a log, 0 if it is empty, and its last step, None if unknown."""
    time = log.state_dict()["time"]
    if time is None:
        return 0, None
    step = log[time].get(STEP)  # usually it is there; `log.last` takes longer
    if step is None:
        try:
            step = log.last(STEP).value
        except KeyError:
            return time, None
    known = isinstance(step, (int, float)) and 0 <= step < math.inf
    return time, step if known else None
