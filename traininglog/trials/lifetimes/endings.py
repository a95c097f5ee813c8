"""How a trial ends, told truthfully: by its block, an exception that nobody caught, a signal.

While a trial runs that was started in the main thread, SIGTERM raises `Terminated` there, so that
blocks are left in order; the process then ends by that signal, as it would have. A handler that was
there before is called instead, and `sys.excepthook`, too, is called on. Nothing is installed before
the first trial starts, and all of it is taken back when none is running.

Trials are ended each on its own: one that cannot be ended is told of, and keeps no other from it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable
from types import FrameType, TracebackType
from typing import Any, Protocol, TypeVar

from traininglog import taken_signals
from traininglog.errors import TrainingLogWarning
from traininglog.masking import masked
from traininglog.trials.lifetimes.main_thread import do_in_main_thread
from traininglog.trials.statuses import Status
from traininglog.values import StoredRow

_LONGEST_MESSAGE = 10_000
_LONGEST_TRACEBACK = 100_000


class Terminated(SystemExit):
    """SIGTERM came while a trial was running."""


class Runs(Protocol):
    """A trial that is running."""

    signalled: bool

    def end(self, status: Status, error: StoredRow | None = None) -> None:
        """End the trial with this status, unless it has one."""


R = TypeVar("R", bound=Runs)


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
        "message": masked(message[:_LONGEST_MESSAGE], code=True),
        "traceback": masked(lines[-_LONGEST_TRACEBACK:], code=True),
    }


def error_of(
    kind: type[BaseException] | BaseException | None,
    error: BaseException | None = None,
    trace: TracebackType | None = None,
) -> BaseException | None:
    """Return the exception that the three arguments of an ``__exit__`` tell of, or None.

    Whoever calls one by hand may give the class, or the exception, alone.
    """
    if error is None and kind is not None:
        # Not called, as a class may want arguments that nobody has.
        error = kind if isinstance(kind, BaseException) else kind.__new__(kind)
    if error is not None and trace is not None and error.__traceback__ is None:
        error = error.with_traceback(trace)
    return error


def told_of(
    error: BaseException | None, *, signalled: bool
) -> tuple[Status, dict[str, str] | None]:
    """Return what is stored of how a trial ended: its status, and what went wrong or None."""
    status = outcome(error, signalled=signalled)
    if error is None or status is not Status.Exception:
        return status, None
    return status, described(error)


def in_flight() -> BaseException | None:
    """Return the exception that is being handled where this is called: in a `finally`, say."""
    return sys.exc_info()[1]


def each(trials: Iterable[R], end: Callable[[R], object]) -> list[BaseException]:
    """End trials, each whatever becomes of the others; return what went wrong."""
    failures: list[BaseException] = []
    for trial in trials:
        try:
            end(trial)
        except Exception as failure:  # noqa: BLE001 - told by the caller, once all were ended
            failure.add_note(f"{trial!r} could not be ended")
            failures.append(failure)
    return failures


def tell(failures: Iterable[BaseException]) -> None:
    """Warn of trials that could not be ended."""
    for failure in failures:
        (*_, note) = getattr(failure, "__notes__", None) or ["a trial could not be ended"]
        warnings.warn(
            f"{note}: {type(failure).__name__}: {failure}", TrainingLogWarning, stacklevel=3
        )


class _Watch:
    """What is installed while trials run, and the trials."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.pid = os.getpid()
        self.running: dict[int, Runs] = {}
        #: Signal -> the handlers that ours were set in the place of. One but as long as nobody
        #: sets a handler over ours that calls it.
        self.before: dict[int, list[Any]] = {}
        self.passing: dict[int, int] = {}  # signal -> how many handlers before ours are at it
        self.hook: Any = None
        self.dying: int | None = None  # the signal by which the process is to end

    def add(self, trial: Runs) -> None:
        with self.lock:
            self.running[id(trial)] = trial
            taken_signals.tell(self.taken)
            # Last, and so called first: before what closes the store that was opened for it.
            atexit.unregister(self.exit)
            atexit.register(self.exit)
            if self.hook is None:
                self.hook = sys.excepthook
                sys.excepthook = self.uncaught
            if threading.current_thread() is threading.main_thread():
                self.listen(signal.SIGTERM)
                self.listen(signal.SIGINT)

    def listen(self, number: int) -> None:
        now = signal.getsignal(number)
        if now in (None, signal.SIG_IGN, signal.default_int_handler, self.signalled):
            return  # of another language, not wanted, one that raises KeyboardInterrupt, or ours
        if number == signal.SIGINT and now is signal.SIG_DFL:
            return
        self.before.setdefault(number, []).append(now)
        signal.signal(number, self.signalled)

    def remove(self, trial: Runs) -> None:
        with self.lock:
            self.running.pop(id(trial), None)
            if self.running:
                return
            taken_signals.forget(self.taken)
            if self.hook is not None and sys.excepthook == self.uncaught:
                sys.excepthook, self.hook = self.hook, None
        if self.before:
            do_in_main_thread(self.put_back)

    def put_back(self) -> None:
        """Put the handlers back that were there, unless a trial runs or they were replaced."""
        with self.lock:
            if self.running:
                return
            for number, handlers in list(self.before.items()):
                if signal.getsignal(number) == self.signalled:
                    signal.signal(number, handlers.pop())
                if not handlers:
                    del self.before[number]

    def mine(self) -> list[Runs]:
        """Return the running trials; none in a child that was forked while they ran."""
        return list(self.running.values()) if os.getpid() == self.pid else []

    def signalled(self, number: int, frame: FrameType | None) -> None:
        trials = self.mine()
        for trial in trials:
            trial.signalled = True
        place = self.passing.get(number, 0)
        handlers = self.before.get(number, [])
        before = handlers[-1 - place] if place < len(handlers) else signal.SIG_DFL
        if callable(before):
            self.passing[number] = place + 1  # it may call ours, over which it was set
            try:
                before(number, frame)
            finally:
                self.passing[number] = place
        elif not trials:  # none runs any more, or this is a forked child
            die_by(number)
        else:
            self.dying = number
            raise Terminated(128 + number)

    def taken(self, number: int) -> None:
        """Take note of a signal that somebody else has taken charge of: a train loop."""
        for trial in self.mine():
            trial.signalled = True

    def note_signal(self, number: int, frame: FrameType | None) -> None:
        """Pass on a signal of which a handler after ours has taken charge, and raise nothing."""
        place = self.passing.get(number, 0)
        handlers = self.before.get(number, [])
        before = handlers[-1 - place] if place < len(handlers) else None
        if callable(before):
            note = getattr(getattr(before, "__self__", None), "note_signal", before)
            self.passing[number] = place + 1
            try:
                note(number, frame)
            finally:
                self.passing[number] = place

    def uncaught(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        status, told = told_of(error, signalled=False)
        failures = each(self.mine(), lambda trial: trial.end(status, told))
        if kind is KeyboardInterrupt and not hasattr(sys, "ps1"):
            # So would Python itself end. It forgets to when a text is evaluated in between, as it
            # is by the import of many a module.
            self.dying = signal.SIGINT
        try:
            tell(failures)
        finally:
            (self.hook or sys.__excepthook__)(kind, error, trace)

    def exit(self) -> None:
        """End what was never ended. An exception that nobody caught has been seen by now."""
        tell(
            each(
                self.mine(),
                lambda trial: trial.end(
                    Status.Interrupted if trial.signalled else Status.Completed
                ),
            )
        )


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
