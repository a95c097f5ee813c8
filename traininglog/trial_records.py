"""Checks of the records of projects, groups, trials and environments, for every store.

A record is a dict that strict JSON can hold. Anybody may have written a file, so a store checks its
records here before other code relies on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from traininglog.kept import is_hash
from traininglog.plain_json import record_items
from traininglog.values import StoredValue

#: The kinds of records, each after the kinds that it refers to.
KINDS = ("project", "group", "environment", "trial")

#: The deepest nesting of a record. The writers nest no deeper than about half of this.
_DEEPEST = 256
_FIRST, _LAST = -62_135_596_800, 253_402_300_799  # seconds: the years 1 to 9999
_MAX_INT = 2**63 - 1
_HEX = frozenset("0123456789abcdef")

Check = Callable[[object], bool]


def flaw_of(kind: str, uid: str, record: object) -> str | None:
    """Return why a record of a kind with a UID is impossible, as a text, or None if it is not."""
    if not isinstance(record, dict):
        return f"it is no record of a {kind}"
    fields = _FIELDS[kind]
    missing = sorted(fields.keys() - record.keys())
    if missing:
        return f"it is not that of a {kind}: no {', '.join(missing)}"
    flaw = _flaw_of_json(record)
    if flaw is not None:
        return flaw
    if not is_moment(record.get("made", 0)):
        return f"it cannot have been made at {record['made']!r:.40}"
    if record["uid"] != uid:
        return f"it stands under another UID than its own, {record['uid']!r:.80}"
    for name, check in fields.items():
        if not check(record[name]):
            return f"it cannot have {record[name]!r:.40} as {name}"
    if not _are_groups(record.get("groups", [])):
        return f"it cannot be in the groups {record['groups']!r:.40}"
    if kind == "trial" and uid != f"{record['hash']}_{record['revision']}":
        return "its UID is not its hash and revision"
    return None


def _flaw_of_json(record: dict[str, Any]) -> str | None:
    """Return a flaw if strict JSON cannot hold the record, or if it is nested too deeply."""
    level: list[object] = [record]
    for _ in range(_DEEPEST):
        following: list[object] = []
        for value in level:
            if isinstance(value, dict):
                try:
                    following += record_items(value)
                except ValueError as error:
                    return str(error)
            elif isinstance(value, list):
                following += value
            elif isinstance(value, float) and not math.isfinite(value):
                return f"{value} is no JSON"
        if not following:
            return None
        level = following
    return "it is nested too deeply"


def groups_of(record: Mapping[str, Any]) -> list[str]:
    """Return the UIDs of the groups that a trial is in, the first one first.

    An older version knew only one group, and wrote only the field ``group_id``.
    """
    first = record["group_id"]
    return list(dict.fromkeys([*([] if first is None else [first]), *record.get("groups", ())]))


def with_groups(record: Mapping[str, Any], groups: Iterable[str]) -> dict[str, Any]:
    """Return the record of a trial that is in these groups, and in no others."""
    known = list(dict.fromkeys(groups))
    return {**record, "group_id": known[0] if known else None, "groups": known}


def made_of(record: Mapping[str, Any]) -> float:
    """Return the moment by which a record is ordered among others."""
    return float(max(record["created"], record.get("made", record["created"])))


def in_order(record: dict[str, Any], newest: float | None) -> dict[str, Any]:
    """Return a new record, changed if necessary so that it comes after all existing ones.

    Its moment of creation does not order it so if the clock was set back. Then the field ``made``
    has the moment that does.

    Args:
        record: The record.
        newest: The moment by which the last of the others is ordered.

    """
    if newest is None or record["created"] >= newest:
        return record
    return record | {"made": newest}


def is_number(value: object) -> bool:
    """Return whether a value is a finite number."""
    return type(value) is int or (type(value) is float and math.isfinite(value))


def is_moment(value: StoredValue) -> bool:
    """Return whether a value is a number of seconds that has a date in the calendar."""
    return is_number(value) and _FIRST <= value <= _LAST


def is_hex(value: object, digits: int) -> bool:
    """Return whether a value is a text of so many hex digits."""
    return isinstance(value, str) and len(value) == digits and not set(value) - _HEX


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_dict(value: object) -> bool:
    return isinstance(value, dict)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MAX_INT


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _is_status(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"name", "value"}
        and isinstance(value["name"], str)
        and type(value["value"]) is int
        and abs(value["value"]) <= _MAX_INT
    )


def _is_owner(value: object) -> bool:
    return isinstance(value, dict) and all(
        name in value and check(value[name])
        for name, check in {
            "pid": lambda pid: type(pid) is int and 0 < pid < 2**31,
            "started": _or_none(_is_count),
            "host": _is_text,
            "boot": _or_none(_is_text),
            "space": _or_none(_is_text),
        }.items()
    )


def is_artifact(value: object) -> bool:
    """Return whether a value can be the entry of a trial for a file that is kept with it."""
    return (
        isinstance(value, dict)
        and value.keys() >= {"name", "sha256", "size", "kind", "mode"}
        and isinstance(value["name"], str)
        and is_hash(value["sha256"])
        and _is_count(value["size"])
        and isinstance(value["kind"], str)
        and _is_count(value["mode"])
    )


def _are_groups(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value)) and len(set(value)) == len(value)


def _are_artifacts(value: object) -> bool:
    return isinstance(value, list) and all(map(is_artifact, value))


def _are_chronos(value: object) -> bool:
    return isinstance(value, dict) and _or_none(is_number)(value.get("runtime"))


_ALWAYS: Mapping[str, Check] = {
    "uid": _is_text, "edit": _is_count, "token": _is_text, "created": is_moment,
}  # fmt: skip
_PROJECT: Mapping[str, Check] = {
    "name": _is_text, "description": _or_none(_is_text), "tags": _is_dict, "metadata": _is_dict,
}  # fmt: skip
_FIELDS: Mapping[str, Mapping[str, Check]] = {
    "project": {**_ALWAYS, **_PROJECT},
    "group": {**_ALWAYS, **_PROJECT, "project_id": _is_text},
    "environment": {**_ALWAYS, "environment": _is_dict},
    "trial": {
        **_ALWAYS, **_PROJECT, "name": _or_none(_is_text), "hash": _is_text,
        "revision": _is_count, "project_id": _is_text, "group_id": _or_none(_is_text),
        "version": _or_none(_is_text), "parameters": _is_dict, "status": _is_status,
        "errors": lambda value: isinstance(value, list),
        "log": _or_none(lambda value: is_hex(value, 32)),
        "started": _or_none(is_moment), "finished": _or_none(is_moment),
        "environment": _or_none(_is_text), "artifacts": _are_artifacts, "chronos": _are_chronos,
        "owner": _or_none(_is_owner),
    },
}  # fmt: skip
