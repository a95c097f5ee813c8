"""The first NaN or infinity in a network: its place, and the last finite numbers before it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from traininglog.errors import TrainingLogError
from traininglog.lenses.lens import AbstractVisualizer, Lens
from traininglog.lenses.numbers.state import ExplicitCall, State

#: The key of the result in the status of a log.
STATUS_KEY = "first_non_finite"


class NonFiniteFound(TrainingLogError, FloatingPointError):
    """The lens found a NaN or an infinity, and has `stop=True`."""

    code = "non-finite"


class FirstNonFinite(Lens):
    """Finds the first NaN or infinity in outputs, gradients, parameters and the loss.

    The lens writes it to the status of the log at once, under ``first_non_finite``, as a dict:

    - ``layer``, ``kind``: the place; kind is ``"input"``, ``"output"``, ``"output gradient"``,
      ``"gradient of weight"`` and so on, ``"parameter weight"``, or ``"loss"``;
    - ``value``: ``"nan"`` or ``"inf"``;
    - ``step``: the number of forward passes in training since the lens was attached;
    - ``after_time``: the time of the last tick before it, or None;
    - ``last_finite``: the last finite L2 norm at this place, and its step; or None.

    The lens looks even while the inspector is inactive. The norms of a step stay on their device.
    The lens reads them after the forward pass, after the backward pass, and when the program pushes
    the loss. Each read waits for the device once. The input is that of the inspector's first
    module.

    With a `GradScaler` (see `TorchInspector`), the scaler skips the step of a non-finite gradient.
    The lens then only counts it in `overflows`. If the scale has fallen below 1, the scale is not
    the cause, and the gradient counts as found.

    Args:
        stop: Whether to raise `NonFiniteFound` at once.

    """

    def __init__(self, *, stop: bool = False) -> None:
        super().__init__()
        self.stop = stop
        self.found: dict[str, object] | None = None
        self.overflows = 0  #: the number of steps with a non-finite scaled gradient
        self._overflow_at = -1
        self._state: State | None = None
        self._step = 0
        self._seen: list[tuple[str, str, int, object]] = []
        self._last: dict[tuple[str, str], tuple[float, int]] = {}
        self._layers: dict[str, object] = {}
        self._expected = 0
        self._arrived = 0

    def register_foreign_preprocessor(self, preprocessor: Any, state: State) -> None:
        """Listen to pushed losses."""
        super().register_foreign_preprocessor(preprocessor, state)
        self._state = state
        if isinstance(preprocessor, ExplicitCall):
            preprocessor.listen(self._pushed, always=True)
        self.gather(state.per_tick(self._look_at_parameters))

    def register_leaf_module(self, module: Any, name: str, state: State) -> None:
        """Gather outputs, their gradients, and the gradients of parameters of a layer."""
        if not self._layers:
            self.gather(state.begin(module, name, self._begin))
        self._layers[name] = module
        if state.role(module) != "part":
            self._register_outputs(module, name, state)
        self._register_parameters(module, name, state)

    def register_non_leaf_module(self, module: Any, name: str, state: State) -> None:
        """Gather the gradients of the own parameters of a module with children."""
        if not self._layers:
            self.gather(state.begin(module, name, self._begin))
            self.gather(state.forward(module, name, self._end, always=True))
        self._layers[name] = module
        if state.role(module) == "whole":
            self._register_outputs(module, name, state)
        self._register_parameters(module, name, state)

    def _register_outputs(self, module: Any, name: str, state: State) -> None:
        self.gather(state.forward(module, name, self._output, always=True))
        self.gather(state.backward(module, name, self._output_gradient, always=True))

    def _register_parameters(self, module: Any, name: str, state: State) -> None:
        names = state.trainable(module, name)
        if names:
            self._expected += len(names)
            self.gather(state.parameter_gradient(module, name, names, self._gradient, always=True))

    def _begin(self, layer: str, given: Any, training: bool) -> None:
        self.check()
        self._step += training
        self._arrived = 0
        if given is not None:
            self._see(layer, "input", given)

    def _output(self, layer: str, output: Any, training: bool) -> None:
        _ = training
        self._see(layer, "output", output)

    def _end(self, layer: str, output: Any, training: bool) -> None:
        _ = layer, output, training
        self.check()

    def _output_gradient(self, layer: str, gradient: Any) -> None:
        self._see(layer, "output gradient", gradient)

    def _gradient(self, layer: str, parameter: str, gradients: list[Any]) -> None:
        for gradient in gradients:
            self._see(layer, f"gradient of {parameter}", gradient)
        self._arrived += 1
        if self._arrived == self._expected:  # the backward pass is complete
            self._arrived = 0
            self.check()

    def _look_at_parameters(self) -> None:
        state = self._state
        if state is None:
            return
        for layer, module in self._layers.items():
            for parameter, arrays in state.parameters(module, layer).items():
                state.guarded(self._parameter, layer, parameter, arrays)
        self.check()

    def _parameter(self, layer: str, parameter: str, arrays: list[Any]) -> None:
        for array in arrays:
            self._see(layer, f"parameter {parameter}", array)

    def _pushed(self, kind: str, name: str, number: Any) -> None:
        if kind == "loss" and self._state is not None and self.found is None:
            array = self._state.arrays.first(number)
            if array is not None:
                self._see(name, "loss", array)
            elif isinstance(number, float):
                self._seen.append((name, "loss", self._step, abs(number)))
            self.check()

    def _see(self, layer: str, kind: str, array: Any) -> None:
        if self.found is None and self._state is not None and self._state.arrays.count(array):
            self._seen.append((layer, kind, self._step, self._state.arrays.magnitude(array)))

    def check(self) -> None:
        """Read all waiting norms, and record the first non-finite one; raise if `stop` is True."""
        state, seen = self._state, self._seen
        if state is None or not seen or self.found is not None:
            return
        self._seen = []
        magnitudes = state.arrays.floats([number for *_, number in seen])
        for (layer, kind, step, _), magnitude in zip(seen, magnitudes, strict=True):
            if math.isfinite(magnitude):
                self._last[layer, kind] = (magnitude, step)
                continue
            if "gradient" in kind and state.overflow():
                self.overflows += step != self._overflow_at
                self._overflow_at = step
                continue
            self._find(layer, kind, step, magnitude)
            return

    def _find(self, layer: str, kind: str, step: int, magnitude: float) -> None:
        state = self._state
        assert state is not None  # noqa: S101 - nothing is seen without one
        last = self._last.get((layer, kind))
        self.found = {
            "layer": layer,
            "kind": kind,
            "value": "nan" if math.isnan(magnitude) else "inf",
            "step": step,
            "after_time": state.last_time if state.last_time >= 0 else None,
            "last_finite": None if last is None else {"norm": last[0], "step": last[1]},
        }
        state.announce(STATUS_KEY, self.found)
        if self.stop:
            raise NonFiniteFound(
                f"{self.found['value']} in {kind} of {layer!r} at step {step}; "
                "the status of the log has more, under 'first_non_finite'"
            )

    def introduce_tags(self, visualizer: AbstractVisualizer) -> None:
        """Register no tag: the result is in the status."""

    def start_sync(self) -> Any:
        """Return the result of this process."""
        return self.found

    def finish_sync(self, states: Sequence[Any]) -> None:
        """Record the earliest result of all processes."""
        found = [
            state | {"rank": rank}
            for rank, state in enumerate(states)
            if state is not None and "rank" not in state
        ]
        if found and self._state is not None:
            self.found = min(found, key=lambda one: one["step"])
            self._seen = []
            self._state.announce(STATUS_KEY, self.found)

    def let_go(self) -> None:
        """Read the waiting norms, and release the layers."""
        try:
            self.check()
        finally:
            super().let_go()
            self._layers.clear()
            self._state = None
            self._expected = self._arrived = 0

    def detach_from_module(self) -> None:
        """Forget everything except the result."""
        super().detach_from_module()
        self._last.clear()
        self._seen.clear()
        self._step = 0
