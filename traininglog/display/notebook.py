"""A place in the output of a notebook, which each update replaces."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any


def in_notebook() -> bool:
    """Return whether this runs in a Jupyter kernel, whose output a browser shows."""
    interactive = sys.modules.get("IPython")
    shell = None if interactive is None else interactive.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


class NotebookPlace:
    """A place in the output of a notebook; it is in the cell that first shows data there."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, data: Mapping[str, str]) -> None:
        """Show data in this place, instead of the earlier data.

        Args:
            data: The data in one or several formats, by MIME type; binary formats in base64.

        """
        import IPython.display

        display: Any = IPython.display.display
        if self._handle is None:
            self._handle = display(dict(data), raw=True, display_id=True)
        else:
            self._handle.update(dict(data), raw=True)
