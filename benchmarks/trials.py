"""Trials: logging ten metrics in 15 µs, listing a thousand trials in 150 ms, finding one in 50 ms.

    python benchmarks/trials.py [--quick]

1,000 trials x 100 steps in one SQLite file, beside a plain dict; and 10,000 trials to query.
"""

from __future__ import annotations

import threading
import time

from contenders import Contenders
from measure import KEYS, Report, Table, Timing, as_rows, clock_beside, folder, noisy, run_script

from traininglog.trials import Trial, TrialClient
from traininglog.trials.surroundings.environments import _lasting

#: How often what is measured takes turns with what is beside it.
TURNS = 20


def measure(quick: bool, _: Contenders) -> Report:
    report = Report("Ten metrics are logged in 15 µs, and 1,000 trials listed in 150 ms.", [])
    steps = 1_000 if quick else 20_000
    rows = as_rows(noisy(steps))
    with folder() as place:
        taken = logging(rows, str(place / "log.db"))
    table = Table(f"{steps:,} x {len(KEYS)} metrics", ["what", "µs a call"])
    for name, timing in taken.items():
        table.add(name, timing.show("µs"))
    report.tables.append(table)
    report.figures["log_metrics of ten, µs"] = taken["log_metrics, SQLite"].median * 1e6
    looked_up = Timing([looking_up() for _ in range(2 if quick else 7)])
    report.tables.append(Table("The environment, looked up on a thread", ["what", "ms"]))
    report.tables[-1].add("of the calling thread", looked_up.show("ms"))
    report.figures["environment, ms of the calling thread"] = looked_up.median * 1e3
    count = 20 if quick else 1_000
    with folder() as place, TrialClient(place / "many.db") as client:
        start = time.perf_counter()
        for number in range(count):
            with client.new_trial(parameters={"n": number}, version="1") as trial:
                for step, row in enumerate(rows[:100]):
                    trial.log_metrics(step=step, loss=row[KEYS[0]], accuracy=row[KEYS[1]])
        written = time.perf_counter() - start
        if len(client.to_dataframe()) != count:
            raise SystemExit("the list is not what was written")
        timed = clock_beside(
            {
                "to_dataframe()": client.to_dataframe,
                "to_dataframe(best=one)": lambda: client.to_dataframe(best=["loss"]),
                "fetch_trials()": client.fetch_trials,
                "one trial's metrics": lambda: client.fetch_trials({"parameters.n": 7})[0].metrics,
            },
            2 if quick else 7,
        )
    table = Table(f"{count:,} trials x 100 steps", ["what", "ms"])
    for name, timing in timed.items():
        table.add(name, timing.show("ms"))
    report.tables.append(table)
    report.figures["trials listed, ms"] = timed["to_dataframe()"].median * 1e3
    report.notes.append(f"To write them took {written:.1f} s, each from its start to its end.")
    report.tables.append(queries(report, 100 if quick else 10_000, 2 if quick else 7))
    return report


def logging(rows: list[dict[str, float]], where: str) -> dict[str, Timing]:
    """Return how long it takes to log a row, and to put it into a dict, in turns."""
    found: dict[str, list[float]] = {"log_metrics, SQLite": [], "a chrono": [], "a dict": []}
    size = len(rows) // TURNS
    kept: dict[int, dict[str, float]] = {}
    with TrialClient(where) as client, client.new_trial(parameters={}, version="1") as trial:
        trial.log_metrics(step=len(rows), **rows[0])
        while any(thread.name == "environment" for thread in threading.enumerate()):
            time.sleep(0.01)  # it is looked up once, beside the first steps
        for first in range(0, len(rows), size):
            part = rows[first : first + size]
            start = time.perf_counter()
            for step, row in enumerate(part, first):
                trial.log_metrics(step=step, **row)
            found["log_metrics, SQLite"].append((time.perf_counter() - start) / len(part))
            start = time.perf_counter()
            for _ in part:
                with trial.chrono("block"):
                    pass
            found["a chrono"].append((time.perf_counter() - start) / len(part))
            start = time.perf_counter()
            for step, row in enumerate(part, first):
                kept[step] = dict(row)
            found["a dict"].append((time.perf_counter() - start) / len(part))
    return {name: Timing(seconds) for name, seconds in found.items()}


def looking_up() -> float:
    """Return how long a program waits because the environment of its trial is looked up."""
    store = TrialClient("memory:").store
    trial = TrialClient(store).new_trial(parameters={}, version="1")
    store.log_trial_start(trial.uid)  # all else that is to be done when a trial starts
    _lasting.cache_clear()
    start = time.perf_counter()
    trial.start()
    taken = time.perf_counter() - start
    trial.finish()
    return taken


def queries(report: Report, count: int, times: int) -> Table:
    """Return how long it takes to find trials among many."""
    with folder() as place, TrialClient(place / "queries.db") as client:
        store = client.store
        client.set_project(name="p")
        for number in range(count):
            store.new_trial(Trial(f"t{number % 100}", parameters={"n": number}, project_id="p"))
        for trial in store.fetch_trials(limit=100):
            store.set_trial_status(trial, "Suspended")
        timed = clock_beside(
            {
                "by status: 100 of them": lambda: store.fetch_trials({"status": "Suspended"}),
                "by name: 1 in 100": lambda: store.fetch_trials({"name": "t7"}),
                "by UID": lambda: store.trial(trial.uid),
                "by a parameter, which has no index": lambda: store.fetch_trials(
                    {"parameters.n": 7}
                ),
            },
            times,
        )
    report.figures["query by an indexed field, ms"] = timed["by status: 100 of them"].median * 1e3
    table = Table(f"{count:,} trials", ["query", "ms"])
    for name, timing in timed.items():
        table.add(name, timing.show("ms"))
    return table


if __name__ == "__main__":
    run_script(measure)
