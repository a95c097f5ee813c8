"""Checks that a document, or a line of a tail, can have been written by this package.

A document may have been mended by hand, truncated by a synchroniser, or sent by a stranger. These
checks cover all of it as it is read, so that no other module meets a value of a wrong type.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from traininglog.errors import InvalidKey, TrainingLogError
from traininglog.jsonfile.cells import from_json
from traininglog.lineage import BEFORE_ALL
from traininglog.trial_records import KINDS, flaw_of, is_hex, is_moment
from traininglog.values import MAX_TIME, StoredValue, check_key

# The names of journals have no greater epoch.
_MOST_EPOCHS = 2**29 - 1


class Damaged(ValueError):
    """A text for people on the damage and its place."""


def check_document(contents: Mapping[str, StoredValue]) -> None:
    """Raise `Damaged` unless all parts of a document can have been written by this package."""
    for kind in (*KINDS, "logs"):
        if not isinstance(contents.get(kind), dict):
            raise Damaged(f"{kind!r} is no object")
    for kind in KINDS:
        for uid, record in contents[kind].items():
            flaw = flaw_of(kind, uid, record)
            if flaw is not None:
                raise Damaged(f"{kind} {uid[:80]!r}: {flaw}")
    for uuid, run in contents["logs"].items():
        if not is_hex(uuid, 32):
            raise Damaged(f"{uuid[:80]!r} is not the UUID of a run")
        try:
            _check_run(run)
        except Damaged as error:
            raise Damaged(f"run {uuid}: {error}") from error
    _check_lineages(contents["logs"])


def _check_run(run: object) -> None:
    if not isinstance(run, dict):
        raise Damaged("it is no object")
    missing = {"resumed_from", "resumed_at", "status", "created", "columns"} - run.keys()
    if missing:
        raise Damaged(f"it has no {', '.join(sorted(missing))}")
    parent, at = run["resumed_from"], run["resumed_at"]
    if not (parent is None or is_hex(parent, 32)):
        raise Damaged(f"it cannot have been resumed from {parent!r:.80}")
    if parent is not None and not (type(at) is int and BEFORE_ALL <= at <= MAX_TIME):
        raise Damaged(f"it cannot have been resumed at {at!r:.80}")
    if not is_moment(run["created"]):
        raise Damaged(f"it cannot have been created at {run['created']!r:.80}")
    walls, marks = run.get("walls", {}), run.get("marks", {})
    for name, part in (("status", run["status"]), ("walls", walls), ("marks", marks)):
        if not isinstance(part, dict):
            raise Damaged(f"its {name} is no object")
    _check_cells(run["status"], "status")
    for name in ("epoch", "position"):
        if not (type(run.get(name, 0)) is int and 0 <= run.get(name, 0) <= MAX_TIME):
            raise Damaged(f"its {name} cannot be {run[name]!r:.80}")
    if run.get("epoch", 0) > _MOST_EPOCHS:
        raise Damaged("it cannot have been opened so often")
    said = run.get("imported", {})
    if not isinstance(said, dict):
        raise Damaged("what is said of its import is no object")
    until = said.get("until", 0)
    if not (type(until) is int and 0 <= until <= MAX_TIME):
        raise Damaged(f"it cannot have been imported up to {until!r:.80}")
    for time, wall in (*walls.items(), *marks.items()):
        _check_time(time)
        if not is_moment(wall):
            raise Damaged(f"it cannot have been at {time} at {wall!r:.80}")
    columns = run["columns"]
    if not isinstance(columns, dict):
        raise Damaged("its columns are no object")
    for key, column in columns.items():
        if not isinstance(column, dict):
            raise Damaged(f"its column {key[:80]!r} is no object")
        for time in column:
            _check_time(time)
        for cell in column.values():
            _check_cell(cell, key)
        _check_key(key)


def _check_lineages(logs: Mapping[str, StoredValue]) -> None:
    """Raise `Damaged` for a run that is its own ancestor."""
    sound: set[str] = set()
    for uuid in logs:
        path: dict[str, None] = {}
        following: str | None = uuid
        while following is not None and following not in sound and following in logs:
            if following in path:
                raise Damaged(f"run {following} is its own ancestor")
            path[following] = None
            following = logs[following]["resumed_from"]
        sound.update(path)


def check_line(line: object) -> None:
    """Raise `Damaged` unless a line of a tail can have been written by this package."""
    if not isinstance(line, dict):
        raise Damaged("it is no object")
    rows, status = line.get("rows", {}), line.get("status", {})
    if not isinstance(rows, dict) or not isinstance(status, dict):
        raise Damaged("its parts are no objects")
    if (rows or "mark" in line) and not is_moment(line.get("wall")):
        raise Damaged("it has no moment")
    if "mark" in line:
        if not isinstance(line["mark"], str):
            raise Damaged("its mark is at no time")
        _check_time(line["mark"])
    for time, row in rows.items():
        _check_time(time)
        if not isinstance(row, dict):
            raise Damaged(f"row {time} is no object")
        for key in row:
            _check_key(key)
        _check_cells(row, f"row {time}")
    _check_cells(status, "status")


def _check_cells(cells: Mapping[str, StoredValue], where: str) -> None:
    for key, cell in cells.items():
        _check_cell(cell, f"{where}: {key[:80]!r}")


def _check_cell(cell: object, where: str) -> None:
    if cell is None or (type(cell) is float and math.isfinite(cell)):  # as nearly all are
        return
    try:
        from_json(cell)
    except (TrainingLogError, ValueError) as error:
        raise Damaged(f"{where[:100]} has no value that can be read: {error}"[:400]) from error


def _check_time(text: str) -> None:
    # Only the form that json.dumps writes: int() reads more than that.
    digits = text.isascii() and text.isdigit() and (text == "0" or text[0] != "0")
    if not digits or len(text) > 19 or int(text) > MAX_TIME:
        raise Damaged(f"{text[:80]!r} is no time")


def _check_key(key: str) -> None:
    try:
        check_key(key)
    except InvalidKey as error:
        raise Damaged(f"{key[:80]!r} is no key: {error}") from error
