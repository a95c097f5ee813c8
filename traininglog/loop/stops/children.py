"""Protection of worker processes from the Ctrl-C that ends a training in good order.

A terminal sends SIGINT to its whole process group. The training finishes its epoch, and needs its
workers for that. Forked workers have the training's handler, which leaves them alone. Workers that
``spawn`` or ``forkserver`` start have Python's handler, unless the signal is blocked when they
start: an executed program inherits the signal mask.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any

_shields = 0
_original: Callable[..., Any] | None = None


def shield() -> None:
    """Block SIGINT in workers that are spawned from now on, until the matching `unshield`."""
    global _shields  # noqa: PLW0603 - one state for the process, as there is one multiprocessing
    _shields += 1
    keep_shielding()


def unshield() -> None:
    """End one `shield`; the last one restores the usual start of workers."""
    global _shields, _original  # noqa: PLW0603
    _shields -= 1
    util: Any = sys.modules.get("multiprocessing.util")
    # If another function has replaced ours, it stays; ours then starts workers as usual.
    if not _shields and _original is not None and util.spawnv_passfds is _spawn:
        util.spawnv_passfds, _original = _original, None


def keep_shielding() -> None:
    """Install the shield, if multiprocessing has been imported meanwhile."""
    global _original
    util: Any = sys.modules.get("multiprocessing.util")
    if util is None or not hasattr(signal, "pthread_sigmask"):  # Windows has no groups of this kind
        return
    if _original is None:
        _original, util.spawnv_passfds = util.spawnv_passfds, _spawn


def _spawn(*arguments: object, **options: object) -> Any:
    """Start a process, as `multiprocessing.util.spawnv_passfds` does, with SIGINT blocked."""
    assert _original is not None  # noqa: S101 - this function replaces it
    if not _shields:
        return _original(*arguments, **options)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return _original(*arguments, **options)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
