"""Capturing output: what is printed is shown as ever, and its last lines are kept.

From `CapturedOutput.start`, or the beginning of a block, to `stop`, or its end. The end of a block
puts the streams back, whatever stands in their place by then; `stop` leaves what another put there.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Self, TextIO

_LONGEST = 2000  # characters of a line that are kept


class _Tee:
    """Passes text on to a stream, and keeps lines of it."""

    def __init__(self, stream: TextIO, capture: CapturedOutput) -> None:
        self._stream = stream
        self._capture: CapturedOutput | None = capture
        self._begun = ""
        self._lock = threading.RLock()  # several threads may print

    @property
    def inner(self) -> Any:
        """The stream, or that below it which still captures, or does not capture at all."""
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
        """Capture no more. A line that was begun is kept, too."""
        with self._lock:
            if self._begun and self._capture is not None:
                self._capture.ring.append(_as_shown(self._begun))
            self._begun = ""
            self._capture = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class CapturedOutput:
    """The last lines of what is written to stdout and stderr, in a block or between two calls.

    Args:
        lines: How many are kept.
        told: Called whenever there is another line, and in the end.

    The streams are put back whatever happens in the block.

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
        self._called = False  # it was started by a call, which a block may follow

    @property
    def lines(self) -> list[str]:
        """The lines, the oldest first; one that was begun and not ended is not among them yet."""
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
        """Capture from now on, until `stop`, or the end of a block that is made of this."""
        self._begin()
        self._called = True
        return self

    def _begin(self) -> None:
        if self._tees:
            raise RuntimeError("output is being captured by this object already")
        out = _Tee(sys.stdout, self)
        # Where both are one stream, one tee keeps the order of what is written to it.
        error = out if sys.stderr is sys.stdout else _Tee(sys.stderr, self)
        self._tees = [("stdout", out), ("stderr", error)]
        sys.stdout, sys.stderr = out, error

    def stop(self) -> None:
        """Capture no more, and put the streams back. Stopping twice does nothing.

        Where somebody has put another stream over ours meanwhile, that stays.
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
    """Tell nobody."""


def _as_shown(line: str) -> str:
    """Return a line as it is seen in the end: a progress bar writes over itself."""
    return line.rstrip("\r").rpartition("\r")[2][:_LONGEST]
