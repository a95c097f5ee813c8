"""A leftover journal: how recovery disposes of one, whatever its store is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from traininglog.callers import warn_caller
from traininglog.file_names import free_name
from traininglog.journal.reader import (
    FolderNotListed,
    Left,
    Lookalike,
    damaged_path,
    named_like_journals,
)
from traininglog.journal.record import Batch, changed_status

# How many of the files that only look like journals a warning names.
_TOLD = 3


class Aside(NamedTuple):
    """The run that is made of what a writer assigned after its run was taken from it."""

    uuid: UUID  #: the same each time, so that the run is made once
    at: int  #: the last time of the other run that it sees
    status: dict[str, Any]
    notice: str  #: the warning to give


def aside(
    run: UUID, epoch: int, batch: Batch, status: Mapping[str, Any], last: int
) -> Aside | None:
    """Return the run to make of a displaced batch; None if it has neither values nor a status.

    Args:
        run: The run that was taken.
        epoch: The epoch of the writer from whom it was taken.
        batch: What that writer had assigned.
        status: The status of the run.
        last: The resume point if the batch has no values.

    """
    times = batch.times()
    if not (times or batch.status):
        return None
    at = times[0] - 1 if times else last
    uuid = uuid5(run, f"displaced {epoch}")
    return Aside(
        uuid, at, changed_status(status, [batch]) | {"resumed_from": run.hex},
        f"what a writer of run {run.hex} assigned after the run was taken from it is now run "
        f"{uuid.hex}, resumed from it at {at}",
    )  # fmt: skip


def dispose(journal: Path, damage: str | None) -> str | None:
    """Delete a journal whose records are all in the store; keep a damaged one under another name.

    Args:
        journal: The file.
        damage: What is damaged, for people. None: nothing is.

    Returns:
        The warning to give, if any.

    """
    if damage is None:
        _delete(journal)
        return None
    kept = damaged_path(journal)
    if kept.exists():
        kept = free_name(kept.with_name(f"{kept.name}.again"))
    journal.rename(kept)
    return f"{damage}: the rest of what was assigned last is lost; the journal is kept as {kept}"


def _delete(journal: Path) -> None:
    try:
        journal.unlink(missing_ok=True)
    except PermissionError:
        # In a sticky folder only the file's owner may delete it. An empty journal does no harm.
        os.truncate(journal, 0)


def unreadable(journal: Path, error: OSError) -> str:
    """Return the warning to give of a journal that cannot be read just now."""
    return (
        f"{journal} cannot be read ({error.strerror}): what a killed process had assigned last may "
        "be in it, and is put back when it can be read and the store is opened"
    )


def journals_left(beside: Path) -> list[Left]:
    """Return the journals beside a file, by epoch, for recovery.

    Warns of what lies there, is named like a journal, and can be none; and if the folder cannot be
    listed.
    """
    try:
        found = list(named_like_journals(beside))
    except FolderNotListed as error:
        warn_caller(
            f"{error}; what a killed process had assigned last may be there, and is not seen"
        )
        return []
    others = [one for one in found if isinstance(one, Lookalike)]
    if others:
        more = f", and {len(others) - _TOLD} more" if len(others) > _TOLD else ""
        told = ", ".join(f"{one.path} {one.why}" for one in others[:_TOLD])
        warn_caller(
            f"beside {beside} lies what is named like a journal and is none: {told}{more}; it "
            "was not opened: move it away"
        )
    return sorted((one for one in found if isinstance(one, Left)), key=lambda left: left.epoch)
