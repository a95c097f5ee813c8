"""What tells this machine and this process from others."""

from __future__ import annotations

import functools
import shlex
import sys
from pathlib import Path


@functools.cache
def boot_id() -> str | None:
    """Return what is new whenever the machine is started; None where the system has no such."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:  # only Linux has it
        return None


def command() -> str:
    """Return the command line of this process, as a shell would take it."""
    words = getattr(sys, "orig_argv", sys.argv)
    # An argument may hold bytes that are no text.
    return shlex.join(words).encode("utf-8", "replace").decode()
