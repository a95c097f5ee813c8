"""Signals that end a training: after the epoch, after the step, or at once.

The rules follow Blocks' main loop: the first SIGINT ends after the epoch, the second after the
step, the third raises KeyboardInterrupt at once. SIGTERM and SIGHUP end after the step.

A signal rarely comes to one process alone. A terminal, a batch system and a service manager send it
to the whole group, workers that load data included. This process may have several handlers, too.
So:

- A step is never cut. An error of an earlier handler, such as `SystemExit`, is raised when the loop
  has been left. A handler with a method `note_signal` is only notified, and raises nothing.
- It is no error if the same signal ends a worker. PyTorch raises one wherever the program is when
  it learns of that. Within a step the loop postpones this error, and drops it if the signal comes
  to this process, too.
- Data may never come, because the worker that was to send it is gone. After `PATIENCE` seconds the
  loop breaks off the wait.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from traininglog.errors import TrainingLogError
from traininglog.loop.counters import Counters
from traininglog.loop.stops import children
from traininglog.taken_signals import taken

#: Seconds that a wait for data may go on after a signal that ends the training after its step.
PATIENCE = 3.0
#: Seconds that a signal may take to reach all processes of a group.
_SPREAD = 0.5

_TEXTS = {"SIGTERM": "Terminated", "SIGHUP": "Hung up"}


class DataGivenUp(BaseException):
    """The signal handler raises this while the loop waits for data; the loop catches it."""


class Interrupts:
    """The signal handlers of a loop, and the ends that signals have asked for.

    The handlers call the previous ones, too; `stop` restores those. A signal that was ignored stays
    ignored. Python handles signals in the main thread only: elsewhere `listen` does nothing. Ctrl-C
    does not end a worker process that starts meanwhile; SIGTERM ends it as it would without us.

    Args:
        counters: The counters, for whether a step is open.

    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self.epoch = False  #: end after this epoch
        self.step = False  #: end after this step
        self.name = ""  #: the last signal that came
        self.unsaid = ""  #: a message that is still to be printed
        self.silent = False  #: whether another process prints the messages
        #: When the wait for data began, by `perf_counter`; 0: the loop does not wait.
        self.wait = 0.0
        self.lost: Exception | None = None  #: the error of workers that died during the step
        self.postponed: BaseException | None = None  #: the error of a previous handler
        self._broken_off = 0.0  # the wait that ends now
        self._interrupts = 0
        self._listening = False
        self._pid = 0
        self._previous: dict[int, Any] = {}

    # -- listening --------------------------------------------------------------------------

    def listen(self) -> None:
        """Install the handlers, if this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._pid, self._listening = os.getpid(), True
        children.shield()
        for number in _asking():
            previous = signal.getsignal(number)
            # None: a handler installed from C, which Python could not restore.
            if previous is not signal.SIG_IGN and previous is not None:
                self._previous[number] = previous
                signal.signal(number, self._signalled)
        self.look_after_children()

    def stop(self) -> None:
        """Restore the previous handlers."""
        if not self._listening:
            return
        self._listening = False
        children.unshield()
        for number, previous in self._previous.items():
            if signal.getsignal(number) == self._signalled:  # else another handler replaced ours
                signal.signal(number, previous)

    def look_after_children(self) -> None:
        """Wrap a handler of SIGCHLD that the program, or PyTorch, has installed meanwhile."""
        if not self._listening or os.getpid() != self._pid:
            return
        children.keep_shielding()
        now = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
        if callable(now) and not isinstance(getattr(now, "__self__", None), Interrupts):
            self._previous[signal.SIGCHLD] = now
            signal.signal(signal.SIGCHLD, self._signalled)

    # -- asking -----------------------------------------------------------------------------

    def take_unsaid(self) -> str:
        """Return the message that is still to be printed, and clear it."""
        text, self.unsaid = self.unsaid, ""
        return text

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C came, and no loop around this one handles it, too."""
        around = getattr(self._previous.get(signal.SIGINT), "__self__", None)
        return self._interrupts > 0 and not isinstance(around, Interrupts)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Mark this block as a wait for data, which a signal breaks off if it takes long."""
        self.wait = time.perf_counter()
        if self.step:
            self.lose_patience()
        try:
            yield
        finally:
            self.wait = 0.0

    def explains(self, error: BaseException) -> bool:
        """Return whether a signal made the data fail; then the training ends after this step.

        The signal may have reached a worker before this process: wait for it a little.
        """
        if not self._listening or isinstance(error, TrainingLogError):  # our own error
            return False
        if not self.epoch and "multiprocessing" in sys.modules:
            self._await_signal()
        if self.epoch and not self.step:
            self.step = True
        if self.step and not isinstance(error, DataGivenUp):
            self._say(f"{self.name} came, and the data ended: {type(error).__name__}: {error}")
        return self.step

    def take_lost(self) -> Exception | None:
        """Return the error of workers that died in the step, unless a signal explains it."""
        lost, self.lost = self.lost, None
        return None if lost is None or self.explains(lost) else lost

    # -- handling ---------------------------------------------------------------------------

    def note_signal(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal that a later handler passes on."""
        self._signalled(number, frame)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if not self._listening:  # another handler still calls ours after the loop has ended
            self._as_before(number, frame)
        elif number == getattr(signal, "SIGCHLD", None):
            self._sigchld(number, frame)
        elif self._broken_off and os.getpid() == self._pid:
            wait, self._broken_off = self._broken_off, 0.0
            if self.wait == wait:
                raise DataGivenUp
        elif number == signal.SIGINT:
            self._sigint(number, frame)
        else:
            self._sigterm(number, frame)

    def _sigint(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            return  # a forked worker: Ctrl-C reaches it, too, and the training still needs it
        self._interrupts += 1
        self.name = "SIGINT"
        self.epoch = True
        self.step = self.step or self._interrupts > 1
        self._say(
            "Interrupted: ends after this step; once more: at once."
            if self.step
            else "Interrupted: ends after this epoch; once more: after this step."
        )
        taken(number)
        self._tell_previous(number, frame)
        if self._interrupts > 2:
            raise KeyboardInterrupt
        self._ended(number)

    def _sigterm(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a forked worker, which the signal must end
            previous = self._previous.get(number, signal.SIG_DFL)
            # A handler with `note_signal` is only notified: it would not end the worker.
            told = hasattr(getattr(previous, "__self__", None), "note_signal")
            signal.signal(number, signal.SIG_DFL if told else previous)
            os.kill(os.getpid(), number)
            return
        again = self.step
        self.name = signal.Signals(number).name
        self.epoch = self.step = True
        if not again:
            self._say(f"{_TEXTS[self.name]}: ends after this step.")
        taken(number)
        self._tell_previous(number, frame)
        self._ended(number)

    def _sigchld(self, number: int, frame: FrameType | None) -> None:
        """Call the previous handler, PyTorch's, which raises if a worker has died."""
        if os.getpid() != self._pid:
            self._as_before(number, frame)
            return
        try:
            self._previous[number](number, frame)
        except Exception as error:
            if self.wait:  # the loop catches it there, and asks `explains`
                raise
            if self._counters.within_step:
                self.lost = error
                return
            self._await_signal()
            if not self.epoch:
                raise

    def _as_before(self, number: int, frame: FrameType | None) -> None:
        """Do what Python would do without our handler."""
        previous = self._previous.get(number, signal.SIG_DFL)
        if callable(previous):
            previous(number, frame)
        elif previous is signal.SIG_DFL and number != getattr(signal, "SIGCHLD", None):
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _tell_previous(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous.get(number)
        owner = getattr(previous, "__self__", None)
        if isinstance(owner, Interrupts):  # a loop around this one
            owner.note_signal(number, frame)
        elif callable(previous) and previous is not signal.default_int_handler:
            try:
                getattr(owner, "note_signal", previous)(number, frame)
            except BaseException as error:  # noqa: BLE001 - the loop raises it at its end
                self.postponed = self.postponed or error

    def _ended(self, number: int) -> None:
        """Limit the wait for data after a signal that ends the step."""
        self.look_after_children()
        if self.step and self.wait:
            self.lose_patience(number)

    def lose_patience(self, number: int = signal.SIGTERM) -> None:
        """Start a timer that breaks off the present wait for data after `PATIENCE` seconds."""
        if not self._listening or not hasattr(signal, "pthread_kill"):
            return
        wait = self.wait

        def end() -> None:
            if wait and self.wait == wait and self._listening:
                self._broken_off = wait
                signal.pthread_kill(threading.main_thread().ident or 0, number)

        timer = threading.Timer(PATIENCE, end)
        timer.daemon = True
        timer.start()

    def _await_signal(self) -> None:
        """Wait a little for a signal that should arrive soon; its handler runs meanwhile."""
        end = time.monotonic() + _SPREAD
        while not self.epoch and time.monotonic() < end:
            time.sleep(0.02)

    def _say(self, text: str) -> None:
        """Write a message to a terminal at once; elsewhere leave it for the loop to print."""
        if self.silent:
            return
        # Not by print: a handler may interrupt anything, a print included.
        with contextlib.suppress(OSError):
            if os.isatty(2):
                os.write(2, f"\r\x1b[K{text}\n".encode(errors="backslashreplace"))
                return
        self.unsaid = text


def _asking() -> list[int]:
    """Return the signals that end a training."""
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    return [getattr(signal, name) for name in names if hasattr(signal, name)]
