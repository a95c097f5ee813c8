"""How pictures look: figures without pyplot, styles, names that are shown as they are, notes."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatter

from traininglog.display.plain_text import cut, visible
from traininglog.near_names import instead
from traininglog.palette import COLOURS, FAINT, GRID, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: From so many runs or groups on, colours go by order, and a colour bar says so.
MANY = 12

_DASHES = ("-", "--", ":", "-.")

_OURS: dict[str, Any] = {
    "font.size": 10.0, "axes.edgecolor": FAINT, "axes.labelcolor": INK, "text.color": INK,
    "xtick.color": FAINT, "ytick.color": FAINT, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "axes.titlesize": 11.0,
}  # fmt: skip
# What holds whatever the style: a "$" in a name is a "$", and files say nothing of the machine.
_ALWAYS: Any = {
    "text.usetex": False, "text.parse_math": False, "svg.fonttype": "path", "pdf.fonttype": 42,
    "svg.hashsalt": "traininglog", "agg.path.chunksize": 20000,
}  # fmt: skip
_DATES = {"svg": "Date", "pdf": "CreationDate"}

Style = str | Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Appearance:
    """How a picture is to look."""

    title: str | None = None  #: above it; by default the run, if it shows one
    xlabel: str | None = None
    ylabel: str | None = None
    size: tuple[float, float] | None = None  #: width and height in inches
    style: Style = None  #: the name of a style of Matplotlib, or its parameters
    log_x: bool = False
    log_y: bool = False

    def check(self) -> None:
        """Raise `ValueError` if no picture can look like this."""
        if self.size is not None and not all(1 <= side <= 100 for side in self.size):
            raise ValueError(
                "size is a width and a height of 1 to 100 inches, such as (6, 4), "
                f"not {self.size!r}"
            )
        _rc(self.style)


class Picture(Figure):
    """A figure without pyplot: it has no window and no global state. Notebooks show it.

    The files that it writes have no date, and name no path and no user.
    """

    def __init__(self, size: tuple[float, float], dpi: int = 120) -> None:
        super().__init__(figsize=size, dpi=dpi, layout="constrained", facecolor="white")
        FigureCanvasAgg(self)

    def savefig(self, fname: Any, **options: Any) -> None:
        """Write the picture; see `matplotlib.figure.Figure.savefig`."""
        kind = options.get("format") or str(fname).rpartition(".")[2].lower()
        if kind in _DATES:
            options["metadata"] = {_DATES[kind]: None, **(options.get("metadata") or {})}
        with mpl.rc_context(_ALWAYS), warnings.catch_warnings():
            # Matplotlib draws a box for a letter that the font lacks; a warning adds nothing.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            super().savefig(fname, **options)

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def _rc(style: Style) -> dict[str, Any]:
    library: Any = mpl.rcParamsDefault
    if style is None:
        return {}
    if not isinstance(style, str):
        unknown = [name for name in style if name not in mpl.rcParams]
        if unknown:
            raise ValueError(f"matplotlib has no parameter {unknown[0]!r}")
        return dict(style)
    from matplotlib import style as styles

    known: Any = styles.library

    # Only known ones: matplotlib would take a path or a URL, too, and fetch it.
    if style == "default":
        return dict(library)
    if style not in known:
        raise ValueError(f"matplotlib has no style {style!r}; {instead(style, styles.available)}")
    return dict(known[style])


@contextmanager
def styled(style: Style = None) -> Iterator[None]:
    """Draw in the look of all pictures, or in a style of Matplotlib."""
    chosen: Any = {k: v for k, v in _rc(style).items() if k not in ("backend", "backend_fallback")}
    parameters: Any = {**(_OURS if style is None else {}), **chosen, **_ALWAYS}
    with mpl.rc_context(parameters):
        yield


def literal(text: str, longest: int = 60) -> str:
    r"""Return a name as one visible line; a long one is cut in the middle.

    >>> literal("a\nb"), literal("abcdefghij", 7)
    ('a\\nb', 'abc…hij')
    """
    return cut(visible(text), longest)


class Shades:
    """The colours and dashes of names, the same in all panels of a picture.

    Args:
        names: The runs or groups, in order.
        style: The style of the picture; one with colours of its own has them used.

    """

    def __init__(self, names: Iterable[str], style: Style = None) -> None:
        self.names = list(dict.fromkeys(names))
        cycle = _rc(style).get("axes.prop_cycle")
        own = None if cycle is None else cycle.by_key().get("color")
        self._colours: Sequence[Any] = own or COLOURS
        self._places = {name: place for place, name in enumerate(self.names)}
        #: Whether there are too many for a legend.
        self.many = len(self.names) > MANY
        # Without its last part, a yellow that is hard to see on white.
        self.map = LinearSegmentedColormap.from_list(
            "order", colormaps["viridis"]([place / 100 for place in range(90)])
        )

    def colour(self, name: str) -> Any:
        """Return the colour of a name."""
        place = self._places[name]
        if self.many:
            return self.map(place / (len(self.names) - 1))
        return self._colours[place % len(self._colours)]

    def dash(self, name: str) -> str:
        """Return the dashes of a name: colours are used again with others."""
        if self.many:
            return "-"
        return _DASHES[self._places[name] // len(self._colours) % len(_DASHES)]

    def bar(self, figure: Figure, axes: Any, label: str) -> None:
        """Draw a colour bar with some of the names, in place of a legend."""
        last = len(self.names) - 1
        shown = sorted({round(last * part / 4) for part in range(5)})
        bar = figure.colorbar(
            ScalarMappable(Normalize(0, last), self.map), ax=axes, aspect=40, pad=0.02, shrink=0.9
        )
        longest = max(10, int(figure.get_figwidth() * 2.5))
        bar.set_ticks(
            shown, labels=[literal(self.names[i], longest) for i in shown], parse_math=False
        )
        bar.ax.tick_params(length=2, labelsize="small")
        bar.outline.set_visible(False)
        bar.set_label(literal(label, 60), parse_math=False)


def legend(
    figure: Figure,
    handles: Sequence[Any],
    labels: Sequence[str],
    title: str | None = None,
    *,
    above: bool = False,
) -> None:
    """Draw a legend beside the panels, or above them, where it hides nothing."""
    # The labels are set afterwards, as matplotlib leaves out those that start with "_".
    made = figure.legend(
        list(handles), ["-"] * len(labels), frameon=False, fontsize="small", handlelength=1.8,
        loc="outside upper right" if above else "outside right upper",
        ncols=len(labels) if above else 1, title=None if title is None else "-",
        title_fontsize="small", alignment="left",
    )  # fmt: skip
    longest = max(12, int(figure.get_figwidth() * 4))
    for text, label in zip(made.get_texts(), labels, strict=True):
        text.set_parse_math(False)
        text.set_text(literal(label, longest))
    if title is not None:
        made.get_title().set_parse_math(False)
        made.get_title().set_text(literal(title, longest))


def dress(axes: Axes, *, log_x: bool = False, log_y: bool = False, margin: float = 0.02) -> None:
    """Give a panel its grid, its spines and its scales."""
    if log_x:
        axes.set_xscale("log")
        _label_plainly(axes.xaxis)
    if log_y:
        axes.set_yscale("log")
        _label_plainly(axes.yaxis)
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=margin)
    axes.tick_params(length=3)


def _label_plainly(axis: Any) -> None:
    """Label a logarithmic axis with plain numbers, such as 0.5, and no powers of ten."""
    few = (2, 0.5) if axis.axis_name == "y" else (1.2, 0.4)  # labels beside each other need room
    for part, formatter in (
        (axis.set_major_formatter, LogFormatter()),
        (axis.set_minor_formatter, LogFormatter(minor_thresholds=few)),
    ):
        formatter.set_axis(axis)  # it only chooses which ticks have a label

        def label(value: float, at: int | None, chosen: LogFormatter = formatter) -> str:
            if at is None or at == 0:
                chosen.set_locs()
            return f"{value:g}" if chosen(value, at) else ""

        part(FuncFormatter(label))


def entitle(figure: Figure, title: str | None) -> None:
    """Set the title of a picture, as it is."""
    if title:
        longest = max(20, int(figure.get_figwidth() * 11))
        figure.suptitle(literal(title, longest), fontsize=11, x=0.01, ha="left", parse_math=False)


def tell(figure: Figure, notes: Sequence[str]) -> None:
    """Write notes below the panels: what is marked, and what is left out."""
    if not notes:
        return
    width = max(30, int(figure.get_figwidth() * 15))
    lines = [line for each in notes for line in textwrap.wrap(literal(each, 8 * width), width)]
    if len(lines) > 10:
        lines = [*lines[:9], f"and {len(lines) - 9} more lines"]
    figure.supxlabel(
        "\n".join(lines), fontsize=8, color="#5A5A5A", x=0.01, ha="left", parse_math=False
    )
