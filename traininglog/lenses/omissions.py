"""Failures of lenses: they are caught, counted, and one warning tells of each kind."""

from __future__ import annotations

import warnings

from traininglog.errors import TrainingLogWarning


class PassedOver:
    """Counts failures by lens and layer.

    A failure of a lens must not end a training. The lens stays in use after a failure, and tries
    again the next time. A warning tells of the first failure of each kind of a lens; the counts
    tell of the others.

    >>> passed = PassedOver()
    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     passed.note("OutputNorm", "fc1", RuntimeError("out of memory"))
    ...     passed.note("OutputNorm", "fc2", RuntimeError("out of memory"))
    >>> len(told), passed.counts
    (1, {'OutputNorm: fc1': 1, 'OutputNorm: fc2': 1})
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._told: set[tuple[str, str]] = set()

    def note(self, who: str, layer: str | None, why: Exception | str) -> None:
        """Count a failure of a lens, for a layer or in general, and warn of a new kind."""
        key = who if layer is None else f"{who}: {layer}"
        self.counts[key] = self.counts.get(key, 0) + 1
        kind = why if isinstance(why, str) else type(why).__name__
        if (who, kind) in self._told:
            return
        self._told.add((who, kind))
        what = "something" if layer is None else f"layer {layer!r}"
        reason = why if isinstance(why, str) else f"{kind}: {why}"
        warnings.warn(
            f"{who} could not take {what} and passed it over ({reason}). Training goes on, it is "
            "tried again the next time, and inspector.passed_over counts how often",
            TrainingLogWarning,
            stacklevel=2,
        )

    def clear(self) -> None:
        """Forget all counts, and all warnings."""
        self.counts.clear()
        self._told.clear()


def name_of(call: object) -> str:
    """Return the name of the lens that owns a callback."""
    owner = getattr(call, "__self__", None)
    if owner is not None:
        return type(owner).__name__
    return str(getattr(call, "__qualname__", repr(call))).split(".")[0]
