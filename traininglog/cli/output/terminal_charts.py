"""Drawing curves in the terminal with plotille."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from traininglog.cli.output.terminal import say
from traininglog.cli.output.text import shortened
from traininglog.errors import MissingExtra
from traininglog.plots.curves import Curve, segments, smoothed, thinned

_COLOURS = ("bright_blue", "bright_red", "bright_green", "bright_magenta", "bright_yellow",
            "bright_cyan")  # fmt: skip
MOST_CHARTS = 12  # more are too long to look at
_MARGIN = 26  # the width of plotille's text beside the drawing


def draw(
    groups: Sequence[Sequence[Curve]],
    x: str,
    *,
    dates: bool = False,
    log_y: bool,
    smooth: float | None,
    colour: bool,
) -> None:
    """Print one chart per group of curves, as wide as the terminal; `dates`: x in unix seconds."""
    try:
        import plotille
    except ImportError as error:
        raise MissingExtra(
            "a plot in the terminal needs plotille; install it with: pip install "
            '"traininglog[plot]", or name a file with --output'
        ) from error
    columns, lines = shutil.get_terminal_size((80, 24))
    width = max(20, columns - _MARGIN)
    height = max(8, min(20, lines - 10)) if len(groups) == 1 else max(6, min(10, lines // 3))
    for number, curves in enumerate(groups):
        if number:
            say("")
        _chart(
            plotille, curves, x, width, height,
            dates=dates, log_y=log_y, smooth=smooth, colour=colour,
        )  # fmt: skip


def _chart(
    plotille: Any,
    curves: Sequence[Curve],
    x: str,
    width: int,
    height: int,
    *,
    dates: bool,
    log_y: bool,
    smooth: float | None,
    colour: bool,
) -> None:
    figure = plotille.Figure()
    figure.width, figure.height = width, height
    figure.origin = False
    figure.color_mode, figure.with_colors = "names", colour
    keys = list(dict.fromkeys(curve.key for curve in curves))
    runs = list(dict.fromkeys(curve.run for curve in curves))
    figure.x_label = shortened(x, 30)
    figure.y_label = shortened(keys[0] if len(keys) == 1 else "value", 20)
    span = max((float(c.xs[-1] - c.xs[0]) for c in curves if len(c.xs)), default=0.0)
    if dates:
        figure.x_ticks_fkt = lambda value, _: _date(value, span)
    else:
        figure.x_ticks_fkt = lambda value, _: _tick(value, span)
    figure.y_ticks_fkt = lambda value, _: f"{10**value if log_y else value:.4g}"
    legend = []
    heights: list[float] = []
    places: list[float] = []
    for number, curve in enumerate(curves):
        shade = _COLOURS[number % len(_COLOURS)]
        ys = curve.ys if smooth is None else smoothed(curve.xs, curve.ys, smooth)
        xs, ys = thinned(curve.xs, ys, 4 * width)
        pieces = list(segments(xs, ys))
        for across, up in pieces:
            heights += up
            places += across
            marks = [math.log10(y) for y in up] if log_y else up
            if len(across) == 1:
                figure.scatter(across, marks, lc=shade if colour else None)
            else:
                figure.plot(across, marks, lc=shade if colour else None)
        label = [*([curve.key] if len(keys) > 1 else []), *([curve.run] if len(runs) > 1 else [])]
        legend.append((", ".join(label), shade if colour else ""))
        if not pieces:
            legend[-1] = (f"{legend[-1][0] or curve.key}: only NaN", legend[-1][1])
    say(f"{', '.join(keys)}   {runs[0] if len(runs) == 1 else f'{len(runs)} runs'}", "bold")
    if heights:
        low, high = min(heights), max(heights)
        if low == high:  # puts a flat line in the middle, not on the edge
            room = abs(low) * 0.1 or 1.0
            low, high = (low / 2, high * 2) if log_y else (low - room, high + room)
        if min(places) < max(places):
            figure.set_x_limits(min(places), max(places))
        figure.set_y_limits(*((math.log10(low), math.log10(high)) if log_y else (low, high)))
        print(figure.show(legend=False))  # noqa: T201 - holds only escaped labels and its own codes
    for text, style in legend:
        if text:
            say(f"  ⠤⠤ {text}", style)
    resumed = sorted({mark for curve in curves for mark in curve.resumed})
    if resumed:
        shown = ", ".join(_date(mark, 0) if dates else _exact(mark) for mark in resumed[:10])
        say(f"  resumed at {x} {shown}" + (", …" if len(resumed) > 10 else ""), "dim")


def _tick(value: float, span: float) -> str:
    if span >= 50:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 1000 else f"{value:.4g}"


def _exact(mark: float) -> str:
    return str(mark) if isinstance(mark, int) else f"{mark:.6g}"


def _date(seconds: float, span: float) -> str:
    """Return unix seconds as a time of day (UTC); for a span over a day, with the date."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%m-%d %H:%M" if span > 86400 else "%H:%M:%S")
