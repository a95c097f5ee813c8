"""Pictures of what lenses wrote to a log, as `traininglog plot RUN --lenses` draws them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from traininglog.base import TrainingLogBase
from traininglog.lenses.pictures.matplotlib_figures import MatplotlibVisualizer
from traininglog.lenses.tags.log_writer import replay


def save(
    log: TrainingLogBase,
    path: Path,
    target: Callable[[Path], AbstractContextManager[Path]],
    *,
    tags: Iterable[str] | None = None,
) -> list[Path]:
    """Draw a log's lenses to a file, and further pages to ``name-2``, ``name-3``, ... beside it.

    Args:
        log: Any log that lenses wrote to.
        path: The first file; its suffix, ``.png`` or ``.svg``, tells the format.
        target: Gives, for the path of a page, a context with the path to write to: so a page can
            come into its place only when it is whole.
        tags: The tags to draw, by default all.

    Returns:
        The files.

    Raises:
        InvalidState: No lens wrote to this log.
        KeyError: A tag that the log does not have.
        MissingExtra: Matplotlib is not installed.

    """
    visualizer = MatplotlibVisualizer(live=False)
    replay(log, visualizer, tags=tags)
    written = []
    for number, figure in enumerate(visualizer.pages(), 1):
        name = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        with target(name) as part:
            visualizer.write(figure, part, path.suffix.lower().lstrip("."))
        written.append(name)
    return written
