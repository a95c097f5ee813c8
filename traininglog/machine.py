"""The identity of this machine and this process, and checks whether a process is alive."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

from traininglog.config import setting
from traininglog.masking import masked_command

# Not empty if the program does not want its command line to be recorded.
_LEFT_OUT: list[bool] = []


@functools.cache
def boot_id() -> str | None:
    """Return an identifier of the current boot of the machine, or None if the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:  # only Linux has it
        return None


def command() -> str:
    """Return the command line of this process to store, as a shell would take it.

    It has its secrets masked; see `traininglog.masking`. It is empty if the setting
    ``record_command`` or `leave_out_command` says not to record it.
    """
    if _LEFT_OUT or not setting("record_command"):
        return ""
    words = getattr(sys, "orig_argv", sys.argv)
    return _stored(tuple(words))


@functools.lru_cache(maxsize=1)  # every new run calls it
def _stored(words: tuple[str, ...]) -> str:
    # An argument may contain bytes that are not UTF-8.
    return masked_command(words).encode("utf-8", "replace").decode()


def leave_out_command() -> None:
    """Stop recording the command line of this process, and of processes that it forks."""
    _LEFT_OUT.append(True)


def namespace(kind: str) -> str | None:
    """Return the namespace of a kind ("pid", "time") of this process, or None if it is not known.

    In another namespace the same number is that of another process, and the same moment has another
    number.
    """
    try:
        return os.readlink(f"/proc/self/ns/{kind}")  # noqa: PTH115 - it is no path
    except OSError:
        return None


def started(pid: int) -> int | None:
    """Return when a process started, in ticks since the boot, or None if it is not alive.

    Raises `PermissionError` if ``/proc`` hides a live process: a mount with hidepid shows only
    one's own processes.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, OverflowError):
            return None
        raise PermissionError(f"process {pid} is hidden") from None
    fields = stat.rpartition(")")[2].split()  # the name in brackets may contain anything
    return None if fields[0] in "ZX" else int(fields[19])  # a zombie has ended


def is_alive(pid: int, start: int | None) -> bool | None:
    """Return whether a process with this number and start is alive, or None if it is not known.

    Args:
        pid: Its number, in our own namespace.
        start: The result of `started` for it, in this boot; None if that is not known.

    """
    try:
        now = started(pid)
    except PermissionError:  # a process has this number, but is hidden
        return None
    return now is not None and start in (None, now)
