"""`import traininglog` takes at most 50 ms, `traininglog --help` 150 ms over the interpreter.

    python benchmarks/import_time.py [--quick] [--no-peers]

Each line in fresh processes, with a warm cache: the milliseconds that the statement takes, and
which heavy modules it loaded. `import pandas` stands beside it for scale, and so do the peers.
The commands are timed as a shell would: the whole process, less one that does nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

from contenders import Contenders
from environments import PEERS, surroundings
from measure import Bars, Report, Table, Timing, folder, run_script

from traininglog import SQLiteLog

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

#: What the command line is asked; a store of a few runs is named behind those that need one.
COMMANDS = {"--help": False, "--version": False, "runs --help": False, "runs": True, "show": True,
            "tail": True}  # fmt: skip

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
    report = Report("Importing traininglog takes at most 50 ms, its command line's help 150.")
    table = Table("In fresh processes", ["statement", "ms", "modules", "heavy ones among them"])
    bars = Bars("importing it", "ms")
    for statement, (timing, heavy, count) in ask(sys.executable, list(STATEMENTS), times).items():
        table.add(f"`{statement}`", timing.show("ms"), count, ", ".join(heavy) or "none")
        if statement in ("import traininglog", "from traininglog import SQLiteLog"):
            bars.values[statement] = timing.median * 1e3
            report.figures[f"{statement}, ms"] = timing.median * 1e3
    report.tables.append(table)
    report.tables.append(commands(times, report))
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


def commands(times: int, report: Report) -> Table:
    """Time commands, in turns with a process that does nothing."""
    table = Table("The command line, over the bare interpreter", ["command", "ms"])
    with folder() as place:
        for _ in range(3):
            with SQLiteLog(place / "runs.db") as log:
                for step in range(20):
                    log[step].update(loss=1 / (step + 1), lr=0.1)
        asked = {"": ["-c", "pass"]} | {
            command: ["-m", "traininglog", *command.split()]
            + (["--store", str(place / "runs.db")] if on_store else [])
            for command, on_store in COMMANDS.items()
        }
        seconds: dict[str, list[float]] = {command: [] for command in asked}
        for _ in range(times + 1):  # the first warms the caches
            for command, words in asked.items():
                start = time.perf_counter()
                subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
                seconds[command].append(time.perf_counter() - start)
    bare = Timing(seconds.pop("")[1:]).median
    for command, taken in seconds.items():
        timing = Timing([each - bare for each in taken[1:]])
        table.add(f"`traininglog {command}`", timing.show("ms"))
        if command in ("--help", "runs"):
            report.figures[f"traininglog {command}, over the interpreter, ms"] = timing.median * 1e3
    return table


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
