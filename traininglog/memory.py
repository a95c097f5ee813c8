"""The in-memory store: rows in a `collections.defaultdict`, gone when nobody holds their log.

The common case, a run that was not resumed, is made for speed: ``log[t]`` is one look into a
defaultdict and gives the very dict that holds the row, with a checking ``__setitem__``. Only rows
that a resumed run inherits are put together when they are read.
"""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Literal, NoReturn
from uuid import UUID

from traininglog.base import (
    BEFORE_ALL,
    Ancestor,
    TrainingLogBase,
    new_status,
    new_uuid,
)
from traininglog.columns import Column, layer_of_rows, overlay
from traininglog.encoding import HIDDEN
from traininglog.errors import LogClosed, RunNotFound
from traininglog.rows import RowSlice
from traininglog.values import MAX_TIME, check_key, check_time, check_uuid, plain

_set = dict.__setitem__


class MemoryRow(dict[str, Any]):
    """A row of a run: a dict that checks what it is given, and joins its run when first written."""

    __slots__ = ("__weakref__", "_run", "_time")

    def __init__(self, run: _Run, time: int) -> None:
        super().__init__()
        self._run = run
        self._time = time

    def __setitem__(self, key: str, value: object) -> None:
        run = self._run
        if run.closed:
            _refuse_closed()
        if type(value) is not float:
            value = plain(value, run.limit)
        if type(key) is not str or key not in run.keys:
            key = run.add_key(key)
        if not self:
            run.attach(self._time, self)
        _set(self, key, value)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._run.write({self._time: {key: HIDDEN}})

    def _ordered(self) -> dict[str, Any]:
        order = self._run.key_order()
        return {
            key: dict.__getitem__(self, key) for key in sorted(dict.keys(self), key=order.index)
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._ordered())

    def keys(self) -> Any:
        """Return the keys, in the order in which the log first saw them."""
        return self._ordered().keys()

    def values(self) -> Any:
        """Return the values."""
        return self._ordered().values()

    def items(self) -> Any:
        """Return the (key, value) pairs."""
        return self._ordered().items()

    def copy(self) -> dict[str, Any]:
        """Return the row as an ordinary dict, which is no longer bound to the log."""
        return self._ordered()

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set several keys: all of them, or, if one is refused, none."""
        run = self._run
        new = dict(*args, **kwargs)
        run.write(
            {self._time: {check_key(key): plain(value, run.limit) for key, value in new.items()}}
        )

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, after setting it to `default` where there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: str, *default: Any) -> Any:
        """Remove a key and return its value."""
        if key not in self and default:
            return default[0]
        value = self[key]
        del self[key]
        return value

    def popitem(self) -> tuple[str, Any]:
        """Remove and return the last (key, value) pair."""
        key, value = self._ordered().popitem()
        del self[key]
        return key, value

    def clear(self) -> None:
        """Remove every value of the row."""
        self._run.write({self._time: dict.fromkeys(self, HIDDEN)})

    def __ior__(self, other: Any) -> MemoryRow:  # type: ignore[override,misc]
        self.update(other)
        return self

    def __repr__(self) -> str:
        return repr(self._ordered())

    def __reduce_ex__(self, protocol: Any) -> Any:
        return dict, (self._ordered(),)


class InheritedRow(MemoryRow):
    """A row of a resumed run at a time that its ancestors may have written, too.

    Its content is put together anew whenever it is looked at.
    """

    __slots__ = ()

    def __setitem__(self, key: str, value: object) -> None:
        self.update({key: value})

    def _refresh(self) -> None:
        dict.clear(self)
        dict.update(self, self._run.visible(self._time))

    def _ordered(self) -> dict[str, Any]:
        self._refresh()
        return super()._ordered()

    def __getitem__(self, key: str) -> Any:
        self._refresh()
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or `default`."""
        self._refresh()
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        self._refresh()
        return super().__contains__(key)

    def __len__(self) -> int:
        self._refresh()
        return super().__len__()

    def __eq__(self, other: object) -> bool:
        self._refresh()
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]


class _Rows(defaultdict[int, MemoryRow]):
    """The written rows of a run; a look at any other time gives a row that is not in here yet."""

    __slots__ = ("run",)
    run: _Run

    def __missing__(self, time: int) -> MemoryRow:
        return self.run.unwritten(check_time(time))


class _ClosedRows(defaultdict[int, MemoryRow]):
    def __missing__(self, time: int) -> NoReturn:
        _refuse_closed()


class _Family:
    """A root run and all that descend from it.

    `holders` tells which of them hold a row at a time, so that a row is read as fast after a
    thousand resumes as after one. It is kept from the first resume on.
    """

    __slots__ = ("holders",)

    def __init__(self) -> None:
        self.holders: dict[int, list[_Run]] | None = None


class _Run:
    """The data of one run, shared by all logs that are open on it."""

    __slots__ = (
        "__weakref__", "_order", "chain", "closed", "cut", "family", "keys", "limit", "open_logs",
        "overlays", "place", "resumed_at", "rows", "status", "unborn", "unborn_limit", "uuid",
    )  # fmt: skip

    def __init__(self, uuid: UUID, status: dict[str, Any], parent: _Run | None, at: int) -> None:
        self.uuid = uuid
        self.status = status
        self.resumed_at = None if parent is None else at
        self.limit = 0
        self.open_logs = 0
        self.closed = True
        self.rows = _Rows()
        self.rows.run = self
        #: What this run wrote at times that it inherits; HIDDEN where it deleted something.
        self.overlays: dict[int, dict[str, Any]] = {}
        self.keys: dict[str, None] = {}
        self._order: list[str] = []
        #: Rows that were asked for and are empty: a second asker must get the same object.
        self.unborn: dict[int, weakref.ref[MemoryRow]] = {}
        self.unborn_limit = 1000
        #: This run and its ancestors, nearest first, each with the last time seen of it.
        self.chain: list[tuple[_Run, int]] = [(self, MAX_TIME)]
        self.cut = BEFORE_ALL
        self.family: _Family = _Family() if parent is None else parent.family
        if parent is not None:
            self.cut = at
            self.chain += [(run, min(cut, at)) for run, cut in parent.chain]
            if self.family.holders is None:
                holders: dict[int, list[_Run]] = {time: [parent] for time in parent.rows}
                self.family.holders = holders
        self.place = {run: (depth, cut) for depth, (run, cut) in enumerate(self.chain)}
        _RUNS[uuid] = self

    def opened(self, by: int) -> None:
        """Count the logs that are open on this run; with none, its rows refuse to be written."""
        self.open_logs += by
        self.closed = self.open_logs == 0

    def unwritten(self, time: int) -> MemoryRow:
        if time <= self.cut:
            return InheritedRow(self, time)
        reference = self.unborn.get(time)
        row = reference() if reference is not None else None
        if row is None:
            row = MemoryRow(self, time)
            self._keep_unborn(time, row)
        return row

    def _keep_unborn(self, time: int, row: MemoryRow) -> None:
        if len(self.unborn) >= self.unborn_limit:
            self.unborn = {t: ref for t, ref in self.unborn.items() if ref() is not None}
            self.unborn_limit = max(1000, 2 * len(self.unborn))
        self.unborn[time] = weakref.ref(row)

    def attach(self, time: int, row: MemoryRow) -> None:
        self.rows[time] = row
        self.unborn.pop(time, None)
        self._hold(time)

    def _hold(self, time: int) -> None:
        holders = self.family.holders
        if holders is not None:
            holders.setdefault(time, []).append(self)

    def add_key(self, key: object) -> str:
        name = check_key(key)
        self.keys[name] = None
        return name

    def key_order(self) -> list[str]:
        """Return all keys of the lineage, in the order in which they were first seen."""
        if len(self.chain) == 1:
            if len(self._order) != len(self.keys):
                self._order = list(self.keys)
            return self._order
        return list(dict.fromkeys(key for run, _ in reversed(self.chain) for key in run.keys))

    def write(self, rows: dict[int, dict[str, Any]]) -> None:
        if self.closed:
            _refuse_closed()
        for time, changes in rows.items():
            self.keys.update(
                (key, None) for key, value in changes.items()
                if key not in self.keys and value is not HIDDEN
            )  # fmt: skip
            if time <= self.cut:
                if time not in self.overlays:
                    self._hold(time)
                self.overlays.setdefault(time, {}).update(changes)
                continue
            row = self.rows[time]
            for key, value in changes.items():
                if value is HIDDEN:
                    dict.pop(row, key, None)
                    continue
                if not dict.__len__(row):
                    self.attach(time, row)
                _set(row, key, value)
            if not dict.__len__(row) and self.rows.pop(time, None) is not None:
                self._keep_unborn(time, row)
                if self.family.holders is not None:
                    self.family.holders[time].remove(self)

    def own(self, time: int, keys: list[str] | None = None) -> dict[str, Any]:
        """Return what this run itself wrote at a time (of some keys), HIDDEN included."""
        row: dict[str, Any] = self.rows.get(time) or self.overlays.get(time) or {}
        # What `dict` does by itself, not what MemoryRow makes of it: order does not matter here.
        return {key: value for key, value in dict.items(row) if keys is None or key in keys}

    def visible(self, time: int) -> dict[str, Any]:
        """Return what is seen at a time, in no particular order."""
        if time > self.cut:
            return self.own(time)
        layers = []
        for run in (self.family.holders or {}).get(time, ()):
            depth, cut = self.place.get(run, (0, BEFORE_ALL))
            if time <= cut:
                layers.append((depth, run))
        seen: dict[str, Any] = {}
        for _, run in sorted(layers, key=lambda layer: -layer[0]):
            seen.update(run.own(time))
        return {key: value for key, value in seen.items() if value is not HIDDEN}

    def times(self, start: int | None, stop: int | None) -> list[int]:
        low, high = start or 0, MAX_TIME if stop is None else stop - 1
        found: set[int] = set()
        doubtful: set[int] = set()
        for run, cut in self.chain:
            last = min(cut, high)
            found.update(time for time in run.rows if low <= time <= last)
            doubtful.update(time for time in run.overlays if low <= time <= last)
        found -= doubtful
        found.update(time for time in doubtful if self.visible(time))
        return sorted(found)

    def columns(
        self, keys: list[str] | None, start: int | None, stop: int | None, *, lineage: bool
    ) -> list[Column]:
        low, high = start or 0, MAX_TIME if stop is None else stop - 1
        layers = []
        for run, cut in reversed(self.chain if lineage else self.chain[:1]):
            last = min(cut, high)
            times = (
                time for own in (run.rows, run.overlays) for time in own if low <= time <= last
            )
            layers.append(layer_of_rows((time, run.own(time, keys)) for time in times))
        return overlay(layers, self.key_order())


#: Every run that some log, or some descendant, still holds.
_RUNS: weakref.WeakValueDictionary[UUID, _Run] = weakref.WeakValueDictionary()


def _refuse_closed() -> NoReturn:
    raise LogClosed("the log is closed; open the run again by its UUID to go on")


def _find(uuid: UUID) -> _Run:
    run = _RUNS.get(uuid)
    if run is None:
        raise RunNotFound(
            f"no run {uuid.hex} in memory: such a run lives only as long as a log in this process "
            "holds it; use SQLiteLog for one that is to stay"
        )
    return run


class TrainingLog(TrainingLogBase, defaultdict[int, Any]):  # type: ignore[misc]
    """A training log in memory, for a notebook or a test.

    It keeps the whole contract of `TrainingLogBase`, lineage included, but is gone with the last
    log object that holds it. It is a `dict` to those who ask (``pandas.DataFrame.from_dict(log,
    orient="index")`` works), and pickles with its rows.

    Args:
        uuid: A run that some log in this process still holds; by default a new run.
        max_value_bytes: The size that one text, bytes, array or container may have.

    Raises `RunNotFound` for any other UUID.

    >>> log = TrainingLog()
    >>> log[1]["loss"] = 0.5
    >>> log[2].update(loss=0.25, accuracy=0.9)
    >>> log.resume(at=1)
    >>> log[2]
    {}
    >>> log[1]
    {'loss': 0.5}
    """

    def __init__(
        self, uuid: UUID | str | None = None, *, max_value_bytes: int | None = None
    ) -> None:
        defaultdict.__init__(self)
        # The rows are in the run, which several logs may share. The dict below us is never looked
        # at, except by C code that takes a dict without items for an empty one (json.dumps does).
        dict.__setitem__(self, BEFORE_ALL, None)
        if max_value_bytes is not None:
            self._max_value_bytes = max_value_bytes
        if uuid is None:
            run = _Run(new_uuid(), new_status(), None, BEFORE_ALL)
        else:
            run = _find(check_uuid(uuid))
        self._closed = False
        self._take(run)

    def _take(self, run: _Run) -> None:
        run.limit = self._max_value_bytes
        run.opened(+1)
        self._run = run
        self._rows: defaultdict[int, MemoryRow] = run.rows

    @property
    def uuid(self) -> UUID:
        """The UUID of the run that this log writes."""
        return self._run.uuid

    @property
    def closed(self) -> bool:
        """Whether the log was closed."""
        return self._closed

    def __getitem__(self, time: Any) -> Any:
        if type(time) is int:
            return self._rows[time]
        if isinstance(time, slice):
            return RowSlice(self, time)
        return self._rows[check_time(time)]

    def _open_run(self) -> _Run:
        if self._closed:
            _refuse_closed()
        return self._run

    def _write(self, rows: dict[int, dict[str, Any]]) -> None:
        self._open_run().write(rows)

    def _write_status(self, values: dict[str, Any]) -> None:
        status = self._open_run().status
        for key, value in values.items():
            if value is HIDDEN:
                status.pop(key, None)
            else:
                status[key] = value

    def _read_status(self) -> dict[str, Any]:
        return self._open_run().status

    def _read_value(self, time: int, key: str) -> Any:
        return self._open_run().visible(time)[key]

    def _read_row(self, time: int) -> dict[str, Any]:
        run = self._open_run()
        seen = run.visible(time)
        return {key: seen[key] for key in run.key_order() if key in seen}

    def _read_times(self, start: int | None, stop: int | None) -> list[int]:
        return self._open_run().times(start, stop)

    def _read_columns(
        self, keys: list[str] | None, start: int | None, stop: int | None, *, lineage: bool
    ) -> list[Column]:
        return self._open_run().columns(keys, start, stop, lineage=lineage)

    def _read_keys(self) -> list[str]:
        return [column.key for column in self._read_columns(None, None, None, lineage=True)]

    def _last_time(self) -> int | None:
        times = self._read_times(None, None)
        return times[-1] if times else None

    def lineage(self) -> list[Ancestor]:
        """Return the runs from this one to the root, each with its resume point in its parent."""
        return [Ancestor(run.uuid, run.resumed_at) for run, _ in self._open_run().chain]

    def _fork(self, parent: UUID, at: int, status: dict[str, Any]) -> None:
        old = self._open_run()
        new = _Run(new_uuid(), dict(status), _find(parent), at)
        old.opened(-1)
        self._take(new)

    def flush(self) -> None:
        """Do nothing: no other process can see a log in memory."""
        self._open_run()

    def commit(self) -> None:
        """Do nothing: memory does not survive a power cut."""
        self._open_run()

    def _close(self, outcome: Literal["finished", "failed"]) -> None:
        if not self._closed:
            self._closed = True
            self._run.opened(-1)
            self._rows = _ClosedRows()

    def _location(self) -> str:
        return "memory:"

    def __reduce__(self) -> Any:
        return _restore, (self.state_dict(), self.to_dict(), self._max_value_bytes)

    # What dict and defaultdict would do behind the contract's back.
    copy = TrainingLogBase.__copy__
    __or__ = __ror__ = None  # type: ignore[assignment]

    @classmethod
    def fromkeys(cls, *_: Any) -> NoReturn:
        """Refuse: a log is not made from keys."""
        raise TypeError("a log is not made from keys: make one, and use update()")


def _restore(state: dict[str, Any], rows: dict[int, dict[str, Any]], limit: int) -> TrainingLog:
    """Unpickle: resume the run if this process still has it, else one rebuilt from the pickle."""
    log = TrainingLog(max_value_bytes=limit)
    uuid, _, status = log._checked_state(state)
    origin = _RUNS.get(uuid)
    if origin is None:
        origin = _Run(uuid, status, None, BEFORE_ALL)
        origin.opened(+1)
        origin.write({check_time(time): log._checked(row) for time, row in rows.items()})
        origin.opened(-1)
    log.load_state_dict(state)
    return log
