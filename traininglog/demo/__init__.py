"""The demo: a training that is killed half way and resumed, and still has one curve.

`train.py` is an ordinary training loop, as an example to copy. `story.py` starts it, kills it,
starts it again, and reports. `picture.py` draws the curves.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def main(folder: Path, *, echo: Callable[[str], None] = print) -> int:
    """Run the demo, and return 0 if all its checks pass, else 1.

    It writes ``runs.db``, ``checkpoint.npz`` and ``curves.png`` to `folder`. If that is not empty,
    it writes them to a new folder inside. It deletes nothing.

    Args:
        folder: The folder of the files. The demo creates it if it does not exist.
        echo: Is called with each line of the report.

    Raises:
        MissingExtra: scikit-learn or matplotlib is not installed.

    """
    # Imported here, so that `python -m traininglog.demo.train` does not import the other modules.
    from traininglog.demo.story import tell

    return tell(folder, echo)
