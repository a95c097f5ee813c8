"""The mappings that a log returns: a row, a slice of rows, the status.

They hold no data. Each is bound to its log and reads from there on every access, so a row that was
taken before a value was written sees the value afterwards.
"""

from __future__ import annotations

from collections.abc import (
    ItemsView,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    ValuesView,
)
from typing import TYPE_CHECKING, Self, overload

from traininglog.encoding import HIDDEN
from traininglog.selection import Layout
from traininglog.values import (
    StoredRow,
    StoredValue,
    Value,
    check_key,
    check_text,
    check_time,
    plain,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from _typeshed import SupportsKeysAndGetItem

    from traininglog.base import TrainingLogBase

    #: The types that `update` of a row or status takes. The values are checked at run time.
    Entries = SupportsKeysAndGetItem[str, object] | Iterable[tuple[str, object]]


class RowMethods(MutableMapping[str, StoredValue]):
    """The methods of a row. A class that derives from it has the slots for a log and a time."""

    __slots__ = ()

    _log: TrainingLogBase
    _time: int

    def __getitem__(self, key: str) -> StoredValue:
        return self._log._read_value(self._time, key)

    def __setitem__(self, key: str, value: Value) -> None:
        log = self._log
        # A training loop spends its time here. An exact float, the usual value, needs no check.
        if type(value) is not float:
            value = plain(value, log._max_value_bytes)
        log._assign(self._time, check_text(key) if type(key) is str else check_key(key), value)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._log._write({self._time: {key: HIDDEN}})

    def __iter__(self) -> Iterator[str]:
        return iter(self._log._read_row(self._time))

    def __len__(self) -> int:
        return len(self._log._read_row(self._time))

    def __contains__(self, key: object) -> bool:
        try:
            self._log._read_value(self._time, key)  # type: ignore[arg-type]
        except KeyError:
            return False
        return True

    # One read of the store for all values. The mixin would need one for each.
    def items(self) -> ItemsView[str, StoredValue]:
        """Return the (key, value) pairs."""
        return self._log._read_row(self._time).items()

    def values(self) -> ValuesView[StoredValue]:
        """Return the values."""
        return self._log._read_row(self._time).values()

    def copy(self) -> StoredRow:
        """Return the row as an ordinary dict that is not bound to the log."""
        return dict(self._log._read_row(self._time))

    def update(self, entries: Entries = (), /, **values: Value) -> None:
        """Set several keys: all of them, or none if one value is refused."""
        log = self._log
        log._write({self._time: log._checked(dict(entries, **values))})

    def clear(self) -> None:
        """Remove every value of the row."""
        log = self._log
        log._write({self._time: dict.fromkeys(log._read_row(self._time), HIDDEN)})

    def popitem(self) -> tuple[str, StoredValue]:
        """Remove and return the last (key, value) pair, as a dict does."""
        row = self.copy()
        key, value = row.popitem()
        del self[key]
        return key, value

    def __ior__(self, other: Mapping[str, StoredValue]) -> Self:
        self.update(other)
        return self

    def __or__(self, other: Mapping[str, StoredValue]) -> StoredRow:
        return self.copy() | dict(other)

    def __ror__(self, other: Mapping[str, StoredValue]) -> StoredRow:
        return dict(other) | self.copy()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return self.copy() == dict(other.items())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.copy())

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from traininglog.markup.notebook_cells import mapping_cell

        return mapping_cell(f"Row at time {self._time}", self.copy())


class Row(RowMethods):
    """The row at one time: a mutable mapping from key to value.

    Keys come in the order in which the log first saw them. Reading a missing key raises `KeyError`.
    The row stays bound to its log. After `resume` it is the row at this time of the new run. After
    `close` it refuses what the log refuses.
    """

    __slots__ = ("_log", "_time")

    def __init__(self, log: TrainingLogBase, time: int) -> None:
        self._log = log
        self._time = time


class RowSlice(Mapping[int, MutableMapping[str, StoredValue]]):
    """The rows with ``start <= time < stop``: ``log[start:stop]``.

    Indexed by a key, ``log[:]["loss"]``, it returns that column as a pandas Series over time;
    indexed by a time, a row. Its length and its iteration are those of its times, ascending.
    """

    __slots__ = ("_log", "_start", "_stop")

    def __init__(self, log: TrainingLogBase, bounds: slice) -> None:
        if bounds.step is not None:
            raise ValueError(
                "a slice of rows takes no step: use log[a:b], then pick from the result"
            )
        self._log = log
        self._start = None if bounds.start is None else check_time(bounds.start)
        self._stop = None if bounds.stop is None else check_time(bounds.stop)

    @overload
    def __getitem__(self, key: str) -> pd.Series[StoredValue]: ...
    @overload
    def __getitem__(self, key: int) -> MutableMapping[str, StoredValue]: ...
    def __getitem__(
        self, key: str | int
    ) -> pd.Series[StoredValue] | MutableMapping[str, StoredValue]:
        if isinstance(key, str):
            return self._log._series(key, self._start, self._stop)
        if key not in self:
            raise KeyError(key)
        return self._log._row(key)

    def __contains__(self, time: object) -> bool:
        number = check_time(time)
        after_start = self._start is None or number >= self._start
        before_stop = self._stop is None or number < self._stop
        return after_start and before_stop and number in self._log

    def __iter__(self) -> Iterator[int]:
        return iter(self._log._read_times(self._start, self._stop))

    def __len__(self) -> int:
        return len(self._log._read_times(self._start, self._stop))

    def to_dataframe(
        self,
        keys: str | Iterable[str] | None = None,
        *,
        layout: Layout = "wide",
        lineage: bool = True,
        index: str | None = None,
        wall: bool = False,
    ) -> pd.DataFrame:
        """Return these rows as a DataFrame; see `TrainingLogBase.to_dataframe`."""
        return self._log.to_dataframe(
            keys, start=self._start, stop=self._stop, layout=layout, lineage=lineage, index=index,
            wall=wall,
        )  # fmt: skip

    def to_arrow(
        self,
        keys: str | Iterable[str] | None = None,
        *,
        layout: Layout = "wide",
        lineage: bool = True,
        index: str | None = None,
        wall: bool = False,
    ) -> pa.Table:
        """Return these rows as an Arrow table; see `TrainingLogBase.to_arrow`."""
        return self._log.to_arrow(
            keys, start=self._start, stop=self._stop, layout=layout, lineage=lineage, index=index,
            wall=wall,
        )  # fmt: skip

    def __repr__(self) -> str:
        start = "" if self._start is None else self._start
        stop = "" if self._stop is None else self._stop
        return f"<rows [{start}:{stop}] of {self._log!r}>"


class Status(MutableMapping[str, StoredValue]):
    """The status of the current run: a mutable mapping that is not bound to a time."""

    __slots__ = ("_log",)

    def __init__(self, log: TrainingLogBase) -> None:
        self._log = log

    def __getitem__(self, key: str) -> StoredValue:
        return self._log._read_status_value(key)

    def __setitem__(self, key: str, value: Value) -> None:
        log = self._log
        log._write_status({check_key(key): plain(value, log._max_value_bytes)})

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._log._write_status({key: HIDDEN})

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._log._read_status()))

    def __len__(self) -> int:
        return len(self._log._read_status())

    # One read of the store for all values. The mixin would need one for each.
    def items(self) -> ItemsView[str, StoredValue]:
        """Return the (key, value) pairs."""
        return self.copy().items()

    def values(self) -> ValuesView[StoredValue]:
        """Return the values."""
        return self.copy().values()

    def update(self, entries: Entries = (), /, **values: Value) -> None:
        """Set several keys: all of them, or none if one value is refused."""
        self._log._write_status(self._log._checked(dict(entries, **values)))

    def copy(self) -> StoredRow:
        """Return the status as an ordinary dict."""
        return dict(self._log._read_status())

    def __ior__(self, other: Mapping[str, Value]) -> Status:
        self.update(other)
        return self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return self.copy() == dict(other.items())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.copy())

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from traininglog.markup.notebook_cells import mapping_cell

        return mapping_cell("Status", self.copy())
