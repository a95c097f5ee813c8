"""What can be said of a project, a group or a trial as it is made, for signatures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

from traininglog.values import Value

if TYPE_CHECKING:
    from traininglog.trials.entities import TrialGroup
    from traininglog.trials.statuses import AnyStatus

#: What to do where there is a trial of the same project, name, version and parameters.
Exist = Literal["increment", "raise", "get"]


class Described(TypedDict, total=False):
    """What a project, a group and a trial have in common besides a name."""

    description: str | None
    tags: Mapping[str, Value] | None
    metadata: Mapping[str, Value] | None


class TrialFields(Described, total=False):
    """What `Trial` takes, but for its parameters, and what its run adds."""

    name: str | None
    version: str | None
    project_id: str
    group_id: str | None
    revision: int
    groups: Iterable[str | TrialGroup]
    status: AnyStatus | str | Mapping[str, Value]


class TrialDefinition(TypedDict, total=False):
    """What tells a trial from others, beside its parameters."""

    name: str | None
    version: str | None
    project_id: str


class Search(TypedDict, total=False):
    """In which order what matches a query comes, and how much of it."""

    sort: str | Sequence[str] | None
    limit: int | None
