"""`traininglog trial` and `traininglog project`: two groups of commands."""

from __future__ import annotations

import typer

from traininglog.cli.trial_commands import trial_files, trial_list, trial_show


def trial() -> typer.Typer:
    """Return the group of the commands about one trial."""
    group = typer.Typer(
        name="trial",
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Show, compare and export single trials.",
    )
    for command in (
        trial_show.show,
        trial_show.report,
        trial_show.diff,
        trial_files.files,
        trial_files.restore,
    ):
        group.command()(command)
    return group


def project() -> typer.Typer:
    """Return the group of the commands about projects."""
    group = typer.Typer(
        name="project", no_args_is_help=True, rich_markup_mode=None, help="Show projects."
    )
    group.command()(trial_list.ls)
    return group
