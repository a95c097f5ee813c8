"""`traininglog plot`: curves and comparisons, as a picture or in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from traininglog.cli.globs import require
from traininglog.cli.mistakes import Mistake, asking
from traininglog.cli.options import ForceOption, KeysOption, RunsArgument, StoreOption, WhereOption
from traininglog.cli.output.files import check_target, complete
from traininglog.cli.output.terminal import note, on_terminal
from traininglog.cli.stores import opened, patterns, reading, several, shortest
from traininglog.display.plain_text import visible

if TYPE_CHECKING:
    from uuid import UUID

    from traininglog.plots.curves import Curve
    from traininglog.sqlite.store import Store

_FORMATS = {".png": "png", ".svg": "svg", ".pdf": "pdf"}
_KINDS = ("curves", "scatter", "parallel", "bar")
_BANDS = ("std", "sem", "minmax", "ci95", "none")


def plot(
    runs: RunsArgument = None,
    store: StoreOption = None,
    keys: KeysOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write this .png, .svg or .pdf. Default: plot in the terminal.",
        ),
    ] = None,
    where: WhereOption = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="GLOB", help="Take the runs whose names fit a glob."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Take all runs, each with what it logged itself.")
    ] = False,
    kind: Annotated[
        str,
        typer.Option("--kind", metavar="KIND", help=f"Draw one of {', '.join(_KINDS)}."),
    ] = "curves",
    group_by: Annotated[
        list[str] | None,
        typer.Option(
            "--group-by",
            "-g",
            metavar="NAME",
            help="Draw the mean of each group, as by config.lr. Repeatable.",
        ),
    ] = None,
    band: Annotated[
        str,
        typer.Option("--band", metavar="BAND", help=f"Around a mean: {', '.join(_BANDS)}."),
    ] = "std",
    of: Annotated[
        str,
        typer.Option("--of", metavar="WHICH", help="Compare the last, min, max or best number."),
    ] = "last",
    x: Annotated[
        str | None,
        typer.Option(
            "--x",
            metavar="NAME",
            help="Plot over a key, over elapsed, or over wall. Default: time. "
            "A scatter is over a fact, such as config.lr.",
        ),
    ] = None,
    log_x: Annotated[
        bool, typer.Option("--log-x", help="Make the horizontal axis logarithmic.")
    ] = False,
    log_y: Annotated[
        bool, typer.Option("--log-y", help="Make the vertical axis logarithmic.")
    ] = False,
    smooth: Annotated[
        float | None,
        typer.Option(metavar="C", help="Smooth: what is C back on the x axis counts 1/e as much."),
    ] = None,
    panels: Annotated[
        bool, typer.Option("--panels", help="Draw a panel per key. Default: only without --keys.")
    ] = False,
    title: Annotated[str | None, typer.Option("--title", help="The title of a picture.")] = None,
    xlabel: Annotated[
        str | None, typer.Option("--xlabel", help="The label of the horizontal axis.")
    ] = None,
    ylabel: Annotated[
        str | None, typer.Option("--ylabel", help="The label of the vertical axis.")
    ] = None,
    size: Annotated[
        str | None, typer.Option("--size", metavar="WxH", help="The size in inches, such as 6x4.")
    ] = None,
    style: Annotated[
        str | None, typer.Option("--style", help="A style of Matplotlib, such as grayscale.")
    ] = None,
    lenses: Annotated[
        bool,
        typer.Option(
            "--lenses", help="Plot what lenses saw in a network. --keys takes their tags."
        ),
    ] = False,
    force: ForceOption = False,
) -> None:
    """Plot keys of one or several runs.

    Without --keys the command plots every key that has numbers. NaN, infinities and resumes are
    marked. A resumed run is one curve with its ancestors. The picture says what it leaves out.

    Without a run the command takes the latest one, and with --where, --name, --all, --group-by or
    another --kind all that fit.

    --x elapsed plots over the seconds since a run was created. --x wall plots over the wall time
    (UTC). A key of that name takes precedence.

    With --lenses the command draws one page with everything that lenses wrote to one run. Without
    --output it prints the last tick of that as a table.

    Pictures need an extra: pip install "traininglog[plot]"

    Example: traininglog plot 1f3a 99c0 --keys loss --output loss.png

    Example: traininglog plot -k loss --group-by config.lr --band ci95 -o sweep.pdf
    """
    if output is not None:
        if output.suffix.lower() not in _FORMATS:
            raise Mistake(
                f"the suffix of {output} names no format of pictures: use .png, .svg or .pdf"
            )
        check_target(output, force=force)
    if smooth is not None and not 0 < smooth < float("inf"):
        raise typer.BadParameter("it is more than 0", param_hint="--smooth")
    if kind not in _KINDS:
        raise typer.BadParameter(f"it is one of {', '.join(_KINDS)}", param_hint="--kind")
    if band not in _BANDS:
        raise typer.BadParameter(f"it is one of {', '.join(_BANDS)}", param_hint="--band")
    inches = _inches(size)
    chooses = bool(where or name or every)
    compares = bool(group_by) or kind != "curves"
    if lenses:
        if x or log_x or log_y or panels or smooth or chooses or compares:
            raise Mistake(
                "--lenses goes with --keys, --output and --force only: a run's status says "
                "how its lenses are drawn"
            )
        _lenses(runs, store, patterns(keys), output, force=force)
        return
    if output is None and compares:
        raise Mistake("groups and comparisons are drawn as a picture only: name one with --output")
    with opened(store) as file:
        chosen = None if not runs and (chooses or compares) else several(file, runs)
        require(keys, file.keys_seen())
        if output is None:
            _in_terminal(
                file, chosen, patterns(keys), x or "time", where=where, name=name, every=every,
                panels=panels or not keys, log_y=log_y, smooth=smooth,
            )  # fmt: skip
            return
        with asking():
            figure = file.plot(
                patterns(keys), where=where, runs=chosen, name=name, every=every,
                kind=cast("Any", kind), group_by=group_by, of=cast("Any", of),
                band=cast("Any", None if band == "none" else band), x=x or "time", smooth=smooth,
                panels=panels, log_x=log_x, log_y=log_y, title=title, xlabel=xlabel, ylabel=ylabel,
                size=inches, style=style,
            )  # fmt: skip
    texts = figure.get_supxlabel()
    for line in texts.splitlines():
        note(line)
    with complete(output, force=force) as part:
        figure.savefig(part, format=_FORMATS[output.suffix.lower()])
    note(f"plotted {visible(', '.join(keys or ['every key']))} to {output}")


def _inches(size: str | None) -> tuple[float, float] | None:
    """Return a size such as 6x4 in inches."""
    if size is None:
        return None
    try:
        width, height = (float(side) for side in size.lower().split("x"))
    except ValueError:
        raise typer.BadParameter("a size is such as 6x4, in inches", param_hint="--size") from None
    return width, height


def _lenses(
    runs: list[str] | None, store: str | None, wanted: list[str] | None, output: Path | None,
    *, force: bool,
) -> None:  # fmt: skip
    from traininglog.cli.commands.plot_lenses import plot_lenses

    with opened(store) as file:
        chosen = several(file, runs)
        if len(chosen) > 1:
            raise Mistake("--lenses draws a single run: name one only")
        with reading(file, chosen[0]) as log:
            plot_lenses(log, wanted, output, force=force)


def _in_terminal(
    file: Store,
    chosen: list[UUID] | None,
    keys: list[str] | None,
    x: str,
    *,
    where: str | None,
    name: str | None,
    every: bool,
    panels: bool,
    log_y: bool,
    smooth: float | None,
) -> None:
    from traininglog.cli.output.terminal_charts import MOST_CHARTS, draw
    from traininglog.plots.curves import within_float
    from traininglog.sqlite.runs.plotted import curves_of

    infos = file.plotted_runs(
        None, where=where, runs=chosen, name=name, every=every, archived=False
    )
    if not infos:
        raise Mistake("nothing to plot: no run is chosen")
    labels = {
        info.uuid: visible(f"{info.name} ({digits})" if info.name else digits)
        for info in infos
        for digits in [shortest(file, info.uuid.hex)]
    }
    with asking():
        found = curves_of(file, infos, keys, x=x, labels=labels, whole=not every)
    curves = [curve._replace(key=visible(curve.key)) for curve in found.curves]
    shown = list(dict.fromkeys(curve.key for curve in curves))
    if panels and len(shown) > MOST_CHARTS:
        raise Mistake(
            f"{len(shown)} keys have numbers, which is too much for one picture: choose with --keys"
        )
    for curve in curves:
        if curve.first_nan is not None:
            note(f"{curve.key}: first NaN at time {curve.first_nan} ({curve.run})")
        infinite = [f"{x:.6g}" for x, kind in curve.blemishes if kind != "nan"]
        if infinite:
            note(
                f"{curve.key}: first infinity at {visible(found.over)} {infinite[0]} ({curve.run})"
            )
    left_out = found.left_out
    if log_y:
        curves = [_positive(curve) for curve in curves]
    for what, number in left_out.items():
        note(f"left out: {number:,} {what}")
    axis = visible(found.over)
    curves, first = within_float(curves)
    if first:
        axis = f"{axis} - {first}"
    groups = [[c for c in curves if c.key == key] for key in shown] if panels else [curves]
    draw(groups, axis, dates=found.on_dates, log_y=log_y, smooth=smooth, colour=on_terminal())


def _positive(curve: Curve) -> Curve:
    import numpy as np

    return curve._replace(ys=np.where(curve.ys > 0, curve.ys, np.nan))
