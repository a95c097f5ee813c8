"""Files that are kept with a trial: copies named by what is in them, beside the store.

A copy is made under another name first and then renamed, so that under a hash there is a whole file
or none; one that is there already is not copied again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from uuid import uuid4

from traininglog.errors import CorruptLog, StoreUnwritable
from traininglog.trials.errors import InvalidName

Kind = Literal["code", "file", "directory"]
_BLOCK = 2**20


def keep(store: Path, file: Path, name: str, kind: Kind) -> dict[str, Any]:
    """Copy a file into the folder of a store; return what the trial's record says of it."""
    store.mkdir(parents=True, exist_ok=True)
    part = store / f".part-{uuid4().hex}"
    digest = hashlib.sha256()
    try:
        with file.open("rb") as source, part.open("xb") as target:
            # Hashed as it is copied: a file that is being written may change in between.
            while block := source.read(_BLOCK):
                digest.update(block)
                target.write(block)
            target.flush()
            os.fsync(target.fileno())
        size = part.stat().st_size
        place = path_of(store, digest.hexdigest())
        if not (place.exists() and place.stat().st_size == size):
            place.parent.mkdir(exist_ok=True)
            part.replace(place)
    finally:
        part.unlink(missing_ok=True)
    return {
        "name": check_relative(name),
        "sha256": digest.hexdigest(),
        "size": size,
        "kind": kind,
        "mode": file.stat().st_mode & 0o777,
    }


def files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """Give the regular files of a folder, by their paths in it; links are not followed."""
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(place, name)
            if path.is_file() and not path.is_symlink():
                yield path.relative_to(folder).as_posix(), path


def path_of(store: Path, sha256: str) -> Path:
    """Return where the copy with this hash is."""
    if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
        raise CorruptLog(f"{sha256[:80]!r} is no sha256")
    return store / sha256[:2] / sha256


def restore(store: Path, artifacts: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Copy files back, into a folder, and return where they are.

    Raises `StoreUnwritable` where one of them is already, and `CorruptLog` where a copy is not what
    was kept; the others are restored by then.
    """
    made = []
    for artifact in artifacts:
        target = folder.joinpath(*PurePosixPath(check_relative(artifact["name"])).parts)
        if target.exists() or target.is_symlink():
            raise StoreUnwritable(f"{target} exists already: name another folder")
        source = path_of(store, artifact["sha256"])
        try:
            with source.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except FileNotFoundError:
            raise CorruptLog(f"{source} is not there: the folder was changed") from None
        if found != artifact["sha256"]:
            raise CorruptLog(f"{source} is not what was kept")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(artifact["mode"] | 0o600)
        made.append(target)
    return made


def check_relative(name: str) -> str:
    """Return the name under which a file is kept, a path that stays in its folder."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name:
        raise InvalidName(f"a file is kept by a path within a folder, not by {name[:80]!r}")
    return name
