"""What was asked of a log: the columns that are to become a frame or a table, and their index."""

from __future__ import annotations

from typing import Literal, NamedTuple

from traininglog.clock import Clock
from traininglog.columns import Column


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
