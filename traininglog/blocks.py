"""Blocks: what does its work in a ``with``, and says so if it was called and never entered."""

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
    """A context manager that warns when it goes and nobody has entered it.

    Args:
        inner: What it does.
        name: What it is called, for people.

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
        """Return a function each of whose calls is such a block: it may be a decorator, too."""
        self._entered = True
        decorate: Any = self._inner
        decorated: Callable[..., Any] = decorate(function)
        return decorated

    def __del__(self) -> None:
        if not getattr(self, "_entered", True):
            warn_unentered(self._name)


def block(function: Callable[P, Iterator[T]]) -> Callable[P, WithBlock[T]]:
    """Make a context manager of a generator function, as `contextlib.contextmanager` does."""
    make = contextmanager(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> WithBlock[T]:
        return WithBlock(make(*args, **kwargs), f"{function.__name__}()")

    return call


def warn_unentered(name: str) -> None:
    """Warn that something was called plainly that works as a block only."""
    warnings.warn(
        f"{name} was called and never entered, so that it did nothing: write `with ...{name}:`",
        TrainingLogWarning,
        stacklevel=3,  # where the last reference went, which is where a plain call stands
    )
