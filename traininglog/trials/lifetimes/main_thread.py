"""Calling functions in the main thread, the only one that may set signal handlers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

_WAITING: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
_call: object = None  # the C callback; the interpreter holds no reference to it, so we keep one


def do_in_main_thread(act: Callable[[], object]) -> None:
    """Call `act` now in the main thread; from another thread, queue it for the main thread.

    The main thread calls it when it next runs Python code. Sending a signal to this process would
    work, too, but the process could not distinguish it from a real one. If the interpreter has no
    `Py_AddPendingCall`, nothing calls `act`: it must be optional.
    """
    if threading.current_thread() is threading.main_thread():
        act()
        return
    _WAITING.put(act)
    _ask()


def _ask() -> None:
    global _call  # noqa: PLW0603 - made once
    try:
        import ctypes

        if _call is None:
            _call = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(_do_what_waits)
        ctypes.pythonapi.Py_AddPendingCall(_call, None)
    except (ImportError, AttributeError):  # no CPython, or one without ctypes
        return


def _do_what_waits(_: object) -> int:
    while True:
        try:
            act = _WAITING.get_nowait()
        except queue.Empty:
            return 0
        act()
