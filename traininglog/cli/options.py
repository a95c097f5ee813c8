"""The arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from traininglog.cli import completion

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        "-s",
        metavar="PATH",
        help="Use this store. Default: TRAININGLOG_STORE, a TOML file, or traininglog.db.",
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json", help='Print JSON; NaN and infinities are "NaN", "Infinity", "-Infinity".'
    ),
]
RunArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        autocompletion=completion.runs,
        help="Name a run by its name, its UUID, or the start of it. Default: the latest.",
    ),
]
TrialArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="TRIAL",
        help="Name a trial by its UID, or the start of its hash. Default: the latest trial.",
    ),
]
RunsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RUN",
        autocompletion=completion.runs,
        help="Name runs by name, UUID, or the start of it. Default: the latest run.",
    ),
]
KeysOption = Annotated[
    list[str] | None,
    typer.Option(
        "--keys",
        "-k",
        metavar="GLOB",
        autocompletion=completion.keys,
        help="Take this key, or the keys that fit a glob. Repeatable. Default: all.",
    ),
]
WhereOption = Annotated[
    str | None,
    typer.Option(
        "--where",
        "-w",
        metavar="EXPRESSION",
        help="Take only runs for which this holds, such as 'config.lr < 0.1'.",
    ),
]
SortOption = Annotated[
    list[str] | None,
    typer.Option(
        "--sort", metavar="NAME", help="Sort by this; -NAME: the greatest first. Repeatable."
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", "-n", min=1, help="Take only this many, the latest. Default: all."),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Overwrite the output file if it exists.")
]
