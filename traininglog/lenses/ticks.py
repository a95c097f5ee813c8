"""Iteration that tells an inspector when a step or an epoch ends."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Ticks(Generic[T]):
    """Gives items, and calls `end` when the body that got one is through, also by a break.

    `begin` is called before an item is given, `end` with the item and what `begin` returned, and
    `done` when the loop is left.

    CPython ends a loop that was left at once. As a context, ``with inspector.range(10) as epochs:``
    around the loop, that is certain to happen at the end of the context at the latest.
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
            # Held by nobody but the loop, so that it ends with it.
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
