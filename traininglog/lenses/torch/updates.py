"""Changes of an optimizer's steps, gathered by hooks of the optimizer or by explicit calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from traininglog.lenses.numbers.state import Change
from traininglog.lenses.torch.hooks import Hook
from traininglog.lenses.torch.tensors import is_plain, whole

if TYPE_CHECKING:
    from traininglog.lenses.torch.state import TorchState


class Updates:
    """Gathers the changes of steps, by hooks of an optimizer or by explicit calls."""

    def __init__(self, state: TorchState, optimizer: Any) -> None:
        self.state = state
        self.optimizer = optimizer
        self.calls: list[Callable[[list[Change]], None]] = []
        self.places: list[tuple[str, str]] = []
        self.parameters: list[Tensor] = []
        self.sizes = self.lasting = False  #: whether a lens requests them, see `Change`
        self.called = False
        self._plain = True
        self._now: list[Tensor] = []
        self._numbers: list[int] = []
        self._before: list[Tensor] | None = None
        self._spare: list[Tensor] | None = None
        self._remembers = False
        self._sizes: list[Any] = []
        self._handles: list[Any] = []
        if optimizer is not None:
            self._handles = [
                optimizer.register_step_pre_hook(OptimizerHook(self, "remember")),
                optimizer.register_step_post_hook(OptimizerHook(self, "compare")),
            ]

    def observe(self, places: Sequence[tuple[str, str, Tensor]]) -> None:
        """Set the parameters to observe."""
        mine = None
        if self.optimizer is not None:
            groups = self.optimizer.param_groups
            mine = {id(parameter) for group in groups for parameter in group["params"]}
        chosen = []
        for layer, name, parameter in places:
            if mine is None or id(parameter) in mine:
                if whole(parameter) is None:
                    self.state.pass_over("updates", layer, parameter)
                else:
                    chosen.append((layer, name, parameter))
        self.places = [(layer, name) for layer, name, _ in chosen]
        self.parameters = [parameter for *_, parameter in chosen]
        self._plain = all(map(is_plain, self.parameters))
        self._forget()
        if self.optimizer is None:
            self.remember()

    def _forget(self) -> None:
        self._before = self._spare = None
        self._numbers = []
        self._remembers = False

    def remember(self) -> None:
        """Copy the parameters before a step."""
        if not (self.state.active and self.calls and self.parameters):
            return
        self._remembers = False
        if self.lasting:  # the changes of the previous step must stay valid
            self._before, self._spare = self._spare, self._before
        now = self.parameters
        if not self._plain:
            now = [parameter if (one := whole(parameter)) is None else one for parameter in now]
        self._now = now
        numbers = [parameter.numel() for parameter in now]
        if numbers != self._numbers:  # resized: a broadcast copy would raise no error
            self._before = self._spare = None
            self._numbers = numbers
        with torch.no_grad():
            none = [None] * len(now)
            self._sizes = self.state.arrays.each_norm(now) if self.sizes else none
            if self._before is None:
                self._before = [parameter.detach().clone() for parameter in now]
            else:
                try:
                    torch._foreach_copy_(self._before, now)
                except RuntimeError:  # another shape with the same number of elements
                    self._before = [parameter.detach().clone() for parameter in now]
        self._remembers = True

    def compare(self) -> None:
        """Pass the changes since `remember` to the lenses."""
        before = self._before
        if before is None or not self.state.active or not self._remembers:
            return
        self._remembers = False
        self.called = True
        try:
            with torch.no_grad():
                for parameter, value in zip(self._now, before, strict=True):
                    torch.sub(parameter, value, out=value)
            norms = self.state.arrays.each_norm(before)
        except Exception:
            self._forget()  # some tensors are already differences, others still parameters
            raise
        changes = [
            Change(layer, name, delta, norm, size, lasting=self.lasting)
            for (layer, name), delta, norm, size in zip(
                self.places, before, norms, self._sizes, strict=True
            )
        ]
        for call in list(self.calls):
            self.state.guarded(call, changes)
        if self.optimizer is None:
            self.remember()

    def skip(self) -> None:
        """Make the next comparison invalid, as it would span an inactive stretch."""
        self._remembers = False

    def release(self) -> None:
        """Release everything if no lens is left."""
        if not self.calls:
            for handle in self._handles:
                handle.remove()
            self._handles.clear()
            self.parameters.clear()
            self.places.clear()
            self._forget()
            self._now, self._sizes, self.optimizer = [], [], None


class OptimizerHook(Hook):
    """A hook that calls a method of `Updates` before or after a step."""

    who = "updates"

    def __init__(self, updates: Updates, what: str) -> None:
        self.state = updates.state
        self._do = getattr(updates, what)

    def look(self, optimizer: Any, arguments: Any, keywords: Any) -> None:  # type: ignore[override]
        """Call the method."""
        self._do()
