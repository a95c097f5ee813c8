"""Lenses on what an optimizer's steps change."""

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
    """What lenses on updates share: one gatherer for all layers.

    Args:
        optimizer: The optimizer whose steps are observed. Without one, the program calls the
            inspector's `inspect_update()` after each step.
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
        self.wants: dict[str, bool] = {}  #: what `State.update` is asked for
        self._observed: set[str] = set()
        self.state: State | None = None
        super().__init__(parameters, options)

    def register_leaf_module(self, module: object, name: str, state: State) -> None:
        """Observe the parameters of a layer that are trained."""
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
        """Take what a step changed in a layer."""
        raise NotImplementedError

    def let_go(self) -> None:
        """Let go of the layers, too."""
        super().let_go()
        self._observed.clear()
        self.state = None


class ParameterUpdateGeometry(UpdateLens):
    """The norm of what a step changes in parameters, and how its direction changes.

    ``weight update norm`` is the L2 norm of the difference, ``weight update correlation`` the
    cosine between those of consecutive steps; the first, and the first after an inactive stretch,
    has none.

    Args:
        optimizer: The optimizer; without one, call `inspect_update()` after each step.
        parameters: The names of parameters to observe; None for all that modules have.
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
        """Make a chart of the norm, and one of the correlation."""
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
        """Compare with nothing from before."""
        self._geometries.forget()

    def detach_from_module(self) -> None:
        """Let go of the updates, too."""
        super().detach_from_module()
        self.skip_stretch()


class UpdateRatio(UpdateLens):
    """The norm of what a step changes in a layer, over the norm of its parameters before.

    Where training goes well it is mostly about 1e-3 a step; see Karpathy's notes for Stanford's
    CS231n, "Ratio of weights:updates". A layer whose parameters are all zero has an infinite one.

    Args:
        optimizer: The optimizer; without one, call `inspect_update()` after each step.
        parameters: The names of parameters to count in; None for all that the layer has.
        options: See `options.LineOptions`; by default there is one range.

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
        """Make none: a layer's parameters count together."""
        return {}

    def expect(self, layer: str, names: Iterable[str], state: State) -> None:
        """Add a layer."""
        self.ratio.expect(layer)

    def look(self, layer: str, changes: list[Change], state: State) -> None:
        """Put the ratio of a layer."""
        known = [change for change in changes if change.size is not None]
        if known:
            norms, sizes = [one.norm for one in known], [one.size for one in known]
            self.ratio.put_combined(layer, norms + sizes, norm_quotient)
