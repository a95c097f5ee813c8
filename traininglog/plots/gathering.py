"""From the columns of runs to their curves: which keys have numbers, and over what to draw them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from traininglog.flattening import advice
from traininglog.near_names import instead
from traininglog.plots.charts import draw
from traininglog.plots.curves import Curve, Places, curve_of, is_numeric, places_of
from traininglog.plots.look import Appearance, Picture
from traininglog.values import called

if TYPE_CHECKING:
    from traininglog.base import TrainingLogBase
    from traininglog.clock import Clock
    from traininglog.columns import Column

#: The axes of curves that are no keys.
AXES = ("time", "wall", "elapsed")


class Source(NamedTuple):
    """A run, as its curves need it."""

    name: str  #: what to call it
    columns: Mapping[str, Column]
    resumed: Sequence[int]  #: the times at which it and its ancestors were resumed
    clock: Callable[[], Clock]  #: is called if wall times are needed
    group: str | None = None


class Gathered(NamedTuple):
    """The curves of some runs."""

    curves: list[Curve]
    over: str  #: the name of the x axis
    on_dates: bool  #: whether the x are unix seconds
    left_out: Counter[str]


def gather(
    sources: Sequence[Source], asked: Sequence[str] | None, known: Sequence[str], x: str = "time"
) -> Gathered:
    """Return the curves of runs.

    Args:
        sources: The runs.
        asked: Names or globs of keys; by default each that has numbers.
        known: All keys that there are.
        x: What to draw over: ``"time"``, ``"wall"``, ``"elapsed"`` or a key. A key of one of these
            names takes precedence.

    Raises:
        KeyError: A key that none of the runs has.
        ValueError: A key that has no numbers, or nothing has.

    """
    left_out: Counter[str] = Counter()
    by_key = x in known or x not in AXES
    have = dict.fromkeys(key for source in sources for key in source.columns)
    for key in [*(asked or ()), *([x] if by_key else [])]:
        if key not in have and not any(fnmatchcase(there, key) for there in have):
            raise KeyError(f"no run has a key {key!r}; {instead(key, known)}")
    if asked is not None:  # beside what was asked for there may be the key of the x axis
        have = dict.fromkeys(
            key for key in have if key in asked or any(fnmatchcase(key, each) for each in asked)
        )
    exact = [key for key in asked or () if key in have]
    chosen = _chosen(sources, have, exact, x if by_key else None)
    curves: list[Curve] = []
    for source in sources:
        places: Places | None = None
        if by_key:
            if x not in source.columns:
                left_out[f"of {len(sources):,} runs without {x}"] += 1
                continue
            places = places_of(source.columns[x])
        elif x != "time":
            places = _by_clock(source, x)
        for key in chosen:
            column = source.columns.get(key)
            if column is None or not is_numeric(column):
                left_out[f"of {len(sources):,} runs without a number {key}"] += 1
                continue
            curves.append(
                curve_of(
                    column, source.name, source.resumed, left_out, places, over=x,
                    group=source.group,
                )
            )  # fmt: skip
    if by_key and chosen and not any(len(curve.xs) for curve in curves):
        raise ValueError(f"{x!r} has no numbers to plot over: name another key")
    if not curves:
        raise ValueError("nothing to plot, as no such key has a number: name others")
    shown = {"wall": "wall (UTC)", "elapsed": "elapsed (s)"}
    over = x if by_key else shown.get(x, x)
    return Gathered(curves, over, not by_key and x == "wall", left_out)


def _chosen(
    sources: Sequence[Source], have: Iterable[str], exact: Sequence[str], axis: str | None
) -> list[str]:
    """Return the keys to draw: those with nothing but numbers, and those named that have some."""
    chosen = []
    for key in have:
        found = [source.columns[key] for source in sources if key in source.columns]
        if key in exact:
            if not any(map(is_numeric, found)):
                value = next((v for c in found for v in c.values if v is not None), None)
                raise ValueError(
                    f"{key!r} cannot be plotted: it holds a {called(value)}, not only numbers"
                    f"{advice(key, value)}"
                )
            chosen.append(key)
        elif key != axis and any(map(is_numeric, found)) and not any(map(_is_mixed, found)):
            chosen.append(key)
    return chosen


def _is_mixed(column: Column) -> bool:
    raw: Any = column.raw_values
    if hasattr(raw, "dtype"):
        return False
    return any(value is not None and not isinstance(value, (int, float)) for value in raw)


def _by_clock(source: Source, x: str) -> Places:
    parts = [np.asarray(column.raw_times, np.int64) for column in source.columns.values()]
    times = np.unique(np.concatenate(parts)) if parts else np.array([], np.int64)
    clock = source.clock()
    xs = clock.walls(times) if x == "wall" else clock.elapsed(times)
    known = np.isfinite(xs)
    return Places(times[known], xs[known])


def plot_log(
    log: TrainingLogBase,
    keys: Iterable[str] | None,
    resumed: Iterable[int],
    *,
    x: str,
    smooth: float | None,
    panels: bool,
    look: Appearance,
) -> Picture:
    """Draw the curves of one run, `resumed` at some times; see `TrainingLogBase.plot`."""
    check_smooth(smooth)
    look.check()
    name = log.status.get("name")
    short = log.h_uuid[:8]
    source = Source(
        f"{name} ({short})" if isinstance(name, str) and name else short,
        {column.key: column for column in log.columns()},
        list(resumed),
        log.clock,
    )
    found = gather([source], None if keys is None else list(keys), log.keys_seen(), x)
    return draw(
        found.curves, over=found.over, on_dates=found.on_dates, panels=panels or not keys,
        smooth=smooth, left_out=found.left_out, look=look,
    )  # fmt: skip


def check_smooth(smooth: float | None) -> None:
    """Raise `ValueError` unless it is how far back to look."""
    if smooth is not None and not 0 < smooth < float("inf"):
        raise ValueError(f"smooth is how far back to look, more than 0, not {smooth!r}")
