"""The best value of the validation metric, and the moment of the training then."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

#: Names of metrics for which larger is better by default.
_LARGER = re.compile(r"(.*[^A-Za-z0-9])?(acc|accuracy|auc|f1|precision|recall|reward)")

#: Names of metrics; as a mapping, with the mode of each.
Tracked = Iterable[str] | Mapping[str, Literal["min", "max"]]


def smaller_is_better(
    name: str, stated: bool | None = None, mode: Literal["min", "max"] | None = None
) -> bool:
    """Return whether smaller values of a metric are better: as passed, else by its name.

    Raises `ValueError` for a mode that does not exist, or if the two statements disagree.
    """
    if mode not in (None, "min", "max"):
        raise ValueError(f"mode must be 'min' or 'max', not {mode!r}")
    if mode is not None and stated is not None and stated != (mode == "min"):
        raise ValueError(f"mode={mode!r} and valid_metric_smaller_is_better={stated} disagree")
    if mode is not None:
        return mode == "min"
    return _LARGER.fullmatch(name) is None if stated is None else bool(stated)


def tracked_bests(names: Tracked) -> dict[str, Best]:
    """Return a `Best` for each metric to track. Raises `TypeError` and `ValueError`."""
    if isinstance(names, str):
        raise TypeError(f"track_best is a list of names: track_best=[{names!r}]")
    modes = names if isinstance(names, Mapping) else dict.fromkeys(names)
    return {
        name: Best(name, smaller=smaller_is_better(name, mode=mode)) for name, mode in modes.items()
    }


class Best:
    """Watches the validation metric.

    A value is better if it beats the best one by more than `min_delta`. NaN is never the best.

    Args:
        name: The metric.
        smaller: Whether smaller is better.
        min_delta: By how much a value must be better to count.
        patience: The number of values in a row without a better one that ends the training.

    """

    def __init__(
        self, name: str, *, smaller: bool, min_delta: float = 0.0, patience: int | None = None
    ) -> None:
        if not min_delta >= 0:
            raise ValueError(f"min_delta must not be negative, and is {min_delta}")
        if patience is not None and (isinstance(patience, bool) or int(patience) < 1):
            raise ValueError(f"patience is a number of validations, at least 1, not {patience!r}")
        self.name = name
        self.smaller = smaller
        self.min_delta = min_delta
        self.patience = patience
        self.value: float | None = None
        self.step = 0
        self.moment: dict[str, Any] | None = None  #: of the training, at the best value
        self.waited = 0  #: values since the best one

    def offer(self, value: float, step: int) -> bool:
        """Compare a value with the best, and keep the better; return whether the value is."""
        better = not math.isnan(value) and (
            self.value is None
            or (
                value < self.value - self.min_delta
                if self.smaller
                else value > self.value + self.min_delta
            )
        )
        if better:
            self.value, self.step, self.waited, self.moment = value, step, 0, None
        else:
            self.waited += 1
        return better

    @property
    def out_of_patience(self) -> bool:
        """Whether training should stop."""
        return self.patience is not None and self.waited >= self.patience

    def get_news(self) -> list[Any]:
        """Return the facts for the other ranks: best value, its step, and values since."""
        return [self.value, self.step, self.waited]

    def set_news(self, news: list[Any]) -> None:
        """Adopt the facts that `get_news` returned in another rank."""
        self.value, self.step, self.waited = news

    def get_state(self) -> dict[str, Any]:
        """Return the best value and its moment, as plain data."""
        return {
            "name": self.name, "smaller": self.smaller, "value": self.value, "step": self.step,
            "waited": self.waited, "moment": self.moment,
        }  # fmt: skip

    def set_state(self, state: dict[str, Any]) -> bool:
        """Restore the result of `get_state`; return False if it is of another metric."""
        if (state["name"], state["smaller"]) != (self.name, self.smaller):
            return False
        self.value, self.step = state["value"], state["step"]
        self.waited, self.moment = state["waited"], state["moment"]
        return True
