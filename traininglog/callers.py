"""Finding the caller of this package, so that warnings point there."""

from __future__ import annotations

import contextlib
import sys
import warnings

from traininglog.errors import TrainingLogWarning


def warn_caller(message: str) -> None:
    """Warn with a `TrainingLogWarning` that points at the line that called this package."""
    warnings.warn(message, TrainingLogWarning, stacklevel=level_of_caller())


def level_of_caller() -> int:
    """Return the stack level, for `warnings.warn`, of the code that called this package.

    The function that warns has to call this itself.
    """
    level, frame = 1, sys._getframe(1)
    package = __name__.partition(".")[0] + "."
    while frame.f_back is not None:
        name = str(frame.f_globals.get("__name__", ""))
        # contextlib calls the beginnings and ends of our own context managers.
        if not name.startswith(package) and name != contextlib.__name__:
            break
        level, frame = level + 1, frame.f_back
    return level
