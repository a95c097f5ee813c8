"""The arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        "-s",
        metavar="PATH",
        help="The store. Default: TRAININGLOG_STORE, else a TOML file's, else traininglog.db.",
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
    typer.Argument(metavar="RUN", help="A UUID or the start of one. Default: the latest run."),
]
TrialArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="TRIAL",
        help="A UID, or the start of its hash, perhaps with _N. Default: the latest trial.",
    ),
]
RunsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="RUN", help="UUIDs or their starts. Default: the latest run."),
]
KeysOption = Annotated[
    list[str] | None,
    typer.Option("--keys", "-k", metavar="GLOB", help="A key, or a glob of keys. Repeatable."),
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", "-n", min=1, help="Only so many, the latest.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Overwrite the output file if it exists.")
]
