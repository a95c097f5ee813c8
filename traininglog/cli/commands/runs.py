"""`traininglog runs`: what is in a store, a line a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import typer

from traininglog.cli.mistakes import Mistake, asking
from traininglog.cli.options import JsonOption, LimitOption, StoreOption
from traininglog.cli.output.json_output import print_json
from traininglog.cli.output.terminal import Cell, Heading, note, on_terminal, table
from traininglog.cli.output.text import brief, moment, point
from traininglog.cli.stores import named, opened, reading, records, shortest
from traininglog.texts import jsonable

if TYPE_CHECKING:
    from traininglog.sqlite.store import Store

#: How a state is coloured on a terminal.
STYLES = {"running": "bold cyan", "finished": "green", "failed": "bold red", "lost": "yellow"}


class RunState(StrEnum):
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
    best: Annotated[
        list[str] | None,
        typer.Option(
            "--best", metavar="KEY[:max]", help="Show its least, or greatest, number. Repeatable."
        ),
    ] = None,
    state: Annotated[RunState | None, typer.Option(help="Only runs in this state.")] = None,
    name: Annotated[
        str | None, typer.Option(metavar="GLOB", help="Only runs whose name fits.")
    ] = None,
    limit: LimitOption = None,
    json: JsonOption = False,
) -> None:
    """List the runs of a store, the latest last.

    A run is named by as many digits of its UUID as tell it from the others. TIME is the last one
    that it logged, FROM the run that it was resumed from, and the last time that it sees of it.

    Example: traininglog runs --keys loss --best accuracy:max --state running
    """
    with opened(store) as file:
        with asking():
            modes = _modes(best or ())
            frame = file.runs(
                keys,
                state=None if state is None else state.value,
                name=name,
                limit=limit,
                best=modes,
            )
        lines = records(frame)
        columns = [str(column) for column in frame.columns]
        more = columns[len(file.runs(limit=0).columns) :]
        shown = more[: len(more) - len(modes)]
        bests = dict(zip(more[len(shown) :], modes, strict=True))
        last = [_last_values(file, line, shown) for line in lines]
        for line, values in zip(lines, last, strict=True):
            values.update({column: line[column] for column in bests if line[column] is not None})
        if json:
            print_json(
                [
                    _record(line, values, shown if keys else None, bests if best else None)
                    for line, values in zip(lines, last, strict=True)
                ]
            )
        elif lines:
            _print(file, lines, last, more)
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


def _modes(best: Sequence[str]) -> dict[str, Literal["min", "max"]]:
    """Return the keys whose best number to show, and which that is: ``loss``, ``accuracy:max``."""
    modes: dict[str, Literal["min", "max"]] = {}
    for asked in best:
        key, _, mode = asked.rpartition(":")
        if not key or mode not in ("min", "max"):
            key, mode = asked, "min"
        if key in modes:
            raise Mistake(f"--best names {key!r} twice: a list shows one best number of a key")
        modes[key] = "max" if mode == "max" else "min"
    return modes


def _record(
    line: dict[str, Any],
    values: dict[str, Any],
    shown: Sequence[str] | None,
    bests: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Return a run for JSON; `bests` are the keys of the columns with the best numbers."""
    more = {*(shown or ()), *(bests or ())}
    record: dict[str, Any] = {key: jsonable(line[key]) for key in line if key not in more}
    if shown is not None:
        record["last_values"] = jsonable({key: values[key] for key in shown if key in values})
    if bests is not None:
        found = {key: values[column] for column, key in bests.items() if column in values}
        record["best_values"] = jsonable(found)
    return record


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
