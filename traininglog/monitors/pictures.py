"""Draws the frame of a monitor with matplotlib. This module is imported when it has to draw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from traininglog.palette import COLOURS, INK
from traininglog.plots.look import Picture, dress, styled, tell

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEARNING_RATE = "learning_rate"
_SKIP, _SKIP_SHARE = 100, 10  # skip at most this many rows, and at most one of so many
_SMOOTH, _SMOOTH_SHARE = 50, 20
# One set of colours for each axis.
_COLOURS = ((*COLOURS[:3], COLOURS[6]), (*COLOURS[3:6], COLOURS[7]))


def plot(
    frame: pd.DataFrame,
    *,
    title: str | None,
    figsize: tuple[float, float] | None,
    skip_first: int | None,
    smooth_window: int | None,
    metrics: Sequence[str],
    hyperparameters: Sequence[str] | Mapping[str, Mapping[str, Any]] | None,
    figure: Figure | None,
) -> Figure:
    """Draw metrics, and a row per hyperparameter; see `DataframeMonitor.plot`."""
    if not 1 <= len(metrics) <= 2:
        raise ValueError(f"a plot has one metric or two, an axis for each, not {len(metrics)}")
    if smooth_window is not None and smooth_window < 1:
        raise ValueError(f"smooth_window is at least 1, not {smooth_window}")
    drawn = [columns_of(frame, metric) for metric in metrics]
    rows: list[tuple[str, list[str], Mapping[str, Any]]] = []
    if hyperparameters is None:
        if found := _ending_with(frame, _LEARNING_RATE):
            rows = [(_LEARNING_RATE, found, {})]
    else:
        names = [hyperparameters] if isinstance(hyperparameters, str) else hyperparameters
        styles = hyperparameters if isinstance(hyperparameters, Mapping) else {}
        rows = [(name, columns_of(frame, name), styles.get(name, {})) for name in names]
    if skip_first is None:
        skip_first = min(_SKIP, len(frame) // _SKIP_SHARE)
    left = frame.iloc[max(0, skip_first) :]
    shown = [*drawn, *(columns for _, columns, _ in rows)]
    left, notes = _numbers(left, list(dict.fromkeys(c for columns in shown for c in columns)))
    if skip_first > 0:
        notes.insert(0, f"left out: the first {skip_first:,} of {len(frame):,} rows")
    if not len(left):
        raise ValueError(
            f"there is nothing to draw: of {len(frame)} rows the first {skip_first} are skipped"
        )
    if smooth_window is None:
        smooth_window = max(1, min(_SMOOTH, len(left) // _SMOOTH_SHARE))
    if figure is None:
        figure = Picture(figsize or (11.0, 4.2 + 1.5 * len(rows)))
    with styled():
        panels = figure.subplots(
            1 + len(rows), squeeze=False, sharex=True, height_ratios=[3.2] + [1.0] * len(rows)
        )
        top, *below = (axes for (axes,) in panels)
        _draw_metrics(top, left, metrics, drawn, smooth_window)
        for axes, (name, columns, style) in zip(below, rows, strict=True):
            for column, colour in zip(columns, _colours(0, columns), strict=True):
                values = left[column].dropna().astype("float64")
                label = _label(column, name)
                axes.plot(values, **{"color": colour, "linewidth": 1.5, "label": label, **style})
            axes.set_ylabel(_words(name), parse_math=False)
            if len(columns) > 1:
                _legend(axes, axes.get_lines())
        for axes in (top, *below):
            dress(axes, margin=0.01)
        panels[-1][0].set_xlabel("step")
        figure.align_ylabels([axes for (axes,) in panels])
        if smooth_window > 1:
            notes.append(f"smoothed: the mean over {smooth_window:,} rows")
        tell(figure, notes)
        if title is not None:
            figure.suptitle(title, x=0.01, ha="left", fontsize=12, color=INK, parse_math=False)
    return figure


def _numbers(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Return a frame whose columns are numbers, and notes of what is not shown of them."""
    frame = frame.copy()
    notes = []
    for column in columns:
        values = frame[column].tolist()
        numbers = [float(v) if isinstance(v, (int, float)) else math.nan for v in values]
        texts = sum(v is not None and not isinstance(v, (int, float)) for v in values)
        infinite = sum(map(math.isinf, numbers))
        if texts:
            notes.append(f"left out: {texts:,} values of {column} that are not numbers")
        if infinite:
            notes.append(f"left out: {infinite:,} infinities of {column}")
        gaps = sum(map(math.isnan, numbers)) - texts
        if gaps:
            notes.append(f"{column}: {gaps:,} of {len(values):,} rows without a number (or NaN)")
        frame[column] = [number if math.isfinite(number) else math.nan for number in numbers]
    return frame, notes


def plot_survey(
    frame: pd.DataFrame,
    *,
    axes: Axes | None,
    metric: str,
    learning_rate: str,
    line: Mapping[str, Any],
) -> Axes:
    """Draw a metric over the learning rate; see `DataframeMonitor.plot_learning_rate_survey`."""
    rates = columns_of(frame, learning_rate)
    if len(rates) > 1:
        raise KeyError(
            f"{learning_rate!r} may be any of {', '.join(map(repr, rates))}: name one of them"
        )
    if metric not in frame:
        _refuse(frame, metric)
    rate = frame[rates[0]].astype("float64").bfill()
    means = frame[metric].astype("float64").groupby(rate).mean().dropna()
    if not len(means):
        raise ValueError(f"there is nothing to draw: no row has {metric!r} and {rates[0]!r}")
    if axes is None:
        figure = Picture((8.0, 4.6))
        with styled():
            axes = figure.subplots()
    with styled():
        axes.plot(means, **{"color": _COLOURS[0][0], "linewidth": 1.6, **line})
        axes.set_xlabel(_words(rates[0]), parse_math=False)
        axes.set_ylabel(_words(metric), parse_math=False)
        dress(axes, log_x=True, log_y=True, margin=0.01)
    return axes


def columns_of(frame: pd.DataFrame, name: str) -> list[str]:
    """Return the columns that a name stands for. Raises `KeyError` if there are none."""
    found = _ending_with(frame, name)
    if not found:
        _refuse(frame, name)
    return found


def _ending_with(frame: pd.DataFrame, name: str) -> list[str]:
    return [
        column
        for column in frame.columns
        if column == name or column.endswith((f"_{name}", f"/{name}"))
    ]


def _refuse(frame: pd.DataFrame, name: str) -> None:
    known = ", ".join(map(repr, frame.columns)) or "none yet"
    raise KeyError(f"no column is named {name!r} or ends with it; there are: {known}")


def _draw_metrics(
    axes: Axes,
    frame: pd.DataFrame,
    metrics: Sequence[str],
    drawn: Sequence[Sequence[str]],
    window: int,
) -> None:
    lines: list[Any] = []
    for side, (metric, columns) in enumerate(zip(metrics, drawn, strict=True)):
        where: Any = axes if side == 0 else axes.twinx()
        for column, colour in zip(columns, _colours(side, columns), strict=True):
            values = frame[column].dropna().astype("float64")
            # Over rows, not over values: else a seldom measured metric would be smoothed too far.
            mean = (
                frame[column].astype("float64").rolling(window, min_periods=1, center=True).mean()
            )
            smooth = mean[frame[column].notna()]
            where.plot(values, color=colour, linewidth=0.8, alpha=0.35)
            few: dict[str, Any] = {"marker": "o", "markersize": 3.5} if len(values) <= 40 else {}
            lines += where.plot(smooth, color=colour, linewidth=1.8, label=_words(column), **few)
        where.set_ylabel(_words(metric), parse_math=False)
        where.spines["top"].set_visible(False)
        if side == 1:
            where.spines[["left", "right"]].set_visible(False)
            where.tick_params(length=3)
    _legend(axes, lines)


def _legend(axes: Axes, lines: Sequence[Any]) -> None:
    # Above the axes, where it hides nothing: lines of a second axis would run across it.
    legend = axes.legend(
        handles=list(lines), frameon=False, fontsize=9, handlelength=1.8, ncols=4,
        loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.2, borderpad=0.0,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)  # a "$" in a name is a "$"


def _colours(side: int, columns: Sequence[str]) -> list[str]:
    chosen = _COLOURS[side]
    return [chosen[number % len(chosen)] for number in range(len(columns))]


def _words(name: str) -> str:
    return name.replace("_", " ")


def _label(column: str, name: str) -> str:
    """Return the part of a column's name before `name`, mostly the group of parameters."""
    return _words(column.removesuffix(name).rstrip("_/") or column)
