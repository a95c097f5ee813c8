"""What a report shows, read from a store: the runs, their curves, their groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from traininglog.columns import Column
from traininglog.errors import RunNotFound
from traininglog.markup.thinning import CurvePoints, points_of
from traininglog.query.groups import Group, grouped, with_numbers
from traininglog.query.parser import parse_name
from traininglog.reports.wanted import ManyRuns, Wanted
from traininglog.run_info import RunInfo, description, resumes_of
from traininglog.selection import Mode
from traininglog.values import StoredValue

#: A report shows at most so many panels of curves.
MOST_PANELS = 12
_POINTS_OF_A_PANEL = 12_000
_FEWEST_POINTS, _MOST_POINTS = 80, 800


@dataclass(frozen=True, slots=True)
class ReportContents:
    """What a report shows. All lists of runs are in one order."""

    location: str
    made: datetime
    wanted: Wanted
    infos: list[RunInfo]
    there: int  #: how many experiments fit what was asked
    every: list[RunInfo]  #: all the runs of the store, for the lineage
    keys: list[str]  #: the keys that the runs have
    goals: dict[str, Mode]
    groups: list[Group]
    panels: list[
        tuple[str, list[tuple[int, CurvePoints]]]
    ]  #: by key: the number of a run, its curve
    panels_left_out: list[str]
    resumes: list[list[int]]  #: the resume points that each run sees
    config: list[dict[str, StoredValue]]  #: flat
    origins: list[dict[str, Any]]


def read(store: ManyRuns, location: str, wanted: Wanted) -> ReportContents:
    """Read what a report shows. Raises what `Store.iter_runs` raises."""
    known = store.keys_seen(wanted.keys)
    extremes = known if wanted.of in ("min", "max", "best") else []
    goals = _goals(store, wanted)
    asked = dict.fromkeys(extremes, "min") | {
        key: mode for key, mode in goals.items() if key in known
    }
    found = [
        info
        for info in store.iter_runs(
            known, best=asked or None, where=wanted.where, sort=wanted.sort,
            archived=wanted.archived or wanted.runs is not None,
        )
        if wanted.runs is None or info.uuid in wanted.runs
    ]  # fmt: skip
    infos = found[: wanted.limit] if wanted.sort else found[-wanted.limit :]
    keys = [key for key in known if any(key in info.last for info in infos)]
    groups: list[Group] = []
    if wanted.group_by:
        by = [parse_name(name) for name in wanted.group_by]
        groups = with_numbers(grouped(found, by, known, wanted.of))
    every = list(store.iter_runs(heads=False, archived=True))
    panels, left_out = _panels(store, infos, keys)
    parents = {info.uuid: info for info in every}
    return ReportContents(
        location, datetime.now(UTC), wanted, infos, len(found), every, keys, goals, groups,
        panels, left_out, [resumes_of(info, parents) for info in infos],
        [description(info, "config") for info in infos], [_origin(store, i.uuid) for i in infos],
    )  # fmt: skip


def _goals(store: ManyRuns, wanted: Wanted) -> dict[str, Mode]:
    """Return which number of a key is best, for the keys of which all runs say the same."""
    said: dict[str, set[Mode]] = {}
    for info in store.iter_runs(where=wanted.where, archived=True):
        for key, mode in info.goals.items():
            said.setdefault(key, set()).add(mode)
    return {key: next(iter(modes)) for key, modes in said.items() if len(modes) == 1}


def _panels(
    store: ManyRuns, infos: Sequence[RunInfo], keys: Sequence[str]
) -> tuple[list[tuple[str, list[tuple[int, CurvePoints]]]], list[str]]:
    drawn = [key for key in keys if any(_may_be_drawn(info, key) for info in infos)]
    chosen, left_out = drawn[:MOST_PANELS], drawn[MOST_PANELS:]
    if not chosen:
        return [], left_out
    columns: dict[str, list[Column]] = store.columns([info.uuid for info in infos], chosen)
    share = _POINTS_OF_A_PANEL // max(1, len(infos))
    most = min(_MOST_POINTS, max(_FEWEST_POINTS, share))
    curves: dict[str, list[tuple[int, CurvePoints]]] = {key: [] for key in chosen}
    for number, info in enumerate(infos):
        for column in columns.get(info.uuid.hex, ()):
            points = points_of(column, most)
            if points is not None:
                curves[column.key].append((number, points))
    return [(key, found) for key, found in curves.items() if found], left_out


def _may_be_drawn(info: RunInfo, key: str) -> bool:
    return key in info.last and isinstance(info.last[key].value, (int, float, type(None)))


def _origin(store: ManyRuns, uuid: UUID) -> dict[str, Any]:
    try:
        return dict(store.origin(uuid))
    except RunNotFound:  # deleted since it was listed
        return {}
