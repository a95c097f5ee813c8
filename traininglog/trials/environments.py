"""The environment of a trial: Python, packages, host, command line, GPU. Looked up on a thread."""

from __future__ import annotations

import functools
import os
import platform
import shlex
import socket
import sys
from importlib import metadata
from typing import Any


def environment() -> dict[str, Any]:
    """Return the environment of this process, as plain data."""
    return _lasting() | {"command": shlex.join(getattr(sys, "orig_argv", sys.argv)), "gpu": gpus()}


@functools.cache
def _lasting() -> dict[str, Any]:
    packages = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            packages[str(name)] = str(distribution.version)
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.platform(),
        "host": socket.gethostname(),
        "cpus": os.cpu_count(),
        "folder": _folder(),
        "packages": dict(sorted(packages.items(), key=lambda item: item[0].lower())),
    }


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
    """Return the device to compute on: PyTorch's, or "cpu" where it is not installed."""
    try:
        import torch
    except ImportError:
        return "cpu"
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _folder() -> str | None:
    try:
        return str(os.getcwd())  # noqa: PTH109 - Path.cwd() is the same with more steps
    except OSError:  # it was removed
        return None
