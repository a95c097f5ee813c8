"""Where a run was written: the host, the process and the software, as they are now."""

from __future__ import annotations

import functools
import os
import platform
import shlex
import socket
import sys
from pathlib import Path
from typing import Any

from traininglog import __version__

_MAX_COMMAND = 4096


def origin() -> dict[str, Any]:
    """Return what the table of runs says of the process that writes one."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "boot_id": _boot_id(),
        "command": _command(),
        "versions": f"python {platform.python_version()}, traininglog {__version__}, "
        f"{platform.system()} {platform.machine()}",
    }


@functools.cache
def _boot_id() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:  # only Linux has it
        return None


def _command() -> str:
    words = getattr(sys, "orig_argv", sys.argv)
    # An argument may hold bytes that are no text; the database takes only text.
    return shlex.join(words).encode("utf-8", "replace").decode()[:_MAX_COMMAND]
