"""What a loop says: lines, with a tag that tells where it stands, and a bar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic

from traininglog.loop.display import Display, View, display
from traininglog.loop.durations import format_duration
from traininglog.loop.metrics import MetricFormatter, is_time
from traininglog.loop.progress import Progress
from traininglog.loop.standing import Standing
from traininglog.loop.statistics import Statistics


class Reporter:
    """Prints lines for a loop, and shows how far it has come.

    Args:
        standing: Where the loop stands.
        progress: How far that is.
        print_func: Prints one line.
        formatter: How metrics are printed.
        show_eta: Whether a tag tells the time left.

    """

    def __init__(
        self,
        standing: Standing,
        progress: Progress,
        print_func: Callable[[str], object],
        formatter: MetricFormatter,
        *,
        show_eta: bool,
    ) -> None:
        self._standing = standing
        self._progress = progress
        self._print = print_func
        self._formatter = formatter
        self._show_eta = show_eta
        self.display: Display | None = None

    def open(self, *, wanted: bool | None) -> None:
        """Begin to show progress; see `traininglog.loop.display.display`."""
        self.display = display(wanted, self.say)

    def close(self) -> None:
        """Show progress no more."""
        if self.display is not None:
            self.display.close()
            self.display = None

    def say(self, message: object) -> None:
        """Print a message."""
        self._print(str(message))

    def say_tagged(self, message: object) -> None:
        """Print a message after a tag that tells where the loop stands."""
        self._print(f"[{self.tag()}] {message}")

    def say_metrics(self, found: Mapping[str, Statistics], mark: str) -> None:
        """Print statistics."""
        self.say_tagged(self._formatter.format_statistics(found) + mark)

    def tag(self) -> str:
        """Return where the loop stands: epoch, step, time left, as far as they say anything."""
        now, parts = self._standing, []
        if now.max_epoch != 1:
            parts.append(f"Epoch {_of(now.epoch, now.max_epoch)}")
        parts.append(f"Step {_of(now.step, now.max_step)}")
        left = self._progress.left() if self._show_eta else None
        if left is not None:
            parts.append(f"ETA {format_duration(round(left, 0 if left >= 10 else 1))}")
        return ", ".join(parts)

    def due(self) -> bool:
        """Tell whether it is time to show something."""
        return self.display is not None and monotonic() >= self.display.due

    def show(self, found: Mapping[str, Statistics]) -> None:
        """Show where the loop stands, and the means of some metrics."""
        if self.display is not None:
            text = "  ".join(
                f"{name}: {self._formatter.format_metric(name, found[name].mean)}"
                for name in self._formatter.sort_metrics(found)
                if not is_time(name)
            )
            self.display.show(View(self._progress.fraction(), self.tag(), text))


def _of(number: int, limit: int | None) -> str:
    return str(number) if limit is None else f"{number}/{limit}"
