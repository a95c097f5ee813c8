"""The end of a trial, with its true cause: its block, an uncaught exception, or a signal.

While a trial runs that the main thread started, SIGTERM raises `Terminated` in that thread, so that
all blocks are left in order. The process then dies by that signal, as it would without us. If the
program had a handler, our handler calls it instead. Our `sys.excepthook` calls the earlier one. The
first trial that starts installs all this, and the last one that ends removes it.

Each trial ends on its own: a failure to end one is reported, and the others end nevertheless.
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
    """SIGTERM arrived while a trial was running."""


class Runs(Protocol):
    """A trial that is running."""

    signalled: bool

    def end(self, status: Status, error: StoredRow | None = None) -> None:
        """End the trial with this status, unless it has one."""


R = TypeVar("R", bound=Runs)


def outcome(error: BaseException | None, *, signalled: bool) -> Status:
    """Return the status of a trial whose block this exception left."""
    if isinstance(error, (KeyboardInterrupt, Terminated)):
        return Status.Interrupted
    if error is None or isinstance(error, SystemExit):
        if signalled:  # a handler asked the program to end, and the program did
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
    """Return the exception in the three arguments of an ``__exit__``, or None.

    The class or the exception alone is enough.
    """
    if error is None and kind is not None:
        # `__new__` without `__init__`: the class may require arguments that we do not have.
        error = kind if isinstance(kind, BaseException) else kind.__new__(kind)
    if error is not None and trace is not None and error.__traceback__ is None:
        error = error.with_traceback(trace)
    return error


def told_of(
    error: BaseException | None, *, signalled: bool
) -> tuple[Status, dict[str, str] | None]:
    """Return the status of a trial that ended, and its error as plain data or None."""
    status = outcome(error, signalled=signalled)
    if error is None or status is not Status.Exception:
        return status, None
    return status, described(error)


def in_flight() -> BaseException | None:
    """Return the exception that the caller is handling (for example in a `finally`), or None."""
    return sys.exc_info()[1]


def each(trials: Iterable[R], end: Callable[[R], object]) -> list[BaseException]:
    """End trials, each even if another one fails, and return the failures."""
    failures: list[BaseException] = []
    for trial in trials:
        try:
            end(trial)
        except Exception as failure:  # noqa: BLE001 - told by the caller, once all were ended
            failure.add_note(f"{trial!r} could not be ended")
            failures.append(failure)
    return failures


def tell(failures: Iterable[BaseException]) -> None:
    """Warn of the failures to end trials."""
    for failure in failures:
        (*_, note) = getattr(failure, "__notes__", None) or ["a trial could not be ended"]
        warnings.warn(
            f"{note}: {type(failure).__name__}: {failure}", TrainingLogWarning, stacklevel=3
        )


class _Watch:
    """The running trials, and the handlers that are installed while they run."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.pid = os.getpid()
        self.running: dict[int, Runs] = {}
        #: Signal -> the handlers that ours replaced. There is only one, unless the program sets a
        #: handler over ours which calls it.
        self.before: dict[int, list[Any]] = {}
        self.passing: dict[int, int] = {}  # signal -> number of earlier handlers being called now
        self.hook: Any = None
        self.dying: int | None = None  # the signal by which the process will die

    def add(self, trial: Runs) -> None:
        with self.lock:
            self.running[id(trial)] = trial
            taken_signals.tell(self.taken)
            # Registered last, and so called first: before the handler that closes its store.
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
            return  # not set by Python, ignored, raising KeyboardInterrupt already, or ours
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
        """Restore the earlier handlers, unless a trial runs or the program replaced ours."""
        with self.lock:
            if self.running:
                return
            for number, handlers in list(self.before.items()):
                if signal.getsignal(number) == self.signalled:
                    signal.signal(number, handlers.pop())
                if not handlers:
                    del self.before[number]

    def mine(self) -> list[Runs]:
        """Return the running trials of this process; a forked child has none of its parent's."""
        return list(self.running.values()) if os.getpid() == self.pid else []

    def signalled(self, number: int, frame: FrameType | None) -> None:
        trials = self.mine()
        for trial in trials:
            trial.signalled = True
        place = self.passing.get(number, 0)
        handlers = self.before.get(number, [])
        before = handlers[-1 - place] if place < len(handlers) else signal.SIG_DFL
        if callable(before):
            self.passing[number] = place + 1  # the handler may call ours, which it replaced
            try:
                before(number, frame)
            finally:
                self.passing[number] = place
        elif not trials:  # no trial runs any more, or this is a forked child
            die_by(number)
        else:
            self.dying = number
            raise Terminated(128 + number)

    def taken(self, number: int) -> None:
        """Mark the trials as signalled. A train loop calls this when it handles a signal itself."""
        for trial in self.mine():
            trial.signalled = True

    def note_signal(self, number: int, frame: FrameType | None) -> None:
        """Pass a signal to the earlier handlers without raising; a later handler handles it."""
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
            # Python itself would die by SIGINT here. It does not if code was evaluated from a text
            # meanwhile, which the import of many modules does.
            self.dying = signal.SIGINT
        try:
            tell(failures)
        finally:
            (self.hook or sys.__excepthook__)(kind, error, trace)

    def exit(self) -> None:
        """End the remaining trials at exit. `uncaught` has already handled an exception."""
        tell(
            each(
                self.mine(),
                lambda trial: trial.end(
                    Status.Interrupted if trial.signalled else Status.Completed
                ),
            )
        )


def die_by(number: int) -> None:
    """End this process by a signal, so that its parent sees the cause."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


_WATCH = _Watch()


def _die_as_asked() -> None:
    if _WATCH.dying is not None and os.getpid() == _WATCH.pid:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()  # the interpreter would do this later, and cannot any more
        die_by(_WATCH.dying)


# Registered early, and so called late: after the exit handlers of other modules.
atexit.register(_die_as_asked)


def watch(trial: Runs) -> None:
    """Register a running trial, so that it ends whatever ends the program."""
    global _WATCH  # noqa: PLW0603 - a forked child gets a new one
    if os.getpid() != _WATCH.pid:
        _WATCH = _Watch()
    _WATCH.add(trial)


def unwatch(trial: Runs) -> None:
    """Forget a trial that has ended."""
    _WATCH.remove(trial)
