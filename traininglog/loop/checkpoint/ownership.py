"""Whose a folder of checkpoints is: one training's at a time.

Two trainings in one folder would each go on from the other's checkpoints after a restart. So the
folder has a file with a lock that the kernel drops when its process dies, and which says who has
it.
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
        folder: The folder, which is made when it is claimed.

    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: Any = None
        self.wanted = False  #: whether it was claimed, and not released since

    def claim(self) -> None:
        """Take the folder for this training; nothing, if it has it already.

        Raises `CheckpointsBusy` if another training has it, and `OSError` where no file can be
        made in it.
        """
        try:
            from traininglog.locked_files import FileLock, open_regular
        except ImportError:  # Windows, where nobody tells
            return
        self.wanted = True
        path = self._folder / OWNER
        while self._lock is None or not self._lock.is_at(path):
            # A folder that was removed and made anew is another one: what we have is nobody's.
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
        """Let go of the folder."""
        lock, self._lock, self.wanted = self._lock, None, False
        if lock is not None:
            path = self._folder / OWNER
            # Whoever has opened it meanwhile sees that it is gone, once we have let go of it. In a
            # forked child the lock is closed: the file is the parent's.
            if lock.is_at(path):
                with contextlib.suppress(OSError):
                    path.unlink()
            lock.release()


def _tell(descriptor: int) -> None:
    """Write down who has the folder, for whoever is refused. A full disk is of no account."""
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
