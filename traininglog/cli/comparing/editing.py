"""`traininglog rename`, `tag`, `note`, `config`, `archive`: what is said of experiments."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from traininglog.cli.mistakes import Mistake, asking
from traininglog.cli.options import JsonOption, StoreOption
from traininglog.cli.output.json_output import print_json
from traininglog.cli.output.terminal import facts, say
from traininglog.cli.output.terminal import note as tell
from traininglog.cli.output.text import brief
from traininglog.cli.stores import named, opened, reading, several, shortest
from traininglog.display.plain_text import counted
from traininglog.flattening import flatten
from traininglog.plain_json import shown

if TYPE_CHECKING:
    from traininglog.sqlite.store import Store

_RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Name a run by name, UUID, or the start of it.")
]
_RemoveOption = Annotated[
    list[str] | None,
    typer.Option("--remove", "-r", metavar="NAME", help="Take this away. Repeatable."),
]


def rename(run: _RunArgument, name: str, store: StoreOption = None) -> None:
    """Give an experiment another name.

    The runs before it keep theirs. A run that is being written is renamed, too.

    Example: traininglog rename 1f3a baseline
    """
    with opened(store, readonly=False) as file, asking():
        uuid = file.edit(named(file, run), name=name)
        say(f"run {shortest(file, uuid.hex)} is called {name}")


def tag(
    run: _RunArgument,
    tags: Annotated[
        list[str] | None,
        typer.Argument(metavar="TAG", help="Add tags: a name, or name=value."),
    ] = None,
    remove: _RemoveOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Tag an experiment, or show its tags.

    A value is read as JSON if it is some, and else as a text.

    Example: traininglog tag baseline paper seed=3 --remove draft
    """
    _change(store, run, "tags", _pairs(tags or [], bare=True), remove, json=json)


def config(
    run: _RunArgument,
    values: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME=VALUE", help="Set values: optim.lr=0.1 is nested."),
    ] = None,
    remove: _RemoveOption = None,
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Show the config of an experiment, or change it.

    A value is read as JSON if it is some, and else as a text.

    Example: traininglog config baseline optim.lr=0.1
    """
    _change(store, run, "config", _nested(_pairs(values or [], bare=False)), remove, json=json)


def note(
    run: _RunArgument,
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="Write this. A - reads stdin.")
    ] = None,
    edit: Annotated[bool, typer.Option("--edit", "-e", help="Write them in $EDITOR.")] = False,
    store: StoreOption = None,
) -> None:
    """Write the notes of an experiment, or show them.

    Example: traininglog note baseline 'as in the paper'
    """
    with opened(store, readonly=text is None and not edit) as file, asking():
        uuid = named(file, run)
        if text is None:
            there = _said(file, uuid, "notes")
            if not edit:
                if there is None:
                    tell("it has no notes")
                else:
                    for each in str(there).splitlines():
                        say(each)
                return
            text = _edited(str(there or ""))
        notes = sys.stdin.read() if text == "-" else text
        if notes.strip():
            file.edit(uuid, notes=notes)
        elif _said(file, uuid, "notes") is not None:
            file.edit(uuid, remove="notes")


def archive(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN", help="Name runs by name, UUID, or the start of it."),
    ],
    undo: Annotated[bool, typer.Option("--undo", help="Bring them back.")] = False,
    store: StoreOption = None,
) -> None:
    """Put experiments aside, or bring them back.

    Lists leave them out, unless --archived asks for them. Nothing is deleted. An experiment that is
    resumed comes back.

    Example: traininglog archive 1f3a 99c0
    """
    with opened(store, readonly=False) as file, asking():
        chosen = several(file, runs)
        for uuid in chosen:
            file.edit(uuid, archived=not undo)
        say(f"{counted(len(chosen), 'experiment')} {'brought back' if undo else 'put aside'}")


def _edited(text: str) -> str:
    """Let the user edit a text in the editor of `VISUAL` or `EDITOR`, and return it."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "notes.md")
        path.write_text(text, encoding="utf-8")
        try:
            subprocess.run([*shlex.split(editor), str(path)], check=True)  # noqa: S603 - theirs
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            raise Mistake(
                f"the editor {editor!r} did not end well ({error}): nothing was changed; "
                "set EDITOR, or give the text as an argument"
            ) from error
        return path.read_text(encoding="utf-8")


def _change(
    store: str | None, run: str, what: str, given: Mapping[str, Any],
    remove: Sequence[str] | None, *, json: bool,
) -> None:  # fmt: skip
    """Change tags or config, and print what they are then."""
    changes = bool(given or remove)
    with opened(store, readonly=not changes) as file, asking():
        uuid = named(file, run)
        if changes:
            names = [f"{what}.{name}" for name in remove or ()]
            about: Any = {what: given} if given else {}
            uuid = file.edit(uuid, remove=names, **about)
        found = _said(file, uuid, what)
        if json:
            print_json(shown(found))
            return
        flat = flatten(found, ".") if isinstance(found, dict) else {}
        if flat:
            facts([(name, brief(value)) for name, value in flat.items()])
        else:
            tell(f"it has no {what}")


def _said(file: Store, uuid: UUID, what: str) -> Any:
    """Return what the status of a run says."""
    with reading(file, uuid) as log:
        found = log.status.get(what)
    return dict.fromkeys(found, True) if what == "tags" and isinstance(found, list) else found


def _pairs(given: Sequence[str], *, bare: bool) -> dict[str, Any]:
    """Return texts such as ``seed=3`` as a dict. `bare`: a name alone is true."""
    found: dict[str, Any] = {}
    for each in given:
        name, sign, value = each.partition("=")
        if not name or not (sign or bare):
            raise Mistake(f"{each!r} sets nothing: write NAME=VALUE")
        found[name] = _value(value) if sign else True
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=float)
    except ValueError:
        return text


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{"optim.lr": 0.1}`` as nested dicts."""
    found: dict[str, Any] = {}
    for name, value in flat.items():
        *outer, last = name.split(".")
        inner = found
        for part in outer:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise Mistake(f"{name!r} stands within a value that is set, too: drop one of them")
        inner[last] = value
    return found
