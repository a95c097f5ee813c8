"""Capturing output: what a block prints is shown as ever, and its last lines are kept."""

from __future__ import annotations

import sys
from collections import deque
from typing import Any, Self, TextIO

_LONGEST = 2000  # characters of a line that are kept


class _Tee:
    """Passes text on to a stream, and keeps lines of it."""

    def __init__(self, stream: TextIO, capture: CapturedOutput) -> None:
        self._stream = stream
        self._capture = capture
        self._begun = ""

    def write(self, text: str) -> int:
        self._keep(text)
        return self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        for text in lines:
            self.write(text)

    def _keep(self, text: str) -> None:
        *whole, rest = (self._begun + text).split("\n")
        for one in whole:
            self._capture.ring.append(_as_shown(one))
        self._begun = rest[-4 * _LONGEST :]

    def end(self) -> None:
        """Keep a line that was begun, too."""
        if self._begun:
            self._capture.ring.append(_as_shown(self._begun))
            self._begun = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class CapturedOutput:
    """The last lines of what a block writes to stdout and stderr.

    Args:
        lines: How many are kept.

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

    def __init__(self, lines: int = 50) -> None:
        if isinstance(lines, bool) or not isinstance(lines, int) or lines < 1:
            raise ValueError(f"at least one line is captured, not {lines!r}")
        self.ring: deque[str] = deque(maxlen=lines)
        self._before: tuple[Any, Any] | None = None
        self._tees: list[_Tee] = []

    @property
    def lines(self) -> list[str]:
        """The lines, the oldest first; one that was begun and not ended is not among them yet."""
        return list(self.ring)

    def output(self) -> str:
        """Return the lines as one text."""
        return "\n".join(self.ring)

    raw = output

    def __enter__(self) -> Self:
        if self._before is not None:
            raise RuntimeError("output is being captured by this object already")
        self._before = (sys.stdout, sys.stderr)
        out = _Tee(sys.stdout, self)
        # Where both are one stream, one tee keeps the order of what is written to it.
        error = out if sys.stderr is sys.stdout else _Tee(sys.stderr, self)
        self._tees = [out] if error is out else [out, error]
        sys.stdout, sys.stderr = out, error
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            sys.stdout, sys.stderr = self._before
            self._before = None
        for tee in self._tees:
            tee.end()


def _as_shown(line: str) -> str:
    """Return a line as it is seen in the end: a progress bar writes over itself."""
    return line.rstrip("\r").rpartition("\r")[2][:_LONGEST]
