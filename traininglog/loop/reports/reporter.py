"""What a loop says: lines, with a tag that tells where it stands, and a bar."""

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
    """Prints lines for a loop, and shows how far it has come.

    An output that fails, and a formatter that does, are told of once, and end nothing.

    Args:
        counters: Where the loop stands.
        progress: How far that is.
        print_func: Prints one line.
        formatter: How metrics are printed.
        mishaps: Whom to tell of what failed.
        show_eta: Whether a tag tells the time left.
        silent: Whether nothing is to be printed, as another rank does it.

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
        """Begin to show progress; see `traininglog.loop.reports.progress_display`."""
        self.display = None if self._silent else progress_display(wanted, self.say)

    def close(self) -> None:
        """Show progress no more."""
        shown, self.display = self.display, None
        if shown is not None:
            self._try("showing the progress", shown.close)

    def finish(self) -> None:
        """See to it that what was printed is out, or told to be lost."""
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
        """Do what may fail; return whether it did not."""
        try:
            do()
        except Exception as error:  # noqa: BLE001 - whatever a stream, or a stranger's function, has
            self._mishaps.tell(what, error)
            if self._function is print_line:  # what it kept would be tried again at the exit
                with contextlib.suppress(OSError):
                    flush_output()
            return False
        return True

    def say_tagged(self, message: object) -> None:
        """Print a message after a tag that tells where the loop stands."""
        self._print(f"[{self.tag()}] {message}")

    def say_metrics(self, found: Mapping[str, Statistics], mark: str) -> None:
        """Print statistics."""
        self.say_tagged(self._formatted(lambda by: by.format_statistics(found)) + mark)

    def _formatted(self, text: Callable[[MetricFormatter], Text]) -> Text:
        """Return what is said of metrics: by the user's formatter, or where that fails, by ours."""
        try:
            return text(self._formatter)
        except Exception as error:  # noqa: BLE001 - whatever a stranger's formatter raises
            self._mishaps.tell("formatting metrics", error, "they are shown in the usual form")
            return text(MetricFormatter())

    def tag(self, *, short: bool = False) -> str:
        """Return where the loop stands: epoch, step, time left, as far as they say anything."""
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
        """Tell whether it is time to show something."""
        return self.display is not None and monotonic() >= self.display.due

    def show(self, found: Mapping[str, Statistics]) -> None:
        """Show where the loop stands, and the means of some metrics."""
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
