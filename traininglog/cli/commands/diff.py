"""`traininglog diff`: the difference of two runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from traininglog.cli import completion
from traininglog.cli.globs import matcher, require
from traininglog.cli.options import JsonOption, KeysOption, StoreOption
from traininglog.cli.output.json_output import print_json
from traininglog.cli.output.terminal import Cell, Heading, busy, say, table
from traininglog.cli.output.text import brief
from traininglog.cli.stores import named, opened, reading, shortest
from traininglog.cli.summaries import Summary, at, difference, summaries
from traininglog.plain_json import shown
from traininglog.values import StoredRow

_ABSENT = object()


def diff(
    one: Annotated[
        str,
        typer.Argument(
            metavar="A",
            autocompletion=completion.runs,
            help="Name a run by its name, its UUID, or the start of it.",
        ),
    ],
    other: Annotated[
        str,
        typer.Argument(
            metavar="B", autocompletion=completion.runs, help="Name the run to compare it with."
        ),
    ],
    store: StoreOption = None,
    keys: KeysOption = None,
    json: JsonOption = False,
) -> None:
    """Compare two runs: their statuses and last values.

    The command shows the last value of every key. The difference is B - A. The exit status is 0,
    also if the runs differ.

    Example: traininglog diff 1f3a 99c0 --keys 'val/*'
    """
    with opened(store) as file:
        a, b = named(file, one), named(file, other)
        with reading(file, a) as log, busy("Reading"):
            status_a, keys_a = log.status.copy(), _by_key(summaries(log), keys)
        with reading(file, b) as log, busy("Reading"):
            status_b, keys_b = log.status.copy(), _by_key(summaries(log), keys)
        name_a, name_b = shortest(file, a.hex), shortest(file, b.hex)
    require(keys, [*keys_a, *keys_b])
    changed = [
        key
        for key in dict.fromkeys([*status_a, *status_b])
        if not same(status_a.get(key, _ABSENT), status_b.get(key, _ABSENT))
    ]
    both = list(dict.fromkeys([*keys_a, *keys_b]))
    if json:
        print_json({
            "a": a.hex,
            "b": b.hex,
            "status": [
                _pair(key, {"value": status_a[key]} if key in status_a else None,
                      {"value": status_b[key]} if key in status_b else None)
                for key in changed
            ],
            "keys": [
                _pair(key, keys_a[key].last._asdict() if key in keys_a else None,
                      keys_b[key].last._asdict() if key in keys_b else None)
                | {"difference": _difference(keys_a.get(key), keys_b.get(key))}
                for key in both
            ],
        })  # fmt: skip
        return
    if changed:
        table(
            [Heading("STATUS", cut=True), Heading(name_a, cut=True), Heading(name_b, cut=True)],
            [[Cell(key, "bold"), _shown(status_a, key), _shown(status_b, key)] for key in changed],
        )
    else:
        say("The statuses are the same.")
    say("")
    table(
        [Heading("LAST VALUE", cut=True), Heading(name_a, cut=True), Heading(name_b, cut=True),
         Heading("DIFFERENCE", right=True)],
        [
            [
                Cell(key, "bold"),
                at(keys_a[key].last) if key in keys_a else "-",
                at(keys_b[key].last) if key in keys_b else "-",
                _signed(_difference(keys_a.get(key), keys_b.get(key))),
            ]
            for key in both
        ],
    )  # fmt: skip


def same(one: Any, other: Any) -> bool:
    """Return whether two values have the same type and content; NaN equals NaN."""
    if type(one) is not type(other):
        return False
    if hasattr(one, "dtype"):
        return bool(one.dtype == other.dtype and one.shape == other.shape) and (
            one.tobytes() == other.tobytes()
        )
    return bool(one == other) or bool(shown(one) == shown(other) == "NaN")


def _by_key(found: list[Summary], keys: list[str] | None) -> dict[str, Summary]:
    wanted = matcher(keys)
    return {item.key: item for item in found if wanted(item.key)}


def _pair(key: str, a: object, b: object) -> StoredRow:
    return {"key": key, "a": a, "b": b}


def _difference(a: Summary | None, b: Summary | None) -> float | int | None:
    return None if a is None or b is None else difference(b.last.value, a.last.value)


def _signed(value: float | int | None) -> str:
    if value is None:
        return "-"
    return brief(value) if value != value or value <= 0 else f"+{brief(value)}"  # noqa: PLR0124


def _shown(status: StoredRow, key: str) -> str:
    return brief(status[key]) if key in status else "-"
