"""The lease on a folder of checkpoints: one training owns it at a time.

Two trainings in one folder would each continue from the other's checkpoints after a restart. So the
folder contains a lock file, which names its owner. The kernel drops the lock when the process of
the owner dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from traininglog.errors import TrainingLogWarning
from traininglog.loop.errors import CheckpointsBusy

OWNER = ".owner"


class Ownership:
    """The lock on a folder.

    Args:
        folder: The folder; `claim` creates it.

    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: Any = None
        self.wanted = False  #: whether this training has claimed the folder and not released it

    def claim(self) -> None:
        """Claim the folder for this training; do nothing if it holds the folder already.

        Warns if the file system has no locks. Raises `CheckpointsBusy` if another training holds
        the folder, and `OSError` if no file can be created in it.
        """
        try:
            from traininglog.locked_files import FileLock, open_regular
        except ImportError:  # Windows has no lock to take
            return
        self.wanted = True
        path = self._folder / OWNER
        while self._lock is None or not self._lock.is_at(path):
            # If the folder was removed and created anew, our lock is on a file that is gone.
            self.release()
            self.wanted = True
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(open_regular(path, os.O_RDWR | os.O_CREAT))
            try:
                taken = lock.acquire()
            except OSError as error:
                warnings.warn(
                    f"{self._folder} is on a file system without locks ({error.strerror}): nothing "
                    "keeps two trainings from writing their checkpoints there at once",
                    TrainingLogWarning,
                    stacklevel=2,
                )
                self.wanted = False
                lock.release()
                return
            if not taken:
                by = _told(lock.descriptor)
                lock.release()
                raise CheckpointsBusy(
                    f"the checkpoints in {self._folder} are those of another training that runs"
                    f"{by}: give each training a checkpoint_dir of its own, or end that one first"
                )
            self._lock = lock
        _tell(self._lock.descriptor)

    def release(self) -> None:
        """Release the folder."""
        lock, self._lock, self.wanted = self._lock, None, False
        if lock is not None:
            path = self._folder / OWNER
            # A process that has opened the file meanwhile sees after our release that it is gone.
            # In a forked child the lock is closed: the file belongs to the parent.
            if lock.is_at(path):
                with contextlib.suppress(OSError):
                    path.unlink()
            lock.release()


def _tell(descriptor: int) -> None:
    """Write the owner into the lock file, for the error of others. Ignores a full disk."""
    facts = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(facts).encode(), 0)


def _told(descriptor: int | None) -> str:
    try:
        facts = json.loads(os.pread(descriptor or 0, 1000, 0))
        return f" (process {facts['pid']} on {facts['host']}, since {facts['since']})"
    except (OSError, ValueError, TypeError, KeyError):
        return ""
