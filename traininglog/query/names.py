"""The names that an expression may use, and what they mean for a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Final, Literal
from uuid import UUID

from traininglog.query.expression import Named
from traininglog.run_info import Described, RunInfo, description

#: What a fact can be compared with; None: that depends on the run.
Comparable = Literal["text", "number", "truth", "moment", "collection"]


class Missing(Enum):
    """The type of `MISSING`."""

    MISSING = "missing"

    def __bool__(self) -> bool:
        return False


#: What `fact_of` returns where a run has no such fact.
MISSING: Final = Missing.MISSING


def _hex(uuid: UUID | None) -> str | None:
    return None if uuid is None else uuid.hex


_FACTS: dict[str, tuple[Comparable, Callable[[RunInfo], object]]] = {
    "uuid": ("text", lambda info: info.uuid.hex),
    "name": ("text", lambda info: info.name),
    "state": ("text", lambda info: info.state),
    "created": ("moment", lambda info: info.created),
    "updated": ("moment", lambda info: info.updated),
    "host": ("text", lambda info: info.host),
    "resumed_from": ("text", lambda info: _hex(info.resumed_from)),
    "variant_of": ("text", lambda info: _hex(info.variant_of)),
    "part_of": ("text", lambda info: _hex(info.part_of)),
    "resumes": ("number", lambda info: info.resumes),
    "first": ("number", lambda info: info.first_time),
    "last": ("number", lambda info: info.last_time),
    "rows": ("number", lambda info: info.rows),
    "values": ("number", lambda info: info.values),
    "notes": ("text", lambda info: info.notes),
    "archived": ("truth", lambda info: info.archived),
    "groups": ("collection", lambda info: info.groups),
    "tags": ("collection", lambda info: info.tags),
    "config": ("collection", lambda info: info.config),
}

#: Names that stand alone.
FACTS: Final = tuple(_FACTS)

#: Names that want a key.
FAMILIES: Final = ("config", "tags", "last", "min", "max", "best")

#: What something may be in.
COLLECTIONS: Final = ("tags", "groups", "config")


def kind_of(name: Named) -> Comparable | None:
    """Return of which kind a fact is in every run; None: that depends on the run."""
    if name.key is None:
        return _FACTS[name.family][0]
    return "number" if name.family in ("min", "max", "best") else None


def fact_of(info: RunInfo, name: Named) -> object:
    """Return a fact of a run, and `MISSING` where the run has none."""
    return reader(name)(info)


def reader(name: Named) -> Callable[[RunInfo], object]:
    """Return a function that returns a fact of a run, and `MISSING` where the run has none."""
    family, key = name.family, name.key
    if key is None:
        fact = _FACTS[family][1]

        def read(info: RunInfo) -> object:
            found = fact(info)
            return MISSING if found is None else found

        return read
    if family in ("config", "tags"):
        which: Described = "config" if family == "config" else "tags"
        path = key.split(".")
        return lambda info: _described(info, which, key, path)
    if family == "last":

        def read_last(info: RunInfo) -> object:
            point = info.last.get(key)
            return MISSING if point is None else point.value

        return read_last
    return lambda info: extreme(info, family, key)


def extreme(info: RunInfo, which: str, key: str) -> float | Missing:
    """Return the least, the greatest or the best number of a key."""
    mode = info.goals.get(key) if which == "best" else which
    if mode is None:
        return MISSING
    return (info.least if mode == "min" else info.greatest).get(key, MISSING)


def _described(info: RunInfo, which: Described, key: str, path: Sequence[str]) -> object:
    there: object = info.config if which == "config" else info.tags
    if there is None:
        return MISSING
    if isinstance(there, dict) and (len(path) == 1 or key not in there):
        # Mostly each part of the name is the name of a dict in a dict: there the value is found
        # without making the whole of it flat.
        for part in path:
            there = there.get(part, MISSING) if isinstance(there, dict) else MISSING
        if there is not MISSING and not isinstance(there, Mapping):
            return there
    flat = description(info, which)
    if key in flat:
        return flat[key]
    within = [name for name in flat if name.startswith(f"{key}.")]
    return {name.removeprefix(f"{key}."): flat[name] for name in within} if within else MISSING


def moment(text: str) -> datetime | None:
    """Return a date, perhaps with a time, as a datetime; without a time zone it is UTC.

    None: the text is no date.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
