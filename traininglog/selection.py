"""What was asked: the columns of a log that are to become a frame, their index; best values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from traininglog.clock import Clock
from traininglog.columns import Column
from traininglog.values import MAX_TIME, check_time

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


def bounds(start: int | None, stop: int | None) -> tuple[int, int]:
    """Return the first and the last time from `start` on and before `stop`; None: no bound.

    Raises `InvalidTime`.

    >>> bounds(None, 10)
    (0, 9)
    """
    first = 0 if start is None else check_time(start)
    return first, MAX_TIME if stop is None else check_time(stop) - 1


def names(keys: str | Iterable[str] | None) -> list[str] | None:
    """Return the names or globs of keys that are asked for, of which one may come by itself."""
    return keys if keys is None else [keys] if isinstance(keys, str) else list(keys)


def check_layout(layout: str) -> None:
    """Raise `ValueError` unless a frame can be laid out so."""
    if layout not in ("wide", "long"):
        raise ValueError(f"layout must be 'wide' or 'long', not {layout!r}")


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
