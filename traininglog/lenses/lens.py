"""The interface of lenses, and `Lens`, a base class with charts for new lenses.

An inspector registers its lenses on modules. Each lens asks the inspector's `State` for gatherers,
and a gatherer calls the lens with arrays. The lens puts numbers into charts (preprocessors). At a
tick, it hands the results of the charts to a visualizer.
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
    """Shows or stores the numbers of lenses. An inspector feeds it live, or `replay` from a log."""

    @abstractmethod
    def register_tag(self, tag: str, attributes: TagAttributes) -> None:
        """Register a tag before its first numbers. A second call replaces its attributes."""

    @abstractmethod
    def plot(self, time: int, tag: str, numbers: Numbers) -> None:
        """Receive the numbers of a tag at a time: layer -> statistic -> number."""

    def end_tick(self, time: int) -> None:
        """Handle the end of a tick: all numbers of this time have arrived. Default: do nothing."""
        _ = time

    def end(self) -> None:  # noqa: B027 - most visualizers hold nothing back
        """Handle the end of a loop, or of the observation. Default: do nothing."""

    def reset(self) -> None:  # noqa: B027 - most visualizers have nothing to forget
        """Forget the numbers. Default: do nothing."""


class AbstractLens(ABC):
    """Observes a network, and reports numbers about it at each tick.

    A lens creates its gatherers and preprocessors itself, and drops them when it is detached.

    An inspector calls these methods in this order: `register_foreign_preprocessor`;
    `register_leaf_module` or `register_non_leaf_module` for each module in the network's order;
    `introduce_tags`. At each tick it calls `start_sync` and `finish_sync` (if several processes
    train), `finalize_epoch`, `visualize`, `reset_epoch`. At the end it calls `detach_from_module`.
    If the network has changed, it calls `renew`, and registers everything again. The inspector
    catches and counts all errors of a lens.
    """

    @abstractmethod
    def register_leaf_module(self, module: Any, name: str, state: State) -> None:
        """Start to observe a module without children, or one that represents its whole branch.

        A lens should ignore a module about which it has nothing to report.
        """

    def register_non_leaf_module(  # noqa: B027 - by default a lens ignores it
        self, module: Any, name: str, state: State
    ) -> None:
        """Start to observe a module that has children. Default: ignore it."""

    def renew(self) -> None:
        """Prepare for a changed network: the inspector then registers all its modules again.

        The lens may keep the numbers since the last tick. Default: detach from all modules.
        """
        self.detach_from_module()

    def register_foreign_preprocessor(  # noqa: B027 - by default a lens needs none
        self, preprocessor: Any, state: State
    ) -> None:
        """Receive the inspector's own preprocessor: an `ExplicitCall`, for pushed values."""

    @abstractmethod
    def introduce_tags(self, visualizer: AbstractVisualizer) -> None:
        """Register every tag with its attributes."""

    @abstractmethod
    def finalize_epoch(self) -> None:
        """Compute the numbers of the tick that ends."""

    @abstractmethod
    def visualize(self, visualizer: AbstractVisualizer, time: int) -> None:
        """Pass the numbers of the tick to a visualizer."""

    @abstractmethod
    def reset_epoch(self) -> None:
        """Forget the numbers of the tick."""

    @abstractmethod
    def detach_from_module(self) -> None:
        """Release all modules, and forget everything."""

    def start_sync(self) -> Any:
        """Return this process's state of the tick for the others, as plain lists and dicts."""
        return None

    def finish_sync(self, states: Sequence[Any]) -> None:  # noqa: B027 - by default nothing
        """Merge the states that all processes, this one included, returned from `start_sync`.

        They come in the order of ranks. The state is None for a process whose lens was inactive or
        has seen nothing.
        """


class Lens(AbstractLens):
    """Base class of lenses with charts and gatherers.

    A subclass creates charts, asks for gatherers, and puts numbers into the charts. Its `nothing`
    tells why a network may have no layer for it, and the remedy: the inspector warns with this text
    if no layer was registered. Its `defaults` override `options.DEFAULTS`. If it remembers modules,
    it forgets them in `let_go`, and numbers in `detach_from_module`.

    Args:
        include: Names of layers, or classes of modules: the lens observes only these.
        exclude: Names or classes that the lens ignores, even if `include` names them.

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
        """Create a `Chart` of this lens; `attributes` are the fields of `TagAttributes`.

        `line` may be a list of statistics. The first one is the center of the ranges, and the basis
        of shares and warnings.
        """
        ranges = attributes.pop("ranges", ())
        if isinstance(ranges, str):  # a text would be read as a list of letters
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
        """The values of `include` and `exclude`."""
        return list(self._include), list(self._exclude)

    @property
    def observes_nothing(self) -> bool:
        """Whether the lens needs layers and has none."""
        return bool(self.nothing) and not self._gatherers

    def chosen(self, module: Any, name: str, *, default: bool = True) -> bool:
        """Return whether `include` and `exclude` choose a module. Subclasses do not match."""
        if any(thing in (name, type(module)) for thing in self._exclude):
            return False
        if self._include:
            return any(thing in (name, type(module)) for thing in self._include)
        return default

    def register_foreign_preprocessor(self, preprocessor: Any, state: State) -> None:
        """Bind the charts to the inspector's pool."""
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
        """Pass the numbers of the charts to a visualizer."""
        for chart in self.charts:
            if chart.numbers:
                visualizer.plot(time, chart.tag, chart.numbers)

    def reset_epoch(self) -> None:
        """Reset the charts."""
        for chart in self.charts:
            chart.reset()

    def let_go(self) -> None:
        """Detach the gatherers, and release the modules."""
        for gatherer in self._gatherers:
            gatherer.detach()
        self._gatherers.clear()

    def renew(self) -> None:
        """Release the modules, but keep the numbers."""
        self.let_go()
        for chart in self.charts:
            chart.renew()

    def detach_from_module(self) -> None:
        """Release the modules, and clear the charts."""
        self.let_go()
        for chart in self.charts:
            chart.clear()

    def skip_stretch(self) -> None:
        """Handle the start of an inactive stretch: drop state that the next step is compared with.

        Default: do nothing.
        """

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
    if isinstance(things, (str, type)):  # a single name or class
        return [things]
    return list(things)
