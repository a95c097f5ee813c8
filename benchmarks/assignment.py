"""An assignment costs at most half a microsecond, and 7 times what a plain dict costs.

    python benchmarks/assignment.py [--quick] [--no-peers]

The same loop over 10 keys a row for `collections.defaultdict(dict)`, `TrainingLog` and `SQLiteLog`.
Every row is timed; a row's time over 10 is the time of a value. The median says what the loop
mostly pays, the 99th percentile and the mean include the flushes that it has to wait for. In the
table of single assignments each is timed by itself, the clock's own 50 ns or so included.

The peers log the same rows, each in a process of its own, by the call that its users write and by
the fastest that there is; and whatever they do, until all of it is in files that the disk has.
"""

from __future__ import annotations

import csv
import gc
import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median, quantiles
from time import perf_counter, perf_counter_ns
from typing import Any

from contenders import Contender, Contenders
from measure import (
    KEYS,
    Bars,
    Report,
    Table,
    Timing,
    as_rows,
    clock_beside,
    folder,
    noisy,
    run_script,
)
from peers.peer import Data

from traininglog import SQLiteLog, TrainingLog

Row = dict[str, float]


def assign(log: Any, rows: list[Row]) -> list[int]:
    """Time log[t][k] = v."""
    taken = []
    for time, row in enumerate(rows, 1):
        start = perf_counter_ns()
        for key, value in row.items():
            log[time][key] = value
        taken.append(perf_counter_ns() - start)
    return taken


def assign_singly(log: Any, rows: list[Row]) -> list[int]:
    """Time each log[t][k] = v by itself."""
    taken = []
    for time, row in enumerate(rows, 1):
        for key, value in row.items():
            start = perf_counter_ns()
            log[time][key] = value
            taken.append(perf_counter_ns() - start)
    return taken


def update(log: Any, rows: list[Row]) -> list[int]:
    """Time log[t].update(row)."""
    taken = []
    for time, row in enumerate(rows, 1):
        start = perf_counter_ns()
        log[time].update(row)
        taken.append(perf_counter_ns() - start)
    return taken


def read(log: Any, rows: list[Row]) -> list[int]:
    """Time log[t][k] of a value that was just assigned: the last 100 rows, over and over."""
    last = len(rows)
    for time in range(last + 1, last + 101):
        log[time].update(rows[0])
    taken = []
    for place in range(0, last, 10):
        time = last + 1 + place % 100
        start = perf_counter_ns()
        for key in KEYS:
            log[time][key]
        taken.append(perf_counter_ns() - start)
    return taken


def status(log: Any, rows: list[Row]) -> list[int]:
    """Time log.status["iterations_done"] = t, ten at a time."""
    taken = []
    for first in range(0, len(rows), 10):
        start = perf_counter_ns()
        for time in range(first, first + 10):
            log.status["iterations_done"] = time
        taken.append(perf_counter_ns() - start)
    return taken


class Plain(defaultdict[int, Row]):
    """What there is to compare with."""

    def __init__(self) -> None:
        super().__init__(dict)
        self.status: dict[str, int] = {}

    def close(self) -> None:
        """Do nothing."""


def measure(quick: bool, contenders: Contenders) -> Report:
    rows = as_rows(noisy(1000 if quick else 20_000))
    times = 2 if quick else 5
    report = Report("An assignment costs at most 0.5 µs, and 7x a dict; p99 at most 3 µs.")
    loops: dict[str, Callable[[Any, list[Row]], list[int]]] = {
        "log[t][k] = v": assign, "log[t][k] = v, each by itself": assign_singly,
        "log[t].update(row)": update, "x = log[t][k]": read,
        'log.status["iterations_done"] = t': status,
    }  # fmt: skip
    with folder() as place:
        for what, loop in loops.items():
            table = Table(
                f"{what}, ns a value", ["store", "median", "mean", "p99", "x dict", "longest, ms"]
            )
            found = measure_loop(loop, rows, times, place)
            plain = median(row["median"] for row in found["defaultdict(dict)"])
            for name, runs in found.items():
                figures = {key: median(run[key] for run in runs) for key in runs[0]}
                table.add(
                    name, figures["median"], figures["mean"], figures["p99"],
                    figures["median"] / plain, figures["longest"],
                )  # fmt: skip
                if loop is assign and name == "SQLiteLog":
                    report.figures["median, ns a value"] = figures["median"]
                    report.figures["times a defaultdict"] = figures["median"] / plain
                if loop is assign_singly and name == "SQLiteLog":
                    report.figures["p99, ns a value"] = figures["p99"]
            report.tables.append(table)
        report.tables.append(durable(rows[:10_000], times, place))
        report.tables.append(beside_a_busy_loop(0.5 if quick else SECONDS, min(times, 3), place))
        beside_the_field(100 if quick else 10_000, 1 if quick else 3, place, contenders, report)
    return report


def measure_loop(
    loop: Callable[[Any, list[Row]], list[int]], rows: list[Row], times: int, place: Path
) -> dict[str, list[dict[str, float]]]:
    """Run a loop on every store in turns; return the figures of every time."""
    stores: dict[str, Callable[[], Any]] = {
        "defaultdict(dict)": Plain,
        "TrainingLog": TrainingLog,
        "SQLiteLog": lambda: SQLiteLog(place / "assignment.db"),
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in stores}
    for _ in range(times):
        for name, make in stores.items():
            log = make()
            gc.collect()
            taken = loop(log, rows)
            log.close()
            each = 1 if loop is assign_singly else 10
            found[name].append(
                {
                    "median": median(taken) / each,
                    "mean": mean(taken) / each,
                    "p99": quantiles(taken, n=100)[98] / each,
                    "longest": max(taken) / 1e6,
                }
            )
    return found


#: Values a second that a loop assigns beside its own work, and for how many seconds.
PACE, SECONDS = 100_000, 4.0


def work_beside(log: Any, seconds: float) -> float:
    """Assign `PACE` values a second and compute in between; return computations a second."""
    row = as_rows(noisy(1))[0]
    done = time = 0
    start = perf_counter()
    while (now := perf_counter() - start) < seconds:
        while time * len(row) < now * PACE:
            time += 1
            for key, value in row.items():
                log[time][key] = value
        for _ in range(20):
            sum(range(100))  # holds the interpreter, as pure Python does
            done += 1
    return done / seconds


def beside_a_busy_loop(seconds: float, times: int, place: Path) -> Table:
    """Compare what a busy loop gets done beside its assignments, and what lags behind.

    A log in memory has the same assignments to make and nothing in the background: what is less
    than beside that one is what the flusher takes.
    """
    table = Table(
        f"{PACE:,} values a second beside a busy loop",
        [
            "store", "of the work done beside a dict, %", "of that beside a TrainingLog, %",
            "not yet in the file at the end",
        ],
    )  # fmt: skip
    found: dict[str, list[tuple[float, int]]] = {"TrainingLog": [], "SQLiteLog": []}
    for _ in range(times):
        plain = work_beside(Plain(), seconds)
        for name, runs in found.items():
            log: Any = TrainingLog() if name == "TrainingLog" else SQLiteLog(place / "busy.db")
            share = work_beside(log, seconds) / plain
            behind = 0
            if name == "SQLiteLog":
                with SQLiteLog(place / "busy.db", log.uuid, readonly=True) as reader:
                    behind = 10 * (len(log) - len(reader))
            runs.append((share, behind))
            log.close()
    in_memory = [share for share, _ in found["TrainingLog"]]
    for name, measured in found.items():
        beside = [share / other for (share, _), other in zip(measured, in_memory, strict=True)]
        shares, late = zip(*measured, strict=True)
        table.add(name, 100 * median(shares), 100 * median(beside), median(late))
    return table


def durable(rows: list[Row], times: int, place: Path) -> Table:
    """Time a whole small run, until the disk has all of it, beside a CSV file."""

    def logged() -> None:
        log = SQLiteLog(place / "durable.db")
        for time, row in enumerate(rows, 1):
            for key, value in row.items():
                log[time][key] = value
        log.commit()
        log.close()

    def written() -> None:
        with (place / "durable.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            for time, row in enumerate(rows, 1):
                writer.writerow([time, *row.values()])
            file.flush()
            os.fsync(file.fileno())

    timed: dict[str, Timing] = clock_beside({"SQLiteLog": logged, "csv.writer": written}, times)
    table = Table(
        f"{len(rows):,} x {len(KEYS)} values, until the disk has them", ["store", "s", "x CSV"]
    )
    for name, timing in timed.items():
        table.add(name, timing.show("s"), timing.median / timed["csv.writer"].median)
    return table


def beside_the_field(
    size: int, times: int, place: Path, contenders: Contenders, report: Report
) -> None:
    """Let everyone log the same rows, and have them durable."""
    data = Data.save(place / "data", noisy(size))

    def written(one: Contender, inside: Path) -> Any:
        one.do("prepare", inside)
        return one.do("write", inside, data=data, steps=one.rows(size))

    found = contenders.each(written, place, times)
    each = Table(
        f"{size:,} x {len(KEYS)} values beside the field, µs a value in the loop",
        ["who", "values", "median", "mean", "p99", "longest, ms", "how"],
    )
    whole = Table(
        "The same, from the beginning of the run until the disk has it all",
        ["who", "values", "s", "µs a value", "x ours", "of it after the loop, s"],
    )
    loops = Bars("an assignment, median", "µs a value")
    totals = Bars("from beginning to durable", "µs a value")
    ours = 0.0
    for one, runs in found.items():
        values = one.rows(size) * len(KEYS)
        row = {
            name: median(run["row"][name] for run in runs) / len(KEYS) / 1e3
            for name in ("median", "mean", "p99", "longest")
        }
        label = f"{one.label} †" if one.volatile else one.label
        each.add(
            label, values, Timing([run["row"]["median"] / 1e10 for run in runs]).show("µs"),
            row["mean"], row["p99"], row["longest"] * len(KEYS) / 1e3, one.route,
        )  # fmt: skip
        total = Timing([run["total"] for run in runs])
        a_value = total.median / values * 1e6
        ours = ours or a_value
        loops.values[label] = row["median"]
        if one.peer != "defaultdict":  # it keeps nothing
            whole.add(
                one.label, values, total.show("s"), a_value, a_value / ours,
                median(run["end"] for run in runs),
            )  # fmt: skip
            totals.values[one.label] = a_value
    report.tables += [each, whole]
    report.notes.append("† all in memory until the run ends, and lost with the process.")
    report.bars += [loops, totals]


if __name__ == "__main__":
    run_script(measure)
