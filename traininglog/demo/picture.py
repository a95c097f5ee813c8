"""The demo's picture: one curve over two runs, and the rest of the first run in grey."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from traininglog import SQLiteLog

_INK, _FAINT = "#222222", "#777777"
_FIRST, _SECOND, _GHOST = "#4c78a8", "#e4572e", "#9aa5b1"


def draw(lost: SQLiteLog, resumed: SQLiteLog, path: Path) -> Path:
    """Draw the curves of `resumed`, and in grey the values of `lost` that it did not inherit."""
    point = resumed.lineage()[0].resumed_at or 0
    stitched, all_lost = resumed.to_dataframe(), lost.to_dataframe()
    killed = lost.last("loss").time

    # Not a pyplot figure: so there is no window and no global state with any backend.
    figure = Figure(figsize=(9, 6.6), dpi=160, layout="constrained")
    axes: Any = figure.subplots(3, sharex=True, height_ratios=(3, 2.2, 1.1))
    for axis, key in zip(axes, ("loss", "accuracy", "learning_rate"), strict=True):
        _curve(axis, key, stitched[key].dropna(), all_lost[key].dropna(), point)
        axis.set_ylabel(key.replace("_", " "), color=_INK)
        axis.axvline(point, color=_INK, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        axis.axvspan(point, killed, color=_GHOST, alpha=0.13, linewidth=0, zorder=0)
        axis.grid(axis="y", color="#e6e6e6", linewidth=0.7)
        axis.set_axisbelow(True)
        axis.tick_params(colors=_FAINT, length=0)
        axis.spines[:].set_visible(False)
        axis.spines["bottom"].set(visible=True, color="#bbbbbb")

    loss, accuracy, rate = axes
    loss.set_yscale("log")
    ticks = [tick for tick in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2) if tick > stitched["loss"].min()]
    loss.set_yticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    loss.minorticks_off()
    accuracy.set_ylim(0.9, 1.0)
    rate.set_ylim(0, None)
    rate.set_xlim(0, stitched.index[-1] * 1.005)
    rate.set_xlabel("iteration", color=_INK)
    figure.align_ylabels(axes)
    _say(loss, point, killed, lost.h_uuid[:8], resumed.h_uuid[:8])
    figure.suptitle(
        "A training, killed and resumed: one curve, every iteration once",
        color=_INK, fontsize=13, fontweight="bold", x=0.01, horizontalalignment="left",
    )  # fmt: skip
    figure.savefig(path)
    return path


def _curve(axis: Axes, key: str, seen: Any, all_lost: Any, point: int) -> None:
    """Draw one key: the inherited part, the run's own part, and the lost part."""
    before, after = slice(None, point), slice(point, None)
    for order, (color, values, part) in enumerate(
        [(_GHOST, all_lost, after), (_SECOND, seen, after), (_FIRST, seen, before)]
    ):
        style: dict[str, Any] = {"color": color, "zorder": 2 + order}
        if key == "loss":  # each value as a thin line, and the moving average
            axis.plot(values.loc[part], linewidth=0.7, alpha=0.35, **style)
            axis.plot(_smooth(values).loc[part], linewidth=1.7, **style)
        elif key == "accuracy":
            axis.plot(values.loc[part], linewidth=1.2, marker="o", markersize=3.2, **style)
        else:
            axis.plot(values.loc[part], linewidth=1.7, **style)


def _smooth(values: Any) -> Any:
    return values.rolling(21, center=True, min_periods=1).mean()


def _say(axis: Axes, point: int, killed: int, lost: str, resumed: str) -> None:
    """Write the names of the runs and of the two moments beside them."""
    top: Any = axis.get_xaxis_transform()  # x in iterations, y in parts of the axis
    first = f"run {lost}\nup to the checkpoint at {point}"
    second = f"run {resumed}\nresumed at {point}, finished"
    tail = (
        f"grey: iterations {point + 1} to {killed} of run {lost},\n"
        f"killed at {killed}: they stay in that run, outside the curve"
    )
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}  # covers the grid behind texts
    style: dict[str, Any] = {"va": "top", "linespacing": 1.4, "transform": top, "bbox": paper}
    axis.text(point - 10, 0.96, first, color=_FIRST, ha="right", **style)
    axis.text(killed + 10, 0.96, second, color=_SECOND, ha="left", **style)
    axis.text(killed + 10, 0.74, tail, color=_FAINT, ha="left", fontsize=8.5, **style)
