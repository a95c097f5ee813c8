"""Signals of which somebody has taken charge, and who wants to know.

A train loop that is asked to end by SIGINT or SIGTERM does so in good order, and no exception says
that it was asked. A trial around it, or within it, ends as interrupted all the same.
"""

from __future__ import annotations

from collections.abc import Callable

_listeners: list[Callable[[int], None]] = []


def tell(listener: Callable[[int], None]) -> None:
    """Call `listener` with the number of each signal that is taken charge of, from now on."""
    if listener not in _listeners:
        _listeners.append(listener)


def forget(listener: Callable[[int], None]) -> None:
    """Call it no more."""
    if listener in _listeners:
        _listeners.remove(listener)


def taken(number: int) -> None:
    """Tell that a signal has come, whose end is seen to. For handlers of signals."""
    for listener in tuple(_listeners):
        listener(number)
