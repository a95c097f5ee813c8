"""`traininglog export`: runs as CSV, Parquet or JSON lines."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO
from uuid import UUID

import typer

from traininglog.cli.globs import require
from traininglog.cli.mistakes import Mistake, asking
from traininglog.cli.options import ForceOption, KeysOption, RunsArgument, StoreOption
from traininglog.cli.output.files import check_target, complete, stdout_is_wanted
from traininglog.cli.output.formats import (
    ExportedRun,
    ExportedRuns,
    write_csv,
    write_jsonl,
    write_parquet,
)
from traininglog.cli.output.terminal import note, progress
from traininglog.cli.stores import opened, patterns, reading, several
from traininglog.display.plain_text import counted, visible

if TYPE_CHECKING:
    from traininglog.columns import Belonging
    from traininglog.sql.runs.stream import Stream
    from traininglog.sqlite.store import Store

_SUFFIXES = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet", ".jsonl": "jsonl",
             ".ndjson": "jsonl"}  # fmt: skip


class Layout(StrEnum):
    """The meaning of a line: a row (wide) or a value (long)."""

    WIDE = "wide"
    LONG = "long"


def export(
    runs: RunsArgument = None,
    store: StoreOption = None,
    every: Annotated[bool, typer.Option("--all", "-a", help="Export all experiments.")] = False,
    keys: KeysOption = None,
    start: Annotated[
        int | None, typer.Option(help="Start at this time. Default: the first.")
    ] = None,
    stop: Annotated[
        int | None, typer.Option(help="Stop before this time. Default: after the last.")
    ] = None,
    layout: Annotated[
        Layout | None,
        typer.Option(
            help="Write a line per row, or per value. Default: wide for one run, else long."
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="Write csv, parquet or jsonl. Default: by suffix, or csv.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help='Write to this file. Default, and "-": stdout.'
        ),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Export runs as CSV, JSON lines or Parquet.

    A resumed run includes the rows that it sees of its ancestors. --all does not export these
    ancestors once more. Several runs, or --all, get a column for the run. Their long lines end with
    "own": it is false where the value belongs to another run that shows it, too. A key with the
    name "time" or "run" keeps its name in wide lines. Then the column of the time or the run is
    log.time or log.run. Every format tells None, NaN and absent apart.

    CSV: floats have all their digits. NaN is NaN, None is None, absent is an empty cell. A text
    that a spreadsheet would run as a formula gets a leading '. A long line is time, key, value,
    type.

    JSON lines: a wide line is {"time", "row": {KEY: VALUE}}. An absent key is not in the row. A
    long line is {"time", "key", "value", "type"}. NaN is the string "NaN", infinities are
    "Infinity" and "-Infinity", None is null. The type ("float", "text", ...) tells the float NaN
    from the text "NaN".

    Parquet: wide has a column per key. Its type is number or bytes where all values are, else text.
    Absent is null. Long has the columns time, key, value (a number or null), text (of other values)
    and type. The command writes it in parts, so the memory is bounded.

    Example: traininglog export --all --keys 'val/*' --output val.parquet
    """
    kind = _format(kind, output)
    if runs and every:
        raise Mistake("runs are named, and --all is given: drop one of the two")
    to_stdout = stdout_is_wanted(output)
    if kind == "parquet":
        if to_stdout:
            raise Mistake("Parquet is written to files only: name one with --output")
        from traininglog import arrow  # noqa: F401 - raises early if pyarrow is missing
    if output is not None and not to_stdout:
        check_target(output, force=force)
    with opened(store) as file:
        chosen = [info.uuid for info in file.iter_runs()] if every else several(file, runs)
        with_run = every or len(chosen) > 1
        long = layout is Layout.LONG if layout is not None else with_run
        if to_stdout:
            with _stdout() as stream:
                _write(stream, kind, _parts(file, chosen, keys, start, stop), long, with_run)
            return
        assert output is not None  # noqa: S101 - it does not go to stdout
        with complete(output, force=force) as part, progress("Exporting") as tell:
            if kind == "parquet":
                with _streaming(file, chosen, keys, start, stop) as found:
                    write_parquet(part, found, tell, long=long, with_run=with_run)
            else:
                parts = _counted(_parts(file, chosen, keys, start, stop), len(chosen), tell)
                with part.open("w", encoding="utf-8", errors="backslashreplace") as stream:
                    _write(stream, kind, parts, long, with_run)
        note(f"exported {counted(len(chosen), 'run')} to {output}")


def _format(kind: str | None, output: Path | None) -> str:
    if kind is not None:
        if kind not in ("csv", "parquet", "jsonl"):
            raise Mistake(f"there is no format {kind!r}: use csv, parquet or jsonl")
        return kind
    if stdout_is_wanted(output):
        return "csv"
    assert output is not None  # noqa: S101 - it does not go to stdout
    known = _SUFFIXES.get(output.suffix.lower())
    if known is None:
        raise Mistake(
            f"the suffix of {output} names no format: use .csv, .parquet or .jsonl, or --format"
        )
    return known


def _parts(
    store: Store, runs: list[UUID], keys: list[str] | None, start: int | None, stop: int | None
) -> Iterator[ExportedRun]:
    from traininglog.sqlite.stream import belongings

    wanted = patterns(keys)
    shared: dict[str, Belonging] = {}
    if len(runs) > 1:
        with asking():
            shared = belongings(store, runs, wanted, start, stop)
    for run in runs:
        with asking():
            if len(runs) == 1:  # a key may be in the store, but not in this run
                with reading(store, run) as log:
                    require(wanted, log.keys_seen() if wanted else ())
                    found = log.columns(wanted, start=start, stop=stop)
            else:
                found = store.columns([run], wanted, start=start, stop=stop).get(run.hex, [])
        yield ExportedRun(run.hex, found, shared.get(run.hex))


@contextmanager
def _streaming(
    store: Store, runs: list[UUID], keys: list[str] | None, start: int | None, stop: int | None
) -> Iterator[Stream]:
    from traininglog.sqlite.stream import streaming

    wanted = patterns(keys)
    with ExitStack() as stack:
        with asking():
            if wanted and len(runs) == 1:  # a key may be in the store, but not in this run
                with reading(store, runs[0]) as log:
                    require(wanted, log.keys_seen())
            found = stack.enter_context(streaming(store, runs, wanted, start, stop))
        yield found


def _counted(
    parts: ExportedRuns, total: int, tell: Callable[[int, int], None]
) -> Iterator[ExportedRun]:
    for done, part in enumerate(parts, 1):
        yield part
        tell(done, total)


def _write(stream: TextIO, kind: str, parts: ExportedRuns, long: bool, with_run: bool) -> None:
    if kind == "jsonl":
        write_jsonl(stream, parts, long=long, with_run=with_run)
    else:
        shown = visible if stream.isatty() else str
        write_csv(stream, parts, long=long, with_run=with_run, shown=shown)


@contextmanager
def _stdout() -> Iterator[TextIO]:
    """Yield stdout as UTF-8 in any locale, as a redirected file may be read elsewhere."""
    sys.stdout.flush()
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None or sys.stdout.isatty():
        yield sys.stdout
        return
    stream = io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace", newline="")
    try:
        yield stream
        stream.flush()
    finally:
        stream.detach()
