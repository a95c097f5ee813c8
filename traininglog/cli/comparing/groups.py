"""`traininglog runs --group-by`: the statistics of metrics over groups of experiments."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from traininglog.cli.output.formats import write_table
from traininglog.cli.output.json_output import print_json
from traininglog.cli.output.terminal import Cell, Heading, note, on_terminal, say, table
from traininglog.cli.output.text import brief
from traininglog.display.plain_text import counted, visible
from traininglog.query.groups import Group, GroupStatistics, Of
from traininglog.values import StoredValue


def print_groups(groups: Sequence[Group], of: Of) -> None:
    """Print a table for each metric."""
    if not groups:
        note("no runs like that")
        return
    if not groups[0].metrics:
        note("no metric has a number: here are the sizes of the groups")
        table(
            [*_headings(groups), Heading("RUNS", right=True)],
            [[*_values(group), str(group.n)] for group in groups],
        )
    for number, key in enumerate(groups[0].metrics):
        if number:
            say("")
        say(f"{key} ({of})", "bold")
        rows = [[*_values(group), *_cells(group, group.metrics[key])] for group in groups]
        headings = [
            *_headings(groups), Heading("RUNS", right=True), Heading("MEAN", right=True),
            Heading("±95%", right=True), Heading("STD", right=True), Heading("MIN", right=True),
            Heading("MAX", right=True), Heading("LEFT OUT"),
        ]  # fmt: skip
        if not any(row[-1] for row in rows):
            headings, rows = headings[:-1], [row[:-1] for row in rows]
        table(headings, rows)


def _headings(groups: Sequence[Group]) -> list[Heading]:
    return [Heading(name, cut=True) for name in groups[0].by]


def _values(group: Group) -> list[Cell | str]:
    return [Cell(_brief(value), "bold") for value in group.by.values()]


def _cells(group: Group, found: GroupStatistics) -> list[Cell | str]:
    left_out = [
        counted(found.non_finite, "non-finite value") if found.non_finite else "",
        f"{found.missing} without" if found.missing else "",
    ]
    return [
        str(group.n),
        *(_brief(each) for each in (
            found.mean, found.ci95, found.std, found.least, found.greatest
        )),
        ", ".join(filter(None, left_out)),
    ]  # fmt: skip


def _brief(value: StoredValue) -> str:
    return "-" if value is None else brief(value, 24)


def print_groups_as_json(groups: Sequence[Group]) -> None:
    """Print a list with an object for each group."""
    print_json(
        [
            {
                "by": dict(group.by), "n": group.n,
                "runs": [info.uuid.hex for info in group.runs],
                "metrics": {key: found.by_name() for key, found in group.metrics.items()},
            }
            for group in groups
        ]
    )  # fmt: skip


def print_groups_as_csv(groups: Sequence[Group]) -> None:
    """Print a line for each group, as the columns of `Store.groups` are."""
    first = groups[0] if groups else None
    headings = [*(first.by if first else ()), "n"]
    for key, found in first.metrics.items() if first else ():
        headings += [f"{key}.{name}" for name in found.by_name()]
    rows = [
        [
            *group.by.values(), group.n,
            *(number for found in group.metrics.values() for number in found.by_name().values()),
        ]
        for group in groups
    ]  # fmt: skip
    write_table(sys.stdout, headings, rows, visible if on_terminal() else str)
