"""The inspector: it shows named arrays to lenses, and writes their numbers at each tick.

A program passes the arrays to this inspector. They are NumPy arrays, or arrays that NumPy can
convert (for example JAX's). For PyTorch, `TorchInspector` gets them by hooks.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, get_args

from traininglog.base import TrainingLogBase
from traininglog.lenses.catalogue.losses import TRAIN, VALIDATION, check_scalar
from traininglog.lenses.catalogue.non_finite import NonFiniteFound
from traininglog.lenses.choices import PATIENCE, tell_choices
from traininglog.lenses.gatherers import CommonState, NamedState
from traininglog.lenses.lens import AbstractLens, AbstractVisualizer, Lens
from traininglog.lenses.numbers.state import ExplicitCall
from traininglog.lenses.tags.attributes import key_of
from traininglog.lenses.tags.log_writer import LogWriter, last_time
from traininglog.lenses.ticks import Ticks
from traininglog.values import check_key, check_time

T = TypeVar("T")
Kind = Literal["output", "output_gradient", "parameter", "parameter_gradient", "update"]


class InspectorBase:
    """Base class of inspectors: ticks, pushes, the log, the visualizers.

    Args:
        lenses: The lenses.
        log: The log that receives the numbers: any `TrainingLogBase`, or None.
        every: The inspector is active in every n-th stretch from tick to tick, with n = `every`.
        is_active: Replaces `every`: receives the number of a stretch, from 1, and returns whether
            the inspector is active in it.
        visualizer: ``"matplotlib"``, ``"tensorboard"``, ``"print"``, an `AbstractVisualizer`, or
            a list of them.
        rank: The rank of this process among those that train together. Only rank 0 writes.

    Raises:
        ValueError: There are no lenses, `every` is not positive, or the visualizer is unknown.

    """

    def __init__(
        self,
        lenses: AbstractLens | Iterable[AbstractLens],
        log: TrainingLogBase | None = None,
        *,
        every: int = 1,
        is_active: Callable[[int], bool] | None = None,
        visualizer: str | AbstractVisualizer | Iterable[str | AbstractVisualizer] | None = None,
        rank: int | None = None,
    ) -> None:
        self.lenses = [lenses] if isinstance(lenses, AbstractLens) else list(lenses)
        if not self.lenses or not all(isinstance(lens, AbstractLens) for lens in self.lenses):
            raise ValueError("lenses is a list of lenses: [LossMetrics(), OutputNorm()]")
        if every < 1:
            raise ValueError(f"every must be 1 or more, not {every}")
        self.log = log
        self.rank = rank
        self._is_active = is_active or (lambda number: number % every == 0)
        self.last_time = -1 if log is None else last_time(log)
        self.explicit = ExplicitCall()
        self.state = self._new_state()
        self._writer = None if log is None else LogWriter(log)
        self._visualizers: list[AbstractVisualizer] = []
        self._introduced: Any = None
        self._stretch = 1
        self.state.active = bool(self._is_active(1))
        for one in _several(visualizer):
            self.show_with(one)

    def _new_state(self) -> CommonState:
        raise NotImplementedError

    def show_with(self, visualizer: str | AbstractVisualizer) -> None:
        """Add a visualizer for all numbers from now on. It receives the tags first."""
        if isinstance(visualizer, str):
            from traininglog.lenses.pictures.by_name import visualizer_named

            visualizer = visualizer_named(visualizer)
        self._visualizers.append(visualizer)
        self._introduced = None

    @property
    def is_master(self) -> bool:
        """Whether this process writes, which only rank 0 does."""
        return not self.rank

    @property
    def active(self) -> bool:
        """Whether the lenses observe the current stretch."""
        return self.state.active

    @property
    def passed_over(self) -> dict[str, int]:
        """The number of failures, by lens and layer.

        Training goes on after a failure of a lens, a visualizer or a layer, and the inspector tries
        again the next time. It warns of the first failure of each kind.
        """
        return dict(self.state.passed.counts)

    def _require_attached(self) -> None:
        """Raise if the inspector has no network. Here, it needs none."""

    def push_loss(self, value: Any, *, train: bool = True) -> None:
        """Pass a loss of training or validation to the lenses: a number, or an array of one.

        Raises `ValueError` for a longer array, and `TypeError` if it is no number.
        """
        self._require_attached()
        check_scalar("a loss", value)
        self.state.push(self.explicit, "loss", TRAIN if train else VALIDATION, value)

    def push_metric(self, name: str, value: Any) -> None:
        """Pass a metric to the lenses: a number, or an array of one. Raises as `push_loss` does."""
        self._require_attached()
        check_scalar("a metric", value)
        self.state.push(self.explicit, "metric", check_key(name), value)

    def tick(self, time: int | None = None) -> None:
        """End a step or an epoch: write the numbers of the lenses at its time.

        Args:
            time: The time. Defaults to the one after the last tick, or 1. If the log already has
                times of lenses, the first default is the one after its last.

        Raises:
            InvalidTime: The time is not a non-negative integer.

        """
        self._require_attached()
        time = max(self.last_time + 1, 1) if time is None else check_time(time)
        guarded = self.state.guarded
        if self.state.active:
            for call in list(self.state.tick_calls):
                guarded(call)
            guarded(self.state.drain)
        self._synchronize()
        if self.state.active:
            for lens in self.lenses:
                guarded(lens.finalize_epoch)
            if self.is_master:
                self._tell(time)
            for lens in self.lenses:
                guarded(lens.reset_epoch)
        self.last_time = self.state.time = time
        self.state.end_stretch()
        self._stretch += 1
        was, self.state.active = self.state.active, bool(self._is_active(self._stretch))
        if self.state.active and not was:
            self.state.begin_active()
        if was and not self.state.active:
            self.state.skip_stretch()
            for lens in self.lenses:
                if isinstance(lens, Lens):
                    guarded(lens.skip_stretch)

    def _tell(self, time: int) -> None:
        told = [*([] if self._writer is None else [self._writer]), *self._visualizers]
        drawn = [
            (len(lens.charts), [len(chart.attributes.layers) for chart in lens.charts])
            for lens in self.lenses
            if isinstance(lens, Lens)
        ]
        guarded = self.state.guarded_for
        for visualizer in told:
            who = type(visualizer).__name__
            if drawn != self._introduced:
                for lens in self.lenses:
                    guarded(
                        f"{type(lens).__name__} in {who}", None, lens.introduce_tags, visualizer
                    )
            for lens in self.lenses:
                guarded(f"{type(lens).__name__} in {who}", None, lens.visualize, visualizer, time)
            if visualizer is not self._writer:
                guarded(who, None, visualizer.end_tick, time)
        self._introduced = drawn
        if self._writer is not None:
            # A failure to write the log reaches the caller: the log is no by-product.
            self._writer.end_tick(time)
            for key, error in self._writer.refused():
                self.state.passed.note("the log", key, error)

    def _synchronize(self) -> None:
        """Merge the numbers of all processes, if there are several."""

    def _is_attached(self) -> bool:
        return True

    def iter(self, items: Iterable[T]) -> Ticks[T]:
        """Yield items, for example batches, and tick after each, also after a break or exception.

        The result is a context manager, too, which guarantees the last tick; see `Ticks`.
        """
        return Ticks(
            items,
            self._stretch_now,
            lambda item, stretch: self._end(None, stretch),
            self._end_showing,
        )

    def range(self, *bounds: int) -> Ticks[int]:
        """Yield the numbers of a range, and tick with each as the time, as `iter` does."""
        return Ticks(builtins.range(*bounds), self._stretch_now, self._end, self._end_showing)

    def _stretch_now(self) -> int:
        return self._stretch

    def _end(self, time: int | None, stretch: int) -> None:
        # A generator that the program keeps ends when it is deleted, which may be too late.
        late = stretch != self._stretch or (self.log is not None and self.log.closed)
        if not late and self._is_attached():
            self.tick(time)

    def _end_showing(self) -> None:
        """Tell the visualizers that the loop ended, so that they show the rest."""
        for visualizer in self._visualizers:
            self.state.guarded(visualizer.end)

    def detach(self) -> Any:
        """Release everything that is observed. The times continue from the last one."""
        self.state.active = False
        stopped: NonFiniteFound | None = None
        for lens in self.lenses:
            try:
                self.state.guarded(lens.detach_from_module)
            except NonFiniteFound as found:  # the other lenses must detach nevertheless
                stopped = found
        self.explicit = ExplicitCall()
        self.state.close()
        self._introduced = None
        self._end_showing()
        if stopped is not None:
            raise stopped

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.detach()


class Inspector(InspectorBase):
    """An inspector of named arrays, which the program passes to it.

    ::

        inspector = Inspector([LossMetrics(), ParameterNorm(), UpdateRatio()], log)
        for step in inspector.range(1, 1001):
            inspector.observe("parameter", "dense", {"weight": w, "bias": b})
            inspector.observe("update", "dense", {"weight": dw, "bias": db})
            inspector.push_loss(loss, train=True)

    Args:
        lenses, log, every, is_active, visualizer, rank: As for `InspectorBase`.

    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._known: set[tuple[str, str]] = set()
        self._ticks = 0
        self._introduce()

    state: NamedState

    def _new_state(self) -> NamedState:
        return NamedState(self)

    def observe(self, kind: Kind, layer: str, array: Any, *, training: bool = True) -> None:
        """Show an array of a layer to the lenses.

        Args:
            kind: ``"output"``, ``"output_gradient"``, ``"parameter"``, ``"parameter_gradient"``, or
                ``"update"``: the change that a step made, after the step.
            layer: The layer's name. Charts show layers in the order of their first arrays.
            array: The array. For parameters, their gradients and updates: a dict from the
                parameter's name to an array, or one array, which is the ``"weight"``.
            training: For outputs, whether the network is in training, not in evaluation.

        Raises:
            ValueError: The kind is unknown.
            InvalidKey: The layer's name cannot be in a key of a log.

        """
        if kind not in get_args(Kind):
            raise ValueError(f"there is no kind {kind!r}; there are: {', '.join(get_args(Kind))}")
        family = "outputs" if kind in ("output", "output_gradient") else "parameters"
        if (layer, family) not in self._known:
            check_key(key_of("tag", layer, "statistic"))
            self._known.add((layer, family))
            self.state.family = family
            if family == "parameters":
                self.state.learn(layer, array)
            for lens in self.lenses:
                self.state.guarded_for(
                    type(lens).__name__, layer, lens.register_leaf_module, layer, layer, self.state
                )
            self.state.family = "parameters"
        self.state.observe(kind, layer, array, training=training)

    def tick(self, time: int | None = None) -> None:
        """End a step or an epoch, as `InspectorBase.tick` does.

        After `PATIENCE` ticks, warn of names in `include` and `exclude` that no layer has.
        """
        super().tick(time)
        self._ticks += bool(self._known)
        if self._ticks == PATIENCE:
            layers = [(None, layer) for layer in sorted({layer for layer, _ in self._known})]
            self.state.guarded_for("choices", None, tell_choices, self.lenses, layers)

    def detach(self) -> None:
        """Forget all layers. The times continue from the last one."""
        super().detach()
        self._known.clear()
        self._ticks = 0
        self.state = self._new_state()
        self.state.active = bool(self._is_active(self._stretch))
        self._introduce()

    def _introduce(self) -> None:
        for lens in self.lenses:
            register = lens.register_foreign_preprocessor
            who = type(lens).__name__
            self.state.guarded_for(who, None, register, self.explicit, self.state)


def _several(visualizer: Any) -> list[Any]:
    if visualizer is None:
        return []
    if isinstance(visualizer, (str, AbstractVisualizer)):
        return [visualizer]
    return list(visualizer)
