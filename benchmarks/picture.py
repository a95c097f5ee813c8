"""The picture of results: for each claim a panel of bars, ours and everyone's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

OURS, THEIRS = "#0b6e4f", "#b8bec6"
_COLUMNS = 2


def draw(reports: Mapping[str, Mapping[str, Any]], path: Path) -> bool:
    """Draw what the reports have to draw; return whether there was anything."""
    panels = [
        bars for report in reports.values() for bars in report["bars"] if len(bars["values"]) > 1
    ]
    if not panels:
        return False
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    # Letters as letters: a file of a fifth of the size, whose changes can be read.
    plt.rcParams |= {"svg.hashsalt": "traininglog", "svg.fonttype": "none"}
    plt.rcParams |= {"font.size": 9, "axes.titlesize": 11}
    lines = -(-len(panels) // _COLUMNS)
    heights = [
        max(len(panel["values"]) for panel in panels[line * _COLUMNS : (line + 1) * _COLUMNS]) + 2
        for line in range(lines)
    ]
    figure, axes = plt.subplots(
        lines, _COLUMNS, squeeze=False, layout="constrained",
        figsize=(12, 0.24 * sum(heights) + 0.3), height_ratios=heights,
    )  # fmt: skip
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, panel in zip(axes.flat, panels, strict=False):
        _panel(axis, panel)
    figure.get_layout_engine().set(h_pad=0.12, w_pad=0.12)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
    return True


def _panel(axis: Any, bars: Mapping[str, Any]) -> None:
    values: dict[str, float] = bars["values"]
    ours = next(iter(values.values()))
    names = sorted(values, key=lambda name: values[name])
    colours = [OURS if "traininglog" in name else THEIRS for name in names]
    low, high = min(values.values()), max(values.values())
    floor = low / 2.5
    axis.barh(names, [values[name] - floor for name in names], left=floor, color=colours)
    for line, name in enumerate(names):
        text = f" {_number(values[name])}"
        if values[name] != ours:
            text += f"  ({_number(values[name] / ours)}x)"
        weight = "bold" if "traininglog" in name else "normal"
        axis.text(values[name], line, text, va="center", weight=weight, fontsize=8)
    axis.set_xscale("log")
    axis.set_xlim(floor, high * (high / low) ** 0.35 * 2)  # room for what stands behind a bar
    axis.invert_yaxis()
    axis.set_title(f"{bars['title']}, {bars['unit']}", loc="left", weight="bold")
    axis.tick_params(left=False)
    axis.spines[["top", "right", "left"]].set_visible(False)


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"
