"""The tail: where an assignment goes, while a region of the journal is open.

What stands here is read once per assignment, by `fast` mostly. It is bound to one round of one
region; the next round has a tail of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from time import monotonic
from typing import Any

from traininglog.sqlite.order import STEP
from traininglog.sqlite.records import FLOAT_HEAD, INT_HEAD, RowForm, pack_row

_TO_INT = INT_HEAD - FLOAT_HEAD
_NUMBERS = frozenset((float, int))
_MOST_FORMS = 1000


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

    __slots__ = ("_forms", "counters", "numbers", "row", "tags", "write")

    def __init__(self, write: Callable[[bytes], int], tag: int, numbers: dict[str, int]) -> None:
        self.write = write
        self.tags = count(tag, STEP)  #: `next` gives the tag of a record, which tells them apart
        self.numbers = numbers  #: key -> head of a float's record
        self.counters: dict[str, int] = {}  #: key of the status -> head of a count's record
        self.row: Any = NO_ROW  #: the last one asked for; see `SQLiteLog.__getitem__`
        self._forms: dict[tuple[Any, ...], RowForm] = {}  # by types (None: floats), and keys

    def close_at(self, moment: float) -> None:
        """Refuse what comes after a moment, as if the region were full then."""
        write = self.write

        def until(record: bytes) -> int:
            if monotonic() >= moment:
                raise ValueError("somebody has to see to the flush")
            return write(record)

        self.write = until

    def write_row(self, time: int, row: Mapping[str, Any]) -> bool:
        """Write floats and ints of one time as one record; return False if something else is there.

        Raises `KeyError` for a key that the run has not seen, `ValueError` as `write` does, and
        `struct.error` for an int that does not fit; nothing is written then.
        """
        if not row:
            return True
        kinds = None
        for value in row.values():
            if type(value) is not float:
                kinds = tuple(map(type, row.values()))
                if not _NUMBERS.issuperset(kinds):
                    return False
                break
        form = self._forms.get((kinds, *row)) or self._new_form(kinds, row)
        self.write(pack_row(form, time, row.values(), next(self.tags)))
        return True

    def _new_form(self, kinds: tuple[type, ...] | None, row: Mapping[str, Any]) -> RowForm:
        numbers = self.numbers
        form = RowForm.of([
            numbers[key] + (_TO_INT if type(value) is int else 0) for key, value in row.items()
        ])  # fmt: skip
        if len(self._forms) < _MOST_FORMS:
            self._forms[kinds, *row] = form
        return form


def _refuse(_: bytes) -> int:
    raise ValueError("no region is open")


#: Stands where no region is open.
ASLEEP = Tail(_refuse, 0, {})
