"""The demo's watcher: start the training, watch it, kill it, start it again, and report.

The watcher is an ordinary reader of the file, in a separate process. Its decisions depend only on
the file, never on the clock, so that the speed of the machine does not matter.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from traininglog import MissingExtra, NotATrainingLog, RunNotFound, Store, StoreNotFound

if TYPE_CHECKING:
    import pandas as pd

    from traininglog import SQLiteLog

Echo = Callable[[str], None]

_NEEDS = {"sklearn": "scikit-learn", "matplotlib": "matplotlib"}
_LOOK_SECONDS = 0.02


class Failed(Exception):
    """A check of the demo failed; the message tells which."""


def tell(folder: Path, echo: Echo) -> int:
    """Run the demo; see `traininglog.demo.main`."""
    _require_extra()
    folder = _empty(folder)
    try:
        _tell(folder, echo)
    except Failed as failure:
        echo(f"The demo failed: {failure}.")
        return 1
    return 0


def _tell(folder: Path, echo: Echo) -> None:
    from traininglog.demo import picture, train

    steps, database = train.STEPS, folder / "runs.db"
    echo(f"A child process learns to read handwritten digits, {steps} iterations, and logs to")
    echo(f"{database}. This process looks on, and will kill it.")
    saved, reached = _kill_half_way(folder, steps)
    echo(f"  kill -9 at iteration {reached}, {reached - saved} past the checkpoint of {saved}.")
    echo(f"Started again: it loads the checkpoint and goes on from {saved} as a new run.")
    _finish(folder)

    with Store(database, readonly=True) as store:
        runs = store.runs(["loss", "accuracy"], heads=False)
        if len(runs) != 2:
            raise Failed(f"there should be 2 runs, and there are {len(runs)}")
        lost_uuid, resumed_uuid = runs["uuid"]
        with (
            store.log(lost_uuid, readonly=True) as lost,
            store.log(resumed_uuid, readonly=True) as resumed,
        ):
            echo("")
            echo(f"The experiment in {database.name} is one line, store.runs():")
            _echo_frame(_short(store.runs(["loss", "accuracy"])), echo, index=False)
            echo("")
            echo("The runs of which it is made, store.runs(heads=False):")
            _echo_frame(_short(runs), echo, index=False)
            echo("")
            echo("The lineage of the second, back to its root:")
            for uuid, resumed_at in resumed.lineage():
                origin = "the root" if resumed_at is None else f"resumed at {resumed_at} from"
                echo(f"  {uuid.hex[:8]}  {origin}")
            echo("")
            echo("What the second run sees, log.to_dataframe().tail():")
            _echo_frame(resumed.to_dataframe().tail(), echo)
            echo("")
            check(lost, resumed, saved, steps)
            tail = len(lost) - saved
            echo("Checked:")
            echo(f"  The resumed run sees each iteration from 1 to {steps} exactly once: up to")
            echo(f"  {saved} from the lost run, after it only from itself.")
            echo(f"  The {tail} iterations that the lost run logged after {saved} are still in it,")
            echo("  and in it only.")
            drawn = picture.draw(lost, resumed, folder / "curves.png")
    echo("")
    echo(f"The curves: {drawn}")
    echo(f"Look around: traininglog runs --store {database}")


def check(lost: SQLiteLog, resumed: SQLiteLog, saved: int, steps: int) -> None:
    """Raise `Failed` unless both runs have exactly the expected values."""
    lineage = [(UUID(resumed.h_uuid), saved), (lost.uuid, None)]
    stitched, own = resumed.to_dataframe(), resumed.to_dataframe(lineage=False)
    inherited = lost.to_dataframe()
    ghosts = inherited[inherited.index > saved]
    if resumed.lineage() != lineage:
        raise Failed(f"the lineage should be {lineage}, and is {resumed.lineage()}")
    if list(stitched.index) != list(range(1, steps + 1)):
        raise Failed("the resumed run should have each iteration once")
    if not stitched[stitched.index > saved].equals(own):
        raise Failed("the resumed run should show only its own values after the resume point")
    if not stitched[stitched.index <= saved].equals(inherited[inherited.index <= saved]):
        raise Failed("the resumed run should show the lost run's values before the resume point")
    if not len(ghosts) or list(inherited.index) != list(range(1, len(inherited) + 1)):
        raise Failed("the lost run should have kept what it logged after the checkpoint")


def _kill_half_way(folder: Path, steps: int) -> tuple[int, int]:
    """Start and kill the training; return the iterations of its last checkpoint and its end."""
    from traininglog.demo.train import CHECKPOINT_EVERY

    with _training(folder) as child:
        log = _first_log(folder / "runs.db", child)
        with log:

            def due() -> tuple[int, int] | None:
                done, saved = log.status["iterations_done"], _saved(folder)
                enough = done >= steps // 2 and done - saved >= CHECKPOINT_EVERY // 2
                return (saved, done) if enough and saved else None

            while True:
                _look_again(child)
                if due() is None:
                    continue
                # The child may have written a checkpoint since we looked; then the demo would lose
                # no iterations. So stop the child, look again, and only then kill it.
                child.send_signal(signal.SIGSTOP)
                _, status = os.waitpid(child.pid, os.WUNTRACED)
                if not os.WIFSTOPPED(status):
                    raise Failed("the training ended before it was killed")
                found = due()
                if found is not None:
                    child.kill()
                    child.wait()
                    return found
                child.send_signal(signal.SIGCONT)


def _first_log(database: Path, child: subprocess.Popen[bytes]) -> SQLiteLog:
    """Wait until the child has created the file and a run, and open the run for reading."""
    while True:
        _look_again(child)
        try:
            with Store(database, readonly=True) as store:
                return store.log(store.latest(), readonly=True)
        except (StoreNotFound, NotATrainingLog, RunNotFound):  # the child is not that far yet
            continue


def _look_again(child: subprocess.Popen[bytes]) -> None:
    time.sleep(_LOOK_SECONDS)
    if child.poll() is not None:
        raise Failed(f"the training ended with status {child.returncode} before it was killed")


def _finish(folder: Path) -> None:
    with _training(folder) as child:
        if child.wait() != 0:
            raise Failed(f"the resumed training ended with status {child.returncode}")


@contextmanager
def _training(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the training in a child process, and kill it at the end of the block."""
    # One thread: more threads gain little for a small network, and take cores from the watcher.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # -P: a file of the user (for example random.py) must not shadow a standard module.
    command = [sys.executable, "-P", "-m", "traininglog.demo.train", str(folder)]
    child = subprocess.Popen(command, env=os.environ | threads)  # noqa: S603 - our own module
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def _saved(folder: Path) -> int:
    """Return the iteration of the last checkpoint, or 0."""
    from traininglog.demo.train import log_state

    checkpoint = folder / "checkpoint.npz"
    return int(log_state(checkpoint)["time"]) if checkpoint.exists() else 0


def _short(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of the table of runs that fit a terminal."""
    chosen = ["uuid", "name", "state", "resumed_from", "resumed_at", "resumes", "first", "last"]
    short = runs[[*chosen, "loss", "accuracy"]].copy()
    short["uuid"] = short["uuid"].str[:8]
    short["resumed_from"] = short["resumed_from"].str[:8].fillna("-")
    return short.rename(columns={"resumed_at": "at"})


def _echo_frame(frame: pd.DataFrame, echo: Echo, *, index: bool = True) -> None:
    text = frame.to_string(index=index, na_rep="-", float_format=lambda number: f"{number:.4g}")
    for line in text.splitlines():
        echo(f"  {line}")


def _empty(folder: Path) -> Path:
    """Return an empty folder: this one, or a new one inside it if it is not empty."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    candidate, number = folder, 1
    while any(candidate.iterdir()):
        number += 1
        candidate = folder / f"demo-{number}"
        candidate.mkdir(exist_ok=True)
    return candidate


def _require_extra() -> None:
    missing = [name for module, name in _NEEDS.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingExtra(
            f'the demo needs {" and ".join(missing)}: pip install "traininglog[demo]"'
        )
