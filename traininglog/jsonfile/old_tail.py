"""The tail of a run, as older versions wrote it: a line for each change, in a file of its own.

Their writer locked that file. Whoever writes the run now takes the lock, puts the lines into the
document, and removes the file. A file that is being written by an older version is left alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from traininglog.errors import StoreUnwritable
from traininglog.file_names import free_name
from traininglog.jsonfile.changes import Changes, changes_in
from traininglog.jsonfile.lease import busy, refusal
from traininglog.jsonfile.reading import MOST, end_of_lines, lines_of
from traininglog.locked_files import FileLock, open_regular

_MIDDLE = "-tail-"


def old_tail_path(document: Path, uuid: str) -> Path:
    """Return the file to which older versions wrote what was assigned to a run."""
    return document.with_name(f"{document.name}{_MIDDLE}{uuid}")


def old_tails(document: Path) -> Iterator[str]:
    """Yield the runs, as 32 hex digits, that have an old tail."""
    start = f"{document.name}{_MIDDLE}"
    with contextlib.suppress(OSError), os.scandir(document.parent) as entries:
        for entry in entries:
            rest = entry.name.removeprefix(start)
            if rest != entry.name and len(rest) == 32:
                yield rest


def read_old_tail(document: Path, uuid: str) -> Changes:
    """Return what is in an old tail, whether an older version still writes it or not.

    A file that cannot be a tail is said to be none, and left alone.
    """
    path = old_tail_path(document, uuid)
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


class OldTail:
    """An old tail, to be put into the document.

    Args:
        document: The document.
        uuid: The run, as 32 hex digits.

    """

    def __init__(self, document: Path, uuid: str) -> None:
        self._uuid = uuid
        self._path = old_tail_path(document, uuid)
        self._file: FileLock | None = None
        self._cut = False  # whether the last line is not whole

    def take(self) -> None:
        """Lock the file if there is one.

        Raises `RunBusy` if an older version writes it, and `StoreUnwritable` or `StoreFailed` if it
        cannot be a tail.
        """
        try:
            file = FileLock(open_regular(self._path, os.O_RDWR))
        except FileNotFoundError:
            return
        except OSError as error:
            raise refusal(self._path, error) from error
        if not file.acquire():
            file.release()
            raise busy(self._uuid)
        assert file.descriptor is not None  # noqa: S101 - it was opened just now
        size = os.fstat(file.descriptor).st_size
        if size > MOST:
            file.release()
            raise StoreUnwritable(
                f"{self._path} has {size:,} bytes, more than the tail of a run: move it away"
            )
        self._file = file

    def changes(self) -> Changes:
        """Return the changes in the file, after `take`. There are none where there is no file."""
        if self._file is None or self._file.descriptor is None:
            return Changes([])
        descriptor = self._file.descriptor
        size = os.fstat(descriptor).st_size
        end = end_of_lines(descriptor, size)
        self._cut = end < size
        return changes_in(self._path, lines_of(descriptor, end))

    def remove(self, changes: Changes) -> list[str]:
        """Remove the file, whose changes are in the document; return what to tell people.

        A file with lines that cannot be read is kept under another name.
        """
        if self._file is None:
            return []
        said = []
        if self._cut:
            said.append(
                f"{self._path}: the process that wrote it ended in the midst of its last line, "
                "which was left out"
            )
        if changes.flaw is not None:
            kept = free_name(self._path.with_name(f"{self._path.name}-damaged"))
            self._path.rename(kept)
            said += [changes.flaw, f"the file with the lines that cannot be read is now {kept}"]
        elif self._file.is_at(self._path):
            self._path.unlink()
        self.let_go()
        return said

    def let_go(self) -> None:
        """Release the file."""
        file, self._file = self._file, None
        if file is not None:
            file.release()
