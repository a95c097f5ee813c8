"""`import traininglog` takes at most 50 ms and brings nothing heavy with it.

    python benchmarks/import_time.py [--quick] [--no-peers]

Each line in fresh processes, with a warm cache: the milliseconds that the statement takes, and
which heavy modules it loaded. `import pandas` stands beside it for scale, and so do the peers.
"""

from __future__ import annotations

import json
import subprocess
import sys

from contenders import Contenders
from environments import PEERS, surroundings
from measure import Bars, Report, Table, Timing, folder, run_script

HEAVY = ("sqlite3", "sqlalchemy", "alembic", "numpy", "pandas", "matplotlib", "typer", "rich",
         "fastapi", "starlette", "torch")  # fmt: skip

STATEMENTS = {
    "import traininglog": True,
    "from traininglog import TrainingLog": True,
    "from traininglog import SQLiteLog": True,
    "from traininglog import Store": True,
    "from traininglog import SQLiteLog; SQLiteLog(':memory:')[1]['loss'] = 0.5": True,
    "import sqlalchemy": False,
    "import pandas": False,
}

CHILD = """
import time
start = time.perf_counter()
{statement}
taken = time.perf_counter() - start
import json, sys
print(json.dumps([taken, [name for name in {heavy} if name in sys.modules], len(sys.modules)]))
"""


def measure(quick: bool, contenders: Contenders) -> Report:
    times = 2 if quick else 15
    report = Report("Importing traininglog takes at most 50 ms and nothing heavy with it.")
    table = Table("In fresh processes", ["statement", "ms", "modules", "heavy ones among them"])
    bars = Bars("importing it", "ms")
    for statement, (timing, heavy, count) in ask(sys.executable, list(STATEMENTS), times).items():
        table.add(f"`{statement}`", timing.show("ms"), count, ", ".join(heavy) or "none")
        if statement in ("import traininglog", "from traininglog import SQLiteLog"):
            bars.values[statement] = timing.median * 1e3
            report.figures[f"{statement}, ms"] = timing.median * 1e3
    report.tables.append(table)
    peers = Table("The peers, each with its own Python", ["who", "statement", "ms", "modules"])
    pythons = {one.peer: one.python for one in contenders if not one.ours}
    for name, python in pythons.items():
        peer = PEERS[name]
        if peer.imports is not None:
            with folder() as place:
                variables = surroundings(name, place)
                asked = ask(str(python), [peer.imports], min(times, 5), variables)
            ((timing, _, count),) = asked.values()
            peers.add(peer.name, f"`{peer.imports}`", timing.show("ms"), count)
            bars.values[peer.name] = timing.median * 1e3
    report.tables.append(peers)
    report.bars.append(bars)
    return report


def ask(
    python: str, statements: list[str], times: int, variables: dict[str, str] | None = None
) -> dict[str, tuple[Timing, list[str], int]]:
    """Time statements in fresh processes, in turns; return the heavy modules and how many."""
    seconds: dict[str, list[float]] = {statement: [] for statement in statements}
    loaded: dict[str, tuple[list[str], int]] = {}
    for _ in range(times + 1):  # the first warms the caches
        for statement in statements:
            code = CHILD.format(statement=statement, heavy=HEAVY)
            printed = subprocess.check_output([python, "-c", code], text=True, env=variables)
            taken, heavy, count = json.loads(printed.splitlines()[-1])
            seconds[statement].append(taken)
            loaded[statement] = (heavy, count)
    return {
        statement: (Timing(taken[1:]), *loaded[statement]) for statement, taken in seconds.items()
    }


if __name__ == "__main__":
    run_script(measure)
