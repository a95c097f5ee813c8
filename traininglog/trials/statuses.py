"""How a trial stands: `Status`, and statuses of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from traininglog.trials.trial_errors import UnknownStatus
from traininglog.values import StoredRow, StoredValue


class _Compared:
    """Statuses are equal if name and number are, whichever class they have, and order by number."""

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
    """How a trial stands. The hundreds tell the group: 0 made, 1 at work, 2 in error, 3 ended.

    >>> Status.Completed.value
    302
    """

    CreatedGroup = 0  #: it was described, and has not begun
    RunningGroup = 100
    Running = 101  #: a live process is at it
    ErrorGroup = 200
    Interrupted = 201  #: by SIGINT or SIGTERM
    Exception = 202  #: one that nobody caught ended it
    Broken = 203  #: its process is gone without a word
    FinishedGroup = 300
    Suspended = 301  #: it was put aside, to be gone on with
    Completed = 302  #: it came to its end

    __hash__ = _Compared.__hash__  # an Enum would hash by its name alone


class CustomStatus(_Compared):
    """A status of one's own: a name and a number, neither of which is that of another `Status`.

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
    """Return the status that something names: itself, a name in any case, a number, or its JSON.

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
