"""What had to be left out for want of room: how many values, from which to which time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: How many values were left out, the first and the last of their times.
Gap = tuple[int, int, int]

#: The key of the status that tells of gaps.
DROPPED = "_dropped"


def described(gap: Gap) -> dict[str, int]:
    """Return what the status says of a gap."""
    count, first, last = gap
    return {"count": count, "first": first, "last": last}


class Gaps:
    """The gaps of a run, as one log writes it.

    Args:
        status: Of the run, which tells of those before.

    """

    def __init__(self, status: Mapping[str, Any] | None = None) -> None:
        self.current: Gap | None = None  #: what was left out since there was room last
        self._ended: list[Gap] = [
            (gap["count"], gap["first"], gap["last"]) for gap in (status or {}).get(DROPPED) or ()
        ]

    def add(self, count: int, first: int | None, last: int | None) -> Gap:
        """Leave out so many more values; a status has no time. Returns the gap as it is now."""
        total, *known = self.current or (0,)
        times = [at for at in (first, last, *known) if at is not None]
        self.current = (total + count, min(times, default=0), max(times, default=0))
        return self.current

    def end(self) -> None:
        """There is room again."""
        if self.current is not None:
            self._ended.append(self.current)
            self.current = None

    def described(self, gap: Gap | None = None) -> list[dict[str, int]]:
        """Return what the status says of those that ended, and of one more."""
        return [described(each) for each in (*self._ended, *([] if gap is None else [gap]))]

    def saved(self, gap: Gap | None) -> None:
        """Note that the store has been told of the current gap, as it was then.

        If it has become longer meanwhile, it goes on, and the store is told of all of it later.
        """
        if gap is not None and gap == self.current:
            self._ended.append(gap)
            self.current = None
