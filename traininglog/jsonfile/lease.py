"""The lease of a run in a document: a file that the writer of the run has locked.

The kernel drops the lock when the process ends. The first line names the writer, for people.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Any

from traininglog.errors import RunBusy, StoreFailed, StoreUnwritable
from traininglog.jsonfile.reading import parsed
from traininglog.locked_files import FileLock, NotRegular, open_regular
from traininglog.side_files import fit

# A first line is shorter than this.
_LONGEST = 4096


def lease_path(document: Path, uuid: str) -> Path:
    """Return the file of the lease of a run."""
    return document.with_name(f"{document.name}-lease-{uuid}")


def busy(uuid: str, who: str = "another process") -> RunBusy:
    """Return the error for a run that another process writes."""
    return RunBusy(
        f"run {uuid} is being written by {who}: wait for its end, resume it as a run of your own, "
        "or open it with readonly=True to look at it"
    )


def refusal(path: Path, error: OSError) -> Exception:
    """Return what to raise where a file beside a document cannot be used."""
    if isinstance(error, (StoreUnwritable, StoreFailed)):
        return error
    if isinstance(error, NotRegular):
        return StoreUnwritable(f"{path}: {error.strerror}; move it away")
    if isinstance(error, PermissionError):
        return StoreUnwritable(
            f"{path} cannot be written ({error.strerror}); check its permissions and its folder's"
        )
    return StoreFailed(f"{path} cannot be made: {error.strerror}")


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

    def take(self) -> None:
        """Take the lease. Raises `RunBusy`, `StoreUnwritable` or `StoreFailed`."""
        try:
            taken = self._lock(os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise refusal(self._path, error) from error
        if not taken:
            writer = self._writer()
            if writer is None:
                raise busy(self.uuid)
            raise busy(self.uuid, "process {pid} on {host}".format(**writer))

    def renew(self) -> None:
        """Take the lease again if somebody has removed or renamed its file."""
        if self._file is not None and not self._file.is_at(self._path):
            self._file.release()
            with contextlib.suppress(OSError):  # the next flush tries again
                self._lock(os.O_RDWR | os.O_CREAT)

    def let_go(self) -> None:
        """Release the lease, and remove its file."""
        file, self._file = self._file, None
        if file is not None:
            if file.is_at(self._path):
                with contextlib.suppress(OSError):
                    self._path.unlink()
            file.release()

    def sweep(self) -> None:
        """Remove the file of a lease that nobody holds: its writer was killed."""
        with contextlib.suppress(OSError):
            if self._lock(os.O_RDWR):
                self.let_go()

    def _lock(self, flags: int) -> bool:
        """Lock the file; return whether no other process holds it, and it is there."""
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
        self._file = file
        if flags & os.O_CREAT:
            fit(self._document, self._path)
            self._sign(file)
        return True

    def _sign(self, file: FileLock) -> None:
        writer = {"pid": os.getpid(), "host": socket.gethostname()}
        line = json.dumps({"writer": writer}, separators=(",", ":")).encode() + b"\n"
        if file.descriptor is not None:
            with contextlib.suppress(OSError):  # it is for people
                os.ftruncate(file.descriptor, 0)
                os.pwrite(file.descriptor, line, 0)

    def _writer(self) -> dict[str, Any] | None:
        """Return which process writes the run, for people; None if that cannot be told."""
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
