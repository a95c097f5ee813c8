"""Which record of a region is which: by its tag, which counts them.

The first record of a region has the region's own tag, the next one that plus `STEP`, and so on. So
a record that stands where another one was, and is sound in itself, is found: its number comes
twice. As a bit that flips changes a tag by a power of two, which three does not divide, what it
makes of a tag is never that of another record.

Threads that assign at once may write in another order than that in which they took their numbers,
and one that is interrupted leaves its number unused. So numbers may be missing for a while, or for
good; but none comes twice. In journals of older versions every record has the tag of its region.
"""

from __future__ import annotations

#: From the tag of a record to that of the next.
STEP = 3

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
        self.step = STEP if counted else 0  #: from the tag of a record to that of the next
        self._tag = tag
        self._skip = skip
        # From here on of the numbers of records, the first of which is 0.
        self._next: int | None = None if skip else 0
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
        number, rest = divmod(first - self._tag, STEP)
        if rest:
            return 0
        if number == self._next:
            self._next += count
            return count
        for more in range(count):
            if not self._take(number + more, at + more * size):
                return more
        return count

    def _take(self, number: int, at: int) -> bool:
        if self._next is None:
            if not 0 <= number <= self._skip // _LEAST + _MOST_MISSING:
                return False
            self._skipped = range(number)
            self._next = number + 1
        elif number in self._skipped and number not in self._late:
            self._late.add(number)
        elif number in self._missing:
            self._missing.remove(number)
        elif 0 <= number - self._next <= _MOST_MISSING - len(self._missing):
            if number != self._next:
                self._missing.update(range(self._next, number))
                self._jumps[number] = at
            self._next = number + 1
        else:
            return False
        return True

    def first_place(self, tag: int) -> int | None:
        """Return where a record stands that came before its turn, and now comes again.

        The one that was there before it is lost, and what follows on it must not be read either.
        """
        number, rest = divmod(tag - self._tag, STEP)
        return None if rest else self._jumps.get(number)

    def near(self) -> range:
        """Return the tags that records from here on have, if there are any."""
        if not self.step:
            return range(self._tag, self._tag + 1)
        at = self._next or 0
        first, last = max(0, at - _NEAR), at + _NEAR
        return range(self._tag + first * STEP, self._tag + last * STEP, STEP)
