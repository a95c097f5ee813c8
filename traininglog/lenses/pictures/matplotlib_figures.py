"""Lenses' numbers as figures: big charts above, then one column per tag, one axis per layer."""

from __future__ import annotations

import base64
import io
import math
import time as clock
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from traininglog.display.notebook import NotebookPlace, in_notebook
from traininglog.errors import MissingExtra
from traininglog.lenses.lens import AbstractVisualizer
from traininglog.lenses.pictures.layout import Box, Page
from traininglog.lenses.tags.attributes import Numbers, TagAttributes
from traininglog.palette import FAINT, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from traininglog.lenses.pictures.drawing import Series

#: Columns side by side: a tag each, and its layers, which have one axis each.
Band = list[tuple[str, list[str]]]

_LIVE_DPI = 80

#: The room between a tag's title and its axis for the name of the layer, in points.
_ABOVE = 16.0

_STYLE: Any = {
    "font.size": 9.0, "axes.edgecolor": FAINT, "axes.labelcolor": INK, "text.color": INK,
    "xtick.color": FAINT, "ytick.color": FAINT, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "svg.fonttype": "path",
    "xtick.labelsize": 7.5, "ytick.labelsize": 7.5, "axes.titlesize": 10.0,
    "agg.path.chunksize": 20000,
}  # fmt: skip


class MatplotlibVisualizer(AbstractVisualizer):
    """Collects numbers and draws them: with `figures` and `save`, and live in a notebook.

    Big tags are at the top, at double height, with all layers on one axis. Below, each other tag
    has a column, with one axis per layer. All axes have the same times. Ranges are bands, relations
    are stacked areas, distributions are heat maps. A red line marks the first non-finite number of
    an axis. Many tags or layers are split into several pages.

    Args:
        columns: The maximal number of columns on a page.
        rows: The maximal number of layers on a page.
        live: Whether to show the first page in a notebook, at ticks and when the loop ends. It is
            drawn at most once per second, and takes at most a tenth of the time. None detects
            whether there is a notebook.

    Raises:
        MissingExtra: Matplotlib is not installed.

    """

    def __init__(self, *, columns: int = 4, rows: int = 10, live: bool | None = None) -> None:
        try:
            import matplotlib as _  # noqa: F401
        except ImportError as error:
            raise MissingExtra(
                'a picture needs matplotlib; install it with: pip install "traininglog[plot]"'
            ) from error
        self.columns, self.rows = max(1, columns), max(1, rows)
        self.live = in_notebook() if live is None else live
        self._tags: dict[str, TagAttributes] = {}
        self._series: dict[str, dict[str, Series]] = {}
        self._place = NotebookPlace()
        self._next = 0.0  # the earliest moment of the next drawing
        self._due = False  # whether there are numbers that were not shown

    def register_tag(self, tag: str, attributes: TagAttributes) -> None:
        """Record a tag."""
        self._tags[tag] = attributes
        self._series.setdefault(tag, {})

    def plot(self, time: int, tag: str, numbers: Numbers) -> None:
        """Keep the numbers of a tag."""
        from traininglog.lenses.pictures.drawing import Series

        of_layers = self._series.setdefault(tag, {})
        for layer, points in numbers.items():
            if layer not in of_layers:
                of_layers[layer] = Series()
            of_layers[layer].add(time, points)

    def end_tick(self, time: int) -> None:
        """Show the first page in a notebook, unless it was shown a moment ago."""
        self._due = True
        if self.live and clock.monotonic() >= self._next:
            self.show()

    def end(self) -> None:
        """Show the final state in a notebook."""
        if self.live and self._due:
            self.show()

    def reset(self) -> None:
        """Forget the numbers."""
        for of_layers in self._series.values():
            of_layers.clear()

    def show(self) -> None:
        """Show the first page in a notebook, in place of the earlier one."""
        begin = clock.monotonic()
        for figure in self.pages(first=True):
            file = io.BytesIO()
            self.write(figure, file, "png", _LIVE_DPI)
            picture = base64.b64encode(file.getvalue()).decode()
            self._place.show({"image/png": picture, "text/plain": repr(figure)})
        end = clock.monotonic()
        self._due, self._next = False, end + max(1.0, 9 * (end - begin))

    def figures(self) -> list[Figure]:
        """Return the pages."""
        return list(self.pages())

    def save(self, path: str | Path, *, dpi: int = 120) -> list[Path]:
        """Write the pages to ``name.png``, ``name-2.png``, ...; the suffix sets the format.

        Returns their paths. `dpi` is the number of dots per inch; a column is 3.7 inches wide.
        Raises `ValueError` if there is nothing to draw.
        """
        path = Path(path)
        written = []
        for number, figure in enumerate(self.pages(), 1):
            name = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
            self.write(figure, name, path.suffix.lstrip(".") or "png", dpi)
            written.append(name)
        if not written:
            raise ValueError("there is nothing to draw: no tick had numbers")
        return written

    def write(self, figure: Figure, file: Path | BinaryIO, kind: str, dpi: int = 120) -> None:
        """Write one page to a file, in a format."""
        import matplotlib

        with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
            # Matplotlib draws a box for a letter that the font lacks; a warning adds nothing.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure.savefig(file, format=kind, dpi=dpi, facecolor="white")

    def pages(self, *, first: bool = False) -> Iterator[Figure]:
        """Draw and yield the pages one by one, or only the first."""
        import matplotlib

        with matplotlib.rc_context(_STYLE):
            for big, bands in self._layout():
                yield self._page(big, bands)
                if first:
                    return

    def _layout(self) -> list[tuple[list[str], list[Band]]]:
        there = [tag for tag in self._tags if self._series.get(tag)]
        big = [tag for tag in there if self._tags[tag].big]
        small = [tag for tag in there if not self._tags[tag].big]
        pages: list[list[Band]] = [[]]
        for start in range(0, len(small), self.columns):
            chosen = small[start : start + self.columns]
            longest = max(len(self._series[tag]) for tag in chosen)
            for row in range(0, longest, self.rows):
                stacks = [(tag, self._layers(tag)[row : row + self.rows]) for tag in chosen]
                band = [(tag, layers) for tag, layers in stacks if layers]
                if pages[-1] and sum(map(_depth, [*pages[-1], band])) > self.rows:
                    pages.append([])
                pages[-1].append(band)
        return [
            (big if number == 0 else [], bands)
            for number, bands in enumerate(pages)
            if bands or big
        ]

    def _layers(self, tag: str) -> list[str]:
        of_layers = self._series[tag]
        known = [layer for layer in self._tags[tag].layers if layer in of_layers]
        return known + [layer for layer in of_layers if layer not in known]

    def _page(self, big: Sequence[str], bands: Sequence[Band]) -> Figure:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        from traininglog.lenses.pictures.drawing import draw_layer, draw_together, label_letters

        across = max([len(band) for band in bands] + [min(len(big), self.columns)])
        page = Page(across, -(-len(big) // across), [_depth(band) for band in bands])
        figure = Figure(figsize=(page.width, page.height))
        FigureCanvasAgg(figure)
        placed: list[_Placed] = []
        for number, tag in enumerate(big):
            placed.append(self._big(figure, page, tag, divmod(number, across), number, big, across))
            one = placed[-1]
            of_layers = {layer: self._series[tag][layer] for layer in self._layers(tag)}
            draw_together(one.axis, tag, self._tags[tag], of_layers, one.names)
        for place, band in enumerate(bands):
            for column, (tag, layers) in enumerate(band):
                for row, layer in enumerate(layers):
                    where = partial(page.small, place, row, column)
                    axis = figure.add_axes(where())
                    placed.append(_Placed(axis, column, where))
                    shown = self._tags[tag]
                    draw_layer(axis, layer, shown, self._series[tag][layer], first=row == 0)
                    if row == 0:
                        axis.set_title(
                            tag, loc="left", fontweight="bold", parse_math=False, pad=_ABOVE
                        )
                    axis.tick_params(labelbottom=row == len(layers) - 1)
        _align([one.axis for one in placed])
        for one in placed:
            page.widen(one.column, label_letters(one.axis), unit=bool(one.axis.get_ylabel()))
        for one in placed:
            one.axis.set_position(one.where())
        figure.text(0.5, 0.06 / page.height, "time", fontsize=8, ha="center")
        return figure

    def _big(
        self,
        figure: Figure,
        page: Page,
        tag: str,
        place: tuple[int, int],
        number: int,
        big: Sequence[str],
        across: int,
    ) -> _Placed:
        """Create the axis of a big tag. The last one takes the remaining width of its row."""
        from traininglog.lenses.pictures.drawing import named_beside

        row, column = place
        end = across if number == len(big) - 1 else column + 1
        of_layers = {layer: self._series[tag][layer] for layer in self._layers(tag)}
        beside = named_beside(self._tags[tag], of_layers)
        where = partial(page.big, row, column, end, beside=beside)
        axis = figure.add_axes(where())
        names = figure.add_axes(page.names(row, column, end)) if beside else None
        return _Placed(axis, column, where, names)


class _Placed(NamedTuple):
    """An axis, its first column, a function that returns its place, and an axis for names."""

    axis: Axes
    column: int
    where: Callable[[], Box]
    names: Axes | None = None


def _align(axes: Sequence[Axes]) -> None:
    """Set the same times on all axes."""
    ends = [axis.dataLim.intervalx for axis in axes if axis.has_data()]
    low = min((float(end[0]) for end in ends if math.isfinite(end[0])), default=0.0)
    high = max((float(end[1]) for end in ends if math.isfinite(end[1])), default=1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    margin = 0.02 * (high - low)
    for axis in axes:
        axis.set_xlim(low - margin, high + margin)


def _depth(band: Band) -> int:
    return max(len(layers) for _, layers in band)
