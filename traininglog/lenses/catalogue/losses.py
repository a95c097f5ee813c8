"""The loss and the metrics, which a program pushes or a loss module computes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from traininglog.lenses.choices import listed, tell
from traininglog.lenses.lens import AbstractVisualizer, Lens
from traininglog.lenses.numbers.charts import Chart
from traininglog.lenses.numbers.state import ExplicitCall, State

TRAIN, VALIDATION = "train", "validation"


def check_scalar(what: str, number: object) -> None:
    """Raise `ValueError` for an array not of one number, `TypeError` for a text or no number."""
    shape = tuple(getattr(number, "shape", ()))
    if any(length != 1 for length in shape):
        raise ValueError(f"{what} is one number, not of shape {shape}: use .mean() or .sum()")
    if isinstance(number, (str, bytes)) or not hasattr(number, "__float__"):
        raise TypeError(f"{what} is a number, not a {type(number).__name__}")


class LossMetrics(Lens):
    """The loss in training and in validation, and metrics.

    The program passes them to `push_loss` and `push_metric`, or a module computes the loss. A
    metric or loss without a value since the last tick is not reported.

    Args:
        metrics: The metrics to include, in the order of drawing; by default all.
        loss_fn: A module whose output is the loss, for example ``nn.CrossEntropyLoss()``.
        evaluation_from_grad: If True, a loss of `loss_fn` is of validation if autograd records no
            graph. If False, it is of validation if `loss_fn` is in ``eval()`` mode.
        separate_loss_and_metrics: Whether metrics have their own chart.
        running: Whether to keep only running moments. If False, all values are kept until the
            tick, for true quantiles.
        loss_line, metrics_line: The statistic that is drawn as a line; see `statistics.POINTS`.
        loss_ranges, metrics_ranges: The ranges around the line; see `statistics.RANGES`.

    """

    def __init__(
        self,
        metrics: Iterable[str] | None = None,
        *,
        loss_fn: object = None,
        evaluation_from_grad: bool = True,
        separate_loss_and_metrics: bool = True,
        running: bool = True,
        loss_line: str | Sequence[str] = "mean",
        loss_ranges: Sequence[str] = ("std",),
        metrics_line: str | Sequence[str] = "mean",
        metrics_ranges: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if isinstance(metrics, str):
            raise ValueError(f"metrics is a list of names: metrics=[{metrics!r}]")
        self._metrics = None if metrics is None else list(metrics)
        self._came: set[str] = set()  # the names of pushed metrics
        self._told = False  # whether a warning told of a missing metric
        self._loss_fn = loss_fn
        self._from_grad = evaluation_from_grad
        self.loss = self.chart(
            "loss", running=running, big=True, line=loss_line, ranges=loss_ranges
        )
        self.metrics: Chart = self.loss
        if separate_loss_and_metrics:
            self.metrics = self.chart(
                "metrics", running=running, big=True, line=metrics_line, ranges=metrics_ranges
            )

    def register_foreign_preprocessor(self, preprocessor: object, state: State) -> None:
        """Listen to the pushes, and observe the loss module."""
        super().register_foreign_preprocessor(preprocessor, state)
        if not isinstance(preprocessor, ExplicitCall):
            return
        preprocessor.listen(self._pushed)
        self.loss.expect(TRAIN)
        self.loss.expect(VALIDATION)
        for name in self._metrics or ():
            self.metrics.expect(name)
        if self._loss_fn is not None:

            def computed(layer: str, loss: object, training: bool) -> None:
                _ = layer
                trained = state.grad_enabled() if self._from_grad else training
                self._loss(loss, train=trained)

            self.gather(state.forward(self._loss_fn, "loss", computed))

    def register_leaf_module(self, module: object, name: str, state: State) -> None:
        """Ignore the modules of the network."""

    def introduce_tags(self, visualizer: AbstractVisualizer) -> None:
        """Register the tags; that of metrics only if there are metrics."""
        for chart in self.charts:
            if chart is self.loss or chart.attributes.layers:
                visualizer.register_tag(chart.tag, chart.attributes)

    def _pushed(self, kind: str, name: str, number: object) -> None:
        if kind == "loss":
            self._loss(number, train=name == TRAIN)
        elif self._metrics is None or name in self._metrics:
            self.metrics.put(name, number)
        if kind == "metric" and self._metrics is not None:
            self._came.add(name)

    def finalize_epoch(self) -> None:
        """Finalize, and warn if a wanted metric is missing while an unwanted one is pushed."""
        super().finalize_epoch()
        wanted = set(self._metrics or ())
        missed, others = wanted - self._came, self._came - wanted
        if missed and others and not self._told:
            tell(
                f"LossMetrics(metrics=...) waits for {listed(sorted(missed))}, and what is pushed "
                f"is {listed(sorted(others))}: are they the same by another name?"
            )
            self._told = True

    def _loss(self, loss: object, *, train: bool) -> None:
        check_scalar("a loss", loss)
        self.loss.put(TRAIN if train else VALIDATION, loss)
