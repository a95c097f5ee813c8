"""Context managers that warn if they were called, but never entered by ``with``."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar

from traininglog.errors import TrainingLogWarning

P = ParamSpec("P")
T = TypeVar("T")


class WithBlock(AbstractContextManager[T], Generic[T]):
    """A context manager that warns if it becomes garbage without having been entered.

    Args:
        inner: The context manager that does the work.
        name: Its name, for people.

    """

    def __init__(self, inner: AbstractContextManager[T], name: str) -> None:
        self._inner = inner
        self._name = name
        self._entered = False

    def __enter__(self) -> T:
        self._entered = True
        return self._inner.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return self._inner.__exit__(kind, error, trace)

    def __call__(self, function: Callable[..., object]) -> Callable[..., Any]:
        """Decorate a function: each of its calls then runs within the block."""
        self._entered = True
        decorate: Any = self._inner
        decorated: Callable[..., Any] = decorate(function)
        return decorated

    def __del__(self) -> None:
        if not getattr(self, "_entered", True):
            warn_unentered(self._name)


def block(function: Callable[P, Iterator[T]]) -> Callable[P, WithBlock[T]]:
    """Turn a generator function into a context manager, as `contextlib.contextmanager` does."""
    make = contextmanager(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> WithBlock[T]:
        return WithBlock(make(*args, **kwargs), f"{function.__name__}()")

    return call


def warn_unentered(name: str) -> None:
    """Warn that a context manager was called without ``with``, so that it did nothing."""
    warnings.warn(
        f"{name} was called and never entered, so that it did nothing: write `with ...{name}:`",
        TrainingLogWarning,
        stacklevel=3,  # where the last reference was dropped, which is the line of the plain call
    )
