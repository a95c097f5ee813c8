"""Searching: the records that match a query, with the status that they have now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from traininglog.trials.errors import InvalidQuery
from traininglog.trials.processes import is_gone
from traininglog.trials.queries import Matcher, Query, sorted_by, sorter, statuses_in
from traininglog.trials.records import Record, Records, going_through
from traininglog.trials.statuses import Status

#: The fields that a query may ask for, and sort by.
FIELDS = {
    "project": frozenset({"uid", "name", "description", "tags", "metadata", "created"}),
    "group": frozenset(
        {"uid", "name", "project_id", "description", "tags", "metadata", "created"}
    ),
    "trial": frozenset(
        {
            "uid", "hash", "revision", "name", "description", "version", "tags", "metadata",
            "parameters", "project_id", "group_id", "status", "errors", "created", "started",
            "finished", "log", "environment", "artifacts", "chronos",
        }
    ),
}  # fmt: skip


def search(
    records: Records, kind: str, query: Query, sort: str | Sequence[str] | None, limit: int | None
) -> list[Record]:
    """Return the records that match a query, in order. Raises `InvalidQuery`."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int)):
        raise InvalidQuery(f"a limit is a number, not {limit!r:.80}")
    if limit is not None and limit < 0:
        raise InvalidQuery(f"a limit is 0 or more, not {limit}")
    matches = Matcher(query, FIELDS[kind])
    keys = sorter(sort or (), FIELDS[kind])
    where: dict[str, list[Any]] = dict(matches.where)
    if kind == "trial" and (numbers := statuses_in(query)) is not None:
        if Status.Broken.value in numbers:  # which is not stored, but seen
            numbers.add(Status.Running.value)
        where["status"] = sorted(numbers)
    found: list[Record] = []
    with going_through(records.select(kind, where)) as selected:
        for record in as_seen(kind, selected):
            if matches(record):
                found.append(record)
                if not keys and limit is not None and len(found) >= limit:
                    break
    return sorted_by(found, keys)[:limit]


def as_seen(kind: str, records: Iterable[Record]) -> Iterator[Record]:
    """Give records with the status that they have now: a process may be gone."""
    if kind != "trial":
        yield from records
        return
    gone: dict[tuple[Any, ...], bool] = {}
    for record in records:
        if record["status"]["value"] == Status.Running.value:
            owner = record["owner"] or {}
            key = tuple(owner.values())
            if key not in gone:
                gone[key] = is_gone(record["owner"])
            if gone[key]:
                record["status"] = Status.Broken.to_json()
        yield record
