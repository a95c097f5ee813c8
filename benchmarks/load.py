"""Under load: a crowd of writers and readers, a reader that stays, long chains, very many of each.

    python benchmarks/load.py [--quick]

What a store is asked for once in its life, at a hundred times the usual size. No peers: what counts
is that nothing is lost, that nothing grows with the square of anything, and that the file and its
WAL become small again.
"""

from __future__ import annotations

import os
import sqlite3
import time
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

from contenders import Contenders
from measure import Report, Table, folder, peak_memory, run_script

from traininglog import SQLiteLog, Store, StoreLocked


def measure(quick: bool, contenders: Contenders) -> Report:
    report = Report("Nothing is lost under load, and files become small again.")
    table = Table("under load", ["what", "figure"])
    for part in (crowd, reader_that_stays, chain, many_runs, many_keys, many_values):
        with folder() as place:
            for what, figure in part(place, quick).items():
                table.add(what, figure)
    report.tables.append(table)
    return report


def crowd(place: Path, quick: bool) -> dict[str, Any]:
    """32 processes write 5,000 values each to one file, and 64 read it meanwhile."""
    writers, values, readers = (4, 500, 4) if quick else (32, 5000, 64)
    path = place / "crowd.db"
    SQLiteLog(path).close()
    begin = time.perf_counter()
    waits = place / "waits"

    def write() -> None:
        start = time.perf_counter()
        log = SQLiteLog(path)
        log[0]["x"] = 0.0
        opened = time.perf_counter() - start
        for t in range(1, values):
            log[t]["x"] = float(t)
            if t % 500 == 0:
                log.flush()
        log.close()
        note(waits, opened)

    def read() -> None:
        while not (place / "over").exists():
            with Store(path, readonly=True) as store:
                store.runs()
            time.sleep(0.05)

    pids = [forked(write) for _ in range(writers)]
    others = [forked(read) for _ in range(readers)]
    bad = sum(os.waitpid(pid, 0)[1] != 0 for pid in pids)
    took = time.perf_counter() - begin
    (place / "over").touch()
    bad += sum(os.waitpid(pid, 0)[1] != 0 for pid in others)
    with Store(path) as store:
        found = store.runs()
        there = int(found["values"].sum())
        lost = writers * values - there
    opened = sorted(float(line) for line in waits.read_text().split())
    who = f"{writers} writers x {values:,} values, {readers} readers"
    return {
        f"{who}: seconds": took,
        f"{who}: processes that failed": bad,
        f"{who}: values lost": lost,
        "longest opening and first assignment among them, s": opened[-1],
    }


def reader_that_stays(place: Path, quick: bool) -> dict[str, Any]:
    """A reader holds a transaction for ten minutes, while values come at 20,000 a second."""
    seconds = 3 if quick else 600
    path = place / "stays.db"
    wal = path.with_name("stays.db-wal")
    log = SQLiteLog(path)
    log[0]["x"] = 0.0
    log.flush()
    largest, t = 0, 0
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM runs").fetchall()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for _ in range(1000):
                t += 1
                log[t]["x"] = float(t)
            time.sleep(0.05)
            largest = max(largest, wal.stat().st_size)
        reader.execute("ROLLBACK")
    for _ in range(20):  # which copy it into the file, and begin it anew
        t += 1
        log[t]["x"] = float(t)
        log.flush()
    left = wal.stat().st_size
    log.close()
    with SQLiteLog(path, log.uuid, readonly=True) as again:
        lost = t + 1 - len(again)
    return {
        f"a reader holds a transaction for {seconds} s beside {t:,} values: WAL, MB": largest / 1e6,
        "the WAL twenty flushes after it ended, MB": left / 1e6,
        "the file after close, MB": path.stat().st_size / 1e6,
        "values lost beside it": lost,
    }


def chain(place: Path, quick: bool) -> dict[str, Any]:
    """A run is resumed 10,000 times."""
    links = 200 if quick else 10_000
    path = place / "chain.db"
    log = SQLiteLog(path)
    start = time.perf_counter()
    for t in range(links):
        log[t]["x"] = float(t)
        log.resume()
    log[links]["x"] = 0.0
    log.close()
    made = time.perf_counter() - start
    with SQLiteLog(path, log.uuid, readonly=True) as again:
        return {
            f"{links:,} resumes in a chain: made, ms each": made / links * 1e3,
            "their frame, s": clocked(again.to_dataframe, rows=links + 1),
            "one row of it, ms": clocked(lambda: dict(again[links // 2])) * 1e3,
        }


def many_runs(place: Path, quick: bool) -> dict[str, Any]:
    """100,000 runs in a file are listed, and half of them deleted in one step."""
    count = 500 if quick else 100_000
    path = place / "many.db"
    with SQLiteLog(path, seal=False) as log:
        for t in range(10):
            log[t].update(loss=1 / (t + 1), accuracy=t / 10)
    multiply(path, count)
    with Store(path) as store:
        before = store.size().file
        listed = clocked(store.runs, rows=count)
        last = clocked(lambda: store.runs("loss"), rows=count)
        ten = clocked(lambda: store.runs("loss", limit=10), rows=10)
        uuids = store.runs()["uuid"].tolist()
        few = clocked(lambda: store.delete(uuids[: count // 200]))
        half = clocked(lambda: store.delete(uuids[count // 2 :]))
        after = store.size().file
    return {
        f"{count:,} runs in a file: listed, s": listed,
        "with the last value of a key, s": last,
        "the last ten, s": ten,
        f"{count // 200:,} of them deleted in one step, s": few,
        f"{count // 2:,} of them deleted in one step, s": half,
        "file before and after that, MB": f"{before / 1e6:.1f}, {after / 1e6:.1f}",
    }


def multiply(path: Path, count: int) -> None:
    """Add copies of the one run of a file by SQL, as to open 100,000 logs would take an hour."""
    with closing(sqlite3.connect(path)) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(runs)")]
        others = [name for name in columns if name not in ("id", "uuid")]
        names = ", ".join(others)
        for _ in range(count - 1):
            (number,) = connection.execute(
                f"INSERT INTO runs (uuid, {names}) SELECT ?, {names} FROM runs WHERE id = 1 "
                "RETURNING id",
                [uuid4().hex],
            ).fetchone()
            for table in ("keys", "entries", "status", "marks"):
                rest = [
                    row[1] for row in connection.execute(f"PRAGMA table_info({table})")
                    if row[1] != "run_id" and (table, row[1]) != ("status", "id")
                ]  # fmt: skip
                named = ", ".join(rest)
                connection.execute(
                    f"INSERT INTO {table} (run_id, {named}) "
                    f"SELECT ?, {named} FROM {table} WHERE run_id = 1",
                    [number],
                )
        connection.commit()


def many_keys(place: Path, quick: bool) -> dict[str, Any]:
    """A run has 100,000 keys."""
    count = 1000 if quick else 100_000
    path = place / "keys.db"
    names = [f"layer.{number}.weight" for number in range(count)]
    log = SQLiteLog(path)
    start = time.perf_counter()
    for at in (1, 2):
        for name in names:
            log[at][name] = 0.5
    log.close()
    made = time.perf_counter() - start
    with SQLiteLog(path, log.uuid, readonly=True) as again:
        some = names[:: max(1, count // 1000)]
        return {
            f"{count:,} keys, two values each: written and closed, s": made,
            "their frame, s": clocked(again.to_dataframe, rows=2),
            "a row of it, s": clocked(lambda: dict(again[2])),
            f"{len(some):,} chosen keys, s": clocked(lambda: again.to_dataframe(keys=some)),
            "a key that is misspelt, s": clocked(lambda: misspelt(again)),
        }


def misspelt(log: SQLiteLog) -> None:
    try:
        log.to_dataframe(keys=["layer.1.wieght"])
    except KeyError:
        return
    raise SystemExit("there is no such key")


def many_values(place: Path, quick: bool) -> dict[str, Any]:
    """A run has 10,000,000 values."""
    steps, keys = (10_000 if quick else 1_000_000), 10
    path = place / "values.db"
    before = peak_memory()
    log = SQLiteLog(path)
    start = time.perf_counter()
    for t in range(steps):
        row = log[t]
        for key in range(keys):
            row[f"k{key}"] = t * 0.1 + key
    log.close()
    made = time.perf_counter() - start
    memory = (peak_memory() - before) / 2**20
    with SQLiteLog(path, log.uuid, readonly=True) as again:
        read = clocked(again.to_dataframe, rows=steps)
    return {
        f"{steps * keys:,} values: written and closed, s": made,
        "more memory than before it, MiB": memory,
        "their frame, s": read,
        "bytes a value": path.stat().st_size / (steps * keys),
    }


def clocked(call: Callable[[], Any], rows: int | None = None) -> float:
    """Return how long a call takes, and see that it answers."""
    start = time.perf_counter()
    answer = call()
    took = time.perf_counter() - start
    if rows is not None and len(answer) != rows:
        raise SystemExit(f"{len(answer)} rows instead of {rows}")
    return took


def forked(act: Callable[[], None]) -> int:
    """Do something in a process of its own; return its number."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        act()
        status = 0
    except StoreLocked as error:
        print(error, flush=True)
    except BaseException:  # noqa: BLE001 - it is told, and the child ends
        traceback.print_exc()
    finally:
        os._exit(status)


def note(path: Path, figure: float) -> None:
    """Append a figure to a file, from several processes."""
    with path.open("a", encoding="ascii") as file:
        file.write(f"{figure}\n")


if __name__ == "__main__":
    run_script(measure)
