"""Norms of arrays, and how their direction changes from one look to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from traininglog.lenses.lens import Lens
from traininglog.lenses.numbers.charts import Chart
from traininglog.lenses.numbers.state import State
from traininglog.lenses.numbers.statistics import quotient
from traininglog.lenses.options import DirectionOptions, drawn


class Geometries:
    """A `Geometry` for each name of parameters, with charts such as ``weight update norm``.

    Args:
        lens: The lens whose charts they are.
        what: What is looked at: ``"gradient"`` or ``"update"``.
        options: Those of the lens.
        gradients: Whether it is gradients; see `Chart`.

    """

    def __init__(
        self, lens: Lens, what: str, options: DirectionOptions, *, gradients: bool = False
    ) -> None:
        self._lens, self._what, self._options = lens, what, options
        self._gradients = gradients
        self._of: dict[str, Geometry] = {}

    def __getitem__(self, name: str) -> Geometry:
        return self._of[name]

    def charts(self, name: str) -> dict[str, Chart]:
        """Make the charts for parameters of a name."""
        tag = f"{name} {self._what}"
        made = Geometry.of(self._lens, tag, self._options, gradients=self._gradients)
        self._of[name] = made
        charts = {"norm": made.norm}
        return charts if made.correlation is None else charts | {"correlation": made.correlation}

    def forget(self) -> None:
        """Compare with nothing from before."""
        for geometry in self._of.values():
            geometry.previous.clear()


class Geometry:
    """A preprocessor: norms of arrays, and the cosine between those at consecutive calls.

    Args:
        norm: The chart of the norms.
        correlation: That of the cosines, or None.
        normalize_by_size: Whether to divide norms by the root of the number of elements.

    """

    def __init__(self, norm: Chart, correlation: Chart | None, *, normalize_by_size: bool) -> None:
        self.norm = norm
        self.correlation = correlation
        self.by_size = normalize_by_size
        self.previous: dict[str, tuple[list[object], object]] = {}  # arrays, and their joint norm

    @classmethod
    def of(cls, lens: Lens, tag: str, options: DirectionOptions, *, gradients: bool) -> Self:
        """Make one with charts of a lens, whose tags begin with `tag`."""
        how = drawn(options) | {"gradients": gradients}
        norm = lens.chart(f"{tag} norm", log_scale=options["log_scale"], **how)
        correlation = None
        if options["correlation"]:
            correlation = lens.chart(f"{tag} correlation", limits=(-1, 1), **how)
        return cls(norm, correlation, normalize_by_size=options["normalize_by_size"])

    def expect(self, layer: str) -> None:
        """Add a layer to the charts."""
        self.norm.expect(layer)
        if self.correlation is not None:
            self.correlation.expect(layer)

    def look(
        self,
        layer: str,
        state: State,
        arrays: list[Any],
        *,
        norm: Any = None,
        direction: Callable[[], list[Any]] | None = None,
        lasting: bool = False,
    ) -> None:
        """Take what is there of a layer.

        Args:
            layer: The layer.
            state: What gives the operations.
            arrays: What is taken.
            norm: Its norm, if it is known.
            direction: Gives what is compared, if not the arrays, and as long as it is needed.
            lasting: Whether the arrays stay as they are until the next call is through; else they
                are copied.

        """
        library = state.arrays
        if norm is None:
            norm = library.norm(arrays)
        if self.by_size:
            self.norm.put(layer, norm, max(1, sum(map(library.count, arrays))) ** -0.5)
        else:
            self.norm.put(layer, norm)
        if self.correlation is None:
            return
        now = arrays if direction is None else direction()
        length = norm if direction is None else library.norm(now)
        into = None
        before = self.previous.get(layer)
        if before is not None and library.same_shapes(before[0], now):
            into, before_length = before
            numbers = [library.dot(now, into), length, before_length]
            self.correlation.put_combined(layer, numbers, quotient)
        kept = now if lasting or direction is not None else library.copy(now, into)
        self.previous[layer] = (kept, length)
