"""`StdoutMonitor`: shows the progress and the metrics of a session."""

from __future__ import annotations

import contextlib
import math
import sys
import warnings
import weakref
from collections import deque
from collections.abc import Iterable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, TextIO

from traininglog.display.standard_output import flush_output
from traininglog.errors import TrainingLogWarning
from traininglog.monitors.base import Monitor
from traininglog.monitors.flattening import number_in, pick
from traininglog.monitors.steps import check_step

if TYPE_CHECKING:
    from traininglog.monitors.session_display import SessionDisplay

#: The number of updates, an interval apart, over which the rate is computed.
_LOOKS = 50


class StdoutMonitor(Monitor):
    """Shows the progress of a session, its rate, and chosen metrics.

    On a terminal and in a notebook it shows a live bar; elsewhere it prints plain lines, about
    twenty in a session. On a terminal, lines that the program prints appear above the bar. A metric
    is shown, smoothed, after its first value; a present NaN is shown as NaN. The bar stands at the
    last whole step: parts of a step count for the metrics only. On a narrow terminal names are
    shortened first, then metrics are left out: bar, rate and time left stay longest. If the output
    fails, the monitor warns once, and the training goes on.

    Args:
        metric_names: The metrics to show: a dict from keys to labels, or only keys. ``"a/b"`` also
            finds a value in nested dicts.
        raw: Keys whose last value is shown unsmoothed, a learning rate for example.
        alpha: The weight of the newest value in a smoothed one, above 0 and up to 1.
        interval: Seconds between two updates.
        file: The output; by default `sys.stdout` at the start of a session.
        name: The name in a composite.

    """

    def __init__(
        self,
        metric_names: Mapping[str, str] | Iterable[str],
        *,
        raw: Iterable[str] = (),
        alpha: float = 0.05,
        interval: float = 0.1,
        file: TextIO | None = None,
        name: str = "stdout_monitor",
    ) -> None:
        super().__init__(name)
        if isinstance(metric_names, str):
            raise TypeError("metric_names is a dict or a list of keys, not a text")
        if not 0 < alpha <= 1:
            raise ValueError(f"alpha is above 0 and at most 1, not {alpha}")
        self.metric_names = (
            dict(metric_names)
            if isinstance(metric_names, Mapping)
            else {key: key for key in metric_names}
        )
        self.alpha = alpha
        self.interval = interval
        self._raw = frozenset(raw)
        self._file = file
        self._display: SessionDisplay | None = None
        self._release: Any = None

    def start_session(self, num_steps: int | None, **kwargs: Any) -> None:
        """Show a new bar. Raises `ValueError` unless `num_steps` is a whole number or None."""
        from traininglog.monitors.session_display import Stand, display_for

        if num_steps is not None:
            if isinstance(num_steps, bool) or not num_steps >= 0 or num_steps % 1:
                raise ValueError(
                    f"num_steps is a whole number of steps, or None, not {num_steps!r}"
                )
            num_steps = int(num_steps)
        self.end_session()
        self._stand = Stand(num_steps)
        self._smooth: dict[str, _Smooth] = {}
        self._start = self._shown = monotonic()
        self._looks = deque([(self._start, 0)], maxlen=_LOOKS)
        display = display_for(sys.stdout if self._file is None else self._file)
        self._display = display
        # If the program does not end the session, this gives the terminal its cursor back.
        self._release = weakref.finalize(self, display.close)
        self._failed = False
        self._show(display)

    def write(self, data: Mapping[str, Any], step: float, **kwargs: Any) -> None:
        """Take the metrics of a step, and update the display if `interval` has passed.

        Raises `RuntimeError` outside a session.
        """
        if self._display is None:
            raise RuntimeError(
                "a StdoutMonitor shows a session, and none is open: start_session(num_steps) "
                "comes before write()"
            )
        for key in self.metric_names:
            value = number_in(pick(data, key))
            if value is not None:
                smooth = self._smooth.get(key)
                if smooth is None:
                    alpha = 1.0 if key in self._raw else self.alpha
                    smooth = self._smooth[key] = _Smooth(alpha)
                smooth.take(value)
        if type(step) is not int or step < 0:
            step = check_step(step)
        if step % 1 == 0:
            self._stand.step = int(step)
        now = monotonic()
        if now - self._shown >= self.interval or self._stand.step == self._stand.num_steps:
            self._look(now)

    def end_session(self, **kwargs: Any) -> None:
        """Show the end of the session, and close the display. Does nothing outside a session."""
        display, self._display = self._display, None
        if display is None:
            return
        try:
            self._look(monotonic(), display, over=True)
        finally:
            with contextlib.suppress(OSError, ValueError):  # an output that is gone
                self._release()  # closes the display

    def _look(
        self, now: float, display: SessionDisplay | None = None, *, over: bool = False
    ) -> None:
        stand = self._stand
        self._shown = now
        self._looks.append((now, stand.step))
        (before, done), stand.elapsed = self._looks[0], now - self._start
        if over:  # the rate of the whole session
            before, done = self._start, 0
        if now > before and stand.step > done:
            stand.rate = (stand.step - done) / (now - before)
        stand.metrics = [
            (label, self._smooth[key].value)
            for key, label in self.metric_names.items()
            if key in self._smooth
        ]
        stand.over = over
        display = display or self._display
        if display is not None:
            self._show(display)

    def _show(self, display: SessionDisplay) -> None:
        """Show the state of the session; warn once if the output fails."""
        try:
            display.show(self._stand)
        except (OSError, ValueError) as error:  # ValueError: the file is closed
            with contextlib.suppress(OSError, ValueError):
                flush_output()
            if not self._failed:
                self._failed = True
                with contextlib.suppress(OSError, ValueError):  # stderr may be gone as well
                    warnings.warn(
                        f"{self.name} cannot show the progress, and the training goes on; it is "
                        f"told only once: {type(error).__name__}: {error}",
                        TrainingLogWarning,
                        stacklevel=4,
                    )


class _Smooth:
    """An exponentially weighted mean that begins at its first value."""

    __slots__ = ("_alpha", "_sum", "_weight", "value")

    def __init__(self, alpha: float) -> None:
        self._alpha = alpha
        self._sum = self._weight = 0.0
        self.value = math.nan

    def take(self, value: float) -> None:
        """Add a value. One that is not finite is shown only until the next value."""
        if not math.isfinite(value):
            self.value = value
            return
        keep = 1 - self._alpha
        self._sum = keep * self._sum + self._alpha * value
        self._weight = keep * self._weight + self._alpha
        self.value = self._sum / self._weight
