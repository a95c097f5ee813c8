"""What is logged while a recorder looks on, and what must be there after a power cut.

What a `Workload` assigns follows from its seed, one value after the other. So the number of values
that were assigned says what a log must hold, and all that may be there after a power cut is what it
held after some number of them: a prefix.

Run as a module, this logs a workload and records it: ``python -m faults.workloads ...``.
"""

from __future__ import annotations

import functools
import json
import math
import os
import random
import shutil
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from faults.images import Recording
from faults.power import Recorder

from traininglog import SQLiteLog, Store, TrainingLogWarning
from traininglog.errors import NotATrainingLog, RunNotFound, StoreNotFound
from traininglog.values import thaw

DATABASE = "runs.db"
WAL = f"{DATABASE}-wal"


class Lost(AssertionError):
    """Something is missing that had been committed."""


class NotAPrefix(AssertionError):
    """What is there was never all that there was."""


# -- what is logged ---------------------------------------------------------------------------


ALIKE = 120


class Workload(NamedTuple):
    """What sort of values are logged, and how often something else is done, by step."""

    seed: int
    steps: int
    rounds: int = 0  #: how often there come first `ALIKE` values of one kind and key
    mixed: float = 0.0  #: the share of values that are no plain numbers
    long: float = 0.0  #: the share of those that are long, so that journals fill up
    back: float = 0.0  #: how often an earlier time is written again
    flush: float = 0.0
    commit: float = 0.01
    reopen: float = 0.0
    rest: float = 0.0  #: how often nothing happens for a while

    @property
    def name(self) -> str:
        return f"workload {WORKLOADS.index(self)}"


WORKLOADS = (
    Workload(1, steps=1000, flush=0.4, back=0.3, rest=0.002),
    Workload(2, steps=1000, mixed=0.6, long=0.4, flush=0.003, commit=0.008, back=0.1, rest=0.001),
    Workload(3, steps=500, mixed=0.1, long=0.01, flush=0.2, commit=0.02, back=0.4, reopen=0.015),
    Workload(4, steps=100, rounds=20, flush=0.1),
)

_ODD: tuple[Any, ...] = (
    None, math.nan, math.inf, -math.inf, -0.0, 5e-324, 0, -1, 2**63 - 1, -(2**63), True, False, "",
    [], {}, b"", b"\x00\xff", [None, [math.nan, -0.0, "x"], {"a": [1, 1.0, True]}],
    "gr\u00f6\u00dfe\n",
)  # fmt: skip

Call = tuple[Any, ...]


def calls(workload: Workload) -> Iterator[Call]:
    """Return what is done to a log, in order."""
    chance = random.Random(workload.seed)
    done = workload.rounds * ALIKE
    deletable: list[tuple[int, str]] = []

    def value() -> Any:
        if chance.random() >= workload.mixed:
            return chance.random()
        if chance.random() < workload.long:
            return chance.randbytes(100).hex() * chance.randrange(20, 80)
        return chance.choice(_ODD)

    # What a journal says of one round fits, in its form, what it says of the next.
    for step in range(done):
        yield "set", step, "acc", chance.random()
        if step % ALIKE == ALIKE - 1:
            yield (chance.choice(("flush", "commit")),)
    for step in range(workload.steps):
        at = chance.randrange(step + 1) if chance.random() < workload.back else step
        row = {f"key {chance.randrange(6)}": value() for _ in range(chance.randrange(4))}
        # The number of values before it: by the greatest that is there one sees how many are.
        yield "set", at, "n", float(done)
        yield "update", at, row
        done += 1 + len(row)
        if chance.random() < 0.5:
            yield "set", at, "loss", value()
            deletable.append((at, "loss"))
            done += 1
        if chance.random() < 0.5:
            yield "status", "iterations_done", step
            done += 1
        if chance.random() < 0.05:
            yield "status", f"my {chance.randrange(4)}", value()
            done += 1
        if deletable and chance.random() < 0.02:
            yield "delete", *deletable.pop()
            deletable.clear()  # what is older may be deleted already
            done += 1
        for name in ("flush", "commit", "reopen", "rest"):
            if chance.random() < getattr(workload, name):
                yield (name,)


_GONE = "gone"

#: A time (None: of the status), a key, and the form of the value.
Assignment = tuple[int | None, str, str]


@functools.cache
def assignments(workload: Workload) -> list[Assignment]:
    """Return every value that is assigned, in order."""
    found: list[Assignment] = []
    for call in calls(workload):
        match call:
            case "set", at, key, value:
                found.append((at, key, form(value)))
            case "update", at, row:
                found += [(at, key, form(value)) for key, value in row.items()]
            case "status", key, value:
                found.append((None, key, form(value)))
            case "delete", at, key:
                found.append((at, key, _GONE))
    return found


def form(value: Any) -> str:
    """Return a text that only the very same value has: NaN, -0.0, types and order included."""
    return repr(thaw(value))


Snapshot = dict[int | None, dict[str, str]]


def snapshot(log: SQLiteLog) -> Snapshot:
    """Return all that a log holds; its status at None."""
    found: Snapshot = {at: _forms(row) for at, row in log.to_dict().items()}
    return found | {None: _forms(log.status)}


def _forms(values: Any) -> dict[str, str]:
    return {key: form(value) for key, value in values.items()}


def assign(held: Snapshot, some: list[Assignment]) -> None:
    """Do to a snapshot what assignments do to a log."""
    for at, key, value in some:
        if value == _GONE:
            del held[at][key]
        else:
            held.setdefault(at, {})[key] = value


def empty() -> Snapshot:
    """Return what a new log holds."""
    status = {"iterations_done": 0, "epochs_done": 0, "_epoch_ends": [], "resumed_from": None}
    return {None: _forms(status)}


def length(found: Snapshot, workload: Workload) -> int:
    """Return after how many assignments this is what a log holds. Raises `NotAPrefix`."""
    every = assignments(workload)
    numbers = [int(float(row["n"])) for at, row in found.items() if at is not None and "n" in row]
    least = max(numbers) + 1 if numbers else 0
    held = empty()
    assign(held, every[:least])
    differences = _differences(found, held)
    reached = least if not differences else None
    # The first ones, and those after the greatest number, have none.
    for number, assignment in enumerate(every[least:], least + 1):
        if assignment[1] == "n":
            break
        assign(held, [assignment])
        if held == found:
            reached = number
    if reached is None:
        raise NotAPrefix(f"neither after {least} assignments, nor soon after:\n{differences}")
    return reached


def _differences(found: Snapshot, wanted: Snapshot) -> str:
    """Return some of what is different, for people; an empty text if nothing is."""
    if found == wanted:
        return ""
    lines = []
    for at in dict.fromkeys((*wanted, *found)):
        is_, should = found.get(at, {}), wanted.get(at, {})
        lines += [
            f"    at {at}, {key!r}: {is_.get(key, _GONE):.100}, not {should.get(key, _GONE):.100}"
            for key in dict.fromkeys((*should, *is_))
            if is_.get(key) != should.get(key)
        ]
    some = lines if len(lines) < 7 else [*lines[:4], "    ...", *lines[-2:]]
    return "\n".join([f"{len(lines)} differences:", *some])


# -- recording it -----------------------------------------------------------------------------


class Recorded(NamedTuple):
    """A workload that was logged with a recorder looking on."""

    folder: Path  #: holds the recording, and what was there at its end
    durability: str
    workload: Workload

    @property
    def path(self) -> Path:
        return self.folder / "recording"


def record(recorded: Recorded) -> Recorded:
    """Log a workload in another process, and record it."""
    (recorded.folder / "end").mkdir(parents=True)
    told = json.dumps([str(recorded.folder), recorded.durability, recorded.workload])
    command = [sys.executable, "-W", "error", "-m", "faults.workloads", told]
    # Where `faults` is found.
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return recorded


def _log(told: str) -> None:
    folder, durability, fields = json.loads(told)
    workload = Workload(*fields)
    end = Path(folder) / "end"
    path = end / DATABASE
    waits = durability == "power"
    with Recorder(end, f"{DATABASE}-tail-", Path(folder) / "recording") as recorder:
        log = SQLiteLog(path, durability=durability)
        recorder.note(0, uuid=log.h_uuid, kept=waits)
        done = 0
        for call in calls(workload):
            match call:
                case "set", at, key, value:
                    log[at][key] = value
                    done += 1
                case "update", at, row:
                    log[at].update(row)
                    done += len(row)
                case "status", key, value:
                    log.status[key] = value
                    done += 1
                case "delete", at, key:
                    del log[at][key]
                    done += 1
                case ("flush",):
                    log.flush()
                    recorder.note(done, flushed=True, kept=waits)
                case ("commit",):
                    log.commit()
                    recorder.note(done, kept=True)
                case ("reopen",):
                    log.close()
                    recorder.note(done, closed=True, kept=waits)
                    log = SQLiteLog(path, log.uuid, durability=durability)
                case ("rest",):
                    recorder.note(done, rests=True)
                    time.sleep(0.3)
            recorder.note(done)
        log.flush()  # then nothing more happens behind our back
        recorder.note(done, flushed=True, kept=waits)
    # What is there stays as it is, for whoever wants to compare.
    os._exit(0)


# -- what is there after a power cut ----------------------------------------------------------


class Verdict(NamedTuple):
    """What became of a log in a power cut."""

    recorded: Recorded
    seed: int
    folder: Path  #: what was left; removed if all is well
    cut: int  #: after how many events of the recording
    least: int | None  #: how many assignments were committed; None: the run may be missing, too
    most: int  #: how many were made
    found: int | None = None
    problem: str = ""  #: empty if all is well

    def __str__(self) -> str:
        return (
            f"{self.recorded.durability}, {self.recorded.workload.name}, image {self.seed}: after "
            f"{self.cut} events, {self.least} assignments committed and {self.most} made:\n"
            f"{self.problem}\n(see {self.folder})"
        )


@functools.lru_cache(maxsize=3)
def _recording(path: Path) -> Recording:
    return Recording(path, DATABASE)


def trial(
    recorded: Recorded,
    seed: int,
    ignored: str | None = None,
    promise: str = "kept",
    moment: str | None = None,
) -> Verdict:
    """Cut the power at some point of a recording, and look at what is left.

    With `ignored`, the syncs of a file are without effect. What was noted with `promise` must be
    there; `moment` is what sort of a point it is to be. The point and the image follow from the
    recording and the seed.
    """
    recording = _recording(recorded.path)
    chance = random.Random(f"{recorded.workload.seed} {recorded.durability} {seed}")
    cut = recording.cut(chance, moment)
    committed = [at for index, at, what in recording.notes if index <= cut and what.get(promise)]
    verdict = Verdict(
        recorded,
        seed,
        recorded.folder / f"image {seed} ({promise}, {ignored}, {moment})",
        cut,
        least=committed[-1] if committed else None,
        # The last one may be about to return.
        most=next((at for index, at, _ in recording.notes if index > cut), recording.notes[-1][1]),
    )
    verdict.folder.mkdir()
    for name, content in recording.image(cut, chance, ignored).items():
        (verdict.folder / name).write_bytes(content)
    if chance.random() < 0.5:
        (verdict.folder / f"{DATABASE}-owners").touch()
    uuid = recording.notes[0][2]["uuid"]
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        try:
            verdict = verdict._replace(found=_look(verdict, uuid, chance))
            for one in complaints:
                # A journal may be of no use to a database that has fallen behind it.
                if one.category is not TrainingLogWarning or "journal" not in str(one.message):
                    raise AssertionError(f"a warning: {one.message}")
        except Exception as error:  # noqa: BLE001 - whatever it is, it should not have happened
            return verdict._replace(problem="".join(traceback.format_exception(error, chain=False)))
    shutil.rmtree(verdict.folder)
    return verdict


def _look(verdict: Verdict, uuid: str, chance: random.Random) -> int | None:
    """Open what is left, again and again; return how many of the assignments are there."""
    path = verdict.folder / DATABASE
    durability = verdict.recorded.durability
    try:
        first = _opened(path, uuid, durability, chance)
    except (RunNotFound, StoreNotFound, NotATrainingLog) as error:
        if verdict.least is not None:
            raise Lost("the run is not there") from error
        # Then a new one can be made, as if there had never been another.
        with SQLiteLog(path) as log:
            log[1]["x"] = 1
        _check(path)
        return None
    found = length(first, verdict.recorded.workload)
    if found < (verdict.least or 0):
        raise Lost(f"only {found} assignments are there")
    assert found <= verdict.most, f"{found} assignments are there"
    _check(path)
    with SQLiteLog(path, uuid, durability=durability) as log:
        again = snapshot(log)
        assert again == first, f"opened again, it is different:\n{_differences(again, first)}"
        log[10**6].update(n=0.5, text="after the power cut")  # it can be gone on with
    with SQLiteLog(path, uuid, readonly=True) as log:
        last = snapshot(log)
    more = first | {10**6: {"n": "0.5", "text": "'after the power cut'"}}
    assert last == more, f"gone on with, it is different:\n{_differences(last, more)}"
    left = [journal.name for journal in path.parent.glob(f"{DATABASE}-tail-*")]
    assert not left, f"journals that nobody needs are left: {left}"
    return found


def _opened(path: Path, uuid: str, durability: str, chance: random.Random) -> Snapshot:
    """Return what a log holds; a store, or a reader, may be the first to come."""
    way = chance.choice(("to write", "to read", "store"))
    if way == "store":
        with Store(path) as store:
            store.runs(heads=False)
    with SQLiteLog(path, uuid, durability=durability, readonly=way == "to read") as log:
        return snapshot(log)


def _check(path: Path) -> None:
    with Store(path) as store:
        problems = store.check().problems
    assert not problems, problems


if __name__ == "__main__":
    _log(sys.argv[1])
