"""The events of a loop, and their handlers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

Handler = Callable[..., Any]


class EventKeys(StrEnum):
    """The events of a `TrainLoop`, with the arguments of their handlers.

    The schedule::

        ENTER_LOOP (loop)
            BEFORE_EPOCH (loop)
                BEFORE_STEP (loop)
                AFTER_STEP (loop)
            AFTER_EPOCH (loop)
        EXIT_LOOP (loop)

    An after-event, and EXIT_LOOP, calls its handlers in reverse order. It also fires when the body
    breaks or raises.
    """

    ENTER_LOOP = "enter_loop"
    EXIT_LOOP = "exit_loop"
    BEFORE_EPOCH = "before_epoch"
    AFTER_EPOCH = "after_epoch"
    BEFORE_STEP = "before_step"
    AFTER_STEP = "after_step"
    METRICS_COLLECTED = "metrics_collected"  #: (loop, {name: number})
    TIME_METRICS_COLLECTED = "time_metrics_collected"  #: (loop, {name: seconds})
    METRIC_STATS_PRINTED = "metric_stats_printed"  #: (loop, {name: Statistics})
    TIME_METRIC_STATS_PRINTED = "time_metric_stats_printed"  #: (loop, {name: Statistics})
    SUMMARY_ADDED = "summary_added"  #: (loop, {tag: number})


class EventSource:
    """Handlers by event, called in the order in which they were added.

    Every handler is called, even if one before it raises. Its error is raised afterwards (several
    errors as an `ExceptionGroup`). Adding or removing a handler while its event fires takes effect
    at the next firing.

    Args:
        allowed: The known events; by default any.

    >>> events = EventSource(["ready"])
    >>> events.on("ready", lambda who: print(who, "is ready"))
    >>> events.fire("ready", "the loop")
    the loop is ready
    """

    def __init__(self, allowed: Iterable[str] | None = None) -> None:
        self._allowed = None if allowed is None else frozenset(allowed)
        # Tuples, replaced at each change: a firing that iterates over one is not disturbed.
        self._handlers: dict[str, tuple[Handler, ...]] = {}

    @property
    def awaited(self) -> Mapping[str, tuple[Handler, ...]]:
        """The live mapping from events to handlers, for a quick look without a call."""
        return self._handlers

    def on(self, key: str, handler: Handler) -> None:
        """Add a handler of an event; it is called once for each time that it was added.

        Raises `KeyError` for an event that does not exist.
        """
        self._check(key)
        if not callable(handler):
            raise TypeError(f"a handler is called: it cannot be a {type(handler).__name__}")
        self._handlers[key] = (*self.handlers(key), handler)

    def off(self, key: str, handler: Handler) -> None:
        """Remove a handler, once. Raises `ValueError` if it was not added."""
        self._check(key)
        left = list(self.handlers(key))
        if handler not in left:
            raise ValueError(f"{handler!r} does not handle {str(key)!r}")
        left.remove(handler)
        self._handlers[key] = tuple(left)

    def clear_event_handlers(self, key: str | None = None) -> None:
        """Remove all handlers of one event, or of all events."""
        if key is None:
            self._handlers.clear()
        else:
            self._check(key)
            self._handlers.pop(key, None)

    def handlers(self, key: str) -> tuple[Handler, ...]:
        """Return the handlers of an event, in the order in which they were added."""
        return self._handlers.get(key, ())

    def fire(self, key: str, *arguments: object) -> None:
        """Call the handlers of an event."""
        self._check(key)
        _call(self.handlers(key), arguments)

    def reverse_fire(self, key: str, *arguments: object) -> None:
        """Call the handlers of an event, the last one first."""
        self._check(key)
        _call(self.handlers(key)[::-1], arguments)

    def _check(self, key: str) -> None:
        if self._allowed is not None and key not in self._allowed:
            raise KeyError(
                f"there is no event {key!r}; there are {', '.join(sorted(self._allowed))}"
            )


def _call(handlers: Sequence[Handler], arguments: tuple[object, ...]) -> None:
    errors = []
    for handler in handlers:
        try:
            handler(*arguments)
        except Exception as error:  # noqa: BLE001 - raised below, after all handlers
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup(f"{len(errors)} of {len(handlers)} event handlers failed", errors)
