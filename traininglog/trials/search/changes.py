"""Changes of a record, as functions. An update makes one before it knows which record it gets."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from traininglog.plain_json import escaped
from traininglog.trial_records import groups_of, with_groups
from traininglog.trials.entities import Record, TrialGroup, uid_of_group
from traininglog.trials.lifetimes.processes import this_process
from traininglog.trials.plain import plain_data, plain_dict
from traininglog.trials.statuses import AnyStatus, Status, status_of
from traininglog.values import StoredValue, Value

Change = Callable[[Record], None]


def set_status(status: AnyStatus | str, error: BaseException | Value = None) -> Change:
    """Set the status, and append an error. Running makes this process the trial's owner."""
    new = status_of(status)
    noted = None if error is None else escaped(plain_data(error, "the error"))

    def change(record: Record) -> None:
        record["status"] = new.to_json()
        if new == Status.Running:
            record["owner"] = this_process()
            record["started"] = record["started"] or time.time()
            record["finished"] = None
        if noted is not None:
            record["errors"] = [*record["errors"], noted]

    return change


def add_to(field: str, values: Mapping[str, StoredValue]) -> Change:
    """Set values of a field that maps names to plain data; its other values stay."""
    new = escaped(plain_dict(values, field))
    return lambda record: record.update({field: record[field] | new})


def add_group(group: TrialGroup | str) -> Change:
    """Add a trial to a group; it stays in its other groups."""
    uid = uid_of_group(group)
    return lambda record: record.update(with_groups(record, [*groups_of(record), uid]))


def remove_group(group: TrialGroup | str) -> Change:
    """Remove a trial from a group."""
    uid = uid_of_group(group)
    return lambda record: record.update(
        with_groups(record, [one for one in groups_of(record) if one != uid])
    )


def touch(record: Record) -> None:
    """Change nothing. The new edit number alone tells other processes that one came first."""


#: The methods of a store that only change a record, each as a function from its arguments (without
#: the trial or the group) to the change.
TRIAL_CHANGES: dict[str, Callable[..., Change]] = {
    "set_trial_status": set_status,
    "add_trial_tags": lambda **tags: add_to("tags", tags),
    "log_trial_metadata": lambda **metadata: add_to("metadata", metadata),
    "remove_group_trial": remove_group,
}
GROUP_CHANGES: dict[str, Callable[..., Change]] = {
    "set_group_metadata": lambda **metadata: add_to("metadata", metadata),
    "add_group_tags": lambda **tags: add_to("tags", tags),
}
