"""The hot path: the row and the status of a log that is written, with direct access to the journal.

A training loop spends its time here. A float under a key that the run has seen, which nearly every
assignment is, goes straight to the open region of the journal. Everything else, and whatever the
region refuses, takes the slow path, which checks it.
"""

from __future__ import annotations

from struct import error as OutOfRange  # noqa: N812 - of an integer, here
from typing import TYPE_CHECKING, Any

from traininglog.journal.record import pack_float, pack_int
from traininglog.journal.tail import Tail
from traininglog.rows import Row, Status
from traininglog.values import Value, check_key, plain

if TYPE_CHECKING:
    from traininglog.writer.log import WriterLog


class HotRow(Row):
    """A row of a `WriterLog`."""

    __slots__ = ("_tail",)

    _log: WriterLog

    def __init__(self, log: WriterLog, time: int, tail: Tail) -> None:
        self._log = log
        self._time = time
        self._tail = tail

    def __setitem__(self, key: str, value: object) -> None:
        if type(value) is float:
            tail = self._tail
            try:
                head = tail.numbers[key]
                time = self._time
                tail.write(pack_float(head, time, value, value, time, head, next(tail.tags)))
                return
            except (KeyError, ValueError, TypeError):
                pass  # a new key, a region that is full or at rest, or not a key at all
        self._assign(key, value)

    def _assign(self, key: object, value: object) -> None:
        log = self._log
        buffer = log._buffer
        buffer.assign(self._time, check_key(key), plain(value, log._max_value_bytes))
        self._tail = buffer.tail

    def update(self, values: Any = (), /, **kwargs: Any) -> None:
        """Set several keys: all of them, or none if one value is refused."""
        values = values.copy() if type(values) is dict and not kwargs else dict(values, **kwargs)
        try:
            if self._tail.write_row(self._time, values):
                return
        except (KeyError, ValueError, TypeError, OutOfRange):
            pass  # as above
        log = self._log
        log._buffer.write_row(self._time, log._checked(values))
        self._tail = log._buffer.tail


class HotStatus(Status):
    """The status of a `WriterLog`."""

    __slots__ = ()

    _log: WriterLog

    def __setitem__(self, key: str, value: Value) -> None:
        log = self._log
        if type(value) is int:
            tail = log._tail
            try:
                head = tail.counters[key]
                tail.write(pack_int(head, 0, value, value, 0, head, next(tail.tags)))
                return
            except (KeyError, ValueError, TypeError, OutOfRange):
                pass  # as above
            log._buffer.write_count(check_key(key), plain(value))
            log._tail = log._buffer.tail
        else:
            super().__setitem__(key, value)
