"""Processes that log through faults of the world, and what is then there.

A loop goes through steps, each of which follows from its number, and counts them in memory that it
shares with the test. Between two steps it answers what it is asked. Whoever looks at the file
afterwards is a process of its own, too: it may have to stand where the loop stood, on a disk that
only some processes see.

Run as a script, this is such a process: ``world.py log ...`` or ``world.py look ...``.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from traininglog import SQLiteLog, Store, StoreFailed, TrainingLogError
from traininglog.sqlite.file import failures
from traininglog.values import thaw

#: The longest that one assignment may take, in seconds, whatever happens around it.
LONGEST = 0.25

# The guard of patience.py, which this file does not find when it is run as a script.
_PATIENCE = 600.0
_COUNT, _LONGEST, _ASKED = 0, 1, 2  # the fields that are shared, of eight bytes each


# -- what is logged ---------------------------------------------------------------------------


def note_of(step: int) -> str:
    """Return the long text of a step."""
    return f"step {step}, " * 40


def assignments(step: int) -> list[dict[str, Any]]:
    """Return what a step assigns to its row: one update after the other."""
    updates: list[dict[str, Any]] = [{"x": step / 7}]
    if step % 5 == 0:
        updates.append({"note": note_of(step), "n": step})
    return updates


# -- a process that logs ----------------------------------------------------------------------


class Loop:
    """A process that logs to a file, a run of its own, until it is killed or told to end.

    Args:
        path: The file.
        prefix: A command that runs another one, elsewhere.
        pause: How many seconds it sleeps after every ten steps.
        insist: Whether it makes an assignment that was refused again, until it is taken.
        nobody: Whether it gives its privileges up, before it opens the file.
        status: Whether it counts its steps in the status.
        options: Of the log.

    """

    def __init__(
        self,
        path: Path,
        *,
        prefix: tuple[str, ...] = (),
        pause: float = 0.0005,
        insist: bool = False,
        nobody: bool = False,
        status: bool = True,
        **options: Any,
    ) -> None:
        self.path = path
        plan = {"pause": pause, "insist": insist, "nobody": nobody, "status": status}
        with os.fdopen(os.memfd_create("shared"), "w+b") as file:
            file.truncate(mmap.PAGESIZE)
            self._fields = memoryview(mmap.mmap(file.fileno(), mmap.PAGESIZE)).cast("Q")
            self._process = subprocess.Popen(
                [
                    *prefix, sys.executable, "-W", "error", __file__, "log", str(path),
                    str(file.fileno()), json.dumps(plan), json.dumps(options),
                ],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                pass_fds=[file.fileno()],
            )  # fmt: skip
        self.uuid = ""

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def count(self) -> int:
        """How many steps have been made: what they assigned is acknowledged."""
        return int(self._fields[_COUNT])

    def start(self) -> None:
        """Wait until it logs."""
        self.uuid = self._line()
        self.wait_for(1)

    def wait_for(self, count: int) -> None:
        """Wait until it has made so many steps."""
        deadline = time.monotonic() + _PATIENCE
        while self.count < count:
            self._require_alive()
            assert time.monotonic() < deadline, f"{self.count} steps, not {count}"
            time.sleep(0.001)

    def ask(self, expression: str) -> Any:
        """Return what an expression gives there, between two steps; an error as a text."""
        assert self._process.stdin is not None
        self._process.stdin.write(expression + "\n")
        self._process.stdin.flush()
        self._fields[_ASKED] += 1
        return json.loads(self._line())

    def warnings(self) -> list[str]:
        """Return what it was warned of so far."""
        told: list[str] = self.ask("told")
        return told

    def kill(self) -> None:
        """Kill it; it must have been well until then."""
        self._require_alive()
        self._process.kill()
        self._process.wait()
        assert self._process.returncode == -signal.SIGKILL

    def end(self) -> None:
        """Let it close its log and end; it must do well, and print nothing more."""
        assert self.ask("end(log.close)") is None
        out, errors = self._process.communicate(timeout=_PATIENCE)
        assert (out, errors, self._process.returncode) == ("", "", 0)

    def leave(self) -> str:
        """Let the interpreter end without a close; return what it complains of as it does."""
        self.ask("end()")
        _, errors = self._process.communicate(timeout=_PATIENCE)
        return errors

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().rstrip("\n")
        if not line:
            self._require_alive(gone=True)
        return line

    def _require_alive(self, *, gone: bool = False) -> None:
        if gone or self._process.poll() is not None:
            _, errors = self._process.communicate(timeout=_PATIENCE)
            # Killed by SIGBUS, for one, is what must not be.
            told = errors if len(errors) < 4000 else f"{errors[:2000]} [...] {errors[-2000:]}"
            raise AssertionError(f"it ended, {self._process.returncode}: {told}")

    def reset_longest(self) -> None:
        self._fields[_LONGEST] = 0

    def longest(self) -> float:
        """Return how long the longest assignment took since it was asked to begin anew."""
        return float(self._fields[_LONGEST] / 1e9)


def watch(seconds: float, *loops: Loop) -> None:
    """See to it that loops go on, for some time, and wait in no assignment."""
    before = [loop.count for loop in loops]
    for loop in loops:
        loop.reset_longest()
    end = time.monotonic() + seconds
    # A machine that does nothing else makes twenty times as many in this time.
    fewest = 1000 * seconds
    while time.monotonic() < end or any(
        loop.count - count < fewest for loop, count in zip(loops, before, strict=True)
    ):
        time.sleep(0.02)
        for loop, count in zip(loops, before, strict=True):
            loop._require_alive()
            took = loop.count - count, time.monotonic() - end + seconds
            assert took[1] < _PATIENCE, f"{took[0]} steps in {took[1]:.1f} s"
    for loop in loops:
        assert loop.longest() < LONGEST, f"an assignment took {loop.longest():.2f} s"


# -- what is there ----------------------------------------------------------------------------


def look(*paths: Path, prefix: tuple[str, ...] = ()) -> dict[str, Any]:
    """Open files in a process of its own; return what is in them, by the UUIDs of their one run.

    Of it its `state`, some of its `status`, and what `compare` returns. Nothing is to be
    complained of on opening.
    """
    done = subprocess.run(
        [*prefix, sys.executable, "-W", "error", __file__, "look", *paths],
        capture_output=True, text=True, timeout=_PATIENCE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _look(*paths: str) -> None:
    found = {}
    for path in paths:
        with Store(path) as store:
            damage = store.check()
            assert damage.ok, damage.problems
            uuid = store.latest()
            with store.log(uuid, readonly=True) as log:
                status = {
                    key: value
                    for key, value in log.status.items()
                    if key in ("iterations_done", "_dropped")
                }
                seen = {"state": store.state(uuid), "status": status}
                found[uuid.hex] = seen | compare(log.to_dict())
    print(json.dumps(thaw(found)))


def compare(rows: dict[int, Any]) -> dict[str, Any]:
    """Compare rows with what the steps assigned.

    Returns how many steps are all there, from the first one on (`steps`); what of later ones is
    there, too, as (time, key) (`more`); and what no step has ever assigned (`wrong`).
    """
    steps = 0
    more, wrong = [], []
    for step, row in rows.items():
        expected = {key: value for update in assignments(step) for key, value in update.items()}
        if step == steps and row == expected:
            steps += 1
            continue
        for key, value in row.items():
            (more if key in expected and expected[key] == value else wrong).append((step, key))
    return {"steps": steps, "more": more, "wrong": wrong}


# -- the processes, seen from inside ----------------------------------------------------------


def impatient(act: Callable[[], object]) -> object:
    """Do something that waits for the file, with little patience."""
    usual, failures.PATIENCE = failures.PATIENCE, 0.3
    try:
        return act()
    finally:
        failures.PATIENCE = usual


class _Kept:
    """How long this process was kept from the processor, by others, since the last `tick`.

    Which is no time that an assignment took: tests run on machines that have other work, too.
    """

    _EVERY = 20_000_000  # nanoseconds

    def __init__(self) -> None:
        self._next = 0
        self._before = 0
        self.tick(time.perf_counter_ns())

    def tick(self, now: int) -> None:
        if now >= self._next:
            self._next = now + self._EVERY
            self._before = self._total()

    def since(self) -> int:
        """Return a number of nanoseconds; of all threads, as one may wait for another."""
        return self._total() - self._before

    def _total(self) -> int:
        total = 0
        for task in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError):  # not every kernel counts it; a thread may be gone
                total += int((task / "schedstat").read_text().split()[1])
        return total


def _log(path: str, descriptor: int, plan: dict[str, Any], options: dict[str, Any]) -> None:
    fields = memoryview(mmap.mmap(descriptor, mmap.PAGESIZE)).cast("Q")
    told: list[str] = []
    answered, ended = 0, False

    def show(message: object, category: type, *_: object) -> None:
        told.append(f"{category.__name__}: {message}")  # in any thread
        if ended:
            print(told[-1], file=sys.stderr)

    warnings.simplefilter("always")
    warnings.showwarning = show
    if plan["nobody"]:
        with SQLiteLog(":memory:") as warm:  # what is imported late may be out of reach afterwards
            warm[1]["x"] = 1
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    log = SQLiteLog(path, **options)
    print(log.h_uuid, flush=True)
    refused: dict[str, Any] = {"count": 0, "error": None, "half": []}

    def end(act: Callable[[], object] | None = None) -> None:
        nonlocal ended
        if act is not None:
            act()
        ended = True

    world = {"log": log, "told": told, "refused": refused, "impatient": impatient, "end": end}
    world |= {"compare": compare}

    def answer() -> None:
        nonlocal answered
        while fields[_ASKED] != answered:
            answered += 1
            try:
                result = eval(sys.stdin.readline(), world)
            except TrainingLogError as error:
                result = f"{type(error).__name__}: {error}"
            print(json.dumps(thaw(result)), flush=True)
            if ended:
                sys.exit()

    def assign(step: int, update: dict[str, Any] | None) -> None:
        if update is None:
            log.status["iterations_done"] = step
        elif len(update) == 1:
            ((key, value),) = update.items()
            log[step][key] = value  # as one does in a loop
        else:
            log[step].update(update)

    def insist(step: int, update: dict[str, Any] | None, error: StoreFailed) -> int:
        """Assign what was refused, again and again; return when the last attempt began."""
        before = dict(log[step]), dict(log.status)
        refused["error"] = f"{type(error).__name__}: {error}"
        while True:
            refused["count"] += 1
            refused["half"] += [key for key in update or () if key in log[step]]
            answer()
            time.sleep(0.01)
            begin = time.perf_counter_ns()
            try:
                assign(step, update)
                return begin
            except StoreFailed:
                assert (dict(log[step]), dict(log.status)) == before

    kept = _Kept()
    step = 0
    pause = plan["pause"]
    while True:
        if fields[_ASKED] != answered:
            answer()
        count = [None] if plan["status"] and step % 100 == 0 else []
        for update in [*assignments(step), *count]:
            begin = time.perf_counter_ns()
            try:
                assign(step, update)
            except StoreFailed as error:
                if not plan["insist"]:
                    raise
                begin = insist(step, update, error)
            now = time.perf_counter_ns()
            if now - begin > fields[_LONGEST]:
                fields[_LONGEST] = max(fields[_LONGEST], now - begin - kept.since())
            if step % 10 == 0:
                kept.tick(now)
        step += 1
        fields[_COUNT] = step
        if pause and step % 10 == 0:
            time.sleep(pause)


if __name__ == "__main__":
    what, where, *rest = sys.argv[1:]
    if what == "look":
        _look(where, *rest)
    else:
        _log(where, int(rest[0]), json.loads(rest[1]), json.loads(rest[2]))
