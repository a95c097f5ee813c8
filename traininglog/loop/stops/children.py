"""Worker processes that are not ended by the Ctrl-C which ends a training in good order.

A terminal sends SIGINT to all of its process group. The training finishes its epoch, for which it
needs its workers: forked ones have its handler, which leaves them alone. Those that are started
anew (``spawn``, ``forkserver``) have Python's, unless the signal is blocked when they are started:
a signal mask passes to what is executed.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any

_shields = 0
_original: Callable[..., Any] | None = None


def shield() -> None:
    """Start workers so that SIGINT does not reach them, from now on; once for each `unshield`."""
    global _shields  # noqa: PLW0603 - one state for the process, as there is one multiprocessing
    _shields += 1
    keep_shielding()


def unshield() -> None:
    """Start workers as ever, if nobody else wants them shielded."""
    global _shields, _original  # noqa: PLW0603
    _shields -= 1
    util: Any = sys.modules.get("multiprocessing.util")
    # Where somebody has put another over ours, it stays, and does as ever.
    if not _shields and _original is not None and util.spawnv_passfds is _spawn:
        util.spawnv_passfds, _original = _original, None


def keep_shielding() -> None:
    """See to it that workers are shielded, now that multiprocessing may have been imported."""
    global _original
    util: Any = sys.modules.get("multiprocessing.util")
    if util is None or not hasattr(signal, "pthread_sigmask"):  # Windows has no groups of this kind
        return
    if _original is None:
        _original, util.spawnv_passfds = util.spawnv_passfds, _spawn


def _spawn(*arguments: object, **options: object) -> Any:
    """Start a process, as `multiprocessing.util.spawnv_passfds` does, with SIGINT blocked."""
    assert _original is not None  # noqa: S101 - it is what this stands in for
    if not _shields:
        return _original(*arguments, **options)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return _original(*arguments, **options)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
