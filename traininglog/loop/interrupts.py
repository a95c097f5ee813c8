"""Signals: asking a training to end, ever more firmly, and the manners of ending it.

After Blocks' main loop: the first SIGINT finishes the epoch, the second the step, the third is a
KeyboardInterrupt at once. SIGTERM finishes the step.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType
from typing import Any


class Interrupts:
    """What signals asked for, while they are being listened to.

    The handlers that were there before are called, too, and are put back at the end. A signal that
    was ignored stays ignored. Signals can be had in the main thread only: elsewhere nothing
    happens. A process that is forked meanwhile, such as a worker that loads data, is not ended by
    Ctrl-C, and by SIGTERM as it would be without us.
    """

    def __init__(self) -> None:
        self.epoch = False  #: end after this epoch
        self.step = False  #: end after this step
        self.name = ""  #: the last signal that came
        self.unsaid = ""  #: what to tell the user, who has not been told
        self._interrupts = 0
        self._pid = 0
        self._previous: dict[int, Any] = {}

    def listen(self) -> None:
        """Begin to listen, if this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._pid = os.getpid()
        for number, handler in ((signal.SIGINT, self._sigint), (signal.SIGTERM, self._sigterm)):
            previous = signal.getsignal(number)
            # None: installed from C, which could not be put back.
            if previous is not signal.SIG_IGN and previous is not None:
                self._previous[number] = previous
                signal.signal(number, handler)

    def stop(self) -> None:
        """Put the previous handlers back."""
        for number, previous in self._previous.items():
            if signal.getsignal(number) in (self._sigint, self._sigterm):  # else it is another's
                signal.signal(number, previous)
        self._previous.clear()

    def take_unsaid(self) -> str:
        """Return what the user is to be told, and forget it."""
        text, self.unsaid = self.unsaid, ""
        return text

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
        self._call_previous(number, frame)
        if self._interrupts > 2:
            raise KeyboardInterrupt

    def _sigterm(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # whoever ends a worker means it
            signal.signal(number, self._previous.get(number, signal.SIG_DFL))
            os.kill(os.getpid(), number)
            return
        self.name = "SIGTERM"
        self.epoch = self.step = True
        self._say("Terminated: ends after this step.")
        self._call_previous(number, frame)

    def _say(self, text: str) -> None:
        """Tell a terminal at once, and leave it to the loop to tell others."""
        # Not by print: a handler runs in the middle of anything, printing included.
        with contextlib.suppress(OSError):
            if os.isatty(2):
                os.write(2, f"\r\x1b[K{text}\n".encode())
                return
        self.unsaid = text

    def _call_previous(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous.get(number)
        if callable(previous) and previous is not signal.default_int_handler:
            previous(number, frame)
