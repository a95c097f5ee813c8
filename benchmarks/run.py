"""Run every benchmark and write their figures to benchmarks/RESULTS.md, with a picture.

    python benchmarks/run.py                     all of them, half an hour or more
    python benchmarks/run.py --continue          go on where that was interrupted
    python benchmarks/run.py size lineage        some: prints, and writes nothing
    python benchmarks/run.py --update size       some, and put them into RESULTS.md
    python benchmarks/run.py --quick             little data, to see that they work: writes nothing
    python benchmarks/run.py --no-peers          only who needs no installing: writes nothing
    python benchmarks/run.py --json figures.json the figures for a program, too

They run one after the other, each in a process of its own. What the page is made of is kept in
benchmarks/results.json; what a run has so far, in benchmarks/.partial.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from measure import add_peer_options, fresh, machine
from page import render
from picture import draw

HERE = Path(__file__).resolve().parent
RESULTS, PARTIAL = HERE / "results.json", HERE / ".partial.json"
PAGE = HERE / "RESULTS.md"

#: In the order of the promises that they measure.
NAMES = (
    "assignment", "readback", "segments", "sealing", "size", "many_runs", "experiments",
    "comparing", "memory", "import_time", "lineage", "monitors", "loop", "trials", "lenses",
    "concurrency", "load",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(NAMES)}")
    add_peer_options(parser)
    parser.add_argument("--continue", action="store_true", dest="go_on", help="what is still to do")
    parser.add_argument("--update", action="store_true", help="put them into RESULTS.md")
    parser.add_argument("--json", type=Path, help="where to write the figures as JSON")
    parser.add_argument("--output", type=Path, help="where to write the page, its picture beside")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    partly = options.quick or options.no_peers or options.peers
    if options.update and (partly or not options.names):
        parser.error("--update wants names, and neither --quick, --no-peers nor --peers")
    if options.go_on and (partly or options.names):
        parser.error("--continue is for a run of everything")
    whole = not (options.names or partly)
    # What is kept while it goes: of a whole run apart, so that the page is of one run.
    kept = RESULTS if options.update else PARTIAL if whole else None
    known = options.go_on or (options.update and RESULTS.exists())
    reports = load(kept) if known else {}
    failed = []
    for name in options.names or NAMES:
        if options.go_on and name in reports:
            continue
        try:
            reports[name] = measured(name, options)
        except subprocess.CalledProcessError as error:
            print(f"{name}: ended with status {error.returncode}", file=sys.stderr)
            failed.append(name)
            continue
        if kept:
            save(kept, reports)
        reports = {name: reports[name] for name in NAMES if name in reports}
        if options.update or options.output:  # so that an end before the last leaves a true page
            publish(reports, options.output or PAGE)
    if options.json:
        save(options.json, reports)
    if whole and not failed:
        save(RESULTS, reports)
        PARTIAL.unlink()
        publish(reports, PAGE)
    elif not options.update and reports and options.output is None:
        print(render(reports))
    if failed:
        hint = "; --continue runs them again" if whole else ""
        raise SystemExit(f"failed: {', '.join(failed)}{hint}")


def measured(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run one benchmark; return its report, with what the machine is."""
    flags = [
        flag for flag in ("--quick", "--no-peers") if getattr(options, flag[2:].replace("-", "_"))
    ]
    if options.peers:
        flags += ["--peers", options.peers]
    print(f"{name}: ...", file=sys.stderr, flush=True)
    start = time.perf_counter()
    report: dict[str, Any] = fresh(HERE / f"{name}.py", "--json", *flags)
    report["facts"] = machine()
    report["seconds"] = time.perf_counter() - start
    print(f"{name}: {report['seconds']:.1f} s", file=sys.stderr, flush=True)
    return report


def publish(reports: dict[str, Any], path: Path) -> None:
    """Write the page and its picture."""
    draw(reports, path.with_suffix(".svg"))
    path.write_text(render(reports, path.stem), encoding="utf-8")


def load(path: Path | None) -> dict[str, Any]:
    """Return the reports that are kept in a file; none where there is no file."""
    if path is None or not path.exists():
        return {}
    reports: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return reports


def save(path: Path, reports: dict[str, Any]) -> None:
    """Keep reports in a file; an interruption leaves the old one or the new one."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(reports, indent=1) + "\n", encoding="utf-8")
    new.replace(path)


if __name__ == "__main__":
    main()
