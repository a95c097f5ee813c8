"""Names of files: one that is free, and how long the name of a store may be."""

from __future__ import annotations

import os
from pathlib import Path

from traininglog.errors import StoreUnwritable

_USUAL = 255  # the most bytes of a name on nearly every file system


def free_name(path: Path) -> Path:
    """Return a path, or the same with the first number behind its name that makes it a free one."""
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def refuse_long(path: Path, added: int) -> None:
    """Raise `StoreUnwritable` if a name with so many more bytes would be too long.

    This check runs as a store is opened, not only when a value has to be kept beside it.
    """
    real = Path(os.path.realpath(path))  # it raises nothing for a link to itself
    try:
        most = os.pathconf(real.parent, "PC_NAME_MAX")
    except (OSError, ValueError):  # the folder does not exist, which another check reports
        most = _USUAL
    size = len(os.fsencode(real.name))
    if size + added > most > 0:
        raise StoreUnwritable(
            f"{str(real)!r} has too long a name for a store: {size} bytes, where "
            f"{most - added} leave room for the names of the files beside it, such as the journals "
            "of its runs; rename it, or name another file"
        )
