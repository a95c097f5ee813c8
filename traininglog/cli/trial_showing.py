"""`traininglog trial show`, `report` and `diff`: one trial, or two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from traininglog.cli.json_output import print_json
from traininglog.cli.options import JsonOption, StoreOption
from traininglog.cli.terminal import Cell, Heading, say, table
from traininglog.cli.text import brief
from traininglog.cli.trial_stores import TrialArgument, opened_trials, short

if TYPE_CHECKING:
    from traininglog.trials.entities import Trial
    from traininglog.trials.store import TrialStore

_ABSENT = object()


def show(trial: TrialArgument, store: StoreOption = None, json: JsonOption = False) -> None:
    """Show one trial: what it is and what became of it.

    Its parameters, last metrics, times, errors, files and environment.

    Example: traininglog trial show 1f3a99c0
    """
    with opened_trials(store) as opened:
        found = opened.find(trial)
        everything = _everything(opened, found)
    if json:
        print_json(everything)
        return
    for section, values in everything.items():
        if not isinstance(values, dict):
            if values not in (None, []):
                _say(section, values)
            continue
        if values:
            say("")
            table(
                [Heading(section.upper(), cut=True), Heading("VALUE", cut=True)],
                [[Cell(str(name), "bold"), _last(value)] for name, value in values.items()],
            )


def report(
    trial: TrialArgument,
    store: StoreOption = None,
    full: Annotated[bool, typer.Option("--full", help="Also what only programs need.")] = False,
) -> None:
    """Print all that is known of a trial as JSON.

    Example: traininglog trial report 1f3a99c0 > report.json
    """
    from traininglog.trials import report as reports

    with opened_trials(store) as opened:
        text = reports.as_json(reports.report(opened.find(trial), short=not full))
    print(text)  # noqa: T201 - output is what a command is for


def diff(
    one: Annotated[str, typer.Argument(metavar="A", help="A trial.")],
    other: Annotated[str, typer.Argument(metavar="B", help="The trial to compare it with.")],
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Compare two trials.

    By their parameters, version, environment and last metrics. Exit status 0, also if they differ.

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


def _everything(store: TrialStore, trial: Trial) -> dict[str, Any]:
    from traininglog.trials.report import report as as_report

    full = as_report(trial, short=False)
    return full | {"environment": store.environment(trial)}


def _say(section: str, value: Any) -> None:
    if section == "errors":
        for error in value:
            shown = error
            if isinstance(error, dict):
                shown = f"{error.get('type')}: {error.get('message')}"
            say(f"error        {shown}", "bold red")
    elif section == "artifacts":
        say(f"files        {len(value)}: traininglog trial files {value[0]['name']!r:.40}, ...")
    else:
        say(f"{section:<12} {brief(value)}")


def _last(value: Any) -> str:
    """Return a metric by its last value, and all else as it is."""
    if isinstance(value, dict) and value and all(isinstance(step, int) for step in value):
        step = max(value)
        return f"{brief(value[step])} at {step}"
    return brief(value)


def _compared(store: TrialStore, trial: Trial) -> dict[str, Any]:
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


def _or_dash(value: Any) -> str:
    return "-" if value is _ABSENT else brief(value, 40)
