"""Which process is at a trial, and whether it still is.

The record of a running trial names its process, down to the moment at which it was started, so that
another one which got its number is not taken for it. No daemon and no heartbeat: whoever reads asks
the system.
"""

from __future__ import annotations

import functools
import os
import socket
from pathlib import Path
from typing import Any

from traininglog.machine import boot_id


def this_process() -> dict[str, Any]:
    """Return what tells this process from all others."""
    return {"pid": os.getpid(), "started": _started(os.getpid())} | _machine()


def is_gone(owner: dict[str, Any] | None) -> bool:
    """Tell whether a process is known to be gone. Of one on another machine that is not known."""
    machine = _machine()
    if owner is None or owner["host"] != machine["host"]:
        return False
    if owner["boot"] != machine["boot"]:
        return True  # the machine was started anew
    if owner["space"] != machine["space"]:
        return False  # in another container, where numbers mean other processes
    pid = owner["pid"]
    if owner["started"] is not None:
        return bool(_started(pid) != owner["started"])
    try:  # there is no /proc
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


@functools.cache
def _machine() -> dict[str, Any]:
    space: str | None
    try:
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - it is no path
    except OSError:
        space = None
    return {"host": socket.gethostname(), "boot": boot_id(), "space": space}


def _started(pid: int) -> int | None:
    """Return when a process was started, in ticks since the boot; None if there is none alive."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name in brackets may hold anything
    return None if fields[0] in "ZX" else int(fields[19])  # a zombie has ended
