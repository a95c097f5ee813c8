"""A closed run takes at most 5 bytes a value of noisy float64, the whole file counted.

    python benchmarks/size.py [--quick]

100,000 rows x 10 keys, beside CSV and Parquet (pandas' defaults, and zstd) of the same frame. The
log counts with all the files that lie beside it after `close()`.

How far values can be compressed depends on how many of their bits are noise, so there are two
kinds: float64 with noise in all 52 bits, the worst case; and float32 taken as float, as
`loss.item()` gives it. "shuffle + zlib" is what the values alone come to in blocks of 4,096, bytes
regrouped, level 6.
"""

from __future__ import annotations

import zlib
from pathlib import Path

from measure import KEYS, Report, Table, as_rows, folder, noisy, run_script

from traininglog import SQLiteLog

BLOCK = 4096


def measure(quick: bool) -> Report:
    size = 1000 if quick else 100_000
    report = Report("A closed log takes at most 5 bytes a value of noisy float64.", [])
    for kind, single in (("noise in all bits", False), ("float32 values", True)):
        columns = noisy(size, single=single)
        with folder() as place:
            sizes = written(columns, place)
        values = size * len(KEYS)
        table = Table(
            f"{size:,} x {len(KEYS)} values, {kind}", ["file", "bytes a value", "KiB", "x Parquet"]
        )
        for name, taken in sizes.items():
            table.add(name, taken / values, taken // 1024, taken / sizes["Parquet"])
        report.tables.append(table)
        report.figures[f"bytes a value, {kind}"] = sizes["SQLiteLog, closed"] / values
    return report


def written(columns: dict[str, list[float]], place: Path) -> dict[str, int]:
    """Write the columns in every way; return the bytes that each takes."""
    log = SQLiteLog(place / "run.db")
    for step, row in enumerate(as_rows(columns), 1):
        log[step].update(row)
    log.flush()
    grown = sum(path.stat().st_size for path in place.iterdir())
    frame = log.to_dataframe()
    log.close()
    closed = sum(path.stat().st_size for path in place.iterdir())
    frame.to_csv(place / "run.csv")
    frame.to_parquet(place / "run.parquet")
    frame.to_parquet(place / "zstd.parquet", compression="zstd")
    return {
        "SQLiteLog, closed": closed,
        "SQLiteLog, before close(), with its WAL": grown,
        "Parquet": (place / "run.parquet").stat().st_size,
        "Parquet, zstd": (place / "zstd.parquet").stat().st_size,
        "CSV": (place / "run.csv").stat().st_size,
        "shuffle + zlib, values alone": sum(map(compressed, columns.values())),
    }


def compressed(values: list[float]) -> int:
    """Return the bytes that values take when compressed block by block."""
    import numpy as np

    taken = 0
    for start in range(0, len(values), BLOCK):
        block = np.array(values[start : start + BLOCK]).view(np.uint8).reshape(-1, 8)
        taken += len(zlib.compress(block.T.tobytes(), 6))
    return taken


if __name__ == "__main__":
    run_script(measure)
