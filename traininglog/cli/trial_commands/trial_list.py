"""`traininglog trials` and `traininglog project ls`: one line per trial or project."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from traininglog.cli.globs import matcher
from traininglog.cli.mistakes import asking
from traininglog.cli.options import JsonOption, LimitOption, StoreOption
from traininglog.cli.output.json_output import print_json
from traininglog.cli.output.terminal import Cell, Heading, note, on_terminal, table
from traininglog.cli.output.text import brief, moment
from traininglog.cli.trial_commands.trial_store import opened_trials
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
) -> None:
    """List the trials of a store, the latest last.

    Each line has the parameters and last metrics of a trial.

    Example: traininglog trials --project paper --status Completed --keys lr --keys 'val*'
    """
    from traininglog.trials import trial_table

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
    wanted = matcher(keys)
    for line in lines:
        for kind in ("parameters", "metrics"):
            line[kind] = {name: value for name, value in line[kind].items() if wanted(name)}
    if json:
        print_json([{name: line[name] for name in line if name != "best"} for line in lines])
    elif lines:
        _print(lines)
    else:
        note(f"no trials{' like that' if query else ' yet'} in {where}")


def _print(lines: Sequence[StoredRow]) -> None:
    now = datetime.now(UTC) if on_terminal() else None
    parameters = list(dict.fromkeys(name for line in lines for name in line["parameters"]))
    metrics = list(dict.fromkeys(name for line in lines for name in line["metrics"]))
    headings = [
        Heading("TRIAL"), Heading("PROJECT", cut=True), Heading("NAME", cut=True),
        Heading("STATUS"), Heading("CREATED"),
        *(Heading(name, right=True, cut=True) for name in (*parameters, *metrics)),
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
             Heading("GROUPS", cut=True), Heading("DESCRIPTION", cut=True)],
            [
                [Cell(line["name"], "bold"), str(line["trials"]),
                 ", ".join(line["groups"]) or "-", line["description"] or "-"]
                for line in lines
            ],
        )  # fmt: skip
