"""Runs beside each other, by one number of each: scatter, bars of groups, parallel coordinates."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from traininglog.palette import FAINT, GRID, INK
from traininglog.plots.charts import MOST_PANELS, said
from traininglog.plots.look import (
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
from traininglog.plots.means import BANDS, Band, half_width

#: More axes beside each other are too narrow.
MOST_AXES = 12

_MOST_BARS = 60


@dataclass(frozen=True, slots=True)
class Member:
    """A run in a comparison."""

    run: str  #: its name
    facts: Mapping[str, Any]  #: what is compared: numbers, texts; without what the run lacks
    group: str | None = None  #: the name of its group


def scatter(
    members: Sequence[Member],
    x: str,
    keys: Sequence[str],
    *,
    grouped_by: str | None = None,
    left_out: Counter[str] | None = None,
    look: Appearance | None = None,
) -> Picture:
    """Return a figure with a point per run: some of its numbers over one of its facts.

    Texts get places of their own on the x axis, in their order.
    """
    look = look or Appearance()
    left_out = Counter() if left_out is None else left_out
    _check_panels(keys)
    there = [member for member in members if x in member.facts]
    if len(there) < len(members):
        left_out[f"of {len(members):,} runs without {x}"] += len(members) - len(there)
    numeric = all(is_number(member.facts[x]) for member in there)
    texts = [] if numeric else list(dict.fromkeys(text_of(m.facts[x]) for m in there))
    log_x = look.log_x and numeric
    if look.log_x and not numeric:
        raise ValueError(f"{x} has values that are no numbers: it cannot be logarithmic")
    names = list(dict.fromkeys(member.group or "none" for member in members))
    with styled(look.style):
        figure = Picture(look.size or (8.0, 4.6 if len(keys) == 1 else 2.6 * len(keys) + 0.6), 160)
        shades = Shades(names if grouped_by is not None else [""], look.style)
        panels = [axes for (axes,) in figure.subplots(len(keys), squeeze=False, sharex=True)]
        for axes, key in zip(panels, keys, strict=True):
            usable = []
            for member in there:
                at = member.facts[x] if numeric else texts.index(text_of(member.facts[x]))
                height = _number(member, key)
                if height is None:
                    left_out[f"of {len(members):,} runs without a number {key}"] += 1
                elif not math.isfinite(height) or not math.isfinite(at):
                    left_out[f"runs with a NaN or an infinity in {key} or {x}"] += 1
                elif (log_x and at <= 0) or (look.log_y and height <= 0):
                    left_out[f"runs where {key} or {x} is not positive"] += 1
                else:
                    usable.append((at, height, member.group or "none"))
            for name in shades.names:
                points = [(a, h) for a, h, g in usable if grouped_by is None or g == name]
                axes.plot(
                    [a for a, _ in points], [h for _, h in points], linestyle="none", marker="o",
                    markersize=5, alpha=0.75, markeredgewidth=0, color=shades.colour(name),
                    gid="points",
                )  # fmt: skip
            dress(axes, log_x=log_x, log_y=look.log_y, margin=0.05)
            if texts:
                _name_places(axes, texts, figure)
            axes.set_ylabel(literal(look.ylabel or key, 40), parse_math=False)
        panels[-1].set_xlabel(literal(look.xlabel or x, 60), parse_math=False)
        figure.align_ylabels()
        _name_groups(figure, panels, shades, grouped_by)
        entitle(figure, look.title)
        tell(figure, said(left_out))
    return figure


def bars(
    members: Sequence[Member],
    keys: Sequence[str],
    *,
    grouped_by: str,
    band: Band | None = "std",
    left_out: Counter[str] | None = None,
    look: Appearance | None = None,
) -> Picture:
    """Return a figure with a bar per group: the mean, a band around it, n, and each run as a point.

    NaN and infinities do not enter the mean; the picture says how many there are.
    """
    look = look or Appearance()
    left_out = Counter() if left_out is None else left_out
    _check_panels(keys)
    names = list(dict.fromkeys(member.group or "none" for member in members))
    if len(names) > _MOST_BARS:
        left_out[f"groups beyond the first {_MOST_BARS}"] += len(names) - _MOST_BARS
        names = names[:_MOST_BARS]
    with styled(look.style):
        figure = Picture(look.size or (8.0, 4.6 if len(keys) == 1 else 2.6 * len(keys) + 0.6), 160)
        shades = Shades(names, look.style)
        panels = [axes for (axes,) in figure.subplots(len(keys), squeeze=False, sharex=True)]
        counts: list[set[int]] = [set() for _ in names]
        for axes, key in zip(panels, keys, strict=True):
            for place, name in enumerate(names):
                found = [_number(m, key) for m in members if (m.group or "none") == name]
                numbers = [number for number in found if number is not None]
                finite = [number for number in numbers if math.isfinite(number)]
                if len(numbers) < len(found):
                    left_out[f"of {len(members):,} runs without a number {key}"] += len(
                        found
                    ) - len(numbers)
                if len(finite) < len(numbers):
                    left_out[f"runs with a NaN or an infinity in {key}"] += len(numbers) - len(
                        finite
                    )
                counts[place].add(len(finite))
                if not finite:
                    continue
                mean = math.fsum(finite) / len(finite)
                axes.bar(place, mean, 0.7, color=shades.colour(name), alpha=0.55, gid="mean")
                half = half_width(finite, band)
                if half is not None:
                    axes.errorbar(
                        place, mean, [[half[0]], [half[1]]], color=INK, capsize=3, linewidth=1.2,
                        linestyle="none", gid="band",
                    )  # fmt: skip
                spread = [
                    place + 0.12 * (2 * i / max(1, len(finite) - 1) - 1) * (len(finite) > 1)
                    for i in range(len(finite))
                ]
                axes.plot(
                    spread, finite, linestyle="none", marker="o", markersize=3, color=INK,
                    alpha=0.5, markeredgewidth=0, gid="points",
                )  # fmt: skip
            dress(axes, log_y=look.log_y)
            axes.grid(visible=False, axis="x")
            axes.set_ylabel(literal(look.ylabel or key, 40), parse_math=False)
        labels = [
            f"{literal(name, 24)}\nn = {' / '.join(map(str, sorted(n))) or 0}"
            for name, n in zip(names, counts, strict=True)
        ]
        for axes in panels:
            _name_places(axes, labels, figure, lines=True)
        panels[-1].set_xlabel(literal(look.xlabel or grouped_by, 60), parse_math=False)
        figure.align_ylabels()
        if band is not None:
            handles: list[Any] = [
                Patch(color=FAINT, alpha=0.55),
                Line2D([], [], color=INK, linewidth=1.2),
                Line2D([], [], color=INK, alpha=0.5, linestyle="none", marker="o", markersize=3),
            ]
            legend(figure, handles, ["mean", BANDS[band], "a run"])
        entitle(figure, look.title)
        tell(figure, said(left_out))
    return figure


def parallel(
    members: Sequence[Member],
    facts: Sequence[str],
    *,
    left_out: Counter[str] | None = None,
    look: Appearance | None = None,
) -> Picture:
    """Return a figure with an axis per fact, and a line per run, coloured by the last of them.

    An axis of positive numbers that span more than a factor of 50 is logarithmic, and says so. Runs
    that lack one of the facts, or have a NaN or an infinity, are left out.
    """
    look = look or Appearance()
    left_out = Counter() if left_out is None else left_out
    if not 2 <= len(facts) <= MOST_AXES:
        raise ValueError(f"parallel coordinates have 2 to {MOST_AXES} axes, not {len(facts)}")
    whole = [member for member in members if all(fact in member.facts for fact in facts)]
    if len(whole) < len(members):
        left_out[f"of {len(members):,} runs without all of these"] += len(members) - len(whole)
    finite = [m for m in whole if all(_is_finite(m.facts[fact]) for fact in facts)]
    if len(finite) < len(whole):
        left_out["runs with a NaN or an infinity"] += len(whole) - len(finite)
    if not finite:
        raise ValueError("no run has all of the facts: there is nothing to draw")
    scales = [_Scale([member.facts[fact] for member in finite]) for fact in facts]
    with styled(look.style):
        figure = Picture(look.size or (max(8.0, 1.5 * len(facts)), 4.6), 160)
        axes = figure.subplots()
        shades = Shades([str(i) for i in range(101)])
        last = scales[-1]
        for member in sorted(finite, key=lambda m: last.place(m.facts[facts[-1]])):
            heights = [s.place(member.facts[f]) for s, f in zip(scales, facts, strict=True)]
            axes.plot(
                range(len(facts)), heights, color=shades.colour(str(round(100 * heights[-1]))),
                linewidth=1.3 if len(finite) <= 100 else 0.7,
                alpha=0.8 if len(finite) <= 100 else 0.5, gid="curve",
            )  # fmt: skip
        for place, scale in enumerate(scales):
            axes.axvline(place, color=FAINT, linewidth=0.9, zorder=1)
            for height, text in scale.ticks():
                axes.annotate(
                    literal(text, 14), (place, height), (4, 0), textcoords="offset points",
                    fontsize=8, va="center", parse_math=False, gid="tick",
                    bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.8},
                )  # fmt: skip
        axes.set_xlim(-0.05, len(facts) - 1 + 0.35)
        axes.set_ylim(-0.04, 1.04)
        axes.spines[:].set_visible(False)
        axes.set_yticks([])
        axes.tick_params(length=0)
        longest = max(8, int(figure.get_figwidth() * 10 / len(facts)))
        names = [
            literal(fact, longest) + ("\n(log)" if scale.log else "")
            for fact, scale in zip(facts, scales, strict=True)
        ]
        axes.set_xticks(range(len(facts)), labels=names, parse_math=False)
        if not last.texts:
            norm: Any = (LogNorm if last.log else Normalize)(last.low, last.high or 1.0)
            bar = figure.colorbar(
                ScalarMappable(norm, shades.map), ax=axes, aspect=40, pad=0.01, shrink=0.9
            )
            bar.outline.set_visible(False)
            bar.set_ticks([])
            bar.minorticks_off()
        entitle(figure, look.title)
        tell(figure, [f"{len(finite):,} runs", *said(left_out)])
    return figure


class _Scale:
    """An axis of parallel coordinates: from facts to heights between 0 and 1."""

    def __init__(self, facts: Sequence[Any]) -> None:
        self.texts: list[str] = []
        self.low = self.high = 0.0
        self.log = False
        self.values: list[Any] = []  #: the numbers, each once
        if all(map(is_number, facts)):
            self.low, self.high = float(min(facts)), float(max(facts))
            self.values = sorted(set(facts))
            self.log = self.low > 0 and self.high / self.low > 50
        else:
            self.texts = sorted({text_of(fact) for fact in facts})

    def place(self, fact: Any) -> float:
        """Return the height of a fact."""
        if self.texts:
            last = len(self.texts) - 1
            return self.texts.index(text_of(fact)) / last if last else 0.5
        if self.low == self.high:
            return 0.5
        if self.log:
            return math.log(float(fact) / self.low) / math.log(self.high / self.low)
        # Halves, as the difference of two huge numbers may be infinite.
        return (float(fact) / 2 - self.low / 2) / (self.high / 2 - self.low / 2)

    def ticks(self) -> list[tuple[float, str]]:
        """Return some heights, and what is there."""
        if self.texts:
            step = -(-len(self.texts) // 12)
            return [(self.place(text), text) for text in self.texts[::step]]
        if self.low == self.high:
            return [(0.5, f"{self.low:.4g}")]
        if len(self.values) <= 6:
            return [(self.place(value), f"{value:.4g}") for value in self.values]
        if self.log:
            ratio = self.high / self.low
            return [(part / 4, f"{self.low * ratio ** (part / 4):.3g}") for part in range(5)]
        return [
            (part / 4, f"{self.low * (1 - part / 4) + self.high * part / 4:.4g}")
            for part in range(5)
        ]


def is_number(fact: object) -> bool:
    """Return whether a fact has a place on an axis of numbers; true and false have none."""
    return isinstance(fact, (int, float)) and not isinstance(fact, bool)


def text_of(fact: object) -> str:
    """Return a fact as a short text: numbers with six digits.

    >>> text_of(0.1), text_of(None), text_of(True), text_of(float("nan"))
    ('0.1', 'none', 'true', 'NaN')
    """
    if fact is None:
        return "none"
    if isinstance(fact, bool):
        return "true" if fact else "false"
    if isinstance(fact, float):
        return "NaN" if math.isnan(fact) else f"{fact:.6g}"
    return literal(str(fact), 200)


def _number(member: Member, key: str) -> float | None:
    found = member.facts.get(key)
    return float(found) if isinstance(found, (int, float)) else None


def _is_finite(fact: object) -> bool:
    return not isinstance(fact, float) or math.isfinite(fact)


def _check_panels(keys: Sequence[str]) -> None:
    if not 1 <= len(keys) <= MOST_PANELS:
        raise ValueError(
            f"a picture has a panel for each of 1 to {MOST_PANELS} keys, not for {len(keys)}"
        )


def _name_places(axes: Any, names: Sequence[str], figure: Picture, *, lines: bool = False) -> None:
    """Name the places on an x axis; turned if they are long."""
    room = figure.get_figwidth() * 9 / max(1, len(names))
    widest = max((len(line) for name in names for line in name.split("\n")), default=0)
    turned: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(
        range(len(names)), labels=[name if lines else literal(name, 24) for name in names],
        parse_math=False, **(turned if widest > room else {}),
    )  # fmt: skip
    axes.grid(visible=True, color=GRID)


def _name_groups(figure: Picture, panels: Any, shades: Shades, grouped_by: str | None) -> None:
    if grouped_by is None:
        return
    if shades.many:
        shades.bar(figure, panels, f"{grouped_by}: {len(shades.names)} groups, in order")
        return
    handles = [
        Line2D([], [], color=shades.colour(name), linestyle="none", marker="o", markersize=5)
        for name in shades.names
    ]
    legend(figure, handles, shades.names, grouped_by)
