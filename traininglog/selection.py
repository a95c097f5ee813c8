"""Selecting the columns of a log, and the index, for a frame; asking for best values."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from traininglog.clock import Clock
from traininglog.columns import Column
from traininglog.flattening import SEPARATOR, advice
from traininglog.near_names import instead
from traininglog.values import MAX_TIME, check_time

if TYPE_CHECKING:
    from traininglog.base import TrainingLogBase

#: How a frame is laid out: a column per key, or a row per value.
Layout = Literal["wide", "long"]

#: Which of the numbers of a key is the best one.
Mode = Literal["min", "max"]


#: The indexes of a frame that are not keys.
_OWN: tuple[Literal["time", "wall", "elapsed"], ...] = ("time", "wall", "elapsed")


class Selection(NamedTuple):
    """A checked request for columns of a log."""

    columns: list[Column]  #: all columns that are needed, the index among them
    keys: list[str] | None  #: the keys to show, in order; None: all
    index_name: str  #: the name of the index in the request
    by: Literal["time", "wall", "elapsed", "key"]  #: the kind of index
    clock: Clock | None  #: None if no wall times are needed
    wall: bool  #: whether the frame gets a column of wall times

    def shown(self) -> list[str]:
        """Return the keys that get a column."""
        keys = [column.key for column in self.columns] if self.keys is None else self.keys
        return [key for key in keys if self.by != "key" or key != self.index_name]

    def name_of_time(self) -> str:
        """Return the name of the column of the log's times."""
        return apart("time", set(self.shown()))

    def name_of_wall(self) -> str:
        """Return the name of the column of wall times."""
        taken = {*self.shown(), self.index_name} if self.by == "key" else set(self.shown())
        return apart("wall", taken)


def apart(name: str, keys: Collection[str]) -> str:
    """Return the name of a column of our own beside columns of keys.

    A key keeps its name, and ours changes: beside a key "time" it is ``log.time``.

    >>> apart("time", ["loss"]), apart("time", ["loss", "time"])
    ('time', 'log.time')
    """
    while name in keys:
        name = f"log.{name}"
    return name


def bounds(start: int | None, stop: int | None) -> tuple[int, int]:
    """Return the first time from `start` on, and the last time before `stop`; None: no bound.

    Raises `InvalidTime`.

    >>> bounds(None, 10)
    (0, 9)
    """
    first = 0 if start is None else check_time(start)
    return first, MAX_TIME if stop is None else check_time(stop) - 1


def names(keys: str | Iterable[str] | None) -> list[str] | None:
    """Return the names or globs of keys as a list, also for a single one."""
    return keys if keys is None else [keys] if isinstance(keys, str) else list(keys)


def is_glob(pattern: str) -> bool:
    """Return whether a pattern may match several keys."""
    return any(character in pattern for character in "*?[")


def check_layout(layout: str) -> None:
    """Raise `ValueError` unless it is a layout of frames."""
    if layout not in ("wide", "long"):
        raise ValueError(f"layout must be 'wide' or 'long', not {layout!r}")


def modes(best: Mapping[str, Mode] | Iterable[str] | str | None) -> dict[str, Mode]:
    """Return the keys of the best values to return, with their modes; the default is "min"."""
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
    """Return the selection for the arguments of `TrainingLogBase.to_dataframe`."""
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
    # The clock is read after the columns, so it covers all their values, flushed or not.
    clock = log._read_clock(lineage=lineage) if wall or by in ("wall", "elapsed") else None
    return Selection(columns, chosen, index, by, clock, wall)


def _kind_of_index(log: TrainingLogBase, index: str) -> Literal["time", "wall", "elapsed", "key"]:
    for name in _OWN:
        if index == name and index not in log._read_keys():
            return name
    return "key"


def _match_keys(log: TrainingLogBase, patterns: Iterable[str]) -> list[str]:
    """Return the keys that match names and globs; a name matches itself."""
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
    """Return the column of a key. Raises `KeyError` if it has no value."""
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
            within = _within(log, known, key)
            raise KeyError(f"this log has no key {key!r}; {instead(key, seen)}{within}")


def advice_on(column: Column) -> str:
    """Return advice on dicts, to add to an error about missing numbers of a column."""
    found = next((value for value in column.values if isinstance(value, dict)), None)
    return advice(column.key, found)


def _within(log: TrainingLogBase, known: Collection[str], key: str) -> str:
    """Return the same advice for a key like "train/loss" if "train" holds dicts."""
    head, _, rest = key.partition(SEPARATOR)
    if not rest or head not in known:
        return ""
    (column,) = log._read_columns([head], None, None, lineage=True)
    return advice_on(column)
