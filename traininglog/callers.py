"""Who called this package, for warnings that are to point there."""

from __future__ import annotations

import contextlib
import sys


def level_of_caller() -> int:
    """Return at which level of the stack, for `warnings.warn`, whoever called this package stands.

    Called by the function that warns.
    """
    level, frame = 1, sys._getframe(1)
    package = __name__.partition(".")[0] + "."
    while frame.f_back is not None:
        name = str(frame.f_globals.get("__name__", ""))
        # Blocks and their ends are called by contextlib, on the way to what is ours.
        if not name.startswith(package) and name != contextlib.__name__:
            break
        level, frame = level + 1, frame.f_back
    return level
