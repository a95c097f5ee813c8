"""`traininglog runs`: the runs of a store, one line per run."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from traininglog.cli.comparing.chosen_columns import ChosenColumns
from traininglog.cli.comparing.groups import (
    print_groups,
    print_groups_as_csv,
    print_groups_as_json,
)
from traininglog.cli.mistakes import Mistake, asking
from traininglog.cli.options import JsonOption, LimitOption, SortOption, StoreOption, WhereOption
from traininglog.cli.output.formats import write_table
from traininglog.cli.output.json_output import print_json
from traininglog.cli.output.terminal import (
    ASKED,
    DETAIL,
    IDENTITY,
    USUAL,
    Cell,
    Heading,
    note,
    on_terminal,
    table,
)
from traininglog.cli.output.text import brief, moment, point
from traininglog.cli.stores import as_dict, opened, shortest
from traininglog.display.plain_text import visible
from traininglog.plain_json import shown
from traininglog.run_info import described
from traininglog.selection import Mode, apart
from traininglog.values import StoredValue

if TYPE_CHECKING:
    from traininglog.run_info import RunInfo
    from traininglog.sqlite.store import Store

# The columns of a frame of runs beside the requested keys.
_OF_A_RUN = ("uuid", "name", "state", "created", "updated", "host", "resumed_from", "resumed_at",
             "resumes", "first", "last", "rows", "values")  # fmt: skip

#: How many lines of a list a terminal shows, unless --limit says otherwise.
MOST_ON_A_TERMINAL = 50

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


class NumberOfARun(StrEnum):
    """The number of a run that counts in its group."""

    LAST = "last"
    BEST = "best"
    MIN = "min"
    MAX = "max"


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
    config: Annotated[
        list[str] | None,
        typer.Option("--config", "-c", metavar="GLOB", help="Show this of the config. Repeatable."),
    ] = None,
    tags: Annotated[
        list[str] | None,
        typer.Option("--tags", "-t", metavar="GLOB", help="Show this of the tags. Repeatable."),
    ] = None,
    state: Annotated[RunState | None, typer.Option(help="List only runs in this state.")] = None,
    name: Annotated[
        str | None, typer.Option(metavar="GLOB", help="List only runs whose name fits.")
    ] = None,
    where: WhereOption = None,
    sort: SortOption = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns",
            metavar="NAME",
            help="Show these facts: config.*, max.val_acc, host, ... Repeatable, or by commas.",
        ),
    ] = None,
    group_by: Annotated[
        list[str] | None,
        typer.Option(
            "--group-by", metavar="NAME", help="Show means over groups of experiments. Repeatable."
        ),
    ] = None,
    of: Annotated[
        NumberOfARun, typer.Option("--of", help="Which number of a run counts in its group.")
    ] = NumberOfARun.LAST,
    limit: LimitOption = None,
    archived: Annotated[
        bool, typer.Option("--archived", help="List also runs that were put aside.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", "-a", help="List every run, also those that others continue.")
    ] = False,
    json: JsonOption = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, with every digit.")] = False,
) -> None:
    """List the experiments of a store, one line each, the latest last.

    --where takes an expression, such as
    'config.lr < 0.1 and state == "finished" and max.val_acc > 0.9'.
    The page "Comparing experiments" of the guide has the language. With --sort, --limit takes the
    first ones. On a terminal a longer list shows 50.

    With --group-by the command prints, for each of the --keys, the mean over the experiments of a
    group with its 95% confidence interval, the standard deviation, the least and the greatest.

    A run that was resumed is one line, with its whole history; RESUMES counts. RUN has as many
    digits of the UUID as tell the run from the others. TIME is the last time that the run logged.
    FROM is the run that it is a variant of. With --all, each run is a line with what it logged
    itself. Then FROM is the run that it was resumed from, and the last time that it sees of it.

    Example: traininglog runs --keys loss --best accuracy:max --config 'optim.*'
    """
    if json and csv:
        raise Mistake("--json and --csv are two forms: choose one")
    with opened(store) as file:
        if group_by:
            _refuse(best=best, config=config, tags=tags, columns=columns, sort=sort, limit=limit,
                    state=state, name=name, all=every)  # fmt: skip
            with asking():
                groups = list(
                    file.iter_groups(
                        _apart(group_by), keys, of=of.value, where=where, archived=archived
                    )
                )
            if json:
                print_groups_as_json(groups)
            elif csv:
                print_groups_as_csv(groups)
            else:
                print_groups(groups, of.value)
            return
        if of is not NumberOfARun.LAST:
            raise Mistake("--of says what counts in a group: name one with --group-by")
        with asking():
            modes = _modes(best or ())
            wanted = _columns(file.keys_seen(keys) if keys else [], modes)
            chosen = ChosenColumns(file, _apart(columns)) if columns else None
            found = file.iter_runs(
                keys,
                state=None if state is None else state.value,
                name=name,
                limit=limit,
                best=modes,
                heads=not every,
                where=where,
                sort=_apart(sort) if sort else None,
                columns=chosen.names if chosen else None,
                archived=archived,
            )
            infos = list(found)
            about = described(infos, config, tags)
            if chosen is not None:
                about |= chosen.of(infos)
        if json:
            print_json(
                [
                    _record(info, wanted, last=bool(keys), best=bool(best))
                    | _named(about, number if chosen else None)
                    for number, info in enumerate(infos)
                ]
            )
        elif csv:
            _print_csv(infos, about, wanted)
        elif infos:
            hidden = 0 if limit or not on_terminal() else max(0, len(infos) - MOST_ON_A_TERMINAL)
            if hidden:
                some = slice(MOST_ON_A_TERMINAL) if sort else slice(hidden, None)
                infos = infos[some]
                about = {name: values[some] for name, values in about.items()}
            _print(file, infos, about, wanted, every=every, short=chosen is not None)
            if hidden:
                which = "first" if sort else "latest"
                note(f"the {which} {len(infos)} of {len(infos) + hidden:,}; --limit takes others")
        else:
            asked = bool(state or name or where)
            note(f"no runs{' like that' if asked else ' yet'} in {file.path}")


def _apart(names: Sequence[str]) -> list[str]:
    """Return names that were given one by one, or with commas between them."""
    found = []
    for name in names:
        quoted = '"' in name or "'" in name or "[" in name  # a comma in there is a part of a key
        found += [name] if quoted else [part.strip() for part in name.split(",") if part.strip()]
    return found


def _refuse(**options: object) -> None:
    """Raise `Mistake` for an option that says nothing of groups."""
    for name, value in options.items():
        if value:
            raise Mistake(
                f"--{name} does not go with --group-by: --where chooses the runs, "
                "and --keys the metrics"
            )


def _named(
    about: Mapping[str, Sequence[StoredValue]], number: int | None
) -> dict[str, StoredValue]:
    """Return the chosen facts of a run for JSON."""
    if number is None:
        return {}
    return {"columns": {name: shown(values[number]) for name, values in about.items()}}


def _print_csv(
    infos: Sequence[RunInfo], about: Mapping[str, Sequence[StoredValue]],
    columns: Sequence[ShownColumn],
) -> None:  # fmt: skip
    facts = [name for name in _OF_A_RUN if name not in about]
    headings = [*facts, *about, *(column.heading for column in columns)]
    rows = []
    for number, info in enumerate(infos):
        known = as_dict(info)
        rows.append(
            [
                *(known[name] for name in facts),
                *(values[number] for values in about.values()),
                *(column.of(info) if column.has(info) else None for column in columns),
            ]
        )
    write_table(sys.stdout, headings, rows, visible if on_terminal() else str)


def _columns(keys: Sequence[str], modes: Mapping[str, Mode]) -> list[ShownColumn]:
    """Return the columns: one for each key's last value, and one for each key's best value."""
    taken = set(_OF_A_RUN)
    columns = []
    for key, of_best in [*((key, False) for key in keys), *((key, True) for key in modes)]:
        heading = apart(f"best.{key}" if of_best else key, taken)
        taken.add(heading)
        columns.append(ShownColumn(heading, key, of_best))
    return columns


def _print(
    store: Store, infos: Sequence[RunInfo], about: Mapping[str, Sequence[StoredValue]],
    columns: Sequence[ShownColumn], *, every: bool, short: bool = False,
) -> None:  # fmt: skip
    now = datetime.now(UTC) if on_terminal() else None
    headings = [
        Heading("RUN", importance=IDENTITY), Heading("NAME", cut=True, importance=USUAL + 2),
        Heading("STATE", importance=USUAL + 1), Heading("CREATED", importance=DETAIL + 1),
        Heading("TIME", right=True), Heading("ROWS", right=True, importance=DETAIL),
        Heading("VALUES", right=True, importance=DETAIL),
    ]  # fmt: skip
    rows: list[list[Cell | str]] = [
        [
            Cell(shortest(store, info.uuid.hex), "bold"),
            info.name or "-",
            Cell(info.state, STYLES[info.state]),
            moment(info.created, now),
            "-" if info.last_time is None else str(info.last_time),
            str(info.rows),
            str(info.values),
        ]
        for info in infos
    ]
    if short:  # beside what was asked for
        headings, rows = headings[:3], [row[:3] for row in rows]
        about = {name: values for name, values in about.items() if name not in ("name", "state")}
    if not short and not every and any(info.resumes for info in infos):
        headings.append(Heading("RESUMES", right=True, importance=DETAIL + 3))
        for row, info in zip(rows, infos, strict=True):
            row.append(str(info.resumes) if info.resumes else "-")
    origins = [_origin(info, every=every) for info in infos]
    if any(origins) and not short:
        headings.append(Heading("FROM", importance=DETAIL + 2))
        for row, origin in zip(rows, origins, strict=True):
            row.append(Cell(origin or "-", "dim"))
    headings += [Heading(name, right=True, cut=True, importance=ASKED) for name in about]
    for number, row in enumerate(rows):
        given = [values[number] for values in about.values()]
        row += ["-" if value is None else brief(value, 24) for value in given]
    headings += [
        Heading(column.heading, right=True, cut=True, importance=ASKED) for column in columns
    ]
    for row, info in zip(rows, infos, strict=True):
        row += [brief(column.of(info), 24) if column.has(info) else "-" for column in columns]
    table(headings, rows, remedy="see them with --columns, or on a wider terminal")


def _origin(info: RunInfo, *, every: bool) -> str | None:
    """Return what the column FROM says of a run."""
    if not every:
        return None if info.variant_of is None else info.variant_of.hex[:8]
    if info.resumed_from is None:
        return None if info.part_of is None else f"part of {info.part_of.hex[:8]}"
    return f"{info.resumed_from.hex[:8]} @ {point(info.resumed_at)}"


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
