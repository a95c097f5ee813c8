"""The tail of a run: what was assigned and is not in the document yet, a line of JSON each.

It is ``report.json-tail-<uuid>``, beside the document. Who writes a run keeps its tail locked until
the log is closed, so that nobody else takes it: a second opener reads it and leaves it, and is told
that the run is busy when it assigns. The kernel drops the lock when the process ends; whoever opens
the run next then puts the tail into the document. The first line says who writes, for people.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import threading
import time
import weakref
from pathlib import Path
from typing import Any

from traininglog.errors import RunBusy, StoreFailed, StoreUnwritable
from traininglog.jsonfile.changes import Changes, changes_in
from traininglog.jsonfile.reading import MOST, end_of_lines, lines_of, parsed
from traininglog.locked_files import FileLock, NotRegular, open_regular
from traininglog.side_files import fit

#: What stands in the way of writing for a while. All else is for the user to mend.
_PASSING = frozenset(
    {
        errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE,
        errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN, errno.EINTR, errno.ESTALE,
    }
)  # fmt: skip
#: How often it is tried again in an assignment.
_AGAIN = 0.05  # seconds


def tail_path(document: Path, uuid: str) -> Path:
    """Return where that is written first which is assigned to a run."""
    return document.with_name(f"{document.name}-tail-{uuid}")


class Tail:
    """The tail of one run, for all logs of this process."""

    def __init__(self, document: Path, uuid: str) -> None:
        self._document = document
        self.path = tail_path(document, uuid)
        self.uuid = uuid
        #: The logs that have written to it and are not closed, by their `id`.
        self.users: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        #: What is to be said to the user, once.
        self.said: list[str] = []
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._file: FileLock | None = None
        self._end = 0  # where the next line goes
        self._waiting: list[bytes] = []  # lines that are not in the file yet
        self._draining = False
        self._tried: float | None = None  # when it failed last to write them

    @staticmethod
    def of(document: Path, uuid: str) -> Tail:
        """Return the one object of this process for the tail of a run."""
        path = tail_path(document, uuid)
        with _REGISTRY_LOCK:
            found = _REGISTRY.get(path)
            if found is None or found._pid != os.getpid():
                found = _REGISTRY[path] = Tail(document, uuid)
            return found

    @property
    def is_held(self) -> bool:
        """Whether this process writes the run."""
        return self._file is not None and self._file.descriptor is not None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it that the document lacks."""
        return not self._end and not self._waiting

    # -- who has it ---------------------------------------------------------------------------

    def claim(self) -> None:
        """Become the writer of the run.

        Raises `RunBusy` where another process is, and `StoreUnwritable` or `StoreFailed`.
        """
        try:
            taken = self.take(create=True)
        except OSError as error:
            self._refuse(error)
            self._note(error)  # it can pass: what is assigned waits in memory for it
            return
        if not taken:
            self._refuse_busy()

    def require(self) -> None:
        """Be the writer of the run. Raises what `claim` raises, also for what can pass."""
        self.claim()
        if not self.is_held:
            raise StoreFailed(
                f"{self.path} cannot be made now, and so run {self.uuid} cannot be written; what "
                "was assigned is kept in memory: flush again when the disk has space"
            )

    def take(self, *, create: bool) -> bool:
        """Lock the tail for this process, if no other has it; return whether this one has.

        Args:
            create: Make it if it is not there.

        Raises `OSError`.
        """
        flags = os.O_RDWR | (os.O_CREAT if create else 0)
        with self._lock:
            while not self.is_held:
                try:
                    file = FileLock(open_regular(self.path, flags))
                except FileNotFoundError:
                    if create:
                        raise
                    return False
                try:
                    if not file.acquire():
                        return False
                    if file.is_at(self.path):  # else who had it has just removed it
                        self._adopt(file)
                finally:
                    if self._file is not file:
                        file.release()
            return True

    def _adopt(self, file: FileLock) -> None:
        descriptor = file.descriptor
        assert descriptor is not None  # noqa: S101 - it was opened just now
        size = os.fstat(descriptor).st_size
        if size > MOST:
            raise StoreUnwritable(
                f"{self.path} has {size:,} bytes, more than the tail of a run: move it away"
            )
        end = end_of_lines(descriptor, size)
        if end < size:
            self.said.append(
                f"{self.path}: the process that wrote it ended in the midst of its last line, "
                "which was left out"
            )
        if not size:  # it may be new
            fit(self._document, self.path)
        self._end, self._file = end, file

    def let_go(self, *, remove: bool) -> None:
        """Unlock the tail, after it was put into the document if it is to be removed."""
        with self._lock:
            if self._file is not None:
                if remove and self._file.is_at(self.path):
                    with contextlib.suppress(FileNotFoundError):
                        self.path.unlink()
                self._file.release()
            self._file, self._end = None, 0

    def _refuse_busy(self) -> None:
        writer = _writer_of(self.path)
        who = "another process" if writer is None else "process {pid} on {host}".format(**writer)
        raise RunBusy(
            f"run {self.uuid} is being written by {who}: wait for its end, resume it as a run of "
            "your own, or open it with readonly=True to look at it"
        )

    def _refuse(self, error: OSError) -> None:
        """Raise what is to be mended; return for what can pass."""
        if isinstance(error, (StoreUnwritable, StoreFailed)):
            raise error
        if isinstance(error, NotRegular):
            raise StoreUnwritable(f"{self.path}: {error.strerror}; move it away") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StoreUnwritable(
                f"{self.path} cannot be written ({error.strerror}); check its permissions and "
                "its folder's"
            ) from error
        if error.errno not in _PASSING:
            raise StoreFailed(f"{self.path} cannot be written: {error.strerror}") from error

    # -- what is in it ------------------------------------------------------------------------

    def append(self, change: dict[str, Any]) -> None:
        """Write a change: when it returns, that survives the process.

        Unless the disk is full or the like: then it waits in memory, `said` tells so once, and it
        is written before the next one. Raises what `claim` raises, and then nothing was taken.
        """
        line = json.dumps(change, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            self._waiting.append(line)
            if self._tried is not None and time.monotonic() - self._tried < _AGAIN:
                return
            try:
                self.drain()
            except BaseException:
                with contextlib.suppress(ValueError):  # it was written, and only then interrupted
                    self._waiting.remove(line)
                raise

    def drain(self) -> bool:
        """Write what waits, and return whether nothing does any more."""
        with self._lock:
            if self._draining:  # a signal handler: what it interrupted writes all that waits
                return False
            self._draining = True
            try:
                while self._waiting:
                    self._hold()
                    lines = list(self._waiting)
                    end = self._write(b"".join(lines))
                    # No signal handler comes between the two: a line would be there twice, and the
                    # second time after newer ones.
                    self._end, self._waiting = end, self._waiting[len(lines) :]
                self._tried = None
            except OSError as error:
                self._refuse(error)
                self._note(error)
            finally:
                self._draining = False
            return not self._waiting

    def _hold(self) -> None:
        """See to it that the file is this process's, and where others look for it."""
        if self._file is not None and self.is_held and not self._file.is_at(self.path):
            self._save_removed()
        if not self.is_held and not self.take(create=True):
            self._refuse_busy()

    def _write(self, data: bytes) -> int:
        """Add whole lines to the file, and return where they end, or leave it as it was.

        Raises `OSError`.
        """
        assert self._file is not None  # noqa: S101 - it is held
        descriptor = self._file.descriptor
        assert descriptor is not None  # noqa: S101 - it is held
        if not self._end:
            data = _first_line() + data
        written = 0
        try:
            while written < len(data):
                written += os.pwrite(descriptor, data[written:], self._end + written)
        except BaseException:
            # A part of a line may be there. What is written next goes over it; until then it must
            # not be taken for anything.
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, self._end)
            raise
        return self._end + written

    def _save_removed(self) -> None:
        """Somebody has removed or renamed the file: what was in it is to be written again."""
        file, end = self._file, self._end
        assert file is not None  # noqa: S101 - it is held
        assert file.descriptor is not None  # noqa: S101 - it is held
        lost = os.pread(file.descriptor, end, 0)
        self._waiting = [lost, *self._waiting]
        self.let_go(remove=False)
        self.said.append(
            f"{self.path} was removed while the run is being written; it was made again, and "
            "nothing was lost"
        )

    def _note(self, error: OSError) -> None:
        if self._tried is None:
            self.said.append(
                f"{self.path} cannot be written ({error.strerror}): what is assigned is kept in "
                "memory, to be written as soon as that is possible; it would be lost if the "
                "process was killed before"
            )
        self._tried = time.monotonic()

    def changes(self) -> Changes:
        """Return what is in it, and what waits to be. To be called by its writer."""
        file = self._file
        with self._lock:
            found = Changes([])
            if file is not None and file.descriptor is not None:
                found = changes_in(self.path, lines_of(file.descriptor, self._end))
            waiting = b"".join(self._waiting).split(b"\n")
            found.changes.extend(parsed(line.decode()) for line in waiting if line)
            return found

    def clear(self, *, damaged: bool) -> None:
        """Empty the tail, as all of it is in the document.

        Args:
            damaged: Whether some of it could not be read: then the file is kept under another name.

        """
        with self._lock:
            self._waiting.clear()
            self._tried = None
            if self._file is None or self._file.descriptor is None:
                return
            if damaged:
                kept = _free_name(self.path.with_name(f"{self.path.name}-damaged"))
                self.path.rename(kept)
                self.said.append(f"the file with the lines that cannot be read is now {kept}")
                self.let_go(remove=False)
                self.take(create=True)
                return
            os.ftruncate(self._file.descriptor, 0)
            self._end = 0

    def __del__(self) -> None:
        if self._waiting and self._pid == os.getpid():
            with contextlib.suppress(OSError, RunBusy):
                self.drain()


def read_changes(document: Path, uuid: str) -> Changes:
    """Return what is in the tail of a run, whoever writes it.

    A file that cannot be a tail is said to be none, and left alone.
    """
    path = tail_path(document, uuid)
    try:
        descriptor = open_regular(path, os.O_RDONLY)
    except FileNotFoundError:
        return Changes([])
    except OSError as error:
        return Changes([], f"{path} cannot be read ({error.strerror}), and was left out")
    try:
        size = os.fstat(descriptor).st_size
        if size > MOST:
            return Changes([], f"{path} has {size:,} bytes, and was left out: it is no tail")
        return changes_in(path, lines_of(descriptor, size))
    except OSError as error:
        return Changes([], f"{path} cannot be read ({error.strerror}), and was left out")
    finally:
        os.close(descriptor)


def _first_line() -> bytes:
    writer = {"pid": os.getpid(), "host": socket.gethostname()}
    return json.dumps({"writer": writer}, separators=(",", ":")).encode() + b"\n"


def _writer_of(path: Path) -> dict[str, Any] | None:
    """Return which process writes a tail, for people; None if that cannot be told."""
    try:
        descriptor = open_regular(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        first = os.pread(descriptor, 4096, 0).partition(b"\n")[0]
        writer = parsed(first.decode())["writer"]
        return {"pid": int(writer["pid"]), "host": str(writer["host"])}
    except (OSError, ValueError, TypeError, KeyError):
        return None
    finally:
        os.close(descriptor)


def _free_name(path: Path) -> Path:
    number, found = 1, path
    while os.path.lexists(found):
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    return found


_REGISTRY: weakref.WeakValueDictionary[Path, Tail] = weakref.WeakValueDictionary()
_REGISTRY_LOCK = threading.Lock()


def _after_fork() -> None:
    global _REGISTRY_LOCK  # noqa: PLW0603 - another thread of the parent may have held it
    _REGISTRY_LOCK = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
