"""`import traininglog` takes at most 50 ms and brings nothing heavy with it.

    python benchmarks/import_time.py [--quick]

Each line in fresh processes, with a warm cache: the milliseconds that the statement takes, and
which heavy modules it loaded. `import pandas` stands beside it for scale.
"""

from __future__ import annotations

import json
import subprocess
import sys

from measure import Report, Table, Timing, run_script

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


def measure(quick: bool) -> Report:
    times = 2 if quick else 15
    report = Report("Importing traininglog takes at most 50 ms and nothing heavy with it.", [])
    table = Table("In fresh processes", ["statement", "ms", "modules", "heavy ones among them"])
    seconds: dict[str, list[float]] = {statement: [] for statement in STATEMENTS}
    loaded: dict[str, tuple[list[str], int]] = {}
    for _ in range(times + 1):  # the first warms the caches
        for statement in STATEMENTS:
            code = CHILD.format(statement=statement, heavy=HEAVY)
            printed = subprocess.check_output([sys.executable, "-c", code], text=True)
            taken, heavy, count = json.loads(printed)
            seconds[statement].append(taken)
            loaded[statement] = (heavy, count)
    for statement, taken in seconds.items():
        heavy, count = loaded[statement]
        timing = Timing(taken[1:])
        table.add(f"`{statement}`", timing.show("ms"), count, ", ".join(heavy) or "none")
        if statement == "import traininglog":
            report.figures = {"import traininglog, ms": timing.median * 1e3}
    report.tables.append(table)
    return report


if __name__ == "__main__":
    run_script(measure)
