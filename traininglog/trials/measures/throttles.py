"""Throttles: functions that ignore some of their calls."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def throttled(
    function: Callable[P, R], throttle: int | None = None, every: float | None = None
) -> Callable[P, R | None]:
    """Return a function that passes some calls on, and returns None for the others.

    Args:
        function: The function to call.
        throttle: Pass on the first call and every `throttle`-th after it.
        every: Pass on the first call, and each call that comes at least this many seconds after
            the last passed one. It takes precedence over `throttle`.

    >>> [throttled(abs, throttle=2)(-1)]
    [1]
    """
    if throttle is not None and (isinstance(throttle, bool) or throttle < 1):
        raise ValueError(f"a throttle passes on every n-th call, n being 1 or more: not {throttle}")
    if every is not None and not every >= 0:
        raise ValueError(f"a time between calls is 0 s or more, not {every}")
    if every is None and throttle is None:
        return function
    calls = 0
    last: float | None = None

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R | None:
        nonlocal calls, last
        if every is not None:
            now = time.monotonic()
            if last is not None and now - last < every:
                return None
            last = now
        else:
            calls += 1
            if (calls - 1) % (throttle or 1):
                return None
        return function(*args, **kwargs)

    return call


def throttle_repeated(
    function: Callable[..., R], throttle: int | None = None, every: float | None = None
) -> Callable[..., R | None]:
    """Return a function that throttles its calls separately for each set of arguments."""
    throttled(function, throttle, every)  # invalid arguments raise here
    known: dict[object, Callable[..., R | None]] = {}

    @functools.wraps(function)
    def call(*args: object, **kwargs: object) -> R | None:
        which = (args, tuple(sorted(kwargs.items())))
        if which not in known:
            known[which] = throttled(function, throttle, every)
        return known[which](*args, **kwargs)

    return call
