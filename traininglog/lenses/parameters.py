"""Lenses on parameters and their gradients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from traininglog.lenses.charts import Chart
from traininglog.lenses.geometry import Geometries
from traininglog.lenses.lens import Lens
from traininglog.lenses.outputs import put_activity
from traininglog.lenses.state import State
from traininglog.lenses.statistics import quotient

WEIGHT_AND_BIAS = ("weight", "bias")


class ParameterLens(Lens):
    """What lenses on parameters share: which they are.

    Args:
        parameters: Their names in their module, or None for all.
        include, exclude: Names of layers, or classes, to observe only, or to leave out.

    """

    def __init__(
        self, parameters: Iterable[str] | None, include: Iterable[Any], exclude: Iterable[Any]
    ) -> None:
        super().__init__(include, exclude)
        if isinstance(parameters, str):  # one name is no list of its letters
            parameters = [parameters]
        self.parameters = None if parameters is None else list(parameters)
        self._charts_of: dict[str, dict[str, Chart]] = {}
        for name in self.parameters or ():
            self.charts_of(name)

    def charts_of(self, name: str) -> dict[str, Chart]:
        """Return the charts for parameters of a name."""
        if name not in self._charts_of:
            self._charts_of[name] = self.make_charts(name)
        return self._charts_of[name]

    def make_charts(self, name: str) -> dict[str, Chart]:
        """Make the charts for parameters of a name."""
        raise NotImplementedError

    def expect(self, layer: str, names: Iterable[str], state: State) -> None:
        """Add a layer to the charts of its parameters."""
        for name in names:
            for chart in self.charts_of(name).values():
                chart.expect(layer)
                chart.pool = state.pool

    def wanted(self, names: Iterable[str]) -> list[str]:
        """Return those of some names that are to be observed."""
        return [name for name in names if self.parameters is None or name in self.parameters]

    def register_non_leaf_module(self, module: Any, name: str, state: State) -> None:
        """Observe the parameters that a module with children has itself."""
        self.register_leaf_module(module, name, state)


class ParameterGradientGeometry(ParameterLens):
    """The norm of the gradient of parameters, and how its direction changes.

    ``weight gradient norm`` is its L2 norm after a backward pass, ``weight gradient correlation``
    the cosine between those of consecutive passes; the first, and the first after an inactive
    stretch, has none. A frozen parameter, or one that gets no gradient, is left out.

    Args:
        parameters: The names of parameters to observe; None for all that modules have.
        normalize_by_size: Whether to divide the norm by the root of the number of elements.
        correlation: Whether to tell the correlation, which needs a copy of all gradients.
        log_scale: Whether the axis of the norm is logarithmic.
        include, exclude: Names of layers, or classes, to observe only, or to leave out.
        running, line, ranges: As for `OutputNorm`.

    """

    def __init__(
        self,
        parameters: Iterable[str] | None = WEIGHT_AND_BIAS,
        *,
        normalize_by_size: bool = False,
        correlation: bool = True,
        log_scale: bool = False,
        include: Iterable[Any] = (),
        exclude: Iterable[Any] = (),
        running: bool = True,
        line: str = "mean",
        ranges: Sequence[str] = ("std", "min-max"),
    ) -> None:
        self._geometries = Geometries(
            self, "gradient", normalize_by_size=normalize_by_size, correlation=correlation,
            log_scale=log_scale, running=running, line=line, ranges=ranges,
        )  # fmt: skip
        super().__init__(parameters, include, exclude)

    def make_charts(self, name: str) -> dict[str, Chart]:
        """Make a chart of the norm, and one of the correlation."""
        return self._geometries.charts(name)

    def register_leaf_module(self, module: Any, name: str, state: State) -> None:
        """Gather the gradients of the parameters that are trained."""
        names = self.wanted(state.trainable(module, name))
        if not names or not self.chosen(module, name):
            return
        self.expect(name, names, state)
        geometries = self._geometries

        def look(layer: str, parameter: str, gradients: list[Any]) -> None:
            geometries[parameter].look(layer, state, gradients)

        self.gather(state.parameter_gradient(module, name, names, look))

    def skip_stretch(self) -> None:
        """Compare with nothing from before."""
        self._geometries.forget()

    def detach_from_module(self) -> None:
        """Let go of the gradients, too."""
        super().detach_from_module()
        self.skip_stretch()


class ParameterGradientActivation(ParameterLens):
    """The share of a parameter's gradient that is not zero, after each backward pass.

    ``weight gradient activation``, per layer; ``weight gradient death`` is the share of the first
    axis (a layer's units) whose gradient is all zero.

    Args:
        parameters: The names of parameters to observe; None for all that modules have.
        include, exclude, running, line, ranges: As for `ParameterGradientGeometry`.

    """

    def __init__(
        self,
        parameters: Iterable[str] | None = WEIGHT_AND_BIAS,
        *,
        include: Iterable[Any] = (),
        exclude: Iterable[Any] = (),
        running: bool = True,
        line: str = "mean",
        ranges: Sequence[str] = ("std", "min-max"),
    ) -> None:
        self._drawn: dict[str, Any] = {"running": running, "line": line, "ranges": ranges}
        super().__init__(parameters, include, exclude)

    def make_charts(self, name: str) -> dict[str, Chart]:
        """Make a chart of the activation, and one of the death."""
        return {
            what: self.chart(f"{name} gradient {what}", kind="probability", **self._drawn)
            for what in ("activation", "death")
        }

    def register_leaf_module(self, module: Any, name: str, state: State) -> None:
        """Gather the gradients of the parameters that are trained."""
        names = self.wanted(state.trainable(module, name))
        if not names or not self.chosen(module, name):
            return
        self.expect(name, names, state)
        library, charts = state.arrays, self._charts_of

        def look(layer: str, parameter: str, gradients: list[Any]) -> None:
            of = charts[parameter]
            seen = library.unit_activity(gradients)
            put_activity(layer, seen, of["activation"], of["death"])

        self.gather(state.parameter_gradient(module, name, names, look))


class TickParameterLens(ParameterLens):
    """A lens that looks at parameters as they are at the tick."""

    def __init__(
        self, parameters: Iterable[str] | None, include: Iterable[Any], exclude: Iterable[Any]
    ) -> None:
        self._layers: dict[str, Any] = {}
        self._state: State | None = None
        super().__init__(parameters, include, exclude)

    def register_leaf_module(self, module: Any, name: str, state: State) -> None:
        """Remember the layer, and look at its parameters at each tick."""
        if not self.chosen(module, name):
            return
        self.expect(name, self.wanted(state.parameters(module, name)), state)
        if not self._layers:
            self._state = state
            self.gather(state.per_tick(self.collect_data))
        self._layers[name] = module

    def found(self) -> list[tuple[str, str, list[Any]]]:
        """Return (layer, parameter, arrays), as they are now."""
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
        """Look at the parameters now."""
        if self._state is not None:
            self.collect(self._state)

    def collect(self, state: State) -> None:
        """Look at the parameters now."""
        raise NotImplementedError

    def detach_from_module(self) -> None:
        """Let go of the layers, too."""
        super().detach_from_module()
        self._layers.clear()
        self._state = None


class ParameterNorm(TickParameterLens):
    """The L2 norm of parameters at each tick, and whenever `collect_data` is called.

    ``weight norm`` has it per layer, ``weight norm shares`` each layer's share of the sum.

    Args:
        parameters: The names of parameters to observe; None for all that modules have.
        normalize_by_size: Whether to take the root mean square instead.
        comparison_plot: Whether to tell the shares.
        log_scale: Whether the axis is logarithmic.
        include, exclude: Names of layers, or classes, to observe only, or to leave out.
        running, line, ranges: As for `OutputNorm`; for those who call `collect_data`.

    """

    def __init__(
        self,
        parameters: Iterable[str] | None = WEIGHT_AND_BIAS,
        *,
        normalize_by_size: bool = False,
        comparison_plot: bool = True,
        log_scale: bool = False,
        include: Iterable[Any] = (),
        exclude: Iterable[Any] = (),
        running: bool = True,
        line: str = "mean",
        ranges: Sequence[str] = (),
    ) -> None:
        self._drawn: dict[str, Any] = {"running": running, "line": line, "ranges": ranges}
        self._by_size, self._comparison, self._log_scale = (
            normalize_by_size,
            comparison_plot,
            log_scale,
        )
        super().__init__(parameters, include, exclude)

    def make_charts(self, name: str) -> dict[str, Chart]:
        """Make a chart of the norm, and one of the shares."""
        charts = {"norm": self.chart(f"{name} norm", log_scale=self._log_scale, **self._drawn)}
        if self._comparison:
            charts["shares"] = self.chart(f"{name} norm shares", kind="relation", big=True)
        return charts

    def collect(self, state: State) -> None:
        """Put the norms."""
        library = state.arrays
        for layer, parameter, arrays in self.found():
            self.expect(layer, [parameter], state)
            size = max(1, sum(map(library.count, arrays))) if self._by_size else 1
            self.charts_of(parameter)["norm"].put(layer, library.norm(arrays), size**-0.5)

    def finalize_epoch(self) -> None:
        """Work out the shares."""
        super().finalize_epoch()
        for charts in self._charts_of.values():
            if "shares" in charts:
                charts["shares"].share(charts["norm"], self._drawn["line"])


class ParameterCondition(TickParameterLens):
    """The condition number of weights at each tick: greatest singular value over the least.

    A weight is taken as a matrix, its first axis against all others; what has one axis is left out.

    Args:
        parameters: The names of parameters to observe; None for all that modules have.
        exact_up_to: The longest shorter side of which all singular values are worked out. Beyond,
            they are estimated (`arrays.golub_kahan`): the condition is then a lower bound.
        include, exclude: Names of layers, or classes, to observe only, or to leave out.

    """

    def __init__(
        self,
        parameters: Iterable[str] | None = ("weight",),
        *,
        exact_up_to: int = 256,
        include: Iterable[Any] = (),
        exclude: Iterable[Any] = (),
    ) -> None:
        self._exact_up_to = exact_up_to
        super().__init__(parameters, include, exclude)

    def make_charts(self, name: str) -> dict[str, Chart]:
        """Make one chart."""
        return {"condition": self.chart(f"{name} condition", log_scale=True)}

    def expect(self, layer: str, names: Iterable[str], state: State) -> None:
        """Add no layer before a matrix is found."""

    def collect(self, state: State) -> None:
        """Put the condition numbers."""
        for layer, parameter, arrays in self.found():
            for array in arrays:
                if len(array.shape) < 2 or 0 in array.shape:
                    continue
                values = state.arrays.extremes(array, self._exact_up_to)
                chart = self.charts_of(parameter)["condition"]
                chart.pool = state.pool
                chart.put_combined(layer, list(values), quotient)
