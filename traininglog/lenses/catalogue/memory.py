"""The memory of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from traininglog.lenses.lens import Lens
from traininglog.lenses.numbers.state import State


class Memory(Lens):
    """The memory of parameters, gradients and outputs, in MiB, at each tick.

    ``memory`` has ``parameters`` and ``gradients`` (those that exist at the tick), ``activations``
    (the outputs of all layers in one forward pass, the maximum since the last tick; outputs that
    share memory count twice), and on CUDA devices ``device peak`` (PyTorch's peak memory since the
    last tick).
    """

    def __init__(self) -> None:
        super().__init__()
        self._chart = self.chart("memory", computed=True, line="MiB", big=True)
        self._layers: dict[str, object] = {}
        self._state: State | None = None
        self._pass = self._most = 0
        self._synced: list[dict[str, float]] | None = None

    def register_leaf_module(self, module: object, name: str, state: State) -> None:
        """Gather the outputs of a layer."""
        if not self._layers:
            self._register_first(module, name, state)
        self._layers[name] = module
        if state.role(module) != "part":
            self.gather(state.forward(module, name, self._output))

    def register_non_leaf_module(self, module: object, name: str, state: State) -> None:
        """Gather the starts of forward passes, and outputs of modules that compute themselves."""
        if not self._layers:
            self._register_first(module, name, state)
        self._layers[name] = module
        if state.role(module) == "whole":
            self.gather(state.forward(module, name, self._output))

    def _register_first(self, module: object, name: str, state: State) -> None:
        self._state = state
        self.gather(state.begin(module, name, self._begin))

    def _begin(self, layer: str, given: object, training: bool) -> None:
        _ = layer, given, training
        self._most, self._pass = max(self._most, self._pass), 0

    def _output(self, layer: str, output: object, training: bool) -> None:
        _ = layer, training
        self._pass += self._state.arrays.bytes(output) if self._state is not None else 0

    def finalize_epoch(self) -> None:
        """Compute the numbers, or merge those of all processes."""
        numbers = self._numbers() if self._synced is None else {}
        for other in self._synced or ():  # the maximum over the processes
            for name, value in other.items():
                numbers[name] = max(value, numbers.get(name, 0.0))
        for name in numbers:
            self._chart.expect(name)
        self._chart.numbers = {name: {"MiB": value} for name, value in numbers.items()}

    def _numbers(self) -> dict[str, float]:
        state = self._state
        if state is None:
            return {}
        taken = {"parameters": 0, "gradients": 0, "activations": max(self._most, self._pass)}
        for layer, module in self._layers.items():
            for arrays in state.parameters(module, layer).values():
                taken["parameters"] += sum(map(state.arrays.bytes, arrays))
        taken["gradients"] = state.gradient_bytes()
        peak = state.device_peak()
        if peak is not None:
            taken["device peak"] = peak
        return {name: number / 2**20 for name, number in taken.items()}

    def reset_epoch(self) -> None:
        """Forget the numbers of the tick."""
        super().reset_epoch()
        self._pass = self._most = 0
        self._synced = None

    def start_sync(self) -> Any:
        """Return the memory of this process."""
        return self._numbers()

    def finish_sync(self, states: Sequence[Any]) -> None:
        """Keep the numbers of all processes, for their maximum."""
        self._synced = [state for state in states if state]

    def let_go(self) -> None:
        """Also release the layers."""
        super().let_go()
        self._layers.clear()
        self._state = None
