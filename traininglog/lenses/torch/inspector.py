"""The inspector of PyTorch modules."""

from __future__ import annotations

import json
import sys
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Self

from torch import nn

from traininglog.base import TrainingLogBase
from traininglog.display.notebook import in_notebook
from traininglog.errors import InvalidKey, TrainingLogError
from traininglog.lenses.choices import tell, tell_choices
from traininglog.lenses.inspector import InspectorBase
from traininglog.lenses.lens import AbstractLens, AbstractVisualizer, Lens
from traininglog.lenses.numbers.state import ExplicitCall
from traininglog.lenses.tags.attributes import key_of
from traininglog.lenses.torch.hooks import NetworkHook
from traininglog.lenses.torch.modules import (
    FoundModule,
    fingerprint,
    found_in,
    is_borrowed,
    unwrapped,
)
from traininglog.lenses.torch.ranks import exchanged, own_rank, together
from traininglog.lenses.torch.scaling import Scaling
from traininglog.lenses.torch.sight import Sight, half_autocast
from traininglog.lenses.torch.state import TorchState
from traininglog.values import check_key

#: Module -> the inspectors that are attached to it.
_ATTACHED: weakref.WeakKeyDictionary[nn.Module, weakref.WeakSet[TorchInspector]]
_ATTACHED = weakref.WeakKeyDictionary()


class NotAttached(TrainingLogError, RuntimeError):
    """The inspector is attached to no module."""

    code = "not-attached"


class TorchInspector(InspectorBase):
    """Inspector of a PyTorch module during training, by hooks.

    ::

        inspector = TorchInspector([LossMetrics(), OutputNorm()], log, module=model)
        for epoch in inspector.range(1, 11):
            for inputs, targets in batches:
                loss = loss_fn(model(inputs), targets)
                inspector.push_loss(loss, train=True)
                ...

    Hooks change no value and no gradient. Numbers stay on their device until the tick, and the
    inspector keeps no graph. If a lens fails, the inspector warns, counts the failure in
    `passed_over`, and tries again: training goes on. Under `torch.distributed` each process has an
    inspector, and all must make the same ticks. The statistics are merged, and rank 0 writes.
    Gradients are those of each process, before they are averaged.

    The network may change: modules may be added, replaced, or created by their first call (lazy
    modules), and parameters may be frozen or unfrozen. The inspector finds this at the first call
    of the network after a tick, or at the next tick. If a lens never sees arrays that it names, a
    warning tells.

    The network may be compiled before or after `attach`, but `attach` must come before its first
    compiled call. The hooks then break its graph. With ``fullgraph=True`` lenses see no outputs.

    Detaching is optional: when an inspector is deleted, its hooks are removed.

    Args:
        lenses: The lenses.
        log: The log that receives the numbers: any `TrainingLogBase`, or None.
        module: The module to attach to at once.
        depth: The number of levels below the root to observe. A deeper branch counts as one layer.
            -1 for all.
        separator: The text between the parts of a layer's name.
        scaler: The `torch.amp.GradScaler` that scales the loss, if there is one. The inspector then
            reports gradients without the scale, and leaves out those of a step that the scaler
            skips.
        every, is_active, visualizer: As for `InspectorBase`.
        rank: The rank of this process. Defaults to the rank in `torch.distributed`.

    """

    state: TorchState

    def __init__(
        self,
        lenses: AbstractLens | Iterable[AbstractLens],
        log: TrainingLogBase | None = None,
        *,
        module: nn.Module | None = None,
        depth: int = -1,
        separator: str = ".",
        scaler: Any = None,
        every: int = 1,
        is_active: Callable[[int], bool] | None = None,
        visualizer: str | AbstractVisualizer | Iterable[str | AbstractVisualizer] | None = None,
        rank: int | None = None,
    ) -> None:
        if depth < -1:
            raise ValueError(f"depth is 0 or more, or -1 for all, not {depth}")
        self.depth, self.separator = depth, separator
        self._scaling = None if scaler is None else Scaling(scaler)
        self._attached = False
        self._root: nn.Module | None = None
        self._found: list[FoundModule] = []
        self._fingerprint: list[Any] = []
        self._sight = Sight()
        self._pushed = False
        super().__init__(
            lenses,
            log,
            every=every,
            is_active=is_active,
            visualizer=visualizer,
            rank=own_rank() if rank is None else rank,
        )
        self._hooks_end = weakref.finalize(self, _remove, self.state)
        self._hooks_end.atexit = False
        if module is not None:
            self.attach(module)

    def _new_state(self) -> TorchState:
        state = TorchState(self)
        state.separator = self.separator
        state.scaling = self._scaling
        return state

    def attach(self, module: nn.Module) -> Self:
        """Start to observe a module, and stop observing the previous one.

        The numbers since the last tick are forgotten. DistributedDataParallel, DataParallel and
        compiled modules are unwrapped. A module that occurs several times has its first name. In a
        notebook, an earlier inspector of the module with lenses of the same classes is detached:
        there, the cause is mostly the same cell, run again.

        Raises:
            TypeError: The argument is no module.
            InvalidKey: The name of a layer cannot be in a key of a log. Nothing is observed then.

        """
        if not isinstance(module, nn.Module):
            raise TypeError(f"attach a torch.nn.Module, not a {type(module).__name__}")
        if self._attached:
            self.detach()
        root = unwrapped(module)
        found, aliases = self._look(root)
        self._take_over(root)
        self.state.passed.clear()
        self.state.active = bool(self._is_active(self._stretch))
        self._root = root
        self._attached = True
        try:
            self._sight.attached(module)
            self._register(found, aliases)
            self._tell_of_choices()
            # A module without this hook, or one called only in parts, is checked at each tick.
            self.state.network = self.state.guarded_for(
                "the network", None, NetworkHook, self.state, root, _weakly(self._called)
            )
        except BaseException:
            self.detach()
            raise
        return self

    def _look(self, root: nn.Module) -> tuple[list[FoundModule], dict[str, list[str]]]:
        found, aliases = found_in(root, self.depth, self.separator)
        for _, name, _ in found:
            check_key(key_of("tag", name, "statistic"))
        return found, aliases

    def _take_over(self, root: nn.Module) -> None:
        """Detach the inspector of an earlier run of the same notebook cell."""
        others = _ATTACHED.setdefault(root, weakref.WeakSet())
        mine = [type(lens) for lens in self.lenses]
        for other in list(others) if in_notebook() or hasattr(sys, "ps1") else []:
            if other is not self and [type(lens) for lens in other.lenses] == mine:
                other.detach()
                tell(
                    "an inspector with the same lenses was attached to this module, and is detached"
                    " now. To have both, give all their lenses to one"
                )
        others.add(self)

    def _register(self, found: list[FoundModule], aliases: dict[str, list[str]]) -> None:
        state, guarded = self.state, self.state.guarded_for
        state.know(found, aliases)
        for lens in self.lenses:
            who = type(lens).__name__
            guarded(who, None, lens.register_foreign_preprocessor, self.explicit, state)
            for one, name, leaf in found:
                register = lens.register_leaf_module if leaf else lens.register_non_leaf_module
                guarded(who, name, register, one, name, state)
        self._found = found
        self._fingerprint = fingerprint(found, state.optimizers)

    def _tell_of_choices(self) -> None:
        """Warn of lenses that see nothing, or whose `include` and `exclude` match nothing."""
        layers = [(one.module, one.name) for one in self._found]
        layers += [
            (one.module, alias)
            for one in self._found
            for alias in self.state.aliases.get(one.name, ())
        ]
        tell_choices(self.lenses, layers)
        if all(isinstance(lens, Lens) and lens.observes_nothing for lens in self.lenses):
            self._sight.nothing_there(self.lenses)

    def _called(self) -> None:
        """Handle the first call of the network after a tick: check whether it has changed."""
        if self._scaling is None and half_autocast():
            self._sight.half_precision()
        self._renew()

    def _renew(self) -> None:
        """Register all modules again if the network has changed."""
        if self._root is None:
            return
        found, aliases = found_in(self._root, self.depth, self.separator)
        if is_borrowed(found) or fingerprint(found, self.state.optimizers) == self._fingerprint:
            return
        try:
            found, aliases = self._look(self._root)
        except InvalidKey as error:
            self.state.passed.note("the network", None, error)
            return
        self.state.renewing = True
        try:
            for lens in self.lenses:
                self.state.guarded(lens.renew)
            self.explicit = ExplicitCall()
            self.state.begin_renewal()
            self._register(found, aliases)
        finally:
            self.state.sweep()
        self._introduced = None
        self._sight.renewed()

    def push_loss(self, value: Any, *, train: bool = True) -> None:
        """Pass a loss of training or validation to the lenses: a number, or an array of one.

        Raises `ValueError` for a longer array, and `TypeError` if it is no number.
        """
        super().push_loss(value, train=train)
        self._pushed = True

    def tick(self, time: int | None = None) -> None:
        """End a step or an epoch, as `InspectorBase.tick` does, and check the network."""
        active = self.state.active
        seen = not self.state.stretch_is_new
        super().tick(time)
        self.state.guarded_for("the network", None, self._after, active, seen)

    def _after(self, active: bool, seen: bool) -> None:
        if active:
            named = [
                thing for lens in self.lenses if isinstance(lens, Lens) for thing in lens.named[0]
            ]
            self._sight.stretch_ends(self.state.hooks(), self._found, named, self._pushed)
            self._sight.nothing_there(self.lenses)
        self._pushed = False
        if not seen:  # otherwise the hook of the network has checked it, and will again
            self._renew()

    def detach(self) -> Self:
        """Remove every hook, and release the module. The times continue from the last one.

        The numbers since the last tick are forgotten. A second call does nothing.
        """
        if self._attached:
            self._attached = False
            if self._root is not None:
                _ATTACHED.get(self._root, weakref.WeakSet()).discard(self)
            self._root = None
            self._found, self._fingerprint = [], []
            super().detach()
        return self

    def inspect_update(self) -> None:
        """Pass the changes since the last call to the lenses on updates without an optimizer.

        Call this after each step. Raises `NotAttached`.
        """
        self._require_attached()
        self.state.guarded_for("updates", None, self.state.inspect_update)

    def _is_attached(self) -> bool:
        return self._attached

    def _require_attached(self) -> None:
        if not self._attached:
            raise NotAttached("this inspector has no module: call inspector.attach(module) first")

    def _synchronize(self) -> None:
        guarded = self.state.guarded_for
        names = [type(lens).__name__ for lens in self.lenses]
        mine = None
        if self.state.active and together():
            mine = [
                guarded(name, None, _text_of, lens)
                for name, lens in zip(names, self.lenses, strict=True)
            ]
        states = exchanged(mine)
        if states is None or not self.state.active:
            return
        for number, (name, lens) in enumerate(zip(names, self.lenses, strict=True)):
            texts = [None if state is None else state[number] for state in states]
            guarded(name, None, _take_texts, lens, texts)


def _weakly(method: Callable[..., None]) -> Callable[..., None]:
    """Return a function that calls a method through a weak reference to its owner.

    A hook lives as long as the module, and must not keep the inspector alive.
    """
    reference = weakref.WeakMethod(method)

    def call(*arguments: Any) -> None:
        alive = reference()
        if alive is not None:
            alive(*arguments)

    return call


def _text_of(lens: AbstractLens) -> str:
    """Return a lens's state for the other processes as JSON. A bad state fails here, alone."""
    return json.dumps(lens.start_sync())


def _take_texts(lens: AbstractLens, texts: list[str | None]) -> None:
    lens.finish_sync([None if text is None else json.loads(text) for text in texts])


def _remove(state: TorchState) -> None:
    """Remove the hooks of a deleted inspector."""
    state.close()
