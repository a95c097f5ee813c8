"""Updates: what a method of a store does to the first record that matches a query.

An update has two steps. The first one changes the record, and only one process can make that
change: so each of several processes gets a different record. Many methods have only this step. The
others then act on the record that the process has claimed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from traininglog.trials.entities import Record
from traininglog.trials.lifetimes import endings
from traininglog.trials.lifetimes.processes import refuse_busy
from traininglog.trials.search.changes import (
    GROUP_CHANGES,
    TRIAL_CHANGES,
    Change,
    set_status,
    touch,
)
from traininglog.trials.statuses import Status
from traininglog.trials.trial_errors import UnknownAttribute

if TYPE_CHECKING:
    from traininglog.trials.store import TrialStore

#: The second step: called with the UID of the changed record.
Act = Callable[[str], object]

#: The methods that can change a trial, and those that can change a group.
TrialUpdate = Literal[
    "set_trial_status", "add_trial_tags", "log_trial_metadata", "remove_group_trial",
    "log_trial_start", "log_trial_metrics", "log_trial_chrono_start", "log_trial_chrono_finish",
    "log_trial_finish", "log_trial_arguments", "add_group_trial", "add_project_trial",
    "keep_artifact", "keep_environment", "resume",
]  # fmt: skip
GroupUpdate = Literal[
    "set_group_metadata", "add_group_tags", "add_group_trial", "remove_group_trial"
]

#: The methods that start a trial if it is not running.
STARTING = frozenset({"log_trial_start", "log_trial_metrics", "log_trial_chrono_start"})

_ACTS = {
    "trial": (
        *sorted(STARTING), "log_trial_chrono_finish", "log_trial_finish", "log_trial_arguments",
        "add_group_trial", "add_project_trial", "keep_artifact", "keep_environment", "resume",
    ),
    "group": ("add_group_trial", "remove_group_trial"),
}  # fmt: skip
_CHANGES: Mapping[str, Mapping[str, Callable[..., Change]]] = {
    "trial": TRIAL_CHANGES, "group": GROUP_CHANGES,
}  # fmt: skip


def update_of(
    store: TrialStore,
    kind: str,
    attribute: str,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
) -> tuple[Change, Act | None]:
    """Return the two steps of a method for a record of this kind.

    Raises `UnknownAttribute` if there is no such method, and `TypeError` for wrong arguments.
    """
    changes, acts = _CHANGES[kind], _ACTS[kind]
    if attribute in changes:
        return changes[attribute](*args, **kwargs), None
    if attribute not in acts:
        raise UnknownAttribute(
            f"there is no update {attribute!r:.80} of a {kind}; there are: "
            f"{', '.join(sorted((*changes, *acts)))}"
        )
    verb: Callable[..., object] = getattr(store, attribute)
    place = list(inspect.signature(verb).parameters).index(kind)

    def act(uid: str) -> object:
        return verb(*args[:place], uid, *args[place:], **kwargs)

    given = inspect.signature(verb).bind(*args[:place], "", *args[place:], **kwargs).arguments
    if attribute in STARTING:
        return _start, act
    if attribute == "log_trial_finish":
        error = endings.error_of(given.get("exc_type"), given.get("exc_val"))
        return set_status(endings.outcome(error, signalled=False)), act
    return touch, act


def _start(record: Record) -> None:
    refuse_busy(record)
    if record["status"]["value"] != Status.Running.value:
        set_status(Status.Running)(record)
