"""Gatherers on PyTorch modules, parameters and optimizers: hooks, which change nothing.

A hook of a module is shared by all lenses that look there. Copied or pickled with its module, it
becomes a hook that does nothing: an inspector goes on observing the original only.

Whatever PyTorch calls is a `Hook`, whose `__call__` and `see` are the one way in, and guarded:
nothing that is raised in there reaches the training, but for `NonFiniteFound`, which is asked for.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from traininglog.lenses.catalogue.non_finite import NonFiniteFound
from traininglog.lenses.torch.tensors import first_tensor, whole, without_numbers

if TYPE_CHECKING:
    from traininglog.lenses.torch.state import TorchState


def nothing(*arguments: Any) -> None:
    """Do nothing, as the hook of a copied module does."""


def copied() -> Callable[..., None]:
    """Return what a hook is after a copy."""
    return nothing


class Scripted(AttributeError):
    """A module was given to `torch.jit.script` while it is observed."""


class Hook:
    """A callable with a handle, shared by several who call `detach` when all have gone."""

    state: TorchState
    layer: str | None = None
    who = "a hook"
    handle: Any = None

    @property
    def __name__(self) -> str:
        """Have no name. Only `torch.jit.script` asks for it, which compiles hooks, too."""
        raise Scripted(
            "torch.jit.script cannot compile a module that lenses look at: call "
            "inspector.detach() before, and inspector.attach(module) after it"
        )

    def __call__(self, *arguments: Any) -> None:
        """See; where Dynamo traces, which would compile the hook, too, outside of its graph.

        What `torch.jit.trace` records is to be the network, and no lens.
        """
        if torch.jit.is_tracing():  # type: ignore[attr-defined]
            return
        if torch.compiler.is_compiling():
            from traininglog.lenses.torch import outside

            outside.see(self, *arguments)
            return
        self.see(*arguments)

    def see(self, *arguments: Any) -> None:
        """Look, and pass over what cannot be looked at."""
        try:
            self.look(*arguments)
        except NonFiniteFound:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no reason to end a training
            self.state.passed.note(self.who, self.layer, error)

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

    who = "outputs"

    def __init__(self, state: TorchState, module: nn.Module, layer: str) -> None:
        self.state, self.layer = state, layer
        self.called = False
        self._module = weakref.ref(module)
        self.outputs: list[Any] = []  # (callback, layer, always)
        self.gradients: list[Any] = []
        self.always = False
        self.gradient = _OutputGradient(self)
        self.handle = module.register_forward_hook(self)

    def is_of(self, module: nn.Module) -> bool:
        """Tell whether it looks at a module."""
        return self.handle is not None and _is(self._module, module)

    def look(self, module: nn.Module, arguments: Any, output: Any) -> None:  # type: ignore[override]
        """Call back."""
        state = self.state
        active = state.active
        if (not active and not self.always) or not _is(self._module, module):
            return
        self.called = True
        tensor = first_tensor(output)
        if tensor is None:
            missed = without_numbers(output)
            if missed is not None:
                state.pass_over(self.who, self.layer, missed)
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

    def release(self) -> None:
        """Remove the hook if nobody looks; but not while all are registered anew.

        What Dynamo has compiled calls the very hook that was there, and no other one.
        """
        if not self.outputs and not self.gradients and not self.state.renewing:
            self.detach()


class _OutputGradient(Hook):
    """Sees the gradient of what a module gave."""

    who = "gradients of outputs"

    def __init__(self, forward: ForwardHook) -> None:
        self.state, self.layer, self._calls = forward.state, forward.layer, forward.gradients

    def look(self, gradient: Tensor) -> None:  # type: ignore[override]
        """Call back."""
        state = self.state
        active = state.active
        taken = whole(gradient.detach())
        if taken is None:
            state.pass_over(self.who, self.layer, gradient)
            return
        taken = state.unscaled(taken)
        state.arrays.share(taken)
        for call, layer, always in self._calls:
            if active or always:
                state.guarded(call, layer, taken)
        state.arrays.share(None)


class BeginHook(Hook):
    """Sees what a module is given, before it is called."""

    who = "inputs"

    def __init__(self, state: TorchState, module: nn.Module, layer: str) -> None:
        self.state, self.layer = state, layer
        self.calls: list[Callable[[str, Any, bool], None]] = []
        self.handle = module.register_forward_pre_hook(self, with_kwargs=True)
        self._module = weakref.ref(module)

    def is_of(self, module: nn.Module) -> bool:
        """Tell whether it looks at a module."""
        return self.handle is not None and _is(self._module, module)

    def look(self, module: nn.Module, arguments: Any, keywords: Any) -> None:  # type: ignore[override]
        """Call back."""
        if not self.calls or not _is(self._module, module):  # a copy
            return
        given = first_tensor(arguments[0]) if arguments else None  # mostly all there is
        if given is None:
            given = first_tensor((arguments, keywords))
        taken = None if given is None else given.detach()
        for call in list(self.calls):
            self.state.guarded(call, self.layer, taken, module.training)

    def release(self) -> None:
        """Remove the hook if nobody looks, as `ForwardHook.release` does."""
        if not self.calls and not self.state.renewing:
            self.detach()


class GradientHook(Hook):
    """Sees the gradient of one parameter when a backward pass has added to it."""

    who = "gradients of parameters"

    def __init__(self, state: TorchState, parameter: Tensor, layer: str) -> None:
        self.state, self.layer = state, layer
        self.parameter = parameter
        self.called = False
        self.calls: list[Any] = []  # (group, name, always)
        self.handle = parameter.register_post_accumulate_grad_hook(self)

    def look(self, parameter: Tensor) -> None:  # type: ignore[override]
        """Hand the gradient to those who wait for it."""
        gradient = parameter.grad
        if gradient is None:
            return
        self.called = True
        gradient = gradient.detach()
        if gradient.layout is not torch.strided:  # of embeddings with sparse=True
            gradient = gradient.coalesce().values()
        taken = whole(gradient)
        if taken is None:
            self.state.pass_over(self.who, self.layer, gradient)
            return
        gradient = self.state.unscaled(taken)
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


class NetworkHook(Hook):
    """Tells when a network is called, before all else."""

    who = "the network"

    def __init__(self, state: TorchState, module: nn.Module, call: Callable[[], None]) -> None:
        self.state, self._call = state, call
        self.handle = module.register_forward_pre_hook(self, with_kwargs=True, prepend=True)

    def look(self, module: nn.Module, arguments: Any, keywords: Any) -> None:  # type: ignore[override]
        """Tell it, once a stretch."""
        if self.state.stretch_is_new:
            self.state.stretch_is_new = False
            self._call()


def _is(reference: weakref.ref[Any], module: object) -> bool:
    return reference() is module
