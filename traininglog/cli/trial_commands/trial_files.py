"""`traininglog trial files` and `trial restore`: the stored files of a trial."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from traininglog.cli.options import JsonOption, StoreOption, TrialArgument
from traininglog.cli.output.json_output import print_json
from traininglog.cli.output.terminal import Cell, Heading, note, say, table
from traininglog.cli.output.text import size
from traininglog.cli.trial_commands.trial_store import chosen, opened_trials
from traininglog.display.plain_text import counted


def files(trial: TrialArgument = None, store: StoreOption = None, json: JsonOption = False) -> None:
    """List the files that were kept with a trial.

    Example: traininglog trial files 1f3a99c0
    """
    with opened_trials(store) as opened:
        kept = chosen(opened, trial).artifacts
    if json:
        print_json(kept)
    elif not kept:
        note("no files were kept with it")
    else:
        table(
            [Heading("FILE", cut=True), Heading("KIND"), Heading("SIZE", right=True),
             Heading("SHA256")],
            [
                [Cell(one["name"], "bold"), one["kind"], size(one["size"]), one["sha256"][:12]]
                for one in kept
            ],
        )  # fmt: skip


def restore(
    to: Annotated[
        Path, typer.Option("--to", metavar="FOLDER", help="Copy the files into this folder.")
    ],
    trial: TrialArgument = None,
    store: StoreOption = None,
) -> None:
    """Copy the files that were kept with a trial into a folder.

    The command overwrites no file.

    Example: traininglog trial restore 1f3a99c0 --to restored
    """
    from traininglog.trials.surroundings import artifacts

    with opened_trials(store) as opened:
        kept = chosen(opened, trial).artifacts
        made = artifacts.restore(opened.records.artifacts, kept, to)
    say(f"{to}: {counted(len(made), 'file')}")
