"""Which process is at a trial, and whether it still is.

The record of a running trial names its process, down to the moment at which it was started, so that
another one which got its number is not taken for it. No daemon and no heartbeat: whoever reads asks
the system.
"""

from __future__ import annotations

import functools
import os
import socket
from typing import Any

from traininglog.machine import boot_id, namespace, started


def this_process() -> dict[str, Any]:
    """Return what tells this process from all others."""
    try:
        start = started(os.getpid())
    except PermissionError:  # there is no /proc
        start = None
    return {"pid": os.getpid(), "started": start} | _machine()


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
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        now = started(pid)
    except PermissionError:  # it is there, and hidden
        return False
    return now is None or (owner["started"] is not None and now != owner["started"])


@functools.cache
def _machine() -> dict[str, Any]:
    return {"host": socket.gethostname(), "boot": boot_id(), "space": namespace("pid")}
