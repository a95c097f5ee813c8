"""Rebuilding the rows of a new file, from those that were found in a damaged one.

The new rows agree with each other, whatever is lost: each value has a run and a named key, and the
span and counts of a run are computed anew. If a record of a trial names a lost project, the project
is made anew, as its name is all that identifies it. The name of a lost group or environment is
removed from the record.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import uuid4

from sqlalchemy import Connection, Float, case, func, insert, select, update

from traininglog.encoding import Kind, encode
from traininglog.lineage import BEFORE_ALL, new_uuid
from traininglog.sql import writing
from traininglog.sql.sound import is_moment, is_uuid
from traininglog.sql.tables import UNKNOWN_POSITION, entries, relations, runs, status
from traininglog.sql.trials.record_checks import REFERENCES
from traininglog.sql.trials.records import KINDS, put_record
from traininglog.sqlite.repair.classify import Found, is_key
from traininglog.sqlite.repair.segments import Place, Segments
from traininglog.values import MAX_TIME

#: The name of a key whose own name is lost; its number follows.
LOST_NAME = "_recovered"


class Span(NamedTuple):
    """The times and counts of the rescued values of a run."""

    first: int | None = None  #: the first time
    last: int | None = None  #: the last time
    deletions: int = 0
    number: int = 0  #: how many values, deletions included

    def widened(self, first: int, last: int, number: int) -> Span:
        """Return this span with more values."""
        low = first if self.first is None else min(first, self.first)
        high = last if self.last is None else max(last, self.last)
        return Span(low, high, self.deletions, self.number + number)


class Build:
    """The rows of the new file other than values, made to agree with the values."""

    def __init__(
        self, connection: Connection, found: Found, sealed: Segments, now: float
    ) -> None:  # fmt: skip
        self._connection = connection
        self._found = found
        self._sealed = sealed
        self._now = now  # replaces moments that are lost
        self.notes: list[str] = []
        self.spans = {
            run: Span(first, last, deletions, count)
            for run, first, last, deletions, count in connection.execute(
                select(
                    entries.c.run_id,
                    func.min(entries.c.time),
                    func.max(entries.c.time),
                    func.sum(case((entries.c.kind == Kind.HIDDEN.value, 1), else_=0)),
                    func.count(),
                ).group_by(entries.c.run_id)
            )
        }
        for run, first, last, number in sealed.spans():
            self.spans[run] = self.spans.get(run, Span()).widened(first, last, number)
        #: The new numbers and names of keys, by run and old number.
        self.keys: dict[Place, tuple[int, str]] = {}
        #: The runs, by number.
        self.rows: dict[int, dict[str, Any]] = {}
        taken: set[str] = set()
        self._walls = found.walls()
        #: Texts for the status of runs whose rows are made up.
        self._remarks: list[tuple[int, str]] = []
        known = {*found.runs, *found.uuids, *self.spans, *(run for run, _ in found.status)}
        for run in sorted(known):
            row = self._known(run) if run in found.runs else self._made_up(run)
            if found.uuids.get(run, row["uuid"]) != row["uuid"] and run not in sealed.uuids:
                self.notes.append(
                    f"run {row['uuid']}: its UUID may rather be {found.uuids[run]}, by an index"
                )
            if row["uuid"] in taken:
                self.notes.append(
                    f"two runs have the UUID {row['uuid']}; run number {run} gets a new one"
                )
                row["uuid"] = new_uuid().hex
            taken.add(row["uuid"])
            self.rows[run] = row
        self._cut_circles()
        lost: dict[int, list[str]] = {}
        for run, key in sorted(found.lost_names):
            lost.setdefault(run, []).append(repr(key))
        self.notes += [
            f"run {self.rows[run]['uuid']}: lost from its status: {', '.join(names)}"
            for run, names in lost.items() if run in self.rows
        ]  # fmt: skip

    @property
    def uuids(self) -> dict[int, str]:
        """The UUIDs of the runs, by number."""
        return {run: row["uuid"] for run, row in self.rows.items()}

    def write(self) -> None:
        """Write runs, keys, status and marks, and renumber the keys of the entries."""
        if self.rows:
            self._connection.execute(insert(runs), list(self.rows.values()))
            self._write_relations()
        self._write_keys()
        self._write_status()
        for (run, time), wall in self._found.marks.items():
            if run in self.rows:
                writing.save_mark(self._connection, run, time, wall)

    # -- runs ---------------------------------------------------------------------------------

    def _known(self, run: int) -> dict[str, Any]:
        row = dict(self._found.runs[run])
        uuid = self._sealed.uuids.get(run, row["uuid"])
        if uuid != row["uuid"]:
            self.notes.append(f"run {uuid}: its line has {row['uuid']}, which its segments deny")
            row["uuid"] = uuid
        span = self.spans.get(run, Span())
        wrong = []
        sane: dict[str, tuple[bool, Any]] = {
            "resumed_from": (row["resumed_from"] is None or is_uuid(row["resumed_from"]), None),
            "resumed_at": (BEFORE_ALL <= (row["resumed_at"] or 0) <= MAX_TIME, None),
            "outcome": (row["outcome"] in (None, "finished", "failed"), None),
            "epoch": (row["epoch"] >= 0, 1),
            "high_water": (row["high_water"] >= 0, span.number),
        }
        for name, instead in self._moments(run).items():
            sane[name] = row[name] == instead or is_moment(row[name]), instead
        for name, (is_sane, instead) in sane.items():
            if not is_sane:
                wrong.append(name)
                row[name] = instead
        if wrong:
            self.notes.append(f"run {row['uuid']}: damaged and left out: {', '.join(wrong)}")
        return self._finish(row, span)

    def _made_up(self, run: int) -> dict[str, Any]:
        """Return a row for a run whose own is lost."""
        span = self.spans.get(run, Span())
        listed = self._found.uuids.get(run)
        uuid = self._sealed.uuids.get(run, listed)
        text = f"the line of run number {run} in the table of runs is lost; "
        if uuid is None:
            text += "its UUID is lost and is a new one"
        else:
            where = "in an index" if uuid == listed else "by its segments"
            text += f"its UUID was found {where}"
        if (run, LOST_NAME) not in self._found.status:
            self._remarks.append((run, text))
        row = dict.fromkeys(runs.columns.keys()) | {
            "id": run,
            "uuid": uuid or new_uuid().hex,
            "resumed_from": self._found.parents.get(run),
            "epoch": 1,
            "high_water": span.number,
            **self._moments(run),
        }
        self.notes.append(f"run {row['uuid']}: {text}")
        return self._finish(row, span)

    def _moments(self, run: int) -> dict[str, float | None]:
        """Return replacements for the lost moments of a run, from its marks."""
        created, updated = self._walls.get(run, (self._now, self._now))
        names = [column.name for column in runs.columns if isinstance(column.type, Float)]
        missing = {name: None for name in names if runs.columns[name].nullable}
        return dict.fromkeys(names, updated) | {"created": created} | missing

    def _finish(self, row: dict[str, Any], span: Span) -> dict[str, Any]:
        if row["resumed_from"] is None:
            row["resumed_at"] = None
        elif row["resumed_at"] is None:
            row["resumed_at"] = BEFORE_ALL
            self.notes.append(
                f"run {row['uuid']}: it is lost at which time it was resumed from "
                f"{row['resumed_from']}; it shows its own rows only"
            )
        # The smallest change: a merge takes copies with equal moments for the same, and then would
        # not restore from a backup what is lost here.
        row["updated"] = math.nextafter(row["updated"], math.inf)
        return row | {
            "first_time": span.first, "last_time": span.last, "deletions": span.deletions,
        }  # fmt: skip

    def _cut_circles(self) -> None:
        """Make the oldest run of each cyclic lineage a root."""
        by_uuid = {row["uuid"]: row for row in self.rows.values()}
        sound: set[str] = set()
        for row in sorted(by_uuid.values(), key=lambda row: (row["created"], row["id"])):
            path: dict[str, None] = {}
            at = row["uuid"]
            while at in by_uuid and at not in sound and at not in path:
                path[at] = None
                at = by_uuid[at]["resumed_from"]
            if at not in path:
                sound.update(path)
            elif at == row["uuid"]:
                row["resumed_from"] = row["resumed_at"] = None
                self.notes.append(f"run {at}: its lineage went in a circle and begins here now")

    def _write_relations(self) -> None:
        by_uuid = {row["uuid"]: row for row in self.rows.values()}
        rows = []
        for run, row in self.rows.items():
            relation = self._found.relations.get(run)
            if relation is not None and relation["role"] == "part":
                rows.append(relation)
            elif row["resumed_from"] is not None:
                if relation is None or relation["other"] != row["resumed_from"]:
                    relation = _likely(row, by_uuid.get(row["resumed_from"]))
                rows.append(relation)
        if rows:
            self._connection.execute(insert(relations), rows)

    # -- keys and status ------------------------------------------------------------------------

    def _write_keys(self) -> None:
        found = self._found
        used = {
            (run, number)
            for run, number in self._connection.execute(
                select(entries.c.run_id, entries.c.key_id).distinct()
            )
        }
        used |= self._sealed.places
        named: dict[int, dict[str, int]] = {run: {} for run in self.rows}
        nameless: dict[int, list[int]] = {}
        for run, number in sorted(used | found.keys.keys() | found.keys_by_name.keys()):
            if run not in self.rows or number <= 0:
                continue
            name = self._name_of(run, number)
            if name is not None and name not in named[run]:
                named[run][name] = number
            elif (run, number) in used:
                nameless.setdefault(run, []).append(number)
        for run, numbers in nameless.items():
            for number in numbers:
                name = f"{LOST_NAME}/{number}"
                while name in named[run]:
                    name += "'"
                named[run][name] = number
            self.notes.append(
                f"run {self.rows[run]['uuid']}: the names of keys are lost; they are called "
                + ", ".join(f"{LOST_NAME}/{number}" for number in numbers)
            )
        for run, numbers_by_name in named.items():
            self._write_keys_of(run, numbers_by_name)

    def _name_of(self, run: int, number: int) -> str | None:
        """Return the name of a key, or None: one that a checksum proves, or from table or index."""
        if (run, number) in self._sealed.names:
            return self._sealed.names[run, number]
        both = (self._found.keys, self._found.keys_by_name)
        names = [names.get((run, number)) for names in both]
        likely = [name for name in dict.fromkeys(names) if name is not None and is_key(name)]
        # If they differ, one of them is damaged: probably not the one that other runs have, too.
        likely.sort(key=lambda name: -self._found.popularity[name])
        if len(likely) == 2:
            self.notes.append(
                f"run {self.rows[run]['uuid']}: a key is called both {likely[0]!r} and "
                f"{likely[1]!r}; the first was taken"
            )
        return likely[0] if likely else None

    def _write_keys_of(self, run: int, numbers: dict[str, int]) -> None:
        """Write the keys of a run, renumbered without gaps, as its writers number them by count."""
        ordered = sorted(numbers.items(), key=lambda item: item[1])
        for new, (name, old) in enumerate(ordered, start=1):
            self.keys[run, old] = new, name
            if new != old:  # the new number is smaller, and free by now
                self._connection.execute(
                    update(entries)
                    .where(entries.c.run_id == run, entries.c.key_id == old)
                    .values(key_id=new)
                )
        fresh = {name: new for new, (name, _) in enumerate(ordered, start=1)}
        writing.save_keys(self._connection, run, fresh)

    def _write_status(self) -> None:
        rows = [
            {"run_id": run, "key": key, "kind": kind, "value": stored}
            for (run, key), (_, kind, stored) in sorted(
                self._found.status.items(), key=lambda item: item[1][0]
            )
        ]
        for run, text in self._remarks:
            kind, stored = encode(text)
            rows.append({"run_id": run, "key": LOST_NAME, "kind": kind, "value": stored})
        if rows:
            self._connection.execute(insert(status), rows)


def write_records(connection: Connection, found: Found) -> list[str]:
    """Write the records, and return messages on what was made up or left out."""
    records = dict(sorted(found.records.items(), key=lambda item: item[1]["created"]))
    notes: dict[str, None] = {}
    for kind, field, other in REFERENCES:
        for uid in [uid for one, uid in records if one == kind]:
            named = records[kind, uid][field]
            if named is None or (other, named) in records:
                continue
            if other == "project":
                records[other, named] = _made_up(named, records[kind, uid]["created"])
                notes[f"project {named!r} is lost; it was made anew, without a description"] = None
            else:
                records[kind, uid] = _edited(records[kind, uid] | {field: None})
                notes[f"{other} {named} is lost, and left out of what named it"] = None
    for kind in KINDS:
        for (one, _), record in records.items():
            if one == kind:
                put_record(connection, kind, record)
    return list(notes)


def _made_up(name: str, created: float) -> dict[str, Any]:
    return {
        "uid": name, "name": name, "description": None, "tags": {}, "metadata": {},
        # The lowest edit, so that any other copy wins in a merge.
        "edit": 0, "token": "", "created": created,
    }  # fmt: skip


def _edited(record: dict[str, Any]) -> dict[str, Any]:
    return record | {"edit": record["edit"] + 1, "token": uuid4().hex}


def _likely(row: Mapping[str, Any], parent: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a run likely is to its parent, where that is lost.

    A run that goes back to an earlier time of a finished run tries something else.
    """
    ended = parent is not None and parent["outcome"] == "finished"
    last = None if parent is None else parent["last_time"]
    variant = ended and last is not None and row["resumed_at"] < last
    return {
        "run_id": row["id"], "role": "variant" if variant else "continue",
        "other": row["resumed_from"],
        "position": UNKNOWN_POSITION if parent is None else parent["high_water"],
    }  # fmt: skip
