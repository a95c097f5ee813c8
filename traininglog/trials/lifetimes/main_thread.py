"""Having something done in the main thread, which alone may set signal handlers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

_WAITING: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
_call: object = None  # what the interpreter calls; kept, as it holds no reference of its own


def do_in_main_thread(act: Callable[[], object]) -> None:
    """Do something here if this is the main thread; else there, once it runs Python code again.

    A signal that is sent to oneself would do, too, but could not be told from a real one. Where the
    interpreter has no such call, it is left undone: `act` must be something that can be.
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
