"""What was asked: the columns of a log that are to become a frame, their index; best values."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from traininglog.clock import Clock
from traininglog.columns import Column
from traininglog.flattening import SEPARATOR, advice
from traininglog.values import MAX_TIME, check_time

if TYPE_CHECKING:
    from traininglog.base import TrainingLogBase

#: How a frame is laid out: a column per key, or a row per value.
Layout = Literal["wide", "long"]

#: Which of the numbers of a key is the best one.
Mode = Literal["min", "max"]


#: What a frame can be indexed by that is no key.
_OWN: tuple[Literal["time", "wall", "elapsed"], ...] = ("time", "wall", "elapsed")


class Selection(NamedTuple):
    """The columns of a log that were asked for, as it was checked."""

    columns: list[Column]  #: all that are needed, the index among them
    keys: list[str] | None  #: what to show of them, in order; None: all
    index_name: str  #: what the index was called by who asked
    by: Literal["time", "wall", "elapsed", "key"]  #: what kind of index that is
    clock: Clock | None  #: if wall times are needed
    wall: bool  #: whether there is to be a column of wall times

    def shown(self) -> list[str]:
        """Return the keys that get a column."""
        keys = [column.key for column in self.columns] if self.keys is None else self.keys
        return [key for key in keys if self.by != "key" or key != self.index_name]

    def name_of_time(self) -> str:
        """Return what the column of the log's times is called."""
        return apart("time", set(self.shown()))

    def name_of_wall(self) -> str:
        """Return what the column of wall times is called."""
        taken = {*self.shown(), self.index_name} if self.by == "key" else set(self.shown())
        return apart("wall", taken)


def apart(name: str, keys: Collection[str]) -> str:
    """Return the name of a column of ours that stands beside columns of keys.

    A key is called what it is called: ours gives way, as ``log.time`` does to a key "time".

    >>> apart("time", ["loss"]), apart("time", ["loss", "time"])
    ('time', 'log.time')
    """
    while name in keys:
        name = f"log.{name}"
    return name


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


def is_glob(pattern: str) -> bool:
    """Tell whether what is asked for may stand for several keys."""
    return any(character in pattern for character in "*?[")


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


def select(
    log: TrainingLogBase,
    keys: str | Iterable[str] | None,
    start: int | None,
    stop: int | None,
    layout: Layout,
    lineage: bool,
    index: str | None,
    wall: bool,
) -> Selection:
    """Return what the arguments of `TrainingLogBase.to_dataframe` ask for."""
    check_layout(layout)
    if layout == "long" and index not in (None, "time"):
        raise ValueError("index applies to the wide layout only: a long frame has a time column")
    by = "time" if layout == "long" or index is None else _kind_of_index(log, index)
    index = index or "time"
    asked = names(keys)
    chosen = None if asked is None else _match_keys(log, asked)
    wanted = chosen
    if chosen is not None and by == "key" and index not in chosen:
        wanted = [*chosen, index]
    columns = log._read_columns(
        wanted,
        None if start is None else check_time(start),
        None if stop is None else check_time(stop),
        lineage=lineage,
    )
    found = {column.key for column in columns}
    missing = set(wanted or ()) - found
    if by == "key" and index not in found:
        missing.add(index)
    if missing:
        require_keys(log, missing)
    # The clock comes after the columns: whatever they have that is not flushed, it knows of.
    clock = log._read_clock(lineage=lineage) if wall or by in ("wall", "elapsed") else None
    return Selection(columns, chosen, index, by, clock, wall)


def _kind_of_index(log: TrainingLogBase, index: str) -> Literal["time", "wall", "elapsed", "key"]:
    for name in _OWN:
        if index == name and index not in log._read_keys():
            return name
    return "key"


def _match_keys(log: TrainingLogBase, patterns: Iterable[str]) -> list[str]:
    """Return the keys that names and globs stand for; a name stands for itself."""
    seen: dict[str, None] | None = None
    chosen: dict[str, None] = {}
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(f"keys are names or globs, not {type(pattern).__name__}")
        if not is_glob(pattern):
            chosen[pattern] = None
            continue
        if seen is None:
            seen = dict.fromkeys(log._read_keys())
        if pattern in seen:  # a key may itself look like a glob
            chosen[pattern] = None
        else:
            chosen.update(dict.fromkeys(k for k in seen if fnmatch.fnmatchcase(k, pattern)))
    return list(chosen)


def column_of(log: TrainingLogBase, key: str) -> Column:
    """Return what a log has of a key. Raises `KeyError` where that is nothing."""
    columns = log._read_columns([key], None, None, lineage=True)
    if not columns:
        require_keys(log, [key])
        raise KeyError(key)
    return columns[0]


def require_keys(log: TrainingLogBase, keys: Iterable[str]) -> None:
    """Raise `KeyError` for a key that a log does not have."""
    seen = log._read_keys()
    known = set(seen)
    for key in keys:
        if key not in known:
            some = ", ".join(map(repr, seen[:20])) or "none yet"
            raise KeyError(f"this log has no key {key!r}; it has: {some}{_within(log, known, key)}")


def advice_on(column: Column) -> str:
    """Return, to be added to what is raised where numbers are missing, what to do about dicts."""
    found = next((value for value in column.values if isinstance(value, dict)), None)
    return advice(column.key, found)


def _within(log: TrainingLogBase, known: Collection[str], key: str) -> str:
    """Return the same for a key such as "train/loss", where dicts were logged under "train"."""
    head, _, rest = key.partition(SEPARATOR)
    if not rest or head not in known:
        return ""
    (column,) = log._read_columns([head], None, None, lineage=True)
    return advice_on(column)
