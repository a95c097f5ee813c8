"""Sealing adds at most 0.2 µs of background work a value, and the assignment does not wait for it.

    python benchmarks/sealing.py [--quick]

1,000,000 values, 10 a row, in bursts of 1,000 rows with a pause after each in which the loop
sleeps. Background work is the processor time of the whole process, from the first assignment to the
end of `close()`, less that of the looping thread in the loop: flushing, and with `seal=True`
sealing. Then a run that was not sealed is sealed by `log.seal()`, and a store by `Store.seal()`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from contenders import Contenders
from measure import KEYS, Report, Table, Timing, as_rows, folder, fresh, noisy, run_script

from traininglog import SQLiteLog, Store

BURST, PAUSE = 1000, 0.05


def measure(quick: bool, _: Contenders) -> Report:
    rows, times = (2000, 1) if quick else (100_000, 5)
    report = Report("Sealing adds at most 0.2 µs of background work a value.")
    found: dict[str, list[dict[str, Any]]] = {"seal=True": [], "seal=False": []}
    for _time in range(times):
        for way, answers in found.items():
            with folder() as place:
                answers.append(fresh(__file__, "--child", way, place, rows))
    values = rows * len(KEYS)
    table = Table(
        f"{rows:,} x {len(KEYS)} values, by log[t][k] = v",
        ["how", "background work, µs a value", "assignment, µs a value", "p99 of a row, µs",
         "longest row, ms", "close(), ms", "bytes a value"],
    )  # fmt: skip
    work = {}
    for way, answers in found.items():
        work[way] = Timing([answer["background"] / values for answer in answers])
        table.add(
            way, work[way].show("µs"),
            Timing([answer["median"] / len(KEYS) for answer in answers]).show("µs"),
            Timing([answer["p99"] for answer in answers]).show("µs"),
            max(answer["longest"] for answer in answers) * 1e3,
            Timing([answer["close"] for answer in answers]).show("ms"),
            median(answer["size"] for answer in answers) / values,
        )  # fmt: skip
    report.tables.append(table)
    added = (work["seal=True"].median - work["seal=False"].median) * 1e6
    report.figures["background work of sealing, µs a value"] = added
    report.notes.append(f"Sealing adds {added:.3f} µs of background work a value; to reach: 0.2.")
    report.tables.append(by_hand(rows, times))
    return report


def child(way: str, place: Path, rows: int) -> None:
    """Write a run in bursts; print what it took."""
    data = as_rows(noisy(rows))
    options: Any = {} if way == "as it is" else {"seal": way == "seal=True"}
    log = SQLiteLog(place / "run.db", **options)
    log[0].update(data[0])  # the connection, the thread, the keys: not of this
    log.flush()
    clock, took, looped = time.perf_counter, [], 0.0
    begun = time.process_time()
    for first in range(0, rows, BURST):
        own = time.thread_time()
        for step, row in enumerate(data[first : first + BURST], first + 1):
            start = clock()
            for key, value in row.items():
                log[step][key] = value
            took.append(clock() - start)
        looped += time.thread_time() - own
        time.sleep(PAUSE)
    start = clock()
    log.close()
    closed = clock() - start
    answer = {
        "background": time.process_time() - begun - looped,
        "median": median(took),
        "p99": quantiles(took, n=100)[98],
        "longest": max(took),
        "close": closed,
        "size": sum(path.stat().st_size for path in place.iterdir()),
    }
    print(json.dumps(answer))


def by_hand(rows: int, times: int) -> Table:
    """Time sealing a run that has only rows."""
    table = Table(
        f"A run of {rows:,} x {len(KEYS)} values in rows, sealed",
        ["call", "ms", "µs of processor time a value"],
    )
    data = as_rows(noisy(rows))
    calls = {"log.seal()": _seal_log, "Store.seal()": _seal_store}
    for name, call in calls.items():
        wall, busy = [], []
        for _ in range(times):
            with folder() as place:
                with SQLiteLog(place / "run.db", seal=False) as log:  # type: ignore[call-arg]
                    for step, row in enumerate(data, 1):
                        log[step].update(row)
                start, begun = time.perf_counter(), time.process_time()
                call(place / "run.db", log.h_uuid)
                wall.append(time.perf_counter() - start)
                busy.append((time.process_time() - begun) / (rows * len(KEYS)))
        table.add(name, Timing(wall).show("ms"), Timing(busy).show("µs"))
    return table


def _seal_log(path: Path, uuid: str) -> None:
    log: Any = SQLiteLog(path, uuid)
    log.seal()
    log.close()


def _seal_store(path: Path, uuid: str) -> None:
    store: Any
    with Store(path) as store:
        store.seal(uuid)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
    else:
        run_script(measure)
