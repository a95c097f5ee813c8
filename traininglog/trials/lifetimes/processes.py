"""Liveness: which process runs a trial, and whether it is alive.

The record of a running trial names its process by number, start, boot and machine. So a later
process with the same number is not mistaken for it. There is no daemon and no heartbeat: the reader
asks the operating system.
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
    """Return the identity of this process: its number, start, host, boot and PID namespace."""
    try:
        start = started(os.getpid())
    except PermissionError:  # there is no /proc
        start = None
    return {"pid": os.getpid(), "started": start} | _machine()


def is_gone(owner: StoredRow | None) -> bool:
    """Return whether a process is certainly gone. On another machine we cannot know: False."""
    machine = _machine()
    if owner is None or owner["host"] != machine["host"]:
        return False
    if owner["boot"] != machine["boot"]:
        return True  # the machine has rebooted
    if owner["space"] != machine["space"]:
        return False  # another container, in which the number means another process
    pid = owner["pid"]
    if not isinstance(pid, int) or pid <= 0:
        return False
    return is_alive(pid, owner["started"]) is False


def refuse_busy(record: Mapping[str, StoredValue]) -> None:
    """Raise `RunBusy` if another live process runs the trial."""
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
