"""The lease of a run in a document: a file that its writer has locked.

The kernel drops the lock as the process ends. The first line names the writer, for people. Older
versions wrote the assignments to the same file, one per line: the *tail* of the run. So older
versions and this one leave each other's runs alone, and this one always reads a tail that was left
behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from traininglog.errors import RunBusy, StoreFailed, StoreUnwritable
from traininglog.jsonfile.changes import Changes, changes_in
from traininglog.jsonfile.reading import MOST, end_of_lines, lines_of, parsed
from traininglog.locked_files import FileLock, NotRegular, open_regular
from traininglog.side_files import fit

_MIDDLE = "-tail-"
# A first line is shorter than this.
_LONGEST = 4096


def lease_path(document: Path, uuid: str) -> Path:
    """Return the file of the lease of a run."""
    return document.with_name(f"{document.name}{_MIDDLE}{uuid}")


class RunLease:
    """The right of one log to write a run.

    Args:
        document: The document.
        uuid: The run, as 32 hex digits.

    """

    def __init__(self, document: Path, uuid: str) -> None:
        self.uuid = uuid
        self._document = document
        self._path = lease_path(document, uuid)
        self._file: FileLock | None = None
        self._cut = False  # whether the last line of an old tail is not whole

    @staticmethod
    def old_tails(document: Path) -> Iterator[str]:
        """Yield the runs, as 32 hex digits, of which an older version may be writing a tail."""
        start = f"{document.name}{_MIDDLE}"
        with contextlib.suppress(OSError), os.scandir(document.parent) as entries:
            for entry in entries:
                rest = entry.name.removeprefix(start)
                if rest != entry.name and len(rest) == 32:
                    yield rest

    def take(self) -> None:
        """Take the lease. Raises `RunBusy`, `StoreUnwritable` or `StoreFailed`."""
        try:
            taken = self._lock(os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise self._refusal(error) from error
        if not taken:
            writer = self._writer()
            who = (
                "another process" if writer is None else "process {pid} on {host}".format(**writer)
            )
            raise RunBusy(
                f"run {self.uuid} is being written by {who}: wait for its end, resume it as a run "
                "of your own, or open it with readonly=True to look at it"
            )

    def is_free_to_take(self) -> bool:
        """Take the lease if it has a file and no holder; return whether it was taken."""
        try:
            return self._lock(os.O_RDWR)
        except OSError:  # an assignment will raise it
            return False

    def sweep(self) -> None:
        """Remove the file of a lease without a holder, unless it has an old tail in it."""
        if self.is_free_to_take():
            old = self.old_changes()
            self.let_go(remove=not (old.changes or old.flaw))

    def old_changes(self) -> Changes:
        """Return the changes that an older version has written. Only the holder may call it."""
        descriptor = self._descriptor
        size = os.fstat(descriptor).st_size
        end = end_of_lines(descriptor, size)
        found = changes_in(self._path, lines_of(descriptor, end))
        self._cut = end < size
        return found

    def clear(self, old: Changes) -> list[str]:
        """Reduce the file to the line that names the writer: the document has the rest.

        Returns texts to tell people. A file with damaged lines is kept under another name.
        """
        said = []
        if self._cut:
            said.append(
                f"{self._path}: the process that wrote it ended in the midst of its last line, "
                "which was left out"
            )
        if old.flaw is not None:
            kept = _free_name(self._path.with_name(f"{self._path.name}-damaged"))
            self._path.rename(kept)
            said += [old.flaw, f"the file with the lines that cannot be read is now {kept}"]
            self.let_go(remove=False)
            self.take()
        elif old.changes or self._cut:
            os.ftruncate(self._descriptor, 0)
            self._sign()
        return said

    @property
    def _descriptor(self) -> int:
        assert self._file is not None  # noqa: S101 - it was taken
        descriptor = self._file.descriptor
        assert descriptor is not None  # noqa: S101 - likewise
        return descriptor

    def _lock(self, flags: int) -> bool:
        while True:
            try:
                file = FileLock(open_regular(self._path, flags))
            except FileNotFoundError:
                if flags & os.O_CREAT:
                    raise
                return False
            if not file.acquire():
                file.release()
                return False
            if file.is_at(self._path):  # else its last holder has just removed it
                break
            file.release()
        descriptor = file.descriptor
        assert descriptor is not None  # noqa: S101 - it was opened just now
        size = os.fstat(descriptor).st_size
        if size > MOST:
            file.release()
            raise StoreUnwritable(
                f"{self._path} has {size:,} bytes, more than the tail of a run: move it away"
            )
        self._file = file
        if not size and flags & os.O_CREAT:
            fit(self._document, self._path)
            self._sign()
        return True

    def _sign(self) -> None:
        writer = {"pid": os.getpid(), "host": socket.gethostname()}
        line = json.dumps({"writer": writer}, separators=(",", ":")).encode() + b"\n"
        with contextlib.suppress(OSError):  # it is for people
            os.pwrite(self._descriptor, line, 0)

    def renew(self) -> None:
        """Take the lease again if its file was removed or renamed."""
        if self._file is not None and not self._file.is_at(self._path):
            self._file.release()
            with contextlib.suppress(OSError):  # the next flush tries again
                self._lock(os.O_RDWR | os.O_CREAT)

    def let_go(self, *, remove: bool = True) -> None:
        """Release the lease, and by default remove its file, which is not needed any more."""
        file, self._file = self._file, None
        if file is not None:
            if remove and file.is_at(self._path):
                with contextlib.suppress(OSError):
                    self._path.unlink()
            file.release()

    def _refusal(self, error: OSError) -> Exception:
        if isinstance(error, (StoreUnwritable, StoreFailed)):
            return error
        if isinstance(error, NotRegular):
            return StoreUnwritable(f"{self._path}: {error.strerror}; move it away")
        if isinstance(error, PermissionError):
            return StoreUnwritable(
                f"{self._path} cannot be written ({error.strerror}); check its permissions and "
                "its folder's"
            )
        return StoreFailed(f"{self._path} cannot be made: {error.strerror}")

    def _writer(self) -> dict[str, Any] | None:
        """Return the process that writes the run, for people, or None if it is not known."""
        try:
            descriptor = open_regular(self._path, os.O_RDONLY)
        except OSError:
            return None
        try:
            first = os.pread(descriptor, _LONGEST, 0).partition(b"\n")[0]
            writer = parsed(first.decode())["writer"]
            return {"pid": int(writer["pid"]), "host": str(writer["host"])}
        except (OSError, ValueError, TypeError, KeyError):
            return None
        finally:
            os.close(descriptor)


def read_old_tail(document: Path, uuid: str) -> Changes:
    """Return the changes in the tail that an older version left, or is writing.

    A file that cannot be a tail is left alone, and `Changes.flaw` says so.
    """
    path = lease_path(document, uuid)
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


def _free_name(path: Path) -> Path:
    number, found = 1, path
    while os.path.lexists(found):
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    return found
