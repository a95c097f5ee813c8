"""Files that are being made: each has a name of its own until it is whole.

A part of ``runs.db`` is ``.runs.db.0123456789abcdef.part``, in the same folder, as only there a
file can take another name in one step. Its maker has it locked, so that whoever makes the next one
can tell the parts of makers that were killed, and removes them.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from traininglog.locked_files import FileLock, open_regular
from traininglog.side_files import make_beside

#: A part, and what SQLite may have put beside a database that was being made.
_PART = re.compile(r"(\..+\.[0-9a-f]{16}\.part)(-journal|-wal|-shm)?", re.DOTALL)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_LONGEST_NAME = 180  # bytes, of the 255 that a name may have
#: How old a part has to be that an earlier version made, which had no lock, to be taken for dead.
_OLD = 86_400  # seconds


@contextlib.contextmanager
def making(target: Path, like: Path | None = None) -> Iterator[Path]:
    """Give the path of a new, empty file beside `target`, which is removed if it is still there.

    It becomes `target` by being renamed, once it is whole. What killed makers left in the folder is
    removed first.

    Args:
        target: What is being made.
        like: The store whose mode and owner it gets; by default those of any new file.

    Raises `OSError`.
    """
    sweep(target)
    part, lock = _begin(target, like)
    try:
        yield part
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
        lock.release()


@contextlib.contextmanager
def making_folder(target: Path) -> Iterator[Path]:
    """Give the path of a new, empty folder beside `target`, which is removed in the end.

    For what needs more than one file on the way. Only its user can look into it. What killed makers
    left is removed first. Raises `OSError`.
    """
    sweep(target)
    while True:
        folder = target.with_name(f"{_beginning(target)}{secrets.token_hex(8)}.part")
        folder.mkdir(mode=0o700)
        lock = FileLock(os.open(folder, _FOLDER))
        if _acquired(lock) and lock.is_at(folder):
            break
        lock.release()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _begin(target: Path, like: Path | None) -> tuple[Path, FileLock]:
    while True:
        part = target.with_name(f"{_beginning(target)}{secrets.token_hex(8)}.part")
        if like is None:
            descriptor = open_regular(part, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        else:
            descriptor = make_beside(like, part)
        lock = FileLock(descriptor)
        # Somebody who sweeps may have come between.
        if _acquired(lock) and lock.is_at(part):
            return part, lock
        lock.release()


def _acquired(lock: FileLock) -> bool:
    try:
        return lock.acquire()
    except OSError:  # a file system without locks, on which nobody can sweep either
        return True


def sweep(target: Path, *, alone: bool = False) -> None:
    """Remove the parts of makers that are gone, from the folder of a file.

    Args:
        target: The file, whose parts of earlier versions are removed, too.
        alone: Whether nobody else can be making this file now: then all its parts go.

    """
    own = _beginning(target)
    try:
        with os.scandir(target.parent) as entries:
            found = [Path(entry.path) for entry in entries if ".part" in entry.name]
    except OSError:  # whoever makes a file there will say so
        return
    for path in found:
        match = _PART.fullmatch(path.name)
        if match is not None:
            _remove_dead(path.with_name(match[1]), path, sure=alone and path.name.startswith(own))
        elif _is_earlier(path.name, target.name) and (alone or _is_old(path)):
            _remove(path)


def _beginning(target: Path) -> str:
    name = os.fsdecode(os.fsencode(target.name)[:_LONGEST_NAME])
    return f".{name}."


def _is_earlier(name: str, target: str) -> bool:
    """Tell whether a name is one that an earlier version gave to a part of a file."""
    return bool(re.fullmatch(rf"\.{re.escape(target)}\.\d+\.part|\.part-[0-9a-f]{{32}}", name))


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _OLD
    except OSError:
        return False


def _remove_dead(part: Path, path: Path, *, sure: bool) -> None:
    """Remove a part, or what lies beside it, if its maker is gone: as its lock says, or surely."""
    with contextlib.suppress(OSError):  # as of another user, to whom it is left
        if not part.exists():
            _remove(path)
            return
        folder = stat.S_ISDIR(part.lstat().st_mode)
        lock = FileLock(os.open(part, _FOLDER) if folder else open_regular(part, os.O_RDWR))
        try:
            if not (sure or (lock.acquire() and lock.is_at(part))):
                return
            if folder:
                shutil.rmtree(part)
            else:
                _remove(path)
        finally:
            lock.release()


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # as a folder, or in a folder of another user
        path.unlink()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
