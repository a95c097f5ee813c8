"""`traininglog runs`: what is in a store, a line a run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from traininglog.cli.json_output import jsonable, print_json
from traininglog.cli.mistakes import Mistake, asking
from traininglog.cli.options import JsonOption, StoreOption
from traininglog.cli.stores import named, opened, reading, records, shortest
from traininglog.cli.terminal import Cell, Heading, note, on_terminal, table
from traininglog.cli.text import brief, moment, point

if TYPE_CHECKING:
    from traininglog.sqlite.store import Store

#: How a state is coloured on a terminal.
STYLES = {"running": "bold cyan", "finished": "green", "failed": "bold red", "lost": "yellow"}


class State(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    LOST = "lost"


def runs(
    store: StoreOption = None,
    keys: Annotated[
        list[str] | None,
        typer.Option("--keys", "-k", metavar="GLOB", help="Show its last value. Repeatable."),
    ] = None,
    state: Annotated[State | None, typer.Option(help="Only runs in this state.")] = None,
    name: Annotated[
        str | None, typer.Option(metavar="GLOB", help="Only runs whose name fits.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="Only so many, the latest.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the runs of a store, the latest last.

    A run is named by as many digits of its UUID as tell it from the others. TIME is the last one
    that it logged, FROM the run that it was resumed from, and the last time that it sees of it.

    Example: traininglog runs --keys loss --state running
    """
    with opened(store) as file:
        frame = file.runs(state=None if state is None else state.value, name=name, limit=limit)
        lines = records(frame)
        last = _last_values(file, [line["uuid"] for line in lines], keys or [])
        if json:
            print_json([_record(line, last if keys else None) for line in lines])
            return
        if not lines:
            note(f"no runs{' like that' if state or name else ' yet'} in {file.path}")
            return
        shown = list(dict.fromkeys(key for values in last.values() for key in values))
        _print(file, lines, last, shown)


def _print(
    store: Store, lines: Sequence[dict[str, Any]], last: dict[str, dict[str, Any]], keys: list[str]
) -> None:
    now = datetime.now(UTC) if on_terminal() else None
    headings = [
        Heading("RUN"), Heading("NAME", cut=True), Heading("STATE"), Heading("CREATED"),
        Heading("TIME", right=True), Heading("ROWS", right=True), Heading("VALUES", right=True),
        Heading("FROM"), *(Heading(key, right=True, cut=True) for key in keys),
    ]  # fmt: skip
    rows: list[list[Cell | str]] = []
    for line in lines:
        parent = "-"
        if line["resumed_from"]:
            parent = f"{line['resumed_from'][:8]} @ {point(line['resumed_at'])}"
        values = last.get(line["uuid"], {})
        rows.append([
            Cell(shortest(store, line["uuid"]), "bold"),
            named(line) or "-",
            Cell(line["state"], STYLES.get(line["state"], "")),
            moment(line["created"], now),
            "-" if line["last"] is None else str(line["last"]),
            str(line["rows"]), str(line["values"]), Cell(parent, "dim"),
            *(brief(values[key], 24) if key in values else "-" for key in keys),
        ])  # fmt: skip
    if not any(line["resumed_from"] for line in lines):
        del headings[7]
        for row in rows:
            del row[7]
    table(headings, rows)


def _record(line: dict[str, Any], last: dict[str, dict[str, Any]] | None) -> dict[str, Any]:
    record: dict[str, Any] = {key: jsonable(value) for key, value in line.items()}
    record["name"] = named(line)
    if last is not None:
        record["last_values"] = jsonable(last.get(line["uuid"], {}))
    return record


def _last_values(store: Store, uuids: list[str], keys: list[str]) -> dict[str, dict[str, Any]]:
    """Return, run by run, the last value of each key asked for that it has."""
    if not keys or not uuids:
        return {}
    with asking():
        frame = store.runs()[:0] if not keys else store.runs(keys=keys)
    own = set(store.runs(limit=0).columns)
    taken = own.intersection(keys)
    if taken:
        raise Mistake(f"a key named {min(taken)!r} cannot be listed: use traininglog show")
    shown = [str(key) for key in frame.columns if key not in own]
    lines = {line["uuid"]: line for line in records(frame)}
    return {uuid: dict(_found(store, uuid, lines[uuid], shown)) for uuid in uuids if uuid in lines}


def _found(store: Store, uuid: str, line: dict[str, Any], keys: list[str]) -> list[tuple[str, Any]]:
    found = [(key, line[key]) for key in keys if line[key] is not None]
    doubtful = [key for key in keys if line[key] is None]
    if doubtful:
        # A frame has one mark for None, NaN and absent; the log itself tells them apart.
        with reading(store, UUID(uuid)) as log:
            found += [(key, log.last(key).value) for key in log.keys_seen() if key in doubtful]
    return sorted(found, key=lambda pair: keys.index(pair[0]))
