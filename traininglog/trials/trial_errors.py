"""What can go wrong with trials, by name. All are `TrainingLogError`."""

from __future__ import annotations

from traininglog.errors import TrainingLogError


class TrialNotFound(TrainingLogError, LookupError):
    """No trial like that is in the store."""

    code = "trial-not-found"


class ProjectNotFound(TrainingLogError, LookupError):
    """No project of that name is in the store, and none was to be made."""

    code = "project-not-found"


class GroupNotFound(TrainingLogError, LookupError):
    """No group of that name is in the project, and none was to be made."""

    code = "group-not-found"


class TrialExists(TrainingLogError, ValueError):
    """A trial with this hash and revision is in the store already."""

    code = "trial-exists"


class AlreadySet(TrainingLogError, ValueError):
    """The client has a project, group or trial already, and another one was given."""

    code = "already-set"


class TrialNeedsParameters(TrainingLogError, RuntimeError):
    """A trial that has no parameters yet was used: they are a part of its identity."""

    code = "trial-needs-parameters"


class ParametersFixed(TrainingLogError, ValueError):
    """The parameters of a trial were to be changed: they are a part of its identity."""

    code = "parameters-fixed"


class InvalidMetric(TrainingLogError, TypeError):
    """A metric that is no number, or that is logged now with a step and now without."""

    code = "invalid-metric"


class InvalidQuery(TrainingLogError, ValueError):
    """A query with a field or an operator that does not exist, or with two where one is meant."""

    code = "invalid-query"


class UnknownStatus(TrainingLogError, ValueError):
    """A name or number that no status has."""

    code = "unknown-status"


class InvalidName(TrainingLogError, ValueError):
    """A name that is empty, too long, or would lead out of a folder."""

    code = "invalid-name"


class UnknownAttribute(TrainingLogError, ValueError):
    """An update that a store does not know was asked for."""

    code = "unknown-attribute"


class InvalidParameter(TrainingLogError, TypeError):
    """A parameter, tag or metadata of a type that is not plain data."""

    code = "invalid-parameter"
