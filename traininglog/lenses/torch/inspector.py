"""The inspector of PyTorch modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Self

from torch import nn

from traininglog.base import TrainingLogBase
from traininglog.errors import TrainingLogError
from traininglog.lenses.inspector import InspectorBase
from traininglog.lenses.lens import AbstractLens, AbstractVisualizer
from traininglog.lenses.tags import key_of
from traininglog.lenses.torch.modules import found_in, is_compiled, unwrapped
from traininglog.lenses.torch.ranks import exchanged, own_rank
from traininglog.lenses.torch.state import TorchState
from traininglog.values import check_key


class NotAttached(TrainingLogError, RuntimeError):
    """An inspector was used that is attached to no module."""

    code = "not-attached"


class TorchInspector(InspectorBase):
    """Has lenses look at a PyTorch module as it trains.

    ::

        inspector = TorchInspector([LossMetrics(), OutputNorm()], log, module=model)
        for epoch in inspector.range(1, 11):
            for inputs, targets in batches:
                loss = loss_fn(model(inputs), targets)
                inspector.push_loss(loss, train=True)
                ...

    Hooks change no value and no gradient. Numbers stay on their device until the tick, and no graph
    is kept. A lens that fails is left out with a warning; training goes on. Under
    `torch.distributed` each process has an inspector, all tick alike, statistics are merged, and
    rank 0 writes; gradients are those of each process, before they are averaged.

    A module that `torch.compile` has made must be attached before it is first called; hooks then
    part its graph. Of one that is compiled after it was attached, outputs are not seen.

    Args:
        lenses: The lenses.
        log: Where numbers go: any `TrainingLogBase`, or None for nowhere.
        module: The module to attach to at once.
        depth: How many levels below the root are looked at; a deeper branch counts as one layer. -1
            for all.
        separator: What stands between the parts of a layer's name.
        every, is_active, visualizer: As for `InspectorBase`.
        rank: This process's rank; by default what `torch.distributed` says.

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
        every: int = 1,
        is_active: Callable[[int], bool] | None = None,
        visualizer: str | AbstractVisualizer | Iterable[str | AbstractVisualizer] | None = None,
        rank: int | None = None,
    ) -> None:
        if depth < -1:
            raise ValueError(f"depth is 0 or more, or -1 for all, not {depth}")
        self.depth, self.separator = depth, separator
        self._attached = False
        super().__init__(
            lenses,
            log,
            every=every,
            is_active=is_active,
            visualizer=visualizer,
            rank=own_rank() if rank is None else rank,
        )
        if module is not None:
            self.attach(module)

    def _new_state(self) -> TorchState:
        state = TorchState(self)
        state.separator = self.separator
        return state

    def attach(self, module: nn.Module) -> Self:
        """Begin to observe a module, and no longer the one from before.

        What came since the last tick is forgotten. DistributedDataParallel, DataParallel and
        compiled modules are looked into. A module that the network has several times goes by its
        first name.

        Raises:
            TypeError: It is no module.
            InvalidKey: The name of a layer cannot be in a key of a log; nothing is observed then.

        """
        if not isinstance(module, nn.Module):
            raise TypeError(f"attach a torch.nn.Module, not a {type(module).__name__}")
        if self._attached:
            self.detach()
        found, aliases = found_in(unwrapped(module), self.depth, self.separator)
        for _, name, _ in found:
            check_key(key_of("tag", name, "statistic"))
        self.state.active = bool(self._is_active(self._stretch))
        self.state.compiled = is_compiled(module)
        self.state.know(found, aliases)
        for lens in self.lenses:
            lens.register_foreign_preprocessor(self.explicit, self.state)
            for one, name, leaf in found:
                register = lens.register_leaf_module if leaf else lens.register_non_leaf_module
                register(one, name, self.state)
        self._attached = True
        return self

    def detach(self) -> Self:
        """Remove every hook, and let go of the module. The times go on where they were.

        What came since the last tick is forgotten. Detaching what is not attached does nothing.
        """
        if self._attached:
            self._attached = False
            super().detach()
        return self

    def inspect_update(self) -> None:
        """Have lenses on updates, those without an optimizer, look at what has changed.

        Call it after each step. Raises `NotAttached`.
        """
        self._require_attached()
        self.state.inspect_update()

    def _is_attached(self) -> bool:
        return self._attached

    def _require_attached(self) -> None:
        if not self._attached:
            raise NotAttached("this inspector has no module: call inspector.attach(module) first")

    def _synchronize(self) -> None:
        mine = [lens.start_sync() for lens in self.lenses] if self.state.active else None
        states = exchanged(mine)
        if states is None or not self.state.active:
            return
        for number, lens in enumerate(self.lenses):
            lens.finish_sync([None if state is None else state[number] for state in states])
