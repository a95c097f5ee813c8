"""`TorchState`, the state of a `TorchInspector`: its gatherers are hooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from traininglog.lenses.gatherers import CommonState, Home
from traininglog.lenses.numbers.state import Change, ExplicitCall, Gatherer
from traininglog.lenses.torch.hooks import (
    BeginHook,
    ForwardHook,
    GradientGroup,
    GradientHook,
    NetworkHook,
    Share,
)
from traininglog.lenses.torch.modules import FoundModule, parameters_of, role_of
from traininglog.lenses.torch.pool import DevicePool
from traininglog.lenses.torch.scaling import Scaling
from traininglog.lenses.torch.tensors import TorchArrays, is_plain, whole
from traininglog.lenses.torch.updates import Updates


class TorchState(CommonState):
    """Hooks on modules, parameters and optimizers. All lenses share one hook per object."""

    pool: DevicePool
    arrays: TorchArrays

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self.arrays = TorchArrays()
        self.pool = DevicePool(lambda error: self.passed.note("numbers", None, error))
        self.scaling: Scaling | None = None
        self.stretch_is_new = True  #: whether the network was not called since the last tick
        self.network: NetworkHook | None = None  #: `forget_modules` keeps it
        self._forward: dict[int, ForwardHook] = {}
        self._gradient: dict[int, GradientHook] = {}
        self._groups: list[GradientGroup] = []
        self._begin: dict[int, BeginHook] = {}
        self.renewing = False  #: whether hooks without lenses stay for now
        self._updates: dict[int | None, Updates] = {}
        self._parameters: dict[str, dict[str, list[Tensor]]] = {}

    def know(self, found: Sequence[FoundModule], aliases: dict[str, list[str]]) -> None:
        """Record the modules and their parameters. A shared parameter counts for the first one."""
        self.aliases = aliases
        seen: set[int] = set()
        for one in found:
            named: dict[str, list[Tensor]] = {}
            for name, parameter in parameters_of(one):
                usable = not isinstance(parameter, nn.UninitializedParameter)
                if usable and id(parameter) not in seen and parameter.is_floating_point():
                    seen.add(id(parameter))
                    named.setdefault(name, []).append(parameter)
            self._parameters[one.name] = named

    def pass_over(self, who: str, layer: str | None, tensor: Any) -> None:
        """Count a failure, for a tensor whose numbers are not in this process now."""
        why = "its numbers are not there: it is only traced, or on the device meta"
        if hasattr(tensor, "placements"):
            why = "it is sharded over several processes, each of which has but a part"
        elif not isinstance(tensor, Tensor) or (is_plain(tensor) and not tensor.is_meta):
            why = "it is within a transform of torch.func, such as vmap or grad"
        self.passed.note(who, layer, why)

    @property
    def scaled(self) -> bool:  # type: ignore[override]
        """Whether a `GradScaler` scales the loss."""
        return self.scaling is not None

    def unscaled(self, gradient: Tensor) -> Tensor:
        """Return a gradient without the scale of the loss."""
        return gradient if self.scaling is None else self.scaling.undone(gradient)

    def overflow(self) -> bool:
        """Return whether the scale is the cause of a non-finite gradient."""
        return self.scaling is not None and self.scaling.skips()

    @property
    def optimizers(self) -> list[Any]:
        """The observed optimizers."""
        found = [updates.optimizer for updates in self._updates.values()]
        return [one for one in found if one is not None]

    def role(self, module: Any) -> str:
        """Return the role of a module."""
        return role_of(module)

    def _forward_hook(self, module: Any, layer: str) -> ForwardHook:
        hook = self._forward.get(id(module))
        if hook is None or not hook.is_of(module):
            hook = self._forward[id(module)] = ForwardHook(self, module, layer)
        hook.layer = layer
        return hook

    def begin(self, module: Any, layer: str, call: Callable[[str, Any, bool], None]) -> Gatherer:
        """Gather inputs."""
        hook = self._begin.get(id(module))
        if hook is None or not hook.is_of(module):
            hook = self._begin[id(module)] = BeginHook(self, module, layer)
        hook.layer = layer
        return Share(hook.calls, call, hook.release)

    def forward(
        self, module: Any, layer: str, call: Callable[[str, Any, bool], None], always: bool = False
    ) -> Gatherer:
        """Gather outputs."""
        hook = self._forward_hook(module, layer)
        hook.always |= always
        return Share(hook.outputs, (call, layer, always), hook.release)

    def backward(
        self, module: Any, layer: str, call: Callable[[str, Any], None], always: bool = False
    ) -> Gatherer:
        """Gather gradients of outputs."""
        hook = self._forward_hook(module, layer)
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
                    hook = self._gradient[id(parameter)] = GradientHook(self, parameter, layer)
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
        """Gather the changes of steps."""
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
        """Pass the changes since the last call to the lenses without an optimizer."""
        if None in self._updates:
            self._updates[None].compare()

    def begin_active(self) -> None:
        """Copy the parameters, so that the first `inspect_update` can compare with them."""
        if None in self._updates:
            self._updates[None].remember()

    def skip_stretch(self) -> None:
        """Forget copies and gradients that must not be compared over an inactive stretch."""
        for updates in self._updates.values():
            updates.skip()
        for group in self._groups:
            group.waiting.clear()

    def parameters(self, module: Any, layer: str) -> dict[str, list[Any]]:
        """Return a layer's current parameters, detached; those sharded elsewhere are left out."""
        found: dict[str, list[Any]] = {}
        for name, several in self._parameters.get(layer, {}).items():
            there = [whole(one.detach()) for one in several]
            if all(one is not None for one in there):
                found[name] = there
            else:
                self.pass_over("parameters", layer, several[0])
        return found

    def trainable(self, module: Any, layer: str) -> list[str]:
        """Return the names of the trained parameters."""
        named = self._parameters.get(layer, {})
        return [name for name, several in named.items() if any(p.requires_grad for p in several)]

    def gradient_bytes(self) -> int:
        """Return the memory of gradients in bytes."""
        return sum(
            self.arrays.bytes(parameter.grad)
            for named in self._parameters.values()
            for parameters in named.values()
            for parameter in parameters
            if parameter.grad is not None
        )

    def device_peak(self) -> int | None:
        """Return PyTorch's peak memory since the last call, summed over the CUDA devices."""
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
        """Return whether autograd records a graph."""
        return torch.is_grad_enabled()

    def push(self, explicit: ExplicitCall, kind: str, name: str, value: Any) -> None:
        """Pass on a detached copy of a pushed value, as the program may change the original."""
        if isinstance(value, Tensor) and not value.is_cpu:  # without a wait for its device
            value = value.detach().reshape(()).clone()
            if value.dtype not in (torch.float32, torch.float64):
                value = value.float()
        else:
            value = float(value.item() if hasattr(value, "item") else value)
        super().push(explicit, kind, name, value)

    def drain(self) -> None:
        """Transfer the numbers from the devices."""
        self.pool.drain()

    def end_stretch(self) -> None:
        """Make the next call of the network check whether it has changed."""
        self.stretch_is_new = True

    def hooks(self) -> tuple[list[ForwardHook], list[GradientHook], list[Updates]]:
        """Return the hooks on outputs, on gradients of parameters, and on updates."""
        return (
            list(self._forward.values()),
            list(self._gradient.values()),
            list(self._updates.values()),
        )

    def close(self) -> None:
        """Release everything."""
        super().close()
        self.forget_modules()
        if self.network is not None:
            self.network.detach()
            self.network = None
        self.pool.clear()
        self.arrays.clear()
        self.stretch_is_new = True

    def forget_modules(self) -> None:
        """Remove all hooks of modules and parameters, and release the modules."""
        self._forget_parameters()
        self.sweep(everything=True)
        self.aliases = {}

    def begin_renewal(self) -> None:
        """Release the parameters. Hooks of modules stay until `sweep`."""
        self.renewing = True
        self._forget_parameters()

    def _forget_parameters(self) -> None:
        for hook in self._gradient.values():
            hook.detach()
        for updates in self._updates.values():
            updates.calls.clear()
            updates.release()
        for several in (self._gradient, self._updates, self._parameters):
            several.clear()
        self._groups.clear()

    def sweep(self, *, everything: bool = False) -> None:
        """Remove the hooks of modules that no lens uses, or all of them."""
        self.renewing = False
        for place, hook in list(self._forward.items()):
            if everything or not (hook.outputs or hook.gradients):
                hook.detach()
                del self._forward[place]
        for place, begin in list(self._begin.items()):
            if everything or not begin.calls:
                begin.detach()
                del self._begin[place]


class _Several:
    """Several gatherers as one."""

    def __init__(self, gatherers: Sequence[Gatherer]) -> None:
        self._gatherers = gatherers

    def detach(self) -> None:
        """Detach all."""
        for gatherer in self._gatherers:
            gatherer.detach()
