"""What a lens is: the interface, and a base with charts that makes a new one short.

An inspector registers its lenses on modules; each asks the inspector's `State` for gatherers, which
call it with what they gather; it puts numbers into charts (preprocessors), and at a tick hands to a
visualizer what they come to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from traininglog.lenses.numbers.charts import Chart
from traininglog.lenses.numbers.state import Gatherer, State
from traininglog.lenses.options import signature_of
from traininglog.lenses.tags.attributes import Numbers, TagAttributes


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


class AbstractLens(ABC):
    """Observes a network, and tells numbers about it at each tick.

    A lens makes its gatherers and preprocessors itself, and lets go of them when it is detached.
    An inspector calls, in this order: `register_foreign_preprocessor`, `register_leaf_module` and
    `register_non_leaf_module` for each module in the network's order, `introduce_tags`; then at
    each tick `start_sync` and `finish_sync` (among several processes), `finalize_epoch`,
    `visualize`, `reset_epoch`; in the end `detach_from_module`. Where the network has changed, it
    calls `renew`, and registers everything anew. Whatever a lens raises is passed over and counted.
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

    def renew(self) -> None:
        """Know that the network has changed: all its modules are registered anew after this.

        What was gathered since the last tick may be kept. By default, it is detached.
        """
        self.detach_from_module()

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


class Lens(AbstractLens):
    """A lens of charts and gatherers. A new one makes charts, asks for gatherers, and puts numbers.

    `nothing` says why a network may have nothing for it, and what to do then: it is told where no
    layer was registered. `defaults` has what a lens takes in place of `options.DEFAULTS`. A
    subclass that remembers modules forgets them in `let_go`, and numbers in `detach_from_module`.

    Args:
        include: Names of layers, or classes of modules, to which it is confined.
        exclude: Those that it leaves out, whatever `include` says.

    """

    nothing = ""
    defaults: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls.__signature__ = signature_of(cls, cls.defaults)  # type: ignore[attr-defined]

    def __init__(self, include: Iterable[Any] = (), exclude: Iterable[Any] = ()) -> None:
        self.charts: list[Chart] = []
        self._include, self._exclude = _listed(include), _listed(exclude)
        self._gatherers: list[Gatherer] = []
        self._aliases: Mapping[str, list[str]] = {}

    def chart(
        self,
        tag: str,
        *,
        running: bool = True,
        computed: bool = False,
        gradients: bool = False,
        also: Iterable[str] = (),
        **attributes: Any,
    ) -> Chart:
        """Make a `Chart` of this lens; `attributes` are those of `TagAttributes`.

        `line` may be several statistics, too: the first is the one that ranges lie around, and that
        shares and warnings are made of.
        """
        ranges = attributes.pop("ranges", ())
        if isinstance(ranges, str):  # one name is no list of its letters
            raise ValueError(f"ranges is a list of names: ranges=[{ranges!r}]")
        attributes["ranges"] = list(ranges)
        lines = _lines(attributes.pop("line", "mean"))
        attributes |= {"line": lines[0], "lines": lines}
        one = Chart(
            tag, TagAttributes(**attributes), running=running, computed=computed,
            gradients=gradients, also=also,
        )  # fmt: skip
        self.charts.append(one)
        return one

    def gather(self, gatherer: Gatherer) -> None:
        """Keep a gatherer until this lens is detached."""
        self._gatherers.append(gatherer)

    @property
    def named(self) -> tuple[list[Any], list[Any]]:
        """What `include` and `exclude` name."""
        return list(self._include), list(self._exclude)

    @property
    def observes_nothing(self) -> bool:
        """Whether it needs layers, and has none."""
        return bool(self.nothing) and not self._gatherers

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
            chart.bind(state)
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

    def let_go(self) -> None:
        """Detach the gatherers, and forget the modules."""
        for gatherer in self._gatherers:
            gatherer.detach()
        self._gatherers.clear()

    def renew(self) -> None:
        """Let go of the modules, but keep the numbers."""
        self.let_go()
        for chart in self.charts:
            chart.renew()

    def detach_from_module(self) -> None:
        """Let go of the modules, and clear the charts."""
        self.let_go()
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


def _lines(line: str | Iterable[str]) -> list[str]:
    lines = [line] if isinstance(line, str) else list(line)
    if not lines or not all(isinstance(name, str) for name in lines):
        raise ValueError(
            f"a line is the name of a statistic, or several: line=['mean', 'max'], not {line!r}"
        )
    return lines


def _listed(things: Iterable[Any]) -> list[object]:
    if isinstance(things, (str, type)):  # one name is no list of its letters
        return [things]
    return list(things)
