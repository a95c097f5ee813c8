"""The second witness that a writer is alive: the process that the row of a run names.

The first witness is a lease (`leases`), a lock that may be lost by accident. So the row of a run
names the process that writes it: the moment when it was started, its PID and time namespace, and
the identity of the file, as a copy of the file is not being written. While the process writes the
run, this testimony follows the boot id in the column ``boot_id``. A process that ends writing in
good order leaves only the boot id there.
"""

from __future__ import annotations

import functools
import os

from traininglog.machine import boot_id, is_alive, namespace, started

#: Device and inode of a file.
Identity = tuple[int, int]


def testimony(file: Identity) -> str | None:
    """Return the testimony of this process, to store when it begins to write a run of a file.

    Returns the boot id alone, or None, if the system does not tell the rest.
    """
    boot, own = boot_id(), _own(os.getpid())
    return boot if boot is None or own is None else f"{boot} {own} {file[0]}:{file[1]}"


@functools.lru_cache(maxsize=1)  # each begin of a run needs it; a forked child has another
def _own(pid: int) -> str | None:
    """Return the start and the namespaces of this process, or None if the system does not tell."""
    words = [started(pid) if _sees_itself() else None, namespace("pid"), namespace("time")]
    return None if None in words else " ".join(map(str, words))


def boot_of(text: str | None) -> str | None:
    """Return the boot id of a testimony."""
    return text.partition(" ")[0] if isinstance(text, str) else None


def speaks(text: object) -> bool:
    """Return whether a text is more than a boot id: its writer has not ended in good order."""
    return isinstance(text, str) and " " in text


def lives(text: object, pid: object, file: Identity) -> bool | None:
    """Return whether the process that wrote a testimony lives.

    Returns None if this process cannot tell, so that the lock alone decides: the writer is in
    another PID namespace, of another boot, hidden, or this very process; or its testimony names
    another file.
    """
    mine = testimony(file)
    if not isinstance(text, str) or not isinstance(pid, int) or mine is None:
        return None
    boot, *words = text.split(" ")
    my_boot, *my_words = mine.split(" ")
    if boot != my_boot or len(words) != 4 or words[1:] != my_words[1:]:
        return None
    if pid == os.getpid() or pid <= 0:
        return None
    start = int(words[0]) if words[0].isdecimal() else -1  # no process was started then
    return is_alive(pid, start)


def _sees_itself() -> bool:
    """Return whether ``/proc`` shows our own PID namespace, so that its numbers are ours."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())  # noqa: PTH115 - it is no path
    except OSError:
        return False
