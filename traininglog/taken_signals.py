"""Signals that a handler of this package handles, and listeners that hear of them.

SIGINT or SIGTERM ends a train loop in good order, and no exception tells that a signal came. The
listeners let a trial around the loop, or within it, end as interrupted all the same.
"""

from __future__ import annotations

from collections.abc import Callable

_listeners: list[Callable[[int], None]] = []


def tell(listener: Callable[[int], None]) -> None:
    """Call `listener` with the number of each handled signal from now on."""
    if listener not in _listeners:
        _listeners.append(listener)


def forget(listener: Callable[[int], None]) -> None:
    """Stop calling `listener`."""
    if listener in _listeners:
        _listeners.remove(listener)


def taken(number: int) -> None:
    """Call the listeners. A signal handler calls this for a signal that it handles."""
    for listener in tuple(_listeners):
        listener(number)
