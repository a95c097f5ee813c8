"""What SQLite left beside a file for one user alone, made fit for all who may write the file.

A file may be opened to a group after its WAL was made, or somebody else's process may have left one
that only its user can write. Who may write the file and the folder puts a copy in its place, while
it is sure that nobody has the file open.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from traininglog import file_locks, parts
from traininglog.side_files import may
from traininglog.sqlite.file.header import stat_of, wal_path

# The first of the bytes that whoever has a file open in WAL mode has a shared lock on; see
# sqlite.org/fileformat.html, 1.6, and `SHARED_FIRST` in SQLite's sources.
_SHARED_FIRST = 0x40000002


def take_over(path: Path) -> None:
    """Put copies in the place of what only somebody else can write, if nobody has the file open.

    To be called in a process that has not. Where it cannot be done, all stays as it is.
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
        # Nobody has it open, and nobody can open it before this lock is given up.
        if file_locks.lock(descriptor, _SHARED_FIRST, patience=0.0):
            if wal in unfit:
                _put_copy(real, wal)
            with suppress(OSError):  # the WAL has all that is in there
                shm.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _put_copy(database: Path, wal: Path) -> None:
    with suppress(OSError), wal.open("rb") as source, parts.making(database, database) as part:
        with part.open("r+b") as target:
            shutil.copyfileobj(source, target)
            target.flush()
            os.fsync(target.fileno())
        part.replace(wal)  # which a sticky folder may refuse
