"""Logging ten million values takes no more memory than logging a few: at most 120 MiB.

    python benchmarks/memory.py [--quick]

1,000,000 rows x 10 keys into one run, in a fresh process that has NumPy loaded; the memory is the
peak of the process above what it had before the log was opened.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

from measure import KEYS, Report, Table, folder, fresh, peak_memory, run_script


def measure(quick: bool) -> Report:
    sizes = (1000, 10_000) if quick else (10_000, 100_000, 1_000_000)
    report = Report("Ten million values are logged in at most 120 MiB.", [])
    table = Table(f"Rows of {len(KEYS)} values, logged", ["values", "MiB more", "s", "ns a value"])
    for rows in sizes:
        with folder() as place:
            found = fresh(__file__, "--child", place, rows)
        values = rows * len(KEYS)
        table.add(values, found["peak"] / 2**20, found["s"], found["s"] / values * 1e9)
        report.figures = {"MiB": found["peak"] / 2**20}
    report.tables.append(table)
    return report


def child(place: Path, rows: int) -> None:
    """Log so much; print how much memory it took, and how long."""
    import numpy  # noqa: F401 - a training has it

    from traininglog import SQLiteLog

    before = peak_memory()
    start = time.perf_counter()
    with SQLiteLog(place / "run.db") as log:
        for step in range(1, rows + 1):
            row = log[step]
            for key in KEYS:
                row[key] = random.random()
    taken = time.perf_counter() - start
    print(json.dumps({"peak": peak_memory() - before, "s": taken}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        run_script(measure)
