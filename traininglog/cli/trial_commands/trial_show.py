"""`traininglog trial show`, `report` and `diff`: one trial, or two."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from traininglog.cli.options import JsonOption, StoreOption, TrialArgument
from traininglog.cli.output.json_output import print_json
from traininglog.cli.output.terminal import Cell, Heading, facts, on_terminal, say, table
from traininglog.cli.output.text import brief, moment
from traininglog.cli.trial_commands.trial_list import STYLES
from traininglog.cli.trial_commands.trial_store import chosen, opened_trials, short
from traininglog.values import StoredRow, StoredValue

if TYPE_CHECKING:
    from traininglog.trials.entities import Trial
    from traininglog.trials.store import TrialStore

_ABSENT = object()


def show(trial: TrialArgument = None, store: StoreOption = None, json: JsonOption = False) -> None:
    """Show one trial: what it is and what became of it.

    The command prints its parameters, last metrics, times, errors, files and environment.

    Example: traininglog trial show 1f3a99c0
    """
    with opened_trials(store) as opened:
        found = chosen(opened, trial)
        environment = opened.environment(found)
        groups = [group.name for group in map(opened.get_trial_group, found.groups) if group]
        project = opened.get_project(found.project_id)
    if json:
        from traininglog.trials.report import report as as_report

        print_json(as_report(found, short=False) | {"environment": environment})
        return
    _print_identity(found, ", ".join(groups) or None)
    _print_values("PARAMETER", found.parameters)
    _print_metrics(found.metrics)
    _print_chronos(found.chronos)
    packages = environment.pop("packages", {})
    _print_values("ENVIRONMENT", environment | ({"packages": len(packages)} if packages else {}))
    _print_values("TAGS", ({} if project is None else project.tags) | found.tags)
    _print_values("METADATA", found.metadata)


def report(
    trial: TrialArgument = None,
    store: StoreOption = None,
    full: Annotated[
        bool, typer.Option("--full", help="Print also the fields that only programs need.")
    ] = False,
) -> None:
    """Print all facts of a trial as JSON.

    Example: traininglog trial report 1f3a99c0 > report.json
    """
    from traininglog.trials.report import report as as_report

    with opened_trials(store) as opened:
        found = as_report(chosen(opened, trial), short=not full)
    print_json(found)


def diff(
    one: Annotated[str, typer.Argument(metavar="A", help="Name a trial.")],
    other: Annotated[str, typer.Argument(metavar="B", help="Name the trial to compare it with.")],
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Compare two trials.

    The command compares parameters, version, environment and last metrics. The exit status is 0,
    also if the trials differ.

    Example: traininglog trial diff 1f3a99c0_0 1f3a99c0_1
    """
    with opened_trials(store) as opened:
        a, b = opened.find(one), opened.find(other)
        lines_a, lines_b = _compared(opened, a), _compared(opened, b)
    changed = [
        (name, lines_a.get(name, _ABSENT), lines_b.get(name, _ABSENT))
        for name in dict.fromkeys([*lines_a, *lines_b])
        if repr(lines_a.get(name, _ABSENT)) != repr(lines_b.get(name, _ABSENT))
    ]
    if json:
        print_json({
            "a": a.uid,
            "b": b.uid,
            "differences": [
                {"name": name}
                | ({} if in_a is _ABSENT else {"a": in_a})
                | ({} if in_b is _ABSENT else {"b": in_b})
                for name, in_a, in_b in changed
            ],
        })  # fmt: skip
    elif not changed:
        say("The trials are the same.")
    else:
        table(
            [Heading("WHAT", cut=True), Heading(short(a), cut=True), Heading(short(b), cut=True)],
            [[Cell(name, "bold"), _or_dash(in_a), _or_dash(in_b)] for name, in_a, in_b in changed],
        )


def _print_identity(trial: Trial, group: str | None) -> None:
    now = datetime.now(UTC) if on_terminal() else None
    moments = {
        name: None if at is None else moment(datetime.fromtimestamp(at, UTC), now)
        for name, at in (
            ("created", trial.created), ("started", trial.started), ("finished", trial.finished),
        )
    }  # fmt: skip
    known = [
        ("trial", Cell(trial.uid, "bold")),
        ("name", trial.name),
        ("description", trial.description),
        ("status", Cell(str(trial.status), STYLES.get(str(trial.status), ""))),
        *(("error", Cell(_told(error), "bold red")) for error in trial.errors),
        ("project", trial.project_id),
        ("groups" if group and ", " in group else "group", group),
        ("version", trial.version),
        *moments.items(),
        ("ran for", None if trial.runtime is None else f"{trial.runtime:.3g} s"),
        ("run", trial.log),
        ("files", f"{len(trial.artifacts)}, see trial files" if trial.artifacts else None),
    ]
    facts([(name, value) for name, value in known if value])


def _told(error: object) -> str:
    if isinstance(error, dict) and "type" in error:
        return f"{error['type']}: {error.get('message')}"
    return brief(error)


def _print_values(heading: str, values: Mapping[str, StoredValue]) -> None:
    if values:
        say("")
        table(
            [Heading(heading, cut=True), Heading("VALUE", cut=True)],
            [[Cell(str(name), "bold"), brief(value)] for name, value in values.items()],
        )


def _print_metrics(metrics: Mapping[str, StoredValue]) -> None:
    """Print the number of values and the last value of each metric, or an aggregator's summary."""
    if not metrics:
        return
    rows: list[list[Cell | str]] = []
    for name, kept in metrics.items():
        count, last = "-", brief(kept)
        if isinstance(kept, list) and kept:
            count, last = str(len(kept)), brief(kept[-1])
        elif kept and isinstance(kept, dict) and all(isinstance(step, int) for step in kept):
            step = max(kept)
            count, last = str(len(kept)), f"{brief(kept[step])} @ {step}"
        rows.append([Cell(name, "bold"), count, last])
    say("")
    table([Heading("METRIC", cut=True), Heading("VALUES", right=True),
           Heading("LAST", cut=True)], rows)  # fmt: skip


def _print_chronos(chronos: Mapping[str, StoredValue]) -> None:
    """Print the durations of blocks, in seconds."""
    measured = {name: kept for name, kept in chronos.items() if isinstance(kept, dict)}
    if not measured:
        return
    columns = ("count", "avg", "min", "max", "sd")
    say("")
    table(
        [Heading("BLOCK, s", cut=True), *(Heading(name.upper(), right=True) for name in columns)],
        [
            [Cell(name, "bold"), *(brief(kept.get(column)) for column in columns)]
            for name, kept in measured.items()
        ],
    )


def _compared(store: TrialStore, trial: Trial) -> StoredRow:
    environment = store.environment(trial)
    packages = environment.pop("packages", {})
    (ends,) = store.ends([trial])
    return {
        "project": trial.project_id, "name": trial.name, "version": trial.version,
        "status": str(trial.status),
        **{f"parameters.{name}": value for name, value in trial.parameters.items()},
        **{f"tags.{name}": value for name, value in trial.tags.items()},
        **{f"environment.{name}": value for name, value in environment.items()},
        **{f"packages.{name}": value for name, value in packages.items()},
        **{f"metrics.{name}": last for name, (last, _) in ends.items()},
    }  # fmt: skip


def _or_dash(value: StoredValue) -> str:
    return "-" if value is _ABSENT else brief(value, 40)
