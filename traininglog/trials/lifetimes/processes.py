"""Which process is at a trial, and whether it still is.

The record of a running trial names its process, down to the moment at which it was started, so that
another one which got its number is not taken for it. No daemon and no heartbeat: whoever reads asks
the system.
"""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Mapping

from traininglog.errors import RunBusy
from traininglog.machine import boot_id, is_alive, namespace, started
from traininglog.trials.statuses import Status
from traininglog.values import StoredRow, StoredValue


def this_process() -> StoredRow:
    """Return what tells this process from all others."""
    try:
        start = started(os.getpid())
    except PermissionError:  # there is no /proc
        start = None
    return {"pid": os.getpid(), "started": start} | _machine()


def is_gone(owner: StoredRow | None) -> bool:
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
    return is_alive(pid, owner["started"]) is False


def refuse_busy(record: Mapping[str, StoredValue]) -> None:
    """Raise `RunBusy` if a trial is being run by another process that is alive."""
    owner = record["owner"]
    if (
        record["status"]["value"] == Status.Running.value
        and record["log"] is not None
        and owner is not None
        and owner != this_process()
        and not is_gone(owner)
    ):
        raise RunBusy(
            f"trial {record['uid']} is being run by process {owner['pid']} on {owner['host']}: "
            "make a trial of your own, or wait for that one to end"
        )


@functools.cache
def _machine() -> StoredRow:
    return {"host": socket.gethostname(), "boot": boot_id(), "space": namespace("pid")}
