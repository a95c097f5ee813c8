"""`traininglog plot --lenses`: the lenses' numbers of a run, as pictures or in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from traininglog.base import TrainingLogBase
from traininglog.cli.globs import matcher, require
from traininglog.cli.output.files import complete
from traininglog.cli.output.terminal import note
from traininglog.display.plain_text import visible


def plot_lenses(
    log: TrainingLogBase, wanted: Sequence[str] | None, output: Path | None, *, force: bool
) -> None:
    """Draw tags of a run to a file; further pages go to more files beside it.

    Without a file, print the last tick as tables to the terminal.

    Raises:
        InvalidState: No lens wrote to this run.
        Mistake: The run has no such tag, or the file exists.

    """
    from traininglog.lenses.pictures.of_runs import save
    from traininglog.lenses.pictures.printed_tables import PrintVisualizer
    from traininglog.lenses.tags.log_writer import last_time, replay, tags_of

    known = tags_of(log)
    if known:
        require(wanted, known)
    tags = list(filter(matcher(wanted), known))
    if output is None:
        last = max(0, last_time(log, tags))
        replay(log, PrintVisualizer(Console()), tags=tags, start=last, stop=last + 1)
        return
    pages = save(log, output, lambda page: complete(page, force=force), tags=tags)
    note(f"plotted {', '.join(map(visible, tags))} to {', '.join(map(str, pages))}")
