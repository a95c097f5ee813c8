"""Curves, or the means of their groups, as a figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import dates
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from traininglog.palette import FAINT, INK
from traininglog.plots.curves import GAP, Curve, smoothed, thinned, within_float
from traininglog.plots.look import (
    MANY,
    Appearance,
    Picture,
    Shades,
    dress,
    entitle,
    legend,
    literal,
    styled,
    tell,
)
from traininglog.plots.means import BANDS, Band, MeanCurve, mean_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: More panels are too small.
MOST_PANELS = 12

#: More curves in one panel hide each other, and take long to draw.
MOST_CURVES = 1000

_DASHES = ("-", "--", ":", "-.")
_MOST_POINTS = 8000  # more points do not change the appearance of a curve
_ALL_POINTS = 600_000  # of all curves together
_MARKS = {"nan": ("x", "NaN"), "inf": ("^", "infinity"), "-inf": ("v", "-infinity")}
_MOST_MARKS = 40  # of a kind, of a curve
_MOST_RESUMES = 8  # more lines from top to bottom hide the curves


def draw(
    curves: Sequence[Curve],
    *,
    over: str = "time",
    on_dates: bool = False,
    panels: bool = False,
    smooth: float | None = None,
    band: Band | None = "std",
    grouped_by: str | None = None,
    left_out: Counter[str] | None = None,
    look: Appearance | None = None,
) -> Picture:
    """Return a figure of curves.

    Args:
        curves: The curves, those of a run under one name.
        over: The name of the x axis.
        on_dates: The x are unix seconds.
        panels: Draw a panel per key.
        smooth: Smooth with this constant, and draw what was logged faint; see `smoothed`.
        band: What to draw around the mean of a group.
        grouped_by: What the curves' groups are of; None: draw each curve.
        left_out: What was left out already, with numbers.
        look: How it looks.

    """
    look = look or Appearance()
    left_out = Counter() if left_out is None else left_out
    curves = [_positive(curve, look, left_out) for curve in curves]
    keys = list(dict.fromkeys(curve.key for curve in curves))
    if panels and len(keys) > MOST_PANELS:
        raise ValueError(
            f"{len(keys)} keys have numbers, which is too much for one picture: choose with keys"
        )
    names = list(dict.fromkeys(_who(curve, grouped_by) for curve in curves))
    if grouped_by is None and len(names) > MOST_CURVES:
        left_out[f"runs beyond the first {MOST_CURVES:,}"] += len(names) - MOST_CURVES
        kept = set(names[:MOST_CURVES])
        curves = [curve for curve in curves if curve.run in kept]
        names = names[:MOST_CURVES]
    curves, first = within_float(curves)
    axis = literal(over if look.xlabel is None else look.xlabel, 60)
    if first:
        axis = f"{axis} - {first}"
    if on_dates:  # days are the unit of matplotlib's dates
        curves = [_over_days(curve) for curve in curves]
        smooth = None if smooth is None else smooth / 86400
    if grouped_by is not None and not panels and len(keys) > 1:
        panels = True  # the mean of several keys has no sense
    shown = [[c for c in curves if c.key == key] for key in keys] if panels else [list(curves)]
    # Several keys of one run in one panel have the colours instead of the runs.
    by_key = grouped_by is None and len(names) == 1 and len(keys) > 1 and not panels
    pen = _Pen(look, smooth, band, by_key=by_key, count=len(curves), dated=on_dates)
    pen.grouped, pen.several = grouped_by is not None, len(keys) > 1
    pen.keys = [] if panels or by_key or len(keys) == 1 else keys
    with styled(look.style):
        pen.shades = Shades(keys if by_key else names, look.style)
        figure = _panels(pen, shown, names, axis, look)
        _explain(figure, figure.axes[: len(shown)], pen, curves, grouped_by)
        runs = list(dict.fromkeys(curve.run for curve in curves))
        only = runs[0] if len(runs) == 1 and grouped_by is None else None
        entitle(figure, only if look.title is None else look.title)
        tell(figure, [*pen.notes(), *_first_nans(curves), *said(left_out)])
    return figure


def _panels(
    pen: _Pen,
    shown: Sequence[Sequence[Curve]],
    names: Sequence[str],
    axis: str,
    look: Appearance,
) -> Picture:
    """Return a figure with a panel for each list of curves."""
    across = 1 if len(shown) <= 3 else 2
    down = -(-len(shown) // across)
    height = 4.6 if down == 1 else 2.6 * down + 0.6
    figure = Picture(look.size or (8.0 if across == 1 else 11.0, height), dpi=160)
    flat = [a for row in figure.subplots(down, across, squeeze=False, sharex=True) for a in row]
    for axes, some in zip(flat, shown, strict=False):
        if not pen.grouped:
            for curve in some:
                pen.curve(axes, curve)
        else:
            for name in names:
                if members := [curve for curve in some if (curve.group or "none") == name]:
                    pen.group(axes, name, members)
        pen.marks(axes, some)
        dress(axes, log_x=look.log_x, log_y=look.log_y)
        if look.log_y and _cut_bands(axes):
            pen.cut = True
        if pen.dated:
            _label_dates(axes)
        there = list(dict.fromkeys(curve.key for curve in some))
        name = there[0] if len(there) == 1 else "value"
        axes.set_ylabel(literal(name if look.ylabel is None else look.ylabel, 40), parse_math=False)
    for number, axes in enumerate(flat):
        if number >= len(shown):
            axes.set_visible(False)
        elif number >= len(shown) - across:  # no panel is below
            axes.set_xlabel(axis, parse_math=False)
            axes.tick_params(labelbottom=True)
    figure.align_ylabels()
    return figure


def said(left_out: Counter[str]) -> list[str]:
    """Return a note of what is left out."""
    if not left_out:
        return []
    return ["left out: " + "; ".join(f"{number:,} {what}" for what, number in left_out.items())]


def _who(curve: Curve, grouped_by: str | None) -> str:
    return curve.run if grouped_by is None else curve.group or "none"


def _first_nans(curves: Sequence[Curve]) -> list[str]:
    found = [curve for curve in curves if curve.first_nan is not None]
    several = len({curve.run for curve in curves}) > 1
    texts = [
        f"{curve.key}: first NaN at time {curve.first_nan}"
        + (f", {literal(curve.run, 40)}" if several else "")
        for curve in found[:3]
    ]
    if len(found) > 3:
        texts.append(f"and {len(found) - 3} more")
    return ["; ".join(texts)] if texts else []


class _Pen:
    """Draws the lines of a picture, and keeps what its legend and its notes have to say."""

    shades: Shades
    keys: list[str]  #: keys that differ by their dashes

    def __init__(
        self, look: Appearance, smooth: float | None, band: Band | None, *, by_key: bool,
        count: int, dated: bool,
    ) -> None:  # fmt: skip
        self._look = look
        self._smooth = smooth
        self._band = band
        self._by_key = by_key
        self._count = count
        self.dated = dated
        self.grouped = False
        self._most = max(500, min(_MOST_POINTS, _ALL_POINTS // max(1, count)))
        self.kinds: dict[str, None] = {}  #: what is marked
        self.resumed = False
        self.counts: dict[str, set[int]] = {}  #: how many runs count, by group
        self.bands = False
        self.cut = False  #: whether a band reaches lower than the panel
        self.changes: list[str] = []  #: where that number changes
        self.several = False  #: whether there are several keys

    def curve(self, axes: Axes, curve: Curve) -> None:
        """Draw a curve."""
        name = curve.key if self._by_key else curve.run
        colour, dash = self.shades.colour(name), self.shades.dash(name)
        if self.keys:
            dash = _DASHES[self.keys.index(curve.key) % len(_DASHES)]
        many = self.shades.many
        style: dict[str, Any] = {"color": colour, "linestyle": dash}
        if self._smooth is not None:
            faint = 0.08 if many else 0.25
            self._line(axes, curve.xs, curve.ys, linewidth=0.8, alpha=faint, gid="raw", **style)
        ys = curve.ys if self._smooth is None else smoothed(curve.xs, curve.ys, self._smooth)
        width = 1.8 if self._smooth is not None else 1.5
        if many:
            style["alpha"] = 0.75 if self._count <= 100 else 0.5
            width = 1.0 if self._count <= 100 else 0.7
        self._line(
            axes, curve.xs, ys, linewidth=width, gid="curve", points=not many and _sparse(curve),
            **style,
        )  # fmt: skip

    def group(self, axes: Axes, name: str, members: Sequence[Curve]) -> None:
        """Draw the mean of a group, and the band around it."""
        colour, dash = self.shades.colour(name), self.shades.dash(name)
        if self._smooth is not None:
            raw = mean_of(members, None)
            self._line(axes, raw.xs, raw.mean, color=colour, linewidth=0.8, alpha=0.3, gid="raw")
        mean = mean_of(members, self._band, self._smooth)
        if not len(mean.xs):
            return
        if self._band is not None and np.isfinite(mean.low).any():
            self.bands = True
            xs, low, high = _thin_band(mean, self._most, log=self._look.log_x)
            axes.fill_between(
                xs, low, high, color=colour, alpha=0.18, linewidth=0, gid="band", zorder=1.5
            )
        few = len(mean.xs) <= 40
        self._line(
            axes, mean.xs, mean.mean, color=colour, linestyle=dash, linewidth=1.8, points=few,
            gid="mean",
        )  # fmt: skip
        counts = mean.counts()
        self.counts.setdefault(name, set()).update(n for _, n in counts)
        if len(counts) > 1:
            of = literal(name, 30) + (f", {literal(members[0].key, 30)}" if self.several else "")
            text = ", ".join(f"{n} from {x:.6g}" for x, n in counts[1:5])
            more = f", and {len(counts) - 5} more changes" if len(counts) > 5 else ""
            self.changes.append(
                f"{of}: {len(counts) - 1} times"
                if self.dated
                else f"{of}: {counts[0][1]}, {text}{more}"
            )
            at = np.array([x for x, _ in counts[1:]])[:_MOST_MARKS]
            axes.plot(
                at, np.interp(at, mean.xs, mean.mean), linestyle="none", marker="|", color=colour,
                markersize=9, gid="n",
            )  # fmt: skip

    def marks(self, axes: Axes, curves: Sequence[Curve]) -> None:
        """Mark NaN and infinities at the edges of a panel, and where runs were resumed."""
        for curve in curves:
            name = curve.key if self._by_key else curve.run
            colour = self.shades.colour(curve.group or "none" if self.grouped else name)
            for kind, (marker, _) in _MARKS.items():
                at = [x for x, which in curve.blemishes if which == kind]
                if not at:
                    continue
                self.kinds[kind] = None
                if len(at) > _MOST_MARKS:
                    step = (len(at) - 1) / (_MOST_MARKS - 1)
                    at = [at[round(number * step)] for number in range(_MOST_MARKS)]
                axes.plot(
                    at, [0.985 if kind == "inf" else 0.015] * len(at), linestyle="none",
                    marker=marker, color=colour, markersize=5, gid=kind, zorder=3,
                    transform=axes.get_xaxis_transform(),
                )  # fmt: skip
        resumes = sorted({mark for curve in curves for mark in curve.resumed})
        if not resumes:
            return
        self.resumed = True
        if len(resumes) <= _MOST_RESUMES:
            for mark in resumes:
                axes.axvline(
                    mark, color=FAINT, linewidth=0.8, linestyle=(0, (2, 3)), zorder=1, gid="resumed"
                )
        else:
            axes.plot(
                resumes, [0.0] * len(resumes), linestyle="none", marker="|", markersize=8,
                color=FAINT, zorder=1, gid="resumed", transform=axes.get_xaxis_transform(),
                clip_on=False,
            )  # fmt: skip

    def notes(self) -> list[str]:
        """Return what the picture has to say of means and bands."""
        found = []
        if self.changes:
            more = f"; and {len(self.changes) - 12} more" if len(self.changes) > 12 else ""
            found.append(f"n changes: {'; '.join(self.changes[:12])}{more}")
        if self.cut:
            found.append("bands reach lower than the logarithmic axis shows")
        return found

    def _line(self, axes: Axes, xs: Any, ys: Any, *, points: bool = False, **style: Any) -> None:
        if points:
            style |= {"marker": "o", "markersize": 3.5}
        axes.plot(*thinned(xs, ys, self._most, log=self._look.log_x), **style)


def _explain(
    figure: Picture,
    axes: Sequence[Axes],
    pen: _Pen,
    curves: Sequence[Curve],
    grouped_by: str | None,
) -> None:
    """Draw a legend, or in its place a colour bar, and a legend of what is marked."""
    shades = pen.shades
    handles: list[Any] = []
    labels: list[str] = []
    title = None if grouped_by is None else grouped_by
    if shades.many:
        what = (
            "groups"
            if grouped_by is not None
            else "keys"
            if len(pen.shades.names) > len({c.run for c in curves})
            else "runs"
        )
        label = f"{len(shades.names)} {what}, in order"
        shades.bar(figure, list(axes), label if title is None else f"{title}: {label}")
        title = None
    elif len(shades.names) > 1 or grouped_by is not None:
        pairs = len(shades.names) * len(pen.keys)
        if 1 < pairs <= MANY and grouped_by is None:
            for curve in curves:
                dash = _DASHES[pen.keys.index(curve.key) % len(_DASHES)]
                handles.append(_handle(shades.colour(curve.run), dash))
                labels.append(f"{curve.key}, {curve.run}")
        else:
            for name in shades.names:
                handles.append(_handle(shades.colour(name), shades.dash(name)))
                counts = sorted(pen.counts.get(name, ()))
                n = "" if not counts else (
                    f" (n = {counts[0]})" if len(counts) == 1
                    else f" (n = {counts[0]} to {counts[-1]})"
                )  # fmt: skip
                # The number is not to be cut off with a long name.
                longest = max(12, int(figure.get_figwidth() * 4)) - len(n)
                labels.append(literal(name, longest) + n)
    if pen.keys and not (1 < len(shades.names) * len(pen.keys) <= MANY):
        for number, key in enumerate(pen.keys):
            handles.append(_handle(INK, _DASHES[number % len(_DASHES)]))
            labels.append(key)
    if pen.bands and pen._band is not None:
        handles.append(Patch(color=FAINT, alpha=0.3, linewidth=0))
        labels.append(BANDS[pen._band])
    if pen._smooth is not None:
        handles.append(Line2D([], [], color=FAINT, linewidth=0.8, alpha=0.6))
        labels.append("not smoothed")
    if pen.resumed:
        handles.append(Line2D([], [], color=FAINT, linewidth=0.8, linestyle=(0, (2, 3))))
        labels.append("resumed")
    for kind in pen.kinds:
        marker, name = _MARKS[kind]
        handles.append(Line2D([], [], color=INK, linestyle="none", marker=marker, markersize=5))
        labels.append(name)
    if handles:
        legend(figure, handles, labels, title, above=shades.many)


def _handle(colour: Any, dash: Any) -> Line2D:
    return Line2D([], [], color=colour, linestyle=dash, linewidth=1.8)


def _positive(curve: Curve, look: Appearance, left_out: Counter[str]) -> Curve:
    """Return a curve without the points that a logarithmic axis cannot show, and count them."""
    xs, ys = curve.xs, curve.ys
    if look.log_x:
        fits = np.asarray(xs) > 0
        if not fits.all():
            left_out[f"points of {curve.key} at x that are not positive"] += int((~fits).sum())
            curve = curve._replace(
                xs=xs[fits], ys=ys[fits], resumed=[x for x in curve.resumed if x > 0],
                blemishes=[pair for pair in curve.blemishes if pair[0] > 0],
            )  # fmt: skip
            ys = curve.ys
    if look.log_y:
        bad = ys <= 0
        if bad.any():
            left_out[f"values of {curve.key} that are not positive"] += int(bad.sum())
            curve = curve._replace(ys=np.where(bad, GAP, ys))
    return curve


def _over_days(curve: Curve) -> Curve:
    return curve._replace(
        xs=curve.xs / 86400, resumed=[second / 86400 for second in curve.resumed],
        blemishes=[(second / 86400, kind) for second, kind in curve.blemishes],
    )  # fmt: skip


def _label_dates(axes: Axes) -> None:
    library: Any = dates  # matplotlib.dates is untyped
    locator = library.AutoDateLocator(tz=dates.UTC)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(library.ConciseDateFormatter(locator, tz=dates.UTC))


def _thin_band(mean: MeanCurve, most: int, *, log: bool) -> tuple[Any, Any, Any]:
    """Return a band of few points, at least as wide everywhere as that of all of them."""
    if len(mean.xs) <= most:
        return mean.xs, mean.low, mean.high
    across = np.log(mean.xs) if log else mean.xs
    edges = np.linspace(across[0], across[-1], most // 2 + 1)
    starts = np.unique(np.searchsorted(across, edges[:-1]))
    low = np.minimum.reduceat(mean.low, starts)
    high = np.maximum.reduceat(mean.high, starts)
    # From the first to the last x of each column, so that none has a slope of its own.
    stops = np.append(starts[1:], len(across)) - 1
    xs = np.stack([mean.xs[starts], mean.xs[stops]], axis=1).ravel()
    return xs, np.repeat(low, 2), np.repeat(high, 2)


def _cut_bands(axes: Axes) -> bool:
    """Have a logarithmic axis end a little below its lines, and return whether a band does not.

    The lower edge of a band may be negative, or near 0, and would take most of the panel.
    """
    lowest = np.inf
    for line in axes.get_lines():
        if line.get_gid() in ("mean", "raw"):
            ys = np.asarray(line.get_ydata(), np.float64)
            lowest = min(lowest, np.min(ys[ys > 0], initial=np.inf))
    bands = [band for band in axes.collections if band.get_gid() == "band"]
    edges = [np.asarray(path.vertices)[:, 1].min() for band in bands for path in band.get_paths()]
    if not edges or not np.isfinite(lowest) or min(edges) >= lowest / 3:
        return False
    axes.set_ylim(bottom=lowest / 3)
    return True


def _sparse(curve: Curve) -> bool:
    """Return whether to draw points: they are few, or some are isolated between gaps."""
    finite = np.isfinite(curve.ys)
    around = np.concatenate([[False], finite, [False]])
    alone = (finite & ~around[:-2] & ~around[2:]).any()
    return bool(len(finite) <= 40 or (alone and len(finite) <= 400))
