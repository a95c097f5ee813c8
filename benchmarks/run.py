"""Run every benchmark and write their figures to benchmarks/RESULTS.md.

    python benchmarks/run.py                     all of them, a few minutes
    python benchmarks/run.py size lineage        some: prints, and writes nothing
    python benchmarks/run.py --quick             little data, to see that they work: writes nothing
    python benchmarks/run.py --json figures.json the figures for a program, too

They run one after the other, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from measure import fresh, machine

HERE = Path(__file__).resolve().parent

#: In the order of the promises that they measure.
NAMES = (
    "assignment", "readback", "many_runs", "size", "memory", "import_time", "lineage",
    "concurrency",
)  # fmt: skip

HEAD = """\
# What was measured

Written by `python benchmarks/run.py`; do not edit. Times drift with the machine and its mood:
compare figures within a table, which were measured together, and run it yourself before you quote
one. Where a figure has brackets, it is the median, with the fastest and the slowest behind it.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="little data: only to see them work")
    parser.add_argument("--json", type=Path, help="where to write the figures as JSON")
    parser.add_argument("--output", type=Path, help="where to write the tables")
    options = parser.parse_args()
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    reports = {}
    for name in options.names or NAMES:
        start = time.perf_counter()
        flags = ["--quick"] if options.quick else []
        reports[name] = fresh(HERE / f"{name}.py", "--json", *flags)
        print(f"{name}: {time.perf_counter() - start:.1f} s", file=sys.stderr)
    facts = machine()
    text = render(facts, reports)
    if options.json:
        options.json.write_text(json.dumps({"machine": facts, "reports": reports}, indent=1) + "\n")
    output = options.output
    if output is None and not (options.quick or options.names):
        output = HERE / "RESULTS.md"
    if output is None:
        print(text)
    else:
        output.write_text(text, encoding="utf-8")


def render(facts: dict[str, str], reports: dict[str, Any]) -> str:
    """Return the page."""
    parts = [HEAD, table(["", ""], [[name, value] for name, value in facts.items()])]
    for name, report in reports.items():
        parts.append(f"## {name}\n\n{report['claim']}\n\n    python benchmarks/{name}.py\n")
        parts += [
            f"**{found['title']}**\n\n{table(found['columns'], found['rows'])}"
            for found in report["tables"]
        ]
        parts += [f"{note}\n" for note in report["notes"]]
    return "\n".join(parts)


def table(columns: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [columns, ["---", *["--:"] * (len(columns) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
