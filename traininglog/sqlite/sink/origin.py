"""Where a run was written: the host, the process and the software, as they are now."""

from __future__ import annotations

import os
import platform
import socket
from typing import Any

from traininglog import __version__
from traininglog.machine import boot_id, command
from traininglog.sqlite.file.witness import Identity, testimony

_MAX_COMMAND = 4096


def origin() -> dict[str, Any]:
    """Return what the table of runs says of the process that wrote one."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "boot_id": boot_id(),
        "command": command()[:_MAX_COMMAND],
        "versions": f"python {platform.python_version()}, traininglog {__version__}, "
        f"{platform.system()} {platform.machine()}",
    }


def writing(file: Identity | None) -> dict[str, Any]:
    """Return what the table of runs says of the process that begins to write one."""
    return origin() | ({} if file is None else {"boot_id": testimony(file)})


def ended(outcome: str | None = None) -> dict[str, Any]:
    """Return what the table of runs says once a process has ended writing, perhaps for good."""
    return {"boot_id": boot_id()} | ({} if outcome is None else {"outcome": outcome})
