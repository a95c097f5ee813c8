"""Processes that log until they are killed, and an oracle outside of them.

What a process does follows from a seed (`Sequence`). After each operation, once its statement has
returned, the process puts the number of operations done so far into memory that it shares with the
test; the kernel keeps that when the process dies. So the test knows what had been acknowledged, and
a model that goes through the same operations says what must be in the file.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import mmap
import os
import random
import signal
import sqlite3
import struct
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from faults import nursery
from patience import GUARD
from sealing_often import seal_often

from traininglog import SQLiteLog, Store, TrainingLogWarning
from traininglog.encoding import from_plain_json
from traininglog.values import thaw

#: Whether to take long: `make faults` does.
LONG = os.environ.get("TESTS_LONG") == "1"

#: The most that opening a file may take in which a process has left a journal, in seconds of a
#: processor: how long others keep it from one says nothing of it.
OPENING = 1.0

#: A process that does nothing for so long waits for something that the test holds, in seconds.
STANDSTILL = 1.0

_PATIENCE = GUARD

Operation = tuple[Any, ...]


class Lost(AssertionError):
    """What is in the file is not what had been acknowledged, nor that and one operation more."""


# -- what is done -----------------------------------------------------------------------------


class Kind(NamedTuple):
    """What sort of a sequence it is."""

    seed: int
    rare: float = 0.002  #: how often something other than an assignment comes
    heavy: bool = False  #: whether many values are long, so that journals fill up
    calm: bool = False  #: nothing but assignments, which never wait for the file


class ModelRun:
    """One run as it must be seen: its own rows and those that it sees of its ancestors."""

    def __init__(self, parent: int | None, at: int | None, status: dict[str, Any]) -> None:
        self.parent = parent
        self.at = at
        self.status = status
        self.state = "lost"  # which it is when its process is killed
        self.rows: dict[int, dict[str, Any]] = {}
        self.order: list[str] = []  # keys, as first written

    def set(self, at: int, row: dict[str, Any]) -> None:
        if row:  # with nothing in it there is no row
            self.rows.setdefault(at, {}).update(row)
        for key in row:
            if key not in self.order:
                self.order.append(key)

    def delete(self, at: int, key: str) -> None:
        del self.rows[at][key]
        if not self.rows[at]:
            del self.rows[at]


class State(NamedTuple):
    """What `state_dict()` has to return, but for the store and the UUID."""

    run: int
    time: int | None
    status: dict[str, Any]


class Model:
    """All runs of a file, after some operations, in the plainest code."""

    def __init__(self) -> None:
        self.runs: list[ModelRun] = []
        self.states: list[State] = []
        # Whether the process that is at work has written anything: a run that was opened and only
        # looked at stays as it is.
        self.claimed = False

    @property
    def run(self) -> ModelRun:
        """The run that is being written: always the youngest."""
        return self.runs[-1]

    def apply(self, operation: Operation) -> None:
        name, *arguments = operation
        writes = self._writes(name, *arguments)
        getattr(self, f"_{name}")(*arguments)
        self.claimed = self.claimed or writes

    def _writes(self, name: str, *arguments: Any) -> bool:
        """Tell whether an operation changes anything: an empty row where there is none does not."""
        match name, *arguments:
            case "update", _, row:
                return bool(row)
            case "replace", at, row:
                return bool(row) or at in self.run.rows
            case "rows", rows:
                return any(row or at in self.run.rows for at, row in rows.items())
        return name not in ("look", "flush", "commit", "state")

    def _begin(self) -> None:
        status = {"iterations_done": 0, "epochs_done": 0, "_epoch_ends": [], "resumed_from": None}
        self.runs.append(ModelRun(None, None, status))

    def _set(self, at: int, key: str, value: Any) -> None:
        self.run.set(at, {key: value})

    def _update(self, at: int, row: dict[str, Any]) -> None:
        self.run.set(at, row)

    def _replace(self, at: int, row: dict[str, Any]) -> None:
        self.run.rows.pop(at, None)
        self.run.set(at, row)

    def _rows(self, rows: dict[int, dict[str, Any]]) -> None:
        for at, row in rows.items():
            self._replace(at, row)

    def _delete(self, at: int, key: str) -> None:
        self.run.delete(at, key)

    def _drop(self, at: int) -> None:
        del self.run.rows[at]

    def _status(self, key: str, value: Any) -> None:
        self.run.status[key] = value

    def _status_update(self, values: dict[str, Any]) -> None:
        self.run.status.update(values)

    def _status_delete(self, key: str) -> None:
        del self.run.status[key]

    def _look(self, at: int) -> None:
        pass

    def _flush(self) -> None:
        pass

    def _commit(self) -> None:
        pass

    def _state(self) -> None:
        last = max(self.run.rows, default=None)
        self.states.append(State(len(self.runs) - 1, last, dict(self.run.status)))

    def _resume(self, at: int | None) -> None:
        status = dict(self.run.status)
        if at is not None:
            ends = [end for end in status["_epoch_ends"] if end <= at]
            gone = len(status["_epoch_ends"]) - len(ends)
            status["iterations_done"] = min(status["iterations_done"], at)
            status["_epoch_ends"] = ends
            status["epochs_done"] = max(0, status["epochs_done"] - gone)
        self._descend(len(self.runs) - 1, at, status)

    def _load(self, state: State) -> None:
        point = -1 if state.time is None else state.time  # before the first row: nothing
        self._descend(state.run, point, dict(state.status))

    def _descend(self, parent: int, at: int | None, status: dict[str, Any]) -> None:
        if self.claimed:
            self.run.state = "finished"
        ancestor = self.runs[parent]
        point = max(ancestor.rows, default=-1) if at is None else at
        child = ModelRun(parent, point, status | {"resumed_from": parent})
        child.rows = {time: dict(row) for time, row in ancestor.rows.items() if time <= point}
        child.order = list(ancestor.order)
        self.runs.append(child)


_WORDS = "".join(chr(code) for code in (*range(32, 127), 0, 10, 0xE9, 0x4E2D, 0x1F600))
_ODD = (
    None, math.nan, math.inf, -math.inf, -0.0, 5e-324, 0, -1, 2**63 - 1, -(2**63), 2**53 + 1, True,
    False, "", [], {}, b"", b"\x00\xff", [None, [math.nan, -0.0, "x"], {"a": [1, 1.0, True]}],
    {"b": None, "a": {"c": [b"\x00"]}},
)  # fmt: skip


class Sequence:
    """The operations of a seed, one after the other, each chosen with a look at the model."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.model = Model()
        self.done = 0
        self._random = random.Random(kind.seed)
        self._time = 0
        self._keys = ["loss", "train/accuracy", "größe", "k\n\t'\";--"]

    def next(self) -> Operation:
        """Return the next operation. It is to be applied to the model before the one after."""
        if not self.model.runs:
            return ("begin",)
        draw = self._random.random()
        if draw < self.kind.rare and not self.kind.calm:
            return self._rare()
        draw = self._random.random()
        if draw < 0.70:
            return self._assignment()
        if draw < 0.78:
            return "update", self._advance(), self._row()
        if draw < 0.86:
            return "status", "iterations_done", self._time
        if draw < 0.89:
            return self._status()
        at = max(0, self._time - int(40 * self._random.random()))
        if draw < 0.94:
            return "set", at, self._random.choice(self._keys), self._value()
        row = self.model.run.rows.get(at)
        if draw < 0.96 and row:
            return "delete", at, self._random.choice(list(row))
        if draw < 0.965 and row:
            return "drop", at
        if draw < 0.97:
            return "replace", at, self._row()
        if draw < 0.975:
            return "rows", {at + step: self._row() for step in range(self._random.randrange(4))}
        if draw < 0.98:
            return "look", at
        return self._assignment()

    def apply(self, operation: Operation) -> None:
        self.model.apply(operation)
        self.done += 1

    def advance(self, done: int) -> None:
        """Go through the operations up to a number of them."""
        while self.done < done:
            self.apply(self.next())

    def _advance(self) -> int:
        self._time += int(1.3 * self._random.random() * self._random.random() * 2)
        return self._time

    def _assignment(self) -> Operation:
        if self._random.random() < 0.003 and len(self._keys) < 60:
            self._keys.append(f"key {len(self._keys)} {self._text(5)}".replace("\0", "0"))
        return "set", self._advance(), self._random.choice(self._keys), self._value()

    def _row(self) -> dict[str, Any]:
        chosen = self._random.sample(self._keys, self._random.randrange(4))
        return {key: self._value() for key in chosen}

    def _status(self) -> Operation:
        draw = self._random.random()
        status = self.model.run.status
        if draw < 0.2:
            ends = [*status["_epoch_ends"][-5:], self._time]
            return "status_update", {"_epoch_ends": ends, "epochs_done": status["epochs_done"] + 1}
        mine = [key for key in status if key.startswith("my ")]
        if draw < 0.35 and mine:
            return "status_delete", self._random.choice(mine)
        return "status", f"my {self._random.randrange(9)}", self._value()

    def _rare(self) -> Operation:
        draw = self._random.random()
        if draw < 0.4:
            return ("flush",)
        if draw < 0.5:
            return ("commit",)
        if draw < 0.7 or not self.model.run.rows:
            return ("state",)
        if draw < 0.85 or not self.model.states:
            at = self._random.randrange(self._time + 1) if draw < 0.75 else None
            return "resume", at
        return "load", self._random.choice(self.model.states)

    def _value(self) -> Any:
        draw = self._random.random()
        if self.kind.heavy and draw < 0.3:
            return self._text(40) * 100
        if draw < 0.6:
            return self._random.random()
        if draw < 0.7:
            return int(draw * 1e6)
        if draw < 0.8:
            return self._random.choice(_ODD)
        if draw < 0.9:
            return self._text(int(draw * 1000) % 20)
        if draw < 0.95:
            return [self._random.random() for _ in range(int(draw * 1000) % 5)]
        if draw < 0.9998:
            return self._random.randrange(-(2**63), 2**63)
        return self._text(10) * 20_000

    def _text(self, length: int) -> str:
        return "".join(self._random.choices(_WORDS, k=length))


def perform(log: SQLiteLog, operation: Operation, model: Model, uuids: list[str]) -> None:
    """Do to a log what an operation says; `uuids` are those of the model's runs."""
    match operation:
        case "set", at, key, value:
            log[at][key] = value
        case "update", at, row:
            log[at].update(row)
        case "replace", at, row:
            log[at] = row
        case "rows", rows:
            log.update(rows)
        case "delete", at, key:
            del log[at][key]
        case "drop", at:
            del log[at]
        case "status", key, value:
            log.status[key] = value
        case "status_update", values:
            log.status.update(values)
        case "status_delete", key:
            del log.status[key]
        case "look", at:
            found, expected = _form(dict(log[at])), _form(_ordered(model.run, at))
            assert found == expected, f"the log reads {found} at {at}, not {expected}"
        case ("flush",):
            log.flush()
        case ("commit",):
            log.commit()
        case ("state",):
            found = log.state_dict()
            last = max(model.run.rows, default=None)
            assert (found["uuid"], found["time"]) == (uuids[-1], last), (found, uuids, last)
            expected = _named(model.run.status, uuids)
            json.dumps(found, allow_nan=False)
            coded = {key: from_plain_json(found["status"][key]) for key in found.get("coded", ())}
            assert _forms(found["status"] | coded) == _forms(expected), f"{found}, not {expected}"
        case "resume", at:
            log.resume(at)
            uuids.append(log.h_uuid)
        case "load", state:
            status = _named(state.status, uuids)
            store = log.state_dict()["store"]
            log.load_state_dict(
                {"store": store, "uuid": uuids[state.run], "time": state.time, "status": status}
            )
            uuids.append(log.h_uuid)
        case _:
            raise ValueError(operation)


def _named(status: dict[str, Any], uuids: list[str]) -> dict[str, Any]:
    parent = status["resumed_from"]
    return status | {"resumed_from": None if parent is None else uuids[parent]}


def _ordered(run: ModelRun, at: int) -> dict[str, Any]:
    row = run.rows.get(at, {})
    return {key: row[key] for key in run.order if key in row}


def _form(value: Any) -> str:
    """Return a text that only the very same value has: NaN, -0.0, types and order included."""
    return repr(thaw(value))


def _forms(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: _form(value) for key, value in values.items()}


# -- what is there ----------------------------------------------------------------------------

#: For each run, the oldest first, what can be seen of it.
Snapshot = list[dict[str, Any]]


def expected(model: Model) -> Snapshot:
    """Return what must be seen after the operations of a model."""
    found = []
    for run in model.runs:
        order = [key for key in run.order if any(key in row for row in run.rows.values())]
        rows = {at: _form(_ordered(run, at)) for at in sorted(run.rows) if run.rows[at]}
        found.append(
            {
                "state": run.state,
                "parent": run.parent,
                "at": run.at,
                "status": _forms(run.status),
                "keys": order,
                "rows": rows,
            }
        )
    return found


def seen(path: Path) -> tuple[Snapshot, list[str]]:
    """Return what can be seen of each run in a file, and their UUIDs."""
    found: Snapshot = []
    with Store(path) as store:
        damage = store.check()
        assert damage.ok, damage
        uuids = list(store.runs(heads=False)["uuid"])
        for uuid in uuids:
            with store.log(uuid, readonly=True) as log:
                ancestors = log.lineage()
                parent = uuids.index(ancestors[1].uuid.hex) if len(ancestors) > 1 else None
                status = _forms(log.status)
                assert status["resumed_from"] == _form(None if parent is None else uuids[parent])
                found.append(
                    {
                        "state": store.state(uuid),
                        "parent": parent,
                        "at": ancestors[0].resumed_at,
                        "status": status | {"resumed_from": _form(parent)},
                        "keys": log.keys_seen(),
                        "rows": {at: _form(row) for at, row in log.to_dict().items()},
                    }
                )
    return found, uuids


def same(one: Snapshot, two: Snapshot) -> bool:
    """Tell whether two snapshots are equal, the order of runs, times and keys included."""
    return one == two and all(
        list(first["rows"]) == list(second["rows"]) for first, second in zip(one, two, strict=True)
    )


def difference(found: Snapshot, wanted: Snapshot) -> str:
    """Say, in a few lines, in what a snapshot is not what it should be."""
    if len(found) != len(wanted):
        return f"{len(found)} runs, not {len(wanted)}"
    lines = []
    for number, (is_, should) in enumerate(zip(found, wanted, strict=True)):
        lines += [
            f"run {number}: {part} is {is_[part]!r}, not {should[part]!r}"
            for part in ("state", "parent", "at", "keys")
            if is_[part] != should[part]
        ]
        for part in ("status", "rows"):
            one, two = is_[part], should[part]
            places = [key for key in two if one.get(key) != two[key]]
            more = [key for key in one if key not in two]
            if places or more:
                lines.append(
                    f"run {number}: {part}: {len(places)} of {len(two)} missing or different, "
                    f"{len(more)} too many"
                )
                lines += [
                    f"    {key!r}: {str(one.get(key))[:150]}, not {two[key][:150]}"
                    for key in dict.fromkeys(places[:2] + places[-1:])
                ]
                lines += [f"    {key!r}: {one[key][:150]}, not absent" for key in more[:2]]
            elif part == "rows" and list(one) != list(two):
                lines.append(f"run {number}: order of {part}: {list(one)[:20]}, {list(two)[:20]}")
    return "\n".join(lines[:20])


def tails(path: Path) -> list[str]:
    """Return the names of the journals beside a file."""
    return sorted(found.name for found in path.parent.glob(f"{path.name}-tail-*"))


def settle(path: Path, sequence: Sequence, acknowledged: int) -> list[str]:
    """Compare a file with the model after what was acknowledged, or one operation more.

    Leaves `sequence` where the file is, and returns the UUIDs of its runs. Raises `Lost`.
    """
    found, uuids = seen(path)
    sequence.advance(acknowledged)
    wanted = expected(sequence.model)
    if not same(found, wanted):
        operation = sequence.next()
        sequence.apply(operation)
        one_more = expected(sequence.model)
        if not same(found, one_more):
            raise Lost(
                f"after {acknowledged} acknowledged:\n{difference(found, wanted)}\n"
                f"or with {str(operation)[:200]} after them:\n{difference(found, one_more)}"
            )
    left = tails(path)
    assert not left, f"journals that nobody needs are left: {left}"
    again, _ = seen(path)
    assert same(again, found), f"opening again changed:\n{difference(again, found)}"
    return uuids


# -- processes --------------------------------------------------------------------------------

_STARTED, _GO, _COUNT = 0, 8, 16
_SIZE = mmap.PAGESIZE

#: What the processes have imported before they are started.
IMPORTS = "from faults import harness"

_SCRIPT = """
import sys
from faults.harness import run
run(*sys.argv[1:])
"""


class Process:
    """A process that does as `run` is told, and the memory that it shares with us."""

    def __init__(self, shared: Path, *arguments: object) -> None:
        with shared.open("wb") as file:
            file.truncate(_SIZE)
        with shared.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _SIZE)
        # Not a pipe, which a process whose output nobody reads would wait for.
        self._errors = shared.with_name(shared.name + "-errors")
        with self._errors.open("wb") as file:
            self._process = nursery.start(
                _SCRIPT, *arguments, shared, imports=IMPORTS, stdout=file.fileno()
            )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._memory.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def count(self) -> int:
        """How many operations have been acknowledged."""
        return int(struct.unpack_from("Q", self._memory, _COUNT)[0])

    def wait_until_started(self) -> None:
        """Wait until everything is imported, and the process is about to begin."""
        self._wait(lambda: self._memory[_STARTED] == 1)

    def go(self) -> None:
        """Let the process begin."""
        self.wait_until_started()
        self._memory[_GO] = 1

    def wait_for(self, count: int, standstill: float = STANDSTILL) -> None:
        """Wait until so many operations are acknowledged, or none has been for a while."""
        last, since = self.count, time.monotonic()

        def reached() -> bool:
            nonlocal last, since
            now = self.count
            if now != last:
                last, since = now, time.monotonic()
            # Before the first one the file is made, and the machine may be slow.
            return now >= count or (now > 0 and time.monotonic() - since > standstill)

        self._wait(reached)

    def _wait(self, until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE
        for attempt in itertools.count():
            if until():
                return
            if attempt % 50 == 0:  # the nursery, too, needs a processor to answer
                assert self._process.poll() is None, self.failure()
            assert time.monotonic() < deadline, f"nothing after {_PATIENCE} s: {self.failure()}"
            time.sleep(0.0005)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Kill the process; it must have been well until then."""
        self._process.send_signal(number)
        self._process.wait()
        assert self._process.returncode == -number, self.failure()

    def end(self) -> None:
        """Wait until the process is done; it must have been well."""
        assert self._process.wait(_PATIENCE) == 0, self.failure()

    def failure(self) -> str:
        """Return what the process complained of."""
        return f"status {self._process.returncode}: {self._errors.read_text()[-3000:]}"


def writing(path: Path, kind: Kind, durability: str, **options: Any) -> Process:
    """Start a process that goes through a sequence. It waits for `go` before it opens the file."""
    plan = json.dumps({"kind": kind._asdict(), "durability": durability} | options)
    return Process(path.with_name("shared"), "write", path, plan)


def opening(path: Path, number: int, uuid: str | None) -> Process:
    """Start a process that opens a file (a run in it, or a store) and closes it, after `go`."""
    return Process(path.with_name(f"shared-{number}"), "open", path, uuid or "")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the write lock of a file, from this process."""
    connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
    try:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


# -- one trial --------------------------------------------------------------------------------


def trial(folder: Path, seed: int, durability: str = "process") -> dict[str, Any]:
    """Kill a process that logs, look at what is there, and do it again where it left off.

    Returns what was done, and how much of a processor it took to open the file afterwards.
    Everything but the moments follows from the seed.
    """
    folder.mkdir(parents=True)
    path = folder / "runs.db"
    chance = random.Random(f"trial {seed}")
    busy = chance.random() < 0.4
    kind = Kind(seed, rare=0.05 if busy else 0.0005, heavy=chance.random() < 0.15)
    sequence = Sequence(kind)
    told: dict[str, Any] = {"seed": seed, "kind": kind, "lives": []}
    uuids: list[str] = []
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        start = sequence.done
        goal = start + int(math.exp(chance.uniform(0, math.log(1_000 if busy else 20_000))))
        idle = chance.random() < 0.15  # killed while nothing happens
        options = {"start": start, "uuids": uuids, "stop": goal if idle else None}
        obstructed = chance.random() < 0.25  # another process holds the file meanwhile
        how = chance.choices(["store", "log", "two", "killed"], [3, 2, 2, 3])[0]
        with contextlib.ExitStack() as stack:
            child = stack.enter_context(writing(path, kind, durability, **options))
            child.go()
            if chance.random() < 0.15:  # perhaps before there is a file
                time.sleep(chance.uniform(0, 0.05))
            else:
                if obstructed:
                    child.wait_for(start + (goal - start + 1) // 2)
                    stack.enter_context(locked(path))
                child.wait_for(goal)
                time.sleep(chance.uniform(0, 0.4 if idle else 0.004))
            child.kill()
            acknowledged = max(child.count, start)
        left = tails(path)
        took = recover(path, how, chance, uuids or None)
        life = {"start": start, "acknowledged": acknowledged, "goal": goal, "how": how}
        life |= {"obstructed": obstructed, "idle": idle, "tails": len(left), "took": took}
        told["lives"].append(life)
        sequence.model.claimed = False
        try:
            uuids = settle(path, sequence, acknowledged)
        except AssertionError as error:
            raise type(error)(f"trial {seed}: {error}\n{told}") from None
        assert took < OPENING, f"trial {seed}: opening the file took {took:.2f} s; {told}"
    return told


def recover(path: Path, how: str, chance: random.Random, uuids: list[str] | None) -> float:
    """Open a file in which a process has left something; return its seconds of a processor."""
    uuid = uuids[-1] if uuids and how == "log" else None
    if how in ("two", "killed"):
        with contextlib.ExitStack() as stack:
            both = [stack.enter_context(opening(path, n, uuid)) for n in range(2)]
            for one in both:
                one.wait_until_started()
            for one in both:
                one.go()
            if how == "killed":
                time.sleep(math.exp(chance.uniform(math.log(0.0003), math.log(0.1))))
                for one in both:
                    with contextlib.suppress(AssertionError):  # it may have come to its end
                        one.kill()
            else:
                for one in both:
                    one.end()
    before = time.process_time()
    if uuid is None:
        Store(path, create=True).close()
    else:
        SQLiteLog(path, uuid).close()
    return time.process_time() - before


# -- the processes, seen from inside ----------------------------------------------------------


def _begin(memory: mmap.mmap) -> None:
    memory[_STARTED] = 1
    while not memory[_GO]:
        time.sleep(0.0002)


def _write(path: str, plan: str, memory: mmap.mmap) -> None:
    told = json.loads(plan)
    if told["kind"]["seed"] % 2:  # each other time
        seal_often(most=told["kind"]["seed"] % 50)
    sequence = Sequence(Kind(**told["kind"]))
    start, uuids = told.get("start", 0), told.get("uuids", [])
    sequence.advance(start)
    log: Any = None
    _begin(memory)
    if start:
        log = SQLiteLog(path, uuids[-1], durability=told["durability"])
    done = start
    # One store, where struct.pack_into first clears: a kill in between would leave a zero.
    counts = memoryview(memory).cast("Q")
    # That the file cannot be written for a while is said, and is no error.
    warnings.simplefilter("ignore", TrainingLogWarning)
    while done != told.get("stop"):
        operation = sequence.next()
        if log is None:
            log = SQLiteLog(path, durability=told["durability"])
            uuids.append(log.h_uuid)
        else:
            perform(log, operation, sequence.model, uuids)
        done += 1
        counts[_COUNT // 8] = done
        sequence.apply(operation)
    while not told.get("close"):
        time.sleep(1)
    log.close()


def _open(path: str, uuid: str, memory: mmap.mmap) -> None:
    _begin(memory)
    if uuid:
        SQLiteLog(path, uuid).close()
    else:
        Store(path, create=True).close()


def run(do: str, where: str, what: str, shared: str) -> None:
    """Go through a sequence (`write`) or open a file (`open`), and note it in shared memory."""
    with Path(shared).open("r+b") as file:
        memory = mmap.mmap(file.fileno(), _SIZE)
    {"write": _write, "open": _open}[do](where, what, memory)
