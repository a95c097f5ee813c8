"""The names that an expression may use, and what they mean for a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    if name.key is None:
        found = _FACTS[name.family][1](info)
        return MISSING if found is None else found
    if name.family in ("config", "tags"):
        return _described(info, "config" if name.family == "config" else "tags", name.key)
    if name.family == "last":
        point = info.last.get(name.key)
        return MISSING if point is None else point.value
    return extreme(info, name.family, name.key)


def extreme(info: RunInfo, which: str, key: str) -> float | Missing:
    """Return the least, the greatest or the best number of a key."""
    mode = info.goals.get(key) if which == "best" else which
    if mode is None:
        return MISSING
    return (info.least if mode == "min" else info.greatest).get(key, MISSING)


def _described(info: RunInfo, which: Described, key: str) -> object:
    there: object = info.config if which == "config" else info.tags
    if isinstance(there, Mapping) and key in there and "." not in key:
        found = there[key]
        if not isinstance(found, Mapping):
            return found
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
