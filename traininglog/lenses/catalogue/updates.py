"""Lenses on the changes of an optimizer's steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Unpack

from traininglog.lenses.catalogue.geometry import Geometries
from traininglog.lenses.catalogue.parameters import WEIGHT_AND_BIAS, ParameterLens
from traininglog.lenses.numbers.charts import Chart
from traininglog.lenses.numbers.state import Change, State
from traininglog.lenses.numbers.statistics import norm_quotient
from traininglog.lenses.options import (
    DirectionOptions,
    LayerOptions,
    LineOptions,
    complete,
    drawn,
)


class UpdateLens(ParameterLens):
    """Base class of lenses on updates, with one gatherer for all layers.

    Args:
        optimizer: The optimizer to observe. Without one, the program calls the inspector's
            `inspect_update()` after each step.
        parameters, options: As for `ParameterLens`.

    """

    nothing = "none of its parameters of these names is trained, or they have other names"

    def __init__(
        self, optimizer: Any, parameters: Iterable[str] | None, options: LayerOptions
    ) -> None:
        if optimizer is not None and not hasattr(optimizer, "register_step_post_hook"):
            raise TypeError(
                f"an optimizer is a torch.optim.Optimizer, not a {type(optimizer).__name__}; "
                "without one, call inspector.inspect_update() after each step"
            )
        self._optimizer = optimizer
        self.wants: dict[str, bool] = {}  #: the options of `State.update`
        self._observed: set[str] = set()
        self.state: State | None = None
        super().__init__(parameters, options)

    def register_leaf_module(self, module: object, name: str, state: State) -> None:
        """Observe the trained parameters of a layer."""
        names = self.wanted(state.trainable(module, name))
        if not names or not self.chosen(module, name):
            return
        self.expect(name, names, state)
        if not self._observed:
            self.state = state
            self.gather(state.update(self._optimizer, self._changed, **self.wants))
        self._observed.add(name)

    def _changed(self, changes: list[Change]) -> None:
        state = self.state
        if state is None:
            return
        mine: dict[str, list[Change]] = {}
        for change in changes:
            if change.layer in self._observed and (
                self.parameters is None or change.name in self.parameters
            ):
                mine.setdefault(change.layer, []).append(change)
        for layer, found in mine.items():
            state.guarded(self.look, layer, found, state)

    def look(self, layer: str, changes: list[Change], state: State) -> None:
        """Process the changes of one step in a layer."""
        raise NotImplementedError

    def let_go(self) -> None:
        """Also release the layers."""
        super().let_go()
        self._observed.clear()
        self.state = None


class ParameterUpdateGeometry(UpdateLens):
    """The norm of each step's change of parameters, and the change of its direction.

    ``weight update norm`` is the L2 norm of the difference, ``weight update correlation`` the
    cosine between the differences of consecutive steps. The first step, and the first after an
    inactive stretch, has no cosine.

    Args:
        optimizer: The optimizer; without one, call `inspect_update()` after each step.
        parameters: The names of parameters to observe; None for all.
        options: See `options.DirectionOptions`.

    """

    def __init__(
        self,
        optimizer: object = None,
        parameters: Iterable[str] | None = WEIGHT_AND_BIAS,
        **options: Unpack[DirectionOptions],
    ) -> None:
        known = complete(type(self), DirectionOptions, options, self.defaults)
        self._geometries = Geometries(self, "update", known)
        super().__init__(optimizer, parameters, known)
        self.wants = {"lasting": known["correlation"]}

    def make_charts(self, name: str) -> dict[str, Chart]:
        """Create a chart of the norm, and one of the correlation."""
        return self._geometries.charts(name)

    def look(self, layer: str, changes: list[Change], state: State) -> None:
        """Put norms and correlations."""
        groups: dict[str, list[Change]] = {}
        for change in changes:
            groups.setdefault(change.name, []).append(change)
        for name, found in groups.items():
            self.charts_of(name)
            self._geometries[name].look(
                layer,
                state,
                [change.delta for change in found],
                norm=found[0].norm if len(found) == 1 else None,
                lasting=found[0].lasting,
            )

    def skip_stretch(self) -> None:
        """Forget the previous updates."""
        self._geometries.forget()

    def detach_from_module(self) -> None:
        """Also release the previous updates."""
        super().detach_from_module()
        self.skip_stretch()


class UpdateRatio(UpdateLens):
    """The norm of a step's change of a layer, divided by the norm of its parameters before it.

    In a healthy training it is mostly about 1e-3 per step; see Karpathy's notes for Stanford's
    CS231n, "Ratio of weights:updates". It is infinite for a layer whose parameters are all zero.

    Args:
        optimizer: The optimizer; without one, call `inspect_update()` after each step.
        parameters: The names of parameters to include; None for all parameters of the layer.
        options: See `options.LineOptions`; the default is one range.

    """

    defaults: ClassVar[Mapping[str, Any]] = {"ranges": ("min-max",)}

    def __init__(
        self,
        optimizer: object = None,
        parameters: Iterable[str] | None = None,
        **options: Unpack[LineOptions],
    ) -> None:
        known = complete(type(self), LineOptions, options, self.defaults)
        super().__init__(optimizer, parameters, known)
        self.wants = {"sizes": True}
        self.ratio = self.chart("update ratio", log_scale=True, **drawn(known))

    def make_charts(self, name: str) -> dict[str, Chart]:
        """Create none: a layer's parameters share one chart."""
        return {}

    def expect(self, layer: str, names: Iterable[str], state: State) -> None:
        """Add a layer to the chart."""
        self.ratio.expect(layer)

    def look(self, layer: str, changes: list[Change], state: State) -> None:
        """Put the ratio of a layer."""
        known = [change for change in changes if change.size is not None]
        if known:
            norms, sizes = [one.norm for one in known], [one.size for one in known]
            self.ratio.put_combined(layer, norms + sizes, norm_quotient)
