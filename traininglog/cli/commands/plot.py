"""`traininglog plot`: curves, as a picture or in the terminal."""

from __future__ import annotations

import bisect
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from traininglog.cli.globs import require
from traininglog.cli.mistakes import Mistake
from traininglog.cli.options import ForceOption, KeysOption, RunsArgument, StoreOption
from traininglog.cli.output.curves import GAP, Curve, within_float
from traininglog.cli.output.files import check_target, complete
from traininglog.cli.output.terminal import note, on_terminal, progress
from traininglog.cli.output.text import visible
from traininglog.cli.stores import opened, patterns, reading, several, shortest
from traininglog.columns import Column, all_times
from traininglog.selection import advice_on, is_glob
from traininglog.values import StoredValue, called

if TYPE_CHECKING:
    from traininglog.sqlite.log import SQLiteLog
    from traininglog.sqlite.store import Store

_FORMATS = {".png": "png", ".svg": "svg"}
_MOST_PANELS = 12
_AXES = ("time", "wall", "elapsed")  # possible x axes beside keys


def plot(
    runs: RunsArgument = None,
    store: StoreOption = None,
    keys: KeysOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write this .png or .svg. Default: plot in the terminal.",
        ),
    ] = None,
    x: Annotated[
        str | None,
        typer.Option(
            "--x", metavar="KEY", help="Plot over a key, over elapsed, or over wall. Default: time."
        ),
    ] = None,
    log_y: Annotated[
        bool, typer.Option("--log-y", help="Make the vertical axis logarithmic.")
    ] = False,
    smooth: Annotated[
        int, typer.Option(min=1, metavar="N", help="Show the mean over N values.")
    ] = 1,
    panels: Annotated[
        bool, typer.Option("--panels", help="Draw a panel per key. Default: only without --keys.")
    ] = False,
    lenses: Annotated[
        bool,
        typer.Option(
            "--lenses", help="Plot what lenses saw in a network. --keys takes their tags."
        ),
    ] = False,
    force: ForceOption = False,
) -> None:
    """Plot keys of one or several runs.

    Without --keys the command plots every key that has numbers. A NaN is a gap, and the command
    names the first one. A resumed run is one curve with its ancestors. A faint vertical line marks
    where it was resumed.

    --x elapsed plots over the seconds since the first of these runs was created. --x wall plots
    over the wall time (UTC). A key of that name takes precedence.

    With --lenses the command draws one page with everything that lenses wrote to one run. Without
    --output it prints the last tick of that as a table.

    Pictures need an extra: pip install "traininglog[plot]"

    Example: traininglog plot 1f3a 99c0 --keys loss --output loss.png
    """
    if output is not None:
        if output.suffix.lower() not in _FORMATS:
            raise Mistake(f"the suffix of {output} names no format of pictures: use .png or .svg")
        check_target(output, force=force)
    if lenses and (x or log_y or panels or smooth > 1):
        raise Mistake(
            "--lenses goes with --keys, --output and --force only: a run's status says "
            "how its lenses are drawn"
        )
    with opened(store) as file:
        chosen = several(file, runs)
        if lenses:
            if len(chosen) > 1:
                raise Mistake("--lenses draws a single run: name one only")
            from traininglog.cli.commands.plot_lenses import plot_lenses

            with reading(file, chosen[0]) as log:
                plot_lenses(log, patterns(keys), output, force=force)
            return
        curves: list[Curve] = []
        seen: list[str] = []
        with progress("Reading") as tell:
            for number, uuid in enumerate(chosen):
                tell(number, len(chosen))
                with reading(file, uuid) as log:
                    seen += log.keys_seen()
                    curves += _curves(log, _called(file, log, uuid), patterns(keys), x)
    require(keys, seen)
    if not curves:
        raise Mistake("nothing to plot, as no such key has a number: name others with --keys")
    panels = panels or not keys
    shown = list(dict.fromkeys(curve.key for curve in curves))
    if panels and len(shown) > _MOST_PANELS:
        raise Mistake(
            f"{len(shown)} keys have numbers, which is too much for one picture: choose with --keys"
        )
    if log_y:
        curves = [curve._replace(ys=[y if y > 0 else GAP for y in curve.ys]) for curve in curves]
    for curve in curves:
        if curve.first_nan is not None:
            note(f"{curve.key}: first NaN at time {curve.first_nan} ({curve.run})")
    dates = x == "wall" and "wall" not in seen
    units = {"wall": "wall (UTC)", "elapsed": "elapsed (s)"}
    axis = units[x] if x in units and x not in seen else visible(x or "time")
    curves, first = within_float(curves)
    if first:
        axis = f"{axis} - {first}"
    groups = [[c for c in curves if c.key == key] for key in shown] if panels else [curves]
    if output is None:
        from traininglog.cli.output.terminal_charts import draw

        draw(groups, axis, dates=dates, log_y=log_y, smooth=smooth, colour=on_terminal())
        return
    from traininglog.cli.output.plot_pictures import save

    with complete(output, force=force) as part:
        picture = _FORMATS[output.suffix.lower()]
        save(part, picture, groups, axis, dates=dates, log_y=log_y, smooth=smooth)
    note(f"plotted {', '.join(shown)} to {output}")


def _called(store: Store, log: SQLiteLog, uuid: UUID) -> str:
    name = log.status.get("name")
    short = shortest(store, uuid.hex)
    return f"{visible(name)} ({short})" if isinstance(name, str) and name else short


def _curves(log: SQLiteLog, run: str, wanted: list[str] | None, x: str | None) -> list[Curve]:
    seen = dict.fromkeys(log.keys_seen())
    by_key = x is not None and (x in seen or x not in _AXES)
    if by_key:
        require([x or ""], seen)
    asked = None
    if wanted is not None:  # one of several runs may lack a key
        asked = [key for key in [*wanted, *([x] if x else [])] if is_glob(key) or key in seen]
    found = {c.key: c for c in log.columns(asked)}
    places = None
    if x is not None and by_key:
        places = _places(found[x])
    elif x in ("wall", "elapsed"):
        times = list(all_times(list(found.values())))
        clock = log.clock()
        seconds = clock.walls(times) if x == "wall" else clock.elapsed(times)
        places = _places(Column(x, times, seconds))
    resumed = sorted(
        item.resumed_at
        for item in log.lineage()
        if item.resumed_at is not None and item.resumed_at >= 0
    )
    exact = {key for key in wanted or () if not is_glob(key)}
    curves = []
    for key, column in found.items():
        if key == x and key not in exact:
            continue
        if not any(map(_is_number, column.values)) or not all(map(_can_be_shown, column.values)):
            if key in exact:
                bad = next(v for v in column.values if not _is_number(v))
                raise Mistake(
                    f"{key!r} cannot be plotted: it holds a {called(bad)}, not only numbers"
                    f"{advice_on(column)}"
                )
            continue
        curves.append(_curve(column, run, places, resumed))
    return curves


def _curve(column: Column, run: str, places: dict[int, float] | None, resumed: list[int]) -> Curve:
    points = [
        (time if places is None else places[time], _height(value))
        for time, value in zip(column.times, column.values, strict=True)
        if places is None or time in places
    ]
    if places is None:
        marks: list[float] = [*resumed]
    else:
        points.sort(key=lambda point: point[0])
        times = sorted(places)
        marks = [
            places[times[at - 1]] for time in resumed if (at := bisect.bisect_right(times, time))
        ]
    nans = (
        time
        for time, value in zip(column.times, column.values, strict=True)
        if isinstance(value, float) and math.isnan(value)
    )
    return Curve(
        visible(column.key), run, [x for x, _ in points], [y for _, y in points], marks,
        next(nans, None),
    )  # fmt: skip


def _places(column: Column) -> dict[int, float]:
    """Return time -> x, for the times at which the key of the x axis is a finite number."""
    places = {
        time: value
        for time, value in zip(column.times, column.values, strict=True)
        if _is_number(value) and math.isfinite(value)
    }
    if not places:
        raise Mistake(f"{column.key!r} has no numbers to plot over: name another key with --x")
    return places


def _height(value: StoredValue) -> float:
    return float(value) if value is not None and math.isfinite(value) else GAP


def _is_number(value: StoredValue) -> bool:
    return isinstance(value, (int, float))


def _can_be_shown(value: StoredValue) -> bool:
    return value is None or _is_number(value)
