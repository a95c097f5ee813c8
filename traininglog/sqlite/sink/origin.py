"""The origin of a run: the present host, process and software, as columns of the table of runs."""

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
    """Return the columns of the table of runs that name this process as the writer."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "boot_id": boot_id(),
        "command": command()[:_MAX_COMMAND],
        "versions": f"python {platform.python_version()}, traininglog {__version__}, "
        f"{platform.system()} {platform.machine()}",
    }


def writing(file: Identity | None) -> dict[str, Any]:
    """Return the columns to set when this process begins to write a run.

    They include its testimony (see `witness`), if the database is a file.
    """
    return origin() | ({} if file is None else {"boot_id": testimony(file)})


def ended(outcome: str | None = None) -> dict[str, Any]:
    """Return the columns to set when a process stops writing a run, and its outcome, if any."""
    return {"boot_id": boot_id()} | ({} if outcome is None else {"outcome": outcome})
