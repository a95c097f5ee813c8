"""`traininglog runs`: the runs of a store, one line per run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from traininglog.cli.mistakes import Mistake, asking
from traininglog.cli.options import JsonOption, LimitOption, StoreOption
from traininglog.cli.output.json_output import print_json
from traininglog.cli.output.terminal import Cell, Heading, note, on_terminal, table
from traininglog.cli.output.text import brief, moment, point
from traininglog.cli.stores import as_dict, opened, shortest
from traininglog.selection import Mode, apart
from traininglog.values import StoredValue

if TYPE_CHECKING:
    from traininglog.run_info import RunInfo
    from traininglog.sqlite.store import Store

# The columns of a frame of runs beside the requested keys.
_OF_A_RUN = ("uuid", "name", "state", "created", "updated", "host", "resumed_from", "resumed_at",
             "first", "last", "rows", "values")  # fmt: skip

#: The style of each state on a terminal.
STYLES = {"running": "bold cyan", "finished": "green", "failed": "bold red", "lost": "yellow"}


class ShownColumn(NamedTuple):
    """A column of values: the last or the best value of a key."""

    heading: str
    key: str
    of_best: bool

    def has(self, info: RunInfo) -> bool:
        """Return whether a run has a value for this column."""
        return self.key in (info.best if self.of_best else info.last)

    def of(self, info: RunInfo) -> StoredValue:
        """Return a run's value for this column."""
        return info.best[self.key] if self.of_best else info.last[self.key].value


class RunState(StrEnum):
    """The state of a run."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    LOST = "lost"


def runs(
    store: StoreOption = None,
    keys: Annotated[
        list[str] | None,
        typer.Option(
            "--keys", "-k", metavar="GLOB", help="Show the last values of these keys. Repeatable."
        ),
    ] = None,
    best: Annotated[
        list[str] | None,
        typer.Option(
            "--best",
            metavar="KEY[:max]",
            help="Show the least (or greatest) number of a key. Repeatable.",
        ),
    ] = None,
    state: Annotated[RunState | None, typer.Option(help="List only runs in this state.")] = None,
    name: Annotated[
        str | None, typer.Option(metavar="GLOB", help="List only runs whose name fits.")
    ] = None,
    limit: LimitOption = None,
    json: JsonOption = False,
) -> None:
    """List the runs of a store, the latest last.

    RUN has as many digits of the UUID as tell the run from the others. TIME is the last time that
    the run logged. FROM is the run that it was resumed from, and the last time that it sees of it.

    Example: traininglog runs --keys loss --best accuracy:max --state running
    """
    with opened(store) as file:
        with asking():
            modes = _modes(best or ())
            shown = _columns(file.keys_seen(keys) if keys else [], modes)
            found = file.iter_runs(
                keys,
                state=None if state is None else state.value,
                name=name,
                limit=limit,
                best=modes,
            )
            infos = list(found)
        if json:
            print_json([_record(info, shown, last=bool(keys), best=bool(best)) for info in infos])
        elif infos:
            _print(file, infos, shown)
        else:
            note(f"no runs{' like that' if state or name else ' yet'} in {file.path}")


def _columns(keys: Sequence[str], modes: Mapping[str, Mode]) -> list[ShownColumn]:
    """Return the columns: one for each key's last value, and one for each key's best value."""
    taken = set(_OF_A_RUN)
    columns = []
    for key, of_best in [*((key, False) for key in keys), *((key, True) for key in modes)]:
        heading = apart(f"best.{key}" if of_best else key, taken)
        taken.add(heading)
        columns.append(ShownColumn(heading, key, of_best))
    return columns


def _print(store: Store, infos: Sequence[RunInfo], columns: Sequence[ShownColumn]) -> None:
    now = datetime.now(UTC) if on_terminal() else None
    headings = [
        Heading("RUN"), Heading("NAME", cut=True), Heading("STATE"), Heading("CREATED"),
        Heading("TIME", right=True), Heading("ROWS", right=True), Heading("VALUES", right=True),
        Heading("FROM"), *(Heading(column.heading, right=True, cut=True) for column in columns),
    ]  # fmt: skip
    rows: list[list[Cell | str]] = []
    for info in infos:
        parent = "-"
        if info.resumed_from is not None:
            parent = f"{info.resumed_from.hex[:8]} @ {point(info.resumed_at)}"
        rows.append([
            Cell(shortest(store, info.uuid.hex), "bold"),
            info.name or "-",
            Cell(info.state, STYLES[info.state]),
            moment(info.created, now),
            "-" if info.last_time is None else str(info.last_time),
            str(info.rows), str(info.values), Cell(parent, "dim"),
            *(brief(column.of(info), 24) if column.has(info) else "-" for column in columns),
        ])  # fmt: skip
    if not any(info.resumed_from for info in infos):
        del headings[7]
        for row in rows:
            del row[7]
    table(headings, rows)


def _modes(best: Sequence[str]) -> dict[str, Mode]:
    """Return key -> mode from options such as ``loss`` (its minimum) and ``accuracy:max``."""
    modes: dict[str, Mode] = {}
    for asked in best:
        key, _, mode = asked.rpartition(":")
        if not key or mode not in ("min", "max"):
            key, mode = asked, "min"
        if key in modes:
            raise Mistake(f"--best names {key!r} twice: drop one, a list shows one best per key")
        modes[key] = "max" if mode == "max" else "min"
    return modes


def _record(
    info: RunInfo, columns: Sequence[ShownColumn], *, last: bool, best: bool
) -> dict[str, StoredValue]:
    record = as_dict(info)
    if last:
        shown = (column for column in columns if not column.of_best and column.has(info))
        record["last_values"] = {column.heading: column.of(info) for column in shown}
    if best:
        shown = (column for column in columns if column.of_best and column.has(info))
        record["best_values"] = {column.key: column.of(info) for column in shown}
    return record
