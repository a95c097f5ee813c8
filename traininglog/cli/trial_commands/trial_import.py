"""`traininglog import`: import of the trials of another store into a database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from traininglog.cli.mistakes import Mistake, asking
from traininglog.cli.options import JsonOption, StoreOption
from traininglog.cli.output.json_output import print_json
from traininglog.cli.output.terminal import progress, say
from traininglog.display.plain_text import counted


def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="Copy from this JSON document of trials, or from this store."
        ),
    ],
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Copy trials, with all that they logged, into this store.

    The source is a JSON document, as `file:report.json` or `client.save(file)` makes it. The
    command makes the store if there is none. It updates trials that it copied before, so importing
    again changes nothing. The source stays as it is. The whole curve of a resumed trial becomes one
    run.

    Example: traininglog import report.json --store runs.db
    """
    from traininglog.stores import open_records
    from traininglog.trials.copies import copy_all

    with asking():
        records = _opened(source)
        try:
            target = open_records(store)
        except BaseException:
            records.close()
            raise
    try:
        if target.location == records.location:
            raise Mistake(f"{source} is the store to import into: name another one by --store")
        with progress(f"Importing {source}") as tell:
            copied = copy_all(records, target, tell)
        where = target.location
    finally:
        records.close()
        target.close()
    if json:
        print_json({"store": where, **copied._asdict()})
    else:
        say(
            f"{where}: {counted(len(copied.added), 'trial')} added, {len(copied.updated)} updated, "
            f"{len(copied.unchanged)} unchanged"
        )


def _opened(source: str) -> Any:
    """Open the source of an import. A file is a JSON document unless it is a SQLite database."""
    from traininglog.stores import open_records

    path = Path(source)
    try:
        with path.open("rb") as stream:
            database = stream.read(16).startswith(b"SQLite format 3")
    except FileNotFoundError:
        if ":" not in source:
            raise Mistake(f"there is no {source}") from None
        return open_records(source, readonly=True)
    except OSError as error:
        raise Mistake(f"{source} cannot be read: {error.strerror}") from error
    return open_records(path if database else f"file:{path.absolute()}", readonly=True)
