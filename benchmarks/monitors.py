"""A `LogMonitor` writes ten keys in at most 10 µs.

    python benchmarks/monitors.py [--quick]

Every write is timed by itself; the median says what a step mostly pays, the mean and the 99th
percentile include the flushes beside it. Beside it stand what it is made of: the same row by
`log[t].update(row)`, and into a plain dict of dicts.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median, quantiles
from time import perf_counter_ns
from typing import Any

from contenders import Contenders
from measure import KEYS, Report, Table, as_rows, folder, noisy, run_script

from traininglog import SQLiteLog, TrainingLog
from traininglog.monitors import CompositeMonitor, LogMonitor, NanGuard, RingbufferMonitor

Row = dict[str, Any]
Write = Callable[[Row, int], object]


def time_each(write: Write, rows: list[Row]) -> list[int]:
    """Time each write of some rows."""
    taken = []
    for step, row in enumerate(rows, 1):
        start = perf_counter_ns()
        write(row, step)
        taken.append(perf_counter_ns() - start)
    return taken


def by_update(log: Any) -> Write:
    """Write a row, its step in it, without a monitor."""

    def write(row: Row, step: int) -> None:
        log[step].update(row)

    return write


def into_dict(_: Any) -> Write:
    """Write a row into a dict."""
    rows: dict[int, Row] = {}

    def write(row: Row, step: int) -> None:
        rows[step] = dict(row)

    return write


def by_monitor(log: Any) -> Write:
    """Write a row by a monitor."""
    return LogMonitor(log).write


def by_three(log: Any) -> Write:
    """Write a row to a composite of three."""
    return CompositeMonitor([LogMonitor(log), RingbufferMonitor(key=KEYS[0]), NanGuard()]).write


def data(size: int) -> dict[str, list[Row]]:
    """Return rows of ten values each, of several makes."""
    import numpy as np

    floats = as_rows(noisy(size))
    half = len(KEYS) // 2
    return {
        "ten floats": floats,
        "in two nested dicts": [
            {"a": dict(list(row.items())[:half]), "b": dict(list(row.items())[half:])}
            for row in floats
        ],
        "ten NumPy float32": [
            {key: np.float32(value) for key, value in row.items()} for row in floats
        ],
        "nine floats and an int": [row | {KEYS[-1]: number} for number, row in enumerate(floats)],
    }


def measure(quick: bool, _: Contenders) -> Report:
    rows = data(500 if quick else 20_000)
    times = 2 if quick else 5
    floats = rows["ten floats"]
    with_step = [row | {"step": 1.0} for row in floats]
    loops: dict[str, tuple[Callable[[Any], Write], list[Row]]] = {
        "a dict": (into_dict, with_step),
        "log[t].update(row)": (by_update, with_step),
    }
    for name, made in rows.items():
        loops[f"LogMonitor, {name}"] = (by_monitor, made)
    loops["LogMonitor + RingbufferMonitor + NanGuard, ten floats"] = (by_three, floats)

    report = Report("A LogMonitor writes ten keys in at most 10 µs.", [])
    with folder() as place:
        for store in ("TrainingLog", "SQLiteLog"):
            table = Table(f"{store}, µs a write", ["what", "median", "mean", "p99"])
            found = measure_store(store, loops, times, place)
            for name, runs in found.items():
                table.add(name, *(median(run[place] for run in runs) for place in range(3)))
            report.tables.append(table)
            report.figures[f"{store}, µs a write"] = median(
                run[0] for run in found["LogMonitor, ten floats"]
            )
    return report


def measure_store(
    store: str,
    loops: dict[str, tuple[Callable[[Any], Write], list[Row]]],
    times: int,
    place: Path,
) -> dict[str, list[tuple[float, float, float]]]:
    """Run all loops in turns; return median, mean and p99 of each time, in µs."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in loops}
    for _ in range(times):
        for name, (make, rows) in loops.items():
            log: Any = TrainingLog() if store == "TrainingLog" else SQLiteLog(place / "runs.db")
            gc.collect()
            taken = [nanoseconds / 1e3 for nanoseconds in time_each(make(log), rows)]
            log.close()
            found[name].append((median(taken), mean(taken), quantiles(taken, n=100)[98]))
    return found


if __name__ == "__main__":
    run_script(measure)
