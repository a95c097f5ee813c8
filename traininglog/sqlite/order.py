"""Which record of a region is which: by its tag, which counts them.

The first record of a region has the region's own tag, the next one that plus one, and so on. So a
record that stands where another one was, and is sound in itself, is found: its number comes twice.

Threads that assign at once may write in another order than that in which they took their numbers,
and one that is interrupted leaves its number unused. So numbers may be missing for a while, or for
good; but none comes twice. In journals of older versions every record has the tag of its region.
"""

from __future__ import annotations

# So many numbers are missing at the most: a thread that has one writes at once.
_MOST_MISSING = 2**12

# The fewest bytes that a record takes.
_LEAST = 16

# The end of a region that was being written has numbers so near to the next.
_NEAR = 64


class Order:
    """The order of the records of one region, as they are read one after the other.

    Args:
        tag: Of the region.
        counted: Whether records are counted, as they have been since the form of journals has the
            number 4.
        skip: How many bytes of records there are before those that are read.

    """

    def __init__(self, tag: int, *, counted: bool = True, skip: int = 0) -> None:
        self.step = 1 if counted else 0  #: from the tag of a record to that of the next
        self._tag = tag
        self._skip = skip
        self._next: int | None = None if skip else tag
        self._skipped = range(0)
        self._late: set[int] = set()  # of those, which come only now
        self._missing: set[int] = set()
        self._jumps: dict[int, int] = {}  # what came before its turn -> where it stands

    def accept(self, first: int, count: int, at: int, size: int) -> int:
        """Take records whose tags follow on each other; return how many of them may be there.

        Args:
            first: The tag of the first.
            count: How many.
            at: Where the first begins.
            size: Of each.

        """
        if not self.step:
            return count if first == self._tag else 0
        if first == self._next:
            self._next += count
            return count
        for number in range(count):
            if not self._take(first + number, at + number * size):
                return number
        return count

    def _take(self, tag: int, at: int) -> bool:
        if self._next is None:
            if not 0 <= tag - self._tag <= self._skip // _LEAST + _MOST_MISSING:
                return False
            self._skipped = range(self._tag, tag)
            self._next = tag + 1
        elif tag in self._skipped and tag not in self._late:
            self._late.add(tag)
        elif tag in self._missing:
            self._missing.remove(tag)
        elif 0 <= tag - self._next <= _MOST_MISSING - len(self._missing):
            if tag != self._next:
                self._missing.update(range(self._next, tag))
                self._jumps[tag] = at
            self._next = tag + 1
        else:
            return False
        return True

    def first_place(self, tag: int) -> int | None:
        """Return where a record stands that came before its turn, and now comes again.

        The one that was there before it is lost, and what follows on it must not be read either.
        """
        return self._jumps.get(tag)

    def near(self) -> range:
        """Return the tags that records from here on have, if there are any."""
        if not self.step:
            return range(self._tag, self._tag + 1)
        at = self._tag if self._next is None else self._next
        return range(max(self._tag, at - _NEAR), at + _NEAR)
