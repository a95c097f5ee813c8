"""A thread that flushes, for as long as there is something to flush.

Nothing waits for it but a program that assigns faster than the database takes it in. When nothing
was assigned for a while it ends, and the next assignment starts another. Where no thread can be
had, as at the end of the interpreter or in a moment without memory, whoever assigns flushes, and
each such flush asks for a thread again.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from time import monotonic, sleep

#: The longest that an assignment waits before others can see it, in seconds.
INTERVAL = 0.25

# How long a thread without work stays, in seconds.
_IDLE = 5.0

# How long to wait for the end of a flush, at the end of the thread.
_PATIENCE = 2.0

# How long to wait after an error that comes out of the thread itself.
_PAUSE = 0.1


class Flusher:
    """Calls `flush` in a thread of its own.

    Args:
        flush: Flushes, and returns after how many seconds to do so again, or None. Never raises.
        name: What to call the thread.

    """

    def __init__(self, flush: Callable[[], float | None], name: str) -> None:
        self._flush = flush
        self._name = name
        self._make_lock()
        self._due = math.inf
        self._thread: threading.Thread | None = None
        #: No thread could be had when one was last asked for. Who assigns must flush.
        self.missing = False

    def wake(self, *, now: bool = False) -> bool:
        """Have it flush, at once or within `INTERVAL`; return whether there is a thread for it."""
        with self._lock:
            due = monotonic() + (0.0 if now else INTERVAL)
            there = self._thread is not None and self._thread.is_alive()
            if due >= self._due and there:
                return True
            self._due = min(due, self._due)
            if there:
                self._changed.notify_all()
            else:
                self._start()
            return not self.missing

    def stop(self) -> None:
        """End the thread, after the flush that it may be in. A later `wake` starts another."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._due = math.inf
            self._changed.notify_all()
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(_PATIENCE)

    def forget(self) -> None:
        """Be without a thread, in a forked child: it stayed with the parent."""
        self._make_lock()
        self._thread = None
        self._due = math.inf

    def _make_lock(self) -> None:
        # Held as it is, not by its condition: that is written in Python, and what a signal handler
        # raises as it is left would have it held for good.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread = thread
        try:
            thread.start()
            self.missing = False
        except (RuntimeError, MemoryError, OSError):
            self._thread = None
            self.missing = True
        except BaseException:  # of a signal handler
            if not thread.is_alive():
                self._thread = None
            raise

    def _run(self) -> None:
        me = threading.current_thread()
        while True:
            try:
                if not self._wait(me):
                    return
                again = self._flush()
                if again is not None:
                    with self._lock:
                        if self._thread is me:
                            self._due = min(self._due, monotonic() + again)
            except Exception as error:  # noqa: BLE001 - see below
                # A dead thread flushes nothing. To wait takes a lock, and that takes memory, which
                # comes back; what else can come here is said, and the thread goes on as well.
                if not isinstance(error, MemoryError):
                    told = threading.ExceptHookArgs((type(error), error, error.__traceback__, me))
                    threading.excepthook(told)
                self._due = min(self._due, monotonic() + _PAUSE)
                sleep(_PAUSE)

    def _wait(self, me: threading.Thread) -> bool:
        """Wait until a flush is due; return False if this thread is no longer wanted."""
        with self._lock:
            while self._thread is me and (left := self._due - monotonic()) > 0:
                if not self._changed.wait(min(left, _IDLE)) and self._due == math.inf:
                    self._thread = None  # nothing came for a while
            if self._thread is not me:
                return False
            self._due = math.inf
            return True
