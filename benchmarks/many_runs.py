"""A thousand runs in one file are listed, last values included, in 50 ms.

    python benchmarks/many_runs.py [--quick]

1,000 runs x 100 steps x 10 keys, all closed.
"""

from __future__ import annotations

import time

from measure import KEYS, Report, Table, as_rows, clock_beside, folder, noisy, run_script

from traininglog import SQLiteLog, Store


def measure(quick: bool) -> Report:
    runs, steps, times = (20, 20, 2) if quick else (1000, 100, 7)
    rows = as_rows(noisy(steps))
    report = Report(f"{runs:,} runs are listed with their last values in 50 ms.", [])
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
            timed = clock_beside(
                {
                    "runs()": store.runs,
                    "runs(one key)": lambda: store.runs(KEYS[0]),
                    "runs(all 10 keys)": lambda: store.runs("*"),
                    "runs(state='lost'): none": lambda: store.runs(state="lost"),
                    "runs(limit=10, one key)": lambda: store.runs(KEYS[0], limit=10),
                    "find(8 digits)": lambda: store.find(listed["uuid"][runs // 2][:8]),
                    "to_dataframe(keys=one), long": lambda: store.to_dataframe(keys=KEYS[0]),
                    "to_dataframe(), long": store.to_dataframe,
                    "log(uuid).to_dataframe()": lambda: store.log(
                        listed["uuid"][runs // 2], readonly=True
                    ).to_dataframe(),
                },
                times,
            )
            size = store.size().total
    table = Table(f"{runs:,} runs x {steps} steps x {len(KEYS)} keys", ["what", "ms"])
    for name, timing in timed.items():
        table.add(name, timing.show("ms"))
    report.tables.append(table)
    report.figures = {
        "runs(one key), ms": timed["runs(one key)"].median * 1e3,
        "runs(all keys), ms": timed["runs(all 10 keys)"].median * 1e3,
    }
    report.notes.append(
        f"To write them took {written:.1f} s, opening and closing a log for each; the file takes "
        f"{size / (runs * steps * len(KEYS)):.1f} bytes a value."
    )
    return report


if __name__ == "__main__":
    run_script(measure)
