"""Capturing output: the program prints as before, and the last lines are kept.

A capture lasts from `CapturedOutput.start` to `stop`, or for a block. The end of a block restores
the streams even if another one has replaced ours. `stop` leaves a stream that replaced ours.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Self, TextIO

_LONGEST = 2000  # characters of a line that are kept


class _Tee:
    """A stream that writes to another stream, and keeps the lines."""

    def __init__(self, stream: TextIO, capture: CapturedOutput) -> None:
        self._stream = stream
        self._capture: CapturedOutput | None = capture
        self._begun = ""
        self._lock = threading.RLock()  # several threads may print

    @property
    def inner(self) -> Any:
        """The next stream below that is no finished tee."""
        stream: object = self._stream
        while isinstance(stream, _Tee) and stream._capture is None:
            stream = stream._stream
        return stream

    def write(self, text: str) -> int:
        if self._capture is not None:
            self._keep(self._capture, text)
        return len(text) if self._stream is None else self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        for text in lines:
            self.write(text)

    def _keep(self, capture: CapturedOutput, text: str) -> None:
        with self._lock:
            *whole, rest = (self._begun + text).split("\n")
            for one in whole:
                capture.ring.append(_as_shown(one))
            self._begun = rest[-4 * _LONGEST :]
        if whole:
            capture.told()

    def end(self) -> None:
        """Stop capturing. An unfinished line is kept, too."""
        with self._lock:
            if self._begun and self._capture is not None:
                self._capture.ring.append(_as_shown(self._begun))
            self._begun = ""
            self._capture = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class CapturedOutput:
    """The last lines that a program writes to stdout and stderr, in a block or between two calls.

    Args:
        lines: The number of lines to keep.
        told: Is called after each new line, and at the end.

    The streams are restored even if the block raises.

    >>> with CapturedOutput(2) as output:
    ...     for number in range(5):
    ...         print(number)
    0
    1
    2
    3
    4
    >>> output.lines
    ['3', '4']
    """

    def __init__(self, lines: int = 50, told: Callable[[], object] | None = None) -> None:
        if isinstance(lines, bool) or not isinstance(lines, int) or lines < 1:
            raise ValueError(f"at least one line is captured, not {lines!r}")
        self.ring: deque[str] = deque(maxlen=lines)
        self.told: Callable[[], object] = _nobody if told is None else told
        self._tees: list[tuple[str, _Tee]] = []
        self._called = False  # whether `start` began the capture; a block may follow it

    @property
    def lines(self) -> list[str]:
        """The lines, oldest first. An unfinished line is not among them yet."""
        return list(self.ring)

    def output(self) -> str:
        """Return the lines as one text."""
        return "\n".join(self.ring)

    raw = output

    @property
    def active(self) -> bool:
        """Whether output is being captured."""
        return bool(self._tees)

    def start(self) -> Self:
        """Start capturing, until `stop` or the end of a block with this object."""
        self._begin()
        self._called = True
        return self

    def _begin(self) -> None:
        if self._tees:
            raise RuntimeError("output is being captured by this object already")
        out = _Tee(sys.stdout, self)
        # If both are one stream, a single tee keeps the order of the lines.
        error = out if sys.stderr is sys.stdout else _Tee(sys.stderr, self)
        self._tees = [("stdout", out), ("stderr", error)]
        sys.stdout, sys.stderr = out, error

    def stop(self) -> None:
        """Stop capturing, and restore the streams. A second call does nothing.

        A stream that has replaced ours meanwhile stays.
        """
        self._stop(whatever=False)

    def _stop(self, *, whatever: bool) -> None:
        tees, self._tees = self._tees, []
        for name, tee in tees:
            tee.end()
            if whatever or getattr(sys, name) is tee:
                setattr(sys, name, tee.inner)
        if tees:
            self.told()

    def __enter__(self) -> Self:
        if not self._called:
            self._begin()
        self._called = False
        return self

    def __exit__(self, *_: object) -> None:
        self._stop(whatever=True)


def _nobody() -> None:
    """Do nothing."""


def _as_shown(line: str) -> str:
    """Return the last visible state of a line: a progress bar overwrites itself."""
    return line.rstrip("\r").rpartition("\r")[2][:_LONGEST]
