"""`traininglog show`: all about one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from traininglog.cli.commands.diff import same
from traininglog.cli.comparing.runs import STYLES
from traininglog.cli.family_tree import FamilyTree
from traininglog.cli.options import JsonOption, RunArgument, StoreOption
from traininglog.cli.output.json_output import print_json
from traininglog.cli.output.terminal import (
    ASKED,
    DETAIL,
    USUAL,
    Cell,
    Heading,
    busy,
    facts,
    note,
    on_terminal,
    say,
    table,
)
from traininglog.cli.output.text import brief, moment, point, size
from traininglog.cli.stores import as_dict, chosen, opened, reading, shortest
from traininglog.cli.summaries import Summary, at, summaries
from traininglog.display.plain_text import counted, visible
from traininglog.masking import masked_line
from traininglog.run_info import description
from traininglog.values import StoredValue

if TYPE_CHECKING:
    from traininglog.lineage import Ancestor
    from traininglog.run_info import RunInfo
    from traininglog.sqlite.store import Store

_CHANGES = 4  # the maximal number of changes of a config to show in a line


def show(run: RunArgument = None, store: StoreOption = None, json: JsonOption = False) -> None:
    """Show one run: its state, lineage, status and keys.

    The rows that a run inherits from the runs that it was resumed from count as its own, as they do
    when its log is read.

    Example: traininglog show 1f3a
    """
    with opened(store) as file:
        uuid = chosen(file, run)
        infos = {info.uuid: info for info in file.iter_runs(heads=False, archived=True)}
        info = infos[uuid]
        children = [other for other in infos.values() if other.resumed_from == uuid]
        with reading(file, uuid) as log, busy("Reading"):
            lineage, status, found = log.lineage(), log.status.copy(), summaries(log)
        if json:
            print_json(_as_dict(file, info, lineage, children, status, found))
            return
        _print_identity(file, info)
        say("")
        _print_lineage(file, infos, lineage)
        say("")
        _print_status(status)
        say("")
        _print_keys(found)


def _print_identity(store: Store, info: RunInfo) -> None:
    now = datetime.now(UTC) if on_terminal() else None
    origin = store.origin(info.uuid)
    span = "no rows of its own"
    if info.rows:
        rows, values = counted(info.rows, "row"), counted(info.values, "value")
        span = f"{rows} at {info.first_time} to {info.last_time}, {values}"
    known = [
        ("run", Cell(info.uuid.hex, "bold")),
        ("name", info.name),
        ("state", Cell(info.state, STYLES[info.state])),
        ("created", moment(info.created, now)),
        ("updated", moment(info.updated, now)),
        ("written by", f"process {origin['pid']} on {origin['host']}"),
        ("command", origin["command"] and masked_line(origin["command"])),
        ("versions", origin["versions"]),
        ("logged", span),
        ("store", f"{store.path}, {size(store.size().total)}"),
    ]
    facts([(name, value) for name, value in known if value])


def _print_lineage(
    store: Store, infos: Mapping[UUID, RunInfo], lineage: Sequence[Ancestor]
) -> None:
    say("Lineage", "bold")
    resumed_at = {item.uuid: item.resumed_at for item in lineage}
    branches = list(FamilyTree(lineage, infos).branches())
    for branch in branches:
        run = branch.run
        if run is None:
            say(f"  {branch.lines}… {branch.left_out} more")
            continue
        info = infos.get(run)
        at = resumed_at.get(run) if info is None else info.resumed_at
        current = run == lineage[0].uuid
        mark = "  <- this run" if current and len(branches) > 1 else ""
        before = None if info is None or info.resumed_from is None else infos.get(info.resumed_from)
        changed = "" if info is None or before is None else _changes(before, info)
        text = f"  {branch.lines}{_run_in_tree(store, info, run, at)}{changed}{mark}"
        say(text, "bold" if current else "")


def _run_in_tree(store: Store, info: RunInfo | None, uuid: UUID, resumed_at: int | None) -> str:
    if info is None:
        return f"{uuid.hex} (not in this store)"
    parts = [shortest(store, uuid.hex)]
    if info.name:
        parts.append(info.name)
    if resumed_at is not None:
        began = "branched" if info.variant_of == info.resumed_from else "resumed"
        parts.append(
            f"{began} at {resumed_at}" if resumed_at >= 0 else f"{began} {point(resumed_at)}"
        )
    if info.part_of is not None:
        parts.append("a part of it")
    return "  ".join(parts)


def _changes(before: RunInfo, now: RunInfo) -> str:
    """Return what changed in the config when a run was resumed."""
    old, new = description(before, "config"), description(now, "config")
    found = [
        f"{visible(name)} {brief(old[name], 24) if name in old else '(none)'} -> "
        f"{brief(new[name], 24) if name in new else '(none)'}"
        for name in dict.fromkeys([*old, *new])
        if name not in old or name not in new or not same(old[name], new[name])
    ]
    if not found:
        return ""
    more = f", and {len(found) - _CHANGES} more" if len(found) > _CHANGES else ""
    return f"  config: {', '.join(found[:_CHANGES])}{more}"


def _print_status(status: Mapping[str, StoredValue]) -> None:
    say("Status", "bold")
    if not status:
        say("  (none)")
        return
    facts([(f"  {visible(key)}", brief(value)) for key, value in status.items()])


def _print_keys(found: list[Summary]) -> None:
    if not found:
        note("nothing has been logged yet")
        return
    table(
        [
            Heading("KEY", cut=True), Heading("VALUES", right=True, importance=DETAIL),
            Heading("LAST", cut=True, importance=ASKED), Heading("MIN"), Heading("MAX"),
            Heading("NAN", importance=USUAL + 1),
        ],
        [
            [
                Cell(item.key, "bold"), str(item.values), at(item.last), at(item.min), at(item.max),
                Cell(f"{item.nan_count}, first @ {item.first_nan}", "bold red")
                if item.nan_count else "-",
            ]
            for item in found
        ],
    )  # fmt: skip


def _as_dict(
    store: Store,
    info: RunInfo,
    lineage: Sequence[Ancestor],
    children: Sequence[RunInfo],
    status: Mapping[str, StoredValue],
    found: Sequence[Summary],
) -> dict[str, StoredValue]:
    return as_dict(info) | {
        "origin": store.origin(info.uuid),
        "store": str(store.path),
        "store_bytes": store.size().total,
        "lineage": [{"uuid": item.uuid.hex, "resumed_at": item.resumed_at} for item in lineage],
        "children": [
            {"uuid": child.uuid.hex, "resumed_at": child.resumed_at} for child in children
        ],
        "status": status,
        "keys": [item.as_dict() for item in found],
    }
