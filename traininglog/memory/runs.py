"""Runs in memory and their rows.

The common case, a run that was not resumed, is made for speed: its rows are in a defaultdict, and
each is the very dict that holds the values, with a checking ``__setitem__``. Only rows that a
resumed run inherits are put together when they are read.
"""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from time import time as wall_now
from typing import Any, NoReturn
from uuid import UUID

from traininglog.clock import Marks
from traininglog.columns import Column, layer_of_rows, overlay
from traininglog.encoding import HIDDEN
from traininglog.errors import LogClosed, RunNotFound
from traininglog.lineage import BEFORE_ALL
from traininglog.selection import bounds
from traininglog.values import MAX_TIME, check_key, check_time, plain

_set = dict.__setitem__


class MemoryRow(dict[str, Any]):
    """A row of a run: a dict that checks what it is given, and joins its run when first written."""

    __slots__ = ("__weakref__", "_run", "_time", "_wall")
    _wall: float  #: when it was first written, in unix seconds

    def __init__(self, run: Run, time: int) -> None:
        # dict has nothing to do for an empty one, and a loop makes many: it is not called.
        self._run = run
        self._time = time

    def __setitem__(self, key: str, value: object) -> None:
        run = self._run
        if run.closed:
            refuse_closed()
        if type(value) is not float:
            value = plain(value, run.limit)
        if type(key) is not str or key not in run.keys:
            key = run.add_key(key)
        _set(self or run.attach(self._time, self), key, value)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._run.write({self._time: {key: HIDDEN}})

    def _ordered(self) -> dict[str, Any]:
        places = self._run.places()
        return {
            key: dict.__getitem__(self, key)
            for key in sorted(dict.keys(self), key=places.__getitem__)
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
        known = run.keys
        for key, value in new.items():
            if type(value) is not float or type(key) is not str or key not in known:
                break
        else:  # what nearly always comes: floats under keys that the run has seen
            if new and self._time > run.cut and not run.closed:
                if not dict.__len__(self):
                    run.attach(self._time, self)
                dict.update(self, new)
                return
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

    # One key at a time: to put the row together for each would make many of them slow.
    def __getitem__(self, key: str) -> Any:
        return self._run.value(self._time, key)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or `default`."""
        return self[key] if key in self else default  # noqa: SIM401 - this is that very method

    def __contains__(self, key: object) -> bool:
        try:
            self._run.value(self._time, key)  # type: ignore[arg-type]
        except KeyError:
            return False
        return True

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
    run: Run

    def __missing__(self, time: int) -> MemoryRow:
        return self.run.unwritten(check_time(time))


class ClosedRows(defaultdict[int, MemoryRow]):
    """The rows of a log that was closed."""

    def __missing__(self, time: int) -> NoReturn:
        refuse_closed()


class _Family:
    """A root run and all that descend from it.

    `holders` tells which of them hold a row at a time, so that a row is read as fast after a
    thousand resumes as after one. It is kept from the first resume on.
    """

    __slots__ = ("holders", "key_count")

    def __init__(self) -> None:
        self.holders: dict[int, list[Run]] | None = None
        self.key_count = 0  # of all its runs together


class Run:
    """The data of one run, shared by all logs that are open on it."""

    __slots__ = (
        "__weakref__", "_places", "_places_count", "chain", "closed", "created", "cut", "family",
        "keys", "limit", "open_logs", "overlay_walls", "overlays", "place", "resumed_at", "rows",
        "status", "unborn", "unborn_limit", "uuid",
    )  # fmt: skip

    def __init__(self, uuid: UUID, status: dict[str, Any], parent: Run | None, at: int) -> None:
        self.uuid = uuid
        self.created = wall_now()
        self.status = status
        self.resumed_at = None if parent is None else at
        self.limit = 0
        self.open_logs = 0
        self.closed = True
        self.rows = _Rows()
        self.rows.run = self
        #: What this run wrote at times that it inherits; HIDDEN where it deleted something.
        self.overlays: dict[int, dict[str, Any]] = {}
        self.overlay_walls: dict[int, float] = {}
        self.keys: dict[str, int] = {}  # with their places among those of this run
        self._places: dict[str, int] = {}
        self._places_count = 0
        #: Rows that were asked for and are empty: a second asker must get the same object.
        self.unborn: dict[int, weakref.ref[MemoryRow]] = {}
        self.unborn_limit = 1000
        #: This run and its ancestors, nearest first, each with the last time seen of it.
        self.chain: list[tuple[Run, int]] = [(self, MAX_TIME)]
        self.cut = BEFORE_ALL
        self.family: _Family = _Family() if parent is None else parent.family
        if parent is not None:
            self.cut = at
            self.chain += [(run, min(cut, at)) for run, cut in parent.chain]
            if self.family.holders is None:
                holders: dict[int, list[Run]] = {time: [parent] for time in parent.rows}
                self.family.holders = holders
        self.place = {run: (depth, cut) for depth, (run, cut) in enumerate(self.chain)}
        RUNS[uuid] = self

    def opened(self, by: int) -> None:
        """Count the logs that are open on this run; with none, its rows refuse to be written."""
        self.open_logs += by
        self.closed = self.open_logs == 0

    def unwritten(self, time: int) -> MemoryRow:
        """Return the row at a time at which this run has written nothing."""
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

    def attach(self, time: int, row: MemoryRow) -> MemoryRow:
        """Take in a row that is about to get its first value; return the one that gets it.

        That is another one if a second thread, which had asked for it at once, was quicker.
        """
        row._wall = wall_now()
        first = self.rows.setdefault(time, row)
        if first is row:
            self.unborn.pop(time, None)
            if self.family.holders is not None:
                self._hold(time)
        return first

    def _hold(self, time: int) -> None:
        holders = self.family.holders
        if holders is not None:
            holders.setdefault(time, []).append(self)

    def add_key(self, key: object) -> str:
        """Check a key that the run has not seen, and note it."""
        name = check_key(key)
        self._note_key(name)
        return name

    def _note_key(self, name: str) -> None:
        if name not in self.keys:
            self.keys[name] = len(self.keys)
            self.family.key_count += 1

    def places(self) -> dict[str, int]:
        """Return all keys of the lineage in the order in which they were first seen, by place."""
        if len(self.chain) == 1:
            return self.keys
        count = self.family.key_count  # keys are only ever added: as many means the same
        if count != self._places_count:
            names = dict.fromkeys(key for run, _ in reversed(self.chain) for key in run.keys)
            self._places = {name: place for place, name in enumerate(names)}
            self._places_count = count
        return self._places

    def write(self, rows: dict[int, dict[str, Any]]) -> None:
        """Set checked values; `HIDDEN` removes what is seen at its place."""
        if self.closed:
            refuse_closed()
        for time, changes in rows.items():
            for key, value in changes.items():
                if value is not HIDDEN:
                    self._note_key(key)
            if time <= self.cut:
                if time not in self.overlays:
                    self._hold(time)
                    self.overlay_walls[time] = wall_now()
                self.overlays.setdefault(time, {}).update(changes)
                continue
            row = self.rows[time]
            for key, value in changes.items():
                if value is HIDDEN:
                    dict.pop(row, key, None)
                    continue
                if not dict.__len__(row):
                    row = self.attach(time, row)
                _set(row, key, value)
            if not dict.__len__(row) and self.rows.pop(time, None) is not None:
                self._keep_unborn(time, row)
                if self.family.holders is not None:
                    self.family.holders[time].remove(self)

    def own(self, time: int, keys: Collection[str] | None = None) -> dict[str, Any]:
        """Return what this run itself wrote at a time (of some keys), HIDDEN included."""
        row: dict[str, Any] = self.rows.get(time) or self.overlays.get(time) or {}
        items = dict.items(row)  # not what MemoryRow makes of it: order does not matter here
        if keys is None:
            return dict(items)
        return {key: value for key, value in items if key in keys}

    def visible(self, time: int) -> dict[str, Any]:
        """Return what is seen at a time, in no particular order."""
        if time > self.cut:
            return self.own(time)
        seen: dict[str, Any] = {}
        for run in reversed(self._seen_at(time)):
            seen.update(run.own(time))
        return {key: value for key, value in seen.items() if value is not HIDDEN}

    def _seen_at(self, time: int) -> list[Run]:
        """Return the runs of which something may be seen at an inherited time, nearest first."""
        layers = []
        for run in (self.family.holders or {}).get(time, ()):
            depth, cut = self.place.get(run, (0, BEFORE_ALL))
            if time <= cut:
                layers.append((depth, run))
        return [run for _, run in sorted(layers, key=lambda layer: layer[0])]

    def value(self, time: int, key: str) -> Any:
        """Return what is seen at (time, key), or raise `KeyError`."""
        if time > self.cut:
            return dict.__getitem__(self.rows.get(time) or {}, key)
        for run in self._seen_at(time):
            row: dict[str, Any] = run.rows.get(time) or run.overlays.get(time) or {}
            if dict.__contains__(row, key):
                value = dict.__getitem__(row, key)
                if value is HIDDEN:
                    break
                return value
        raise KeyError(key)

    def times(self, start: int | None, stop: int | None) -> list[int]:
        """Return the times in a range that hold a value, ascending."""
        low, high = bounds(start, stop)
        found: set[int] = set()
        doubtful: set[int] = set()
        for run, cut in self.chain:
            last = min(cut, high)
            found.update(time for time in run.rows if low <= time <= last)
            doubtful.update(time for time in run.overlays if low <= time <= last)
        found -= doubtful
        found.update(time for time in doubtful if self.visible(time))
        return sorted(found)

    def set_walls(self, walls: Mapping[int, float]) -> None:
        """Say when rows were first written, where that is known better than from this object."""
        for time, wall in walls.items():
            row = self.rows.get(time)
            if row is not None:
                row._wall = wall
            elif time in self.overlays:
                self.overlay_walls[time] = wall

    def marks(self, cut: int) -> Marks:
        """Return when this run wrote each of its rows: here every one has a mark."""
        walls = {time: row._wall for time, row in self.rows.items()} | self.overlay_walls
        times = sorted(walls)
        return Marks(cut, times, [walls[time] for time in times])

    def columns(
        self, keys: list[str] | None, start: int | None, stop: int | None, *, lineage: bool
    ) -> list[Column]:
        """Return what is seen of some keys (None: of all), by column."""
        low, high = bounds(start, stop)
        wanted = None if keys is None else frozenset(keys)
        seen: dict[int, dict[str, Any]] = {}
        for run, cut in reversed(self.chain if lineage else self.chain[:1]):
            last = min(cut, high)
            for written in (run.rows, run.overlays):
                for time in written:
                    if low <= time <= last:
                        below = seen.get(time)
                        row = run.own(time, wanted)
                        seen[time] = row if below is None else below | row
        return overlay([layer_of_rows(seen.items())], self.places())


#: Every run that some log, or some descendant, still holds.
RUNS: weakref.WeakValueDictionary[UUID, Run] = weakref.WeakValueDictionary()


def refuse_closed() -> NoReturn:
    """Raise `LogClosed`."""
    raise LogClosed("the log is closed; open the run again by its UUID to go on")


def find_run(uuid: UUID) -> Run:
    """Return the run with this UUID, or raise `RunNotFound`."""
    run = RUNS.get(uuid)
    if run is None:
        raise RunNotFound(
            f"no run {uuid.hex} in memory: such a run lives only as long as a log in this process "
            "holds it; use SQLiteLog for one that is to stay"
        )
    return run
