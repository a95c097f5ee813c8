"""Of 10,000 runs a question is answered in 0.3 s, in an open store, and groups in 0.5 s.

    python benchmarks/comparing.py [--quick] [--no-peers]
    python benchmarks/comparing.py --build runs.db [--runs 10000]

A sweep: a learning rate and a seed in the nested configuration of each run, tags, a goal, and two
metrics over 20 steps. All runs are closed; every tenth was killed and resumed, so there are more
runs in the file than experiments. "frame" returns a DataFrame, whose import is not counted;
"command" is a fresh process, beside one that only imports what every command needs.

--build only writes the file, to look at it otherwise.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contenders import Contenders
from measure import Report, Table, clock_beside, folder, run_script

from traininglog import SQLiteLog, Store

STEPS = 20
RATES = (0.3, 0.1, 0.03, 0.01, 0.003)
WHERE = "config.optim.lr < 0.1 and state == 'finished' and max.val_acc > 0.5"

_IMPORTS = "import sqlalchemy, typer, rich"


def build(path: Path, experiments: int) -> None:
    """Write so many experiments of a sweep, every tenth of them as two runs."""
    for number in range(experiments):
        rate, seed = RATES[number % len(RATES)], number // len(RATES)
        with SQLiteLog(path) as log:
            log.status.update(
                name=f"sweep-{number}", tags=["sweep", f"part-{number % 7}"],
                config={"optim": {"lr": rate, "name": "adam"}, "seed": seed, "depth": 1 + seed % 3},
                goals={"val_acc": "max"},
            )  # fmt: skip
            resumed = number % 10 == 9
            for step in range(1, STEPS + 1):
                log[step]["loss"] = rate + 1 / step
                log[step]["val_acc"] = 1 - rate - 1 / (step + seed % 5)
                if resumed and step == STEPS // 2:
                    log.resume()


def measure(quick: bool, _: Contenders) -> Report:
    experiments, times = (40, 2) if quick else (10_000, 7)
    report = Report(f"{experiments:,} runs are filtered and sorted in 0.3 s, and grouped in 0.5 s.")
    with folder() as place:
        path = place / "sweep.db"
        start = time.perf_counter()
        build(path, experiments)
        report.notes.append(f"To write the runs took {time.perf_counter() - start:.0f} s.")
        answers(path, experiments, times, report)
        commands(path, times, report)
    return report


def answers(path: Path, experiments: int, times: int, report: Report) -> None:
    """Time what an open store answers."""
    with Store(path, readonly=True) as store:
        listed = list(store.iter_runs())
        found = [info for info in listed if info.config and info.config["optim"]["lr"] < 0.1]  # type: ignore[index, call-overload, operator]
        asked = list(store.iter_runs(where="config.optim.lr < 0.1"))
        groups = list(store.iter_groups("config.optim.lr", "val_acc"))
        right = (
            len(listed) == sum(group.n for group in groups) == experiments
            and [info.uuid for info in found] == [info.uuid for info in asked]
            and {info.resumes for info in listed} == {0, 1}
            and all((info.rows, info.values) == (STEPS, 2 * STEPS) for info in listed)
        )
        if not right:
            raise SystemExit("the answers are not what was written")
        store.runs()  # imports pandas
        calls: dict[str, Callable[[], Any]] = {
            "iter_runs()": lambda: list(store.iter_runs()),
            "iter_runs(where, sort)": lambda: list(
                store.iter_runs(where=WHERE, sort="-max.val_acc")
            ),
            "runs(where, sort), frame": lambda: store.runs(where=WHERE, sort="-max.val_acc"),
            "runs(where, sort, limit=50), frame": lambda: store.runs(
                where=WHERE, sort="-max.val_acc", limit=50
            ),
            "runs(one key, config), frame": lambda: store.runs("val_acc", config="*"),
            "iter_groups(one metric)": lambda: list(
                store.iter_groups("config.optim.lr", "val_acc", of="best")
            ),
            "groups(all metrics), frame": lambda: store.groups("config.optim.lr"),
        }  # fmt: skip
        timed = clock_beside(calls, times)
    table = Table(f"{experiments:,} experiments in an open store", ["what", "ms"])
    for name, timing in timed.items():
        table.add(name, timing.show("ms"))
    report.tables.append(table)
    report.figures |= {
        "runs(where, sort), ms": timed["runs(where, sort), frame"].median * 1e3,
        "groups, ms": timed["groups(all metrics), frame"].median * 1e3,
    }


def commands(path: Path, times: int, report: Report) -> None:
    """Time the command line, beside a process that imports what every command needs."""
    program = [sys.executable, "-m", "traininglog", "runs", "--store", str(path)]

    def call(*command: str) -> Callable[[], Any]:
        return lambda: subprocess.run(command, check=True, capture_output=True)

    timed = clock_beside(
        {
            _IMPORTS: call(sys.executable, "-c", _IMPORTS),
            "runs --limit 50": call(*program, "--limit", "50"),
            "runs --json": call(*program, "--json"),
        },
        times,
    )
    table = Table("The command line, a fresh process", ["what", "ms", "x the imports"])
    for name, timing in timed.items():
        table.add(name, timing.show("ms"), timing.median / timed[_IMPORTS].median)
    report.tables.append(table)


def main() -> None:
    if "--build" in sys.argv:
        import argparse

        parser = argparse.ArgumentParser()
        parser.add_argument("--build", type=Path, required=True)
        parser.add_argument("--runs", type=int, default=10_000)
        options = parser.parse_args()
        build(options.build, options.runs)
    else:
        run_script(measure)


if __name__ == "__main__":
    main()
