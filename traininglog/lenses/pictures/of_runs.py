"""Pictures of the lenses' numbers in a log, for `traininglog plot RUN --lenses`."""

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
        log: Any log with numbers of lenses.
        path: The first file; its suffix, ``.png`` or ``.svg``, sets the format.
        target: Returns, for the path of a page, a context manager with the path to write to. So the
            caller can move a page to its place once it is complete.
        tags: The tags to draw, by default all.

    Returns:
        The files.

    Raises:
        InvalidState: No lens wrote to this log.
        KeyError: The log does not have one of the tags.
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
