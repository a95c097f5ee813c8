"""The changes of rows and of the status in an old tail, and applying them to a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from traininglog.jsonfile.cells import hides
from traininglog.jsonfile.checks import check_line
from traininglog.jsonfile.reading import parsed
from traininglog.values import StoredRow, StoredValue

Change = StoredRow


class Changes:
    """The changes that were read from a tail.

    Args:
        changes: The changes in the order in which they were made.
        flaw: A text for people on what could not be read. None: everything was.

    """

    def __init__(self, changes: list[Change], flaw: str | None = None) -> None:
        self.changes = changes
        self.flaw = flaw


def changes_in(path: Path, lines: Iterable[bytes | None]) -> Changes:
    """Return the changes in whole lines. It skips damaged lines, and reads those after them."""
    found: list[Change] = []
    damaged = 0
    for line in lines:
        change = None if line is None else _change(line)
        if change is None:
            damaged += 1
        elif change.keys() != {"writer"}:  # the first line, for people
            found.append(change)
    if not damaged:
        return Changes(found)
    which = "1 damaged line was" if damaged == 1 else f"{damaged} damaged lines were"
    return Changes(found, f"{path}: {which} left out; all others were read")


def _change(line: bytes) -> Change | None:
    try:
        change = parsed(line.decode())
        check_line(change)
    except ValueError:
        return None
    made: Change = change
    return made


def put_row(run: StoredRow, time: str, cells: Mapping[str, StoredValue]) -> None:
    """Set cells of a row of the document; a cell that hides removes a value of a root run."""
    columns, root = run["columns"], run["resumed_from"] is None
    for key, cell in cells.items():
        if root and hides(cell):  # a root run inherits nothing that must be hidden
            columns.get(key, {}).pop(time, None)
        else:
            columns.setdefault(key, {})[time] = cell


def apply(run: StoredRow, changes: Iterable[Change]) -> None:
    """Apply changes to a run of the document. A second time, they change nothing."""
    status, walls = run["status"], run.setdefault("walls", {})
    for change in changes:
        for time, row in change.get("rows", {}).items():
            walls.setdefault(time, change["wall"])
            put_row(run, time, row)
        if "mark" in change:
            run.setdefault("marks", {})[change["mark"]] = change["wall"]
        for key, cell in change.get("status", {}).items():
            if hides(cell):
                status.pop(key, None)
            else:
                status[key] = cell
