"""A million values are a DataFrame in some 40 ms; `pandas.read_parquet` takes half of it, or all.

    python benchmarks/readback.py [--quick] [--no-peers]

One run of noisy float64, closed; 100,000 rows x 10 keys, and 1,000 x 1,000. It is read in a fresh
process each time, opening the file included, imports done beforehand: everything as a wide
DataFrame, one key, and one row. Everyone's values are compared with what was written, outside of
the time. Who would take minutes has fewer values; "ns a value" is what compares.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from typing import Any

from contenders import Contender, Contenders, Failed
from measure import (
    KEYS,
    Bars,
    Report,
    Table,
    Timing,
    folder,
    fresh,
    noisy,
    peak_memory,
    run_script,
)
from peers.peer import Data

from traininglog import SQLiteLog, Store

#: These are read more often than three times.
QUICK = ("traininglog", "csv", "parquet")

#: In the second shape, the peers that are slow to write have no more values than that.
WIDE_AT_MOST = 200_000


def measure(quick: bool, contenders: Contenders) -> Report:
    report = Report(
        "A million values become a DataFrame in some 40 ms; Parquet takes half of that, or as long."
    )
    times = 1 if quick else 7
    rows, wide = (1000, (50, 100)) if quick else (100_000, (1000, 1000))
    many = tuple(f"metric_{number}" for number in range(wide[1]))
    with folder() as place:
        compare(rows, KEYS, times, place, contenders, report)
        report.tables.append(other_ways(rows, times, place, report))
    with folder() as place:
        compare(wide[0], many, times, place, contenders, report)
    return report


def compare(
    rows: int,
    keys: tuple[str, ...],
    times: int,
    place: Path,
    contenders: Contenders,
    report: Report,
) -> None:
    """Write a run with everyone, read it with everyone in turns, and add the table."""
    data = Data.save(place / "data", noisy(rows, keys))
    sizes = {one: size_for(one, rows, keys) for one in contenders if one.peer != "defaultdict"}
    runs: dict[Contender, str] = {}
    for one, steps in sizes.items():
        try:
            one.do("prepare", place / one.label)
            runs[one] = one.do("write", place / one.label, data=data, steps=steps)["run"]
        except Failed as error:
            contenders.failures.append(f"{one.label} failed to write: {error}")
    found: dict[Contender, dict[str, list[Any]]] = {one: {} for one in runs}
    for number in range(times):  # in turns: the machine's moods hit all alike
        for one, run in list(runs.items()):
            if number >= 3 and one.peer not in QUICK:
                continue
            try:
                for what in ("frame", "series", "row"):
                    arguments = {"what": what, "run": run, "data": data, "steps": sizes[one]}
                    answer = one.do("read", place / one.label, **arguments)
                    found[one].setdefault(what, []).append(answer)
            except Failed as error:
                contenders.failures.append(f"{one.label} failed to read: {error}")
                found.pop(one)
                runs.pop(one)
    table = Table(
        f"{rows:,} x {len(keys):,} values, read in a fresh process, ms",
        ["who", "values", "frame", "ns a value", "x ours", "MiB more", "one key", "one row"],
    )
    bars = Bars(f"{rows:,} x {len(keys):,} into a DataFrame", "ns a value")
    ours = 0.0
    for one, reads in found.items():
        timings = {what: Timing([answer["seconds"] for answer in reads[what]]) for what in reads}
        values = sizes[one] * len(keys)
        a_value = timings["frame"].median / values * 1e9
        ours = ours or a_value
        table.add(
            one.label, values, timings["frame"].show("ms"), a_value, a_value / ours,
            max(answer["peak"] for answer in reads["frame"]) / 2**20,
            timings["series"].show("ms"), timings["row"].show("ms"),
        )  # fmt: skip
        bars.values[one.label] = a_value
        if one.ours:
            report.figures[f"frame of {rows:,} x {len(keys):,}, ms"] = timings["frame"].median * 1e3
        else:
            report.figures[f"{one.label} a value, x ours, {rows:,} x {len(keys):,}"] = (
                a_value / ours
            )
    report.tables.append(table)
    report.bars.append(bars)
    for one in sizes:
        if one.installed or not (one.ours or one.peer == "parquet"):
            rmtree(place / one.label, ignore_errors=True)


def size_for(one: Contender, rows: int, keys: tuple[str, ...]) -> int:
    """Return how many rows a contender has."""
    if one.installed and len(keys) > len(KEYS):
        rows = min(rows, WIDE_AT_MOST // len(keys))
    return one.rows(rows, len(keys))


# -- other ways, of ours and of Parquet's ---------------------------------------------------------


def other_ways(rows: int, times: int, place: Path, report: Report) -> Table:
    """Read the run that is there in other ways."""
    table = Table(
        f"{rows:,} x {len(KEYS)} values, other ways to read them, each in a fresh process",
        ["what", "ms", "MiB more"],
    )
    found: dict[str, list[dict[str, Any]]] = {
        what: [] for what in WAYS if "Parquet" not in what or list(place.glob("Parquet/*.parquet"))
    }
    for _ in range(times):
        for what, answers in found.items():
            answers.append(fresh(__file__, "--child", what, place))
    for what, answers in found.items():
        timing = Timing([answer["seconds"] for answer in answers])
        table.add(what, timing.show("ms"), max(answer["peak"] for answer in answers) / 2**20)
        report.figures[f"{what}, ms"] = timing.median * 1e3
    pandas = Timing([answer["pandas"] for answers in found.values() for answer in answers])
    report.notes.append(f"Importing pandas takes {pandas.show('ms')} ms more.")
    return table


def _log(place: Path) -> SQLiteLog:
    with Store(place / "traininglog" / "runs.db", readonly=True) as store:
        return store.log(store.latest(), readonly=True)


def _arrow_of_parquet(place: Path) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(next(place.glob("Parquet/*.parquet")))


WAYS: dict[str, Callable[[Path], Any]] = {
    "SQLiteLog, to_dataframe(keys=two)": lambda place: _log(place).to_dataframe(list(KEYS[3:5])),
    "SQLiteLog, to_dataframe(start=a, stop=a + 100)": lambda place: _log(place).to_dataframe(
        start=500, stop=600
    ),
    "SQLiteLog, last()": lambda place: _log(place).last(KEYS[3]),
    "SQLiteLog, best()": lambda place: _log(place).best(KEYS[3]),
    "SQLiteLog, to_arrow()": lambda place: _log(place).to_arrow(),  # type: ignore[attr-defined]
    "Parquet, pyarrow.parquet.read_table": _arrow_of_parquet,
}


def child(what: str, place: Path) -> None:
    """Read once; print the seconds it took, and the memory."""
    start = time.perf_counter()
    import pandas  # noqa: F401

    imported = time.perf_counter() - start
    if "arrow" in what:
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
