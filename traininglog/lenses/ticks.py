"""Iteration that ticks an inspector at the end of each step or epoch."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Ticks(Generic[T]):
    """Yields items, and calls `end` after the loop body of each, also after a break.

    `begin` is called before each item, `end` after it with the item and the result of `begin`, and
    `done` when the loop ends.

    If the loop is left early, CPython deletes the generator at once, and so calls `end` at once. As
    a context manager, ``with inspector.range(10) as epochs:`` around the loop, this is guaranteed
    by the end of the context.
    """

    def __init__(
        self,
        items: Iterable[T],
        begin: Callable[[], int],
        end: Callable[[T, int], None],
        done: Callable[[], None],
    ) -> None:
        self._items = items
        self._begin, self._end, self._done = begin, end, done
        self._running: Generator[T, None, None] | None = None

    def _go(self) -> Generator[T, None, None]:
        try:
            for item in self._items:
                begun = self._begin()
                try:
                    yield item
                finally:
                    self._end(item, begun)
        finally:
            self._done()

    def __iter__(self) -> Iterator[T]:
        if self._running is None:
            # Only the loop references the generator, so that it ends with the loop.
            return self._go()
        return self._running

    def __len__(self) -> int:
        return len(self._items)  # type: ignore[arg-type]

    def __enter__(self) -> Ticks[T]:
        self._running = self._go()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._running is not None:
            self._running.close()
            self._running = None
