"""Files beside a store: each is made with the mode and the owner of the store's own file.

Whoever may write a store must be able to write what others have left beside it: its write-ahead
log, its journals, the file of its locks. So whoever makes such a file gives it the mode of the
store and, as far as the system allows it, the owner and the group. Root may give files away; other
users get the group from a folder with the setgid bit, or give it to a file that is their own.

What cannot be written all the same is refused by `StoreUnwritable`, which names the file that is in
the way and what to do about it.
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

#: What SQLite keeps beside a database of its own accord.
OF_SQLITE = ("-wal", "-shm", "-journal")

# How long a file that another process makes may lack the mode that it is about to get, in seconds.
_MAKING = 0.2

# What leaves an owner or a group as it is.
_SAME = -1


def open_beside(
    store: Path,
    path: Path,
    flags: int = os.O_RDWR,
    *,
    create: bool = True,
    unused: Callable[[int], bool] | None = None,
) -> int:
    """Open a file beside a store, made where there is none, and return the descriptor.

    A file that is there and has another mode or owner than the store gets them if this process may
    give them. The caller need not add ``O_CREAT`` or ``O_CLOEXEC``.

    Args:
        store: The file whose mode and owner count; it need not be there.
        path: The file beside it.
        flags: Those of `os.open`.
        create: Whether to make the file where there is none.
        unused: Tells by a descriptor for reading whether nobody uses the file as it is. Then one
            that this user may not write is replaced by an empty one, if the folder allows that.

    Raises:
        FileNotFoundError: There is none, and `create` is False.
        StoreUnwritable: This user may not open or make it, or it is no regular file.
        StoreFailed: The system cannot: the disk is full, too many files are open.

    """
    # No link, which may lead root anywhere; and to open a FIFO would wait for ever.
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
        with suppress(FileExistsError):  # another process was faster
            return _made(store, path, flags)


def make_beside(store: Path, path: Path, flags: int = os.O_RDWR) -> int:
    """Make a file beside a store, and return the descriptor.

    Raises `FileExistsError` where there is one, and otherwise what `open_beside` raises.
    """
    return _made(store, path, flags | os.O_CLOEXEC)


def make_folder_beside(store: Path, path: Path) -> None:
    """Make a folder beside a store, which is as open to others as the store; one may be there.

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
    """Make an empty file for a store, as the umask and the folder have it; tell if there was none.

    SQLite would let no group write a file that it makes, whatever the umask. The file is made
    without being opened: to close it could drop the locks that another thread has on it by then.
    Where the system cannot do that, it is left to SQLite.
    """
    try:
        os.mknod(path, stat.S_IFREG | 0o666)
    except (OSError, AttributeError):  # it is there; or SQLite will say why it cannot be
        return False
    return True


def fit(store: Path, path: Path) -> None:
    """Give a file mode and owner of a store, as far as this process may."""
    found = stat_of_link(path)
    like = _stat(store)
    if found is None or like is None or stat.S_ISLNK(found.st_mode) or _is_fit(found, like):
        return
    try:
        # A name of the file whatever its path leads to by now; and without opening it, as to close
        # it would drop the locks that this process has on it.
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, AttributeError):  # it is gone; or a system without such descriptors
        return
    try:
        _fit(f"/proc/self/fd/{descriptor}", os.fstat(descriptor), like)
    finally:
        os.close(descriptor)


def fit_all(store: Path) -> None:
    """Give what SQLite keeps beside a store mode and owner of the store, as far as possible.

    SQLite gives its files the mode, and as root the owner; not the group where the folder does
    not, and nothing to a file that is there already.
    """
    real = store.resolve()
    for ending in OF_SQLITE:
        fit(real, real.with_name(real.name + ending))


def mode_of(store: Path) -> int:
    """Return the mode of a store, which a file beside it gets: for the user alone without one."""
    found = _stat(store)
    return 0o600 if found is None else found.st_mode & 0o777


def may(path: Path, how: int) -> bool:
    """Tell whether this process, as whoever it acts now, may do something to a file.

    Args:
        path: The file.
        how: `os.R_OK`, `os.W_OK`, or both.

    """
    return os.access(path, how, effective_ids=os.access in os.supports_effective_ids)


def refusal(store: Path, path: Path, error: OSError) -> StoreUnwritable | StoreFailed:
    """Return what to raise where a file beside a store cannot be opened, made or changed."""
    if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):  # a link, a folder, a socket
        return _not_regular(store, path)
    if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreFailed(f"{path} cannot be used: {error.strerror}")
    way = in_the_way(store, path)
    return StoreUnwritable(way or f"{path} cannot be written: {error.strerror}")


def in_the_way(store: Path, *paths: Path) -> str | None:
    """Return, for people, what keeps this user from writing a store, and the remedy.

    None where nothing does, as far as can be told. Looked at are the store, the files beside it
    that are named or that SQLite keeps, and the folder.
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
    """Return, for people, why this user may not write a file, as far as modes tell."""
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
        # First for nobody else: what the umask leaves may be more than others should get.
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
    """Return a descriptor of a file that was there, if it is one; else close it."""
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
    """Tell whether a file that may not be opened is so new that its maker may be at work on it."""
    found = stat_of_link(path)
    return found is not None and not found.st_size and time.time() - found.st_mtime < _MAKING


def _replace(store: Path, path: Path, unused: Callable[[int], bool]) -> bool:
    """Put an empty file in the place of one that nobody uses; tell whether that could be done."""
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
    """Give a file or folder, by a descriptor or a path, mode and owner of another one."""
    me = os.geteuid()
    if me not in (0, found.st_uid):
        return
    if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:  # it is somebody's under another name
        return
    owner = like.st_uid if me == 0 else _SAME
    group = found.st_gid
    if owner not in (_SAME, found.st_uid) or group != like.st_gid:
        group = _give(target, owner, like.st_gid, group)
    mode = like.st_mode & 0o777
    if group != like.st_gid:  # another group must not get what is that of the store
        mode = mode & ~0o070 | ((mode >> 3) & mode & 0o007) << 3
    if stat.S_ISDIR(found.st_mode):
        mode |= (mode & 0o444) >> 2  # who may read it may look into it
        mode |= found.st_mode & (stat.S_ISGID | stat.S_ISVTX)  # as its own folder has it
    if found.st_mode & 0o7777 != mode:
        with suppress(OSError):  # a file system that has no modes
            os.chmod(target, mode)  # noqa: PTH101 - it may be a descriptor


def _give(target: int | str, owner: int, group: int, now: int) -> int:
    """Give a file to an owner and a group; return the group that it has then."""
    for gid in (group, _SAME):
        try:
            os.chown(target, owner, gid)
        except OSError:  # no member of the group; or a file system that has no owners
            continue
        return now if gid == _SAME else gid
    return now


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def stat_of_link(path: Path) -> os.stat_result | None:
    """Return what the system knows of a path itself, be it a link; None where it tells nothing."""
    try:
        return path.lstat()
    except OSError:
        return None
