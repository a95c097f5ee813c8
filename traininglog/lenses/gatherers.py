"""The base class of inspectors' states, and the state of an inspector of named arrays."""

from __future__ import annotations

import functools
import weakref
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from traininglog.lenses.catalogue.non_finite import NonFiniteFound
from traininglog.lenses.numbers.operations import NumpyArrays
from traininglog.lenses.numbers.state import Change, ExplicitCall, Gatherer, Immediate, State
from traininglog.lenses.omissions import PassedOver, name_of


class Home(Protocol):
    """The attributes of an inspector that its state uses."""

    log: Any

    @property
    def is_master(self) -> bool:
        """Whether this process writes."""


class Tap:
    """A gatherer: a callback in a list of callbacks."""

    def __init__(self, calls: list[Any], call: Any) -> None:
        self._calls, self._call = calls, call
        calls.append(call)

    def detach(self) -> None:
        """Remove the callback."""
        if self._call in self._calls:
            self._calls.remove(self._call)


class CommonState(State):
    """Base class of states: activity, callbacks per tick, and failures of lenses."""

    def __init__(self, home: Home) -> None:
        self.active = False
        self.time = -1
        self.tick_calls: list[Callable[[], None]] = []
        self.passed = PassedOver()
        # Weak, so that an unreferenced inspector is deleted, and its hooks with it.
        self._home = weakref.ref(home)

    @property
    def last_time(self) -> int:
        """The time of the last tick."""
        return self.time

    def per_tick(self, call: Callable[[], None]) -> Gatherer:
        """Register a callback for each tick."""
        return Tap(self.tick_calls, call)

    def guarded(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function. Catch and count its errors (see `PassedOver`), but not `NonFiniteFound`.

        Returns its result, or None after an error.
        """
        try:
            return call(*arguments)
        except NonFiniteFound:
            raise
        except Exception as error:  # noqa: BLE001 - no error of a lens must end a training
            layer = arguments[0] if arguments and isinstance(arguments[0], str) else None
            self.passed.note(name_of(call), layer, error)
            return None

    def guarded_for(
        self, who: str, layer: str | None, call: Callable[..., Any], *arguments: Any
    ) -> Any:
        """Call a function as `guarded` does; count errors under `who` and `layer`."""
        try:
            return call(*arguments)
        except NonFiniteFound:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            self.passed.note(who, layer, error)
            return None

    def push(self, explicit: ExplicitCall, kind: str, name: str, value: Any) -> None:
        """Pass a pushed value to the listeners; their errors count under its name."""
        for listener in explicit.listening(active=self.active):
            self.guarded_for(name_of(listener), name, listener, kind, name, value)

    def announce(self, key: str, value: Any) -> None:
        """Write to the status of the log at once, if this process writes one."""
        home = self._home()
        if home is not None and home.log is not None and home.is_master:
            home.log.status[key] = value

    @abstractmethod
    def drain(self) -> None:
        """Transfer the numbers that wait on a device to their statistics."""

    def end_stretch(self) -> None:
        """Handle the end of a stretch."""

    def begin_active(self) -> None:
        """Handle the start of an active stretch after an inactive one."""

    def skip_stretch(self) -> None:
        """Handle the start of an inactive stretch."""

    def close(self) -> None:
        """Release everything."""
        self.tick_calls.clear()


class NamedState(CommonState):
    """The state of an inspector of named arrays. A module is just the layer's name."""

    arrays: NumpyArrays

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self.arrays = NumpyArrays()
        self.pool = Immediate()
        #: The family of arrays that lenses can register for now: ``"outputs"`` or ``"parameters"``.
        self.family = "outputs"
        self._calls: dict[tuple[str, str], list[Any]] = {}
        self._updates: list[Any] = []
        self._parameters: dict[str, dict[str, Any]] = {}

    def observe(self, kind: str, layer: str, array: Any, *, training: bool) -> None:
        """Pass an array to the lenses."""
        if kind in ("output", "output_gradient"):
            taken = self.arrays.first(array)
            if taken is not None:
                more = (training,) if kind == "output" else ()
                for call, always in list(self._calls.get((kind, layer), ())):
                    if always or self.active:
                        self.guarded(call, layer, taken, *more)
            return
        taken_of = self._named(array)
        if kind == "parameter":
            self._parameters[layer] = taken_of
        elif kind == "parameter_gradient":
            for call, always in list(self._calls.get((kind, layer), ())):
                if always or self.active:
                    for name, gradient in taken_of.items():
                        self.guarded(call, layer, name, [gradient])
        elif self.active:
            before = self._parameters.get(layer, {})
            norm = self.arrays.norm
            sizes = {name: norm([array]) for name, array in before.items()}
            changes = [
                Change(layer, name, delta, norm([delta]), sizes.get(name), lasting=False)
                for name, delta in taken_of.items()
            ]
            for call in list(self._updates):
                self.guarded(call, changes)

    def learn(self, layer: str, array: Any) -> None:
        """Record a layer's parameters before its lenses are registered, which need their names."""
        self._parameters[layer] = self._named(array)

    def _named(self, array: Any) -> dict[str, Any]:
        named = array if isinstance(array, Mapping) else {"weight": array}
        taken = {name: self.arrays.first(value) for name, value in named.items()}
        return {name: value for name, value in taken.items() if value is not None}

    def _tap(self, family: str, kind: str, layer: str, call: Any, always: bool) -> Gatherer:
        calls = self._calls.setdefault((kind, layer), [])
        return Tap(calls if self.family == family else [], (call, always))

    def role(self, module: Any) -> str:
        """Return ``"observed"``: the program chose the layer."""
        _ = module
        return "observed"

    def begin(self, module: Any, layer: str, call: Callable[[str, Any, bool], None]) -> Gatherer:
        """Call at each tick, as this state sees no forward passes."""
        _ = module
        return self.per_tick(lambda: call(layer, None, True))

    def forward(
        self, module: Any, layer: str, call: Callable[[str, Any, bool], None], always: bool = False
    ) -> Gatherer:
        """Gather outputs."""
        return self._tap("outputs", "output", layer, call, always)

    def backward(
        self, module: Any, layer: str, call: Callable[[str, Any], None], always: bool = False
    ) -> Gatherer:
        """Gather gradients of outputs."""
        return self._tap("outputs", "output_gradient", layer, call, always)

    def parameter_gradient(
        self,
        module: Any,
        layer: str,
        names: Sequence[str] | None,
        call: Callable[[str, str, list[Any]], None],
        always: bool = False,
    ) -> Gatherer:
        """Gather gradients of parameters."""

        @functools.wraps(call)
        def chosen(layer: str, name: str, gradients: list[Any]) -> None:
            if names is None or name in names:
                call(layer, name, gradients)

        return self._tap("parameters", "parameter_gradient", layer, chosen, always)

    def update(
        self,
        optimizer: Any,
        call: Callable[[list[Change]], None],
        *,
        sizes: bool = False,
        lasting: bool = False,
    ) -> Gatherer:
        """Gather updates."""
        _ = optimizer, sizes, lasting
        return Tap(self._updates, call)

    def parameters(self, module: Any, layer: str) -> dict[str, list[Any]]:
        """Return the parameters that the program passed in this stretch."""
        if self.family != "parameters":
            return {}
        return {name: [array] for name, array in self._parameters.get(layer, {}).items()}

    def trainable(self, module: Any, layer: str) -> list[str]:
        """Return the names of these parameters."""
        return list(self.parameters(module, layer))

    def gradient_bytes(self) -> int:
        """Return 0: this state keeps no gradients."""
        return 0

    def grad_enabled(self) -> bool:
        """Return True: without a graph, every pass counts as training."""
        return True

    def drain(self) -> None:
        """Do nothing: no numbers wait on a device."""

    def end_stretch(self) -> None:
        """Forget the parameters of the stretch."""
        self._parameters.clear()
