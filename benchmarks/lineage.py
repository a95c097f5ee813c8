"""A lineage of 1,000 resumes reads as fast as one of 2, to within 3x.

    python benchmarks/lineage.py [--quick] [--no-peers]

The same 1,000 rows of 10 keys, written by 3 runs (2 resumes) or by 1,001 (1,000 resumes); once
with every resume at the end of its parent, once with each a row back, so that runs overlap. Read
are the last row, a row in the middle, one key as a Series, everything as a DataFrame, and the
lineage. "opened" counts opening the log and reading its last row; the others find it open.

No peer reads a resumed run as one curve. What their users do instead is done here with Parquet: a
file for each run, read, cut at the resume points and concatenated.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contenders import Contenders
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


def measure(quick: bool, _: Contenders) -> Report:
    size, deep, times = (100, 100, 3) if quick else (1000, 1000, 15)
    rows = as_rows(noisy(size))
    report = Report(f"{deep:,} resumes read as fast as 2, to within 3x.")
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
    with folder() as place:
        report.tables.append(by_hand(rows, deep, min(times, 3), place))
    report.figures = {f"worst ratio, {name}": ratio for name, ratio in worst.items()}
    report.notes.append(
        "µs: median (fastest-slowest). Worst ratios: "
        + ", ".join(f"{name} {number(ratio)}" for name, ratio in worst.items())
        + "; to reach: 3."
    )
    return report


def by_hand(rows: list[dict[str, float]], deep: int, times: int, place: Path) -> Table:
    """Time what it takes without lineage: a Parquet file a run, cut and concatenated by pandas."""
    import pandas as pd

    whole = pd.DataFrame(rows, index=range(1, len(rows) + 1))
    paths: dict[str, list[Path]] = {}
    for resumes in (2, deep):
        runs = resumes + 1
        bounds = [len(rows) * part // runs for part in range(runs + 1)]
        for part in range(runs):
            path = place / f"{resumes}-{part}.parquet"
            whole.iloc[max(0, bounds[part] - 1) : bounds[part + 1]].to_parquet(path)
            paths.setdefault(str(resumes), []).append(path)

    def read(files: list[Path]) -> pd.DataFrame:
        parts = [pd.read_parquet(path) for path in files]
        cut = [
            part[part.index < later.index[0]]
            for part, later in itertools.pairwise(parts)
            if len(later)
        ]
        return pd.concat([*cut, parts[-1]])

    if not read(paths[str(deep)]).equals(whole):
        raise SystemExit("what was read is not what was written")
    timed = clock_beside({n: functools.partial(read, files) for n, files in paths.items()}, times)
    shallow, deeper = timed.values()
    table = Table(
        "Parquet, a file a run, each a row back", ["what", "2 resumes", f"{deep:,}", "ratio"]
    )
    table.add("frame", shallow.show("µs"), deeper.show("µs"), deeper.median / shallow.median)
    return table


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
