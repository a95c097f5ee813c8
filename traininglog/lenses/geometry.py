"""Norms of arrays, and how their direction changes from one look to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from traininglog.lenses.charts import Chart
from traininglog.lenses.lens import Lens
from traininglog.lenses.state import State
from traininglog.lenses.statistics import quotient


class Geometries:
    """A `Geometry` for each name of parameters, with charts such as ``weight update norm``.

    Args:
        lens: The lens whose charts they are.
        what: What is looked at: ``"gradient"`` or ``"update"``.
        normalize_by_size, correlation, log_scale: As for the lens.
        drawn: How all charts are drawn.

    """

    def __init__(
        self,
        lens: Lens,
        what: str,
        *,
        normalize_by_size: bool,
        correlation: bool,
        log_scale: bool,
        **drawn: Any,
    ) -> None:
        self._lens, self._what, self._drawn = lens, what, drawn
        self._by_size, self._correlation = normalize_by_size, correlation
        self._log_scale = log_scale
        self._of: dict[str, Geometry] = {}

    def __getitem__(self, name: str) -> Geometry:
        return self._of[name]

    def charts(self, name: str) -> dict[str, Chart]:
        """Make the charts for parameters of a name."""
        tag, chart = f"{name} {self._what}", self._lens.chart
        charts = {"norm": chart(f"{tag} norm", log_scale=self._log_scale, **self._drawn)}
        if self._correlation:
            charts["correlation"] = chart(f"{tag} correlation", limits=(-1, 1), **self._drawn)
        self._of[name] = Geometry(
            charts["norm"], charts.get("correlation"), normalize_by_size=self._by_size
        )
        return charts

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
