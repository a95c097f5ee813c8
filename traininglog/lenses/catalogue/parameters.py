"""Lenses on parameters and their gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Unpack

from traininglog.lenses.catalogue.geometry import Geometries
from traininglog.lenses.catalogue.outputs import put_activity, worst
from traininglog.lenses.lens import Lens
from traininglog.lenses.numbers.charts import Chart
from traininglog.lenses.numbers.state import State
from traininglog.lenses.numbers.statistics import quotient
from traininglog.lenses.options import (
    DirectionOptions,
    LayerOptions,
    LineOptions,
    ShareOptions,
    complete,
    drawn,
)

WEIGHT_AND_BIAS = ("weight", "bias")


class ParameterLens(Lens):
    """Base class of lenses on parameters, with the choice of parameters.

    Args:
        parameters: The names of parameters in their module, or None for all.
        options: The options of the lens. This class uses `options.LayerOptions`.

    """

    def __init__(self, parameters: Iterable[str] | None, options: LayerOptions) -> None:
        super().__init__(options["include"], options["exclude"])
        if isinstance(parameters, str):  # a single name
            parameters = [parameters]
        self.parameters = None if parameters is None else list(parameters)
        self._charts_of: dict[str, dict[str, Chart]] = {}
        for name in self.parameters or ():
            self.charts_of(name)

    def charts_of(self, name: str) -> dict[str, Chart]:
        """Return the charts for parameters of this name."""
        if name not in self._charts_of:
            self._charts_of[name] = self.make_charts(name)
        return self._charts_of[name]

    def make_charts(self, name: str) -> dict[str, Chart]:
        """Create the charts for parameters of this name."""
        raise NotImplementedError

    def expect(self, layer: str, names: Iterable[str], state: State) -> None:
        """Add a layer to the charts of its parameters."""
        for name in names:
            for chart in self.charts_of(name).values():
                chart.expect(layer)
                chart.bind(state)

    def wanted(self, names: Iterable[str]) -> list[str]:
        """Return the names that the lens observes."""
        return [name for name in names if self.parameters is None or name in self.parameters]

    def register_non_leaf_module(self, module: object, name: str, state: State) -> None:
        """Observe the own parameters of a module with children."""
        self.register_leaf_module(module, name, state)


class GradientLens(ParameterLens):
    """Base class of lenses on the gradients of parameters."""

    nothing = "none of its parameters of these names is trained, or they have other names"

    def register_leaf_module(self, module: object, name: str, state: State) -> None:
        """Gather the gradients of the trained parameters."""
        names = self.wanted(state.trainable(module, name))
        if names and self.chosen(module, name):
            self.expect(name, names, state)
            self.gather(state.parameter_gradient(module, name, names, self.looks(state)))

    def looks(self, state: State) -> Callable[[str, str, list[Any]], None]:
        """Return a callback for a layer, the name of a parameter, and its gradients."""
        raise NotImplementedError


class ParameterGradientGeometry(GradientLens):
    """The norm of the gradients of parameters, and the change of their direction.

    ``weight gradient norm`` is the L2 norm after a backward pass, ``weight gradient correlation``
    the cosine between the gradients of consecutive passes. The first pass, and the first after an
    inactive stretch, has no cosine. Frozen parameters, and those without a gradient, are left out.

    Args:
        parameters: The names of parameters to observe; None for all.
        options: See `options.DirectionOptions`.

    """

    def __init__(
        self,
        parameters: Iterable[str] | None = WEIGHT_AND_BIAS,
        **options: Unpack[DirectionOptions],
    ) -> None:
        known = complete(type(self), DirectionOptions, options, self.defaults)
        self._geometries = Geometries(self, "gradient", known, gradients=True)
        super().__init__(parameters, known)

    def make_charts(self, name: str) -> dict[str, Chart]:
        """Create a chart of the norm, and one of the correlation."""
        return self._geometries.charts(name)

    def looks(self, state: State) -> Callable[[str, str, list[Any]], None]:
        """Return a callback that puts norms and correlations."""
        geometries = self._geometries

        def look(layer: str, parameter: str, gradients: list[object]) -> None:
            geometries[parameter].look(layer, state, gradients)

        return look

    def skip_stretch(self) -> None:
        """Forget the previous gradients."""
        self._geometries.forget()

    def detach_from_module(self) -> None:
        """Also release the previous gradients."""
        super().detach_from_module()
        self.skip_stretch()


class ParameterGradientActivation(GradientLens):
    """The share of non-zero elements in a parameter's gradient, after each backward pass.

    ``weight gradient activation`` has this share per layer. ``weight gradient death`` is the share
    of the layer's units (the first axis) whose gradient is all zero. Both are NaN if the gradient
    has a NaN.

    Args:
        parameters: The names of parameters to observe; None for all.
        channel_last: Whether units are the last axis, as in the kernels of JAX and Keras.
        warning_plot: Whether to compute the ``gradient activation warning``: over all layers and
            parameters, the least activation and the greatest death.
        options: See `options.LineOptions`.

    """

    def __init__(
        self,
        parameters: Iterable[str] | None = WEIGHT_AND_BIAS,
        *,
        channel_last: bool = False,
        warning_plot: bool = False,
        **options: Unpack[LineOptions],
    ) -> None:
        known = complete(type(self), LineOptions, options, self.defaults)
        self._drawn = drawn(known) | {"gradients": True}
        self._axis = -1 if channel_last else 0
        super().__init__(parameters, known)
        self.warning: Chart | None = None
        if warning_plot:
            self.warning = self.chart(
                "gradient activation warning", kind="probability", big=True, computed=True
            )

    def make_charts(self, name: str) -> dict[str, Chart]:
        """Create a chart of the activation, and one of the death."""
        return {
            what: self.chart(f"{name} gradient {what}", kind="probability", **self._drawn)
            for what in ("activation", "death")
        }

    def looks(self, state: State) -> Callable[[str, str, list[Any]], None]:
        """Return a callback that puts both shares."""
        library, charts, axis = state.arrays, self._charts_of, self._axis
        if self.warning is not None:
            self.warning.expect("activation")
            self.warning.expect("death")

        def look(layer: str, parameter: str, gradients: list[object]) -> None:
            of = charts[parameter]
            seen = library.unit_activity(gradients, axis)
            put_activity(layer, seen, of["activation"], of["death"])

        return look

    def finalize_epoch(self) -> None:
        """Find the least activation and the greatest death."""
        super().finalize_epoch()
        if self.warning is not None:
            of = list(self._charts_of.values())
            self.warning.numbers = worst(
                [one["activation"] for one in of], [one["death"] for one in of]
            )


class TickParameterLens(ParameterLens):
    """Base class of lenses that look at the parameters at each tick."""

    nothing = "no layer has parameters of these names"

    def __init__(self, parameters: Iterable[str] | None, options: LayerOptions) -> None:
        self._layers: dict[str, Any] = {}
        self._state: State | None = None
        super().__init__(parameters, options)

    def register_leaf_module(self, module: object, name: str, state: State) -> None:
        """Remember the layer, whose parameters the lens reads at each tick."""
        if not self.chosen(module, name):
            return
        self.expect(name, self.wanted(state.parameters(module, name)), state)
        if not self._layers:
            self._state = state
            self.gather(state.per_tick(self.collect_data))
        self._layers[name] = module

    def found(self) -> list[tuple[str, str, list[Any]]]:
        """Return the current (layer, parameter, arrays) of all layers."""
        state = self._state
        if state is None:
            return []
        return [
            (layer, parameter, arrays)
            for layer, module in self._layers.items()
            for parameter, arrays in state.parameters(module, layer).items()
            if self.parameters is None or parameter in self.parameters
        ]

    def collect_data(self) -> None:
        """Process the current parameters."""
        state = self._state
        if state is not None:
            for layer, parameter, arrays in self.found():
                state.guarded(self.collect, layer, parameter, arrays, state)

    def collect(self, layer: str, parameter: str, arrays: list[object], state: State) -> None:
        """Process the parameters of one name in a layer."""
        raise NotImplementedError

    def let_go(self) -> None:
        """Also release the layers."""
        super().let_go()
        self._layers.clear()
        self._state = None


class ParameterNorm(TickParameterLens):
    """The L2 norm of parameters at each tick, and whenever `collect_data` is called.

    ``weight norm`` has it per layer, ``weight norm shares`` each layer's share of the sum.

    Args:
        parameters: The names of parameters to observe; None for all.
        options: See `options.ShareOptions`; the default is no ranges. Other statistics than the
            norm itself need additional calls of `collect_data`.

    """

    defaults: ClassVar[Mapping[str, Any]] = {"ranges": ()}

    def __init__(
        self,
        parameters: Iterable[str] | None = WEIGHT_AND_BIAS,
        **options: Unpack[ShareOptions],
    ) -> None:
        known = complete(type(self), ShareOptions, options, self.defaults)
        self._compared = known["comparison_line"]
        also = () if self._compared is None else (self._compared,)
        self._drawn = drawn(known) | {"log_scale": known["log_scale"], "also": also}
        self._by_size, self._comparison = known["normalize_by_size"], known["comparison_plot"]
        super().__init__(parameters, known)

    def make_charts(self, name: str) -> dict[str, Chart]:
        """Create a chart of the norm, and one of the shares."""
        charts = {"norm": self.chart(f"{name} norm", **self._drawn)}
        if self._comparison:
            charts["shares"] = self.chart(f"{name} norm shares", kind="relation", big=True)
        return charts

    def collect(self, layer: str, parameter: str, arrays: list[object], state: State) -> None:
        """Put the norm."""
        library = state.arrays
        self.expect(layer, [parameter], state)
        size = max(1, sum(map(library.count, arrays))) if self._by_size else 1
        self.charts_of(parameter)["norm"].put(layer, library.norm(arrays), size**-0.5)

    def finalize_epoch(self) -> None:
        """Compute the shares."""
        super().finalize_epoch()
        for charts in self._charts_of.values():
            if "shares" in charts:
                norm = charts["norm"]
                charts["shares"].share(norm, self._compared or norm.attributes.line)


class ParameterCondition(TickParameterLens):
    """The condition number of weights at each tick: greatest divided by least singular value.

    A weight is reshaped to a matrix: its first axis against all others. Vectors are left out.

    Args:
        parameters: The names of parameters to observe; None for all.
        exact_up_to: Up to this length of the shorter side, all singular values are computed.
            Beyond it they are estimated (`operations.golub_kahan`), and the condition is a lower
            bound.
        options: See `options.LayerOptions`.

    """

    def __init__(
        self,
        parameters: Iterable[str] | None = ("weight",),
        *,
        exact_up_to: int = 256,
        **options: Unpack[LayerOptions],
    ) -> None:
        self._exact_up_to = exact_up_to
        super().__init__(parameters, complete(type(self), LayerOptions, options, self.defaults))

    def make_charts(self, name: str) -> dict[str, Chart]:
        """Create one chart."""
        return {"condition": self.chart(f"{name} condition", log_scale=True)}

    def expect(self, layer: str, names: Iterable[str], state: State) -> None:
        """Do nothing: `collect` adds a layer with its first matrix."""

    def collect(self, layer: str, parameter: str, arrays: list[Any], state: State) -> None:
        """Put the condition numbers."""
        for array in arrays:
            if len(array.shape) < 2 or 0 in array.shape:
                continue
            values = state.arrays.extremes(array, self._exact_up_to)
            chart = self.charts_of(parameter)["condition"]
            chart.bind(state)
            chart.put_combined(layer, list(values), quotient)
