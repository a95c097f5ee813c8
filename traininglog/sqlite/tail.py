"""The tail: where an assignment goes, while a region of the journal is open.

What stands here is read once per assignment, by `fast` mostly. It is bound to one round of one
region; the next round has a tail of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from traininglog.sqlite.records import FLOAT_HEAD, INT_HEAD, pack_row

_TO_INT = INT_HEAD - FLOAT_HEAD


class _NoRow:
    """Stands where there is no row at hand: a row of no time."""

    __slots__ = ("_time",)

    def __init__(self) -> None:
        self._time = object()


NO_ROW = _NoRow()


class Tail:
    """Where an assignment goes: what the hottest path of all needs to know, and nothing else.

    `write` raises `ValueError` once the region is full or at rest; whoever meets that asks the
    writer, who knows why and what to do.
    """

    __slots__ = ("counters", "numbers", "row", "tag", "write")

    def __init__(self, write: Callable[[bytes], int], tag: int, numbers: dict[str, int]) -> None:
        self.write = write
        self.tag = tag
        self.numbers = numbers  #: key -> head of a float's record
        self.counters: dict[str, int] = {}  #: key of the status -> head of a count's record
        self.row: Any = NO_ROW  #: the last one asked for; see `SQLiteLog.__getitem__`

    def write_row(self, time: int, row: Mapping[str, Any]) -> bool:
        """Write floats and ints of one time as one record; return False if something else is there.

        Raises `KeyError` for a key that the run has not seen, `ValueError` as `write` does, and
        `struct.error` for an int that does not fit; nothing is written then.
        """
        numbers = self.numbers
        flat: list[Any] = []
        ints = False
        for key, value in row.items():
            if type(value) is float:
                flat += (numbers[key], value)
            elif type(value) is int:
                flat += (numbers[key] + _TO_INT, value)
                ints = True
            else:
                return False
        if flat:
            self.write(pack_row(time, flat, self.tag, ints=ints))
        return True


def _refuse(_: bytes) -> int:
    raise ValueError("no region is open")


#: Stands where no region is open.
ASLEEP = Tail(_refuse, 0, {})
