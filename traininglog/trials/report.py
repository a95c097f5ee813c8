"""The report of a trial: its description and its results, as JSON."""

from __future__ import annotations

import json
import math

from traininglog.trials.entities import Trial
from traininglog.values import StoredRow, StoredValue


def report(trial: Trial, *, short: bool = True) -> StoredRow:
    """Return a trial as plain data for people. The short form leaves out fields for programs."""
    ends = {
        "revision": trial.revision,
        "name": trial.name,
        "description": trial.description,
        "version": trial.version,
        "tags": trial.tags,
        "parameters": trial.parameters,
        "metadata": trial.metadata,
        "metrics": trial.metrics,
        "chronos": trial.chronos,
        "errors": trial.errors,
        "status": trial.status.to_json(),
    }
    if short:
        return ends
    return {
        "uid": trial.uid,
        "hash": trial.hash,
        "project_id": trial.project_id,
        "group_id": trial.group_id,
        "groups": trial.groups,
        "log": trial.log,
        "created": trial.created,
        "started": trial.started,
        "finished": trial.finished,
        "environment": trial.environment,
        "artifacts": trial.artifacts,
    } | ends


def as_json(value: StoredValue) -> str:
    """Return plain data as strict JSON for people; NaN and infinities are texts."""
    return json.dumps(_shown(value), indent=2, allow_nan=False)


def _shown(value: StoredValue) -> object:
    if isinstance(value, dict):
        return {str(key): _shown(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)  # other values that a program wrote to the trial's log
