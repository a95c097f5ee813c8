"""The environment of a trial: Python, packages, host, command line, GPU. A thread collects it."""

from __future__ import annotations

import functools
import os
import platform
import socket
import sys
from typing import Any

from traininglog.machine import command
from traininglog.values import StoredRow


def environment() -> StoredRow:
    """Return the environment of this process, as plain data."""
    return _lasting() | {"command": command(), "gpu": gpus()}


@functools.cache
def _lasting() -> StoredRow:
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.platform(),
        "host": socket.gethostname(),
        "cpus": os.cpu_count(),
        "folder": _folder(),
        "packages": packages(),
    }


def packages() -> dict[str, str]:
    """Return the versions of the installed packages by their normalised names.

    This reads only the names of the metadata folders. `importlib.metadata` of the standard library
    reads each metadata file: that takes a hundred times as long and holds the interpreter's lock.
    """
    found: dict[str, str] = {}
    for place in sys.path:
        try:
            names = os.listdir(place or os.curdir)  # noqa: PTH208 - a third of the time
        except OSError:
            continue
        for name in names:
            stem, ending = os.path.splitext(name)  # noqa: PTH122 - the same
            if ending in (".dist-info", ".egg-info"):
                package, _, version = stem.partition("-")
                version = version.split("-")[0]  # the name of an egg ends with Python's version
                if version:
                    found.setdefault(package.replace("_", "-").lower(), version)
    return dict(sorted(found.items()))


def gpus() -> list[str]:
    """Return the names of the GPUs that PyTorch sees, if the program has imported it."""
    torch = sys.modules.get("torch")
    try:
        if torch is None or not torch.cuda.is_available():
            return []
        return [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
    except (AttributeError, RuntimeError, AssertionError):  # half imported, or no driver
        return []


def device() -> Any:
    """Return PyTorch's device to compute on, or "cpu" if PyTorch is not installed."""
    try:
        import torch
    except ImportError:
        return "cpu"
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _folder() -> str | None:
    try:
        return str(os.getcwd())  # noqa: PTH109 - Path.cwd() is the same with more steps
    except OSError:  # the folder was removed
        return None
