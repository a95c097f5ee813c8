"""What a benchmark asks of a peer, and how it asks.

A peer is a class in a file `<name>_peer.py` beside this one, run as a script by a Python of its own
that has the peer's packages and neither traininglog nor anything else of ours: so this module, too,
imports nothing but the standard library. What a peer has to do is in `Peer`; `main` is its command
line:

    python mlflow_peer.py WAY WORK '{"folder": ..., ...}'
    python mlflow_peer.py describe

A *way* is one of the routes that a peer offers, and a class each; a *work* is one of the functions
at the end. It prints one line of JSON. Data come in a file that any program can read, see `Data`.
What is read is compared with what was written, outside of the time that is taken.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from importlib import import_module
from itertools import cycle, islice
from pathlib import Path
from statistics import mean, median, quantiles
from typing import IO, Any

Row = dict[str, float]


class Peer:
    """One way to log; the first line of a subclass's docstring says which, in the tables.

    What it writes goes to `self.folder`, and all of it is there once `finish` has returned. A run
    is named by its writer, and found again by what `start` returned.
    """

    #: More than that would take minutes: benchmarks then give it less to do, and say so.
    most_values = 1_000_000
    most_runs = 1_000

    #: How far a value that is read may be from what was written, relative to it.
    keeps = 0.0

    #: Modules that reading needs and that are not imported with the peer.
    reads_with: tuple[str, ...] = ()

    #: Whether all is in memory until the run ends, and lost with the process.
    volatile = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:
        """Make what all runs share, such as a database; the time for it is not counted."""

    def start(self, name: str) -> str:
        """Begin a run."""
        raise NotImplementedError

    def configure(self, config: Row) -> None:
        """Keep what the run was started with. A peer that has no place for it leaves this out."""
        raise NotImplementedError

    def log(self, step: int, row: Row) -> None:
        """Log the values of one step: what a training loop calls."""
        raise NotImplementedError

    def finish(self) -> None:
        """End the run."""
        raise NotImplementedError

    def during(self, name: str, train: Callable[[], None]) -> str:
        """Begin a run, train, end it. For peers that want to call the training themselves."""
        found = self.start(name)
        train()
        self.finish()
        return found

    def frame(self, run: str) -> Any:
        """Return a run as a DataFrame: a column a key, indexed by step."""
        raise NotImplementedError

    # What follows has a slow default, for peers that can do no better.

    def series(self, run: str, key: str) -> Iterable[float]:
        """Return all values of one key, by step."""
        values: Iterable[float] = self.frame(run)[key]
        return values

    def row(self, run: str, step: int) -> Mapping[str, float]:
        """Return the values of one step."""
        row: Mapping[str, float] = self.frame(run).loc[step].to_dict()
        return row

    def runs(self) -> Iterable[str]:
        """Return every run that there is, by what `start` returned."""
        raise NotImplementedError

    def lasts(self) -> dict[str, Mapping[str, float]]:
        """Return for every run the last value of each key."""
        return {run: self.frame(run).iloc[-1].to_dict() for run in self.runs()}

    def bests(self, key: str) -> Mapping[str, float]:
        """Return for every run the smallest value of one key."""
        return {run: min(self.series(run, key)) for run in self.runs()}

    def configs(self) -> dict[str, Mapping[str, Any]]:
        """Return for every run what it was started with."""
        raise NotImplementedError

    def listed(self, key: str) -> Iterable[tuple[str, float, float]]:
        """Return for every run itself, its learning rate, and the last value of a key."""
        lasts, configs = self.lasts(), self.configs()
        return [(run, float(configs[run]["lr"]), lasts[run][key]) for run in configs]

    def filtered(self, key: str, lr: float, below: float) -> Iterable[str]:
        """Return the runs of a learning rate whose last value is less, by that value."""
        found = [(last, run) for run, of, last in self.listed(key) if of == lr and last < below]
        return [run for _, run in sorted(found)]

    def grouped(self, key: str) -> Mapping[float, float]:
        """Return for each learning rate the mean of the last values of a key."""
        groups: dict[float, list[float]] = {}
        for _, lr, last in self.listed(key):
            groups.setdefault(lr, []).append(last)
        return {lr: mean(values) for lr, values in groups.items()}

    def long(self, key: str) -> Any:
        """Return one key over all runs as one DataFrame: columns run and value, by step."""
        import pandas as pd

        parts = {run: pd.Series(list(self.series(run, key))) for run in self.runs()}
        return pd.concat(parts, names=["run"]).rename("value").reset_index("run")


class Data:
    """Columns of float64, steps counted from 1.

    `<path>.json` names the keys and the number of rows; `<path>.f64` holds the columns one after
    the other, as this machine holds doubles.
    """

    def __init__(self, path: str) -> None:
        about = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
        self.path = path
        self.keys: list[str] = about["keys"]
        self.size: int = about["rows"]

    @cached_property
    def columns(self) -> dict[str, list[float]]:
        """The values by key; read when first wanted."""
        numbers = array("d")
        numbers.frombytes(Path(f"{self.path}.f64").read_bytes())
        return {
            key: numbers[place * self.size : (place + 1) * self.size].tolist()
            for place, key in enumerate(self.keys)
        }

    @staticmethod
    def save(path: Path, columns: Mapping[str, list[float]]) -> str:
        """Write columns of one length; return the path to open them by."""
        size = len(next(iter(columns.values())))
        about = {"keys": list(columns), "rows": size}
        Path(f"{path}.json").write_text(json.dumps(about), encoding="utf-8")
        numbers = b"".join(array("d", column).tobytes() for column in columns.values())
        Path(f"{path}.f64").write_bytes(numbers)
        return str(path)

    def rows(self, first: int = 0, stop: int | None = None) -> list[Row]:
        """Return some rows."""
        columns = [column[first:stop] for column in self.columns.values()]
        return [dict(zip(self.keys, values, strict=True)) for values in zip(*columns, strict=True)]


def main(ways: Mapping[str, type[Peer]], version: str) -> None:
    """Do the work that the command line asks for, by one of these ways; the fastest comes first."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the peer itself prints is not the answer
    if sys.argv[1] == "describe":
        described = {way: _describe(peer) for way, peer in ways.items()}
        answer: object = {"version": version, "ways": described}
    else:
        way, work, given = sys.argv[1:]
        arguments = json.loads(given)
        peer = ways[way](Path(arguments.pop("folder")))
        if arguments.pop("wait", False):
            arguments["go"] = lambda: _wait(out)
        answer = WORKS[work](peer, **arguments)
    print(json.dumps(answer), file=out, flush=True)


def _describe(peer: type[Peer]) -> dict[str, object]:
    return {
        "route": (peer.__doc__ or "").strip().partition("\n")[0],
        "most_values": peer.most_values,
        "most_runs": peer.most_runs,
        "keeps": peer.keeps,
        "volatile": peer.volatile,
        "configures": peer.configure is not Peer.configure,
    }


def _wait(out: IO[str]) -> None:
    """Say that everything is imported and loaded, and wait for the others."""
    print("ready", file=out, flush=True)
    sys.stdin.readline()


# -- the works ----------------------------------------------------------------------------------


def prepare(peer: Peer) -> None:
    """Make the store."""
    peer.prepare()


def write(
    peer: Peer,
    data: str,
    steps: int,
    name: str = "run",
    timed: bool = True,
    go: Callable[[], None] | None = None,
) -> dict[str, object]:
    """Log a run of so many steps, and time it; past the end of the data they begin again.

    Returns what finds the run again; the seconds to begin it, to log, and to end it and have it on
    the disk; the nanoseconds of a row; and how much more memory than before it took at its peak, in
    bytes, processes that it started included.
    """
    rows = Data(data).rows()
    if go:
        go()
    took: list[int] = []
    marks: list[float] = []

    def train() -> None:
        marks.append(time.perf_counter())
        log, clock = peer.log, time.perf_counter_ns
        if timed:
            for step, row in enumerate(islice(cycle(rows), steps), 1):
                start = clock()
                log(step, row)
                took.append(clock() - start)
        else:
            for step, row in enumerate(islice(cycle(rows), steps), 1):
                log(step, row)
        marks.append(time.perf_counter())
        marks.append(_peak())  # while what it started is still there

    before = _fresh_peak()
    began = time.perf_counter()
    run = peer.during(name, train)
    _sync(peer.folder)
    ended = time.perf_counter()
    first, last, peak = marks
    return {
        "run": run,
        "begin": first - began,
        "loop": last - first,
        "end": ended - last,
        "total": ended - began,
        "row": _spread(took) if timed else None,
        "peak": max(peak, _peak()) - before,
    }


def read(peer: Peer, what: str, run: str, data: str, steps: int) -> dict[str, float]:
    """Read one run, time it, and compare it with the data: `what` is frame, series, or row."""
    expected = Data(data)
    _get_ready(peer)
    key, step = expected.keys[3], max(1, steps // 2)
    before = _fresh_peak()
    start = time.perf_counter()
    if what == "frame":
        found: Any = peer.frame(run)
    elif what == "series":
        found = peer.series(run, key)
    else:
        found = peer.row(run, step)
    taken = time.perf_counter() - start
    peak = _peak() - before
    if what == "frame":
        _same(list(found.index), range(1, steps + 1))
        for name, column in expected.columns.items():
            _same(found[name], column[:steps], peer.keeps)
    elif what == "series":
        _same(found, expected.columns[key][:steps], peer.keeps)
    else:
        row = {name: column[step - 1] for name, column in expected.columns.items()}
        _same([found[name] for name in row], row.values(), peer.keeps)
    return {"seconds": taken, "peak": peak}


def write_many(
    peer: Peer, data: str, runs: int, steps: int, lrs: list[float] | None = None
) -> dict[str, object]:
    """Log many runs one after the other, each a row further into the data than the one before.

    With `lrs` each is started with one of these learning rates, in turns, and a seed.
    """
    rows = Data(data).rows()
    found = []
    start = time.perf_counter()
    for number in range(runs):
        mine = rows[number : number + steps]
        config = {"lr": lrs[number % len(lrs)], "seed": float(number)} if lrs else None

        def train(mine: list[Row] = mine, config: Row | None = config) -> None:
            if config is not None:
                peer.configure(config)
            for step, row in enumerate(mine, 1):
                peer.log(step, row)

        found.append(peer.during(f"run {number}", train))
    _sync(peer.folder)
    return {"runs": found, "seconds": time.perf_counter() - start}


def read_many(peer: Peer, what: str, runs: list[str], data: str, steps: int) -> dict[str, float]:
    """Read something of every run, time it, and compare it: `what` is lasts, bests, or long."""
    expected = Data(data)
    _get_ready(peer)
    key = expected.keys[0]
    gc.collect()
    start = time.perf_counter()
    found: Any = getattr(peer, what)(*([] if what == "lasts" else [key]))
    taken = time.perf_counter() - start
    column = expected.columns[key]
    if what == "lasts":
        for place, run in enumerate(runs):
            last = [values[place + steps - 1] for values in expected.columns.values()]
            _same([found[run][name] for name in expected.keys], last, peer.keeps)
    elif what == "bests":
        best = [min(column[place : place + steps]) for place in range(len(runs))]
        _same([found[run] for run in runs], best, peer.keeps)
    else:
        values = {run: part["value"] for run, part in found.groupby("run")}
        for place, run in enumerate(runs):
            _same(values[run], column[place : place + steps], peer.keeps)
    return {"seconds": taken}


def ask_many(
    peer: Peer, what: str, runs: list[str], data: str, steps: int, lrs: list[float]
) -> dict[str, float]:
    """Ask a question of many runs, time it, and compare: `what` is listed, filtered, or grouped."""
    expected = Data(data)
    _get_ready(peer)
    key = expected.keys[0]
    column = expected.columns[key]
    known = {
        run: (lrs[number % len(lrs)], column[number + steps - 1]) for number, run in enumerate(runs)
    }
    lr, below = lrs[0], median([last for _, last in known.values()])
    gc.collect()
    start = time.perf_counter()
    if what == "listed":
        found: Any = list(peer.listed(key))
    elif what == "filtered":
        found = list(peer.filtered(key, lr, below))
    else:
        found = dict(peer.grouped(key))
    taken = time.perf_counter() - start
    keeps = peer.keeps or 1e-12  # of a mean the last digit depends on the order
    if what == "listed":
        if {run: of for run, of, _ in found} != {run: of for run, (of, _) in known.items()}:
            raise SystemExit("the runs or their learning rates are not what was written")
        lasts = {run: last for run, _, last in found}
        _same([lasts[run] for run in runs], [known[run][1] for run in runs], keeps)
    elif what == "filtered":
        right = [(last, run) for run, (of, last) in known.items() if of == lr and last < below]
        if found != [run for _, run in sorted(right)]:
            raise SystemExit("the runs that were found are not those that were asked for")
    else:
        means = {of: mean(last for at, last in known.values() if at == of) for of in lrs}
        _same([found[of] for of in lrs], means.values(), keeps)
    return {"seconds": taken}


WORKS: dict[str, Callable[..., object]] = {
    work.__name__: work for work in (prepare, write, read, write_many, read_many, ask_many)
}


# -- what they need -----------------------------------------------------------------------------


def _get_ready(peer: Peer) -> None:
    """Import what reading would wait for: that is measured by itself, and once a process."""
    for name in peer.reads_with:
        import_module(name)
    with suppress(ImportError):
        import pandas as pd

        pd.DataFrame({"name": [0.0]})  # the first frame with names imports more


def _same(found: Iterable[float], expected: Iterable[float], keeps: float = 0.0) -> None:
    found, expected = list(found), list(expected)
    if len(found) != len(expected):
        raise SystemExit(f"{len(found)} values were read where {len(expected)} were written")
    for place, (one, other) in enumerate(zip(found, expected, strict=True)):
        if abs(one - other) > keeps * abs(other):
            raise SystemExit(f"value {place}: {one!r} was read where {other!r} was written")


def _spread(nanoseconds: list[int]) -> dict[str, float]:
    return {
        "median": median(nanoseconds),
        "mean": mean(nanoseconds),
        "p99": quantiles(nanoseconds, n=100)[98],
        "longest": max(nanoseconds),
    }


def _sync(folder: Path) -> None:
    """Wait until the disk has every file."""
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # others may be at work in the folder
            if path.is_file():
                handle = os.open(path, os.O_RDONLY)
                os.fsync(handle)
                os.close(handle)


def _fresh_peak() -> int:
    """Begin to measure the peak anew; return the memory in use."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _memory(os.getpid(), "VmRSS")


def _peak() -> int:
    """Return the most memory that this process and those under it have had."""
    return sum(_memory(process, "VmHWM") for process in (os.getpid(), *_below(os.getpid())))


def _below(parent: int) -> Iterator[int]:
    """Yield every process that this one started, and those that they started."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it may have ended
            # The name, in brackets, may hold anything; the parent is the second field after it.
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                child = int(path.parent.name)
                yield child
                yield from _below(child)


def _memory(process: int, name: str) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0
