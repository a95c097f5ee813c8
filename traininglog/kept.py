"""Files kept beside a store: content-addressed copies, named by their sha256.

A copy is made under another name first and then renamed, so that a name is that of a whole file or
of none. A file that is there already is not copied again.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from traininglog import parts
from traininglog.errors import CorruptLog
from traininglog.plain_files import is_hollow, open_plain
from traininglog.side_files import make_folder_beside, refusal

_BLOCK = 2**20
_ENDING = "-artifacts"
_HEX = frozenset("0123456789abcdef")


class Kept(NamedTuple):
    """A file that was kept."""

    sha256: str
    size: int  #: bytes


def folder_of(store: Path) -> Path:
    """Return the folder of the files kept beside a store; it need not exist."""
    return store.with_name(f"{store.name}{_ENDING}")


def _store_of(folder: Path) -> Path:
    return folder.with_name(folder.name.removesuffix(_ENDING))


def is_hash(value: object) -> bool:
    """Return whether a value may be the hash of a kept file."""
    return isinstance(value, str) and len(value) == 64 and not set(value) - _HEX


def path_of(folder: Path, sha256: str) -> Path:
    """Return the path of the copy with this hash. Raises `CorruptLog` if it is no hash."""
    if not is_hash(sha256):
        raise CorruptLog(f"{sha256[:80]!r} is no sha256")
    return folder / sha256[:2] / sha256


def keep(folder: Path, file: Path) -> Kept:
    """Copy a file into a folder, and make the folder if it does not exist.

    The copy and the folder get the permissions of the store. Raises `StoreUnwritable` and
    `StoreFailed`, and the errors of reading the file.
    """
    store = _store_of(folder)
    make_folder_beside(store, folder)
    digest = hashlib.sha256()
    with parts.making(folder / "file", store) as part:
        with os.fdopen(open_plain(file, follow=True), "rb") as source, part.open("wb") as target:
            # Hash the bytes that are copied: a file that is being written may change in between.
            while block := source.read(_BLOCK):
                digest.update(block)
                target.write(block)
            target.flush()
            os.fsync(target.fileno())
        found = Kept(digest.hexdigest(), part.stat().st_size)
        place = path_of(folder, found.sha256)
        if not (place.exists() and place.stat().st_size == found.size):
            make_folder_beside(store, place.parent)
            try:
                part.replace(place)
            except OSError as error:
                raise refusal(store, place.parent, error) from error
    return found


def damage(folder: Path, sha256: str, size: int | None = None) -> str | None:
    """Return the damage of a copy, as a text for people, or None if it is intact.

    If `size` is given, a copy of another size is not read. A large file with hardly a byte on the
    disk is not read either: a copy is never sparse.
    """
    try:
        with os.fdopen(open_plain(path_of(folder, sha256)), "rb") as stream:
            known = os.fstat(stream.fileno())
            if size not in (None, known.st_size) or is_hollow(known):
                return "is not what was kept"
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None if found == sha256 else "is not what was kept"


def is_of_a_store(file: Path, folder: Path) -> bool:
    """Return whether a file belongs to the store of this folder, or to a database that is in use.

    The caller must neither keep nor open these files: a process that opens and closes a SQLite
    database as a plain file loses the locks that it holds on it.
    """
    place, own = file.resolve(), folder.resolve()
    store = _store_of(own).name
    beside = place.parent == own.parent and (
        place.name == store or place.name.startswith((f"{store}-", f".{store}."))
    )
    parts = place.name.split("-")
    names = ("-".join(parts[:count]) for count in range(1, len(parts) + 1))
    in_use = any(place.with_name(f"{name}-shm").exists() for name in names)
    return beside or in_use or own in place.parents


def copy_over(source: Path, target: Path, sha256: str, size: int | None = None) -> str | None:
    """Copy the file with a hash from one folder into another, unless it is there.

    Returns the damage of the copy in the first folder, as a text for people; then nothing is
    copied.
    """
    if path_of(target, sha256).exists():
        return None
    wrong = damage(source, sha256, size)
    if wrong is None:
        keep(target, path_of(source, sha256))
    return wrong


def copy_all(source: Path, target: Path) -> None:
    """Copy all intact files of one folder into another."""
    for path in sorted(source.glob("??/*")):
        if is_hash(path.name):
            copy_over(source, target, path.name)
