"""A million values are a DataFrame in 40 ms, faster than `pandas.read_parquet` of the same frame.

    python benchmarks/readback.py [--quick]

One run of 100,000 rows x 10 keys of noisy float64, closed; read in a fresh process each time,
pandas imported beforehand, opening the file included. Beside it CSV and Parquet (written by pandas
with its defaults) of the same frame.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import (
    KEYS,
    Report,
    Table,
    Timing,
    as_rows,
    folder,
    fresh,
    noisy,
    peak_memory,
    run_script,
)

from traininglog import SQLiteLog, Store


def measure(quick: bool) -> Report:
    size, times = (1000, 2) if quick else (100_000, 7)
    columns = noisy(size)
    report = Report("A million values become a DataFrame in 40 ms, faster than from Parquet.", [])
    with folder() as place:
        start = time.perf_counter()
        with SQLiteLog(place / "run.db") as log:
            for step, row in enumerate(as_rows(columns), 1):
                log[step].update(row)
        written = time.perf_counter() - start
        with Store(place / "run.db", readonly=True) as store:
            frame = store.log(store.latest(), readonly=True).to_dataframe()
        if frame.to_dict("list") != columns:
            raise SystemExit("what was read is not what was written")
        frame.to_csv(place / "run.csv")
        frame.to_parquet(place / "run.parquet")
        found: dict[str, list[dict[str, Any]]] = {what: [] for what in WAYS}
        for _ in range(times):  # in turns: the machine's moods hit all alike
            for what in WAYS:
                found[what].append(fresh(__file__, "--child", what, place))
    shape = f"{size:,} x {len(KEYS)}"
    table = Table(f"{shape} values, read in a fresh process", ["what", "ms", "peak MiB more"])
    timings = {}
    for what, runs in found.items():
        timings[what] = Timing([run["seconds"] for run in runs])
        table.add(what, timings[what].show("ms"), max(run["peak"] for run in runs) / 2**20)
    report.tables.append(table)
    ours, parquet = timings["SQLiteLog, frame"].median, timings["Parquet, frame"].median
    report.figures = {"frame, ms": ours * 1e3, "times Parquet": ours / parquet}
    report.notes.append(
        f"To write and close the run took {written:.2f} s. Importing pandas takes "
        f"{Timing([run['pandas'] for runs in found.values() for run in runs]).show('ms')} ms more."
    )
    return report


def _log(place: Path) -> SQLiteLog:
    with Store(place / "run.db", readonly=True) as store:
        return store.log(store.latest(), readonly=True)


def _csv(place: Path, **options: Any) -> Any:
    import pandas as pd

    return pd.read_csv(place / "run.csv", index_col="time", **options)


def _parquet(place: Path, **options: Any) -> Any:
    import pandas as pd

    return pd.read_parquet(place / "run.parquet", **options)


WAYS: dict[str, Callable[[Path], Any]] = {
    "SQLiteLog, frame": lambda place: _log(place).to_dataframe(),
    "Parquet, frame": _parquet,
    "CSV, frame": _csv,
    "SQLiteLog, one key": lambda place: _log(place)[:][KEYS[3]],
    "Parquet, one key": lambda place: _parquet(place, columns=[KEYS[3]]),
    "CSV, one key": lambda place: _csv(place, usecols=["time", KEYS[3]]),
    "SQLiteLog, one row": lambda place: dict(_log(place)[500]),
    "SQLiteLog, last()": lambda place: _log(place).last(KEYS[3]),
}


def child(what: str, place: Path) -> None:
    """Read once; print the seconds it took, and the memory."""
    start = time.perf_counter()
    import pandas  # noqa: F401

    imported = time.perf_counter() - start
    if what.startswith("Parquet"):
        import pyarrow.parquet  # noqa: F401
    before = peak_memory()
    start = time.perf_counter()
    WAYS[what](place)
    taken = time.perf_counter() - start
    print(json.dumps({"seconds": taken, "pandas": imported, "peak": peak_memory() - before}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], Path(sys.argv[3]))
    else:
        run_script(measure)
