"""The commands and their group: the one place that knows all of them."""

from __future__ import annotations

from typing import Annotated

import typer

from traininglog import __version__
from traininglog.cli.commands import diff, export, live_tail, plot, runs, show, upkeep
from traininglog.cli.mistakes import Manners
from traininglog.cli.trial_commands import trial_files, trial_import, trial_list, trial_show

app = typer.Typer(
    cls=Manners,
    name="traininglog",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # help is paragraphs and examples, and holds brackets of its own
    pretty_exceptions_enable=False,  # a bug shows Python's own traceback, to be reported as it is
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"traininglog {__version__}")
        raise typer.Exit


@app.callback()
def traininglog(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Say which it is."),
    ] = False,
) -> None:
    """Look at training logs, and look after the stores that hold them.

    A store is one SQLite file of many runs. Name it with --store, or set TRAININGLOG_STORE.
    A run is named by the start of its UUID; where one is left out, the latest is taken.

    With --json a command prints strict JSON: NaN and infinities are the strings "NaN", "Infinity"
    and "-Infinity", null is None, bytes are base64, arrays lists, datetimes ISO 8601.
    Exit status: 0, 1 after a mistake (said in one line on stderr), 2 for a wrong option.

    Example: traininglog runs --store runs.db
    """


for _command in (
    runs.runs, show.show, live_tail.tail, plot.plot, export.export, diff.diff,
    upkeep.merge, upkeep.backup, upkeep.check, upkeep.seal, upkeep.delete, upkeep.upgrade,
    upkeep.demo,
):  # fmt: skip
    app.command()(_command)

app.command()(trial_list.trials)
app.command(name="import")(trial_import.import_)
_trial = typer.Typer(no_args_is_help=True, help="Look at one trial.")
for _look in (trial_show.show, trial_show.report, trial_show.diff, trial_files.files):
    _trial.command()(_look)
_trial.command()(trial_files.restore)
_project = typer.Typer(no_args_is_help=True, help="Look at projects.")
_project.command()(trial_list.ls)
app.add_typer(_trial, name="trial")
app.add_typer(_project, name="project")
