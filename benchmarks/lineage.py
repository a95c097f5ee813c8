"""A lineage of 1,000 resumes reads as fast as one of 2, to within 3x.

    python benchmarks/lineage.py [--quick]

The same 1,000 rows of 10 keys, written by 3 runs (2 resumes) or by 1,001 (1,000 resumes); once
with every resume at the end of its parent, once with each a row back, so that runs overlap. Read
are the last row, a row in the middle, one key as a Series, everything as a DataFrame, and the
lineage. "opened" counts opening the log and reading its last row; the others find it open.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import KEYS, Report, Table, as_rows, clock_beside, folder, noisy, number, run_script

from traininglog import SQLiteLog, TrainingLog, TrainingLogBase


def write(log: TrainingLogBase, rows: list[dict[str, float]], resumes: int, back: int) -> None:
    """Write all rows to a log that is resumed so many times, each time so many rows back."""
    runs = resumes + 1
    bounds = [len(rows) * part // runs for part in range(runs + 1)]
    for part in range(runs):
        if part:
            log.resume(at=max(0, bounds[part] - back))
        for time in range(max(0, bounds[part] - back) + 1, bounds[part + 1] + 1):
            log[time].update(rows[time - 1])


def measure(quick: bool) -> Report:
    size, deep, times = (100, 100, 3) if quick else (1000, 1000, 15)
    rows = as_rows(noisy(size))
    report = Report(f"{deep:,} resumes read as fast as 2, to within 3x.", [])
    worst = {"row": 0.0, "frame": 0.0}
    with folder() as place:
        for store in ("memory", "SQLite"):
            for back in (0, 1):
                logs: dict[int, TrainingLogBase] = {}
                paths = {}
                for resumes in (2, deep):
                    paths[resumes] = place / f"{resumes}-{back}.db"
                    log = TrainingLog() if store == "memory" else SQLiteLog(paths[resumes])
                    write(log, rows, resumes, back)
                    log.flush()
                    logs[resumes] = log
                how = "each at the end" if not back else "each a row back"
                table = Table(f"{store}, {how}", ["what", "2 resumes", f"{deep:,}", "ratio"])
                for what, call in reads(size).items():
                    timed = clock_beside(
                        {str(n): functools.partial(call, log) for n, log in logs.items()}, times
                    )
                    ratio = timed[str(deep)].median / timed["2"].median
                    table.add(what, timed["2"].show("µs"), timed[str(deep)].show("µs"), ratio)
                    for name in worst.keys() & set(what.split()):
                        worst[name] = max(worst[name], ratio)
                if store == "SQLite":
                    opened(table, logs, paths, size, times)
                report.tables.append(table)
                for log in logs.values():
                    log.close()
    report.figures = {f"worst ratio, {name}": ratio for name, ratio in worst.items()}
    report.notes.append(
        "µs: median (fastest-slowest). Worst ratios: "
        + ", ".join(f"{name} {number(ratio)}" for name, ratio in worst.items())
        + "; to reach: 3."
    )
    return report


def reads(size: int) -> dict[str, Callable[[TrainingLogBase], Any]]:
    """Return what is read, by name."""
    return {
        "last row": lambda log: log[size].copy(),
        "middle row": lambda log: log[size // 2].copy(),
        "dict(log[t])": lambda log: dict(log[size]),
        "value": lambda log: log[size][KEYS[0]],
        "series": lambda log: log[:][KEYS[0]],
        "frame": lambda log: log.to_dataframe(),
        "len(log)": len,
        "lineage()": lambda log: log.lineage(),
    }


def opened(
    table: Table, logs: dict[int, TrainingLogBase], paths: dict[int, Path], size: int, times: int
) -> None:
    """Time opening a log to read one row."""

    def look(resumes: int) -> None:
        with SQLiteLog(paths[resumes], logs[resumes].uuid, readonly=True) as log:
            if len(log[size]) != len(KEYS):
                raise SystemExit("the row is not what was written")

    timed = clock_beside({str(n): functools.partial(look, n) for n in logs}, times)
    shallow, deep = timed.values()
    table.add("opened", shallow.show("µs"), deep.show("µs"), deep.median / shallow.median)


if __name__ == "__main__":
    run_script(measure)
