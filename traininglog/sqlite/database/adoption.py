"""Taking over WAL files that only another user can write.

A file may be opened to a group after its WAL was made. Or a process of another user may have left a
WAL that only that user can write. A process that may write the file and the folder replaces such a
WAL by a copy, while a lock makes sure that no process has the file open.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from traininglog import file_locks, parts
from traininglog.side_files import may
from traininglog.sqlite.file.header import stat_of, wal_path

# The first of the bytes that SQLite holds a shared lock on while it has a file open in WAL mode;
# see sqlite.org/fileformat.html, 1.6, and `SHARED_FIRST` in SQLite's sources.
_SHARED_FIRST = 0x40000002


def take_over(path: Path) -> None:
    """Replace WAL files that only another user can write, if no process has the file open.

    This process must not have it open either. If it cannot be done, all files stay as they are.
    """
    real = path.resolve()
    wal = wal_path(path)
    shm = real.with_name(real.name + "-shm")
    unfit = [
        found
        for found in (wal, shm)
        if stat_of(found) is not None and not may(found, os.R_OK | os.W_OK)
    ]
    if not unfit or not file_locks.OWN or not may(real, os.R_OK | os.W_OK):
        return
    descriptor = os.open(real, os.O_RDWR | os.O_CLOEXEC)
    try:
        # With this lock, no process has the file open, and none can open it until it is released.
        if file_locks.lock(descriptor, _SHARED_FIRST, patience=0.0):
            if wal in unfit:
                _put_copy(real, wal)
            with suppress(OSError):  # SQLite rebuilds it from the WAL
                shm.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _put_copy(database: Path, wal: Path) -> None:
    with suppress(OSError), wal.open("rb") as source, parts.making(database, database) as part:
        with part.open("r+b") as target:
            shutil.copyfileobj(source, target)
            target.flush()
            os.fsync(target.fileno())
        part.replace(wal)  # a sticky folder may refuse this
