"""`State`, the interface of an inspector for lenses: gatherers, array operations, number pool."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from traininglog.lenses.numbers.operations import ArrayOperations
from traininglog.lenses.numbers.statistics import Target


class Gatherer(Protocol):
    """A source of arrays for a lens, until it is detached."""

    def detach(self) -> None:
        """Stop, and release the module."""


class NumberPool(Protocol):
    """A buffer of numbers for statistics, so that the program waits for a device only once."""

    def put(self, target: Target, number: Any, times: float = 1.0, plus: float = 0.0) -> None:
        """Add ``number * times + plus``; the number may still be on a device."""

    def put_together(self, target: Any, numbers: Sequence[Any]) -> None:
        """Add numbers that stay consecutive in one call of ``target.add(numbers)``."""

    def put_total(
        self, target: Target, numbers: Any, times: float, plus: float, *, nonzero: bool
    ) -> None:
        """Add ``total * times + plus``; the total is a vector's sum, or its number of non-zeros.

        A NaN in the vector makes both totals NaN. The caller must not change the vector: the pool
        may sum it later, together with others.
        """

    def put_vector(self, target: Any, numbers: Any) -> None:
        """Add a vector of numbers, by one call of ``target.add(numbers)``."""


class Immediate:
    """A pool without a buffer, for numbers that are on no device."""

    def put(self, target: Any, number: Any, times: float = 1.0, plus: float = 0.0) -> None:
        """Pass on a number."""
        target.add(number * times + plus)

    def put_together(self, target: Any, numbers: Sequence[Any]) -> None:
        """Pass on several numbers."""
        target.add(numbers)

    def put_total(
        self, target: Any, numbers: Any, times: float, plus: float, *, nonzero: bool
    ) -> None:
        """Compute and pass on a total."""
        total = float(numbers.sum())
        if nonzero and not math.isnan(total):
            total = float((numbers != 0).sum())
        target.add(total * times + plus)

    def put_vector(self, target: Any, numbers: Any) -> None:
        """Pass on a vector."""
        target.add(numbers)


class ExplicitCall:
    """A gatherer that the program calls: it passes pushed values to all listeners."""

    def __init__(self) -> None:
        self._listeners: list[tuple[Callable[[str, str, object], None], bool]] = []

    def listen(self, callback: Callable[[str, str, Any], None], *, always: bool = False) -> None:
        """Register ``callback(kind, name, number)``; the kind is ``"loss"`` or ``"metric"``.

        With `always`, it is called while the inspector is inactive, too.
        """
        self._listeners.append((callback, always))

    def listening(self, *, active: bool = True) -> list[Callable[[str, str, Any], None]]:
        """Return the listeners for an active or inactive inspector."""
        return [listener for listener, always in self._listeners if active or always]


class State(ABC):
    """The interface of an inspector for lenses: gatherers, array operations, a number pool.

    A callback receives arrays that are detached from the graph and still on their device. It must
    not change them. A gatherer calls only while the inspector is active, or always with
    ``always=True``.
    """

    arrays: ArrayOperations
    pool: NumberPool
    separator: str = "."
    aliases: Mapping[str, list[str]] = {}
    scaled: bool = False  #: whether a `GradScaler` scales the loss, see `overflow`

    def guarded(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function and return its result. After an error, count it and return None.

        A text as the first argument is the layer under which the error is counted. This base class
        does not catch.
        """
        return call(*arguments)

    def overflow(self) -> bool:
        """Return whether a `GradScaler` skips the step of a non-finite gradient."""
        return False

    @abstractmethod
    def role(self, module: Any) -> str:
        """Return the role of a module.

        It is ``"activation"``, ``"dropout"``, ``"container"``, ``"observed"`` (the program chose
        it), ``"whole"`` (it has children, but computes itself and never calls them), ``"part"`` (a
        child of a whole), or ``"other"``.
        """

    @abstractmethod
    def begin(self, module: Any, layer: str, call: Callable[[str, Any, bool], None]) -> Gatherer:
        """Gather inputs, active or not: ``call(layer, input, training)`` before each forward pass.

        The input is its first floating point array, or None.
        """

    @abstractmethod
    def forward(
        self, module: Any, layer: str, call: Callable[[str, Any, bool], None], always: bool = False
    ) -> Gatherer:
        """Gather outputs: ``call(layer, output, training)`` after each forward pass of a module.

        The output is its first floating point array. If it has none, there is no call.
        """

    @abstractmethod
    def backward(
        self, module: Any, layer: str, call: Callable[[str, Any], None], always: bool = False
    ) -> Gatherer:
        """Gather the gradients of outputs: ``call(layer, gradient)``."""

    @abstractmethod
    def parameter_gradient(
        self,
        module: Any,
        layer: str,
        names: Sequence[str] | None,
        call: Callable[[str, str, list[Any]], None],
        always: bool = False,
    ) -> Gatherer:
        """Gather gradients of parameters: ``call(layer, name, gradients)`` once a backward pass.

        A layer that represents a whole branch has several parameters of one name.
        """

    @abstractmethod
    def update(
        self,
        optimizer: Any,
        call: Callable[[list[Change]], None],
        *,
        sizes: bool = False,
        lasting: bool = False,
    ) -> Gatherer:
        """Gather the changes of an optimizer's steps: ``call(changes)`` after each step.

        Without an optimizer, the call comes after each `inspect_update()`. `sizes` and `lasting`
        request two costly properties of `Change`.
        """

    @abstractmethod
    def per_tick(self, call: Callable[[], None]) -> Gatherer:
        """Register a callback for each active tick, before lenses finalize it."""

    @abstractmethod
    def parameters(self, module: Any, layer: str) -> dict[str, list[Any]]:
        """Return a layer's current parameters by name, detached from the graph."""

    @abstractmethod
    def trainable(self, module: Any, layer: str) -> list[str]:
        """Return the names of a layer's trained parameters."""

    @abstractmethod
    def gradient_bytes(self) -> int:
        """Return the current memory of the gradients of parameters, in bytes."""

    def device_peak(self) -> int | None:
        """Return the device's peak memory since the last call in bytes, or None if unknown."""
        return None

    @abstractmethod
    def grad_enabled(self) -> bool:
        """Return whether autograd records a graph."""

    @abstractmethod
    def announce(self, key: str, value: Any) -> None:
        """Write to the status of the log at once, if this process writes one."""

    @property
    @abstractmethod
    def last_time(self) -> int:
        """The time of the last tick; -1 before the first."""


class Change:
    """The change of one parameter in one step."""

    __slots__ = ("delta", "lasting", "layer", "name", "norm", "size")

    def __init__(
        self, layer: str, name: str, delta: Any, norm: Any, size: Any, *, lasting: bool
    ) -> None:
        self.layer = layer
        self.name = name
        self.delta = delta  #: the parameter after the step minus before it; valid during the call
        self.norm = norm  #: the L2 norm of `delta`
        self.size = size  #: the L2 norm of the parameter before the step; None if it is not known
        self.lasting = lasting  #: whether `delta` also stays valid during the next call
