"""Runs in memory: the rows of each, and the rows that it inherits from its ancestors."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Mapping
from time import time as wall_now
from uuid import UUID

from traininglog.clock import Marks
from traininglog.columns import Column, layer_of_rows, overlay
from traininglog.encoding import HIDDEN
from traininglog.errors import RunNotFound
from traininglog.imported import UNKNOWN, Imported
from traininglog.lineage import BEFORE_ALL
from traininglog.selection import bounds
from traininglog.values import MAX_TIME, StoredRow, StoredValue

NOTHING: StoredRow = {}


class _Family:
    """A root run and all its descendants.

    `holders` lists, by time, the runs that have a row there, so that reading a row is as fast after
    a thousand resumes as after one. It is kept from the first resume on.
    """

    __slots__ = ("holders", "key_count")

    def __init__(self) -> None:
        self.holders: dict[int, list[Run]] | None = None
        self.key_count = 0  # of all its runs together


class Run:
    """The data of one run, shared by all logs that are open on it."""

    __slots__ = (
        "__weakref__",
        "_places",
        "_places_count",
        "chain",
        "created",
        "cut",
        "family",
        "imported",
        "keys",
        "marked",
        "overlay_walls",
        "overlays",
        "place",
        "resumed_at",
        "rows",
        "status",
        "uuid",
        "walls",
    )  # fmt: skip

    def __init__(self, uuid: UUID, status: StoredRow, parent: Run | None, at: int) -> None:
        self.uuid = uuid
        self.created = wall_now()
        self.status = status
        self.resumed_at = None if parent is None else at
        #: The rows of this run at times that it does not inherit. An empty row counts as none.
        self.rows: dict[int, StoredRow] = {}
        self.walls: dict[int, float] = {}  #: when they were first written, in unix seconds
        #: The rows of this run at times that it inherits; HIDDEN where it deleted a value.
        self.overlays: dict[int, StoredRow] = {}
        self.overlay_walls: dict[int, float] = {}
        self.imported: Imported | None = None  #: if not None, it did not happen when written
        self.marked: dict[int, float] = {}  #: its marks: by time, when it had got there
        self.keys: dict[str, int] = {}  # the keys of this run, with their places
        self._places: dict[str, int] = {}
        self._places_count = 0
        #: This run and its ancestors, nearest first, each with the last time that this run sees.
        self.chain: list[tuple[Run, int]] = [(self, MAX_TIME)]
        self.cut = BEFORE_ALL
        self.family: _Family = _Family() if parent is None else parent.family
        if parent is not None:
            self.cut = at
            self.chain += [(run, min(cut, at)) for run, cut in parent.chain]
            if self.family.holders is None:
                holders: dict[int, list[Run]] = {time: [parent] for time in list(parent.rows)}
                self.family.holders = holders
        self.place = {run: (depth, cut) for depth, (run, cut) in enumerate(self.chain)}
        RUNS[uuid] = self

    def _hold(self, time: int) -> None:
        holders = self.family.holders
        if holders is not None:
            holders.setdefault(time, []).append(self)

    def note_key(self, name: str) -> None:
        """Add a key if the run has not seen it."""
        if name not in self.keys:
            self.keys[name] = len(self.keys)
            self.family.key_count += 1

    def places(self) -> dict[str, int]:
        """Return the places of all keys of the lineage in the order in which it first saw them."""
        if len(self.chain) == 1:
            return self.keys
        count = self.family.key_count  # keys are only ever added: an equal count means no change
        if count != self._places_count:
            names = dict.fromkeys(key for run, _ in reversed(self.chain) for key in run.keys)
            self._places = {name: place for place, name in enumerate(names)}
            self._places_count = count
        return self._places

    def write(self, rows: dict[int, StoredRow]) -> None:
        """Set checked values; `HIDDEN` removes the value at its place."""
        for time, changes in rows.items():
            for key, value in changes.items():
                if value is not HIDDEN:
                    self.note_key(key)
            if time <= self.cut:
                if time not in self.overlays:
                    self._hold(time)
                    self.overlay_walls[time] = wall_now()
                self.overlays.setdefault(time, {}).update(changes)
            else:
                self._write_own(time, changes)

    def _write_own(self, time: int, changes: StoredRow) -> None:
        row = self.rows.get(time)
        if row is None:
            if all(value is HIDDEN for value in changes.values()):
                return
            new: StoredRow = {}
            row = self.rows.setdefault(time, new)
            if row is new:  # no other thread has added it meanwhile
                self._hold(time)
        if not row:
            self.walls[time] = wall_now()
        for key, value in changes.items():
            if value is HIDDEN:
                row.pop(key, None)
            else:
                row[key] = value

    def own(self, time: int, keys: Collection[str] | None = None) -> StoredRow:
        """Return the values of this run itself at a time (of some keys), HIDDEN included."""
        row = self.rows.get(time) or self.overlays.get(time) or {}
        if keys is None:
            return dict(row)
        return {key: value for key, value in row.items() if key in keys}

    def visible(self, time: int) -> StoredRow:
        """Return the row at a time with inherited values, in no particular order."""
        if time > self.cut:
            return self.own(time)
        seen: StoredRow = {}
        for run in reversed(self._seen_at(time)):
            seen.update(run.own(time))
        return {key: value for key, value in seen.items() if value is not HIDDEN}

    def _seen_at(self, time: int) -> list[Run]:
        """Return the runs that may have values at an inherited time, nearest first."""
        layers = []
        for run in (self.family.holders or {}).get(time, ()):
            depth, cut = self.place.get(run, (0, BEFORE_ALL))
            if time <= cut:
                layers.append((depth, run))
        return [run for _, run in sorted(layers, key=lambda layer: layer[0])]

    def value(self, time: int, key: str) -> StoredValue:
        """Return the value at (time, key), or raise `KeyError`."""
        if time > self.cut:
            return self.rows.get(time, NOTHING)[key]
        for run in self._seen_at(time):
            row = run.rows.get(time) or run.overlays.get(time) or NOTHING
            if key in row:
                if row[key] is HIDDEN:
                    break
                return row[key]
        raise KeyError(key)

    def times(self, start: int | None, stop: int | None) -> list[int]:
        """Return the times in a range that hold a value, ascending."""
        low, high = bounds(start, stop)
        found: set[int] = set()
        doubtful: set[int] = set()
        for run, cut in self.chain:
            last = min(cut, high)
            rows = list(run.rows.items())
            found.update(time for time, row in rows if row and low <= time <= last)
            doubtful.update(time for time in run.overlays if low <= time <= last)
        found -= doubtful
        found.update(time for time in doubtful if self.visible(time))
        return sorted(found)

    def set_walls(self, walls: Mapping[int, float]) -> None:
        """Set when rows were first written, for a run that is copied from elsewhere."""
        for time, wall in walls.items():
            if self.rows.get(time):
                self.walls[time] = wall
            elif time in self.overlays:
                self.overlay_walls[time] = wall

    def marks(self, cut: int) -> Marks:
        """Return the marks of this run: in memory every row has one."""
        if self.imported is None:
            walls = self.walls | self.overlay_walls | self.marked
        else:
            walls = {MAX_TIME: UNKNOWN} | self.marked
        times = sorted(walls)
        return Marks(cut, times, [walls[time] for time in times])

    def columns(
        self, keys: list[str] | None, start: int | None, stop: int | None, *, lineage: bool
    ) -> list[Column]:
        """Return the columns of some keys (None: all)."""
        low, high = bounds(start, stop)
        wanted = None if keys is None else frozenset(keys)
        seen: dict[int, StoredRow] = {}
        for run, cut in reversed(self.chain if lineage else self.chain[:1]):
            last = min(cut, high)
            for written in (run.rows, run.overlays):
                for time in list(written):
                    if low <= time <= last:
                        below = seen.get(time)
                        row = run.own(time, wanted)
                        seen[time] = row if below is None else below | row
        return overlay([layer_of_rows(seen.items())], self.places())


#: Every run that a log or a descendant still refers to.
RUNS: weakref.WeakValueDictionary[UUID, Run] = weakref.WeakValueDictionary()


def find_run(uuid: UUID) -> Run:
    """Return the run with this UUID, or raise `RunNotFound`."""
    run = RUNS.get(uuid)
    if run is None:
        raise RunNotFound(
            f"no run {uuid.hex} in memory: such a run lives only as long as a log in this process "
            "holds it; use SQLiteLog for one that is to stay"
        )
    return run
