"""A thousand experiments are listed, filtered and grouped by their configuration.

    python benchmarks/experiments.py [--quick] [--no-peers]

1,000 runs x 20 steps x 10 keys, all closed, each started with one of five learning rates and a
seed. "listed" is every run with its learning rate and the last value of a key; "filtered" the runs
of one learning rate whose last value is below the median of all, sorted by it; "grouped" the mean
of the last values for each learning rate. Who has a query for it answers by that; for the others
it is done in Python over what they list. Each question is asked in a fresh process, in turns, and
its answer compared with what was written. Those who would take minutes to write have fewer runs,
and "µs a run" is what compares.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contenders import Contender, Contenders
from measure import KEYS, Bars, Report, Table, Timing, folder, noisy, run_script
from peers.peer import Data

QUESTIONS = ("listed", "filtered", "grouped")
LEARNING_RATES = [0.1, 0.03, 0.01, 0.003, 0.001]
STEPS = 20


def measure(quick: bool, contenders: Contenders) -> Report:
    runs, times = (10, 1) if quick else (1000, 5)
    report = Report(f"{runs:,} experiments are listed, filtered and grouped by a learning rate.")
    with folder() as place:
        beside_the_field(runs, times, place, contenders, report)
    return report


def beside_the_field(
    wanted: int, times: int, place: Path, contenders: Contenders, report: Report
) -> None:
    """Write many runs with everyone who keeps a configuration, and ask them in turns."""
    data = Data.save(place / "data", noisy(wanted + STEPS))

    def runs(one: Contender) -> int:
        return max(len(LEARNING_RATES), min(wanted, one.most_runs))

    def everything(one: Contender, inside: Path) -> Any:
        one.do("prepare", inside)
        about = {"data": data, "steps": STEPS, "lrs": LEARNING_RATES}
        written = one.do("write_many", inside, runs=runs(one), **about)
        answers: dict[str, list[float]] = {}
        for _ in range(times):
            for what in QUESTIONS:
                asked = one.do("ask_many", inside, what=what, runs=written["runs"], **about)
                answers.setdefault(what, []).append(asked["seconds"])
        return answers

    found = contenders.each(everything, place, only=lambda one: one.stored and one.configures)
    table = Table(
        f"{wanted:,} runs x {STEPS} steps x {len(KEYS)} keys, asked in a fresh process, ms",
        ["who", "runs", "listed", "filtered", "grouped", "filtered, µs a run", "x ours"],
    )
    bars = Bars("many runs, filtered and sorted", "µs a run")
    ours = 0.0
    for one, (answers,) in found.items():
        timing = {what: Timing(seconds) for what, seconds in answers.items()}
        a_run = timing["filtered"].median / runs(one) * 1e6
        ours = ours or a_run
        table.add(
            one.label, runs(one), *(timing[what].show("ms") for what in QUESTIONS),
            a_run, a_run / ours,
        )  # fmt: skip
        bars.values[one.label] = a_run
        if one.ours:
            for what in QUESTIONS:
                report.figures[f"{what}, ms"] = timing[what].median * 1e3
    report.tables.append(table)
    report.bars.append(bars)


if __name__ == "__main__":
    run_script(measure)
