"""What tells this machine and this process from others, and whether a process still lives."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

from traininglog.config import setting
from traininglog.masking import masked_command

# Holds something if the program does not want its command line to be recorded.
_LEFT_OUT: list[bool] = []


@functools.cache
def boot_id() -> str | None:
    """Return what is new whenever the machine is started; None where the system has no such."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:  # only Linux has it
        return None


def command() -> str:
    """Return the command line of this process, as a shell would take it, to be stored.

    What looks like a secret in it is masked; see `traininglog.masking`. It is empty where it is not
    to be recorded: by the setting ``record_command``, or by `leave_out_command`.
    """
    if _LEFT_OUT or not setting("record_command"):
        return ""
    words = getattr(sys, "orig_argv", sys.argv)
    return _stored(tuple(words))


@functools.lru_cache(maxsize=1)  # asked for whenever a run is begun
def _stored(words: tuple[str, ...]) -> str:
    # An argument may hold bytes that are no text.
    return masked_command(words).encode("utf-8", "replace").decode()


def leave_out_command() -> None:
    """Record the command line of this process, and of those forked from it, nowhere from now on."""
    _LEFT_OUT.append(True)


def namespace(kind: str) -> str | None:
    """Return which namespace of a kind ("pid", "time") this process is in; None if that is unknown.

    In another one, the same number means another process, and the same moment has another number.
    """
    try:
        return os.readlink(f"/proc/self/ns/{kind}")  # noqa: PTH115 - it is no path
    except OSError:
        return None


def started(pid: int) -> int | None:
    """Return when a process was started, in ticks since the boot; None if there is none alive.

    Raises `PermissionError` where ``/proc`` does not show a process that is there: it may be
    mounted so that it shows only one's own (hidepid).
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, OverflowError):
            return None
        raise PermissionError(f"process {pid} is hidden") from None
    fields = stat.rpartition(")")[2].split()  # the name in brackets may hold anything
    return None if fields[0] in "ZX" else int(fields[19])  # a zombie has ended


def is_alive(pid: int, start: int | None) -> bool | None:
    """Tell whether the process of a number that was started at a time lives; None: nobody knows.

    Args:
        pid: Its number, in our own namespace.
        start: What `started` told of it, in this boot; None if that was unknown.

    """
    try:
        now = started(pid)
    except PermissionError:  # it is there, and hidden
        return None
    return now is not None and start in (None, now)
