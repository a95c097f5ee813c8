"""The tail: the append handle of an open region of the journal.

Any thread, and any signal handler, appends to a tail by one call into C, which nothing can
interrupt. A tail is bound to one round of one region. A thread that finds the region full stops the
tail and goes on with the `next` one, which the owner of the journal has opened before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from time import monotonic
from typing import Any

from traininglog.journal.order import STEP
from traininglog.journal.record import FLOAT_HEAD, INT_HEAD, RowForm, pack_row

_TO_INT = INT_HEAD - FLOAT_HEAD
_NUMBERS = frozenset((float, int))
_MOST_FORMS = 1000

# More tags than any region has room for.
_MOST_TAGS = 2**60


class _NoRow:
    """A placeholder where there is no row: a row of no time."""

    __slots__ = ("_time",)

    def __init__(self) -> None:
        self._time = object()


NO_ROW = _NoRow()


class Tail:
    """The append handle of a region: everything that the hot path needs, and nothing else.

    Args:
        write: Appends a record. It raises `ValueError` once the region is full or at rest.
        stop: Prevents further appends. A second call does nothing.
        tag: The tag of the region's first record.
        numbers: The keys of the run, with the heads of the records of floats under them.

    """

    __slots__ = ("_forms", "counters", "new_counters", "next", "numbers", "rests", "row", "stop",
                 "tags", "write")  # fmt: skip

    def __init__(
        self, write: Callable[[bytes], int], stop: Callable[[], object], tag: int,
        numbers: dict[str, int],
    ) -> None:  # fmt: skip
        self.write = write
        self.stop = stop
        #: `next` returns the tag of the next record, which tells records apart. Not `count`, which
        #: is slow with a step.
        self.tags = iter(range(tag, tag + _MOST_TAGS, STEP))
        self.numbers = numbers  #: key -> head of a float's record
        self.counters: dict[str, int] = {}  #: key of the status -> head of a count's record
        self.new_counters = count(1)  #: `next` returns the number of a new key of the status
        self.next: Tail | None = None  #: where to go on once this one is full
        self.rests = False  #: whether the owner has stopped it for a flush
        self.row: Any = NO_ROW  #: the last row that was asked for; see `HotRow`
        self._forms: dict[tuple[Any, ...], RowForm] = {}  # by types (None: floats), and keys

    def close_at(self, moment: float) -> None:
        """Refuse appends from a moment on, as if the region were full."""
        write = self.write

        def until(record: bytes) -> int:
            if monotonic() >= moment:
                raise ValueError("somebody has to see to the flush")
            return write(record)

        self.write = until

    def write_row(self, time: int, row: Mapping[str, Any]) -> bool:
        """Write floats and ints of one time as one record; return False for any other type.

        Raises `KeyError` for a key that the run has not seen, `ValueError` as `write` does, and
        `struct.error` for an int that does not fit. Then nothing is written.
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


def _do_nothing() -> None:
    pass


#: The tail to use where no region is open: it refuses every record.
ASLEEP = Tail(_refuse, _do_nothing, 0, {})
