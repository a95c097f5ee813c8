"""What a lens is given of its inspector: gatherers, array operations, a pool for numbers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from traininglog.lenses.numbers.operations import ArrayOperations
from traininglog.lenses.numbers.statistics import Target


class Gatherer(Protocol):
    """What feeds a lens, until it is detached."""

    def detach(self) -> None:
        """Stop, and let go of the module."""


class NumberPool(Protocol):
    """Where numbers wait on their way to statistics, so that a device is waited for only once."""

    def put(self, target: Target, number: Any, times: float = 1.0, plus: float = 0.0) -> None:
        """Take ``number * times + plus``; the number may still be on a device."""

    def put_together(self, target: Any, numbers: Sequence[Any]) -> None:
        """Take numbers that stay together, one after the other, in a ``target.add(numbers)``."""

    def put_total(
        self, target: Target, numbers: Any, times: float, plus: float, *, nonzero: bool
    ) -> None:
        """Take ``total * times + plus``: of a vector's sum, or of how many in it are not zero.

        A NaN in the vector makes both totals NaN. The vector must stay as it is: it may be summed
        later, and together with others.
        """

    def put_vector(self, target: Any, numbers: Any) -> None:
        """Take a vector of numbers, for one ``target.add(numbers)``."""


class Immediate:
    """A pool for numbers that are here already."""

    def put(self, target: Any, number: Any, times: float = 1.0, plus: float = 0.0) -> None:
        """Hand on a number."""
        target.add(number * times + plus)

    def put_together(self, target: Any, numbers: Sequence[Any]) -> None:
        """Hand on some numbers."""
        target.add(numbers)

    def put_total(
        self, target: Any, numbers: Any, times: float, plus: float, *, nonzero: bool
    ) -> None:
        """Hand on a total."""
        total = float(numbers.sum())
        if nonzero and not math.isnan(total):
            total = float((numbers != 0).sum())
        target.add(total * times + plus)

    def put_vector(self, target: Any, numbers: Any) -> None:
        """Hand on numbers to one."""
        target.add(numbers)


class ExplicitCall:
    """A gatherer that the program itself calls: what was pushed goes to all who listen."""

    def __init__(self) -> None:
        self._listeners: list[tuple[Callable[[str, str, object], None], bool]] = []

    def listen(self, callback: Callable[[str, str, Any], None], *, always: bool = False) -> None:
        """Have ``callback(kind, name, number)`` called: kind is ``"loss"`` or ``"metric"``.

        With `always`, also while the inspector is not active.
        """
        self._listeners.append((callback, always))

    def listening(self, *, active: bool = True) -> list[Callable[[str, str, Any], None]]:
        """Return those who listen now."""
        return [listener for listener, always in self._listeners if active or always]

    def push(self, kind: str, name: str, number: Any, *, active: bool = True) -> None:
        """Hand a number to all who listen."""
        for listener in self.listening(active=active):
            listener(kind, name, number)


class State(ABC):
    """What a lens is given of its inspector: gatherers, array operations, a pool.

    A callback gets arrays that have left the graph and are still on their device; it must not
    change them. A gatherer calls only while the inspector is active, or with ``always=True`` ever.
    """

    arrays: ArrayOperations
    pool: NumberPool
    separator: str = "."
    aliases: Mapping[str, list[str]] = {}
    scaled: bool = False  #: whether a `GradScaler` scales the loss, see `overflow`

    def guarded(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call, and return what that gives; but what it raises is passed over, and gives None.

        The first argument, if it is a text, is the layer that is passed over.
        """
        return call(*arguments)

    def overflow(self) -> bool:
        """Tell whether a gradient that is not finite is one that a `GradScaler` skips."""
        return False

    @abstractmethod
    def role(self, module: Any) -> str:
        """Return what a module does.

        ``"activation"``, ``"dropout"``, ``"container"``, ``"observed"`` (chosen by the program);
        ``"whole"``: it has children, but computes by itself; ``"part"``: such a child, which is
        never called; or ``"other"``.
        """

    @abstractmethod
    def begin(self, module: Any, layer: str, call: Callable[[str, Any, bool], None]) -> Gatherer:
        """Gather inputs, active or not: ``call(layer, input, training)`` before each forward pass.

        The input is the first array of floating point, or None.
        """

    @abstractmethod
    def forward(
        self, module: Any, layer: str, call: Callable[[str, Any, bool], None], always: bool = False
    ) -> Gatherer:
        """Gather outputs: ``call(layer, output, training)`` after each forward pass of a module.

        Of several arrays in an output, it is the first of floating point; without one, no call.
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

        A layer that stands for a branch has several parameters of one name.
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
        """Gather what an optimizer's steps change: ``call(changes)`` after each.

        Without an optimizer, after each `inspect_update()`. `sizes` and `lasting` ask for what
        costs more, see `Change`.
        """

    @abstractmethod
    def per_tick(self, call: Callable[[], None]) -> Gatherer:
        """Have a callback called at the end of each active tick, before it is finalized."""

    @abstractmethod
    def parameters(self, module: Any, layer: str) -> dict[str, list[Any]]:
        """Return a layer's parameters by name, as they are now, out of the graph."""

    @abstractmethod
    def trainable(self, module: Any, layer: str) -> list[str]:
        """Return the names of those of a layer's parameters that are trained."""

    @abstractmethod
    def gradient_bytes(self) -> int:
        """Return the memory that the gradients of parameters take now."""

    def device_peak(self) -> int | None:
        """Return the most memory taken on the device since the last call, in bytes, if it tells."""
        return None

    @abstractmethod
    def grad_enabled(self) -> bool:
        """Tell whether a graph is being recorded."""

    @abstractmethod
    def announce(self, key: str, value: Any) -> None:
        """Write to the status of the log at once, if this process writes one."""

    @property
    @abstractmethod
    def last_time(self) -> int:
        """The time of the last tick; -1 before the first."""


class Change:
    """What one step changed in one parameter."""

    __slots__ = ("delta", "lasting", "layer", "name", "norm", "size")

    def __init__(
        self, layer: str, name: str, delta: Any, norm: Any, size: Any, *, lasting: bool
    ) -> None:
        self.layer = layer
        self.name = name
        self.delta = delta  #: the parameter after the step less before it; valid during the call
        self.norm = norm  #: its L2 norm
        self.size = size  #: the L2 norm of the parameter before the step; None if it is not known
        self.lasting = lasting  #: whether `delta` stays as it is for one more call
