"""A thousand runs in one file are listed, last and best values included, in 50 ms.

    python benchmarks/many_runs.py [--quick] [--no-peers]

1,000 runs x 100 steps x 10 keys, all closed. Of the peers, each read is in a fresh process, what
they read compared with what was written; those who would take minutes have fewer runs, and "µs a
run" is what compares. "last" is a list of the runs with the last value of every key, "best" the
smallest value of one key for every run, "long" all values of one key as one long DataFrame.
"""

from __future__ import annotations

import time
from pathlib import Path
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

from traininglog import SQLiteLog, Store

READS = ("lasts", "bests", "long")


def measure(quick: bool, contenders: Contenders) -> Report:
    runs, steps, times = (20, 20, 2) if quick else (1000, 100, 7)
    report = Report(f"{runs:,} runs are listed with their last values in 50 ms.")
    ourselves(runs, steps, times, report)
    with folder() as place:
        beside_the_field(5 if quick else runs, steps, 1 if quick else 3, place, contenders, report)
    return report


def ourselves(runs: int, steps: int, times: int, report: Report) -> None:
    """Time what a store answers, in one process."""
    rows = as_rows(noisy(steps))
    with folder() as place:
        start = time.perf_counter()
        for number in range(runs):
            with SQLiteLog(place / "many.db") as log:
                log.status["name"] = f"run {number}"
                for step, row in enumerate(rows, 1):
                    log[step].update(row)
        written = time.perf_counter() - start
        with Store(place / "many.db", readonly=True) as store:
            listed = store.runs(KEYS[0])
            if len(listed) != runs or set(listed[KEYS[0]]) != {rows[-1][KEYS[0]]}:
                raise SystemExit("the list is not what was written")
            uuid = listed["uuid"][runs // 2]
            calls: dict[str, Any] = {
                "runs()": store.runs,
                "runs(one key)": lambda: store.runs(KEYS[0]),
                "runs(one key, and its best)": lambda: store.runs(KEYS[0], best=KEYS[0]),
                "runs(all 10 keys)": lambda: store.runs("*"),
                "runs(state='lost'): none": lambda: store.runs(state="lost"),
                "runs(limit=10, one key)": lambda: store.runs(KEYS[0], limit=10),
                "find(8 digits)": lambda: store.find(uuid[:8]),
                "to_dataframe(keys=one), long": lambda: store.to_dataframe(keys=KEYS[0]),
                "to_dataframe(), long": store.to_dataframe,
                "log(uuid).to_dataframe()": lambda: store.log(uuid, readonly=True).to_dataframe(),
            }
            timed = clock_beside(calls, times)
            size = store.size().total
    table = Table(f"{runs:,} runs x {steps} steps x {len(KEYS)} keys", ["what", "ms"])
    for name, timing in timed.items():
        table.add(name, timing.show("ms"))
    report.tables.append(table)
    report.figures |= {
        "runs(one key), ms": timed["runs(one key)"].median * 1e3,
        "runs(all keys), ms": timed["runs(all 10 keys)"].median * 1e3,
        "to_dataframe(one key), ms": timed["to_dataframe(keys=one), long"].median * 1e3,
    }
    report.notes.append(
        f"To write them took {written:.1f} s, opening and closing a log for each; the file takes "
        f"{size / (runs * steps * len(KEYS)):.1f} bytes a value."
    )


def beside_the_field(
    wanted: int, steps: int, times: int, place: Path, contenders: Contenders, report: Report
) -> None:
    """Write and read many runs with everyone."""
    data = Data.save(place / "data", noisy(wanted + steps))

    def runs(one: Contender) -> int:
        return max(2, min(wanted, one.most_runs))

    def everything(one: Contender, inside: Path) -> Any:
        one.do("prepare", inside)
        about = {"data": data, "steps": steps}
        written = one.do("write_many", inside, runs=runs(one), **about)
        answers: dict[str, list[float]] = {"written": [written["seconds"]]}
        for _ in range(times):
            for what in READS:
                read = one.do("read_many", inside, what=what, runs=written["runs"], **about)
                answers.setdefault(what, []).append(read["seconds"])
        return answers

    found = contenders.each(everything, place, only=lambda one: one.stored)
    table = Table(
        f"{wanted:,} runs x {steps} steps x {len(KEYS)} keys beside the field, ms",
        ["who", "runs", "last", "µs a run", "x ours", "best", "long", "µs a run",
         "written, ms a run"],
    )  # fmt: skip
    bars = Bars("many runs, listed with last values", "µs a run")
    ours = 0.0
    for one, (answers,) in found.items():
        timing = {what: Timing(seconds) for what, seconds in answers.items()}
        a_run = timing["lasts"].median / runs(one) * 1e6
        ours = ours or a_run
        table.add(
            one.label, runs(one), timing["lasts"].show("ms"), a_run, a_run / ours,
            timing["bests"].show("ms"), timing["long"].show("ms"),
            timing["long"].median / runs(one) * 1e6, timing["written"].median / runs(one) * 1e3,
        )  # fmt: skip
        bars.values[one.label] = a_run
    report.tables.append(table)
    report.bars.append(bars)


if __name__ == "__main__":
    run_script(measure)
