"""TensorBoard's event files, as tensorboardX writes them."""

from __future__ import annotations

import itertools
import os
import weakref
from typing import Any

from traininglog.errors import MissingExtra

# tensorboardX would give two files of the same second one name.
_NUMBERS = itertools.count()


class EventFile:
    """Scalars for TensorBoard in a file of their own, which is made with the first scalar.

    If the program does not close it, the scalars in its queue are written as the process ends.

    Args:
        folder: Where to put the file.

    Raises `MissingExtra` unless tensorboardX is installed.

    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise MissingExtra(
                "event files are written by tensorboardX; install it with: "
                'pip install "traininglog[tensorboard]", or hand in a writer with add_scalar()'
            ) from error
        self._kind: Any = SummaryWriter
        self._folder = os.fspath(folder)
        self._writer: Any = None
        self._release: Any = None

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """Write a number. After `close`, it begins another file."""
        if self._writer is None:
            suffix = f".{os.getpid()}.{next(_NUMBERS)}"
            self._writer = self._kind(self._folder, flush_secs=5, filename_suffix=suffix)
            self._release = weakref.finalize(self, self._writer.close)
        self._writer.add_scalar(tag, value, step)

    def flush(self) -> None:
        """Start writing the queue to the disk, without waiting for it."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Complete the file, and wait for its queue, as a flush would not."""
        if self._writer is not None:
            self._writer = None
            self._release()
