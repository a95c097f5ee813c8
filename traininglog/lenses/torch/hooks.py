"""Gatherers on PyTorch modules, parameters and optimizers: hooks, which change nothing.

A hook of a module is shared by all lenses that look there. Copied or pickled with its module, it
becomes a hook that does nothing: an inspector goes on observing the original only.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from traininglog.lenses.state import Change
from traininglog.lenses.torch.tensors import first_tensor

if TYPE_CHECKING:
    from traininglog.lenses.torch.state import TorchState


def nothing(*arguments: Any) -> None:
    """Do nothing, as the hook of a copied module does."""


def copied() -> Callable[..., None]:
    """Return what a hook is after a copy."""
    return nothing


class Hook:
    """A callable with a handle, shared by several who call `detach` when all have gone."""

    handle: Any = None

    def __call__(self, *arguments: Any) -> None:
        """Look; but not while Dynamo traces, which would take the hook apart, and compile it."""
        if not torch.compiler.is_compiling():
            self.look(*arguments)

    def callable(self, *, compiled: bool) -> Callable[..., None]:
        """Return what is registered: for a compiled module, a function that parts its graph.

        Such a one cannot be pickled, as little as what Dynamo makes of the module.
        """
        if not compiled:
            return self
        call: Callable[..., None] = torch.compiler.disable(self.look)
        return call

    def look(self, *arguments: Any) -> None:
        """See what there is to be seen."""
        raise NotImplementedError

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return nothing

    def __reduce__(self) -> Any:
        return copied, ()

    def detach(self) -> None:
        """Remove the hook."""
        if self.handle is not None:
            self.handle.remove()
            self.handle = None


class Share:
    """One lens's part in a hook that several share."""

    def __init__(self, calls: list[Any], call: Any, release: Callable[[], None]) -> None:
        self._calls, self._call, self._release = calls, call, release
        calls.append(call)

    def detach(self) -> None:
        """Leave the hook; the last one removes it."""
        if self._call in self._calls:
            self._calls.remove(self._call)
            self._release()


class ForwardHook(Hook):
    """Sees what a module gives, and has autograd tell the gradient of it."""

    def __init__(self, state: TorchState, module: nn.Module) -> None:
        self.state = state
        self._module = weakref.ref(module)
        self.outputs: list[Any] = []  # (callback, layer, always)
        self.gradients: list[Any] = []
        self.always = False
        self.handle = module.register_forward_hook(self.callable(compiled=state.compiled))

    def look(self, module: nn.Module, arguments: Any, output: Any) -> None:  # type: ignore[override]
        """Call back."""
        state = self.state
        active = state.active
        if (not active and not self.always) or not _is(self._module, module):
            return
        tensor = first_tensor(output)
        if tensor is None:
            return
        if self.outputs:
            training = module.training
            detached = tensor.detach()
            for call, layer, always in self.outputs:
                if active or always:
                    state.guarded(call, layer, detached, training)
        # A module that hands on a parameter gives a leaf: its hooks would stay for ever.
        if self.gradients and tensor.requires_grad and not tensor.is_leaf:
            tensor.register_hook(self.gradient)

    def gradient(self, gradient: Tensor) -> None:
        """Call back with a gradient of the output."""
        state = self.state
        active = state.active
        detached = gradient.detach()
        state.arrays.share(detached)
        for call, layer, always in self.gradients:
            if active or always:
                state.guarded(call, layer, detached)
        state.arrays.share(None)

    def release(self) -> None:
        """Remove the hook if nobody looks."""
        if not self.outputs and not self.gradients:
            self.detach()


class BeginHook(Hook):
    """Sees what a module is given, before it is called."""

    def __init__(
        self,
        state: TorchState,
        module: nn.Module,
        layer: str,
        call: Callable[[str, Any, bool], None],
    ) -> None:
        self.state, self.layer, self.call = state, layer, call
        self.handle = module.register_forward_pre_hook(
            self.callable(compiled=state.compiled), with_kwargs=True
        )
        self._module = weakref.ref(module)

    def look(self, module: nn.Module, arguments: Any, keywords: Any) -> None:  # type: ignore[override]
        """Call back."""
        if not _is(self._module, module):  # a copy
            return
        given = first_tensor(arguments[0]) if arguments else None  # mostly all there is
        if given is None:
            given = first_tensor((arguments, keywords))
        self.state.guarded(
            self.call, self.layer, None if given is None else given.detach(), module.training
        )


class GradientHook(Hook):
    """Sees the gradient of one parameter when a backward pass has added to it."""

    def __init__(self, state: TorchState, parameter: Tensor) -> None:
        self.state = state
        self.calls: list[Any] = []  # (group, name, always)
        self.handle = parameter.register_post_accumulate_grad_hook(self)

    def look(self, parameter: Tensor) -> None:  # type: ignore[override]
        """Hand the gradient to those who wait for it."""
        gradient = parameter.grad
        if gradient is None:
            return
        gradient = gradient.detach()
        if gradient.layout is not torch.strided:  # of embeddings with sparse=True
            gradient = gradient.coalesce().values()
        active, arrays = self.state.active, self.state.arrays
        arrays.share(gradient)
        for group, place, always in self.calls:
            if active or always:
                group.arrived(place, gradient)
        arrays.share(None)

    def release(self) -> None:
        """Remove the hook if nobody looks."""
        if not self.calls:
            self.detach()


class GradientGroup:
    """Collects the gradients of a layer's parameters of one name, mostly one, and calls once."""

    def __init__(self, state: TorchState, layer: str, name: str, count: int, call: Any) -> None:
        self.state, self.layer, self.name, self.count, self.call = state, layer, name, count, call
        self.waiting: dict[int, Tensor] = {}

    def arrived(self, place: int, gradient: Tensor) -> None:
        """Take the gradient of one of the parameters."""
        if self.count == 1:
            self.state.guarded(self.call, self.layer, self.name, [gradient])
            return
        if place in self.waiting:  # a new pass: the one before left some parameters out
            self.flush()
        self.waiting[place] = gradient
        if len(self.waiting) == self.count:
            self.flush()

    def flush(self) -> None:
        """Call with what there is."""
        waiting, self.waiting = self.waiting, {}
        if waiting:
            gradients = [waiting[place] for place in sorted(waiting)]
            self.state.guarded(self.call, self.layer, self.name, gradients)


class Updates:
    """Sees what steps change: by hooks of an optimizer, or when it is called."""

    def __init__(self, state: TorchState, optimizer: Any) -> None:
        self.state = state
        self.optimizer = optimizer
        self.calls: list[Callable[[list[Change]], None]] = []
        self.places: list[tuple[str, str]] = []
        self.parameters: list[Tensor] = []
        self.sizes = self.lasting = False  #: whether somebody wants them, see `Change`
        self._before: list[Tensor] | None = None
        self._spare: list[Tensor] | None = None
        self._remembers = False
        self._sizes: list[Any] = []
        self._handles: list[Any] = []
        if optimizer is not None:
            self._handles = [
                optimizer.register_step_pre_hook(_OptimizerHook(self, "remember")),
                optimizer.register_step_post_hook(_OptimizerHook(self, "compare")),
            ]

    def observe(self, places: Sequence[tuple[str, str, Tensor]]) -> None:
        """Set the parameters to look at."""
        mine = None
        if self.optimizer is not None:
            groups = self.optimizer.param_groups
            mine = {id(parameter) for group in groups for parameter in group["params"]}
        chosen = [place for place in places if mine is None or id(place[2]) in mine]
        self.places = [(layer, name) for layer, name, _ in chosen]
        self.parameters = [parameter for *_, parameter in chosen]
        self._before = self._spare = None
        self._remembers = False
        if self.optimizer is None:
            self.remember()

    def remember(self) -> None:
        """Keep the parameters as they are before a step."""
        if not (self.state.active and self.calls and self.parameters):
            return
        if self.lasting:  # the changes of the step before stay as they are
            self._before, self._spare = self._spare, self._before
        if self._before is None:
            self._before = [torch.empty_like(parameter) for parameter in self.parameters]
        with torch.no_grad():
            none = [None] * len(self.parameters)
            self._sizes = self.state.arrays.each_norm(self.parameters) if self.sizes else none
            torch._foreach_copy_(self._before, self.parameters)
        self._remembers = True

    def compare(self) -> None:
        """Tell what has changed since `remember`."""
        before = self._before
        if before is None or not self.state.active or not self._remembers:
            return
        with torch.no_grad():
            for parameter, value in zip(self.parameters, before, strict=True):
                torch.sub(parameter, value, out=value)
        norms = self.state.arrays.each_norm(before)
        changes = [
            Change(layer, name, delta, norm, size, lasting=self.lasting)
            for (layer, name), delta, norm, size in zip(
                self.places, before, norms, self._sizes, strict=True
            )
        ]
        self._remembers = False
        for call in list(self.calls):
            self.state.guarded(call, changes)
        if self.optimizer is None:
            self.remember()

    def skip(self) -> None:
        """Forget what was kept: the next comparison would span an inactive stretch."""
        self._remembers = False

    def release(self) -> None:
        """Let go if nobody looks."""
        if not self.calls:
            for handle in self._handles:
                handle.remove()
            self._handles.clear()
            self.parameters.clear()
            self.places.clear()
            self._before = self._spare = self.optimizer = None
            self._sizes = []


class _OptimizerHook(Hook):
    """Calls a method of `Updates` around a step."""

    def __init__(self, updates: Updates, what: str) -> None:
        self._do = getattr(updates, what)

    def look(self, optimizer: Any, arguments: Any, keywords: Any) -> None:  # type: ignore[override]
        """Call it."""
        self._do()


def _is(reference: weakref.ref[Any], module: object) -> bool:
    return reference() is module
