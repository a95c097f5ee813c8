"""Drawing lenses' numbers on one axis: lines and bands, stacked shares, heat maps of quantiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from traininglog.lenses.catalogue.histogram import NON_FINITE
from traininglog.lenses.numbers.statistics import RANGES
from traininglog.lenses.tags.attributes import TagAttributes, printable
from traininglog.palette import COLOURS, GRID

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BANDS = {"std": 0.25, "Q1-Q3": 0.25, "min-max": 0.12}
_BAD = "#C0392B"
_BINS = 64

#: The maximal number of names in a legend inside an axis and beside it, and of letters in a name.
_INSIDE, _BESIDE, _LETTERS = 6, 14, 18

#: When colours repeat, areas become fainter, and lines change their style.
_FAINTER = (0.85, 0.55, 0.3)
_STYLES = ("-", "--", ":")

#: The styles of lines as text.
_SIGNS = ("—", "- -", "···")


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
        """Return one statistic over time, with NaN for what is missing or no number."""
        return np.array([_number(points.get(name)) for points in self.points])


def draw_layer(
    axis: Axes, layer: str, attributes: TagAttributes, series: Series, *, first: bool = True
) -> None:
    """Draw one layer of a tag, with its name above; for the first layer, also name the lines."""
    if attributes.kind == "distribution":
        _heat_map(axis, series)
    elif attributes.kind == "relation":
        _stack(axis, {layer: series})
    else:
        _line(axis, attributes, series, 0)
    _dress(axis, attributes)
    several = first and len(attributes.lines) > 1
    letters = 26 if several else 45
    name = axis.text(
        0.0, 1.02, _short(layer, letters), transform=axis.transAxes, va="bottom", fontsize=8
    )
    name.set_parse_math(False)
    if several:
        axis.text(
            1.0, 1.02, _line_names(attributes), transform=axis.transAxes, va="bottom", ha="right",
            fontsize=7, parse_math=False,
        )  # fmt: skip


def named_beside(attributes: TagAttributes, layers: Mapping[str, Series]) -> bool:
    """Return whether the names of layers on one axis need separate room beside it."""
    if attributes.kind == "distribution":
        return False
    return attributes.kind == "relation" or len(layers) > _INSIDE


def draw_together(
    axis: Axes, tag: str, attributes: TagAttributes, layers: Mapping[str, Series],
    beside: Axes | None,
) -> None:  # fmt: skip
    """Draw all layers of a tag on one axis, with a legend in the axis `beside`, if there is one."""
    handles: list[Any] = []
    if attributes.kind == "relation":
        handles = _stack(axis, layers)
    elif attributes.kind == "distribution":
        _heat_map(axis, next(iter(layers.values())))
    else:
        handles = [
            _line(axis, attributes, series, number) for number, series in enumerate(layers.values())
        ]
    _dress(axis, attributes)
    axis.set_ylabel(printable(attributes.unit), parse_math=False)
    axis.set_title(tag, loc="left", fontweight="bold", parse_math=False)
    if len(attributes.lines) > 1:
        axis.set_title(_line_names(attributes), loc="right", fontsize=7, parse_math=False)
    if not handles:
        return
    named = dict(zip(layers, handles, strict=True))
    if beside is None:
        _legend(axis, [(_short(layer, 28), handle) for layer, handle in named.items()], "best")
        return
    beside.set_axis_off()
    chosen = _greatest(attributes, layers)
    if attributes.kind == "relation":
        chosen.reverse()  # in the order of the stacked areas, from the top
    shown = [(_short(layer, _LETTERS), named[layer]) for layer in chosen]
    if len(chosen) < len(named):
        shown.append(
            (f"and {len(named) - len(chosen)} others", beside.plot([], linestyle="none")[0])
        )
    _legend(beside, shown, "center left")


def _greatest(attributes: TagAttributes, layers: Mapping[str, Series]) -> list[str]:
    """Return the layers for the legend, in their order; of many layers the greatest ones."""
    if len(layers) <= _BESIDE:
        return list(layers)
    point = "share" if attributes.kind == "relation" else attributes.line
    sizes = {layer: _size(series.column(point)) for layer, series in layers.items()}
    kept = set(sorted(sizes, key=sizes.__getitem__, reverse=True)[: _BESIDE - 1])
    return [layer for layer in layers if layer in kept]


def _legend(
    axis: Axes, shown: Sequence[tuple[str, Any]], place: Literal["best", "center left"]
) -> None:
    # The names are set afterwards, as Matplotlib leaves out those that begin with "_".
    legend = axis.legend(
        [handle for _, handle in shown], ["-"] * len(shown), fontsize=7.5, frameon=False,
        handlelength=1.2, handletextpad=0.5, borderpad=0.4, loc=place,
    )  # fmt: skip
    for text, (name, _) in zip(legend.get_texts(), shown, strict=True):
        text.set_parse_math(False)
        text.set_text(name)
    legend.set_in_layout(place == "best")


def _size(values: Any) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.mean()) if finite.size else 0.0


def _line(axis: Axes, attributes: TagAttributes, series: Series, number: int) -> Any:
    again, place = divmod(number, len(COLOURS))
    colour = COLOURS[place]
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
    handles = []
    finite = np.full(times.shape, True)
    for place, name in enumerate(attributes.lines):
        values = series.column(name)
        finite &= np.isfinite(values)
        shown = np.where(np.isfinite(values), values, np.nan)
        if attributes.log_scale:
            shown = np.where(shown > 0, shown, np.nan)
        style = _STYLES[(again if len(attributes.lines) == 1 else place) % len(_STYLES)]
        handles += axis.plot(
            times, shown, color=colour, linestyle=style, linewidth=1.3 if place == 0 else 1.0,
            marker="o" if len(times) <= 25 else "", markersize=2.5,
        )  # fmt: skip
    _mark(axis, times, ~finite)
    return handles[0]


def _mark(axis: Axes, times: Any, bad: Any) -> None:
    """Draw a red line at the first time with a non-finite number."""
    where = np.flatnonzero(bad)
    if where.size:
        axis.axvline(times[where[0]], color=_BAD, linewidth=1.2, linestyle=(0, (3, 2)))


def _line_names(attributes: TagAttributes) -> str:
    """Return the names of several lines, each with the sign of its style."""
    return "   ".join(
        f"{_SIGNS[place % len(_SIGNS)]} {printable(name)}"
        for place, name in enumerate(attributes.lines)
    )


def _stack(axis: Axes, layers: Mapping[str, Series]) -> list[Any]:
    times = sorted({time for series in layers.values() for time in series.times})
    place = {time: number for number, time in enumerate(times)}
    shares = np.zeros((len(layers), len(times)))
    bad = np.full(len(times), False)
    for row, series in zip(shares, layers.values(), strict=True):
        found = series.column("share")
        at = [place[time] for time in series.times]
        row[at] = np.nan_to_num(found, posinf=0.0, neginf=0.0)
        bad[at] |= ~np.isfinite(found)
    _mark(axis, times, bad)
    colours = [_colour(number) for number in range(len(layers))]
    if len(times) == 1:  # an area without width would be invisible
        times, shares = [times[0] - 0.5, times[0] + 0.5], np.repeat(shares, 2, axis=1)  # type: ignore[list-item]
    patches = axis.stackplot(times, shares, colors=colours, linewidth=0)
    axis.set_ylim(0, 1)
    return list(patches)


def _heat_map(axis: Axes, series: Series) -> None:
    """Draw the density between quantiles; a darker colour means more values."""
    names = sorted({name for points in series.points for name in points if name[0] == "q"})
    names.sort(key=lambda name: int(name[1:]))
    if not names:
        return
    shares = np.array([int(name[1:]) / 100 for name in names])
    quantiles = np.array([series.column(name) for name in names]).T
    usable = np.isfinite(quantiles).all(axis=1)
    some = np.array([bool(points.get(NON_FINITE)) for points in series.points])
    _mark(axis, series.times, ~usable | some)
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
    # A logarithmic axis can show only positive numbers.
    if attributes.log_scale and any(
        np.any(np.asarray(line.get_ydata(), dtype=float) > 0) for line in axis.lines[:1]
    ):
        axis.set_yscale("log")
        _label_plainly(axis)
    else:
        axis.yaxis.set_major_formatter(plain_ticks())
    axis.xaxis.set_major_formatter(plain_ticks())
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
    """Label a logarithmic axis with few plain numbers, such as 0.05, and no powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_ylim()
    narrow = high / low < 100 if low > 0 else False
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,), numticks=5))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def plain_ticks() -> Any:
    """Return a formatter with complete numbers, such as 20.113, and no offset or power of ten.

    Matplotlib would put an offset or power at the axis end, over the name of a layer.
    """
    from matplotlib.ticker import Formatter

    class Plain(Formatter):
        def __call__(self, value: float, pos: int | None = None) -> str:
            return tick_texts([value])[0]

        def format_ticks(self, values: Any) -> list[str]:
            return tick_texts([float(value) for value in values])

    return Plain()


def tick_texts(values: Sequence[float]) -> list[str]:
    """Return numbers as texts with just enough digits to distinguish them.

    >>> tick_texts([0.0, 2e-11, 4e-11])
    ['0', '2e-11', '4e-11']
    >>> tick_texts([20.1132, 20.1134])
    ['20.1132', '20.1134']
    """
    finite = sorted({value for value in values if np.isfinite(value)})
    top = max(map(abs, finite), default=0.0)
    apart = min((b - a for a, b in pairwise(finite)), default=top)
    kind = "f" if top == 0 or 1e-3 <= top < 1e6 else "e"
    texts = [f"{value:g}" for value in values]
    for digits in range(17):
        texts = [f"{value:.{digits}{kind}}" for value in values]
        told = [abs(float(f"{value:.{digits}{kind}}") - value) for value in finite]
        if all(missed <= 1e-3 * apart for missed in told):
            break
    return [_plain(text) for text in texts]


def _plain(text: str) -> str:
    number, power, exponent = text.partition("e")
    if float(number) == 0:
        return "0"
    return f"{number}e{int(exponent)}" if power else text


def label_letters(axis: Axes) -> int:
    """Return the number of letters of the longest label at the left of an axis."""
    return max((len(label.get_text()) for label in axis.get_yticklabels()), default=0)


def _colour(number: int) -> Any:
    """Return a colour with its opacity."""
    times, place = divmod(number, len(COLOURS))
    return COLOURS[place], _FAINTER[times % len(_FAINTER)]


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


def _short(text: str, most: int) -> str:
    text = printable(text)
    return text if len(text) <= most else "…" + text[-(most - 1) :].lstrip("._/ ")
