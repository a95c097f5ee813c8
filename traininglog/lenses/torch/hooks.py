"""Hooks on PyTorch modules, parameters and optimizers, which change nothing.

All lenses on a module share one hook. If the hook is copied or pickled with its module, the copy
does nothing: an inspector observes only the original.

PyTorch calls only objects of `Hook`, through `__call__` and `see`, which catch all errors. So no
error reaches the training, except `NonFiniteFound`, which the program requests.
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
    """Do nothing. This is the hook of a copied module."""


def copied() -> Callable[..., None]:
    """Return the hook of a copied module."""
    return nothing


class Scripted(AttributeError):
    """The program passed an observed module to `torch.jit.script`."""


class Hook:
    """A callable that is registered with PyTorch. Lenses share it; the last one detaches it."""

    state: TorchState
    layer: str | None = None
    who = "a hook"
    handle: Any = None

    @property
    def __name__(self) -> str:
        """Raise: only `torch.jit.script`, which would compile the hook, too, reads this name."""
        raise Scripted(
            "torch.jit.script cannot compile a module that lenses look at: call "
            "inspector.detach() before, and inspector.attach(module) after it"
        )

    def __call__(self, *arguments: Any) -> None:
        """Look at the arguments. During a trace by Dynamo, look outside of its graph.

        `torch.jit.trace` must record only the network: during its trace, do nothing.
        """
        if torch.jit.is_tracing():  # type: ignore[attr-defined]
            return
        if torch.compiler.is_compiling():
            from traininglog.lenses.torch import outside

            outside.see(self, *arguments)
            return
        self.see(*arguments)

    def see(self, *arguments: Any) -> None:
        """Look at the arguments, and count an error instead of raising it."""
        try:
            self.look(*arguments)
        except NonFiniteFound:
            raise
        except Exception as error:  # noqa: BLE001 - no error of a lens must end a training
            self.state.passed.note(self.who, self.layer, error)

    def look(self, *arguments: Any) -> None:
        """Look at the arguments; a subclass implements it."""
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
    """One lens's registration in a shared hook."""

    def __init__(self, calls: list[Any], call: Any, release: Callable[[], None]) -> None:
        self._calls, self._call, self._release = calls, call, release
        calls.append(call)

    def detach(self) -> None:
        """Leave the hook; the last one removes it."""
        if self._call in self._calls:
            self._calls.remove(self._call)
            self._release()


class ForwardHook(Hook):
    """A hook on a module's output, and on the gradient of that output."""

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
        """Return whether this hook is registered on a module."""
        return self.handle is not None and _is(self._module, module)

    def look(self, module: nn.Module, arguments: Any, output: Any) -> None:  # type: ignore[override]
        """Pass the output to the lenses, and register for its gradient."""
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
        # The output is a leaf if the module returns a parameter: a hook on it would stay for ever.
        if self.gradients and tensor.requires_grad and not tensor.is_leaf:
            tensor.register_hook(self.gradient)

    def release(self) -> None:
        """Remove the hook if no lens uses it; but not while all modules are registered again.

        A compiled graph calls the hook object that Dynamo traced, and no new one.
        """
        if not self.outputs and not self.gradients and not self.state.renewing:
            self.detach()


class _OutputGradient(Hook):
    """A hook on the gradient of a module's output."""

    who = "gradients of outputs"

    def __init__(self, forward: ForwardHook) -> None:
        self.state, self.layer, self._calls = forward.state, forward.layer, forward.gradients

    def look(self, gradient: Tensor) -> None:  # type: ignore[override]
        """Pass the gradient to the lenses."""
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
    """A hook on a module's input, before the module runs."""

    who = "inputs"

    def __init__(self, state: TorchState, module: nn.Module, layer: str) -> None:
        self.state, self.layer = state, layer
        self.calls: list[Callable[[str, Any, bool], None]] = []
        self.handle = module.register_forward_pre_hook(self, with_kwargs=True)
        self._module = weakref.ref(module)

    def is_of(self, module: nn.Module) -> bool:
        """Return whether this hook is registered on a module."""
        return self.handle is not None and _is(self._module, module)

    def look(self, module: nn.Module, arguments: Any, keywords: Any) -> None:  # type: ignore[override]
        """Pass the input to the lenses."""
        if not self.calls or not _is(self._module, module):  # a copy
            return
        given = first_tensor(arguments[0]) if arguments else None  # mostly the only argument
        if given is None:
            given = first_tensor((arguments, keywords))
        taken = None if given is None else given.detach()
        for call in list(self.calls):
            self.state.guarded(call, self.layer, taken, module.training)

    def release(self) -> None:
        """Remove the hook if no lens uses it, as `ForwardHook.release` does."""
        if not self.calls and not self.state.renewing:
            self.detach()


class GradientHook(Hook):
    """A hook on one parameter's gradient, after a backward pass has accumulated it."""

    who = "gradients of parameters"

    def __init__(self, state: TorchState, parameter: Tensor, layer: str) -> None:
        self.state, self.layer = state, layer
        self.parameter = parameter
        self.called = False
        self.calls: list[Any] = []  # (group, name, always)
        self.handle = parameter.register_post_accumulate_grad_hook(self)

    def look(self, parameter: Tensor) -> None:  # type: ignore[override]
        """Pass the gradient to the groups that collect it."""
        gradient = parameter.grad
        if gradient is None:
            return
        self.called = True
        gradient = gradient.detach()
        if gradient.layout is not torch.strided:  # embeddings with sparse=True
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
        """Remove the hook if no lens uses it."""
        if not self.calls:
            self.detach()


class GradientGroup:
    """Collects the gradients of a layer's parameters of one name (mostly one), for one call."""

    def __init__(self, state: TorchState, layer: str, name: str, count: int, call: Any) -> None:
        self.state, self.layer, self.name, self.count, self.call = state, layer, name, count, call
        self.waiting: dict[int, Tensor] = {}

    def arrived(self, place: int, gradient: Tensor) -> None:
        """Add the gradient of one of the parameters."""
        if self.count == 1:
            self.state.guarded(self.call, self.layer, self.name, [gradient])
            return
        if place in self.waiting:  # a new pass: the previous one left out some parameters
            self.flush()
        self.waiting[place] = gradient
        if len(self.waiting) == self.count:
            self.flush()

    def flush(self) -> None:
        """Call with the gradients that have arrived."""
        waiting, self.waiting = self.waiting, {}
        if waiting:
            gradients = [waiting[place] for place in sorted(waiting)]
            self.state.guarded(self.call, self.layer, self.name, gradients)


class NetworkHook(Hook):
    """A hook on the call of the whole network, before all other hooks."""

    who = "the network"

    def __init__(self, state: TorchState, module: nn.Module, call: Callable[[], None]) -> None:
        self.state, self._call = state, call
        self.handle = module.register_forward_pre_hook(self, with_kwargs=True, prepend=True)

    def look(self, module: nn.Module, arguments: Any, keywords: Any) -> None:  # type: ignore[override]
        """Call back once per stretch."""
        if self.state.stretch_is_new:
            self.state.stretch_is_new = False
            self._call()


def _is(reference: weakref.ref[Any], module: object) -> bool:
    return reference() is module
