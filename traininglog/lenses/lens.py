"""What a lens is: the interface, and a base with charts that makes a new one short.

An inspector registers its lenses on modules; each asks the inspector's `State` for gatherers, which
call it with what they gather; it puts numbers into charts (preprocessors), and at a tick hands to a
visualizer what they come to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from traininglog.lenses.arrays import Arrays
from traininglog.lenses.statistics import (
    Combine,
    Combined,
    Running,
    Statistic,
    Values,
    names_of,
    statistic,
)
from traininglog.lenses.tags import Numbers, TagAttributes, check_tag


class AbstractVisualizer(ABC):
    """Shows, or stores, what lenses tell: fed live by an inspector, or from a log by `replay`."""

    @abstractmethod
    def register_tag(self, tag: str, attributes: TagAttributes) -> None:
        """Get to know a tag, before its first numbers. Doing it again renews its attributes."""

    @abstractmethod
    def plot(self, time: int, tag: str, numbers: Numbers) -> None:
        """Take the numbers of a tag at a time: layer -> statistic -> number."""

    def end_tick(self, time: int) -> None:
        """Know that all numbers of a time have come. By default, nothing."""
        _ = time

    def end(self) -> None:  # noqa: B027 - most have nothing that waits
        """Know that a loop has ended, or that nothing is observed any more. By default, nothing."""

    def reset(self) -> None:  # noqa: B027 - most have nothing to forget
        """Forget the numbers. By default, nothing."""


class Gatherer(Protocol):
    """What feeds a lens, until it is detached."""

    def detach(self) -> None:
        """Stop, and let go of the module."""


class Pool(Protocol):
    """Where numbers wait on their way to statistics, so that a device is waited for only once."""

    def put(self, target: Statistic, number: Any, times: float = 1.0, plus: float = 0.0) -> None:
        """Take ``number * times + plus``; the number may still be on a device."""

    def put_together(self, target: Any, numbers: Sequence[Any]) -> None:
        """Take numbers that stay together, one after the other, in a ``target.add(numbers)``."""

    def put_vector(self, target: Any, numbers: Any) -> None:
        """Take a vector of numbers, for one ``target.add(numbers)``."""


class ExplicitCall:
    """A gatherer that the program itself calls: what was pushed goes to all who listen."""

    def __init__(self) -> None:
        self._listeners: list[tuple[Callable[[str, str, Any], None], bool]] = []

    def listen(self, callback: Callable[[str, str, Any], None], *, always: bool = False) -> None:
        """Have ``callback(kind, name, number)`` called: kind is ``"loss"`` or ``"metric"``.

        With `always`, also while the inspector is not active.
        """
        self._listeners.append((callback, always))

    def push(self, kind: str, name: str, number: Any, *, active: bool = True) -> None:
        """Hand a number to all who listen."""
        for listener, always in self._listeners:
            if active or always:
                listener(kind, name, number)


class State(ABC):
    """What a lens is given of its inspector: gatherers, array operations, a pool.

    A callback gets arrays that have left the graph and are still on their device; it must not
    change them. A gatherer calls only while the inspector is active, or with ``always=True`` ever.
    """

    arrays: Arrays
    pool: Pool
    separator: str = "."
    aliases: Mapping[str, list[str]] = {}

    @abstractmethod
    def role(self, module: Any) -> str:
        """Return what a module does.

        ``"activation"``, ``"dropout"``, ``"container"``, ``"observed"`` (chosen by the program), or
        ``"other"``.
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


class AbstractLens(ABC):
    """Observes a network, and tells numbers about it at each tick.

    A lens makes its gatherers and preprocessors itself, and lets go of them when it is detached.
    An inspector calls, in this order: `register_foreign_preprocessor`, `register_leaf_module` and
    `register_non_leaf_module` for each module in the network's order, `introduce_tags`; then at
    each tick `start_sync` and `finish_sync` (among several processes), `finalize_epoch`,
    `visualize`, `reset_epoch`; in the end `detach_from_module`.
    """

    @abstractmethod
    def register_leaf_module(self, module: Any, name: str, state: State) -> None:
        """Start to observe a module without children (or one that stands for its branch), or not.

        A lens should leave out what it has nothing to tell about.
        """

    def register_non_leaf_module(  # noqa: B027 - by default not
        self, module: Any, name: str, state: State
    ) -> None:
        """Start to observe a module that has children, or not: by default not."""

    def register_foreign_preprocessor(  # noqa: B027 - by default it needs none
        self, preprocessor: Any, state: State
    ) -> None:
        """Get to know the inspector's own preprocessor: an `ExplicitCall`, which has the pushes."""

    @abstractmethod
    def introduce_tags(self, visualizer: AbstractVisualizer) -> None:
        """Register every tag with its attributes."""

    @abstractmethod
    def finalize_epoch(self) -> None:
        """Work out what is to be told of the tick that ends."""

    @abstractmethod
    def visualize(self, visualizer: AbstractVisualizer, time: int) -> None:
        """Tell it."""

    @abstractmethod
    def reset_epoch(self) -> None:
        """Forget what belonged to the tick."""

    @abstractmethod
    def detach_from_module(self) -> None:
        """Let go of the module, and forget everything."""

    def start_sync(self) -> Any:
        """Return what the other processes must know of this tick, in plain lists and dicts."""
        return None

    def finish_sync(self, states: Sequence[Any]) -> None:  # noqa: B027 - by default nothing
        """Take in what all processes returned from `start_sync`, this one included, by rank.

        A process whose lens was inactive, or has seen nothing, has None there.
        """


class Chart:
    """A preprocessor: the numbers of one tag since the last tick, by layer.

    Args:
        tag: The tag.
        attributes: How it is drawn, which tells which points of the numbers are worked out.
        running: Whether numbers are forgotten once they are counted.
        computed: Whether the lens works out `numbers` by itself, and puts nothing.

    """

    def __init__(
        self, tag: str, attributes: TagAttributes, *, running: bool = True, computed: bool = False
    ) -> None:
        self.tag = check_tag(tag)
        self.attributes = attributes
        self.running = running
        self.numbers: dict[str, dict[str, float]] = {}  #: what the last tick came to
        self.pool: Pool | None = None
        self._layers: dict[str, Statistic] = {}
        self._combined: dict[tuple[str, int, Combine], Combined] = {}
        self._points: list[str] = []
        if not computed and attributes.kind in ("numeric", "probability"):
            self._points = names_of(attributes.line, attributes.ranges, running=running)

    def expect(self, layer: str) -> None:
        """Add a layer, in its place in the order."""
        if layer not in self._layers:
            self._layers[layer] = statistic(running=self.running)
            self.attributes.layers.append(layer)

    def put(self, layer: str, number: Any, times: float = 1.0, plus: float = 0.0) -> None:
        """Take ``number * times + plus`` of a layer; the number may still be on a device."""
        target = self._layers.get(layer)
        if target is None:
            self.expect(layer)
            target = self._layers[layer]
        if self.pool is None:
            target.add(number * times + plus)
        else:
            self.pool.put(target, number, times, plus)

    def put_combined(self, layer: str, numbers: Sequence[Any], combine: Combine) -> None:
        """Take one number of a layer, which `combine` makes of some; see `statistics.Combined`."""
        place = (layer, len(numbers), combine)
        target = self._combined.get(place)
        if target is None:
            self.expect(layer)
            target = Combined(self._layers[layer], len(numbers), combine)
            self._combined[place] = target
        if self.pool is None:
            target.add(numbers)
        else:
            self.pool.put_together(target, numbers)

    def finalize(self) -> None:
        """Work out the points of each layer that has a number."""
        self.numbers = {
            layer: {name: seen.point(name) for name in self._points}
            for layer, seen in self._layers.items()
            if seen.count
        }

    def reset(self) -> None:
        """Begin anew, with the same layers."""
        self.numbers = {}
        self._new_statistics()

    def _new_statistics(self) -> None:
        self._layers = {layer: statistic(running=self.running) for layer in self._layers}
        self._combined = {}

    def clear(self) -> None:
        """Forget the layers, too."""
        self._layers, self._combined, self.numbers, self.pool = {}, {}, {}, None
        self.attributes.layers.clear()
        self.attributes.aliases.clear()

    def share(self, of: Chart, point: str) -> None:
        """Have each layer's share of the sum of another chart's points."""
        found = {layer: values[point] for layer, values in of.numbers.items()}
        total = sum(found.values())
        self.numbers = {layer: {"share": value / total} for layer, value in found.items() if total}

    def state(self) -> dict[str, list[float]]:
        """Return what it has, by layer, as plain numbers."""
        return {layer: seen.state() for layer, seen in self._layers.items() if seen.count}

    def merge(self, states: Iterable[Mapping[str, Sequence[float]]]) -> None:
        """Become what some states are together."""
        kind = Running if self.running else Values
        self._new_statistics()
        for state in states:
            for layer, numbers in state.items():
                self.expect(layer)
                self._layers[layer].merge(kind.from_state(numbers))  # type: ignore[arg-type]


class Lens(AbstractLens):
    """A lens of charts and gatherers. A new one makes charts, asks for gatherers, and puts numbers.

    Args:
        include: Names of layers, or classes of modules, to which it is confined.
        exclude: Those that it leaves out, whatever `include` says.

    """

    def __init__(self, include: Iterable[Any] = (), exclude: Iterable[Any] = ()) -> None:
        self.charts: list[Chart] = []
        self._include, self._exclude = _listed(include), _listed(exclude)
        self._gatherers: list[Gatherer] = []
        self._aliases: Mapping[str, list[str]] = {}

    def chart(
        self, tag: str, *, running: bool = True, computed: bool = False, **attributes: Any
    ) -> Chart:
        """Make a `Chart` of this lens; `attributes` are those of `TagAttributes`."""
        ranges = attributes.pop("ranges", ())
        if isinstance(ranges, str):  # one name is no list of its letters
            raise ValueError(f"ranges is a list of names: ranges=[{ranges!r}]")
        attributes["ranges"] = list(ranges)
        one = Chart(tag, TagAttributes(**attributes), running=running, computed=computed)
        self.charts.append(one)
        return one

    def gather(self, gatherer: Gatherer) -> None:
        """Keep a gatherer until this lens is detached."""
        self._gatherers.append(gatherer)

    def chosen(self, module: Any, name: str, *, default: bool = True) -> bool:
        """Tell whether `include` and `exclude` choose a module. A class is matched exactly."""
        if any(thing in (name, type(module)) for thing in self._exclude):
            return False
        if self._include:
            return any(thing in (name, type(module)) for thing in self._include)
        return default

    def register_foreign_preprocessor(self, preprocessor: Any, state: State) -> None:
        """Take the inspector's pool for the charts."""
        _ = preprocessor
        for chart in self.charts:
            chart.pool = state.pool
        self._aliases = state.aliases

    def introduce_tags(self, visualizer: AbstractVisualizer) -> None:
        """Register a tag for each chart."""
        for chart in self.charts:
            chart.attributes.aliases = {
                layer: list(self._aliases[layer])
                for layer in chart.attributes.layers
                if layer in self._aliases
            }
            visualizer.register_tag(chart.tag, chart.attributes)

    def finalize_epoch(self) -> None:
        """Finalize the charts."""
        for chart in self.charts:
            chart.finalize()

    def visualize(self, visualizer: AbstractVisualizer, time: int) -> None:
        """Tell what the charts have."""
        for chart in self.charts:
            if chart.numbers:
                visualizer.plot(time, chart.tag, chart.numbers)

    def reset_epoch(self) -> None:
        """Reset the charts."""
        for chart in self.charts:
            chart.reset()

    def detach_from_module(self) -> None:
        """Detach the gatherers, and clear the charts."""
        for gatherer in self._gatherers:
            gatherer.detach()
        self._gatherers.clear()
        for chart in self.charts:
            chart.clear()

    def skip_stretch(self) -> None:
        """Know that an inactive stretch begins: what compares with the step before starts anew."""

    def start_sync(self) -> Any:
        """Return the states of the charts."""
        return [chart.state() for chart in self.charts]

    def finish_sync(self, states: Sequence[Any]) -> None:
        """Merge the charts."""
        there = [state for state in states if state is not None]
        for number, chart in enumerate(self.charts):
            chart.merge([state[number] for state in there])


def _listed(things: Iterable[Any]) -> list[Any]:
    if isinstance(things, (str, type)):  # one name is no list of its letters
        return [things]
    return list(things)
