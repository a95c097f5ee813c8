"""`Chrono` measures the duration of blocks; `EstimatedTime` estimates the end of a loop."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from traininglog.blocks import warn_unentered
from traininglog.trials.measures.aggregators import Aggregator, Number, StatAggregator

Callback = Callable[[], object]


class Chrono:
    """Measures the duration of blocks with a monotonic clock, in seconds.

    A chrono is reusable and reentrant, and several threads may use it: each block has its own
    start. A block that raises is measured, too, and its exception propagates unchanged.

    Args:
        aggregator: Keeps the seconds. Defaults to `StatAggregator(0)`.
        start_callback: Is called before the measured time, for example ``torch.cuda.synchronize``.
        end_callback: Is called at the end of the block, within the measured time.
        ended: Is called after each block.
        lock: Is held while the aggregator takes a value. Other objects may share it.
        name: If given, the chrono warns under this name if it is deleted and was never entered.

    >>> with Chrono() as timer:
    ...     pass
    >>> timer.count
    1
    """

    def __init__(
        self,
        aggregator: Aggregator | None = None,
        start_callback: Callback | None = None,
        end_callback: Callback | None = None,
        ended: Callable[[], object] | None = None,
        lock: AbstractContextManager[object] | None = None,
        *,
        name: str | None = None,
    ) -> None:
        self._unentered = name
        self.aggregator = StatAggregator(0) if aggregator is None else aggregator
        self._lock: AbstractContextManager[object] = threading.RLock() if lock is None else lock
        self._start_callback = start_callback
        self._end_callback = end_callback
        self._ended = ended
        # Per thread: the block that started last ends first.
        self._starts: defaultdict[int, list[float]] = defaultdict(list)

    def __enter__(self) -> Aggregator:
        self._unentered = None
        if self._start_callback is not None:
            self._start_callback()
        self._starts[threading.get_ident()].append(time.perf_counter())
        return self.aggregator

    def __exit__(self, *_: object) -> None:
        try:
            if self._end_callback is not None:
                self._end_callback()
        finally:
            seconds = time.perf_counter() - self._begun()
            with self._lock:
                self.aggregator.append(seconds)
                if self._ended is not None:
                    self._ended()

    def _begun(self) -> float:
        """Return the start of the block that ends now, of this thread or else of another one."""
        mine = threading.get_ident()
        for thread in (mine, *reversed(self._starts)):
            starts = self._starts.get(thread)
            if starts:
                began = starts.pop()
                if not starts:
                    del self._starts[thread]
                return began
        raise RuntimeError("no block was begun: a chrono measures `with chrono: ...`")

    def __del__(self) -> None:
        if getattr(self, "_unentered", None) is not None:
            warn_unentered(str(self._unentered))


class EstimatedTime:
    """Estimates the remaining time of a loop or of nested loops.

    Args:
        timer: The measured durations of a step of the innermost loop.
        total: The number of steps; for nested loops a tuple, outermost first.
        start: The number of the first step of every loop.
        unit: The unit of the result in seconds; by default a minute.

    >>> timer = StatAggregator(0)
    >>> timer += 60.0
    >>> EstimatedTime(timer, (5, 10)).estimate((1, 2))  # 13 of 50 steps are done
    37.0
    """

    def __init__(
        self,
        timer: Aggregator,
        total: int | Sequence[int],
        start: int = 0,
        unit: float = 60.0,
    ) -> None:
        self.timer = timer
        self.totals = _counts(total, "a total")
        self.start = start
        self.unit = unit

    @property
    def total(self) -> int:
        """The number of all steps of the innermost loop."""
        return math.prod(self.totals)

    def done(self, step: int | Sequence[int]) -> int:
        """Return the number of finished steps of the innermost loop, this one included."""
        steps = _counts(step, "a step")
        if len(steps) != len(self.totals):
            raise ValueError(f"{len(self.totals)} loops need as many steps, not {len(steps)}")
        flat = 0
        for place, total in zip(steps, self.totals, strict=True):
            flat = flat * total + place - self.start
        return flat + 1

    def grow(self, step: int | Sequence[int]) -> bool:
        """Raise the outermost total if a step exceeds it, and return whether that happened."""
        steps = _counts(step, "a step")
        if steps[0] - self.start < self.totals[0]:
            return False
        self.totals[0] = steps[0] - self.start + 1
        return True

    def estimate(self, step: int | Sequence[int]) -> float:
        """Return the remaining time, or NaN if no step was measured."""
        average: Number | None = getattr(self.timer, "avg", None)
        if not average:
            average = self.timer.val
        left = max(0, self.total - self.done(step))
        if average is None:
            return math.nan if left else 0.0
        return average * left / self.unit


def _counts(given: int | Sequence[int], what: str) -> list[int]:
    counts: list[Any] = list(given) if isinstance(given, (list, tuple)) else [given]
    for count in counts:
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise ValueError(f"{what} is a number of steps, not {count!r}")
    return counts
