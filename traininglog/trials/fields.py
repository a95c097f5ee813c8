"""The fields of a new project, group or trial, as types for signatures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

from traininglog.values import Value

if TYPE_CHECKING:
    from traininglog.trials.entities import TrialGroup
    from traininglog.trials.statuses import AnyStatus

#: What to do if the store has a trial of the same project, name, version and parameters.
Exist = Literal["increment", "raise", "get"]


class Described(TypedDict, total=False):
    """The fields that projects, groups and trials share, without the name."""

    description: str | None
    tags: Mapping[str, Value] | None
    metadata: Mapping[str, Value] | None


class TrialFields(Described, total=False):
    """The arguments of `Trial`, without its parameters and the fields that its run adds."""

    name: str | None
    version: str | None
    project_id: str
    group_id: str | None
    revision: int
    groups: Iterable[str | TrialGroup]
    status: AnyStatus | str | Mapping[str, Value]


class TrialDefinition(TypedDict, total=False):
    """The fields that identify a trial, without its parameters."""

    name: str | None
    version: str | None
    project_id: str


class Search(TypedDict, total=False):
    """The order and the number of the results of a query."""

    sort: str | Sequence[str] | None
    limit: int | None
