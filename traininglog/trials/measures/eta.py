"""`Eta`: a line with the progress of a loop and its remaining time."""

from __future__ import annotations

import time
from collections.abc import Sequence

from traininglog.trials.measures.aggregators import Aggregator, StatAggregator
from traininglog.trials.measures.throttles import throttled
from traininglog.trials.measures.timing import EstimatedTime


class Eta:
    """Shows the progress of loops and their remaining time; see `EstimatedTime`."""

    def __init__(self, total: int | Sequence[int], start: int = 0) -> None:
        self._between = StatAggregator(0)
        self._estimate = EstimatedTime(self._between, total, start)
        self._since = self._last = time.perf_counter()
        self._passed = throttled(lambda: True)
        self._limits: tuple[int | None, float | None] = (None, None)

    def show(
        self,
        step: int | Sequence[int],
        timer: Aggregator | None,
        message: str,
        throttle: int | None,
        every: float | None,
        *,
        no_print: bool,
    ) -> str | None:
        """Print and return the line, or return None if the throttle omits it."""
        now = time.perf_counter()
        self._between.append(now - self._last)
        self._last = now
        if self._limits != (throttle, every):
            self._limits = (throttle, every)
            self._passed = throttled(lambda: True, throttle, every)
        if not self._passed():
            return None
        self._estimate.timer = self._between if timer is None else timer
        beyond = self._estimate.grow(step)
        steps = [step] if isinstance(step, int) else list(step)
        shown = " ".join(
            f"[{place:>{len(str(total))}}/{total}]"
            for place, total in zip(steps, self._estimate.totals, strict=True)
        )
        if beyond:
            line = f"{shown} | Elapsed {(now - self._since) / 60:5.2f} min {message}".rstrip()
        else:
            line = f"{shown} | ETA {self._estimate.estimate(step):5.2f} min {message}".rstrip()
        if not no_print:
            print(line)  # noqa: T201 - it was asked for
        return line
