"""`traininglog report`: experiments on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from traininglog.cli.mistakes import Mistake
from traininglog.cli.options import ForceOption, KeysOption, SortOption, StoreOption, WhereOption
from traininglog.cli.output.files import check_target, complete
from traininglog.cli.output.terminal import note
from traininglog.cli.stores import opened, patterns
from traininglog.query.groups import Of


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN", help="Name runs by name, UUID, or the start of it. Default: all."
        ),
    ] = None,
    store: StoreOption = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Write this HTML file.")
    ] = Path("report.html"),
    where: WhereOption = None,
    sort: SortOption = None,
    limit: Annotated[
        int,
        typer.Option("--limit", "-n", min=1, help="Show only this many; the page says so."),
    ] = 100,
    keys: KeysOption = None,
    group_by: Annotated[
        list[str] | None,
        typer.Option(
            "--group-by", metavar="NAME", help="Add means over runs that share this. Repeatable."
        ),
    ] = None,
    of: Annotated[
        str, typer.Option("--of", metavar="WHICH", help="Group by last, best, min or max values.")
    ] = "last",
    title: Annotated[
        str | None, typer.Option("--title", metavar="TEXT", help="Give the page this heading.")
    ] = None,
    force: ForceOption = False,
) -> None:
    """Write a report: one HTML file on experiments.

    The page has a line for each experiment, means of groups, curves, what differs in the
    configuration, the lineage and the environment. It needs no network and no server, works without
    its script, and can be printed.

    Without --sort the latest runs are shown, with --sort the first ones. The page says how many
    there are. Groups count all of them. Curves are of the first 12 keys.

    Example: traininglog report --output sweep.html --group-by config.lr
    """
    if of not in get_args(Of):
        raise Mistake(f"--of must be one of {', '.join(get_args(Of))}, not {of!r}")
    check_target(output, force=force)
    with opened(store) as file:
        page = file.report_html(
            runs or None, where=where, sort=sort or None, limit=limit, keys=patterns(keys),
            group_by=group_by or (), of=of, title=title,  # type: ignore[arg-type]  # checked above
        )  # fmt: skip
    with complete(output, force=force) as part:
        part.write_text(page, encoding="utf-8", errors="backslashreplace")
    note(f"wrote {output}")
