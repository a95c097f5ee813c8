"""The gaps of a run: how many values were dropped for want of room, and at which times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: The number of dropped values, and the first and the last of their times.
Gap = tuple[int, int, int]

#: The key of the status that lists gaps.
DROPPED = "_dropped"


def described(gap: Gap) -> dict[str, int]:
    """Return a gap as the status has it."""
    count, first, last = gap
    return {"count": count, "first": first, "last": last}


class Gaps:
    """The gaps of the run that a log writes.

    Args:
        status: The status of the run, which lists earlier gaps.

    """

    def __init__(self, status: Mapping[str, Any] | None = None) -> None:
        self.current: Gap | None = None  #: the values dropped since there was room last
        self._ended: list[Gap] = [
            (gap["count"], gap["first"], gap["last"]) for gap in (status or {}).get(DROPPED) or ()
        ]

    def add(self, count: int, first: int | None, last: int | None) -> Gap:
        """Add dropped values to the current gap, and return it. The status has no times."""
        total, *known = self.current or (0,)
        times = [at for at in (first, last, *known) if at is not None]
        self.current = (total + count, min(times, default=0), max(times, default=0))
        return self.current

    def end(self) -> None:
        """End the current gap: there is room again."""
        if self.current is not None:
            self._ended.append(self.current)
            self.current = None

    def described(self, gap: Gap | None = None) -> list[dict[str, int]]:
        """Return the gaps that ended, and one more, as the status has them."""
        return [described(each) for each in (*self._ended, *([] if gap is None else [gap]))]

    def saved(self, gap: Gap | None) -> None:
        """End the current gap if it still is `gap`, which the store now has.

        If it has grown since, it goes on, and a later flush saves all of it.
        """
        if gap is not None and gap == self.current:
            self._ended.append(gap)
            self.current = None
