"""The list of all commands, and their group.

Every command pays for the start-up. So a command's module is imported only when the command runs or
shows its own help. The sentences of `traininglog --help` are here.
"""

from __future__ import annotations

import importlib
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand

from traininglog import __version__
from traininglog.cli.mistakes import Manners


class Entry(NamedTuple):
    """The place of a command, and its sentence in the list of commands."""

    module: str  #: the module, in `traininglog.cli`
    function: str  #: the command; for a group of commands, the function that creates it
    help: str  #: the first sentence of the command's own help
    group: bool = False


COMMANDS = {
    "runs": Entry(
        "comparing.runs", "runs", "List the experiments of a store, one line each, the latest last."
    ),
    "show": Entry("commands.show", "show", "Show one run: its state, lineage, status and keys."),
    "tail": Entry(
        "commands.live_tail", "tail", "Print the last rows of a run, and follow those to come."
    ),
    "plot": Entry("commands.plot", "plot", "Plot keys of one or several runs."),
    "report": Entry("commands.report", "report", "Write a report: one HTML file on experiments."),
    "export": Entry("commands.export", "export", "Export runs as CSV, JSON lines or Parquet."),
    "diff": Entry("commands.diff", "diff", "Compare two runs: their statuses and last values."),
    "merge": Entry("commands.upkeep", "merge", "Copy the runs of other stores into this one."),
    "backup": Entry("commands.upkeep", "backup", "Copy a snapshot of the store to a new file."),
    "check": Entry(
        "commands.upkeep", "check", "Examine a store: every page, every index, every value."
    ),
    "seal": Entry(
        "commands.upkeep", "seal", "Pack the numbers of runs into segments, which saves space."
    ),
    "rename": Entry("comparing.editing", "rename", "Give an experiment another name."),
    "tag": Entry("comparing.editing", "tag", "Tag an experiment, or show its tags."),
    "note": Entry("comparing.editing", "note", "Write the notes of an experiment, or show them."),
    "config": Entry(
        "comparing.editing", "config", "Show the config of an experiment, or change it."
    ),
    "archive": Entry("comparing.editing", "archive", "Put experiments aside, or bring them back."),
    "delete": Entry(
        "commands.upkeep", "delete", "Delete experiments for good, and give their space back."
    ),
    "upgrade": Entry(
        "commands.upkeep", "upgrade", "Upgrade a store to the schema of this version."
    ),
    "demo": Entry(
        "commands.upkeep", "demo", "Train a small network, interrupt it, resume it, and plot it."
    ),
    "trials": Entry(
        "trial_commands.trial_list", "trials", "List the trials of a store, the latest last."
    ),
    "import": Entry(
        "trial_commands.trial_import",
        "import_",
        "Copy trials, with all that they logged, into this store.",
    ),
    "trial": Entry(
        "trial_commands.trial_groups",
        "trial",
        "Show, compare and export single trials.",
        group=True,
    ),
    "project": Entry("trial_commands.trial_groups", "project", "Show projects.", group=True),
}


class Later(TyperCommand):
    """A command whose module is imported when it runs or shows its own help."""

    def __init__(self, name: str, entry: Entry) -> None:
        super().__init__(name=name, help=entry.help)
        self._entry = entry

    def make_context(self, *arguments: object, **options: object) -> Any:
        """Import the command, and return its context."""
        return self.real().make_context(*arguments, **options)

    def real(self) -> Any:
        """Import and return the command."""
        module = importlib.import_module(f"traininglog.cli.{self._entry.module}")
        found = getattr(module, self._entry.function)
        if self._entry.group:
            return typer.main.get_group(found())
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(name=self.name)(found)
        return typer.main.get_command(alone)


class Commands(Manners):
    """The group of all commands."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name, entry in COMMANDS.items():
            self.add_command(Later(name, entry))


app = typer.Typer(
    cls=Commands,
    name="traininglog",
    no_args_is_help=True,
    rich_markup_mode=None,  # the help is plain paragraphs and examples, and contains brackets
    pretty_exceptions_enable=False,  # a bug shows Python's own traceback, for a report
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
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version, and exit."
        ),
    ] = False,
) -> None:
    """Look at training logs, and look after the stores that hold them.

    A store is one SQLite file of many runs. Name it with --store, or set TRAININGLOG_STORE.
    Name a run by its name, or by the start of its UUID. Commands that need one run take the latest
    by default.

    With --json a command prints strict JSON. NaN and infinities are the strings "NaN", "Infinity"
    and "-Infinity". None is null. Bytes are base64. Arrays are lists. Datetimes are ISO 8601.

    The exit status is 0. After a mistake it is 1, and stderr has a line on it. After a wrong option
    it is 2.

    Example: traininglog runs --store runs.db
    """
