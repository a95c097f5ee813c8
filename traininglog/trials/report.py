"""The report of a trial: its description and its results, as plain data for JSON."""

from __future__ import annotations

from traininglog.trials.entities import Trial
from traininglog.values import StoredRow


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
