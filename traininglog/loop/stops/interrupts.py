"""Signals: asking a training to end, ever more firmly, and the manners of ending it.

After Blocks' main loop: the first SIGINT finishes the epoch, the second the step, the third is a
KeyboardInterrupt at once. SIGTERM and SIGHUP finish the step.

A signal rarely comes to one process alone. A terminal, a batch system and a service manager send it
to all of the group, workers that load data included, and who listens in this process may be
several. So:

- A step is never cut. What handlers before ours raise, such as `SystemExit`, is raised when the
  loop has been left. Handlers that know how to be told (`note_signal`) are told, and raise nothing.
- That a worker was ended by the same signal is no error. PyTorch raises one when it learns of it,
  wherever the program is: in a step that is put off, and forgotten if the signal comes to us, too.
- Data that does not come, because whoever was to send it is gone, is not waited for: after
  `PATIENCE` seconds the wait is broken off.
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

#: How long a wait for data may go on after a signal that ends the training after its step.
PATIENCE = 3.0
#: How long it may take a signal to come to all processes of a group.
_SPREAD = 0.5

_TEXTS = {"SIGTERM": "Terminated", "SIGHUP": "Hung up"}


class DataGivenUp(BaseException):
    """Raised by a signal's handler where data is waited for, and caught by the loop."""


class Interrupts:
    """What signals asked for, while they are being listened to.

    The handlers that were there before are called, too, and are put back at the end. A signal that
    was ignored stays ignored. Signals can be had in the main thread only: elsewhere nothing
    happens. A worker process that is started meanwhile is not ended by Ctrl-C, and by SIGTERM as it
    would be without us.

    Args:
        counters: Tells whether a step is open.

    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self.epoch = False  #: end after this epoch
        self.step = False  #: end after this step
        self.name = ""  #: the last signal that came
        self.unsaid = ""  #: what to tell the user, who has not been told
        self.silent = False  #: whether another process tells the user
        #: When data began to be waited for, by a clock of whoever does; 0: it is not.
        self.wait = 0.0
        self.lost: Exception | None = None  #: that workers were lost while it ran
        self.postponed: BaseException | None = None  #: what a handler before ours raised
        self._broken_off = 0.0  # the wait that is to end now
        self._interrupts = 0
        self._listening = False
        self._pid = 0
        self._previous: dict[int, Any] = {}

    # -- listening --------------------------------------------------------------------------

    def listen(self) -> None:
        """Begin to listen, if this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._pid, self._listening = os.getpid(), True
        children.shield()
        for number in _asking():
            previous = signal.getsignal(number)
            # None: installed from C, which could not be put back.
            if previous is not signal.SIG_IGN and previous is not None:
                self._previous[number] = previous
                signal.signal(number, self._signalled)
        self.look_after_children()

    def stop(self) -> None:
        """Put the previous handlers back."""
        if not self._listening:
            return
        self._listening = False
        children.unshield()
        for number, previous in self._previous.items():
            if signal.getsignal(number) == self._signalled:  # else it is another's
                signal.signal(number, previous)

    def look_after_children(self) -> None:
        """Stand between the program and a handler of SIGCHLD that was installed meanwhile."""
        if not self._listening or os.getpid() != self._pid:
            return
        children.keep_shielding()
        now = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
        if callable(now) and not isinstance(getattr(now, "__self__", None), Interrupts):
            self._previous[signal.SIGCHLD] = now
            signal.signal(signal.SIGCHLD, self._signalled)

    # -- asking -----------------------------------------------------------------------------

    def take_unsaid(self) -> str:
        """Return what the user is to be told, and forget it."""
        text, self.unsaid = self.unsaid, ""
        return text

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C came, and no loop around this one has heard of it as well."""
        around = getattr(self._previous.get(signal.SIGINT), "__self__", None)
        return self._interrupts > 0 and not isinstance(around, Interrupts)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Wait for data in this block, unless that is to be ended and takes long."""
        self.wait = time.perf_counter()
        if self.step:
            self.lose_patience()
        try:
            yield
        finally:
            self.wait = 0.0

    def explains(self, error: BaseException) -> bool:
        """Tell whether a signal is why data failed; then the training ends after this step.

        It may have come to the worker that had the data before it comes to us.
        """
        if not self._listening or isinstance(error, TrainingLogError):  # which we raised ourselves
            return False
        if not self.epoch and "multiprocessing" in sys.modules:
            self._await_signal()
        if self.epoch and not self.step:
            self.step = True
        if self.step and not isinstance(error, DataGivenUp):
            self._say(f"{self.name} came, and the data ended: {type(error).__name__}: {error}")
        return self.step

    def take_lost(self) -> Exception | None:
        """Return that workers were lost in the step, if no signal explains it."""
        lost, self.lost = self.lost, None
        return None if lost is None or self.explains(lost) else lost

    # -- what comes -------------------------------------------------------------------------

    def note_signal(self, number: int, frame: FrameType | None) -> None:
        """Take note of a signal of which a handler that came after ours has told us."""
        self._signalled(number, frame)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if not self._listening:  # somebody has kept us, whose time is over
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
            return  # a forked worker: Ctrl-C reaches it as well, and the training needs it still
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
        if os.getpid() != self._pid:  # whoever ends a worker means it
            previous = self._previous.get(number, signal.SIG_DFL)
            # What is told only, and raises nothing, would not end the worker.
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
        """Learn that a child has ended, from a handler that may raise: PyTorch's."""
        if os.getpid() != self._pid:
            self._as_before(number, frame)
            return
        try:
            self._previous[number](number, frame)
        except Exception as error:
            if self.wait:  # where it is caught, and looked into
                raise
            if self._counters.within_step:
                self.lost = error
                return
            self._await_signal()
            if not self.epoch:
                raise

    def _as_before(self, number: int, frame: FrameType | None) -> None:
        """Do what would be done without us."""
        previous = self._previous.get(number, signal.SIG_DFL)
        if callable(previous):
            previous(number, frame)
        elif previous is signal.SIG_DFL and number != getattr(signal, "SIGCHLD", None):
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _tell_previous(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous.get(number)
        owner = getattr(previous, "__self__", None)
        if isinstance(owner, Interrupts):  # of a loop around this one
            owner.note_signal(number, frame)
        elif callable(previous) and previous is not signal.default_int_handler:
            try:
                getattr(owner, "note_signal", previous)(number, frame)
            except BaseException as error:  # noqa: BLE001 - raised when the loop has been left
                self.postponed = self.postponed or error

    def _ended(self, number: int) -> None:
        """See to it that no data is waited for, after a signal that ends the step."""
        self.look_after_children()
        if self.step and self.wait:
            self.lose_patience(number)

    def lose_patience(self, number: int = signal.SIGTERM) -> None:
        """Break the wait for data off, if it takes too long."""
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
        """Wait for a signal, which runs its handler meanwhile, that should be here soon."""
        end = time.monotonic() + _SPREAD
        while not self.epoch and time.monotonic() < end:
            time.sleep(0.02)

    def _say(self, text: str) -> None:
        """Tell a terminal at once, and leave it to the loop to tell others."""
        if self.silent:
            return
        # Not by print: a handler runs in the middle of anything, printing included.
        with contextlib.suppress(OSError):
            if os.isatty(2):
                os.write(2, f"\r\x1b[K{text}\n".encode(errors="backslashreplace"))
                return
        self.unsaid = text


def _asking() -> list[int]:
    """Return the signals that ask for an end."""
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    return [getattr(signal, name) for name in names if hasattr(signal, name)]
