"""Trials: describe an experiment, run it, find it again.

>>> from traininglog.trials import TrialClient
>>> client = TrialClient("memory:")
>>> project = client.set_project(name="paper")
>>> trial = client.new_trial(name="first", version="a8c3", parameters={"lr": 0.1})
>>> with trial:
...     for step in range(3):
...         trial.log_metrics(step=step, loss=1 / (step + 1))
...     trial.log_metrics(accuracy=0.98)
>>> (found,) = client.fetch_trials({"parameters.lr": {"$lt": 0.5}})
>>> str(found.status), found.metrics["accuracy"], found.metrics["loss"][1]
('Completed', [0.98], 0.5)

A trial owns a training log (`trial.log`). Its metrics are the entries of that log, so they have all
guarantees of a log. The records are stored beside the logs: in the same SQLite file, in memory, in
one JSON document, or in a store that a program registers.
"""

from __future__ import annotations

from traininglog.stores import register_records as register
from traininglog.trials.client import TrialClient
from traininglog.trials.entities import Project, Trial, TrialGroup
from traininglog.trials.fields import Exist, TrialFields
from traininglog.trials.logger import TrialLogger
from traininglog.trials.measures.aggregators import (
    Aggregator,
    RingAggregator,
    StatAggregator,
    TimeSeriesAggregator,
    ValueAggregator,
)
from traininglog.trials.measures.throttles import throttle_repeated, throttled
from traininglog.trials.measures.timing import Chrono, EstimatedTime
from traininglog.trials.multiplexer import Multiplexer
from traininglog.trials.statuses import CustomStatus, Status, status_of
from traininglog.trials.store import TrialStore
from traininglog.trials.surroundings.versions import compute_version, default_version, git_version
from traininglog.trials.trial_errors import (
    AlreadySet,
    GroupNotFound,
    InvalidMetric,
    InvalidName,
    InvalidParameter,
    InvalidQuery,
    ParametersFixed,
    ProjectNotFound,
    TrialExists,
    TrialNeedsParameters,
    TrialNotFound,
    UnknownAttribute,
    UnknownStatus,
)

__all__ = [
    "Aggregator",
    "AlreadySet",
    "Chrono",
    "CustomStatus",
    "EstimatedTime",
    "Exist",
    "GroupNotFound",
    "InvalidMetric",
    "InvalidName",
    "InvalidParameter",
    "InvalidQuery",
    "Multiplexer",
    "ParametersFixed",
    "Project",
    "ProjectNotFound",
    "RingAggregator",
    "StatAggregator",
    "Status",
    "TimeSeriesAggregator",
    "Trial",
    "TrialClient",
    "TrialExists",
    "TrialFields",
    "TrialGroup",
    "TrialLogger",
    "TrialNeedsParameters",
    "TrialNotFound",
    "TrialStore",
    "UnknownAttribute",
    "UnknownStatus",
    "ValueAggregator",
    "compute_version",
    "default_version",
    "git_version",
    "register",
    "status_of",
    "throttle_repeated",
    "throttled",
]
