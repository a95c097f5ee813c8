"""`TrainLoop` costs at most 5 µs a step with two metrics collected.

    python benchmarks/loop.py [--quick]

The same steps, with nothing to do in them: bare, as ``for step, batch in enumerate(data, 1)``; in a
bare loop that logs as a `TrainLoop` does, two metrics and ``iterations_done`` a step; and in a
`TrainLoop`. What the loop itself costs is the last less the second: counting, measuring times, and
keeping the metrics for the statistics of the epoch. They are timed in turns; the cost is taken turn
by turn, so that a machine that is busy for a while counts alike in both.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from contenders import Contenders
from measure import Report, Table, Timing, clock_beside, folder, run_script

from traininglog import SQLiteLog, TrainingLog, TrainingLogBase
from traininglog.loop import TrainLoop


def measure(quick: bool, _: Contenders) -> Report:
    steps, times = (2000, 3) if quick else (50_000, 15)
    report = Report("The loop itself costs at most 5 µs a step with two metrics collected.", [])
    with folder() as place:
        stores: dict[str, Callable[[], TrainingLogBase]] = {
            "memory": TrainingLog,
            "SQLite": lambda: SQLiteLog(place / "runs.db"),
        }
        for name, make in stores.items():
            table, cost = measured(make, steps, times)
            table.title = f"{steps:,} steps, the log in {name}"
            report.tables.append(table)
            report.figures[f"µs a step, log in {name}"] = cost
    report.notes.append(
        "With early stopping, checkpoints or a bar, what these do when they are due comes on top."
    )
    return report


def measured(make: Callable[[], TrainingLogBase], steps: int, times: int) -> tuple[Table, float]:
    """Return the figures of one store, and the µs a step that are the loop's own."""
    data = range(steps)
    found = clock_beside(
        {
            "bare": lambda: bare(data),
            "bare, logging": lambda: with_log(make, logging, data),
            "TrainLoop": lambda: with_log(make, looping, data),
        },
        times,
    )
    table = Table("", ["loop", "µs a step"])
    for name, timing in found.items():
        table.add(name, per_step(timing.seconds, steps).show("µs"))
    pairs = zip(found["TrainLoop"].seconds, found["bare, logging"].seconds, strict=True)
    own = per_step([loop - bare for loop, bare in pairs], steps)
    table.add("the loop itself", own.show("µs"))
    return table, median(own.seconds) * 1e6


def per_step(seconds: list[float], steps: int) -> Timing:
    return Timing([each / steps for each in seconds])


def bare(data: range) -> None:
    for _step, batch in enumerate(data, 1):
        _loss, _accuracy = batch * 0.5, batch * 0.25


def logging(log: TrainingLogBase, data: range) -> None:
    set_status = log.status.__setitem__
    for step, batch in enumerate(data, 1):
        row: Any = log[step]
        row["loss"] = batch * 0.5
        row["accuracy"] = batch * 0.25
        set_status("iterations_done", step)


def looping(log: TrainingLogBase, data: range) -> None:
    with TrainLoop(log=log, max_epoch=1, progress=False) as loop:
        for _ in loop.iter_epochs():
            for _, batch in loop.iter_steps(data):
                loop.collect_metrics(loss=batch * 0.5, accuracy=batch * 0.25)


def with_log(
    make: Callable[[], TrainingLogBase], run: Callable[[TrainingLogBase, range], None], data: range
) -> None:
    log = make()
    run(log, data)
    log.flush()
    log.close()


if __name__ == "__main__":
    run_script(measure)
