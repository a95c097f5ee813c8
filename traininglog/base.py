"""The contract: a training log maps a time to a row, and a row maps a key to a value.

`TrainingLogBase` checks all arguments and defines what happens. A store derives from it and
implements the few private primitives at the end of the class, which receive only checked arguments.
`traininglog.testing` tests this contract for every store.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from datetime import datetime
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Self, SupportsIndex, TypeVar, overload
from uuid import UUID

from traininglog.clock import Clock
from traininglog.columns import Column, Point
from traininglog.encoding import HIDDEN
from traininglog.errors import RunNotFound
from traininglog.imported import Outcome, check_moment
from traininglog.lineage import BEFORE_ALL, Ancestor, Descent, cut_status, inherited
from traininglog.log_state import LogState
from traininglog.rows import Row, RowMethods, RowSlice, Status
from traininglog.run_info import resume_points
from traininglog.selection import Layout, Mode, advice_on, column_of, names, require_keys, select
from traininglog.values import (
    MAX_VALUE_BYTES,
    StoredRow,
    StoredValue,
    check_key,
    check_time,
    plain,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from _typeshed import SupportsKeysAndGetItem
    from matplotlib.figure import Figure

    from traininglog.plots.look import Style

    #: The types that `update` of a log takes, as that of a dict does.
    Rows = (
        SupportsKeysAndGetItem[int, Mapping[str, object]]
        | Iterable[tuple[int, Mapping[str, object]]]
    )


_T = TypeVar("_T")

#: A function that rebuilds an object, and its arguments; see the module `pickle`.
Reduced = tuple[Callable[..., object], tuple[object, ...]]


class TrainingLogBase(MutableMapping[int, MutableMapping[str, StoredValue]], ABC):
    """The log of one training run: a mapping from a time to a row, and a status.

    A *time* is a non-negative integer (an iteration, step or epoch), a *row* a mapping from a *key*
    (a non-empty string) to a *value*::

        log[i]["loss"] = 0.25
        log[i].update(loss=0.25, accuracy=0.9)
        log.status["iterations_done"] = i

    Reading never creates anything: ``log[5] == {}`` where nothing was logged, and ``len``,
    iteration and ``in`` count only times that hold a value. Times come in ascending order, in
    whatever order they were written. Keys come in the order in which the log first saw them. Of
    several writes to one place the last one counts.

    Reading returns values, not handles: lists and dicts are read-only, so that a change which would
    not reach the log raises instead.

    A bad time, key or value raises at the assignment (`InvalidTime`, `InvalidKey`,
    `ValueTypeError`, `ValueRangeError`, `ValueTooLarge`) and leaves the log as it was. A closed log
    can still be read, and so can rows and slices that were taken before. Every write to it raises
    `LogClosed`, as do `flush`, `commit` and `resume`.

    Args:
        uuid: The run to open, as a `uuid.UUID` or its 32 hex digits. By default a new one.

    """

    _max_value_bytes = MAX_VALUE_BYTES

    #: What this log was told of its run when it was opened, as it stands in the status.
    _about: Mapping[str, StoredValue] = MappingProxyType({})

    # -- identity ---------------------------------------------------------------------------

    @property
    @abstractmethod
    def uuid(self) -> UUID:
        """The UUID of the run that this log writes. `resume` changes it."""

    @property
    def h_uuid(self) -> str:
        """The UUID as 32 hex digits."""
        return self.uuid.hex

    @property
    def location(self) -> str:
        """The URL of the store, without credentials."""
        return self._location()

    @property
    def status(self) -> Status:
        """The status of the run as a whole: a mutable mapping, not bound to a time.

        It starts as ``iterations_done=0, epochs_done=0, _epoch_ends=[], resumed_from=None`` and
        takes the same values as rows do. `resumed_from` is the parent's UUID in hex.
        """
        return Status(self)

    # -- rows -------------------------------------------------------------------------------

    @overload
    def __getitem__(self, time: SupportsIndex) -> RowMethods: ...
    @overload
    def __getitem__(self, time: slice) -> RowSlice: ...
    def __getitem__(self, time: SupportsIndex | slice) -> RowMethods | RowSlice:
        """Return the row at a time, or with a slice a view of the rows from ``a`` up to ``b``."""
        if isinstance(time, slice):
            return RowSlice(self, time)
        return Row(self, check_time(time))

    def __setitem__(self, time: SupportsIndex, row: Mapping[str, object]) -> None:
        """Replace the row at a time."""
        number = check_time(time)
        new = self._checked(row)
        gone = dict.fromkeys((key for key in self._read_row(number) if key not in new), HIDDEN)
        self._write({number: gone | new})

    def __delitem__(self, time: SupportsIndex) -> None:
        """Remove the row at a time. Raises `KeyError` where there is none."""
        number = check_time(time)
        row = self._read_row(number)
        if not row:
            raise KeyError(number)
        self._write({number: dict.fromkeys(row, HIDDEN)})

    def __contains__(self, time: object) -> bool:
        return bool(self._read_row(check_time(time)))

    def __iter__(self) -> Iterator[int]:
        return iter(self._read_times(None, None))

    def __reversed__(self) -> Iterator[int]:
        return reversed(self._read_times(None, None))

    def __len__(self) -> int:
        return len(self._read_times(None, None))

    @overload
    def get(self, time: SupportsIndex, default: None = None) -> RowMethods | None: ...
    @overload
    def get(self, time: SupportsIndex, default: _T) -> RowMethods | _T: ...
    def get(self, time: SupportsIndex, default: object = None) -> object:
        """Return the row at a time, or `default` where nothing was logged."""
        return self[time] if time in self else default  # noqa: SIM401 - this is that very method

    def setdefault(
        self, time: SupportsIndex, default: Mapping[str, object] | None = None
    ) -> RowMethods:
        """Return the row at a time, after setting it to `default` where nothing was logged."""
        if time not in self:
            self[time] = {} if default is None else default
        return self[time]

    @overload
    def pop(self, time: SupportsIndex, /) -> StoredRow: ...
    @overload
    def pop(self, time: SupportsIndex, default: _T, /) -> StoredRow | _T: ...
    def pop(self, time: SupportsIndex, /, *default: object) -> object:
        """Remove the row at a time and return it as a dict. Raises `KeyError` without a default."""
        number = check_time(time)
        row = self._read_row(number)
        if not row and default:
            return default[0]
        del self[number]
        return row

    def popitem(self) -> tuple[int, StoredRow]:
        """Remove the last row and return it with its time."""
        times = self._read_times(None, None)
        if not times:
            raise KeyError("the log is empty")
        return times[-1], self.pop(times[-1])

    def update(self, rows: Rows = (), /, **names: object) -> None:
        """Replace several rows: all of them, or none if a time, key or value is refused."""
        if names:
            check_time(next(iter(names)))
        changes = {}
        for time, row in dict(rows).items():
            number, new = check_time(time), self._checked(row)
            gone = [key for key in self._read_row(number) if key not in new]
            changes[number] = dict.fromkeys(gone, HIDDEN) | new
        self._write(changes)

    def clear(self) -> None:
        """Remove every row that this log sees. Inherited ones stay where they are, hidden here."""
        self._write({time: dict.fromkeys(row, HIDDEN) for time, row in self.to_dict().items()})

    def __ior__(self, other: Mapping[int, Mapping[str, object]]) -> Self:
        self.update(other)
        return self

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TrainingLogBase):
            return self.to_dict() == other.to_dict()
        if isinstance(other, Mapping):
            return self.to_dict() == dict(other.items())
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    @property
    def current_row(self) -> RowMethods:
        """The row at ``status["iterations_done"]``."""
        return self._row(self.status["iterations_done"])

    @property
    def previous_row(self) -> RowMethods:
        """The row before `current_row`. Raises `ValueError` at iteration 0."""
        done = check_time(self.status["iterations_done"])
        if done == 0:
            raise ValueError("there is no previous row: no iteration is done yet")
        return self._row(done - 1)

    @property
    def last_epoch_row(self) -> RowMethods:
        """The row at which the last epoch ended. Raises `IndexError` before the first has."""
        ends = self.status["_epoch_ends"]
        if not ends:
            raise IndexError("there is no last epoch: status['_epoch_ends'] is empty")
        return self._row(ends[-1])

    def _row(self, time: object) -> RowMethods:
        return self[check_time(time)]

    # -- columns and frames -----------------------------------------------------------------

    def to_dict(self) -> dict[int, StoredRow]:
        """Return all rows as ordinary dicts, in ascending order of time."""
        rows: dict[int, StoredRow] = {}
        for key, times, values in self._read_columns(None, None, None, lineage=True):
            for time, value in zip(times, values, strict=True):
                rows.setdefault(time, {})[key] = value
        return dict(sorted(rows.items()))

    def to_dataframe(
        self,
        keys: str | Iterable[str] | None = None,
        *,
        start: int | None = None,
        stop: int | None = None,
        layout: Layout = "wide",
        lineage: bool = True,
        index: str | None = None,
        wall: bool = False,
    ) -> pd.DataFrame:
        """Return the log as a pandas DataFrame.

        The wall time of a row is that of the first flush at or after the row's time, or now if that
        is still to come. So it is exact to within a quarter of a second or so. A wall time that is
        not known is missing. A row that a resumed run inherits has the wall time of its ancestor.

        Args:
            keys: Names or globs (``"train/*"``) of the keys to take; by default all.
            start: The first time to take.
            stop: The time to stop before.
            layout: ``"wide"`` has a column per key and a row per time at which one of them was
                logged; numbers are float64, or int64 and bool where every row has one, and a
                missing value is NaN. ``"long"`` has a row per value and the columns ``time``,
                ``key`` and ``value``; it tells None, NaN and absent (no row) apart.
            lineage: Whether to include the rows that the run inherits from its ancestors.
            index: The index of a wide frame, by default the times of the log: a key (rows without a
                value of it are then left out); ``"wall"``, when the row was logged (UTC);
                ``"elapsed"``, how many seconds that was after the first run of the lineage was
                created, or without `lineage`, this one; ``"time"``. A key with the name "wall",
                "elapsed" or "time" takes precedence.
            wall: Whether to add a column ``wall``: when the row was logged (UTC).

        All columns and the index have different names. A key keeps its name: beside a column of a
        key "time" the index is called ``log.time``, beside one of a key "wall" the column of wall
        times is called ``log.wall``.

        Raises:
            KeyError: A name in `keys`, or `index`, that this log does not have.

        """
        from traininglog import frames

        asked = select(self, keys, start, stop, layout, lineage, index, wall)
        if layout == "long":
            return frames.long(asked.columns, asked.clock)
        return frames.wide(asked)

    def to_arrow(
        self,
        keys: str | Iterable[str] | None = None,
        *,
        start: int | None = None,
        stop: int | None = None,
        layout: Layout = "wide",
        lineage: bool = True,
        index: str | None = None,
        wall: bool = False,
    ) -> pa.Table:
        """Return the log as an Arrow table, without pandas. Needs the extra ``parquet``.

        The arguments, the rows and the names of columns are those of `to_dataframe`. The index is
        the first column. Wall times are timestamps in microseconds, UTC.

        In the wide layout a column has the type of its values: float64, int64, bool, string or
        binary. Floats and integers together are float64, unless an integer is past 2**53. Anything
        else is a string, with values as JSON. An absent value and None are null; a NaN is a NaN.

        In the long layout the columns are always ``time``, ``key``, ``value`` (a number, as
        float64), ``text`` (anything else, and integers past 2**53) and ``type`` ("float", "int",
        "bool", "none", "text", "bytes", "json", ...). So None, NaN and absent (no row) differ, and
        the schema is the same whatever was logged.

        Raises:
            KeyError: A name in `keys`, or `index`, that this log does not have.
            MissingExtra: pyarrow is not installed.

        """
        from traininglog import arrow

        asked = select(self, keys, start, stop, layout, lineage, index, wall)
        if layout == "long":
            return arrow.long(asked.columns, asked.clock)
        return arrow.wide(asked)

    def columns(
        self,
        keys: str | Iterable[str] | None = None,
        *,
        start: int | None = None,
        stop: int | None = None,
        lineage: bool = True,
    ) -> list[Column]:
        """Return the columns of the log, in the log's order of keys.

        The arguments are those of `to_dataframe`. A key without a value between `start` and `stop`
        has no column. A column holds numbers as NumPy arrays if the store does.

        Raises:
            KeyError: A name in `keys` that this log does not have.

        """
        return select(self, keys, start, stop, "long", lineage, None, False).columns

    def last(self, key: str) -> Point:
        """Return the last value of a key and its time. Raises `KeyError` where there is none."""
        return column_of(self, key).last

    def best(self, key: str, mode: Mode = "min") -> Point:
        """Return the smallest (or largest) number of a key and the first time it was logged.

        It skips NaN and every value that is not a number. Raises `KeyError` if nothing is left.
        """
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be 'min' or 'max', not {mode!r}")
        column = column_of(self, key)
        found = column.best(mode)
        if found is None:
            raise KeyError(f"no value of {key!r} is a number{advice_on(column)}")
        return found

    def plot(
        self,
        keys: str | Iterable[str] | None = None,
        *,
        x: str = "time",
        smooth: float | None = None,
        panels: bool = False,
        log_x: bool = False,
        log_y: bool = False,
        title: str | None = None,
        xlabel: str | None = None,
        ylabel: str | None = None,
        size: tuple[float, float] | None = None,
        style: Style = None,
    ) -> Figure:
        """Draw the curves of this run, and return a Matplotlib figure; ``savefig`` writes it.

        The arguments, what is marked and the errors are those of `Store.plot`.
        """
        from traininglog.plots import require_matplotlib

        require_matplotlib()
        from traininglog.plots.gathering import plot_log
        from traininglog.plots.look import Appearance

        look = Appearance(title, xlabel, ylabel, size, style, log_x, log_y)
        resumed = resume_points(one.resumed_at for one in self.lineage())
        return plot_log(self, names(keys), resumed, x=x, smooth=smooth, panels=panels, look=look)

    def keys_seen(self) -> list[str]:
        """Return every key that has a value, in the order in which the log first saw them."""
        return self._read_keys()

    # -- comparing -----------------------------------------------------------------------------

    def goal(self, key: str, mode: Mode) -> None:
        """Declare which number of a key is its best, for ``best.KEY`` in tables and groups.

        A child inherits it. It is in ``status["goals"]``.

        Args:
            key: The key.
            mode: ``"min"`` or ``"max"``.

        Raises `InvalidKey`, or `ValueError` for another mode.

        """
        if mode not in ("min", "max"):
            raise ValueError(f"the goal of {key!r} is its 'min' or its 'max', not {mode!r}")
        goals = self.status.get("goals")
        known = dict(goals) if isinstance(goals, dict) else {}
        if known.get(check_key(key)) != mode:
            self.status["goals"] = known | {key: mode}

    # -- wall times -------------------------------------------------------------------------

    def mark(self, time: int, wall: float | datetime) -> None:
        """Record when the run had got to a time, for a run that is imported from elsewhere.

        The rows after the previous mark up to this one get this wall time. In a run that is written
        as it happens, each flush makes a mark. A row after the last mark has no wall time. A mark
        is as durable as an assignment, and of two marks at one time the last one counts.

        Args:
            time: The time that was reached.
            wall: When it was reached, in unix seconds or as a `datetime` with a time zone.

        Raises:
            InvalidTime: A bad `time`.
            TypeError: `wall` is neither a number nor a datetime.
            ValueError: `wall` is not a moment (NaN, negative, past the year 2242, no time zone).

        """
        self._write_mark(check_time(time), check_moment(wall, "wall"))

    def clock(self, *, lineage: bool = True) -> Clock:
        """Return the marks of this run, and with `lineage` those of its ancestors, as a clock."""
        return self._read_clock(lineage=lineage)

    def _series(self, key: str, start: int | None, stop: int | None) -> pd.Series[StoredValue]:
        from traininglog import frames

        columns = self._read_columns([key], start, stop, lineage=True)
        if not columns:
            require_keys(self, [key])
        return frames.series(key, columns[0] if columns else None)

    # -- lineage ----------------------------------------------------------------------------

    def resume(self, at: int | None = None, *, variant: bool = False) -> None:
        """Go on as a new run that continues this one: one atomic step.

        The log gets a new UUID and a copy of the status with `resumed_from` set. From then on it
        sees the rows of the old run and its ancestors up to and including the time `at`, and writes
        its own rows over them. Later rows stay in the old run, and this log does not see them.

        The new run stands for the same experiment, and lists show it in place of the old one. If
        something is assigned to the old run later, both go on, and lists show both.

        Args:
            at: The resume point, by default the last time logged. With a value, the counters in the
                copied status (`iterations_done`, `epochs_done`, `_epoch_ends`) are cut to it too.
            variant: Begin another experiment at that point, as with another learning rate. Lists
                show the old run, too.

        """
        asked = None if at is None else check_time(at)

        def descent() -> Descent:
            status = inherited(self._read_status())
            if asked is None:
                last = self._last_time()
                point = BEFORE_ALL if last is None else last
            else:
                point, status = asked, cut_status(status, asked)
            return Descent(self.uuid, point, status | {"resumed_from": self.h_uuid}, variant)

        self._descend(descent)

    @abstractmethod
    def lineage(self) -> list[Ancestor]:
        """Return the runs from this one to the root, each with its resume point in its parent."""

    def state_dict(self) -> StoredRow:
        """Return the state of this log as a small plain dict, to put into a model checkpoint.

        It flushes first, so that a checkpoint never covers a value that the store does not have. A
        closed log returns its last state.

        The dict holds only the types of strict JSON (texts, numbers, lists, dicts), so that
        ``torch.load(weights_only=True)`` and `json.dumps` take it. Any other value of the status (a
        datetime, a path, an array, a NaN, ...) is coded, and ``"coded"`` then names its key.
        """
        if not self.closed:
            self.flush()
        return LogState(
            self._location(), self.uuid, self._last_time(), self._read_status()
        ).to_dict()

    def load_state_dict(self, state: Mapping[str, StoredValue]) -> None:
        """Resume the run in `state` at exactly the point where `state_dict()` was called.

        This log becomes a new child of that run, which must be in the same store. It does not see
        later rows of the run, so no step shows twice.

        What this log was told of its run when it was opened (`name`, `config`, ...) holds for the
        child. What else is in the status comes from the state.

        Raises `InvalidState` for anything but a state, and `RunNotFound`.
        """
        uuid, point, status = self._checked_state(state)
        child = Descent(uuid, point, inherited(status) | {**self._about, "resumed_from": uuid.hex})
        try:
            self._descend(lambda: child)
        except RunNotFound as error:
            raise RunNotFound(
                f"{error}; the state was taken from a log in {state['store']}"
            ) from None

    def _checked_state(self, state: Mapping[str, StoredValue]) -> tuple[UUID, int, StoredRow]:
        found = LogState.from_dict(state)
        point = BEFORE_ALL if found.time is None else found.time
        return found.uuid, point, self._checked(found.status)

    # -- lifecycle --------------------------------------------------------------------------

    @abstractmethod
    def flush(self) -> None:
        """Make all assignments visible to every other process."""

    @abstractmethod
    def commit(self) -> None:
        """Make all assignments survive a power cut."""

    @abstractmethod
    def _close(self, outcome: Outcome) -> None:
        """Flush, and release everything that the log holds. A second call does nothing."""

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether the log was closed."""

    def close(self, outcome: Outcome = "finished") -> None:
        """Flush, and end the run. Closing a closed log does nothing.

        Args:
            outcome: The state of the run from then on.

        """
        if outcome not in ("finished", "failed"):
            raise ValueError(f"outcome must be 'finished' or 'failed', not {outcome!r}")
        self._close(outcome)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        clean = error is None or (isinstance(error, SystemExit) and not error.code)
        self._close("finished" if clean else "failed")

    def __copy__(self) -> Self:
        copy: Self = _rebuild(self)
        return copy

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        copy: Self = _rebuild(self)
        return copy

    @abstractmethod
    def __reduce__(self) -> Reduced:
        """Pickle the log's `state_dict`: loading it opens the store and resumes at that point."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> Reduced:
        return self.__reduce__()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.uuid.hex} in {self._location()}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the first keys with their last values and curves."""
        from traininglog.markup.notebook_cells import MOST_LINES, columns_cell

        status, keys, times = self.status.copy(), self._read_keys(), self._read_times(None, None)
        shown = self._read_columns(keys[:MOST_LINES], None, None, lineage=True) if keys else []
        name = status.get("name")
        about = [f"run {self.uuid.hex} in {self._location()}"]
        reach = f", times {times[0]} to {times[-1]}" if times else ""
        about.append(f"{len(times):,} rows{reach}; {len(keys):,} keys")
        if status.get("resumed_from"):
            about.append(f"resumed from {status['resumed_from']}")
        heading = f"{type(self).__name__} {name if isinstance(name, str) else ''}".rstrip()
        return columns_cell(heading, about, shown, len(keys))

    # -- what a store implements ------------------------------------------------------------
    # Times, keys and values have been checked. On a closed log, the methods that read still work,
    # and those that write raise LogClosed.

    @abstractmethod
    def _write(self, rows: dict[int, StoredRow]) -> None:
        """Set these values in one step; `HIDDEN` removes the value at its place."""

    def _assign(self, time: int, key: str, value: StoredValue) -> None:
        """Set one value. A store can override this to avoid the dicts."""
        self._write({time: {key: value}})

    @abstractmethod
    def _write_mark(self, time: int, wall: float) -> None:
        """Record when, in unix seconds, the run had got to a time; replace a mark at that time."""

    @abstractmethod
    def _write_status(self, values: StoredRow) -> None:
        """Set these values of the status in one step; `HIDDEN` removes one."""

    @abstractmethod
    def _read_status(self) -> StoredRow:
        """Return the status, for reading only, in the order in which its keys were first set."""

    def _read_status_value(self, key: str) -> StoredValue:
        """Return one value of the status, or raise `KeyError`. A store can override this."""
        return self._read_status()[key]

    @abstractmethod
    def _read_value(self, time: int, key: str) -> StoredValue:
        """Return the value at (time, key), or raise `KeyError`."""

    @abstractmethod
    def _read_row(self, time: int) -> StoredRow:
        """Return the row at a time as a new dict, keys in the log's order."""

    @abstractmethod
    def _read_times(self, start: int | None, stop: int | None) -> list[int]:
        """Return the times that hold a value and ``start <= time < stop``, ascending."""

    @abstractmethod
    def _read_columns(
        self, keys: list[str] | None, start: int | None, stop: int | None, *, lineage: bool
    ) -> list[Column]:
        """Return the columns of some keys (None: all) in the log's order, without empty ones."""

    @abstractmethod
    def _read_clock(self, *, lineage: bool) -> Clock:
        """Return the clock of this run, and with `lineage` of its ancestors.

        Every earlier assignment is at or before the last mark of the run.
        """

    @abstractmethod
    def _read_keys(self) -> list[str]:
        """Return the keys that have a value, in the order in which the log first saw them."""

    @abstractmethod
    def _last_time(self) -> int | None:
        """Return the greatest time that holds a value, or None."""

    @abstractmethod
    def _fork(self, descent: Descent) -> None:
        """Become a new child of a run, in one atomic step.

        Raises `RunNotFound`, and then leaves the log as it was.
        """

    def _descend(self, descent: Callable[[], Descent]) -> None:
        """Become the child that `descent` returns.

        A store to which several threads log calls the function while their assignments wait.
        """
        self._fork(descent())

    @abstractmethod
    def _location(self) -> str:
        """Return the URL of the store, without credentials."""

    def _checked(self, row: Mapping[str, object]) -> StoredRow:
        """Return keys and values in their stored form, or raise before anything is written."""
        if not isinstance(row, Mapping):
            raise TypeError(
                f"a row is a mapping from keys to values, not a {type(row).__name__}: "
                "use log[time][key] = value, or log[time] = {key: value}"
            )
        return {check_key(key): plain(row[key], self._max_value_bytes) for key in row}


def _rebuild(log: TrainingLogBase) -> StoredValue:
    make, arguments = log.__reduce__()
    return make(*arguments)
