"""Lineage: resume points, ancestors, and the status with which a child begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple
from uuid import UUID, uuid4

from traininglog.values import StoredRow, plain

#: The resume point of a child that sees nothing of its parent, which had no rows yet.
BEFORE_ALL = -1


class Ancestor(NamedTuple):
    """A run in a lineage, and the last time of its parent that it sees (None at the root)."""

    uuid: UUID
    resumed_at: int | None


#: What a run is to another: it continues it, and stands for it from then on; it is a variant of it,
#: which goes on beside it; or it is a part of it, and no experiment of its own.
Role = Literal["continue", "variant", "part"]


class Descent(NamedTuple):
    """The beginning of a child: its parent, the last time that it sees of it, and its status."""

    parent: UUID
    at: int
    status: dict[str, object]
    variant: bool = False  #: whether its parent goes on beside it


def new_status() -> StoredRow:
    """Return the status with which a run starts."""
    return {"iterations_done": 0, "epochs_done": 0, "_epoch_ends": plain([]), "resumed_from": None}


def new_uuid() -> UUID:
    """Return the UUID of a new run."""
    return uuid4()


def inherited(status: Mapping[str, object]) -> StoredRow:
    """Return what a child inherits of a status: a run that was put aside comes back by resuming."""
    return {key: value for key, value in status.items() if key != "archived"}


def cut_status(status: Mapping[str, object], at: int) -> StoredRow:
    """Return a copy of a status whose counters do not go past the time `at`.

    Counters of another type than the contract gives them stay as they are: a program may store
    anything.
    """
    cut = inherited(status)
    done, ends, epochs = (cut.get(key) for key in ("iterations_done", "_epoch_ends", "epochs_done"))
    if isinstance(done, int):
        cut["iterations_done"] = min(done, at)
    if isinstance(ends, list) and all(isinstance(end, int) for end in ends):
        kept = plain([end for end in ends if end <= at])
        cut["_epoch_ends"] = kept
        if isinstance(epochs, int):
            cut["epochs_done"] = max(0, epochs - (len(ends) - len(kept)))
    return cut
