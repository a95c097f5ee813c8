"""The printed output of a loop: lines, with a tag of epoch and step, and a bar."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic
from typing import TypeVar

from traininglog.display.durations import format_duration
from traininglog.display.standard_output import flush_output
from traininglog.loop.counters import Counters
from traininglog.loop.measures.metrics import MetricFormatter, is_time
from traininglog.loop.measures.statistics import Statistics
from traininglog.loop.reports.mishaps import Mishaps, print_by, print_line
from traininglog.loop.reports.progress import Progress
from traininglog.loop.reports.progress_display import ProgressDisplay, View, progress_display

Text = TypeVar("Text")


class Reporter:
    """Prints lines for a loop, and shows its progress.

    If the output or the formatter fails, the reporter warns once, and the training goes on.

    Args:
        counters: The counters of the loop.
        progress: The progress of the loop.
        print_func: Prints one line.
        formatter: Formats metrics.
        mishaps: Receives failures.
        show_eta: Whether a tag contains the time left.
        silent: Whether to print nothing, because another rank prints.

    """

    def __init__(
        self,
        counters: Counters,
        progress: Progress,
        print_func: Callable[[str], object],
        formatter: MetricFormatter,
        mishaps: Mishaps,
        *,
        show_eta: bool,
        silent: bool = False,
    ) -> None:
        self._counters = counters
        self._progress = progress
        self._function = print_line if print_func is print else print_func
        self._formatter = formatter
        self._mishaps = mishaps
        self._show_eta = show_eta
        self._silent = silent
        self.display: ProgressDisplay | None = None

    def open(self, *, wanted: bool | None) -> None:
        """Start the display of progress; see `traininglog.loop.reports.progress_display`."""
        self.display = None if self._silent else progress_display(wanted, self.say)

    def close(self) -> None:
        """End the display of progress."""
        shown, self.display = self.display, None
        if shown is not None:
            self._try("showing the progress", shown.close)

    def finish(self) -> None:
        """Flush the printed lines, and report it if they are lost."""
        if self._function is print_line:
            self._try("printing", flush_output)

    def say(self, message: object) -> None:
        """Print a message."""
        self._print(str(message))

    def _print(self, line: str) -> None:
        if self._silent:
            return
        self._try("printing", partial(print_by, self._function, line))

    def _try(self, what: str, do: Callable[[], object]) -> bool:
        """Call a function that may fail, report its error, and return whether it succeeded."""
        try:
            do()
        except Exception as error:  # noqa: BLE001 - a stream, or a user's function, may raise any
            self._mishaps.tell(what, error)
            if self._function is print_line:  # else Python tries the buffered text again at exit
                with contextlib.suppress(OSError):
                    flush_output()
            return False
        return True

    def say_tagged(self, message: object) -> None:
        """Print a message after a tag of epoch, step and time left."""
        self._print(f"[{self.tag()}] {message}")

    def say_metrics(self, found: Mapping[str, Statistics], mark: str) -> None:
        """Print statistics after a tag, followed by a mark."""
        self.say_tagged(self._formatted(lambda by: by.format_statistics(found)) + mark)

    def _formatted(self, text: Callable[[MetricFormatter], Text]) -> Text:
        """Return formatted metrics, by the user's formatter, or by the default if that fails."""
        try:
            return text(self._formatter)
        except Exception as error:  # noqa: BLE001 - a user's formatter may raise anything
            self._mishaps.tell("formatting metrics", error, "they are shown in the usual form")
            return text(MetricFormatter())

    def tag(self, *, short: bool = False) -> str:
        """Return the tag: epoch (unless `max_epoch` is 1), step, and time left if known."""
        now, parts = self._counters, []
        if now.max_epoch != 1:
            parts.append(f"{'' if short else 'Epoch '}{_of(now.epoch, now.max_epoch)}")
        parts.append(f"{'' if short else 'Step '}{_of(now.step, now.max_step)}")
        return ", ".join(filter(None, [*parts, self._left()]))

    def _left(self) -> str:
        left = self._progress.left() if self._show_eta else None
        if left is None:
            return ""
        return f"ETA {format_duration(round(left, 0 if left >= 10 else 1))}"

    def due(self) -> bool:
        """Return whether the display is due for an update."""
        return self.display is not None and monotonic() >= self.display.due

    def show(self, found: Mapping[str, Statistics]) -> None:
        """Show the counters of the loop, and the means of metrics that are not times."""
        if self.display is None:
            return
        metrics = self._formatted(
            lambda by: [
                (name, by.format_metric(name, found[name].mean))
                for name in by.sort_metrics(found)
                if not is_time(name)
            ]
        )
        view = View(
            self._progress.fraction(), self.tag(), self.tag(short=True), self._left(),
            self._progress.rate(), metrics,
        )  # fmt: skip
        if not self._try("showing the progress", partial(self.display.show, view)):
            self.close()  # a terminal that is gone does not come back


def _of(number: int, limit: int | None) -> str:
    return str(number) if limit is None else f"{number}/{limit}"
