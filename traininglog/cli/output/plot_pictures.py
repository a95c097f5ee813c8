"""Curves as a PNG or SVG, drawn by matplotlib."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traininglog.cli.output.curves import Curve, smoothed, thinned
from traininglog.cli.output.text import shortened
from traininglog.errors import MissingExtra
from traininglog.palette import COLOURS, FAINT, GRID, INK
from traininglog.values import StoredRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_POINTS = 8000  # more points do not change the appearance of a curve
_DASHES = ("-", "--", ":", "-.")


def save(
    path: Path,
    kind: str,
    groups: Sequence[Sequence[Curve]],
    x: str,
    *,
    dates: bool = False,
    log_y: bool,
    smooth: int,
) -> None:
    """Draw one panel per group of curves to a file. With `dates`, x is in unix seconds."""
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtra(
            'a picture needs matplotlib; install it with: pip install "traininglog[plot]"'
        ) from error
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {
        "font.size": 10.0, "axes.edgecolor": FAINT, "axes.labelcolor": INK, "text.color": INK,
        "xtick.color": FAINT, "ytick.color": FAINT, "xtick.labelcolor": INK,
        "ytick.labelcolor": INK, "axes.titlesize": 11.0, "svg.fonttype": "path",
        "agg.path.chunksize": 20000,
    }  # fmt: skip
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # Matplotlib draws a box for a letter that the font lacks; a warning adds nothing.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        across = 1 if len(groups) <= 3 else 2
        down = -(-len(groups) // across)
        height = 4.6 if down == 1 else 2.6 * down + 0.6
        figure = Figure(figsize=(8.0 if across == 1 else 11.0, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(down, across, squeeze=False, sharex=True)
        flat = [axis for row in axes for axis in row]
        for axis, curves in zip(flat, groups, strict=False):
            if dates:
                curves = [_over_days(curve) for curve in curves]  # noqa: PLW2901
            _draw(axis, curves, log_y=log_y, smooth=smooth, legend=axis is flat[0])
            if dates:
                _label_dates(axis)
        for number, axis in enumerate(flat):
            if number >= len(groups):
                axis.set_visible(False)
            elif number >= len(groups) - across:  # no panel is below
                axis.set_xlabel(shortened(x, 60), parse_math=False)
                axis.tick_params(labelbottom=True)
        figure.align_ylabels()
        _entitle(figure, groups)
        figure.savefig(path, format=kind, dpi=160, facecolor="white")


def _places(names: Iterable[str]) -> dict[str, int]:
    return {name: place for place, name in enumerate(dict.fromkeys(names))}


def _draw(axis: Axes, curves: Sequence[Curve], *, log_y: bool, smooth: int, legend: bool) -> None:
    keys = _places(curve.key for curve in curves)
    runs = _places(curve.run for curve in curves)
    handles: list[Any] = []
    labels: list[str] = []
    for number, curve in enumerate(curves):
        if len(keys) > 1 and len(runs) > 1:  # one colour per run, one line style per key
            colour = COLOURS[runs[curve.run] % len(COLOURS)]
            dash = _DASHES[keys[curve.key] % len(_DASHES)]
            labels.append(f"{curve.key}, {curve.run}")
        else:
            place = runs[curve.run] if len(runs) > 1 else number
            colour, dash = COLOURS[place % len(COLOURS)], _DASHES[place // len(COLOURS) % 4]
            labels.append(curve.run if len(runs) > 1 else curve.key)
        handles.append(_line(axis, curve, colour, dash, smooth=smooth))
    marks = {mark for curve in curves for mark in curve.resumed}
    resumed = [
        axis.axvline(mark, color=FAINT, linewidth=0.8, linestyle=(0, (2, 3)), zorder=1)
        for mark in sorted(marks)
    ]
    if resumed:
        handles.append(resumed[0])
        labels.append("resumed")
    if log_y:
        axis.set_yscale("log")
        _label_plainly(axis)
    axis.grid(visible=True, color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(x=0.02)
    axis.tick_params(length=3)
    name = shortened(next(iter(keys)) if len(keys) == 1 else "value", 40)
    axis.set_ylabel(name, parse_math=False)
    if len(curves) == 1:  # the axis has the key, and the title the run
        handles, labels = handles[1:], labels[1:]
    if legend and handles:
        _legend(axis, handles, labels)


def _over_days(curve: Curve) -> Curve:
    """Convert the x of a curve from seconds to days, the unit of matplotlib's dates."""
    days = [second / 86400 for second in curve.xs]
    return curve._replace(xs=days, resumed=[second / 86400 for second in curve.resumed])


def _label_dates(axis: Axes) -> None:
    from matplotlib import dates

    library: Any = dates  # matplotlib.dates is untyped
    locator = library.AutoDateLocator(tz=dates.UTC)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(library.ConciseDateFormatter(locator, tz=dates.UTC))


def _label_plainly(axis: Axes) -> None:
    """Label a logarithmic axis with plain numbers, such as 0.5, and no powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogFormatter

    for part, formatter in (
        (axis.yaxis.set_major_formatter, LogFormatter()),
        (axis.yaxis.set_minor_formatter, LogFormatter(minor_thresholds=(2, 0.5))),
    ):
        formatter.set_axis(axis.yaxis)  # it only chooses which ticks have a label

        def label(value: float, at: int | None, chosen: LogFormatter = formatter) -> str:
            if at is None or at == 0:
                chosen.set_locs()
            return f"{value:g}" if chosen(value, at) else ""

        part(FuncFormatter(label))


def _line(axis: Axes, curve: Curve, colour: str, dash: str, *, smooth: int) -> Any:
    xs, ys = thinned(curve.xs, curve.ys, _MOST_POINTS)
    alone = len(curve.xs) < 2 or _sparse(curve)
    marker: StoredRow = {"marker": "o", "markersize": 3.5} if alone else {}
    if smooth <= 1:
        (line,) = axis.plot(xs, ys, color=colour, linestyle=dash, linewidth=1.5, **marker)
        return line
    axis.plot(xs, ys, color=colour, linestyle=dash, linewidth=0.8, alpha=0.25)
    xs, ys = thinned(curve.xs, smoothed(curve.ys, smooth), _MOST_POINTS)
    (line,) = axis.plot(xs, ys, color=colour, linestyle=dash, linewidth=1.8, **marker)
    return line


def _sparse(curve: Curve) -> bool:
    """Return whether to draw points: they are few, or some are isolated between gaps."""
    finite = [y == y for y in curve.ys]  # noqa: PLR0124 - a gap is NaN
    alone = any(
        here and not (before or after)
        for before, here, after in zip([False, *finite], finite, [*finite[1:], False], strict=False)
    )
    return len(finite) <= 40 or (alone and len(finite) <= 400)


def _legend(axis: Axes, handles: Sequence[Any], labels: Sequence[str]) -> None:
    # The labels are set afterwards, as matplotlib leaves out those that start with "_".
    legend = axis.legend(
        handles, ["-"] * len(labels), frameon=False, fontsize=9, handlelength=1.8, loc="best"
    )
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_parse_math(False)  # a "$" in a name is a "$"
        text.set_text(shortened(label, 60))


def _entitle(figure: Any, groups: Sequence[Sequence[Curve]]) -> None:
    runs = list(dict.fromkeys(curve.run for curves in groups for curve in curves))
    if len(runs) == 1:  # several runs are in the legend
        text = figure.suptitle(shortened(runs[0], 80), fontsize=11, x=0.01, ha="left")
        text.set_parse_math(False)
    nans = [
        f"{curve.key}: first NaN at {curve.first_nan}" + (f", {curve.run}" if len(runs) > 1 else "")
        for curves in groups
        for curve in curves
        if curve.first_nan is not None
    ]
    if nans:
        more = f"; and {len(nans) - 3} more" if len(nans) > 3 else ""
        below = figure.supxlabel(
            shortened("; ".join(nans[:3]) + more, 150), fontsize=8.5, color="#B03A2E", x=0.01,
            ha="left",
        )  # fmt: skip
        below.set_parse_math(False)
