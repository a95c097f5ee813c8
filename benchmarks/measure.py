"""What the benchmarks share: the data, the clock, and how a figure is shown.

A benchmark is a script with a function `measure(quick, contenders)` that returns a `Report`;
`run_script` gives it its command line. Times drift from run to run and from machine to machine:
compare figures of one table, which were measured together.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from contenders import Contenders
from environments import PEERS

# What they start has its modules compiled, as installed packages have.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

KEYS = tuple(f"metric_{number}" for number in range(10))

_PACKAGES = ("traininglog", "SQLAlchemy", "numpy", "pandas", "pyarrow")


@dataclass
class Timing:
    """How long something took, several times over, in seconds."""

    seconds: list[float]

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.seconds)

    def show(self, unit: str) -> str:
        """Return the median, and in brackets the fastest and the slowest, in a unit."""
        factor = {"s": 1.0, "ms": 1e3, "µs": 1e6, "ns": 1e9}[unit]
        return spread([seconds * factor for seconds in self.seconds])


def spread(found: Sequence[float]) -> str:
    """Return the median, and in brackets the least and the greatest; of one only itself."""
    middle = number(median(found))
    return middle if len(found) == 1 else f"{middle} ({number(min(found))}-{number(max(found))})"


@dataclass
class Table:
    """Figures that were measured together."""

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        """Append a line."""
        self.rows.append([cell if isinstance(cell, str) else number(cell) for cell in cells])


@dataclass
class Bars:
    """Figures to draw beside each other: less is better, and ours come first."""

    title: str
    unit: str
    values: dict[str, float] = field(default_factory=dict)  # by the name of who was measured


@dataclass
class Report:
    """What a benchmark has to say."""

    claim: str
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)  # the few that are to be reached
    bars: list[Bars] = field(default_factory=list)
    peers: dict[str, str] = field(default_factory=dict)  # their versions, or why they are missing


def number(value: Any) -> str:
    """Return a number in three significant digits, a whole one in full, and a dash for none."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}"


def clock(call: Callable[[], Any], times: int) -> Timing:
    """Time a call, several times over."""
    return clock_beside({"": call}, times)[""]


def clock_beside(calls: Mapping[str, Callable[[], Any]], times: int) -> dict[str, Timing]:
    """Time some calls in turns, so that whatever else the machine does hits them alike."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(times):
        for name, call in calls.items():
            gc.collect()
            start = time.perf_counter()
            result = call()
            seconds[name].append(time.perf_counter() - start)
            del result
    return {name: Timing(found) for name, found in seconds.items()}


def fresh(script: str | Path, *arguments: object) -> Any:
    """Run a script in a new interpreter and return the JSON that it prints last."""
    command = [sys.executable, str(script), *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def peak_memory() -> int:
    """Return the most memory that this process has had, in bytes.

    Not getrusage's, which begins with that of the process that started this one.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this system does not tell the peak of a process's memory")


def noisy(
    rows: int, keys: Sequence[str] = KEYS, *, single: bool = False, bits: int | None = None
) -> dict[str, list[float]]:
    """Return columns as a training yields them, a trend and noise.

    In float32 if `single`; with `bits`, so many binary places after the point.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    steps = np.arange(1, rows + 1)
    columns = {}
    for place, key in enumerate(keys):
        values = 1 / np.sqrt(steps) + 0.05 * rng.standard_normal(rows) + place
        if bits is not None:
            values = np.round(values * 2.0**bits) / 2.0**bits
        columns[key] = (values.astype(np.float32) if single else values).tolist()
    return columns


def as_rows(columns: Mapping[str, list[float]]) -> list[dict[str, float]]:
    """Return columns as a list of rows."""
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Give a folder that is removed in the end; on the disk that TMPDIR names."""
    path = Path(tempfile.mkdtemp(prefix="traininglog-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def machine() -> dict[str, str]:
    """Return what the figures depend on."""
    versions = {name: _version(name) for name in _PACKAGES}
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cores": str(os.cpu_count()),
        "processor": _processor(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
    } | versions


def add_peer_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say who is measured beside us."""
    parser.add_argument("--quick", action="store_true", help="little data: only to see it work")
    parser.add_argument(
        "--no-peers",
        action="store_true",
        help="make no environments: only who needs nothing that is not here",
    )
    parser.add_argument("--peers", default="", metavar="NAMES", help=f"of: {', '.join(PEERS)}")


def run_script(measure: Callable[[bool, Contenders], Report]) -> None:
    """Measure as the command line says, and print it."""
    parser = argparse.ArgumentParser(
        description=sys.modules["__main__"].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_peer_options(parser)
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    options = parser.parse_args()
    named = tuple(filter(None, options.peers.split(",")))
    if unknown := set(named) - set(PEERS):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    contenders = Contenders(named, plain=options.no_peers)
    report = measure(options.quick, contenders)
    report.peers |= contenders.versions()
    report.notes += contenders.failures
    if options.json:
        print(json.dumps(asdict(report)))
        return
    print("  ".join(f"{name} {value}" for name, value in machine().items()))
    for name, version_or_reason in report.peers.items():
        print(f"{name}: {version_or_reason}")
    print(f"\n{report.claim}")
    for table in report.tables:
        print(f"\n{table.title}")
        _print_table([table.columns, *table.rows])
    for note in report.notes:
        print(f"\n{note}")


def _print_table(lines: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        first, *others = (
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  " + "  ".join([first, *others]))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
