"""A table of trials, with one line per trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from traininglog.selection import Mode
from traininglog.trials.entities import Trial
from traininglog.trials.store import TrialStore
from traininglog.values import StoredRow, StoredValue

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = {
    "uid": "object", "project": "object", "group": "object", "name": "object",
    "revision": "int64", "version": "object", "status": "object", "created": "object",
    "started": "object", "finished": "object", "runtime": "object",
}  # fmt: skip

# The mappings of a line, and the prefix of the columns of each.
_KINDS = (("parameters", "parameters."), ("tags", "tags."), ("metrics", ""), ("best", "best."))


def lines(
    store: TrialStore, trials: Sequence[Trial], best: Mapping[str, Mode] | None = None
) -> list[StoredRow]:
    """Return one line of plain data per trial. Its ``metrics`` are the last values."""
    groups = {group.uid: group.name for group in store.fetch_groups()}
    inherited = {project.uid: project.tags for project in store.fetch_projects()}
    found = []
    for trial, ends in zip(trials, store.ends(trials, best), strict=True):
        found.append({
            "uid": trial.uid, "project": trial.project_id,
            "group": ", ".join(groups[uid] for uid in trial.groups if uid in groups) or None,
            "name": trial.name,
            "revision": trial.revision, "version": trial.version, "status": str(trial.status),
            "created": trial.created, "started": trial.started, "finished": trial.finished,
            "runtime": trial.runtime, "parameters": trial.parameters,
            "tags": {**inherited.get(trial.project_id, {}), **trial.tags},
            "metrics": {key: last for key, (last, _) in ends.items()},
            "best": {key: extreme for key, (_, extreme) in ends.items() if key in (best or {})},
        })  # fmt: skip
    return found


def frame(found: Sequence[Mapping[str, StoredValue]]) -> pd.DataFrame:
    """Return lines as a DataFrame: parameters as ``parameters.<name>``, metrics by their names.

    Tags of the trial and of its project are ``tags.<name>``.
    """
    from traininglog import frames

    more: list[tuple[str, list[object]]] = []
    for kind, prefix in _KINDS:
        names = dict.fromkeys(name for line in found for name in line[kind])
        for name in names:
            heading = f"metrics.{name}" if not prefix and name in _COLUMNS else prefix + name
            more.append((heading, [line[kind].get(name) for line in found]))
    columns = {name: _moment_or(kind, name, found) for name, kind in _COLUMNS.items()}
    values = [[column[place] for _, column in more] for place in range(len(found))]
    return frames.table(found, columns, [heading for heading, _ in more], values)


def _moment_or(kind: str, name: str, found: Sequence[Mapping[str, StoredValue]]) -> str:
    return "moment" if name in ("created", "started", "finished") else kind
