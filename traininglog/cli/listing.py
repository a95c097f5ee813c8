"""`traininglog runs`: what is in a store, a line a run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from traininglog.cli.json_output import jsonable, print_json
from traininglog.cli.mistakes import asking
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
        with asking():
            frame = file.runs(
                keys, state=None if state is None else state.value, name=name, limit=limit
            )
        lines = records(frame)
        columns = [str(column) for column in frame.columns]
        shown = columns[len(file.runs(limit=0).columns) :] if keys else []
        last = [_last_values(file, line, shown) for line in lines]
        if json:
            print_json(
                [
                    _record({name: line[name] for name in line if name not in shown}, values, keys)
                    for line, values in zip(lines, last, strict=True)
                ]
            )
        elif lines:
            _print(file, lines, last, shown)
        else:
            note(f"no runs{' like that' if state or name else ' yet'} in {file.path}")


def _print(
    store: Store,
    lines: Sequence[dict[str, Any]],
    last: Sequence[dict[str, Any]],
    keys: Sequence[str],
) -> None:
    now = datetime.now(UTC) if on_terminal() else None
    headings = [
        Heading("RUN"), Heading("NAME", cut=True), Heading("STATE"), Heading("CREATED"),
        Heading("TIME", right=True), Heading("ROWS", right=True), Heading("VALUES", right=True),
        Heading("FROM"), *(Heading(key, right=True, cut=True) for key in keys),
    ]  # fmt: skip
    rows: list[list[Cell | str]] = []
    for line, values in zip(lines, last, strict=True):
        parent = "-"
        if line["resumed_from"]:
            parent = f"{line['resumed_from'][:8]} @ {point(line['resumed_at'])}"
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


def _record(
    line: dict[str, Any], last: dict[str, Any], keys: Sequence[str] | None
) -> dict[str, Any]:
    record: dict[str, Any] = {key: jsonable(value) for key, value in line.items()}
    return record | ({"last_values": jsonable(last)} if keys else {})


def _last_values(store: Store, line: dict[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """Return the last value of each key asked for that a run has, by the frame's columns."""
    doubtful = {column for column in columns if line[column] is None}
    found = {}
    if doubtful:
        # A frame has one mark for None, NaN and absent; the log itself tells them apart.
        with reading(store, UUID(line["uuid"])) as log:
            seen = set(log.keys_seen())
            for column in doubtful:
                key = column if column in seen else column.removeprefix("log.")
                if key in seen:
                    found[column] = log.last(key).value
    values = {column: line[column] for column in columns if column not in doubtful} | found
    return {column: values[column] for column in columns if column in values}
