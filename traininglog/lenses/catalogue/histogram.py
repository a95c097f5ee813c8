"""The distribution of parameters, gradients or outputs, as a heat map over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Unpack, get_args

import numpy as np

from traininglog.lenses.catalogue.outputs import When
from traininglog.lenses.lens import Lens
from traininglog.lenses.numbers.state import State
from traininglog.lenses.numbers.statistics import Sketch
from traininglog.lenses.options import PassLayerOptions, complete

Of = Literal["parameter", "gradient", "output"]

#: The shares of the whole of the quantiles, and their names.
SHARES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
NAMES = tuple(f"q{round(100 * share):02d}" for share in SHARES)

#: The name of the share of NaN and infinities, which is reported if there are any.
NON_FINITE = "non-finite"


class Histogram(Lens):
    """The distribution of a layer's values, as fifteen quantiles per tick.

    The quantiles come from a sketch of fixed size (`statistics.Sketch`). From an array with more
    than `sample` elements, the lens takes this many at even distances. ``parameter distribution``
    has the parameters at the tick. ``gradient distribution`` and ``output distribution`` have the
    values since the last tick. Quantiles are of the finite values, and NaN if there is none.
    ``non-finite`` is the share of the other values, if there are any.

    Args:
        of: ``"parameter"``, ``"gradient"`` (of parameters) or ``"output"``.
        parameters: The names of parameters to include; None for all.
        sample: The maximal number of elements to take from an array.
        size: The maximal number of values in a sketch.
        options: See `options.LayerOptions` and, for outputs, `options.PassOptions`.

    """

    def __init__(
        self,
        of: Of = "parameter",
        parameters: Iterable[str] | None = ("weight",),
        *,
        sample: int = 1024,
        size: int = 256,
        **options: Unpack[PassLayerOptions],
    ) -> None:
        known = complete(type(self), PassLayerOptions, options, self.defaults)
        super().__init__(known["include"], known["exclude"])
        if of not in get_args(Of):
            raise ValueError(f"there is no histogram of {of!r}; there are: {get_args(Of)}")
        if isinstance(parameters, str):
            parameters = [parameters]
        self._of = of
        self._when = When(known)
        self._parameters = None if parameters is None else list(parameters)
        self._sample, self._size = sample, size
        self._layers: dict[str, object] = {}
        self._sketches: dict[str, Sketch] = {}
        self._state: State | None = None
        self._chart = self.chart(f"{of} distribution", kind="distribution")

    def register_leaf_module(self, module: Any, name: str, state: State) -> None:
        """Gather the parameters, gradients or outputs of a layer."""
        of_outputs = self._of == "output"
        if self.chosen(module, name, default=not of_outputs or state.role(module) != "part"):
            self._register(module, name, state)

    def register_non_leaf_module(self, module: Any, name: str, state: State) -> None:
        """Gather a module's own parameters or gradients, or outputs if it computes itself."""
        of_outputs = self._of == "output"
        if self.chosen(module, name, default=not of_outputs or state.role(module) == "whole"):
            self._register(module, name, state)

    def _register(self, module: Any, name: str, state: State) -> None:
        self._state = state
        if self._of == "output":
            self._chart.expect(name)
            self.gather(state.forward(module, name, self._output))
        else:
            self._register_parameters(module, name, state)

    def _register_parameters(self, module: Any, name: str, state: State) -> None:
        names = [
            parameter
            for parameter in state.parameters(module, name)
            if self._parameters is None or parameter in self._parameters
        ]
        if names:
            self._chart.expect(name)
        if self._of == "gradient":
            trained = [
                parameter for parameter in state.trainable(module, name) if parameter in names
            ]
            if trained:
                self.gather(state.parameter_gradient(module, name, trained, self._gradient))
            return
        if not self._layers:
            self.gather(state.per_tick(self._collect))
        self._layers[name] = module

    def _output(self, layer: str, output: Any, training: bool) -> None:
        if self._state is not None and self._when.counts(self._state, training=training):
            self._take(layer, output)

    def _gradient(self, layer: str, parameter: str, gradients: list[Any]) -> None:
        _ = parameter
        for gradient in gradients:
            self._take(layer, gradient)

    def _collect(self) -> None:
        state = self._state
        if state is None:
            return
        for layer, module in self._layers.items():
            for parameter, arrays in state.parameters(module, layer).items():
                if self._parameters is None or parameter in self._parameters:
                    state.guarded(self._parameter, layer, arrays)

    def _parameter(self, layer: str, arrays: list[Any]) -> None:
        self._chart.expect(layer)
        for array in arrays:
            self._take(layer, array)

    def _take(self, layer: str, array: Any) -> None:
        state = self._state
        assert state is not None  # noqa: S101 - registered before it is called
        values, count = state.arrays.sample(array, self._sample)
        if layer not in self._sketches:
            self._sketches[layer] = Sketch(self._size)
        state.pool.put_vector(Weighted(self._sketches[layer], count), values)

    def finalize_epoch(self) -> None:
        """Compute the quantiles."""
        for layer in self._sketches:  # including layers that are gone
            self._chart.expect(layer)
        self._chart.numbers = {
            layer: self._told(self._sketches[layer])
            for layer in self._chart.attributes.layers
            if layer in self._sketches
        }

    def _told(self, sketch: Sketch) -> dict[str, float]:
        told = dict(zip(NAMES, sketch.quantiles(SHARES), strict=True))
        overflow = self._of == "gradient" and self._state is not None and self._state.overflow()
        if sketch.non_finite and not overflow:
            told[NON_FINITE] = sketch.non_finite / (sketch.non_finite + sketch.count)
        return told

    def reset_epoch(self) -> None:
        """Forget the sketches."""
        super().reset_epoch()
        self._sketches = {}

    def start_sync(self) -> Any:
        """Return the sketches."""
        return {layer: sketch.state() for layer, sketch in self._sketches.items()}

    def finish_sync(self, states: Sequence[Mapping[str, Any] | None]) -> None:
        """Merge the sketches of gradients or outputs. Of parameters use one: all are equal."""
        self._sketches = {}
        for state in [state for state in states if state is not None][
            : 1 if self._of == "parameter" else None
        ]:
            for layer, numbers in state.items():
                self._chart.expect(layer)
                sketch = self._sketches.setdefault(layer, Sketch(self._size))
                sketch.merge(Sketch.from_state(numbers))

    def let_go(self) -> None:
        """Also release the layers."""
        super().let_go()
        self._layers, self._state = {}, None

    def detach_from_module(self) -> None:
        """Also forget the sketches."""
        super().detach_from_module()
        self._sketches = {}


class Weighted:
    """Adds a sample of `count` elements to a sketch, with the weight for the whole."""

    __slots__ = ("count", "sketch")

    def __init__(self, sketch: Sketch, count: int) -> None:
        self.sketch = sketch
        self.count = count

    def add(self, numbers: Any) -> None:
        """Add the sample."""
        self.sketch.add(numbers, weight=self.count / max(1, np.size(numbers)))
