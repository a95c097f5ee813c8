"""What lenses are given of a `TorchInspector`: gatherers that are hooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from traininglog.lenses.gathering import CommonState, Home
from traininglog.lenses.state import Change, ExplicitCall, Gatherer
from traininglog.lenses.torch.hooks import (
    BeginHook,
    ForwardHook,
    GradientGroup,
    GradientHook,
    Share,
    Updates,
)
from traininglog.lenses.torch.modules import Found, role_of
from traininglog.lenses.torch.pool import DevicePool
from traininglog.lenses.torch.tensors import TorchArrays


class TorchState(CommonState):
    """Hooks on modules, parameters and optimizers, each shared by all lenses that look there."""

    pool: DevicePool
    arrays: TorchArrays

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self.arrays = TorchArrays()
        self.pool = DevicePool()
        self.compiled = False  #: whether hooks are to part the graphs of a compiled module
        self._forward: dict[int, ForwardHook] = {}
        self._gradient: dict[int, GradientHook] = {}
        self._groups: list[GradientGroup] = []
        self._updates: dict[int | None, Updates] = {}
        self._parameters: dict[str, dict[str, list[Tensor]]] = {}

    def know(self, found: Sequence[Found], aliases: dict[str, list[str]]) -> None:
        """Get to know the modules; a parameter that several have counts for the first."""
        self.aliases = aliases
        seen: set[int] = set()
        for module, layer, leaf in found:
            named: dict[str, list[Tensor]] = {}
            for name, parameter in module.named_parameters(recurse=leaf):
                usable = not isinstance(parameter, nn.UninitializedParameter)
                if usable and id(parameter) not in seen and parameter.is_floating_point():
                    seen.add(id(parameter))
                    named.setdefault(name.rpartition(".")[2], []).append(parameter)
            self._parameters[layer] = named

    def role(self, module: Any) -> str:
        """Return what a module does."""
        return role_of(module)

    def _forward_hook(self, module: Any) -> ForwardHook:
        hook = self._forward.get(id(module))
        if hook is None or hook.handle is None:
            hook = self._forward[id(module)] = ForwardHook(self, module)
        return hook

    def begin(self, module: Any, layer: str, call: Callable[[str, Any, bool], None]) -> Gatherer:
        """Gather inputs."""
        return BeginHook(self, module, layer, call)

    def forward(
        self, module: Any, layer: str, call: Callable[[str, Any, bool], None], always: bool = False
    ) -> Gatherer:
        """Gather outputs."""
        hook = self._forward_hook(module)
        hook.always |= always
        return Share(hook.outputs, (call, layer, always), hook.release)

    def backward(
        self, module: Any, layer: str, call: Callable[[str, Any], None], always: bool = False
    ) -> Gatherer:
        """Gather gradients of outputs."""
        hook = self._forward_hook(module)
        hook.always |= always
        return Share(hook.gradients, (call, layer, always), hook.release)

    def parameter_gradient(
        self,
        module: Any,
        layer: str,
        names: Sequence[str] | None,
        call: Callable[[str, str, list[Any]], None],
        always: bool = False,
    ) -> Gatherer:
        """Gather gradients of parameters."""
        shares = []
        for name, parameters in self._parameters[layer].items():
            if names is not None and name not in names:
                continue
            trained = [parameter for parameter in parameters if parameter.requires_grad]
            group = GradientGroup(self, layer, name, len(trained), call)
            self._groups.append(group)
            for place, parameter in enumerate(trained):
                hook = self._gradient.get(id(parameter))
                if hook is None or hook.handle is None:
                    hook = self._gradient[id(parameter)] = GradientHook(self, parameter)
                shares.append(Share(hook.calls, (group, place, always), hook.release))
        return _Several(shares)

    def update(
        self,
        optimizer: Any,
        call: Callable[[list[Change]], None],
        *,
        sizes: bool = False,
        lasting: bool = False,
    ) -> Gatherer:
        """Gather what steps change."""
        place = None if optimizer is None else id(optimizer)
        if place not in self._updates or (optimizer and self._updates[place].optimizer is None):
            self._updates[place] = Updates(self, optimizer)
        updates = self._updates[place]
        updates.sizes |= sizes
        updates.lasting |= lasting
        share = Share(updates.calls, call, updates.release)
        updates.observe(
            [
                (layer, name, parameter)
                for layer, named in self._parameters.items()
                for name, parameters in named.items()
                for parameter in parameters
                if parameter.requires_grad
            ]
        )
        return share

    def inspect_update(self) -> None:
        """Tell what has changed since the last call to those who have no optimizer."""
        if None in self._updates:
            self._updates[None].compare()

    def begin_active(self) -> None:
        """Keep parameters, so that the first call of `inspect_update` has something to compare."""
        if None in self._updates:
            self._updates[None].remember()

    def skip_stretch(self) -> None:
        """Forget what would be compared over an inactive stretch."""
        for updates in self._updates.values():
            updates.skip()
        for group in self._groups:
            group.waiting.clear()

    def parameters(self, module: Any, layer: str) -> dict[str, list[Any]]:
        """Return a layer's parameters as they are, out of the graph."""
        named = self._parameters.get(layer, {})
        return {name: [one.detach() for one in several] for name, several in named.items()}

    def trainable(self, module: Any, layer: str) -> list[str]:
        """Return the names of those that are trained."""
        named = self._parameters.get(layer, {})
        return [name for name, several in named.items() if any(p.requires_grad for p in several)]

    def gradient_bytes(self) -> int:
        """Return the memory of gradients."""
        return sum(
            self.arrays.bytes(parameter.grad)
            for named in self._parameters.values()
            for parameters in named.values()
            for parameter in parameters
            if parameter.grad is not None
        )

    def device_peak(self) -> int | None:
        """Return the most memory that PyTorch had on a CUDA device since the last call."""
        devices = {
            parameter.device
            for named in self._parameters.values()
            for parameters in named.values()
            for parameter in parameters
            if parameter.device.type == "cuda"
        }
        if not devices:
            return None
        peak = sum(torch.cuda.max_memory_allocated(device) for device in devices)
        for device in devices:
            torch.cuda.reset_peak_memory_stats(device)
        return peak

    def grad_enabled(self) -> bool:
        """Tell whether a graph is being recorded."""
        return torch.is_grad_enabled()

    def push(self, explicit: ExplicitCall, kind: str, name: str, value: Any) -> None:
        """Hand on what was pushed: a copy, out of the graph, as the program may go on with it."""
        if isinstance(value, Tensor) and not value.is_cpu:  # whose device is not to be waited for
            value = value.detach().reshape(()).clone()
            if value.dtype not in (torch.float32, torch.float64):
                value = value.float()
        else:
            value = float(value.item() if hasattr(value, "item") else value)
        super().push(explicit, kind, name, value)

    def drain(self) -> None:
        """Take numbers from the device."""
        self.pool.drain()

    def close(self) -> None:
        """Let go of everything."""
        super().close()
        self.pool.clear()
        self.arrays.clear()
        hooks: list[Any] = [*self._forward.values(), *self._gradient.values()]
        for hook in hooks:
            hook.detach()
        for updates in self._updates.values():
            updates.calls.clear()
            updates.release()
        for several in (self._forward, self._gradient, self._updates, self._parameters):
            several.clear()
        self._groups.clear()
        self.aliases = {}


class _Several:
    """Several gatherers as one."""

    def __init__(self, gatherers: Sequence[Gatherer]) -> None:
        self._gatherers = gatherers

    def detach(self) -> None:
        """Detach all."""
        for gatherer in self._gatherers:
            gatherer.detach()
