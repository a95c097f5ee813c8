"""The progress of a training, and an estimate of the time left."""

from __future__ import annotations

from time import monotonic

from traininglog.loop.counters import Counters

_LEAST = 1e-7  # the least progress that allows an estimate


class Progress:
    """Estimates progress and time left.

    The estimate extrapolates a straight line through the present and the start of this session. The
    progress at the start is not zero after a resume.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._start: tuple[float, float] | None = None
        self._first_step = 0
        self.steps_per_epoch = 0.0  #: 0: unknown

    def begin(self) -> None:
        """Record the start of the session."""
        self._start = (monotonic(), self.fraction() or 0.0)
        self._first_step = self._counters.step

    def expect(self, steps: int | None) -> None:
        """Use the length of the data as the steps of an epoch, if these are unknown so far."""
        self.steps_per_epoch = self.steps_per_epoch or float(steps or 0)

    def epoch_ended(self) -> None:
        """Update the mean number of steps per epoch."""
        self.steps_per_epoch = self._counters.step / self._counters.epoch

    def fraction(self) -> float | None:
        """Return the progress from 0 to 1, or None if there is no limit.

        With both limits the training ends at the first that it reaches, so the greater progress
        counts.
        """
        now = self._counters
        steps = now.step - (now.within_step and not now.reported)
        epochs = now.epoch - (now.within_epoch and (now.within_step or not now.reported))
        found = []
        if now.max_step is not None:
            found.append(steps / now.max_step if now.max_step else 1.0)
        if now.max_epoch is not None:
            if not now.max_epoch:
                found.append(1.0)
            else:
                found.append(epochs / now.max_epoch)
                if self.steps_per_epoch:
                    found.append(steps / (now.max_epoch * self.steps_per_epoch))
        return min(1.0, max(found)) if found else None

    def left(self) -> float | None:
        """Return the estimated seconds left, or None if they cannot be estimated."""
        now = self.fraction()
        if now is None or self._start is None:
            return None
        began, before = self._start
        if now - before < _LEAST:
            return None
        return (monotonic() - began) / (now - before) * (1 - now)

    def rate(self) -> float | None:
        """Return the steps of this session per second, or None if there are none yet."""
        steps = self._counters.step - self._counters.within_step - self._first_step
        if self._start is None or steps < 1:
            return None
        seconds = monotonic() - self._start[0]
        return steps / seconds if seconds else None
