"""A closed run takes at most 5 bytes a value of noisy float64, the whole file counted.

    python benchmarks/size.py [--quick]

100,000 rows x 10 keys, beside CSV and Parquet (pandas' defaults, and zstd) of the same frame. The
log counts with all the files that lie beside it after `close()`.
"""

from __future__ import annotations

from measure import KEYS, Report, Table, as_rows, folder, noisy, run_script

from traininglog import SQLiteLog


def measure(quick: bool) -> Report:
    size = 1000 if quick else 100_000
    report = Report("A closed log takes at most 5 bytes a value of noisy float64.", [])
    with folder() as place:
        log = SQLiteLog(place / "run.db")
        for step, row in enumerate(as_rows(noisy(size)), 1):
            log[step].update(row)
        log.flush()
        grown = sum(path.stat().st_size for path in place.iterdir())
        frame = log.to_dataframe()
        log.close()
        closed = sum(path.stat().st_size for path in place.iterdir())
        frame.to_csv(place / "run.csv")
        frame.to_parquet(place / "run.parquet")
        frame.to_parquet(place / "zstd.parquet", compression="zstd")
        sizes = {
            "SQLiteLog, closed": closed,
            "SQLiteLog, before close(), with its WAL": grown,
            "Parquet": (place / "run.parquet").stat().st_size,
            "Parquet, zstd": (place / "zstd.parquet").stat().st_size,
            "CSV": (place / "run.csv").stat().st_size,
        }
    values = size * len(KEYS)
    table = Table(f"{size:,} x {len(KEYS)} values", ["file", "bytes a value", "KiB", "x Parquet"])
    for name, taken in sizes.items():
        table.add(name, taken / values, taken // 1024, taken / sizes["Parquet"])
    report.tables.append(table)
    report.figures = {"bytes a value": sizes["SQLiteLog, closed"] / values}
    return report


if __name__ == "__main__":
    run_script(measure)
