"""What the states of all inspectors share, and the state of one that is given named arrays."""

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
    """What a state asks of its inspector."""

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
        """Take the callback out."""
        if self._call in self._calls:
            self._calls.remove(self._call)


class CommonState(State):
    """Activity, callbacks per tick, and what happens when a lens fails."""

    def __init__(self, home: Home) -> None:
        self.active = False
        self.time = -1
        self.tick_calls: list[Callable[[], None]] = []
        self.passed = PassedOver()
        # An inspector that nobody has any more is to go, and its hooks with it.
        self._home = weakref.ref(home)

    @property
    def last_time(self) -> int:
        """The time of the last tick."""
        return self.time

    def per_tick(self, call: Callable[[], None]) -> Gatherer:
        """Have a callback called at each tick."""
        return Tap(self.tick_calls, call)

    def guarded(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call; what is raised is passed over and counted, see `PassedOver`."""
        try:
            return call(*arguments)
        except NonFiniteFound:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no reason to end a training
            layer = arguments[0] if arguments and isinstance(arguments[0], str) else None
            self.passed.note(name_of(call), layer, error)
            return None

    def guarded_for(
        self, who: str, layer: str | None, call: Callable[..., Any], *arguments: Any
    ) -> Any:
        """Call, as `guarded` does, on behalf of somebody."""
        try:
            return call(*arguments)
        except NonFiniteFound:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            self.passed.note(who, layer, error)
            return None

    def push(self, explicit: ExplicitCall, kind: str, name: str, value: Any) -> None:
        """Hand on what was pushed."""
        for listener in explicit.listening(active=self.active):
            self.guarded(listener, kind, name, value)

    def announce(self, key: str, value: Any) -> None:
        """Write to the status at once."""
        home = self._home()
        if home is not None and home.log is not None and home.is_master:
            home.log.status[key] = value

    @abstractmethod
    def drain(self) -> None:
        """Take numbers that wait on a device to their statistics."""

    def end_stretch(self) -> None:
        """Forget what belonged to the stretch that ended."""

    def begin_active(self) -> None:
        """Know that an active stretch begins after an inactive one."""

    def skip_stretch(self) -> None:
        """Know that an inactive stretch begins."""

    def close(self) -> None:
        """Let go of everything."""
        self.tick_calls.clear()


class NamedState(CommonState):
    """The state of an inspector that is given named arrays; a module is but the layer's name."""

    arrays: NumpyArrays

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self.arrays = NumpyArrays()
        self.pool = Immediate()
        #: Which of a layer's kinds are known by now: ``"outputs"`` or ``"parameters"``.
        self.family = "outputs"
        self._calls: dict[tuple[str, str], list[Any]] = {}
        self._updates: list[Any] = []
        self._parameters: dict[str, dict[str, Any]] = {}

    def observe(self, kind: str, layer: str, array: Any, *, training: bool) -> None:
        """Hand an array to the lenses."""
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
        """Get to know the names of a layer's parameters."""
        self._parameters[layer] = self._named(array)

    def _named(self, array: Any) -> dict[str, Any]:
        named = array if isinstance(array, Mapping) else {"weight": array}
        taken = {name: self.arrays.first(value) for name, value in named.items()}
        return {name: value for name, value in taken.items() if value is not None}

    def _tap(self, family: str, kind: str, layer: str, call: Any, always: bool) -> Gatherer:
        calls = self._calls.setdefault((kind, layer), [])
        return Tap(calls if self.family == family else [], (call, always))

    def role(self, module: Any) -> str:
        """Return that it was chosen by who observes it."""
        _ = module
        return "observed"

    def begin(self, module: Any, layer: str, call: Callable[[str, Any, bool], None]) -> Gatherer:
        """Count ticks: there is no other sign of a pass."""
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
        """Return the parameters that were observed in this stretch."""
        if self.family != "parameters":
            return {}
        return {name: [array] for name, array in self._parameters.get(layer, {}).items()}

    def trainable(self, module: Any, layer: str) -> list[str]:
        """Return the parameters that are known."""
        return list(self.parameters(module, layer))

    def gradient_bytes(self) -> int:
        """Return none: gradients are not kept."""
        return 0

    def grad_enabled(self) -> bool:
        """Return that it is training: there is no graph to tell by."""
        return True

    def drain(self) -> None:
        """Do nothing: the numbers are here."""

    def end_stretch(self) -> None:
        """Forget the parameters that were observed."""
        self._parameters.clear()
