"""`RunInfo`: the facts of a run that a store knows without reading its rows.

Lists, the command line and frames of runs use it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Literal
from uuid import UUID

from traininglog.columns import Point
from traininglog.errors import InvalidKey
from traininglog.flattening import flatten
from traininglog.near_names import instead
from traininglog.selection import Mode, is_glob, names
from traininglog.values import StoredValue

#: The state of a run: a live process is writing it, it was closed, an exception ended it, or its
#: process is gone without closing it.
State = Literal["running", "finished", "failed", "lost"]


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One run, as `Store.iter_runs` returns it.

    A key without a value is not in `last`. A value None is a `Point` with the value None, and its
    `kind` is ``"none"``. The `kind` of a NaN is ``"float"``. So the three differ.

    A fact is None if the line of the store that has it is damaged.
    """

    uuid: UUID
    #: The value of ``status["name"]``, if that is a text.
    name: str | None
    #: The state when the run was read. It is not stored, but computed from which writers are alive.
    state: State
    #: When the run began (UTC).
    created: datetime | None
    #: When it was last written (UTC).
    updated: datetime | None
    #: The machine that wrote it last.
    host: str | None
    #: The run that it was resumed from.
    resumed_from: UUID | None
    #: The last time of that run that it sees; -1: none of its rows.
    resumed_at: int | None
    #: The first and the last time that it logged: of a head with all that it sees of its ancestors.
    #: In a list of all runs, without them.
    first_time: int | None
    last_time: int | None
    #: The number of rows and of values, in the same way.
    rows: int
    values: int
    #: The last value of each key asked for, as the run sees it, with its time.
    last: Mapping[str, Point] = field(default_factory=dict)
    #: The smallest (or largest) number of each key asked for.
    best: Mapping[str, int | float] = field(default_factory=dict)
    #: The value of ``status["config"]`` and of ``status["tags"]``, if that is a dict.
    config: Mapping[str, StoredValue] | None = None
    tags: Mapping[str, StoredValue] | None = None
    #: The least and the greatest number of each key of which either was asked for.
    least: Mapping[str, int | float] = field(default_factory=dict)
    greatest: Mapping[str, int | float] = field(default_factory=dict)
    #: The value of ``status["notes"]``, if that is a text.
    notes: str | None = None
    #: The texts in ``status["groups"]``.
    groups: tuple[str, ...] = ()
    #: Which number of a key is its best, by ``status["goals"]``.
    goals: Mapping[str, Mode] = field(default_factory=dict)
    #: Whether it was put aside: lists leave it out unless it is asked for.
    archived: bool = False
    #: How often its experiment was resumed before it.
    resumes: int = 0
    #: Whether it stands for its experiment: no other run continues it, and it is no part.
    head: bool = True
    #: The run of which its experiment is a variant, if it is one.
    variant_of: UUID | None = None
    #: The run that it accompanies, if it is no experiment of its own.
    part_of: UUID | None = None


def resume_points(nearest: Iterable[int | None]) -> list[int]:
    """Return at which times what a run sees was resumed, in ascending order.

    Args:
        nearest: The resume points of the run and of its ancestors, its own first; None: it was not
            resumed. A run that goes on from time 5 does not see that its parent was resumed at 8.

    >>> resume_points([5, 8, 3, None])
    [3, 5]
    """
    found: set[int] = set()
    last: int | None = None
    for point in nearest:
        if point is None:
            break
        last = point if last is None else min(point, last)
        found.add(last)
    return sorted(point for point in found if point >= 0)


def resumes_of(info: RunInfo, every: Mapping[UUID, RunInfo]) -> list[int]:
    """Return the `resume_points` of a run, by all the runs of its store."""
    points = []
    one: RunInfo | None = info
    met: set[UUID] = set()  # a damaged file may have a circle
    while one is not None and one.uuid not in met:
        met.add(one.uuid)
        points.append(one.resumed_at)
        one = None if one.resumed_from is None else every.get(one.resumed_from)
    return resume_points(points)


#: The descriptions of a run that may have columns of their own.
Described = Literal["config", "tags"]


def description(info: RunInfo, which: Described) -> dict[str, StoredValue]:
    """Return the config or the tags of a run as one flat dict: ``{"optim.lr": 0.1}``.

    If two values have the same dotted name, the nested ones stay nested.
    """
    found = info.config if which == "config" else info.tags
    try:
        return flatten({**(found or {})}, ".")
    except InvalidKey:
        return dict(found or {})


def described(
    infos: Sequence[RunInfo], config: str | Iterable[str] | None, tags: str | Iterable[str] | None
) -> dict[str, list[StoredValue]]:
    """Return columns of the config and the tags of runs: a value per run, None where it has none.

    A column is called ``config.optim.lr`` or ``tags.seed``.

    Args:
        infos: The runs.
        config: Dotted names in the config, or globs of them; None: no column.
        tags: Likewise, in the tags.

    Raises:
        KeyError: No run has one of the names. It names those that are near.

    """
    wanted: dict[Described, list[str] | None] = {"config": names(config), "tags": names(tags)}
    return {
        f"{which}.{name}": column
        for which, asked in wanted.items()
        if asked is not None
        for name, column in _described(infos, which, asked).items()
    }


def _described(
    infos: Sequence[RunInfo], which: Described, asked: Sequence[str]
) -> dict[str, list[StoredValue]]:
    flat = [description(info, which) for info in infos]
    there = dict.fromkeys(name for each in flat for name in each)
    chosen: dict[str, None] = {}
    for pattern in asked:
        fits = [pattern] if pattern in there else []
        if not fits and is_glob(pattern):
            fits = [name for name in there if fnmatchcase(name, pattern)]
        elif not fits:
            raise KeyError(f"no run has {pattern!r} in its {which}; {instead(pattern, there)}")
        chosen |= dict.fromkeys(fits)
    return {name: [each.get(name) for each in flat] for name in chosen}
