"""`Chrono`, which measures a block, and `EstimatedTime`, which tells when a loop will be done."""

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
    """Measures blocks: seconds by a clock that never jumps, kept by an aggregator.

    The same one may be used again, within itself, and by several threads: each block is measured
    from its own start. A block that fails is measured, too, and its exception goes on as it is.

    Args:
        aggregator: Keeps the seconds; by default `StatAggregator(0)`.
        start_callback: Called before a block is measured, for example ``torch.cuda.synchronize``.
        end_callback: Called in the block's end, its time included.
        ended: Told after each block.
        lock: Held while the aggregator takes a value; others may have it, too.
        name: Makes it warn, under this name, when it goes and was never entered.

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
        # Of each thread its own: the block that was begun last is the one that ends.
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
        """Return when the block began that ends now: in this thread, or else where there is one."""
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
    """How long a loop, or loops within loops, will still take.

    Args:
        timer: Measured how long a step of the innermost loop takes.
        total: How many steps there are; of nested loops a tuple, the outermost first.
        start: The number of the first step, of every loop.
        unit: Seconds in a unit of what is returned; a minute.

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
        """How many steps of the innermost loop there are in all."""
        return math.prod(self.totals)

    def done(self, step: int | Sequence[int]) -> int:
        """Return how many steps of the innermost loop are done with this one."""
        steps = _counts(step, "a step")
        if len(steps) != len(self.totals):
            raise ValueError(f"{len(self.totals)} loops need as many steps, not {len(steps)}")
        flat = 0
        for place, total in zip(steps, self.totals, strict=True):
            flat = flat * total + place - self.start
        return flat + 1

    def grow(self, step: int | Sequence[int]) -> bool:
        """Let the outermost total follow a step that is beyond it; tell whether it had to."""
        steps = _counts(step, "a step")
        if steps[0] - self.start < self.totals[0]:
            return False
        self.totals[0] = steps[0] - self.start + 1
        return True

    def estimate(self, step: int | Sequence[int]) -> float:
        """Return how long the rest will take. Without a measured step that is unknown: NaN."""
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
