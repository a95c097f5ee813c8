"""The health of a writer: what goes wrong where nobody sees it, kept for those who assign."""

from __future__ import annotations

import warnings
from time import monotonic
from uuid import UUID

from traininglog.callers import level_of_caller
from traininglog.errors import (
    RunTakenOver,
    StoreFailed,
    StoreLocked,
    TrainingLogError,
    TrainingLogWarning,
)

# That others write is no trouble before it has lasted for so long, in seconds.
_LOCKED_SECONDS = 10.0

_WARN_SECONDS = 60.0


def _without_frames(error: Exception) -> Exception:
    """Return an error that holds nothing of what raised it.

    Else a transaction that the error came out of might stay open for as long as we keep it, in
    which every later flush would find the file locked.
    """
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error


def described(error: BaseException) -> str:
    """Return what to say of an error: ours say what to do, others at least what they are."""
    if isinstance(error, TrainingLogError):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class Health:
    """The troubles of one log: such as pass, told once a minute, and such as are fatal."""

    def __init__(self) -> None:
        self.current: Exception | None = None  #: until the next flush that succeeds
        self.fatal: Exception | None = None  #: for good
        self.told = False  #: of what is fatal
        self.notice: str | None = None  #: what to warn of at the next assignment
        self._since = 0.0
        self._warn_at: dict[str, float] = {}  # by what is warned of

    def note(self, error: Exception) -> bool:
        """Take one that may pass; return whether it is time to warn of it."""
        now = monotonic()
        if self.current is None:
            self._since = now
        self.current = _without_frames(error)
        usual = isinstance(error, StoreLocked) and now < self._since + _LOCKED_SECONDS
        return not usual and self.may_warn_of("flush")

    def may_warn_of(self, what: str) -> bool:
        """Tell whether it is time to warn of something that was perhaps just warned of."""
        return monotonic() >= self._warn_at.get(what, 0.0)

    def warn_of(self, what: str, notice: str) -> None:
        """Warn at the next assignment, and then of the same not for a while."""
        self._warn_at[what] = monotonic() + _WARN_SECONDS
        self.notice = notice if self.notice is None else f"{self.notice}. And: {notice}"

    def end(self, error: Exception) -> None:
        """Take one after which nothing can be written any more; the first one counts."""
        self.fatal = self.fatal or error
        self.told = False

    def are_over(self) -> None:
        """A flush has succeeded."""
        self.current = None
        self._warn_at.pop("flush", None)

    def tell(self, uuid: UUID) -> None:
        """Raise what is fatal for a run, or warn of what is to be warned of."""
        self.raise_fatal(uuid)
        self.say()

    def say(self) -> None:
        """Warn of what is to be warned of."""
        notice, self.notice = self.notice, None
        if notice is not None:
            warnings.warn(notice, TrainingLogWarning, stacklevel=level_of_caller())

    def raise_fatal(self, uuid: UUID) -> None:
        """Raise `RunTakenOver`, or `StoreFailed` for whatever else is fatal for a run."""
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
