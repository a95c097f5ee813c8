"""The errors of trials. All are `TrainingLogError`."""

from __future__ import annotations

from traininglog.errors import TrainingLogError


class TrialNotFound(TrainingLogError, LookupError):
    """The store has no such trial."""

    code = "trial-not-found"


class ProjectNotFound(TrainingLogError, LookupError):
    """The store has no project of that name, and the call creates none."""

    code = "project-not-found"


class GroupNotFound(TrainingLogError, LookupError):
    """The project has no group of that name, and the call creates none."""

    code = "group-not-found"


class TrialExists(TrainingLogError, ValueError):
    """The store already has a trial with this hash and revision."""

    code = "trial-exists"


class AlreadySet(TrainingLogError, ValueError):
    """The client already has another project, group or trial."""

    code = "already-set"


class TrialNeedsParameters(TrainingLogError, RuntimeError):
    """The trial has no parameters yet, which are a part of its identity."""

    code = "trial-needs-parameters"


class ParametersFixed(TrainingLogError, ValueError):
    """The parameters of a trial cannot change: they are a part of its identity."""

    code = "parameters-fixed"


class InvalidMetric(TrainingLogError, TypeError):
    """A metric is no number, or was logged both with and without steps."""

    code = "invalid-metric"


class InvalidQuery(TrainingLogError, ValueError):
    """A query has an unknown field or operator, or two operators in place of one."""

    code = "invalid-query"


class UnknownStatus(TrainingLogError, ValueError):
    """No status has this name or number."""

    code = "unknown-status"


class InvalidName(TrainingLogError, ValueError):
    """A name is empty, too long, or would lead out of a folder."""

    code = "invalid-name"


class UnknownAttribute(TrainingLogError, ValueError):
    """The store has no update of this name."""

    code = "unknown-attribute"


class InvalidParameter(TrainingLogError, TypeError):
    """A parameter, tag or metadata value is not plain data."""

    code = "invalid-parameter"
