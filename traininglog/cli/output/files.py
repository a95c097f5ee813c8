"""Output files: complete or not there, and never in place of another without being told to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from traininglog import parts
from traininglog.cli.mistakes import Mistake


def check_target(path: Path, *, force: bool) -> None:
    """Raise `Mistake` for a file that cannot be written, before the work for it is done."""
    if path.is_dir():
        raise Mistake(f"{path} is a folder: name a file in it")
    if not path.parent.is_dir():
        raise Mistake(f"the folder of {path} does not exist; make it first: mkdir -p {path.parent}")
    if path.is_file() and not force:
        raise Mistake(f"{path} exists already: name another file, or overwrite it with --force")


@contextmanager
def complete(path: Path, *, force: bool) -> Iterator[Path]:
    """Give the path of a file to write, which becomes `path` when all went well."""
    check_target(path, force=force)
    if path.exists() and not path.is_file():  # a device or a pipe is there to be written to
        yield path
        return
    target = path.resolve()  # of a link, what it points to is replaced
    with parts.making(target) as part:
        yield part
        if force:
            part.replace(target)
        else:
            _rename_anew(part, target)


def _rename_anew(part: Path, target: Path) -> None:
    """Rename a file, unless the new name is taken, also by someone who was quicker."""
    try:
        target.hardlink_to(part)
    except FileExistsError:
        raise Mistake(f"{target} exists already: overwrite it with --force") from None
    except OSError:  # a file system without hard links
        if target.exists():
            raise Mistake(f"{target} exists already: overwrite it with --force") from None
        part.rename(target)


def stdout_is_wanted(output: Path | None) -> bool:
    """Tell whether output goes to stdout: no file was named, or "-"."""
    return output is None or str(output) == "-"
