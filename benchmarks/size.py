"""A closed run takes at most 5 bytes a value of noisy float64, the whole file counted.

    python benchmarks/size.py [--quick] [--no-peers]

100,000 rows x 10 keys, beside CSV and Parquet (pandas' defaults, and zstd) of the same frame. The
log counts with all the files that lie beside it after `close()`; the peers with all the files that
they leave. Who would take minutes has fewer values.

How far values can be compressed depends on how many of their bits are noise, so there are three
kinds: float64 with noise in all 52 bits, the worst case, of which nothing could make 5 bytes;
float64 with 37 binary places, of which zlib makes 5.6 and "shuffle + zlib" 4.9 bytes a value, as of
the values for which the 5 bytes were set as an aim; and float32 taken as float, as `loss.item()`
gives it. "shuffle + zlib" is what the values alone come to in blocks of 4,096, bytes regrouped,
level 6, and "zlib" the same without regrouping.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from contenders import Contender, Contenders
from measure import KEYS, Bars, Report, Table, as_rows, folder, noisy, run_script
from peers.peer import Data

from traininglog import SQLiteLog

BLOCK = 4096

#: What the values are, and how `noisy` makes them.
KINDS: dict[str, dict[str, Any]] = {
    "noise in all bits": {},
    "noise in 37 binary places": {"bits": 37},
    "float32 values": {"single": True},
}

#: Rows for the peers that have to be installed: their bytes a value do not depend on it.
PEERS_AT_MOST = 20_000


def measure(quick: bool, contenders: Contenders) -> Report:
    size = 1000 if quick else 100_000
    report = Report("A closed log takes at most 5 bytes a value of noisy float64.")
    for kind, chosen in KINDS.items():
        columns = noisy(size, **chosen)
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
    with folder() as place:
        beside_the_field(noisy(size), place, contenders, report)
    return report


def written(columns: dict[str, list[float]], place: Path) -> dict[str, int]:
    """Write the columns in every way; return the bytes that each takes."""
    log = SQLiteLog(place / "run.db")
    for step, row in enumerate(as_rows(columns), 1):
        log[step].update(row)
    log.flush()
    grown = taken(place)
    frame = log.to_dataframe()
    log.close()
    closed = taken(place)
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
        "zlib, values alone": sum(
            compressed(values, shuffled=False) for values in columns.values()
        ),
    }


def compressed(values: list[float], *, shuffled: bool = True) -> int:
    """Return the bytes that values take when compressed block by block, their bytes regrouped."""
    import numpy as np

    taken = 0
    for start in range(0, len(values), BLOCK):
        block = np.array(values[start : start + BLOCK]).view(np.uint8).reshape(-1, 8)
        taken += len(zlib.compress((block.T if shuffled else block).tobytes(), 6))
    return taken


def taken(place: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


def beside_the_field(
    columns: dict[str, list[float]], place: Path, contenders: Contenders, report: Report
) -> None:
    """Write the same run with everyone, and count the bytes."""
    data = Data.save(place / "data", columns)
    size = len(columns[KEYS[0]])

    def rows(one: Contender) -> int:
        return one.rows(min(size, PEERS_AT_MOST) if one.installed else size)

    def write(one: Contender, inside: Path) -> Any:
        one.do("prepare", inside)
        before = taken(inside)
        one.do("write", inside, data=data, steps=rows(one), timed=False)
        return taken(inside), before

    found = contenders.each(write, place, only=lambda one: one.stored or one.ours)
    table = Table(
        "noise in all bits, beside the field, all files of a finished run",
        ["who", "values", "bytes a value", "x ours", "of them before the run, KiB"],
    )
    bars = Bars("on disk, after the run", "bytes a value")
    ours = 0.0
    for one, ((after, before),) in found.items():
        a_value = after / (rows(one) * len(KEYS))
        ours = ours or a_value
        table.add(one.label, rows(one) * len(KEYS), a_value, a_value / ours, before // 1024)
        bars.values[one.label] = a_value
    report.tables.append(table)
    report.bars.append(bars)


if __name__ == "__main__":
    run_script(measure)
