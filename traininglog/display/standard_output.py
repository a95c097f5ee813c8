"""Flushing Python's standard output and errors, whose terminal or pipe may be gone."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import Any

#: The errors of an output that is gone for good.
_GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO)


def flush_output() -> None:
    """Flush `sys.stdout`, if it is the one that Python started with.

    If the output is gone, discard the buffer: else Python would try to write it again at exit, and
    end with an error of its own. Raises `OSError` if the output fails.
    """
    if sys.stdout is sys.__stdout__:
        _flush(sys.__stdout__)


def flush_errors() -> None:
    """Flush `sys.stderr`, as `flush_output` does `sys.stdout`."""
    if sys.stderr is sys.__stderr__:
        _flush(sys.__stderr__)


def _flush(stream: Any) -> None:
    if stream is None:
        return
    try:
        stream.flush()
    except ValueError:  # closed
        return
    except OSError as error:
        if error.errno in _GONE:
            with contextlib.suppress(OSError, ValueError):
                _forget(stream)
        raise


def _forget(stream: Any) -> None:
    """Discard the buffer of a stream, by flushing it to the null device."""
    descriptor = stream.fileno()
    kept = os.dup(descriptor)
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, descriptor)
            stream.flush()
        finally:
            os.dup2(kept, descriptor)
            os.close(nowhere)
    finally:
        os.close(kept)
