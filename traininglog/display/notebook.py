"""A place in a notebook's output that is written over."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any


def in_notebook() -> bool:
    """Tell whether this runs in a Jupyter kernel, whose output a browser shows."""
    interactive = sys.modules.get("IPython")
    shell = None if interactive is None else interactive.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


class NotebookPlace:
    """A place in the output of the cell that first showed something there."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, data: Mapping[str, str]) -> None:
        """Show something in place of what was there.

        Args:
            data: It in one or several formats, by MIME type; what is binary, in base64.

        """
        import IPython.display

        display: Any = IPython.display.display
        if self._handle is None:
            self._handle = display(dict(data), raw=True, display_id=True)
        else:
            self._handle.update(dict(data), raw=True)
