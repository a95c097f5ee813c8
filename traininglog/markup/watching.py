"""A view that follows what is being written: in a notebook in one place, else line by line."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from traininglog.display.notebook import NotebookPlace, in_notebook


class Watched(NamedTuple):
    """What there is to see now."""

    html: str  #: for a notebook
    line: str  #: for a terminal, without control characters
    ended: bool  #: whether nothing more will come


def follow(look: Callable[[], Watched], interval: float) -> None:
    """Show a view, again when it has changed, until it has ended or Ctrl-C is pressed.

    Args:
        look: Returns the view of now.
        interval: How many seconds to wait between two looks.

    Raises:
        ValueError: `interval` is not positive.

    """
    if not interval > 0:
        raise ValueError(f"interval must be a positive number of seconds, not {interval!r}")
    place = NotebookPlace() if in_notebook() else None
    shown = None
    try:
        while True:
            view = look()
            if place is not None and view.html != shown:
                place.show({"text/html": view.html, "text/plain": view.line})
                shown = view.html
            elif place is None and view.line != shown:
                print(view.line, flush=True)  # noqa: T201 - what the caller asked for
                shown = view.line
            if view.ended:
                return
            time.sleep(interval)
    except KeyboardInterrupt:  # whoever watches has seen enough; what is watched goes on
        return
