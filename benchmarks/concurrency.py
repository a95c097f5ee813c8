"""Processes that write to one file lose nothing and hardly wait for each other.

    python benchmarks/concurrency.py [--quick] [--no-peers]

The same number of values (10 a row), written by 1, 2, 4 and 8 processes, each into a run of its own
in one file, flushed every 500 rows and otherwise as the log sees fit, while one more process reads
the file over and over. It checks that every value is there in the end and that nothing was raised.

Of the peers, four processes begin at once, each a run of its own in one place, and one process does
the same work alone. What a run lacks in the end is lost.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

from contenders import Contender, Contenders, Failed
from measure import KEYS, Bars, Report, Table, as_rows, folder, noisy, run_script
from peers.peer import Data

from traininglog import SQLiteLog, Store

FLUSH_EVERY = 500


def measure(quick: bool, contenders: Contenders) -> Report:
    total, times = (4000, 1) if quick else (80_000, 3)
    report = Report("Any number of processes write to one file: 0 values lost, 0 errors.")
    table = Table(
        f"{total * len(KEYS):,} values in total, the middle one of {times}",
        ["writers", "values/s", "flush, ms: median", "p99", "longest", "longest row, ms",
         "polls", "longest poll, ms", "lost", "errors"],
    )  # fmt: skip
    for writers in (1, 2, 4, 8):
        done = sorted((contend(writers, total // writers) for _ in range(times)), key=_speed)
        middle = done[len(done) // 2]
        table.add(
            writers, middle["speed"], middle["flush"], middle["flush_p99"],
            max(run["longest_flush"] for run in done), max(run["longest_row"] for run in done),
            int(middle["polls"]), max(run["longest_poll"] for run in done),
            sum(int(run["lost"]) for run in done), sum(int(run["errors"]) for run in done),
        )  # fmt: skip
        report.figures[f"{writers} writers, values/s"] = middle["speed"]
        report.figures[f"{writers} writers, longest flush, ms"] = max(
            run["longest_flush"] for run in done
        )
        bad = sum(run["lost"] + run["errors"] for run in done)
        if bad:
            raise SystemExit(f"{writers} writers: {bad:.0f} values lost or errors")
    report.tables.append(table)
    with folder() as place:
        beside_the_field(100 if quick else 4000, min(times, 3), place, contenders, report)
    return report


def beside_the_field(
    size: int, times: int, place: Path, contenders: Contenders, report: Report
) -> None:
    """Let everyone write with one process and with four."""
    data = Data.save(place / "data", noisy(size))

    def rows(one: Contender) -> int:
        return max(4, one.rows(size) // 4)

    def speeds(one: Contender, inside: Path) -> Any:
        return [_crowd(one, inside / str(writers), data, writers, rows(one)) for writers in (1, 4)]

    found = contenders.each(speeds, place, times, lambda one: one.stored)
    table = Table(
        "beside the field, values/s in all, from the first beginning to the last end",
        ["who", "values a writer", "1 writer", "4 writers", "x ours", "longest row, ms", "lost",
         "errors"],
    )  # fmt: skip
    bars = Bars("four processes, one place", "µs a value")
    ours = 0.0
    for one, runs in found.items():
        alone, crowd = (median(run[place]["speed"] for run in runs) for place in (0, 1))
        ours = ours or crowd
        table.add(
            one.label, rows(one) * len(KEYS), alone, crowd, crowd / ours,
            max(run[1]["longest"] for run in runs), sum(run[1]["lost"] for run in runs),
            sum(run[1]["errors"] for run in runs),
        )  # fmt: skip
        bars.values[one.label] = 1e6 / crowd if crowd else math.nan
    report.tables.append(table)
    report.bars.append(bars)


def _crowd(one: Contender, inside: Path, data: str, writers: int, rows: int) -> dict[str, float]:
    """Let so many processes write a run each into one place; count what is missing."""
    one.do("prepare", inside)
    works = [
        one.begin("write", inside, data=data, steps=rows, name=f"writer {number}", wait=True)
        for number in range(writers)
    ]
    for work in works:
        work.ready()
    start = time.perf_counter()
    for work in works:
        work.go()
    answers, errors = [], 0
    for work in works:
        try:
            answers.append(work.answer())
        except Failed:
            errors += 1
    taken = max((answer["total"] for answer in answers), default=time.perf_counter() - start)
    lost = errors * rows * len(KEYS)
    for answer in answers:
        try:
            one.do("read", inside, what="frame", run=answer["run"], data=data, steps=rows)
        except Failed:
            lost += rows * len(KEYS)
    return {
        "speed": (writers - errors) * rows * len(KEYS) / taken,
        "longest": max((answer["row"]["longest"] / 1e6 for answer in answers), default=0.0),
        "lost": lost,
        "errors": errors,
    }


def _speed(run: dict[str, float]) -> float:
    return run["speed"]


def contend(writers: int, rows: int) -> dict[str, float]:
    """Let so many processes write so many rows each, beside a reader; return the figures."""
    with folder() as place:
        SQLiteLog(place / "runs.db").close()  # the file, so that nobody times its making
        reader = _start("--read", place)
        children = [_start("--write", place, rows) for _ in range(writers)]
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()  # it is ready
        start = time.perf_counter()
        for child in children:
            _say(child, "go")
        said = [child.communicate()[0] for child in children]
        taken = time.perf_counter() - start
        heard = reader.communicate("stop\n")[0]
        polled = json.loads(heard or '{"polls": 0, "longest": 0, "errors": 0}')  # it may have died
        errors = sum(child.returncode != 0 for child in [*children, reader])
        results = [json.loads(text) for text in said if text.strip()]
        lost = sum(missing(place, UUID(found["uuid"]), rows) for found in results)
        flushes = sorted(wait for found in results for wait in found["flushes"])
    return {
        "speed": writers * rows * len(KEYS) / taken,
        "flush": flushes[len(flushes) // 2] * 1e3,
        "flush_p99": flushes[int(len(flushes) * 0.99)] * 1e3,
        "longest_flush": flushes[-1] * 1e3,
        "longest_row": max(found["longest_row"] for found in results) * 1e3,
        "polls": polled["polls"],
        "longest_poll": polled["longest"] * 1e3,
        "lost": lost,
        "errors": errors + polled["errors"],
    }


def missing(place: Path, uuid: UUID, rows: int) -> int:
    """Return how many of a run's values are not in the file as they were written."""
    with SQLiteLog(place / "runs.db", uuid, readonly=True) as log:
        stored = log.to_dict()
    expected = as_rows(noisy(rows))
    return sum(
        stored.get(step, {}).get(key) != value
        for step, row in enumerate(expected, 1)
        for key, value in row.items()
    )


def write(place: Path, rows: int) -> None:
    """Write a run; print how long its flushes took."""
    data = as_rows(noisy(rows))
    log = SQLiteLog(place / "runs.db")
    print("ready", flush=True)
    sys.stdin.readline()
    flushes, longest_row = [], 0.0
    for step, row in enumerate(data, 1):
        start = time.perf_counter()
        log[step].update(row)
        longest_row = max(longest_row, time.perf_counter() - start)
        if step % FLUSH_EVERY == 0:
            start = time.perf_counter()
            log.flush()
            flushes.append(time.perf_counter() - start)
    start = time.perf_counter()
    log.close()
    flushes.append(time.perf_counter() - start)
    print(json.dumps({"uuid": log.h_uuid, "flushes": flushes, "longest_row": longest_row}))


def read(place: Path) -> None:
    """Look at the file as `traininglog tail` would, until told to stop."""
    import threading

    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    polls, longest, errors, seen = 0, 0.0, 0, 0
    with Store(place / "runs.db", readonly=True) as store:
        log = store.log(store.latest(), readonly=True)
        while not stop.wait(0.02):
            start = time.perf_counter()
            newest = store.latest()
            if newest != log.uuid:
                log.close()
                log, seen = store.log(newest, readonly=True), 0
            frame = log.to_dataframe(start=seen)
            if len(frame):
                errors += bool(seen and frame.index[0] != seen)  # what was there has gone
                seen = int(frame.index[-1])
            longest = max(longest, time.perf_counter() - start)
            polls += 1
    print(json.dumps({"polls": polls, "longest": longest, "errors": errors}))


def _start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _say(child: subprocess.Popen[str], word: str) -> None:
    assert child.stdin is not None
    child.stdin.write(word + "\n")
    child.stdin.flush()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["--read"]:
        read(Path(sys.argv[2]))
    else:
        run_script(measure)
