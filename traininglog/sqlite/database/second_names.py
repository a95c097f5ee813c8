"""Second names of a file: SQLite keeps a WAL beside each name, and two WALs destroy a file."""

from __future__ import annotations

import shlex
from pathlib import Path

from traininglog.errors import StoreUnwritable
from traininglog.sqlite.file.header import stat_of
from traininglog.sqlite.file.mounts import is_mounted_alone


def second_name(path: Path) -> str | None:
    """Return a message on the second name of a file, and the remedy; None if it has no other."""
    found = stat_of(path)
    if found is None:
        return None
    if found.st_nlink > 1:
        copy = shlex.quote(f"{path}.copy")
        return (
            f"{path} has {found.st_nlink} names (hard links): whoever writes it by two of them has "
            "two WALs, and loses what is in one. Delete the others (find FOLDER -samefile "
            f"{shlex.quote(str(path))}), or give this name a file of its own: traininglog backup "
            f"--store {shlex.quote(str(path))} {copy} && mv {copy} {shlex.quote(str(path))}"
        )
    if is_mounted_alone(path):
        return (
            f"{path} is mounted by itself: it has another name outside, with a WAL of its own, and "
            "what is written by one of them is lost. Mount its folder, not the file: "
            f"docker run -v FOLDER:{shlex.quote(str(path.parent))}"
        )
    return None


def refuse_second_name(path: Path) -> None:
    """Raise `StoreUnwritable` if others may have the file open by another name."""
    reason = second_name(path)
    if reason is not None:
        raise StoreUnwritable(f"{reason}. readonly=True reads it here, as it is now")
