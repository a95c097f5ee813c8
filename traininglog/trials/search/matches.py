"""Search: the records that match a query, with their current status."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from traininglog.trial_records import groups_of
from traininglog.trials.lifetimes.processes import is_gone
from traininglog.trials.records import Record, Records, going_through
from traininglog.trials.search.queries import Matcher, Query, sorted_by, sorter, statuses_in
from traininglog.trials.statuses import Status
from traininglog.trials.trial_errors import InvalidQuery
from traininglog.values import StoredValue

#: The fields that a query may ask for, and sort by.
FIELDS = {
    "project": frozenset({"uid", "name", "description", "tags", "metadata", "created"}),
    "group": frozenset(
        {"uid", "name", "project_id", "description", "tags", "metadata", "created"}
    ),
    "trial": frozenset(
        {
            "uid", "hash", "revision", "name", "description", "version", "tags", "metadata",
            "parameters", "project_id", "group_id", "groups", "status", "errors", "created",
            "started", "finished", "log", "environment", "artifacts", "chronos",
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
        if Status.Broken.value in numbers:  # readers work it out; the stored status is Running
            numbers.add(Status.Running.value)
        where["status"] = sorted(numbers)
    asked = matches.asked.union(steps[0] for steps, _ in keys)
    inherited = tags_of_projects(records) if kind != "project" and "tags" in asked else {}
    found: list[tuple[Record, Record]] = []
    with going_through(records.select(kind, where)) as selected:
        for record in as_seen(kind, selected):
            shown = _shown(kind, record, inherited)
            if matches(shown):
                found.append((shown, record))
                if not keys and limit is not None and len(found) >= limit:
                    break
    return [record for _, record in sorted_by(found, keys)[:limit]]


def tags_of_projects(records: Records) -> dict[str, Mapping[str, StoredValue]]:
    """Return the tags that trials and groups inherit, by project, in their JSON form."""
    with going_through(records.select("project", {})) as found:
        return {record["uid"]: record["tags"] for record in found if record["tags"]}


def _shown(kind: str, record: Record, inherited: Mapping[str, Mapping[str, StoredValue]]) -> Record:
    """Return a record as queries see it: with the tags of its project, and with its groups."""
    more = inherited.get(record["project_id"]) if kind != "project" else None
    seen = record if more is None else record | {"tags": {**more, **record["tags"]}}
    return seen | {"groups": groups_of(record)} if kind == "trial" else seen


def as_seen(kind: str, records: Iterable[Record]) -> Iterator[Record]:
    """Yield records with their current status: a Running trial whose process is gone is Broken."""
    if kind != "trial":
        yield from records
        return
    gone: dict[tuple[object, ...], bool] = {}
    for record in records:
        if record["status"]["value"] == Status.Running.value:
            owner = record["owner"] or {}
            key = tuple(owner.values())
            if key not in gone:
                gone[key] = is_gone(record["owner"])
            if gone[key]:
                record["status"] = Status.Broken.to_json()
        yield record
