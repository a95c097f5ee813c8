"""Statuses of trials: `Status`, and `CustomStatus` for a program's own."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from traininglog.trials.trial_errors import UnknownStatus
from traininglog.values import StoredRow, StoredValue


class _Compared:
    """Compares statuses of both classes: equal by name and number, ordered by number."""

    name: Any
    value: StoredValue

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Compared):
            return NotImplemented
        return bool((self.name, self.value) == (other.name, other.value))

    def __hash__(self) -> int:
        return hash((self.name, self.value))

    def __lt__(self, other: _Compared) -> bool:
        if not isinstance(other, _Compared):
            return NotImplemented
        return bool(self.value < other.value)

    def __str__(self) -> str:
        return str(self.name)

    def to_json(self) -> StoredRow:
        """Return the status as plain data."""
        return {"value": self.value, "name": self.name}


class Status(_Compared, Enum):
    """The status of a trial. Its hundreds are a group: 0 created, 1 running, 2 error, 3 finished.

    >>> Status.Completed.value
    302
    """

    CreatedGroup = 0  #: the trial is described, and has not started
    RunningGroup = 100
    Running = 101  #: a live process runs the trial
    ErrorGroup = 200
    Interrupted = 201  #: SIGINT or SIGTERM ended it
    Exception = 202  #: an uncaught exception ended it
    Broken = 203  #: its process died without recording an end
    FinishedGroup = 300
    Suspended = 301  #: the program put it aside, to continue it later
    Completed = 302  #: it reached its end

    __hash__ = _Compared.__hash__  # an Enum would hash by its name alone


class CustomStatus(_Compared):
    """A program's own status: a name and a number that no `Status` has.

    >>> CustomStatus("Queued", 50) < Status.Running
    True
    """

    __slots__ = ("name", "value")

    def __init__(self, name: str, value: int) -> None:
        if not isinstance(name, str) or not name:
            raise UnknownStatus(f"the name of a status is a text, not {name!r}")
        if isinstance(value, bool) or not isinstance(value, int):
            raise UnknownStatus(f"the number of a status is an int, not {value!r}")
        for known in Status:
            if (known.name == name) != (known.value == value):
                raise UnknownStatus(
                    f"{known.name} is {known.value}: a status of your own needs another name "
                    "and another number"
                )
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "value", int(value))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a status does not change: make another one")

    def __repr__(self) -> str:
        return f"CustomStatus({self.name!r}, {self.value})"

    def __reduce__(self) -> Any:
        return CustomStatus, (self.name, self.value)


AnyStatus = Status | CustomStatus

_BY_NAME = {status.name: status for status in Status}


def status_of(value: object) -> AnyStatus:
    """Return the status of a value: a status, a name in any case, a number, or a status's JSON.

    Raises `UnknownStatus`.

    >>> status_of("running")
    <Status.Running: 101>
    """
    if isinstance(value, (Status, CustomStatus)):
        return value
    if isinstance(value, Mapping) and set(value) == {"name", "value"}:
        stored = _BY_NAME.get(value["name"])
        if stored is not None and stored.value == value["value"]:
            return stored
        return CustomStatus(value["name"], value["value"])
    for known in Status:
        if isinstance(value, str) and known.name.lower() == value.lower():
            return known
        if type(value) is int and known.value == value:
            return known
    raise UnknownStatus(
        f"there is no status {value!r}; there are: {', '.join(known.name for known in Status)}, "
        "and CustomStatus(name, value)"
    )
