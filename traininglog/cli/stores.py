"""Opening the store that a command names, and finding runs in it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

from traininglog.cli.mistakes import asking
from traininglog.cli.output.terminal import note
from traininglog.columns import Column
from traininglog.errors import AmbiguousRun

if TYPE_CHECKING:
    import pandas as pd

    from traininglog.sqlite.log import SQLiteLog
    from traininglog.sqlite.store import Store

_SHORTEST = 8  # digits of a UUID that are shown if they are enough


@contextmanager
def opened(where: str | None, *, readonly: bool = True, create: bool = False) -> Iterator[Store]:
    """Open a store, by default the configured one, and close it in the end."""
    from traininglog.stores import open_store

    with asking():
        store = open_store(where, readonly=readonly, create=create)
    with store:
        yield store


@contextmanager
def reading(store: Store, run: UUID) -> Iterator[SQLiteLog]:
    """Open the log of a run for reading, and close it in the end."""
    with store.log(run, readonly=True) as log:
        yield log


def chosen(store: Store, run: str | None) -> UUID:
    """Return the run that a prefix names, or the latest."""
    if run is not None:
        return store.find(run)
    latest = store.latest()
    if sys.stderr.isatty():
        note(f"run {shortest(store, latest.hex)}, the latest")
    return latest


def several(store: Store, runs: Sequence[str] | None) -> list[UUID]:
    """Return the runs that some prefixes name, each once, or else the latest."""
    if not runs:
        return [chosen(store, None)]
    return list(dict.fromkeys(store.find(run) for run in runs))


def shortest(store: Store, uuid: str) -> str:
    """Return as many digits of a run's UUID as name it: eight, or more if others start so too."""
    least, most = _SHORTEST, 32
    digits = least  # which mostly are enough; where not, all that start alike ask as often
    while least < most:
        try:
            store.find(uuid[:digits])
        except AmbiguousRun:
            least = digits + 1
        else:
            most = digits
        digits = (least + most) // 2
    return uuid[:most]


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the lines of a frame of runs as dicts, what is missing in them as None."""
    return [
        {str(key): _plain(value) for key, value in line.items()}
        for line in frame.to_dict("records")
    ]


def named(line: dict[str, Any]) -> str | None:
    """Return the name of a run out of its record."""
    name = line["name"]
    return name if isinstance(name, str) else None


def columns(frame: pd.DataFrame) -> list[Column]:
    """Return a long frame of one run by key, as plain values."""
    return [
        Column(str(key), part["time"].tolist(), part["value"].tolist())
        for key, part in frame.groupby("key", sort=False, observed=True)
    ]


def patterns(keys: Iterable[str] | None) -> list[str] | None:
    """Return what the user gave as keys, or None where nothing was given: all."""
    return list(keys) if keys else None


def _plain(value: Any) -> Any:
    if _missing(value):
        return None
    return value.to_pydatetime(warn=False) if hasattr(value, "to_pydatetime") else value


def _missing(value: Any) -> bool:
    # NaT and NA say so by differing from themselves, or by refusing to say.
    try:
        return bool(value != value)  # noqa: PLR0124 - NaN and NaT differ from themselves
    except TypeError:
        return True
    except ValueError:  # an array compares element by element
        return False
