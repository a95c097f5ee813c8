"""`traininglog trials` and `traininglog project ls`: one line per trial or project."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from traininglog.cli.globs import matcher, require
from traininglog.cli.mistakes import Mistake, asking
from traininglog.cli.options import JsonOption, LimitOption, StoreOption
from traininglog.cli.output.formats import write_table
from traininglog.cli.output.json_output import print_json
from traininglog.cli.output.terminal import (
    ASKED,
    DETAIL,
    IDENTITY,
    USUAL,
    Cell,
    Heading,
    note,
    on_terminal,
    table,
)
from traininglog.cli.output.text import brief, moment
from traininglog.cli.trial_commands.trial_store import opened_trials
from traininglog.display.plain_text import visible
from traininglog.errors import InvalidKey
from traininglog.flattening import flatten
from traininglog.values import StoredRow

STYLES = {
    "Running": "bold cyan", "Completed": "green", "Exception": "bold red", "Broken": "yellow",
    "Interrupted": "yellow",
}  # fmt: skip


def trials(
    store: StoreOption = None,
    project: Annotated[
        str | None, typer.Option("--project", "-p", help="List only trials of this project.")
    ] = None,
    status: Annotated[str | None, typer.Option(help="List only trials with this status.")] = None,
    keys: Annotated[
        list[str] | None,
        typer.Option(
            "--keys", "-k", metavar="GLOB", help="Show these names. Repeatable. Default: all."
        ),
    ] = None,
    limit: LimitOption = None,
    json: JsonOption = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, with every digit.")] = False,
) -> None:
    """List the trials of a store, the latest last.

    Each line has the parameters and last metrics of a trial. A parameter within a dict is named
    with a dot, as in model.width.

    Example: traininglog trials --project paper --status Completed --keys lr --keys 'val*'
    """
    from traininglog.trials import trial_table

    if json and csv:
        raise Mistake("--json and --csv are two forms: choose one")
    query: StoredRow = {}
    if project is not None:
        query["project_id"] = project
    if status is not None:
        query["status"] = status
    with opened_trials(store) as opened:
        with asking():
            found = opened.fetch_trials(query)[-limit if limit else None :]
        lines = trial_table.lines(opened, found)
        where = opened.records.location
    if keys or not json:
        _choose(lines, keys)
    if csv:
        _print_csv(lines)
    elif json:
        print_json([{name: line[name] for name in line if name != "best"} for line in lines])
    elif lines:
        _print(lines, ASKED if keys else USUAL)
    else:
        note(f"no trials{' like that' if query else ' yet'} in {where}")


def _choose(lines: Sequence[StoredRow], keys: Sequence[str] | None) -> None:
    """Leave in each line the parameters and metrics that are asked for, the nested ones dotted.

    Raises `Mistake` for a name that no trial has.
    """
    there: dict[str, None] = {}
    wanted = matcher(keys)
    for line in lines:
        for kind in ("parameters", "metrics"):
            whole = line[kind]
            flat = _flat(whole)
            there |= dict.fromkeys([*flat, *whole])
            line[kind] = {name: value for name, value in flat.items() if wanted(name)}
            # A dict is asked for by its own name, not by a glob.
            line[kind] |= {name: whole[name] for name in keys or () if name in whole}
    if lines:
        require(keys, there)


def _flat(values: StoredRow) -> StoredRow:
    try:
        return flatten(values, ".")
    except InvalidKey:  # two values would have one name
        return values


def _print_csv(lines: Sequence[StoredRow]) -> None:
    kinds = {
        kind: list(dict.fromkeys(name for line in lines for name in line[kind]))
        for kind in ("parameters", "tags", "metrics")
    }
    facts = [
        name for name, value in lines[0].items() if not isinstance(value, dict)
    ] if lines else ["uid"]  # fmt: skip
    write_table(
        sys.stdout,
        [*facts, *(f"{kind}.{name}" for kind, names in kinds.items() for name in names)],
        [
            [
                *(line[name] for name in facts),
                *(line[kind].get(name) for kind, names in kinds.items() for name in names),
            ]
            for line in lines
        ],
        visible if on_terminal() else str,
    )


def _print(lines: Sequence[StoredRow], importance: int) -> None:
    now = datetime.now(UTC) if on_terminal() else None
    parameters = list(dict.fromkeys(name for line in lines for name in line["parameters"]))
    metrics = list(dict.fromkeys(name for line in lines for name in line["metrics"]))
    headings = [
        Heading("TRIAL", importance=IDENTITY), Heading("PROJECT", cut=True, importance=DETAIL + 1),
        Heading("NAME", cut=True, importance=USUAL + 1), Heading("STATUS", importance=USUAL + 2),
        Heading("CREATED", importance=DETAIL),
        *(
            Heading(name, right=True, cut=True, importance=importance)
            for name in (*parameters, *metrics)
        ),
    ]  # fmt: skip
    rows: list[list[Cell | str]] = [
        [
            Cell(f"{line['uid'][:8]}_{line['revision']}", "bold"),
            line["project"], line["name"] or "-",
            Cell(line["status"], STYLES.get(line["status"], "")),
            moment(datetime.fromtimestamp(line["created"], UTC), now),
            *(_shown(line["parameters"], name) for name in parameters),
            *(_shown(line["metrics"], name) for name in metrics),
        ]
        for line in lines
    ]  # fmt: skip
    table(headings, rows)


def _shown(values: StoredRow, name: str) -> str:
    return brief(values[name], 24) if name in values else "-"


def ls(store: StoreOption = None, json: JsonOption = False) -> None:
    """List the projects of a store.

    Each line has the groups of a project, and its number of trials.

    Example: traininglog project ls
    """
    with opened_trials(store) as opened:
        counts: dict[str, int] = {}
        for trial in opened.fetch_trials():
            counts[trial.project_id] = counts.get(trial.project_id, 0) + 1
        groups: dict[str, list[str]] = {}
        for group in opened.fetch_groups():
            groups.setdefault(group.project_id, []).append(group.name)
        lines: list[StoredRow] = [
            {
                "name": project.name, "description": project.description,
                "groups": groups.get(project.uid, []), "trials": counts.get(project.uid, 0),
                "tags": project.tags, "metadata": project.metadata,
            }
            for project in opened.fetch_projects()
        ]  # fmt: skip
        where = opened.records.location
    if json:
        print_json(lines)
    elif not lines:
        note(f"no projects yet in {where}")
    else:
        table(
            [Heading("PROJECT", cut=True), Heading("TRIALS", right=True),
             Heading("GROUPS", cut=True), Heading("DESCRIPTION", cut=True, importance=DETAIL)],
            [
                [Cell(line["name"], "bold"), str(line["trials"]),
                 ", ".join(line["groups"]) or "-", line["description"] or "-"]
                for line in lines
            ],
        )  # fmt: skip
