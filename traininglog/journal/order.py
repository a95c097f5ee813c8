"""The order of the records in a region: the tag of a record counts them.

The first record has the region's own tag, the next one that plus `STEP`, and so on. So a reader
finds a sound record that has overwritten another one: its number comes twice. A flipped bit changes
a tag by a power of two, which 3 does not divide, so it never makes the tag of another record.

Threads that assign at the same time may write in another order than that in which they took their
numbers, and a thread that is interrupted leaves its number unused. So numbers may be missing for a
while, or for good, but none comes twice. In journals of older versions every record has the tag of
its region.
"""

from __future__ import annotations

#: The difference between the tags of a record and the next.
STEP = 3

# The most numbers that are missing: a thread that has taken one writes at once.
_MOST_MISSING = 2**12

# The fewest bytes of a record.
_LEAST = 16

# Records at the end of a region that was being written have numbers at most so far from the next.
_NEAR = 64


class Order:
    """The order of the records of one region, checked as a reader reads one after the other.

    Args:
        tag: The tag of the region.
        counted: Whether the tags count records, as they do since format 4 of the journal.
        skip: The bytes of records before those that are read.

    """

    def __init__(self, tag: int, *, counted: bool = True, skip: int = 0) -> None:
        self.step = STEP if counted else 0  #: the difference between the tags of neighbours
        self._tag = tag
        self._skip = skip
        # All below are numbers of records; the first record has the number 0.
        self._next: int | None = None if skip else 0
        self._skipped = range(0)
        self._late: set[int] = set()  # numbers of the skipped range that came later
        self._missing: set[int] = set()
        self._jumps: dict[int, int] = {}  # a number that came too early -> where its record is

    def accept(self, first: int, count: int, at: int, size: int) -> int:
        """Accept records with consecutive tags; return how many of them are in a possible order.

        Args:
            first: The tag of the first.
            count: How many there are.
            at: Where the first begins.
            size: The bytes of each.

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
        """Return the place of a record that came too early, and whose number now comes again.

        It has overwritten another record, which is lost. A reader must not read past that place.
        """
        number, rest = divmod(tag - self._tag, STEP)
        return None if rest else self._jumps.get(number)

    def near(self) -> range:
        """Return the tags that the next records may have."""
        if not self.step:
            return range(self._tag, self._tag + 1)
        at = self._next or 0
        first, last = max(0, at - _NEAR), at + _NEAR
        return range(self._tag + first * STEP, self._tag + last * STEP, STEP)
