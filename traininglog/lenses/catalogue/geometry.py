"""Norms of arrays, and the change of their direction between consecutive observations."""

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
        lens: The lens that owns the charts.
        what: The kind of arrays: ``"gradient"`` or ``"update"``.
        options: The options of the lens.
        gradients: Whether the arrays are gradients; see `Chart`.

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
        """Create the charts for parameters of this name."""
        tag = f"{name} {self._what}"
        made = Geometry.of(self._lens, tag, self._options, gradients=self._gradients)
        self._of[name] = made
        charts = {"norm": made.norm}
        return charts if made.correlation is None else charts | {"correlation": made.correlation}

    def forget(self) -> None:
        """Forget the previous arrays."""
        for geometry in self._of.values():
            geometry.previous.clear()


class Geometry:
    """A preprocessor: norms of arrays, and the cosine between the arrays of consecutive calls.

    Args:
        norm: The chart of the norms.
        correlation: The chart of the cosines, or None.
        normalize_by_size: Whether to divide norms by the root of the number of elements.

    """

    def __init__(self, norm: Chart, correlation: Chart | None, *, normalize_by_size: bool) -> None:
        self.norm = norm
        self.correlation = correlation
        self.by_size = normalize_by_size
        self.previous: dict[str, tuple[list[object], object]] = {}  # arrays, and their joint norm

    @classmethod
    def of(cls, lens: Lens, tag: str, options: DirectionOptions, *, gradients: bool) -> Self:
        """Create a `Geometry` with new charts of a lens, whose tags begin with `tag`."""
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
        """Put the norm of a layer's arrays, and their cosine with those of the previous call.

        Args:
            layer: The layer.
            state: The state with the array operations.
            arrays: The arrays.
            norm: Their joint norm, if it is known.
            direction: Returns the arrays for the cosine, if they are others. It is called only if
                there is a chart of cosines, and must return new arrays.
            lasting: Whether the arrays stay unchanged until the end of the next call. If not, they
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
