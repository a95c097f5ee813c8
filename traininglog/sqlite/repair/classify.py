"""The rows found in a damaged file, without the values, and checks whether they are possible."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from traininglog.encoding import fits
from traininglog.errors import InvalidKey
from traininglog.imported import UNKNOWN
from traininglog.lineage import BEFORE_ALL
from traininglog.sql.sound import is_moment, is_relation, is_uuid
from traininglog.sql.tables import (
    keys,
    marks,
    projects,
    relations,
    runs,
    status,
    trial_groups,
    trials,
)
from traininglog.sql.trials.record_checks import examine
from traininglog.sql.trials.records import TABLES
from traininglog.sqlite.repair.pages import Record
from traininglog.sqlite.repair.salvage import (
    KEYS_BY_NAME,
    RUNS_BY_PARENT,
    RUNS_BY_UUID,
    STATUS_BY_KEY,
    Part,
)
from traininglog.values import check_text


class Known(NamedTuple):
    """The possible UUIDs of runs and names of keys, from the tables and their indexes."""

    uuids: dict[int, list[str]]  #: by run
    names: dict[tuple[int, int], list[str]]  #: by run and number of the key
    orphans: list[str]  #: UUIDs of parents that no known run has


class Found:
    """The rows of all tables, except for the values, which are too many to hold."""

    def __init__(self) -> None:
        self.runs: dict[int, dict[str, Any]] = {}
        self.uuids: dict[int, str] = {}  # by run, from the index
        self.parents: dict[int, str] = {}  # by run, from the index
        self.keys: dict[tuple[int, int], str] = {}  # by run and number, from the table
        self.keys_by_name: dict[tuple[int, int], str] = {}  # by run and number, from the index
        self.status: dict[tuple[int, str], tuple[int, int, Any]] = {}  # (place, kind, stored)
        self.marks: dict[tuple[int, int], float] = {}
        self.relations: dict[int, dict[str, Any]] = {}
        #: Projects, groups, environments and trials, by kind and UID.
        self.records: dict[tuple[str, str], dict[str, Any]] = {}
        self.lost_records = 0  #: how many of these are known to be lost
        self._status_by_key: set[tuple[int, str]] = set()
        self._damaged_status = 0
        self._doubtful: list[Record] = []  # of the status
        self._adders: dict[str, Callable[[Record], None]] = {
            runs.name: self._add_run,
            keys.name: self._add_key,
            status.name: self._add_status_for_now,
            marks.name: self._add_mark,
            relations.name: self._add_relation,
            projects.name: functools.partial(self._add_described, ("project", "environment")),
            trial_groups.name: functools.partial(self._add_described, ("group",)),
            trials.name: functools.partial(self._add_described, ("trial",)),
            KEYS_BY_NAME: self._add_key_by_name,
            STATUS_BY_KEY: self._add_status_by_key,
            RUNS_BY_UUID: self._add_uuid,
            RUNS_BY_PARENT: self._add_parent,
        }

    def add(self, part: Part) -> None:
        """Collect the rows of a page."""
        if part.name == status.name:
            self._damaged_status += part.damaged
        elif part.name in (projects.name, trial_groups.name, trials.name):
            self.lost_records += part.damaged
        add = self._adders.get(part.name)
        if add is not None:
            for record in part.records:
                add(record)

    def _add_run(self, record: Record) -> None:
        row = dict(zip(runs.columns.keys(), record.values, strict=True)) | {"id": record.rowid}
        if is_uuid(row["uuid"]):
            self.runs.setdefault(row["id"], row)

    def _add_key(self, record: Record) -> None:
        run, number, name = record.values
        self.keys.setdefault((run, number), name)

    def _add_key_by_name(self, record: Record) -> None:
        run, name, number = record.values
        self.keys_by_name.setdefault((run, number), name)

    def settle(self, *, zeroed: bool) -> None:
        """Decide on doubtful rows; they are damaged if pages of the file were zeroed."""
        for record in self._doubtful:
            if zeroed:
                self._damaged_status += 1
            else:
                self._add_status(record)

    def _add_status_for_now(self, record: Record) -> None:
        if record.doubtful:
            self._doubtful.append(record)
        else:
            self._add_status(record)

    def _add_status(self, record: Record) -> None:
        _, run, key, kind, stored = record.values
        if record.rowid is not None and run > 0 and is_key(key) and fits(kind, stored):
            self.status.setdefault((run, key), (record.rowid, kind, stored))
        else:
            self._damaged_status += 1

    def _add_status_by_key(self, record: Record) -> None:
        run, key, _ = record.values
        self._status_by_key.add((run, key))

    def _add_uuid(self, record: Record) -> None:
        uuid, run = record.values
        if is_uuid(uuid):
            self.uuids.setdefault(run, uuid)

    def _add_parent(self, record: Record) -> None:
        uuid, run = record.values
        if is_uuid(uuid):
            self.parents.setdefault(run, uuid)

    def _add_relation(self, record: Record) -> None:
        row = dict(zip(relations.columns.keys(), record.values, strict=True))
        if record.rowid is not None and is_relation(row):
            self.relations.setdefault(record.rowid, row | {"run_id": record.rowid})

    def _add_mark(self, record: Record) -> None:
        run, time, wall = record.values
        if time >= BEFORE_ALL and (is_moment(wall) or wall == UNKNOWN):
            self.marks.setdefault((run, time), wall)

    def _add_described(self, kinds: tuple[str, ...], record: Record) -> None:
        for kind in kinds:
            row = dict(zip(TABLES[kind].columns.keys(), record.values, strict=True))
            found = examine(kind, row).record
            if found is not None:
                place = kind, found["uid"]
                if self.records.get(place, {"edit": -1})["edit"] < found["edit"]:
                    self.records[place] = found
                return
        self.lost_records += 1

    @functools.cached_property
    def popularity(self) -> Counter[str]:
        """How often each name is found as the name of a key."""
        return Counter([*self.keys.values(), *self.keys_by_name.values()])

    @property
    def lost_names(self) -> set[tuple[int, str]]:
        """The runs and keys of status values that are lost."""
        return self._status_by_key - self.status.keys()

    @property
    def lost_status(self) -> int:
        """How many status values are known to be lost, by their keys or by their remains."""
        return max(len(self.lost_names), self._damaged_status)

    def known(self) -> Known:
        """Return the UUIDs and names that were found."""
        uuids: dict[int, list[str]] = {run: [row["uuid"]] for run, row in self.runs.items()}
        for run, uuid in self.uuids.items():
            uuids.setdefault(run, []).append(uuid)
        names: dict[tuple[int, int], list[str]] = {}
        for each in (self.keys, self.keys_by_name):
            for place, name in each.items():
                if is_key(name):
                    names.setdefault(place, []).append(name)
        parents = {row["resumed_from"] for row in self.runs.values()} | {*self.parents.values()}
        parents.difference_update(*uuids.values())
        return Known(uuids, names, [uuid for uuid in parents if is_uuid(uuid)])

    def walls(self) -> dict[int, tuple[float, float]]:
        """Return when runs were written first and last, by their marks."""
        walls: dict[int, tuple[float, float]] = {}
        for (run, time), wall in self.marks.items():
            if wall == UNKNOWN or time == BEFORE_ALL:  # the latter only orders runs
                continue
            first, last = walls.get(run, (wall, wall))
            walls[run] = min(first, wall), max(last, wall)
        return walls


def is_key(value: object) -> bool:
    """Return whether a value may be the name of a key."""
    try:
        check_text(value)
    except InvalidKey:
        return False
    return True
