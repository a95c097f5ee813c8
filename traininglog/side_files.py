"""Files beside a store: each is made with the mode and the owner of the store's own file.

A user who may write a store must be able to write the files that others left beside it: its
write-ahead log, its journals, the file of its locks. So the process that makes one of them gives it
the mode of the store and, as far as the system allows it, the owner and the group. Root may change
any owner. Other users get the group from a folder with the setgid bit, or set it on their own file.

If a file still cannot be written, `StoreUnwritable` names that file and the remedy.
"""

from __future__ import annotations

import errno
import os
import secrets
import shlex
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from traininglog.errors import StoreFailed, StoreUnwritable

#: The endings of the files that SQLite itself keeps beside a database.
OF_SQLITE = ("-wal", "-shm", "-journal")

# How long a file that another process makes may lack its final mode, in seconds.
_MAKING = 0.2

# The number by which `chown` leaves an owner or a group as it is.
_SAME = -1


def open_beside(
    store: Path,
    path: Path,
    flags: int = os.O_RDWR,
    *,
    create: bool = True,
    unused: Callable[[int], bool] | None = None,
) -> int:
    """Open a file beside a store, or make it, and return the descriptor.

    If an existing file has another mode or owner than the store, it gets those of the store, if
    this process may set them. The caller need not add ``O_CREAT`` or ``O_CLOEXEC``.

    Args:
        store: The file whose mode and owner count; it need not exist.
        path: The file beside it.
        flags: The flags of `os.open`.
        create: Whether to make the file if it does not exist.
        unused: Returns, for a descriptor for reading, whether no process uses the file. Then an
            empty file replaces one that this user may not write, if the folder allows that.

    Raises:
        FileNotFoundError: The file does not exist, and `create` is False.
        StoreUnwritable: This user may not open or make it, or it is no regular file.
        StoreFailed: The system cannot: the disk is full, too many files are open.

    """
    # Refuse a link, which may lead root anywhere. Opening a FIFO would wait for ever.
    flags = flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    deadline = time.monotonic() + _MAKING
    while True:
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            if not create:
                raise
        except PermissionError as error:
            if time.monotonic() < deadline and _is_being_made(path):
                time.sleep(0.005)
                continue
            if unused is None or not _replace(store, path, unused):
                raise refusal(store, path, error) from error
            continue
        except OSError as error:
            raise refusal(store, path, error) from error
        else:
            return _checked(descriptor, store, path)
        with suppress(FileExistsError):  # another process has made it meanwhile
            return _made(store, path, flags)


def make_beside(store: Path, path: Path, flags: int = os.O_RDWR) -> int:
    """Make a file beside a store, and return the descriptor.

    Raises `FileExistsError` if it exists, and otherwise what `open_beside` raises.
    """
    return _made(store, path, flags | os.O_CLOEXEC)


def make_folder_beside(store: Path, path: Path) -> None:
    """Make a folder beside a store, with the permissions of the store, unless it exists.

    Raises `StoreUnwritable` or `StoreFailed`.
    """
    try:
        path.mkdir()
    except FileExistsError:
        if not path.is_dir():
            raise StoreUnwritable(
                f"{path} is in the way: {store} needs a folder of that name; move it away"
            ) from None
        return
    except OSError as error:
        raise refusal(store, path, error) from error
    fit(store, path)


def make_store(path: Path) -> bool:
    """Make an empty file for a store, as the umask and the folder say; return whether it was made.

    A file that SQLite makes is never writable for the group, whatever the umask. This function does
    not open the file: closing it could drop the locks that another thread has on it by then. Where
    the system cannot do that, SQLite makes the file.
    """
    try:
        os.mknod(path, stat.S_IFREG | 0o666)
    except (OSError, AttributeError):  # it exists, or SQLite will report why it cannot be made
        return False
    return True


def fit(store: Path, path: Path) -> None:
    """Set the mode and owner of a file to those of a store, as far as this process may."""
    found = stat_of_link(path)
    like = _stat(store)
    if found is None or like is None or stat.S_ISLNK(found.st_mode) or _is_fit(found, like):
        return
    try:
        # The descriptor names the file even if its path leads elsewhere by now. O_PATH does not
        # open it: closing an open file would drop the locks that this process has on it.
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, AttributeError):  # the file is gone, or the system has no O_PATH
        return
    try:
        _fit(f"/proc/self/fd/{descriptor}", os.fstat(descriptor), like)
    finally:
        os.close(descriptor)


def fit_all(store: Path) -> None:
    """Set the mode and owner of SQLite's own files to those of the store, as far as possible.

    SQLite gives new files the mode of the database, and as root the owner. It does not set the
    group unless the folder does, and it does not change an existing file.
    """
    real = store.resolve()
    for ending in OF_SQLITE:
        fit(real, real.with_name(real.name + ending))


def mode_of(store: Path) -> int:
    """Return the mode for a file beside a store: that of the store, or 600 if it does not exist."""
    found = _stat(store)
    return 0o600 if found is None else found.st_mode & 0o777


def may(path: Path, how: int) -> bool:
    """Return whether this process, as its effective user, may do something to a file.

    Args:
        path: The file.
        how: `os.R_OK`, `os.W_OK`, or both.

    """
    return os.access(path, how, effective_ids=os.access in os.supports_effective_ids)


def refusal(store: Path, path: Path, error: OSError) -> StoreUnwritable | StoreFailed:
    """Return the error to raise if a file beside a store cannot be opened, made or changed."""
    if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):  # a link, a folder, a socket
        return _not_regular(store, path)
    if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreFailed(f"{path} cannot be used: {error.strerror}")
    way = in_the_way(store, path)
    return StoreUnwritable(way or f"{path} cannot be written: {error.strerror}")


def in_the_way(store: Path, *paths: Path) -> str | None:
    """Return a text on what prevents this user from writing a store, and the remedy, or None.

    It checks the store, the files beside it that are named or that SQLite keeps, and the folder.
    None means that none of them prevents it, as far as modes tell.
    """
    real = store.resolve()
    if _stat(real) is not None and not may(real, os.W_OK):
        return f"{real} {_as_it_is(real)}; let its owner do it, or use readonly=True"
    for path in (*paths, *(real.with_name(real.name + ending) for ending in OF_SQLITE)):
        found = stat_of_link(path)
        if found is None or may(path, os.R_OK | os.W_OK):
            continue
        names = f"--reference={shlex.quote(str(real))} {shlex.quote(str(path))}"
        return (
            f"{path} {_as_it_is(path)}, and so it is in the way of writing {real}; "
            f"its owner, or root, may give it what {real.name} has: "
            f"chown {names}; chmod {names}"
        )
    if not may(real.parent, os.W_OK | os.X_OK):
        return (
            f"the folder {real.parent} {_as_it_is(real.parent)}, and {real} needs files beside "
            "it while it is written; make the folder writable, or use readonly=True"
        )
    return None


def _as_it_is(path: Path) -> str:
    """Return a text on why this user may not write a file, as far as modes tell."""
    found = stat_of_link(path)
    who = os.geteuid()
    if found is None:
        return f"cannot be written by {_user(who)}"
    mode = f"mode {found.st_mode & 0o7777:o}"
    if who == 0 or (who == found.st_uid and found.st_mode & 0o200):
        return f"({mode}) cannot be written: it is immutable (see lsattr), or mounted read-only"
    return f"belongs to {_user(found.st_uid)} ({mode}) and cannot be written by {_user(who)}"


def _user(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


# -- opening --------------------------------------------------------------------------------


def _made(store: Path, path: Path, flags: int) -> int:
    mode = mode_of(store)
    try:
        # First for this user alone: the umask may allow others more than the store does.
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, mode & 0o700 | 0o600)
    except FileExistsError:
        raise
    except OSError as error:
        raise refusal(store, path, error) from error
    try:
        _fit_to(store, descriptor, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _checked(descriptor: int, store: Path, path: Path) -> int:
    """Return the descriptor of an existing file if it is a regular one; else close it and raise."""
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _not_regular(store, path)
        _fit_to(store, descriptor, found)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _is_being_made(path: Path) -> bool:
    """Return whether a file is so new that its maker may not have set its mode yet."""
    found = stat_of_link(path)
    return found is not None and not found.st_size and time.time() - found.st_mtime < _MAKING


def _replace(store: Path, path: Path, unused: Callable[[int], bool]) -> bool:
    """Replace an unused file by an empty one; return whether that was possible."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        if not (stat.S_ISREG(os.fstat(descriptor).st_mode) and unused(descriptor)):
            return False
        part = path.with_name(f".{store.name}.{secrets.token_hex(8)}.part")
        try:
            os.close(_made(store, part, os.O_RDWR | os.O_CLOEXEC))
            part.replace(path)  # which a sticky folder may refuse
        except OSError:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            return False
    finally:
        os.close(descriptor)
    return True


def _not_regular(store: Path, path: Path) -> StoreUnwritable:
    return StoreUnwritable(
        f"{path} is in the way: {store} needs a regular file of that name; move it away"
    )


# -- mode and owner -------------------------------------------------------------------------


def _is_fit(found: os.stat_result, like: os.stat_result) -> bool:
    same = (found.st_uid, found.st_gid) == (like.st_uid, like.st_gid)
    return same and not (found.st_mode ^ like.st_mode) & 0o777 and stat.S_ISREG(found.st_mode)


def _fit_to(store: Path, descriptor: int, found: os.stat_result) -> None:
    like = _stat(store)
    if like is not None and not _is_fit(found, like):
        _fit(descriptor, found, like)


def _fit(target: int | str, found: os.stat_result, like: os.stat_result) -> None:
    """Set the mode and owner of a file or folder, by a descriptor or a path, to those of another.

    It sets as much of them as this process may.
    """
    me = os.geteuid()
    if me not in (0, found.st_uid):
        return
    if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:  # the file has another name elsewhere
        return
    owner = like.st_uid if me == 0 else _SAME
    group = found.st_gid
    if owner not in (_SAME, found.st_uid) or group != like.st_gid:
        group = _give(target, owner, like.st_gid, group)
    mode = like.st_mode & 0o777
    if group != like.st_gid:  # another group must not get the rights of the store's group
        mode = mode & ~0o070 | ((mode >> 3) & mode & 0o007) << 3
    if stat.S_ISDIR(found.st_mode):
        mode |= (mode & 0o444) >> 2  # users who may read it may also enter it
        mode |= found.st_mode & (stat.S_ISGID | stat.S_ISVTX)  # keep these bits of the folder
    if found.st_mode & 0o7777 != mode:
        with suppress(OSError):  # the file system has no modes
            os.chmod(target, mode)  # noqa: PTH101 - it may be a descriptor


def _give(target: int | str, owner: int, group: int, now: int) -> int:
    """Change the owner and the group of a file; return the group that it has then."""
    for gid in (group, _SAME):
        try:
            os.chown(target, owner, gid)
        except OSError:  # this user is not in the group, or the file system has no owners
            continue
        return now if gid == _SAME else gid
    return now


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def stat_of_link(path: Path) -> os.stat_result | None:
    """Return the `lstat` of a path, which does not follow a link, or None if there is none."""
    try:
        return path.lstat()
    except OSError:
        return None
