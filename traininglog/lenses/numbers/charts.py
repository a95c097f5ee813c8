"""Charts: lenses put numbers into them, and at a tick they compute the statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from traininglog.lenses.numbers.state import Immediate, NumberPool, State
from traininglog.lenses.numbers.statistics import (
    Combine,
    Combined,
    Finite,
    Running,
    Statistic,
    Target,
    Values,
    names_of,
    statistic,
)
from traininglog.lenses.tags.attributes import TagAttributes, check_tag


class Chart:
    """A preprocessor: the numbers of one tag since the last tick, by layer.

    Args:
        tag: The tag.
        attributes: How the tag is drawn, which determines the statistics to compute.
        running: Whether to keep only running moments, and not the numbers.
        computed: Whether the lens computes `numbers` itself, and puts nothing.
        gradients: Whether the numbers are of gradients. Then non-finite numbers are left out if
            they are an overflow that a `GradScaler` skips.
        also: Statistics to compute beside those that are drawn.

    """

    def __init__(
        self,
        tag: str,
        attributes: TagAttributes,
        *,
        running: bool = True,
        computed: bool = False,
        gradients: bool = False,
        also: Iterable[str] = (),
    ) -> None:
        self.tag = check_tag(tag)
        self.attributes = attributes
        self.running = running
        self.numbers: dict[str, dict[str, float]] = {}  #: layer -> statistic -> number of the tick
        self.pool: NumberPool = Immediate()
        self._gradients = gradients
        self._overflow: Callable[[], bool] | None = None
        self._finite: dict[str, Finite] = {}
        self._layers: dict[str, Statistic] = {}
        self._kept: dict[str, Statistic] = {}  # layers from before `renew`, which may be gone
        self._combined: dict[tuple[str, int, Combine], Combined] = {}
        self._points: list[str] = []
        if not computed and attributes.kind in ("numeric", "probability"):
            lines = [*attributes.lines, *also]
            self._points = names_of(lines, attributes.ranges, running=running)

    def bind(self, state: State) -> None:
        """Use the pool of an inspector from now on."""
        self.pool = state.pool
        if self._gradients and state.scaled:
            self._overflow = state.overflow

    def expect(self, layer: str) -> None:
        """Add a layer at the end of the order, unless it is there."""
        if layer not in self._layers:
            kept = self._kept.pop(layer, None)
            self._layers[layer] = statistic(running=self.running) if kept is None else kept
            self.attributes.layers.append(layer)

    def put(self, layer: str, number: object, times: float = 1.0, plus: float = 0.0) -> None:
        """Add ``number * times + plus`` to a layer; the number may still be on a device."""
        self.pool.put(self._target(layer), number, times, plus)

    def put_total(
        self, layer: str, numbers: object, times: float = 1.0, plus: float = 0.0, *,
        nonzero: bool = False,
    ) -> None:  # fmt: skip
        """Add ``total * times + plus`` to a layer; the total is the sum of a vector.

        With `nonzero`, the total is the number of non-zero elements. The vector may still be on a
        device. The caller must not change it: the pool may compute the total later, with others.
        """
        self.pool.put_total(self._target(layer), numbers, times, plus, nonzero=nonzero)

    def put_combined(self, layer: str, numbers: Sequence[object], combine: Combine) -> None:
        """Add ``combine(numbers)``, one number, to a layer; see `statistics.Combined`."""
        place = (layer, len(numbers), combine)
        target = self._combined.get(place)
        if target is None:
            target = Combined(self._target(layer), len(numbers), combine)
            self._combined[place] = target
        self.pool.put_together(target, numbers)

    def _target(self, layer: str) -> Target:
        target = self._layers.get(layer)
        if target is None:
            self.expect(layer)
            target = self._layers[layer]
        if self._overflow is None:
            return target
        finite = self._finite.get(layer)
        if finite is None or finite.target is not target:
            finite = self._finite[layer] = Finite(target, self._overflow)
        return finite

    def renew(self) -> None:
        """Forget the layers and their order, but not their numbers, before a new registration."""
        self._kept |= self._layers
        self._layers = {}
        self.attributes.layers.clear()

    def _settle(self) -> None:
        """Add the layers that are gone once more, if they have numbers of this tick."""
        for layer in [layer for layer, seen in self._kept.items() if seen.count]:
            self.expect(layer)
        self._kept = {}

    def finalize(self) -> None:
        """Compute the statistics of each layer with numbers."""
        self._settle()
        self.numbers = {
            layer: {name: seen.point(name) for name in self._points}
            for layer, seen in self._layers.items()
            if seen.count
        }

    def reset(self) -> None:
        """Forget the numbers, but not the layers."""
        self.numbers = {}
        self._new_statistics()

    def _new_statistics(self) -> None:
        self._layers = {layer: statistic(running=self.running) for layer in self._layers}
        self._combined, self._finite = {}, {}

    def clear(self) -> None:
        """Forget the numbers and the layers."""
        self._layers, self._combined, self.numbers, self.pool = {}, {}, {}, Immediate()
        self._kept, self._finite, self._overflow = {}, {}, None
        self.attributes.layers.clear()
        self.attributes.aliases.clear()

    def share(self, of: Chart, point: str) -> None:
        """Set `numbers` to each layer's share of the sum of another chart's statistic."""
        found = {layer: values[point] for layer, values in of.numbers.items()}
        total = sum(found.values())
        self.numbers = {layer: {"share": value / total} for layer, value in found.items() if total}

    def state(self) -> dict[str, list[float]]:
        """Return the state of each layer as plain numbers."""
        self._settle()
        return {layer: seen.state() for layer, seen in self._layers.items() if seen.count}

    def merge(self, states: Iterable[Mapping[str, Sequence[float]]]) -> None:
        """Replace the numbers with the union of several states."""
        kind = Running if self.running else Values
        self._new_statistics()
        for state in states:
            for layer, numbers in state.items():
                self.expect(layer)
                self._layers[layer].merge(kind.from_state(numbers))  # type: ignore[arg-type]
