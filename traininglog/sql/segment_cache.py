"""A cache of decoded segments, so that reading row by row decodes each of them once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from traininglog.packing import Points

# Sizes of the cache of decoded segments, and of the set of segments that were read once. A second
# read decodes and caches a segment.
_KEPT = 64
_KNOWN = 1024


class SegmentCache:
    """Decoded segments, for reading row by row. A segment never changes under its id."""

    def __init__(self) -> None:
        self._points: OrderedDict[int, Points] = OrderedDict()
        self._asked: set[int] = set()
        self._lock = threading.Lock()

    def get(self, number: int) -> Points | None:
        """Return the cached content of a segment, or None."""
        with self._lock:
            found = self._points.get(number)
            if found is not None:
                self._points.move_to_end(number)
            return found

    def asked_before(self, number: int) -> bool:
        """Return whether this was called for a segment before, not too long ago."""
        with self._lock:
            before = number in self._asked
            if len(self._asked) >= _KNOWN:
                self._asked.clear()
            self._asked.add(number)
            return before

    def keep(self, number: int, points: Points) -> None:
        """Cache the content of a segment."""
        with self._lock:
            self._points[number] = points
            if len(self._points) > _KEPT:
                self._points.popitem(last=False)
