"""Maintenance of a store: `merge`, `backup`, `check`, `seal`, `delete`, `upgrade`. And `demo`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from traininglog.cli.mistakes import Mistake, asking, complain
from traininglog.cli.options import JsonOption, StoreOption
from traininglog.cli.output.json_output import print_json
from traininglog.cli.output.terminal import busy, note, progress, say
from traininglog.cli.output.text import size
from traininglog.cli.stores import opened, shortest
from traininglog.display.plain_text import counted

# The maximal number of runs that the question before a deletion names.
_SHOWN = 20

if TYPE_CHECKING:
    from traininglog.run_info import RunInfo
    from traininglog.sqlite.store import Store


def merge(
    others: Annotated[list[Path], typer.Argument(metavar="OTHER", help="Copy from these stores.")],
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Copy the runs of other stores into this one.

    The command makes the store if there is none. UUIDs identify runs, so merging again, or back,
    changes nothing. Nothing is removed anywhere. Of two copies of a run, the one that was written
    longer counts.

    Example: traininglog merge node1.db node2.db --store all.db
    """
    from traininglog.sqlite.store import Store

    for other in others:  # all are opened first, so that a typing mistake changes nothing
        Store(other, readonly=True).close()
    added: list[UUID] = []
    updated: list[UUID] = []
    unchanged: list[UUID] = []
    trials: list[str] = []
    with opened(store, readonly=False, create=True) as file:
        for other in others:
            if other.exists() and other.samefile(file.path):
                raise Mistake(f"{other} is the store to merge into: name another one to copy from")
            with progress(f"Merging {other.name}") as tell:
                merged = file.merge(other, progress=tell)
            added += merged.added
            updated += merged.updated
            unchanged += merged.unchanged
            trials += merged.trials
        path = file.path
    if json:
        print_json({
            "store": str(path),
            "added": [uuid.hex for uuid in added],
            "updated": [uuid.hex for uuid in updated],
            "unchanged": [uuid.hex for uuid in unchanged],
            "trials": trials,
        })  # fmt: skip
        return
    say(
        f"{path}: {counted(len(added), 'run')} added, {len(updated)} updated, "
        f"{len(unchanged)} unchanged"
        + (f"; {counted(len(trials), 'trial')} added or updated" if trials else "")
    )


def backup(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="Make this file.")],
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Copy a snapshot of the store to a new file.

    Programs may write runs meanwhile.

    Example: traininglog backup /backup/runs-$(date +%F).db
    """
    with opened(store) as file:
        with busy(f"Copying {file.path.name}"):
            file.backup(target)
        path = file.path
    count = target.stat().st_size
    if json:
        print_json({"store": str(path), "backup": str(target.absolute()), "bytes": count})
    else:
        say(f"{target}: a copy of {path}, {size(count)}")


def check(
    store: StoreOption = None,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Write what can be read of a damaged store to a new file."),
    ] = False,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="TARGET", help="Make this file. Default: STORE.repaired."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Examine a store: every page, every index, every value.

    The exit status is 1 if the store is damaged.

    With --repair the command writes everything that can be read of a damaged store to a new file,
    beside the store or where --to says. The store stays as it is. For a sound store it writes
    nothing.

    Example: traininglog check --store runs.db --repair
    """
    if repair:
        _repair(store, to, json=json)
        return
    if to is not None:
        raise Mistake("--to names the file that --repair makes: add --repair")
    with opened(store) as file, busy(f"Checking {file.path.name}"):
        found = file.check()
    if json:
        print_json(found._asdict() | {"size": found.size._asdict()})
    else:
        place = f" on {found.file_system}" if found.file_system else ""
        say(
            f"{found.path}: {counted(found.runs, 'run')}, {size(found.size.total)}{place} "
            f"({size(found.size.wal)} in the WAL, {size(found.size.free)} free), "
            f"schema {found.revision}, SQLite {found.sqlite}"
        )
        for problem in found.problems:
            say(f"damaged: {problem}", "bold red")
        for warning in found.warnings:
            say(f"note: {warning}", "yellow")
        if found.ok:
            say("ok", "green")
    if not found.ok:
        complain(
            f"{found.path} is damaged: {counted(len(found.problems), 'problem')}; what can be read "
            "of it: traininglog check --repair"
        )
        raise typer.Exit(1)


def _repair(store: str | None, target: Path | None, *, json: bool) -> None:
    from traininglog.sqlite.repair.repair import repair

    with progress("Repairing") as tell, asking():
        done = repair(store, target, progress=tell)
    if json:
        print_json(
            done._asdict()
            | {"sound": done.sound, "left_out": done.left_out._asdict(), "notes": done.notes}
        )
        return
    if done.target is None:
        say(f"{done.path} is sound: nothing was written", "green")
    else:
        left_out = done.left_out
        say(
            f"{done.target}: {counted(done.runs, 'run')}, {counted(done.values, 'value')}, "
            f"{done.status} of the status"
            + (f", {counted(done.trials, 'trial')}" if done.trials else "")
        )
        lost = counted(left_out.records, "record")
        described = f" {lost} of trials and the like," if left_out.records else ""
        if any(left_out):
            say(
                f"left out: {counted(left_out.values, 'damaged value')}, {left_out.status} of the "
                f"status,{described} and what is gone from "
                f"{counted(left_out.pages, 'damaged page')}",
                "yellow",
            )
    for line in done.notes:
        say(f"note: {line}", "yellow")
    if done.target is not None:
        name = Path(done.path).name
        say(
            f"{done.path} is as it was; before another file takes its name, move away with it what "
            f"is called {name}-... beside it"
            + (f", but for {name}-artifacts" if done.trials else "")
        )


def seal(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN", help="Name runs by name, UUID, or the start of it. Default: all runs."
        ),
    ] = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Pack the numbers of runs into segments, which saves space.

    Segments take a quarter of the space of rows, and are read much faster. A log seals its numbers
    itself, as it grows and when it is closed. Use this command for runs whose process was killed,
    or that were written with seal=False or by an older version. It does not change what a run
    returns. It leaves a run alone that is being written.

    Example: traininglog seal --store runs.db
    """
    with opened(store, readonly=False) as file:
        with progress(f"Sealing {file.path.name}") as tell:
            done = file.seal(runs or None, progress=tell)
        path = file.path
        if not json:
            for uuid in done.runs:
                say(f"sealed: run {shortest(file, uuid.hex)}")
            for uuid in done.running:
                say(f"left alone: run {shortest(file, uuid.hex)} is being written", "yellow")
    if json:
        print_json({
            "store": str(path),
            "sealed": [uuid.hex for uuid in done.runs],
            "running": [uuid.hex for uuid in done.running],
            "values": done.values, "before": done.before, "after": done.after,
        })  # fmt: skip
    elif done.runs:
        say(
            f"{path}: {counted(done.values, 'value')} of {counted(len(done.runs), 'run')} sealed; "
            f"it took {size(done.before)} and now takes {size(done.after)}"
        )
    else:
        say(f"{path} has nothing to seal; it takes {size(done.after)}")


def delete(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN", help="Name runs by name, UUID, or the start of it."),
    ],
    store: StoreOption = None,
    descendants: Annotated[
        bool,
        typer.Option("--descendants", help="Delete also the runs that were resumed from them."),
    ] = False,
    run_only: Annotated[
        bool, typer.Option("--run-only", help="Keep the runs that they continue, and their parts.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    json: JsonOption = False,
) -> None:
    """Delete experiments for good, and give their space back.

    With a run go the runs that it continues, unless others read through them. On a terminal the
    command asks first. Elsewhere it needs --yes.

    Example: traininglog delete 1f3a --descendants
    """
    with opened(store, readonly=False) as file:
        with asking():
            doomed = file.delete(
                runs, descendants=descendants, experiment=not run_only, dry_run=True
            )
        if not yes:
            infos = {info.uuid: info for info in file.iter_runs(heads=False, archived=True)}
            _confirm(file, [infos[uuid] for uuid in reversed(doomed)])
        with busy("Deleting"):
            gone = file.delete(doomed)  # exactly what was shown
        left = file.size().file
        path = file.path
    if json:
        print_json({"store": str(path), "deleted": [uuid.hex for uuid in gone], "bytes": left})
    else:
        say(f"{counted(len(gone), 'run')} deleted; {path} now takes {size(left)}")


def upgrade(store: StoreOption = None, json: JsonOption = False) -> None:
    """Upgrade a store to the schema of this version.

    The command makes a backup beside the store first. Opening a store for writing does the same.

    Example: traininglog upgrade --store old.db
    """
    with opened(store, readonly=False) as file:
        before, copy = file.upgraded or (file.revision, None)
        path, revision = file.path, file.revision
    if json:
        print_json({
            "store": str(path), "upgraded": copy is not None, "from": before, "to": revision,
            "backup": None if copy is None else str(copy),
        })  # fmt: skip
    elif copy is None:
        say(f"{path} has schema {revision} already: nothing to do")
    else:
        say(f"{path}: schema {before} upgraded to {revision}; as it was, it is in {copy}")


def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Write everything into this folder.")
    ] = Path("demo"),
) -> None:
    """Train a small network, interrupt it, resume it, and plot it.

    Example: traininglog demo
    """
    from traininglog import demo as demonstration

    status = demonstration.main(folder, echo=say)
    if status:
        raise typer.Exit(status)


def _confirm(store: Store, infos: Sequence[RunInfo]) -> None:
    if not sys.stdin.isatty():
        raise Mistake("nothing was deleted, as there is no terminal to ask on: confirm with --yes")
    for info in infos[:_SHOWN]:
        name = f" ({info.name})" if info.name else ""
        note(f"run {shortest(store, info.uuid.hex)}{name}: {counted(info.values, 'value')}")
    if len(infos) > _SHOWN:
        note(f"and {counted(len(infos) - _SHOWN, 'more run')}")
    if not typer.confirm(f"Delete {counted(len(infos), 'run')} for good?", err=True):
        raise Mistake("nothing was deleted")
