"""The second witness of who is alive: the process that writes a run, as it wrote itself down.

The first is a lock (`owners`), which may be lost by accident. So the row of a run says which
process writes it: the moment when it was started, its PID and time namespace, and the file, as a
copy of the file is not being written. These stand in the column ``boot_id``, after the id of the
boot, as long as the process writes the run; one that ends writing in good order leaves the id of
the boot alone.
"""

from __future__ import annotations

import functools
import os

from traininglog.machine import boot_id, is_alive, namespace, started

#: Device and inode of a file.
Identity = tuple[int, int]


def testimony(file: Identity) -> str | None:
    """Return what this process writes down as it begins to write a run of a file."""
    spaces = namespace("pid"), namespace("time")
    start = _own_start(os.getpid()) if _sees_itself() else None
    if boot_id() is None or start is None or None in spaces:
        return boot_id()
    return " ".join([boot_id() or "", str(start), *map(str, spaces), "{}:{}".format(*file)])


@functools.lru_cache(maxsize=1)  # asked for whenever a run is begun; a forked child has another
def _own_start(pid: int) -> int | None:
    return started(pid)


def boot_of(text: str | None) -> str | None:
    """Return the id of the boot alone."""
    return text.partition(" ")[0] if isinstance(text, str) else None


def speaks(text: object) -> bool:
    """Tell whether a text is more than the id of a boot: who wrote it has not ended writing."""
    return isinstance(text, str) and " " in text


def lives(text: object, pid: object, file: Identity) -> bool | None:
    """Tell whether the process that wrote a testimony lives.

    None if that cannot be told from here, and the lock alone decides: the process is in another PID
    namespace, of another boot, hidden, or this very one; or it spoke of another file.
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
    start = int(words[0]) if words[0].isdecimal() else -1  # when none was started
    return is_alive(pid, start)


def _sees_itself() -> bool:
    """Tell whether ``/proc`` is that of our own PID namespace, so that it speaks of our numbers."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())  # noqa: PTH115 - it is no path
    except OSError:
        return False
