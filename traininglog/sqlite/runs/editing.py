"""Changing what is said of an experiment: its name, configuration, tags, notes, groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from traininglog.encoding import HIDDEN
from traininglog.errors import RunNotFound
from traininglog.near_names import instead
from traininglog.sql import reading, writing
from traininglog.sql.runs.experiments import Experiments
from traininglog.sqlite.database.database import Database
from traininglog.values import StoredValue, plain

#: What is merged with what is there, where all else replaces it.
_MERGED = ("config", "tags")


def edit(
    database: Database,
    uuid: str,
    said: Mapping[str, StoredValue],
    *,
    remove: Iterable[str] = (),
    archived: bool | None = None,
) -> UUID:
    """Change the status of the head of an experiment, in one transaction. See `Store.edit`.

    Args:
        database: The file.
        uuid: A run of the experiment, in hex.
        said: What is said, as `identity.described` returns it.
        remove: Names to take away, such as ``tags.old``, ``notes``, ``config.optim.lr``.
        archived: Whether to put it aside; None: as it is.

    Returns the UUID of the head.

    Raises:
        KeyError: A name to take away that is not there.
        RunNotFound: The run was deleted meanwhile.

    """
    with database.write() as connection:
        row = _head(connection, uuid)
        if row is None:
            raise RunNotFound(f"run {uuid} was deleted from {database.name} meanwhile")
        status = reading.read_whole_status(connection, row.id)
        status = {key: value for key, value in status.items() if value is not HIDDEN}
        changed: dict[str, Any] = {}
        for key, value in said.items():
            changed[key] = value
            if key in _MERGED and isinstance(value, Mapping):
                changed[key] = _joined(_as_dict(status.get(key)), value)
        for name in remove:
            _take_away(name, status, changed)
        if archived is not None:
            changed["archived"] = True if archived else HIDDEN
        changed = {
            key: value if value is HIDDEN else plain(value)
            for key, value in changed.items()
            if not (value is HIDDEN and key not in status)
        }
        writing.save_status(connection, row.id, changed)
        return reading.stored_uuid(row.uuid)


def _head(connection: Connection, uuid: str) -> Any:
    """Return the row of the run that stands for the experiment of a run."""
    row = writing.find_run(connection, uuid)
    if row is None:
        return None
    head = Experiments(connection).head_of(row.id)
    if head == row.id:
        return row
    return next(iter(writing.numbered_runs(connection, [head])), row)


def _as_dict(value: object) -> dict[str, Any]:
    if isinstance(value, (list, tuple)):  # tags as names
        return {str(each): True for each in value}
    return dict(value) if isinstance(value, Mapping) else {}


def _joined(there: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested dicts as one; where both have a value, that of the second."""
    found = dict(there)
    for key, value in more.items():
        inner = found.get(key)
        if isinstance(inner, Mapping) and isinstance(value, Mapping):
            found[key] = _joined(inner, value)
        else:
            found[key] = value
    return found


def _take_away(name: str, status: Mapping[str, Any], changed: dict[str, Any]) -> None:
    option, _, path = name.partition(".")
    there = changed.get(option, status.get(option))
    if there is None or there is HIDDEN:
        raise KeyError(f"the run has no {option}: there is nothing to remove")
    if not path:
        changed[option] = HIDDEN
        return
    found = _as_dict(there)
    changed[option] = found
    *outer, last = [path] if path in found else path.split(".")
    for part in outer:
        inner = found.get(part)
        if not isinstance(inner, Mapping):
            break
        found[part] = dict(inner)
        found = found[part]
    else:
        if last in found:
            del found[last]
            return
    raise KeyError(f"the run has no {name!r}; {instead(last, found)}")
