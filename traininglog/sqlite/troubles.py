"""What goes wrong in the background, where nobody sees it: kept for those who assign."""

from __future__ import annotations

import sys
import warnings
from time import monotonic
from uuid import UUID

from traininglog.errors import RunTakenOver, StoreFailed, StoreLocked, TrainingLogWarning

# That others write is no trouble before it has lasted for so long, in seconds.
_LOCKED_SECONDS = 2.0

_WARN_SECONDS = 60.0


class Troubles:
    """The troubles of one log: such as pass, told once a minute, and such as are fatal."""

    def __init__(self) -> None:
        self.current: Exception | None = None  #: until the next flush that succeeds
        self.fatal: Exception | None = None  #: for good
        self.told = False  #: of what is fatal
        self.notice: str | None = None  #: what to warn of at the next assignment
        self._since = 0.0
        self._warn_at = 0.0

    def note(self, error: Exception) -> bool:
        """Take one that may pass; return whether it is time to warn of it."""
        now = monotonic()
        if self.current is None:
            self._since = now
        self.current = error
        usual = isinstance(error, StoreLocked) and now < self._since + _LOCKED_SECONDS
        return not usual and now >= self._warn_at

    def warn_of(self, notice: str) -> None:
        """Warn at the next assignment, and then not for a while."""
        self._warn_at = monotonic() + _WARN_SECONDS
        self.notice = notice

    def end(self, error: Exception) -> None:
        """Take one after which nothing can be written any more; the first one counts."""
        self.fatal = self.fatal or error
        self.told = False

    def are_over(self) -> None:
        """A flush has succeeded."""
        self.current, self._warn_at = None, 0.0

    def tell(self, uuid: UUID) -> None:
        """Raise what is fatal for a run, or warn of what is to be warned of."""
        self.raise_fatal(uuid)
        notice, self.notice = self.notice, None
        if notice is not None:
            warnings.warn(notice, TrainingLogWarning, stacklevel=outside())

    def raise_fatal(self, uuid: UUID) -> None:
        """Raise `RunTakenOver`, or `StoreFailed` for whatever else is fatal for a run."""
        error = self.fatal
        if error is None:
            return
        self.told = True
        if isinstance(error, RunTakenOver):
            raise RunTakenOver(str(error)) from None
        raise StoreFailed(
            f"run {uuid.hex} cannot be written any more: {error}; what was assigned is in its "
            "journal and will be put back when the file is next opened"
        ) from error


def outside() -> int:
    """Return the `stacklevel` of the first caller outside of this package."""
    level, frame = 1, sys._getframe(1)
    package = __name__.partition(".")[0] + "."
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(package):
        level, frame = level + 1, frame.f_back
    return level
