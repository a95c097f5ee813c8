"""The page of results, made from what the benchmarks reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

HEAD = """\
# What was measured

Written by `python benchmarks/run.py`; do not edit. Times drift with the machine and its mood:
compare figures within a table, which were measured together, and run it yourself before you quote
one. Where a figure has brackets, it is the median, with the fastest and the slowest behind it.
"""

PICTURE = """\
![Bars on logarithmic scales, traininglog beside its peers]({name}.svg)

Shorter is better; the figure behind a bar is how many times ours it is. A name with a comma is one
of the ways that a peer offers; "how" in the first tables says what it is.
"""


def render(reports: Mapping[str, Mapping[str, Any]], picture: str = "RESULTS") -> str:
    """Return the page, in Markdown: facts, peers, the picture, and a section for each report."""
    newest = max(reports.values(), key=lambda report: str(report["facts"]["date"]))["facts"]
    parts = [HEAD, table(["", ""], [[name, value] for name, value in newest.items()])]
    peers: dict[str, str] = {}
    for report in reports.values():
        peers |= report["peers"]
    if peers:
        parts.append(table(["peer", "version"], [[name, said] for name, said in peers.items()]))
    if any(bars["values"] for report in reports.values() for bars in report["bars"]):
        parts.append(PICTURE.format(name=picture))
    for name, report in reports.items():
        parts.append(f"## {name}\n\n{report['claim']}\n\n    python benchmarks/{name}.py\n")
        other = [
            f"{fact} {value}"
            for fact, value in report["facts"].items()
            if newest.get(fact) != value
        ]
        if other:
            parts.append(f"Measured apart from the rest, with {', '.join(other)}.\n")
        parts += [
            f"**{found['title']}**\n\n{table(found['columns'], found['rows'])}"
            for found in report["tables"]
        ]
        parts += [f"{note}\n" for note in report["notes"]]
    return "\n".join(parts)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [columns, ["---", *["--:"] * (len(columns) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
