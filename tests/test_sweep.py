"""A sweep of real processes is 20 experiments wherever it is looked at, and the figures are true.

5 learning rates with 4 seeds each. Three runs are killed (``kill -9``) twice and resumed each time,
one is crashed by an exception, and one is still being written while all of it is read. Each process
also writes its values to a text file; what is expected is computed by hand from these files.
"""

import itertools
import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from command_line import run
from patience import GUARD
from test_reports import Page

from traininglog import Store

LRS, SEEDS = (0.01, 0.03, 0.1, 0.3, 1.0), range(4)
KILLED = {(0.01, 0), (0.1, 2), (1.0, 3)}
CRASHED, RUNNING = (0.03, 1), (0.3, 0)


def command(folder, lr, seed, part, fate):
    script = Path(__file__).with_name("sweep_process.py")
    raw = folder / f"lr{lr}-seed{seed}.txt"
    words = [sys.executable, script, folder / "runs.db", raw, lr, seed, part, fate]
    return [str(word) for word in words]


def finish(folder, lr, seed):
    """Run one experiment to its end, with as many processes as that takes."""
    fates = ["finished"]
    if (lr, seed) in KILLED:
        fates = ["killed", "killed", "finished"]
    elif (lr, seed) == CRASHED:
        fates = ["crashed"]
    codes = [
        subprocess.run(
            command(folder, lr, seed, part, fate), timeout=GUARD, check=False, capture_output=True
        ).returncode
        for part, fate in enumerate(fates)
    ]
    assert codes == [{"finished": 0, "killed": -9, "crashed": 1}[fate] for fate in fates]


@contextmanager
def still_running(folder):
    """Have one experiment in the midst of its run while the block runs."""
    with subprocess.Popen(
        command(folder, *RUNNING, 0, "running"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.communicate("\n", timeout=GUARD)


def by_hand(folder):
    """Return the values of each experiment by time, stitched as a person would from the files."""
    found = {}
    for raw in folder.glob("*.txt"):
        rows = {}
        for line in raw.read_text(encoding="utf-8").splitlines():
            step, value = line.split()
            if step == "resume":  # what came after the checkpoint is trained again
                rows = {time: acc for time, acc in rows.items() if time <= int(value)}
            else:
                rows[int(step)] = float(value)
        found[raw.stem] = rows
    return found


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    rest = [place for place in itertools.product(LRS, SEEDS) if place != RUNNING]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda place: finish(folder, *place), rest))
    with still_running(folder), Store(folder / "runs.db", readonly=True) as store:
        values = by_hand(folder)
        lasts = {
            lr: [values[f"lr{lr}-seed{seed}"][max(values[f"lr{lr}-seed{seed}"])] for seed in SEEDS]
            for lr in LRS
        }
        yield SimpleNamespace(store=store, values=values, lasts=lasts)


def test_by_hand_there_are_20_of_different_lengths(sweep):
    assert len(sweep.values) == 20
    assert sorted(map(len, sweep.values.values())) == [5, 5] + [12] * 18


def test_the_table_has_20_lines_with_the_true_values(sweep):
    table = sweep.store.runs("acc", best={"acc": "max"}, config="*").set_index("name")
    assert len(table) == 20
    assert dict(table["acc"]) == {n: rows[max(rows)] for n, rows in sweep.values.items()}
    assert dict(table["best.acc"]) == {n: max(rows.values()) for n, rows in sweep.values.items()}
    assert dict(table["rows"]) == {name: len(rows) for name, rows in sweep.values.items()}
    assert sorted(table["resumes"]) == [0] * 17 + [2] * 3
    assert dict(table["state"].value_counts()) == {"finished": 18, "failed": 1, "running": 1}
    assert sorted(table["config.optim.lr"].value_counts().items()) == [(lr, 4) for lr in LRS]


def test_the_frame_has_each_experiment_once_at_each_time(sweep):
    frame = sweep.store.to_dataframe(keys="acc")
    names = {info.uuid.hex: info.name for info in sweep.store.iter_runs()}
    found = {}
    for line in frame.itertuples():
        found.setdefault(names[line.run], {})[line.time] = line.value
    assert found == sweep.values
    assert len(frame) == sum(map(len, sweep.values.values()))
    means = frame.groupby("time")["value"].mean()
    for time, mean in means.items():
        assert mean == pytest.approx(
            statistics.fmean(rows[time] for rows in sweep.values.values() if time in rows)
        )


def test_the_groups_are_of_four(sweep):
    groups = list(sweep.store.iter_groups("config.optim.lr", "acc"))
    assert [group.by["config.optim.lr"] for group in groups] == list(LRS)
    for group, lr in zip(groups, LRS, strict=True):
        found, lasts = group.metrics["acc"], sweep.lasts[lr]
        assert (group.n, found.n) == (4, 4)
        assert found.mean == pytest.approx(statistics.fmean(lasts))
        assert found.std == pytest.approx(statistics.stdev(lasts))
        assert found.sem == pytest.approx(statistics.stdev(lasts) / 2)
        assert found.ci95 == pytest.approx(3.182446305 * statistics.stdev(lasts) / 2)
        assert (found.least, found.greatest) == (min(lasts), max(lasts))


def test_the_command_line_counts_20(sweep):
    printed = json.loads(run("runs", "--store", sweep.store.path, "--json").stdout)
    assert len(printed) == 20
    printed = json.loads(
        run(
            "runs", "--store", sweep.store.path, "--where", "config.optim.lr == 0.1", "--json"
        ).stdout
    )
    assert sorted(line["name"] for line in printed) == [f"lr0.1-seed{seed}" for seed in SEEDS]


def test_the_report_counts_20_and_draws_20_curves(sweep):
    page = Page(sweep.store.report_html(group_by="config.optim.lr"))
    lines = page.named("one line each")
    assert len(lines) == 20
    for name, rows in sweep.values.items():
        assert lines[name]["acc"] == f"{rows[max(rows)]:.6g}"
        assert lines[name]["max acc"] == f"{max(rows.values()):.6g}"
    groups = page.named("The last acc")
    for lr, lasts in sweep.lasts.items():
        assert groups[f"{lr:g}"]["n"] == "4"
        assert groups[f"{lr:g}"]["mean"] == f"{statistics.fmean(lasts):.6g}"
    assert page.attributes.count(("class", "line")) == 20
    assert page.attributes.count(("class", "resume")) == 2 * len(KILLED)
