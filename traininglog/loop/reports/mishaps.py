"""Failures beside a training: each is reported once, and the training goes on.

Examples are a line that cannot be printed, a bar on a terminal that is gone, and a checkpoint that
was due while the disk was full. None of them may end a training.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
import warnings
from collections.abc import Callable

from traininglog.display.fitting import encodable
from traininglog.display.standard_output import flush_errors
from traininglog.errors import TrainingLogWarning


class Mishaps:
    """Warns of each kind of failure once."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, what: str, error: BaseException, remedy: str = "") -> None:
        """Warn that something failed, if it is the first time.

        Args:
            what: The action that failed: the beginning of a sentence.
            error: The error; the warning has its traceback, unless it is of files or encodings.
            remedy: The remedy for the user, or what happens now.

        """
        if what in self._told:
            return
        self._told.add(what)
        text = f"{what} failed, and the training goes on; it is told only once"
        text += f" ({remedy})" if remedy else ""
        if isinstance(error, (OSError, UnicodeError)):
            text += f": {type(error).__name__}: {error}"
        else:
            text += ":\n" + "".join(traceback.format_exception(error))
        # The output of warnings may be gone as well.
        with contextlib.suppress(OSError, ValueError):
            warnings.warn(text, TrainingLogWarning, stacklevel=2)
        with contextlib.suppress(OSError):
            flush_errors()


def print_line(line: str) -> None:
    """Print a line on `sys.stdout`; escape characters that it cannot encode."""
    stream = sys.stdout
    if stream is None:  # a program without a console
        return
    print(encodable(line, getattr(stream, "encoding", None)), file=stream)


def print_by(function: Callable[[str], object], line: str) -> None:
    """Print a line by a function; retry with escapes if its output cannot encode it."""
    try:
        function(line)
    except UnicodeEncodeError as error:
        encoding = "ascii" if error.encoding == "charmap" else error.encoding
        function(encodable(line, encoding))
