"""One axis of lenses' numbers: lines and bands, stacked shares, a heat map of quantiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from traininglog.lenses.statistics import RANGES
from traininglog.lenses.tags import TagAttributes, printable
from traininglog.palette import COLOURS, GRID

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BANDS = {"std": 0.25, "Q1-Q3": 0.25, "min-max": 0.12}
_BAD = "#C0392B"
_BINS = 64


class Series:
    """Numbers of one layer of one tag, over time."""

    __slots__ = ("points", "times")

    def __init__(self) -> None:
        self.times: list[int] = []
        self.points: list[dict[str, float]] = []

    def add(self, time: int, points: Mapping[str, float]) -> None:
        """Append the numbers of a time."""
        self.times.append(time)
        self.points.append(dict(points))

    def column(self, name: str) -> Any:
        """Return one statistic over time; NaN where it is missing or is no number."""
        return np.array([_number(points.get(name)) for points in self.points])


def draw_layer(axis: Axes, layer: str, attributes: TagAttributes, series: Series) -> None:
    """Draw one layer of a tag."""
    if attributes.kind == "distribution":
        _heat_map(axis, series)
    elif attributes.kind == "relation":
        _stack(axis, {layer: series})
    else:
        _line(axis, attributes, series, COLOURS[0], "")
    _dress(axis, attributes)
    name = axis.text(
        0.015, 0.95, _short(layer, 40), transform=axis.transAxes, va="top", fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.75}, zorder=5,
    )  # fmt: skip
    name.set_parse_math(False)


def draw_together(
    axis: Axes, tag: str, attributes: TagAttributes, layers: Mapping[str, Series]
) -> None:
    """Draw all layers of a tag on one axis."""
    if attributes.kind == "relation":
        handles = _stack(axis, layers)
    elif attributes.kind == "distribution":
        first = next(iter(layers.values()))
        _heat_map(axis, first)
        handles = []
    else:
        handles = [
            _line(axis, attributes, series, COLOURS[number % len(COLOURS)], layer)
            for number, (layer, series) in enumerate(layers.items())
        ]
    _dress(axis, attributes)
    axis.set_ylabel(printable(attributes.unit), parse_math=False)
    axis.set_title(tag, loc="left", fontweight="bold", parse_math=False)
    if handles:
        names = [_short(layer, 28) for layer in layers]
        columns = 1 if len(names) <= 6 else 2
        outside: dict[str, Any] = {"loc": "best"}
        if attributes.kind == "relation":
            outside = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
            handles, names = handles[::-1], names[::-1]  # as they lie over each other
        # Named afterwards: Matplotlib leaves out what begins with "_".
        legend = axis.legend(
            handles, ["-"] * len(names), fontsize=7.5, frameon=False, ncols=columns,
            handlelength=1.4, **outside,
        )  # fmt: skip
        for text, name in zip(legend.get_texts(), names, strict=True):
            text.set_parse_math(False)
            text.set_text(name)


def _line(axis: Axes, attributes: TagAttributes, series: Series, colour: str, label: str) -> Any:
    times = np.array(series.times)
    values = series.column(attributes.line)
    for name in attributes.ranges:
        low, high = (series.column(part) for part in RANGES[name])
        if name == "std":
            with np.errstate(invalid="ignore"):
                low, high = low - high, low + high
        if attributes.log_scale:
            with np.errstate(invalid="ignore"):
                low = np.where(low > 0, low, np.where(np.isfinite(values), values, np.nan))
        axis.fill_between(times, low, high, color=colour, alpha=_BANDS[name], linewidth=0)
    shown = np.where(np.isfinite(values), values, np.nan)
    if attributes.log_scale:
        shown = np.where(shown > 0, shown, np.nan)
    few = len(times) <= 25
    (line,) = axis.plot(
        times, shown, color=colour, linewidth=1.3, marker="o" if few else "", markersize=2.5
    )
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        axis.axvline(times[bad[0]], color=_BAD, linewidth=1.2, linestyle=(0, (3, 2)))
    return line


def _stack(axis: Axes, layers: Mapping[str, Series]) -> list[Any]:
    times = sorted({time for series in layers.values() for time in series.times})
    place = {time: number for number, time in enumerate(times)}
    shares = np.zeros((len(layers), len(times)))
    for row, series in zip(shares, layers.values(), strict=True):
        row[[place[time] for time in series.times]] = np.nan_to_num(
            series.column("share"), posinf=0.0, neginf=0.0
        )
    colours = [COLOURS[number % len(COLOURS)] for number in range(len(layers))]
    if len(times) == 1:  # an area of no width is not seen
        times, shares = [times[0] - 0.5, times[0] + 0.5], np.repeat(shares, 2, axis=1)  # type: ignore[list-item]
    patches = axis.stackplot(times, shares, colors=colours, alpha=0.8, linewidth=0)
    axis.set_ylim(0, 1)
    return list(patches)


def _heat_map(axis: Axes, series: Series) -> None:
    """Draw the density between quantiles: darker where more of the values are."""
    names = sorted({name for points in series.points for name in points if name[0] == "q"})
    names.sort(key=lambda name: int(name[1:]))
    if not names:
        return
    shares = np.array([int(name[1:]) / 100 for name in names])
    quantiles = np.array([series.column(name) for name in names]).T
    usable = np.isfinite(quantiles).all(axis=1)
    if not usable.any():
        return
    low, high = quantiles[usable].min(), quantiles[usable].max()
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    density = np.full((_BINS, len(series.times)), np.nan)
    for column, row in enumerate(quantiles):
        if usable[column]:
            steps = row + np.arange(row.size) * (high - low) * 1e-9  # strictly rising, to invert
            below = np.interp(edges, steps, shares, left=0.0, right=1.0)
            density[:, column] = np.diff(below)
    tops = np.nanmax(density, axis=0, where=usable, initial=0.0)
    density = density / np.where(tops > 0, tops, 1.0)
    times = np.array(series.times, dtype=float)
    middles = (times[1:] + times[:-1]) / 2
    first = times[0] - (middles[0] - times[0] if middles.size else 0.5)
    last = times[-1] + (times[-1] - middles[-1] if middles.size else 0.5)
    axis.pcolormesh(
        np.r_[first, middles, last], edges, density, cmap="Blues", vmin=0, vmax=1, rasterized=True
    )
    median = np.where(usable, series.column("q50"), np.nan)
    axis.plot(times, median, color=COLOURS[1], linewidth=0.9)


def _dress(axis: Axes, attributes: TagAttributes) -> None:
    # Without a positive number there is nothing that a logarithmic axis could show.
    if attributes.log_scale and any(
        np.any(np.asarray(line.get_ydata(), dtype=float) > 0) for line in axis.lines[:1]
    ):
        axis.set_yscale("log")
        _label_plainly(axis)
    axis.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    if attributes.limits is not None and attributes.kind != "relation":
        low, high = attributes.limits
        apart = 0.03 * (high - low) if low is not None and high is not None else 0.0
        axis.set_ylim(None if low is None else low - apart, None if high is None else high + apart)
    if attributes.kind != "distribution":
        axis.grid(visible=True, color=GRID, linewidth=0.7)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(length=2)
    axis.margins(x=0.02)


def _label_plainly(axis: Axes) -> None:
    """Label few heights of a logarithmic axis, as 0.05, where Matplotlib would write powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_ylim()
    narrow = high / low < 100 if low > 0 else False
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,), numticks=5))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


def _short(text: str, most: int) -> str:
    text = printable(text)
    return text if len(text) <= most else "…" + text[-(most - 1) :]
