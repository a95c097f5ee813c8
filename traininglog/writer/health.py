"""The health of a writer: errors of background flushes, kept for the next assignment to raise."""

from __future__ import annotations

from time import monotonic
from uuid import UUID

from traininglog.callers import warn_caller
from traininglog.errors import (
    RunTakenOver,
    StoreFailed,
    StoreLocked,
    TrainingLogError,
)

# A store that other writers lock is no trouble before it has been locked for so long, in seconds.
_LOCKED_SECONDS = 10.0

_WARN_SECONDS = 60.0


def _without_frames(error: Exception) -> Exception:
    """Return an error without the tracebacks of it and its causes.

    Their frames might keep a transaction open for as long as the error is kept, and every later
    flush would find the file locked.
    """
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error


def described(error: BaseException) -> str:
    """Return an error as text: ours say what to do, others at least name their type."""
    if isinstance(error, TrainingLogError):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class Health:
    """The errors of one log: passing ones, of which it warns once a minute, and a fatal one."""

    def __init__(self) -> None:
        self.current: Exception | None = None  #: a passing error, until a flush succeeds
        self.fatal: Exception | None = None  #: an error after which nothing can be written
        self.told = False  #: whether the fatal error was raised in a caller
        self.notice: str | None = None  #: the warning that the next assignment emits
        self._since = 0.0
        self._warn_at: dict[str, float] = {}  # when each kind of warning is next allowed

    def note(self, error: Exception) -> bool:
        """Record an error that may pass; return whether it is time to warn of it."""
        now = monotonic()
        if self.current is None:
            self._since = now
        self.current = _without_frames(error)
        usual = isinstance(error, StoreLocked) and now < self._since + _LOCKED_SECONDS
        return not usual and self.may_warn_of("flush")

    def may_warn_of(self, what: str) -> bool:
        """Return whether the last warning of this kind is long enough ago."""
        return monotonic() >= self._warn_at.get(what, 0.0)

    def warn_of(self, what: str, notice: str) -> None:
        """Warn at the next assignment, and hold back further warnings of this kind for a minute."""
        self._warn_at[what] = monotonic() + _WARN_SECONDS
        self.notice = notice if self.notice is None else f"{self.notice}. And: {notice}"

    def end(self, error: Exception) -> None:
        """Record a fatal error; later ones are ignored."""
        self.fatal = self.fatal or error
        self.told = False

    def are_over(self) -> None:
        """Forget the passing error: a flush has succeeded."""
        self.current = None
        self._warn_at.pop("flush", None)

    def tell(self, uuid: UUID) -> None:
        """Raise the fatal error of a run, or emit the pending warning."""
        self.raise_fatal(uuid)
        self.say()

    def say(self) -> None:
        """Emit the pending warning."""
        notice, self.notice = self.notice, None
        if notice is not None:
            warn_caller(notice)

    def raise_fatal(self, uuid: UUID) -> None:
        """Raise the fatal error of a run as `RunTakenOver`, or else as `StoreFailed`."""
        error = self.fatal
        if error is None:
            return
        self.told = True
        if isinstance(error, RunTakenOver):
            raise RunTakenOver(str(error)) from None
        raise StoreFailed(
            f"run {uuid.hex} cannot be written any more: {described(error)}; what was assigned is "
            "in its journal and will be put back when the store is next opened"
        ) from error
