"""Writes metrics to a summary writer: TensorBoard's, or any object with `add_scalar`."""

from __future__ import annotations

import re
import traceback
import warnings
from collections.abc import Mapping
from typing import Any

from traininglog.errors import TrainingLogWarning


class Summaries:
    """Passes metrics to a writer, under a prefix, all of them or each n-th one.

    A writer that fails is reported once, and does not stop the training.

    Args:
        writer: An object with ``add_scalar(tag, value, step)``.
        prefix: The prefix of each metric name.
        skip: A pattern; metrics whose whole name matches are left out.
        frequencies: By name, n: the first value goes to the writer, and after it each n-th.

    """

    def __init__(
        self,
        writer: Any,
        prefix: str = "metrics/",
        skip: str | re.Pattern[str] | None = None,
        frequencies: Mapping[str, int] | None = None,
    ) -> None:
        if not callable(getattr(writer, "add_scalar", None)):
            raise TypeError(
                f"a summary_writer has add_scalar(tag, value, step), which a "
                f"{type(writer).__name__} has not"
            )
        self._frequencies = dict(frequencies or {})
        for name, frequency in self._frequencies.items():
            if isinstance(frequency, bool) or int(frequency) < 1:
                raise ValueError(f"each n-th {name} is to be written, n at least 1: {frequency!r}")
        self.writer = writer
        self._prefix = prefix
        self._skip = None if skip is None else re.compile(skip)
        self._seen: dict[str, int] = {}
        self._failed = False

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Write metrics."""
        for name, value in values.items():
            if self._skip is not None and self._skip.fullmatch(name):
                continue
            frequency = self._frequencies.get(name)
            if frequency is not None:
                seen = self._seen.get(name, 0)
                self._seen[name] = seen + 1
                if seen % frequency:
                    continue
            self.write(self._prefix + name, value, step)

    def write(self, tag: str, value: float, step: int) -> None:
        """Write a number under a tag; report the first failure."""
        try:
            self.writer.add_scalar(tag, value, step)
        except Exception:  # noqa: BLE001 - a user's writer may raise anything
            if not self._failed:
                self._failed = True
                warnings.warn(
                    "the summary writer failed, and the training goes on; it is told only once:\n"
                    + traceback.format_exc(),
                    TrainingLogWarning,
                    stacklevel=2,
                )
