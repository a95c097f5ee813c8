"""How a trial ends, told truthfully: by its block, an exception that nobody caught, a signal.

While a trial runs that was started in the main thread, SIGTERM raises `Terminated` there, so that
blocks are left in order; the process then ends by that signal, as it would have. A handler that was
there before is called instead, and `sys.excepthook`, too, is called on. Nothing is installed before
the first trial starts, and all of it is taken back when none is running.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import traceback
from types import FrameType, TracebackType
from typing import Any, Protocol

from traininglog.trials.statuses import Status

_LONGEST_MESSAGE = 10_000
_LONGEST_TRACEBACK = 100_000


class Terminated(SystemExit):
    """SIGTERM came while a trial was running."""


class Runs(Protocol):
    """A trial that is running."""

    signalled: bool

    def end(self, status: Status, error: dict[str, Any] | None = None) -> None:
        """End the trial with this status, unless it has one."""


def outcome(error: BaseException | None, *, signalled: bool) -> Status:
    """Return the status of a trial whose block was left by this exception."""
    if isinstance(error, (KeyboardInterrupt, Terminated)):
        return Status.Interrupted
    if error is None or isinstance(error, SystemExit):
        if signalled:  # a handler asked the program to come to an end, which it did
            return Status.Interrupted
        clean = error is None or not error.code
        return Status.Completed if clean else Status.Exception
    return Status.Exception


def described(error: BaseException) -> dict[str, str]:
    """Return an exception as plain data: type, message, traceback."""
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in ("builtins", "__main__"):
        name = f"{kind.__module__}.{name}"
    try:
        message = str(error)
        lines = "".join(traceback.format_exception(error))
    except Exception as failure:  # noqa: BLE001 - an exception that cannot even be shown
        message, lines = f"<not to be shown: {type(failure).__name__}>", ""
    return {
        "type": name,
        "message": message[:_LONGEST_MESSAGE],
        "traceback": lines[-_LONGEST_TRACEBACK:],
    }


class _Watch:
    """What is installed while trials run, and the trials."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.pid = os.getpid()
        self.running: dict[int, Runs] = {}
        self.before: dict[int, Any] = {}  # signal -> the handler that was there
        self.hook: Any = None
        self.at_exit = False
        self.dying: int | None = None  # the signal by which the process is to end

    def add(self, trial: Runs) -> None:
        with self.lock:
            self.running[id(trial)] = trial
            if not self.at_exit:
                self.at_exit = True
                atexit.register(self.exit)
            if self.hook is None:
                self.hook = sys.excepthook
                sys.excepthook = self.uncaught
            if threading.current_thread() is threading.main_thread():
                self.listen(signal.SIGTERM)
                self.listen(signal.SIGINT)

    def listen(self, number: int) -> None:
        now = signal.getsignal(number)
        if number in self.before or now in (None, signal.SIG_IGN, signal.default_int_handler):
            return  # of another language, not wanted, or one that raises KeyboardInterrupt
        if number == signal.SIGINT and now is signal.SIG_DFL:
            return
        self.before[number] = now
        signal.signal(number, self.signalled)

    def remove(self, trial: Runs) -> None:
        with self.lock:
            self.running.pop(id(trial), None)
            if self.running:
                return
            if self.hook is not None and sys.excepthook == self.uncaught:
                sys.excepthook, self.hook = self.hook, None
            if threading.current_thread() is threading.main_thread():
                for number, handler in list(self.before.items()):
                    if signal.getsignal(number) == self.signalled:
                        signal.signal(number, handler)
                    del self.before[number]

    def mine(self) -> list[Runs]:
        """Return the running trials; none in a child that was forked while they ran."""
        return list(self.running.values()) if os.getpid() == self.pid else []

    def signalled(self, number: int, frame: FrameType | None) -> None:
        for trial in self.mine():
            trial.signalled = True
        before = self.before.get(number, signal.SIG_DFL)
        if callable(before):
            before(number, frame)
        elif os.getpid() != self.pid:
            die_by(number)
        else:
            self.dying = number
            raise Terminated(128 + number)

    def uncaught(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        status = outcome(error, signalled=False)
        for trial in self.mine():
            trial.end(status, None if status is Status.Interrupted else described(error))
        if kind is KeyboardInterrupt and not hasattr(sys, "ps1"):
            # So would Python itself end. It forgets to when a text is evaluated in between, as it
            # is by the import of many a module.
            self.dying = signal.SIGINT
        (self.hook or sys.__excepthook__)(kind, error, trace)

    def exit(self) -> None:
        """End what was never ended. An exception that nobody caught has been seen by now."""
        asked = [trial for trial in self.mine() if trial.signalled]
        for trial in self.mine():
            trial.end(Status.Interrupted if trial in asked else Status.Completed)


def die_by(number: int) -> None:
    """End this process by a signal, so that who waits for it sees what ended it."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


_WATCH = _Watch()


def _die_as_asked() -> None:
    if _WATCH.dying is not None and os.getpid() == _WATCH.pid:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()  # which the interpreter would do after this
        die_by(_WATCH.dying)


# Registered early, and so called late: after what others do at the end.
atexit.register(_die_as_asked)


def watch(trial: Runs) -> None:
    """See to it that a trial which has started is ended, whatever ends it."""
    global _WATCH  # noqa: PLW0603 - begun anew in a forked child
    if os.getpid() != _WATCH.pid:
        _WATCH = _Watch()
    _WATCH.add(trial)


def unwatch(trial: Runs) -> None:
    """Forget a trial that has ended."""
    _WATCH.remove(trial)
