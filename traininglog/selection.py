"""What was asked: the columns of a log that are to become a frame, their index; best values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from traininglog.clock import Clock
from traininglog.columns import Column

#: Which of the numbers of a key is the best one.
Mode = Literal["min", "max"]


class Selection(NamedTuple):
    """The columns of a log that were asked for, as it was checked."""

    columns: list[Column]  #: all that are needed, the index among them
    keys: list[str] | None  #: what to show of them, in order; None: all
    index_name: str  #: the name of the index
    by: Literal["time", "wall", "elapsed", "key"]  #: what kind of index that is
    clock: Clock | None  #: if wall times are needed
    wall: bool  #: whether there is to be a column of wall times

    def shown(self) -> list[str]:
        """Return the keys that get a column."""
        keys = [column.key for column in self.columns] if self.keys is None else self.keys
        return [key for key in keys if self.by != "key" or key != self.index_name]


def modes(best: Mapping[str, Mode] | Iterable[str] | str | None) -> dict[str, Mode]:
    """Return keys and modes of the best values that are asked for; what is not said is "min"."""
    if isinstance(best, Mapping):
        asked = dict(best)
    else:
        asked = dict.fromkeys([best] if isinstance(best, str) else best or (), "min")
    for key, mode in asked.items():
        if mode not in ("min", "max"):
            raise ValueError(f"the best of {key!r} must be its 'min' or 'max', not {mode!r}")
    return asked
