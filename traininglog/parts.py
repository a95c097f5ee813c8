"""Parts: files that a process is making, each under a temporary name until it is whole.

A part of ``runs.db`` is ``.runs.db.0123456789abcdef.part``, in the same folder, because only there
a file can be renamed in one atomic step. Its maker locks it. So the maker of the next part finds
those of makers that were killed, and removes them.
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

#: A part, and the files that SQLite may have put beside a database that was being made.
_PART = re.compile(r"(\..+\.[0-9a-f]{16}\.part)(-journal|-wal|-shm)?", re.DOTALL)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_LONGEST_NAME = 180  # bytes, of the 255 that a name may have
#: The age from which a part of an earlier version, which took no lock, counts as dead.
_OLD = 86_400  # seconds


@contextlib.contextmanager
def making(target: Path, like: Path | None = None) -> Iterator[Path]:
    """Yield the path of a new, empty file beside `target`, and remove it in the end if it remains.

    The caller renames it to `target` once it is whole. The parts of killed makers in the folder are
    removed first.

    Args:
        target: The file to make.
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
    """Yield the path of a new, empty folder beside `target`, and remove it in the end.

    It is for a maker that needs more than one temporary file. Only this user can read it. The parts
    of killed makers are removed first. Raises `OSError`.
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


def put(part: Path, target: Path, *, replace: bool) -> None:
    """Give a file that was made its name. Raises `FileExistsError` if it is taken.

    Args:
        part: The file that was made.
        target: The name.
        replace: Replace what has the name.

    """
    if replace:
        part.replace(target)
        return
    try:
        target.hardlink_to(part)  # atomic: also if somebody takes the name just now
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if target.exists():
            raise FileExistsError(f"{target} exists already") from None
        part.rename(target)


def _begin(target: Path, like: Path | None) -> tuple[Path, FileLock]:
    while True:
        part = target.with_name(f"{_beginning(target)}{secrets.token_hex(8)}.part")
        if like is None:
            descriptor = open_regular(part, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        else:
            descriptor = make_beside(like, part)
        lock = FileLock(descriptor)
        # A process that sweeps may have removed it before it was locked.
        if _acquired(lock) and lock.is_at(part):
            return part, lock
        lock.release()


def _acquired(lock: FileLock) -> bool:
    try:
        return lock.acquire()
    except OSError:  # the file system has no locks, so no process can sweep either
        return True


def sweep(target: Path, *, alone: bool = False) -> None:
    """Remove the parts of dead makers from the folder of a file.

    Args:
        target: The file. Its parts of earlier versions are removed, too.
        alone: Whether no other process can be making this file now. Then all its parts are removed.

    """
    own = _beginning(target)
    try:
        with os.scandir(target.parent) as entries:
            found = [Path(entry.path) for entry in entries if ".part" in entry.name]
    except OSError:  # making a file there will raise it
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
    """Return whether a name is that of a part of a file by an earlier version."""
    return bool(re.fullmatch(rf"\.{re.escape(target)}\.\d+\.part|\.part-[0-9a-f]{{32}}", name))


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _OLD
    except OSError:
        return False


def _remove_dead(part: Path, path: Path, *, sure: bool) -> None:
    """Remove a part, or a file beside it, if it is not locked or its maker is surely gone."""
    with contextlib.suppress(OSError):  # it may be another user's, who removes it
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
    with contextlib.suppress(OSError):  # it is a folder, or in a folder of another user
        path.unlink()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
