"""The row of a `TrainingLog`: an instance of dict that holds no data and reads from its log."""

from __future__ import annotations

from typing import TYPE_CHECKING, SupportsIndex

from traininglog.memory.runs import NOTHING
from traininglog.rows import RowMethods
from traininglog.values import StoredValue, Value, check_key, plain

if TYPE_CHECKING:
    from traininglog.base import Reduced
    from traininglog.memory.log import TrainingLog
    from traininglog.rows import Entries


_set = dict.__setitem__


class MemoryRow(RowMethods, dict[str, StoredValue]):  # type: ignore[misc]
    """A row of a log in memory.

    Like the rows of every store, it is bound to its log, not to the run that the log wrote when the
    row was taken.
    """

    __slots__ = ("_log", "_time")

    _log: TrainingLog

    def __init__(self, log: TrainingLog, time: int) -> None:
        self._log = log
        self._time = time
        # Only C code looks at the dict that this class derives from: json.dumps takes a dict
        # without items for an empty one, and else calls items().
        _set(self, "", None)

    def __setitem__(self, key: str, value: Value) -> None:
        log = self._log
        if type(value) is not float:
            value = plain(value, log._max_value_bytes)
        run = log._run
        # The usual case: a key that the run has seen, in a row that it has.
        if type(key) is str and key in run.keys and self._time > run.cut and not log._closed:
            row = run.rows.get(self._time)
            if row:
                row[key] = value
                return
        log._write({self._time: {check_key(key): value}})

    def __getitem__(self, key: str) -> StoredValue:
        run = self._log._run
        if self._time > run.cut:  # the run inherits nothing at this time
            return run.rows.get(self._time, NOTHING)[key]
        return run.value(self._time, key)

    def update(self, entries: Entries = (), /, **values: Value) -> None:
        """Set several keys: all of them, or none if one value is refused."""
        log = self._log
        run = log._run
        new = dict(entries, **values)
        if self._time > run.cut and not log._closed:
            row = run.rows.get(self._time)
            if row and all(
                type(value) is float and type(key) is str and key in run.keys
                for key, value in new.items()
            ):
                row.update(new)
                return
        super().update(new)

    def __reduce_ex__(self, protocol: SupportsIndex) -> Reduced:
        return dict, (self.copy(),)
