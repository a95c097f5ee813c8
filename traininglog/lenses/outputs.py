"""Lenses on what modules give, and on the gradients of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from traininglog.lenses.arrays import Activity
from traininglog.lenses.charts import Chart
from traininglog.lenses.geometry import Geometry
from traininglog.lenses.lens import Lens
from traininglog.lenses.state import State


class OutputActivation(Lens):
    """How much of an output is active: of a magnitude above 1e-8. With a NaN in it, NaN.

    ``activation`` is the share of active elements in a batch, ``death`` the share of channels of
    which no element is active in the batch. ``activation warning`` has, over all layers, the least
    activation and the greatest death.

    Args:
        record_eval: Whether evaluation counts, too.
        evaluation_from_grad: Evaluation is where no graph is recorded; with False, where the module
            is in ``eval()`` mode.
        activation: Whether modules that are activation functions are observed.
        dropout: Whether dropout modules are observed.
        include: Names of layers, or classes, to observe instead.
        exclude: Those to leave out in any case.
        channel_last: Whether channels are the last axis, not the second.
        warning_plot: Whether to tell the ``activation warning``.
        running, line, ranges: As for `OutputNorm`.

    """

    nothing = (
        "it has no activation function and no dropout that is a module (functional.relu is none): "
        "name layers, include=['fc1']"
    )

    def __init__(
        self,
        *,
        record_eval: bool = False,
        evaluation_from_grad: bool = False,
        activation: bool = True,
        dropout: bool = True,
        include: Iterable[object] = (),
        exclude: Iterable[object] = (),
        channel_last: bool = False,
        warning_plot: bool = True,
        running: bool = True,
        line: str | Sequence[str] = "mean",
        ranges: Sequence[str] = ("std", "min-max"),
    ) -> None:
        super().__init__(include, exclude)
        self._roles = {"activation": activation, "dropout": dropout, "observed": True}
        self._when = When(record_eval, evaluation_from_grad)
        self._axis = -1 if channel_last else 1
        drawn: dict[str, Any] = {"line": line, "ranges": ranges, "running": running}
        self.activation = self.chart("activation", kind="probability", **drawn)
        self.death = self.chart("death", kind="probability", **drawn)
        self.warning: Chart | None = None
        if warning_plot:
            self.warning = self.chart(
                "activation warning", kind="probability", big=True, computed=True
            )
        self._state: State | None = None

    def register_non_leaf_module(self, module: object, name: str, state: State) -> None:
        """Gather the outputs of a module that was named."""
        self.register_leaf_module(module, name, state)

    def register_leaf_module(self, module: object, name: str, state: State) -> None:
        """Gather the outputs of activation functions and dropouts."""
        self._state = state
        if self.chosen(module, name, default=self._roles.get(state.role(module), False)):
            self.activation.expect(name)
            self.death.expect(name)
            if self.warning is not None:
                self.warning.expect("activation")
                self.warning.expect("death")
            self.gather(state.forward(module, name, self._look))

    def _look(self, layer: str, output: object, training: bool) -> None:
        state = self._state
        assert state is not None  # noqa: S101 - registered before it is called
        if self._when.counts(state, training=training):
            put_activity(
                layer, state.arrays.activity(output, self._axis), self.activation, self.death
            )

    def finalize_epoch(self) -> None:
        """Find the least activation and the greatest death."""
        super().finalize_epoch()
        if self.warning is not None:
            self.warning.numbers = worst([self.activation], [self.death])

    def let_go(self) -> None:
        """Let go of the inspector, too."""
        super().let_go()
        self._state = None


class When:
    """Which forward passes count.

    Args:
        record_eval: Whether those in evaluation do, too.
        from_grad: Whether evaluation is where no graph is recorded; else it is where the module is
            in ``eval()`` mode.

    """

    def __init__(self, record_eval: bool, from_grad: bool) -> None:
        self._record_eval, self._from_grad = record_eval, from_grad

    def counts(self, state: State, *, training: bool) -> bool:
        """Tell whether a pass counts that runs now."""
        return self._record_eval or (state.grad_enabled() if self._from_grad else training)


def worst(activations: Iterable[Chart], deaths: Iterable[Chart]) -> dict[str, dict[str, float]]:
    """Return the least activation and the greatest death of all layers; NaN where one is NaN."""
    found = {}
    for name, charts, choose in (("activation", activations, np.min), ("death", deaths, np.max)):
        told = [
            layer[chart.attributes.line] for chart in charts for layer in chart.numbers.values()
        ]
        if told:
            found[name] = {"mean": float(choose(told))}
    return found


def put_activity(layer: str, seen: Activity, activation: Chart, death: Chart) -> None:
    """Put the share of elements that are active, and that of units of which none is."""
    counts = seen.counts
    activation.put_total(layer, counts, 1 / max(1, seen.elements))
    death.put_total(layer, counts, -1 / max(1, counts.shape[0]), 1.0, nonzero=True)


class OutputNorm(Lens):
    """The L2 norm of outputs: of each sample, and of these the mean over the batch.

    ``output norm`` has it per layer, ``output norm shares`` each layer's share of the sum.

    Args:
        normalize_by_size: Whether to take the root mean square of a sample instead.
        record_eval: Whether outputs in evaluation count, too.
        evaluation_from_grad: Evaluation is where no graph is recorded; with False, where the module
            is in ``eval()`` mode.
        activation: Whether activation functions are observed, beside all other layers.
        comparison_plot: Whether to tell the shares.
        comparison_line: The statistic that shares are of; by default the (first) line.
        log_scale: Whether the axis is logarithmic.
        include, exclude: Names of layers, or classes, to observe only, or to leave out.
        running: Without it, all values are kept until the tick, for true quantiles.
        line: The statistic over the tick that is drawn as a line, or several of them:
            ``line=["mean", "max"]``; see `statistics.POINTS`.
        ranges: The ranges around it; see `statistics.RANGES`.

    """

    def __init__(
        self,
        *,
        normalize_by_size: bool = False,
        record_eval: bool = False,
        evaluation_from_grad: bool = False,
        activation: bool = True,
        comparison_plot: bool = True,
        comparison_line: str | None = None,
        log_scale: bool = False,
        include: Iterable[object] = (),
        exclude: Iterable[object] = (),
        running: bool = True,
        line: str | Sequence[str] = "mean",
        ranges: Sequence[str] = ("std", "min-max"),
    ) -> None:
        super().__init__(include, exclude)
        self._by_size, self._activation = normalize_by_size, activation
        self._when = When(record_eval, evaluation_from_grad)
        self.norm = self.chart(
            "output norm", running=running, line=line, ranges=ranges, log_scale=log_scale,
            also=() if comparison_line is None else (comparison_line,),
        )  # fmt: skip
        self._compared = comparison_line or self.norm.attributes.line
        self.shares = None
        if comparison_plot:
            self.shares = self.chart("output norm shares", kind="relation", big=True)

    def register_leaf_module(self, module: object, name: str, state: State) -> None:
        """Gather the outputs of every leaf."""
        role = state.role(module)
        default = role != "part" and (self._activation or role != "activation")
        if self.chosen(module, name, default=default):
            self._gather(module, name, state)

    def register_non_leaf_module(self, module: object, name: str, state: State) -> None:
        """Gather the outputs of what computes by itself, as attention does, or was named."""
        if self.chosen(module, name, default=state.role(module) == "whole"):
            self._gather(module, name, state)

    def _gather(self, module: object, name: str, state: State) -> None:
        library, by_size, counts = state.arrays, self._by_size, self._when.counts
        put_total = self.norm.put_total

        def look(layer: str, output: object, training: bool) -> None:
            if counts(state, training=training):
                norms = library.sample_norms(output)
                times = 1 / norms.shape[0]
                if by_size:
                    times *= (library.count(output) / norms.shape[0]) ** -0.5
                put_total(layer, norms, times)

        self.norm.expect(name)
        if self.shares is not None:
            self.shares.expect(name)
        self.gather(state.forward(module, name, look))

    def finalize_epoch(self) -> None:
        """Work out the shares."""
        super().finalize_epoch()
        if self.shares is not None:
            self.shares.share(self.norm, self._compared)


class OutputGradientGeometry(Lens):
    """The norm of the loss's gradient by a layer's output, and how its direction changes.

    ``output gradient norm`` is the L2 norm over the whole batch. ``output gradient correlation`` is
    the cosine between the gradients of consecutive batches, each its mean over the batch: batches
    of any two sizes compare. The first batch, and the first after an inactive stretch, has none.

    Args:
        normalize_by_size: Whether to divide the norm by the root of the number of elements.
        correlation: Whether to tell the correlation.
        skip_activation: Whether to leave out activation functions and dropouts.
        log_scale: Whether the axis of the norm is logarithmic.
        include, exclude, running, line, ranges: As for `OutputNorm`.

    """

    def __init__(
        self,
        *,
        normalize_by_size: bool = False,
        correlation: bool = True,
        skip_activation: bool = True,
        log_scale: bool = False,
        include: Iterable[object] = (),
        exclude: Iterable[object] = (),
        running: bool = True,
        line: str | Sequence[str] = "mean",
        ranges: Sequence[str] = ("std", "min-max"),
    ) -> None:
        super().__init__(include, exclude)
        self._skip_activation = skip_activation
        drawn: dict[str, Any] = {
            "line": line, "ranges": ranges, "running": running, "gradients": True,
        }  # fmt: skip
        self.geometry = Geometry(
            self.chart("output gradient norm", log_scale=log_scale, **drawn),
            self.chart("output gradient correlation", limits=(-1, 1), **drawn)
            if correlation
            else None,
            normalize_by_size=normalize_by_size,
        )

    def register_leaf_module(self, module: object, name: str, state: State) -> None:
        """Gather the gradients of outputs."""
        role = state.role(module)
        passing = role in ("activation", "dropout") and self._skip_activation
        if self.chosen(module, name, default=not passing and role != "part"):
            self._gather(module, name, state)

    def register_non_leaf_module(self, module: object, name: str, state: State) -> None:
        """Gather the gradients of what computes by itself, as attention does, or was named."""
        if self.chosen(module, name, default=state.role(module) == "whole"):
            self._gather(module, name, state)

    def _gather(self, module: object, name: str, state: State) -> None:
        geometry = self.geometry
        geometry.expect(name)
        batch_mean = state.arrays.batch_mean

        def look(layer: str, gradient: object) -> None:
            geometry.look(layer, state, [gradient], direction=lambda: [batch_mean(gradient)])

        self.gather(state.backward(module, name, look))

    def skip_stretch(self) -> None:
        """Compare with nothing from before."""
        self.geometry.previous.clear()

    def detach_from_module(self) -> None:
        """Let go of the gradients, too."""
        super().detach_from_module()
        self.geometry.previous.clear()
