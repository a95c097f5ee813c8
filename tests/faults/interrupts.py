"""Running something with an interruption at a chosen moment, as a signal handler is one.

CPython runs signal handlers where it looks for them: as a function begins, after a call, and where
a loop jumps back (`Include/internal/pycore_ceval.h`, "eval breaker"). A trace function sees every
such point in the package's own code, and in what of the standard library it is held together by; so
each can be tried, where a real signal would have to come by chance.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import traininglog

_LOOKED_INTO = (str(Path(traininglog.__file__).parent), threading.__file__, contextlib.__file__)

# After these, before the next instruction.
_CHECKED = {"CALL", "CALL_FUNCTION_EX", "CALL_KW", "RESUME", "JUMP_BACKWARD"}


@functools.cache
def _instructions(code: CodeType) -> dict[int, str]:
    return {each.offset: each.opname for each in dis.get_instructions(code)}


class Interrupted:
    """Something that is run, and interrupted at points that are told by their numbers.

    Args:
        handler: What to do at each of those.
        points: When; they count from 0.

    """

    def __init__(self, handler: Callable[[], object], points: Iterable[int] = ()) -> None:
        self.count = 0  #: how many points there were
        self.where: list[str] = []  #: file and line of those at which it was interrupted
        self._handler = handler
        self._points = frozenset(points)
        self._before: dict[int, str] = {}

    def run(self, act: Callable[[], object]) -> None:
        """Do it. Raises what it raises, and what the handler does."""
        outer = sys.gettrace()
        sys.settrace(self._trace)
        try:
            act()
        finally:
            sys.settrace(outer)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        if not frame.f_code.co_filename.startswith(_LOOKED_INTO):
            return None
        if event == "call":
            frame.f_trace_opcodes = True
            self._before.pop(id(frame), None)  # of another frame, at the same place
        elif event == "opcode":
            name = _instructions(frame.f_code).get(frame.f_lasti, "")
            before, self._before[id(frame)] = self._before.get(id(frame)), name
            if before in _CHECKED:
                self._reach(frame)
        return self._trace

    def _reach(self, frame: FrameType) -> None:
        self.count += 1
        if self.count - 1 in self._points:
            self.where.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
            self._handler()
