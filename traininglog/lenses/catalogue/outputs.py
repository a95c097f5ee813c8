"""Lenses on the outputs of modules, and on the gradients of outputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

import numpy as np

from traininglog.lenses.catalogue.geometry import Geometry
from traininglog.lenses.lens import Lens
from traininglog.lenses.numbers.charts import Chart
from traininglog.lenses.numbers.operations import Activity
from traininglog.lenses.numbers.state import State
from traininglog.lenses.options import (
    DirectionOptions,
    PassLineOptions,
    PassOptions,
    PassShareOptions,
    complete,
    drawn,
)


class OutputActivation(Lens):
    """The share of active elements in outputs; an element is active above a magnitude of 1e-8.

    ``activation`` is the share of active elements in a batch, ``death`` the share of channels
    without an active element in the batch. Both are NaN if the output has a NaN. ``activation
    warning`` has the least activation and the greatest death over all layers.

    Args:
        activation: Whether to observe modules that are activation functions.
        dropout: Whether to observe dropout modules.
        channel_last: Whether channels are the last axis, not the second.
        warning_plot: Whether to compute the ``activation warning``.
        options: See `options.LineOptions` and `options.PassOptions`. `include` replaces the default
            choice of modules.

    """

    nothing = (
        "it has no activation function and no dropout that is a module (functional.relu is none): "
        "name layers, include=['fc1']"
    )

    def __init__(
        self,
        *,
        activation: bool = True,
        dropout: bool = True,
        channel_last: bool = False,
        warning_plot: bool = True,
        **options: Unpack[PassLineOptions],
    ) -> None:
        known = complete(type(self), PassLineOptions, options, self.defaults)
        super().__init__(known["include"], known["exclude"])
        self._roles = {"activation": activation, "dropout": dropout, "observed": True}
        self._when = When(known)
        self._axis = -1 if channel_last else 1
        self.activation = self.chart("activation", kind="probability", **drawn(known))
        self.death = self.chart("death", kind="probability", **drawn(known))
        self.warning: Chart | None = None
        if warning_plot:
            self.warning = self.chart(
                "activation warning", kind="probability", big=True, computed=True
            )
        self._state: State | None = None

    def register_non_leaf_module(self, module: object, name: str, state: State) -> None:
        """Gather the outputs of a module that `include` names."""
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
        """Also release the inspector's state."""
        super().let_go()
        self._state = None


class When:
    """Which forward passes count, by `options.PassOptions`."""

    def __init__(self, options: PassOptions) -> None:
        self._record_eval = options["record_eval"]
        self._from_grad = options["evaluation_from_grad"]

    def counts(self, state: State, *, training: bool) -> bool:
        """Return whether the current pass counts."""
        return self._record_eval or (state.grad_enabled() if self._from_grad else training)


def worst(activations: Iterable[Chart], deaths: Iterable[Chart]) -> dict[str, dict[str, float]]:
    """Return the least activation and the greatest death of all layers; NaN if one is NaN."""
    found = {}
    for name, charts, choose in (("activation", activations, np.min), ("death", deaths, np.max)):
        told = [
            layer[chart.attributes.line] for chart in charts for layer in chart.numbers.values()
        ]
        if told:
            found[name] = {"mean": float(choose(told))}
    return found


def put_activity(layer: str, seen: Activity, activation: Chart, death: Chart) -> None:
    """Put the share of active elements, and the share of units without an active element."""
    counts = seen.counts
    activation.put_total(layer, counts, 1 / max(1, seen.elements))
    death.put_total(layer, counts, -1 / max(1, counts.shape[0]), 1.0, nonzero=True)


class OutputNorm(Lens):
    """The mean over the batch of the L2 norms of the samples of an output.

    ``output norm`` has it per layer, ``output norm shares`` each layer's share of the sum.

    Args:
        activation: Whether to observe activation functions, too, beside all other layers.
        options: See `options.ShareOptions` and `options.PassOptions`. `normalize_by_size` uses the
            size of a sample.

    """

    def __init__(self, *, activation: bool = True, **options: Unpack[PassShareOptions]) -> None:
        known = complete(type(self), PassShareOptions, options, self.defaults)
        super().__init__(known["include"], known["exclude"])
        self._by_size, self._activation = known["normalize_by_size"], activation
        self._when = When(known)
        compared = known["comparison_line"]
        self.norm = self.chart(
            "output norm", log_scale=known["log_scale"],
            also=() if compared is None else (compared,), **drawn(known),
        )  # fmt: skip
        self._compared = compared or self.norm.attributes.line
        self.shares = None
        if known["comparison_plot"]:
            self.shares = self.chart("output norm shares", kind="relation", big=True)

    def register_leaf_module(self, module: object, name: str, state: State) -> None:
        """Gather the outputs of every leaf."""
        role = state.role(module)
        default = role != "part" and (self._activation or role != "activation")
        if self.chosen(module, name, default=default):
            self._gather(module, name, state)

    def register_non_leaf_module(self, module: object, name: str, state: State) -> None:
        """Gather outputs of modules that compute themselves (attention), or are in `include`."""
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
        """Compute the shares."""
        super().finalize_epoch()
        if self.shares is not None:
            self.shares.share(self.norm, self._compared)


class OutputGradientGeometry(Lens):
    """The norm of the gradient of the loss with respect to outputs, and its change of direction.

    ``output gradient norm`` is the L2 norm over the whole batch. ``output gradient correlation`` is
    the cosine between the mean gradients of consecutive batches. As these are means over the batch,
    the sizes of the batches may differ. The first batch, and the first after an inactive stretch,
    has no cosine.

    Args:
        skip_activation: Whether to ignore activation functions and dropouts.
        options: See `options.DirectionOptions`.

    """

    def __init__(
        self,
        *,
        skip_activation: bool = True,
        **options: Unpack[DirectionOptions],
    ) -> None:
        known = complete(type(self), DirectionOptions, options, self.defaults)
        super().__init__(known["include"], known["exclude"])
        self._skip_activation = skip_activation
        self.geometry = Geometry.of(self, "output gradient", known, gradients=True)

    def register_leaf_module(self, module: object, name: str, state: State) -> None:
        """Gather the gradients of outputs."""
        role = state.role(module)
        passing = role in ("activation", "dropout") and self._skip_activation
        if self.chosen(module, name, default=not passing and role != "part"):
            self._gather(module, name, state)

    def register_non_leaf_module(self, module: object, name: str, state: State) -> None:
        """Gather the gradients of modules that compute themselves, or are in `include`."""
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
        """Forget the previous gradients."""
        self.geometry.previous.clear()

    def detach_from_module(self) -> None:
        """Also release the previous gradients."""
        super().detach_from_module()
        self.geometry.previous.clear()
