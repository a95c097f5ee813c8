"""The curves of a report: a panel per key, as SVG that can be read without a script."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence

from traininglog.display.plain_text import counted, cut
from traininglog.markup.elements import Markup, element, joined
from traininglog.markup.scales import Scale, scale_of
from traininglog.markup.sparklines import path_of
from traininglog.markup.texts import brief
from traininglog.markup.thinning import CurvePoints
from traininglog.palette import COLOURS
from traininglog.plain_json import compact

_WIDTH, _HEIGHT = 460, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 10, 10, 36
_FULL_WEIGHT = 12  # from so many curves on, lines are thin
_BIG = 2**53  # a browser's numbers are exact up to here


def colour_of(number: int) -> str:
    """Return the class of the colour and the dashes of a curve; 24 of them differ."""
    return f"c{number % len(COLOURS)} d{number // len(COLOURS) % 3}"


def swatch(number: int) -> Markup:
    """Return a piece of the curve, to stand beside its name."""
    line = element("line", x1=1, y1=5, x2=23, y2=5, class_=f"curve {colour_of(number)}")
    return element("svg", line, viewBox="0 0 24 10", width=24, height=10, aria_hidden="true")


def panel(
    key: str,
    curves: Sequence[tuple[int, CurvePoints]],
    names: Sequence[str],
    colours: Sequence[int],
    resumes: Sequence[Sequence[int]],
    number: int,
) -> Markup:
    """Return the figure of one key.

    Args:
        key: The key.
        curves: The numbers of runs, and their points.
        names: What runs are called, by their numbers.
        colours: The number of the colour of each run.
        resumes: The times up to which each run sees its ancestors.
        number: The number of the figure on the page.

    """
    times = [
        time
        for _, points in curves
        for time in (
            *points.times[:1],
            *points.times[-1:],
            *points.nan,
            *points.above,
            *points.below,
        )
    ]
    x = scale_of(times, _LEFT, _WIDTH - _RIGHT)
    values = [value for _, points in curves for value in points.values]
    y = scale_of(values, _HEIGHT - _BOTTOM, _TOP, margin=0.05)
    drawn = joined(
        _curve(key, points, names[run], run, colours[run], resumes[run], x, y)
        for run, points in curves
    )
    heading = f"panel{number}"
    svg = element(
        "svg",
        element("title", f"{cut(key)} over time", id=f"{heading}-title"),
        element("desc", _described(curves, values), id=f"{heading}-desc"),
        _axes(x, y),
        element("g", drawn, class_="many" if len(curves) > _FULL_WEIGHT else None),
        element("g", element("circle", r=4, cx=0, cy=0), class_="pointer", visibility="hidden"),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        tabindex=0,
        aria_labelledby=f"{heading}-title {heading}-desc",
    )
    data = [
        [run, [time if abs(time) <= _BIG else str(time) for time in points.times],
         [float(f"{value:.6g}") for value in points.values],
         [round(x.place(time), 1) for time in points.times],
         [round(y.place(value), 1) for value in points.values]]
        for run, points in curves
    ]  # fmt: skip
    return element(
        "figure",
        element("figcaption", element("h3", cut(key)), _legend(curves, names, colours)),
        svg,
        element("output", "", class_="reading"),
        _data(data),
        class_="panel",
    )


def _data(data: object) -> Markup:
    """Return data for the script of the page. It is numbers and digits, and holds no name."""
    return element("script", Markup(compact(data).replace("<", "\\u003c")), type="application/json")


def _curve(
    key: str, points: CurvePoints, name: str, run: int, colour: int, resumed: Sequence[int],
    x: Scale, y: Scale,
) -> Markup:  # fmt: skip
    about = [f"{name}: {cut(key)}, {counted(points.finite_count, 'number')}"]
    if points.times:
        about.append(f"the last {brief(points.values[-1])} at time {points.times[-1]}")
    if points.nan_count:
        about.append(f"{points.nan_count:,} NaN, the first at time {points.nan[0]}")
    if points.infinite_count:
        about.append(
            f"{points.infinite_count:,} infinite, the first at time "
            f"{min([*points.above[:1], *points.below[:1]])}"
        )
    inside = [time for time in resumed if points.times and time >= points.times[0]]
    if inside:
        shown = ", ".join(map(str, inside[:10])) + (", ..." if len(inside) > 10 else "")
        about.append(f"resumed after time {shown}")
    base = _HEIGHT - _BOTTOM
    parts = [element("title", "; ".join(about))]
    if points.times:
        parts.append(element("path", class_="line", d=path_of(points, x, y)))
        parts += [
            element("circle", class_="resume", cx=f"{x.place(time):.1f}", cy=f"{where:.1f}", r=3)
            for time in inside[:50]
            for where in (y.place(points.values[bisect.bisect_right(points.times, time) - 1]),)
        ]
    marks: list[tuple[str, list[int], Callable[[float], str]]] = [
        ("nan", points.nan, lambda at: f"M{at - 3:.1f} {base - 7}l6 6m0 -6l-6 6"),
        ("infinite", points.above, lambda at: f"M{at:.1f} {_TOP}l-4 7h8z"),
        ("infinite", points.below, lambda at: f"M{at:.1f} {base}l-4 -7h8z"),
    ]
    parts += [
        element("path", class_=kind, d="".join(shape(x.place(time)) for time in times))
        for kind, times, shape in marks
        if times
    ]
    return element("g", *parts, class_=f"curve {colour_of(colour)}", data_run=run)


def _axes(x: Scale, y: Scale) -> Markup:
    base = _HEIGHT - _BOTTOM
    parts = [element("path", class_="axis", d=f"M{_LEFT} {_TOP}V{base}H{_WIDTH - _RIGHT}")]
    for number in y.ticks(5):
        place = f"{y.place(number):.1f}"
        parts.append(element("path", class_="grid", d=f"M{_LEFT} {place}H{_WIDTH - _RIGHT}"))
        parts.append(
            element("text", _tick(number), x=_LEFT - 6, y=place, dy="0.35em", text_anchor="end")
        )
    whole = [number for number in x.ticks(5) if number == int(number)]  # as times are
    parts += [
        element("text", _tick(number), x=f"{x.place(number):.1f}", y=base + 15, class_="middle")
        for number in whole
    ]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(element("text", "time", x=middle, y=_HEIGHT - 5, class_="middle"))
    return element("g", *parts, class_="axes", aria_hidden="true")


def _tick(number: float) -> str:
    if number == int(number) and abs(number) < 1_000_000:
        return str(int(number))
    return f"{number:.4g}"


def _described(curves: Sequence[tuple[int, CurvePoints]], values: Sequence[float]) -> str:
    text = counted(len(curves), "curve")
    if values:
        text += f", between {brief(min(values))} and {brief(max(values))}"
    nan = sum(1 for _, points in curves if points.nan_count)
    infinite = sum(1 for _, points in curves if points.infinite_count)
    if nan:
        text += f"; {nan} with NaN (a cross at the bottom)"
    if infinite:
        text += f"; {infinite} with infinities (a triangle at the edge)"
    return text


def _legend(
    curves: Sequence[tuple[int, CurvePoints]], names: Sequence[str], colours: Sequence[int]
) -> Markup:
    if len(curves) > _FULL_WEIGHT:
        return element(
            "p", f"{len(curves)} curves: the table of experiments is their legend.", class_="note"
        )
    entries = (
        element(
            "li",
            element(
                "button", swatch(colours[run]), names[run], type="button", data_run=run,
                aria_pressed="true",
            ),
        )
        for run, _ in curves
    )  # fmt: skip
    return element("ul", *entries, class_="legend")
