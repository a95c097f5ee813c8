"""A sparkline: a small curve without axes, to stand in a cell of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from traininglog.markup.elements import Markup, element
from traininglog.markup.scales import Scale, scale_of
from traininglog.markup.thinning import CurvePoints, points_of

if TYPE_CHECKING:
    from traininglog.columns import Column

_WIDTH, _HEIGHT, _EDGE = 120, 24, 3
_MOST_POINTS = 120


def path_of(points: CurvePoints, x: Scale, y: Scale) -> str:
    """Return the points as the ``d`` of an SVG path: a line that is broken at gaps."""
    parts: list[str] = []
    for number, (time, value) in enumerate(zip(points.times, points.values, strict=True)):
        begins = not number or points.breaks[number]
        alone = begins and (number + 1 == len(points.times) or points.breaks[number + 1])
        parts.append(
            f"{'M' if begins else 'L'}{x.place(time):.1f} {y.place(value):.1f}"
            f"{'h0' if alone else ''}"
        )
    return "".join(parts)


def sparkline(column: Column) -> Markup:
    """Return a sparkline of a column, or no markup where it has fewer than two numbers."""
    points = points_of(column, _MOST_POINTS)
    if points is None or points.finite_count < 2:
        return Markup()
    x = scale_of(points.times, _EDGE, _WIDTH - _EDGE)
    y = scale_of(points.values, _HEIGHT - _EDGE, _EDGE)
    line = element(
        "path", d=path_of(points, x, y), fill="none", stroke="currentColor", stroke_width=1.5,
        stroke_linecap="round", stroke_linejoin="round",
    )  # fmt: skip
    return element(
        "svg", line, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", width=_WIDTH, height=_HEIGHT, role="img",
        aria_label=f"{points.finite_count} numbers between {min(points.values):.4g} and "
        f"{max(points.values):.4g}",
    )  # fmt: skip
