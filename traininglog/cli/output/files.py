"""Output files: each appears only when complete, and replaces a file only with --force."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from traininglog import parts
from traininglog.cli.mistakes import Mistake


def check_target(path: Path, *, force: bool) -> None:
    """Raise `Mistake` if a file cannot be written. Call this before the work for the file."""
    if path.is_dir():
        raise Mistake(f"{path} is a folder: name a file in it")
    if not path.parent.is_dir():
        raise Mistake(f"the folder of {path} does not exist; make it first: mkdir -p {path.parent}")
    if path.is_file() and not force:
        raise Mistake(f"{path} exists already: name another file, or overwrite it with --force")


@contextmanager
def complete(path: Path, *, force: bool) -> Iterator[Path]:
    """Yield the path of a temporary file, which becomes `path` if the block succeeds."""
    check_target(path, force=force)
    if path.exists() and not path.is_file():  # a device or a pipe is written directly
        yield path
        return
    target = path.resolve()  # the target of a link is replaced, not the link
    with parts.making(target) as part:
        yield part
        try:
            parts.put(part, target, replace=force)
        except FileExistsError:
            raise Mistake(f"{target} exists already: overwrite it with --force") from None


def stdout_is_wanted(output: Path | None) -> bool:
    """Return whether output goes to stdout: the user named no file, or "-"."""
    return output is None or str(output) == "-"
