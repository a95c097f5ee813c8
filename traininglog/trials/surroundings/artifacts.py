"""Artifacts: stored copies of files, their entries in a trial's record, and their restoration."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from traininglog import kept
from traininglog.errors import CorruptLog, StoreUnwritable
from traininglog.plain_files import open_plain
from traininglog.trials.trial_errors import InvalidName
from traininglog.values import StoredRow, StoredValue

Kind = Literal["code", "file", "directory"]


def keep(folder: Path, file: Path, name: str, kind: Kind) -> StoredRow:
    """Copy a file into the folder of a store, and return its entry for the trial's record."""
    if kept.is_of_a_store(file, folder):
        raise InvalidName(f"{file} is of a store: copy it by traininglog backup")
    copy = kept.keep(folder, file)
    return {
        "name": check_relative(name),
        "sha256": copy.sha256,
        "size": copy.size,
        "kind": kind,
        "mode": file.stat().st_mode & 0o777,
    }


def files_below(folder: Path, store: Path) -> Iterator[tuple[str, Path]]:
    """Yield (relative path, path) of the regular files below a folder. Links are not followed.

    Files of a store are left out, among them the store whose folder of stored files is `store`.
    """
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(place, name)
            if path.is_symlink() or kept.is_of_a_store(path, store):
                continue
            if path.is_file():
                yield path.relative_to(folder).as_posix(), path


def restore(
    store: Path, artifacts: Sequence[Mapping[str, StoredValue]], folder: Path
) -> list[Path]:
    """Copy stored files into a folder, and return their paths.

    Raises `StoreUnwritable` if a file already exists or a link leads out of the folder, and
    `CorruptLog` if a stored copy is damaged. The files before it are restored by then.
    """
    made = []
    for artifact in artifacts:
        target = folder.joinpath(*PurePosixPath(check_relative(artifact["name"])).parts)
        if target.exists() or target.is_symlink():
            raise StoreUnwritable(f"{target} exists already: name another folder")
        if not target.parent.resolve().is_relative_to(folder.resolve()):
            raise StoreUnwritable(f"a link leads {target} out of {folder}: name another folder")
        source = kept.path_of(store, artifact["sha256"])
        wrong = kept.damage(store, artifact["sha256"], artifact["size"])
        if wrong is not None:
            raise CorruptLog(f"{source}, the copy of {artifact['name']!r}, {wrong}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(open_plain(source), "rb") as stream, target.open("xb") as made_anew:
            shutil.copyfileobj(stream, made_anew)
        # A record must not set the setuid, setgid or sticky bits.
        target.chmod(artifact["mode"] & 0o777 | 0o600)
        made.append(target)
    return made


def check_relative(name: str) -> str:
    """Return the name of a stored file. Raises `InvalidName` if it would leave its folder."""
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name:
        raise InvalidName(f"a file is kept by a path within a folder, not by {name[:80]!r}")
    return name
