"""Logging ten million values takes no more memory than logging a few: at most 120 MiB.

    python benchmarks/memory.py [--quick] [--no-peers]

1,000,000 rows x 10 keys into one run, in a fresh process that has NumPy loaded; the memory is the
peak of the process above what it had before the log was opened. The peers log less; what they
started themselves is counted with them.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

from contenders import Contender, Contenders
from measure import KEYS, Report, Table, folder, fresh, noisy, peak_memory, run_script
from peers.peer import Data

#: Values for those who had to be installed: as many as a minute or so allows.
PEERS_AT_MOST = 500_000


def measure(quick: bool, contenders: Contenders) -> Report:
    sizes = (1000, 10_000) if quick else (10_000, 100_000, 1_000_000)
    report = Report("Ten million values are logged in at most 120 MiB.")
    table = Table(f"Rows of {len(KEYS)} values, logged", ["values", "MiB more", "s", "ns a value"])
    for rows in sizes:
        with folder() as place:
            found = fresh(__file__, "--child", place, rows)
        values = rows * len(KEYS)
        table.add(values, found["peak"] / 2**20, found["s"], found["s"] / values * 1e9)
        report.figures = {"MiB": found["peak"] / 2**20}
    report.tables.append(table)
    with folder() as place:
        report.tables.append(beside_the_field(sizes[-2], place, contenders))
    return report


def beside_the_field(size: int, place: Path, contenders: Contenders) -> Table:
    """Let everyone log a little and then ten times as much; see what that adds."""
    data = Data.save(place / "data", noisy(1000))

    def rows(one: Contender) -> int:
        return one.rows(min(size, PEERS_AT_MOST // len(KEYS)) if one.installed else size)

    def logged(one: Contender, inside: Path) -> Any:
        peaks = []
        for part, steps in enumerate((rows(one) // 10, rows(one))):
            one.do("prepare", inside / str(part))
            write = {"data": data, "steps": steps, "timed": False}
            peaks.append(one.do("write", inside / str(part), **write)["peak"])
        return peaks

    table = Table(
        "beside the field, helper processes included",
        ["who", "values", "MiB more", "for a tenth of them", "growth, bytes a value"],
    )
    for one, ((few, many),) in contenders.each(logged, place, only=lambda one: one.main).items():
        added = (rows(one) - rows(one) // 10) * len(KEYS)
        table.add(
            one.label, rows(one) * len(KEYS), many / 2**20, few / 2**20,
            max(0.0, (many - few) / added),
        )  # fmt: skip
    return table


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
