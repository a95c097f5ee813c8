"""Of a closed run of ten million values a row comes in 5 ms, a series in 100, a slice in 10.

    python benchmarks/segments.py [--quick]

1,000,000 rows x 10 keys, closed. Each read is in a fresh process that has the log open and has read
one row of another run: what is timed is the read itself, the first and the median of nine more at
other places. The memory is the peak above what the process had before; it should be in proportion
to what was asked for. "opened" is opening the file and reading one row, nothing before it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from contenders import Contenders
from measure import KEYS, Report, Table, Timing, folder, fresh, noisy, peak_memory, run_script

from traininglog import SQLiteLog

SLICE = 1000
REPEATS = 9


def measure(quick: bool, _: Contenders) -> Report:
    rows, times = (10_000, 1) if quick else (1_000_000, 3)
    report = Report("Of a run of 10^7 values a row takes 5 ms, a series 100 ms, a slice 10 ms.")
    columns = noisy(10_000)
    with folder() as place:
        start = time.perf_counter()
        small = _write(place, columns, 100)
        uuid = _write(place, columns, rows)
        written = time.perf_counter() - start
        size = sum(path.stat().st_size for path in place.iterdir())
        table = Table(
            f"{rows:,} x {len(KEYS)} values, closed",
            ["what", "first, ms", "median of more, ms", "values", "MiB more"],
        )
        for what, (_read, values) in READS.items():
            answers = [
                fresh(__file__, "--child", what, place, uuid, small, rows) for _ in range(times)
            ]
            first = Timing([answer["first"] for answer in answers])
            more = Timing([answer["more"] for answer in answers])
            table.add(
                what, first.show("ms"), more.show("ms"), values(rows),
                max(answer["peak"] for answer in answers) / 2**20,
            )  # fmt: skip
            report.figures[f"{what}, first, ms"] = first.median * 1e3
            report.figures[f"{what}, ms"] = more.median * 1e3
    report.tables.append(table)
    report.notes.append(
        f"To write and close it took {written:.1f} s; the file takes "
        f"{size / (rows * len(KEYS)):.2f} bytes a value."
    )
    return report


def _write(place: Path, columns: dict[str, list[float]], rows: int) -> str:
    have = len(columns[KEYS[0]])
    with SQLiteLog(place / "runs.db") as log:
        for step in range(1, rows + 1):
            place_in = (step - 1) % have
            log[step].update({key: column[place_in] for key, column in columns.items()})
    return log.h_uuid


def _slice(log: Any, step: int) -> Any:
    return log.to_dataframe(start=step, stop=step + SLICE)


#: What is read, from a step on, and how many values that are.
READS: dict[str, tuple[Callable[[Any, int], Any], Callable[[int], int]]] = {
    "one row": (lambda log, step: dict(log[step]), lambda _: len(KEYS)),
    "one value": (lambda log, step: log[step][KEYS[3]], lambda _: 1),
    "one series": (lambda log, _: log[:][KEYS[3]], lambda rows: rows),
    "a slice of all keys": (_slice, lambda _: SLICE * len(KEYS)),
    "a slice of one key": (
        lambda log, step: log[step : step + SLICE][KEYS[3]],
        lambda _: SLICE,
    ),
    "a slice, to_arrow()": (
        lambda log, step: log.to_arrow(start=step, stop=step + SLICE),
        lambda _: SLICE * len(KEYS),
    ),
    "one key, to_arrow()": (lambda log, _: log.to_arrow(keys=KEYS[3]), lambda rows: rows),
    "last()": (lambda log, _: log.last(KEYS[3]), lambda _: 1),
    "best()": (lambda log, _: log.best(KEYS[3]), lambda rows: rows),
    "everything": (lambda log, _: log.to_dataframe(), lambda rows: rows * len(KEYS)),
    "opened, and one row": (lambda log, step: dict(log[step]), lambda _: len(KEYS)),
}


def child(what: str, place: Path, uuid: str, small: str, rows: int) -> None:
    """Read something over and over; print the seconds and the memory."""
    import pandas  # noqa: F401

    from traininglog import frames  # noqa: F401

    read, values = READS[what]
    path = place / "runs.db"
    if what.startswith("opened"):
        before, start = peak_memory(), time.perf_counter()
        log = SQLiteLog(path, uuid, readonly=True)
        read(log, rows // 2)
        first = more = time.perf_counter() - start
    else:
        with SQLiteLog(path, small, readonly=True) as other:
            read(other, 50)
        log = SQLiteLog(path, uuid, readonly=True)
        len(log.status)
        before, took = peak_memory(), []
        steps = [rows // 2, *(rows * part // (REPEATS + 3) for part in range(1, REPEATS + 1))]
        for step in steps if values(10**6) < 10**7 else steps[:2]:
            start = time.perf_counter()
            read(log, step)
            took.append(time.perf_counter() - start)
        first, more = took[0], median(took[1:])
    print(json.dumps({"first": first, "more": more, "peak": peak_memory() - before}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        what, place, uuid, small, rows = sys.argv[2:]
        child(what, Path(place), uuid, small, int(rows))
    else:
        run_script(measure)
