"""The demo: a training that is killed half way, resumed, and shows one curve all the same.

`train.py` is a training loop as one would write it, to be copied; `story.py` starts it, kills it,
starts it again and says what happened; `picture.py` draws the curves.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def main(folder: Path, *, echo: Callable[[str], None] = print) -> int:
    """Run the demo and return 0 if everything it promises came true, else 1.

    It leaves ``runs.db``, ``checkpoint.npz`` and ``curves.png`` in `folder`, or, where that is not
    empty, in a new folder inside it. It deletes nothing.

    Args:
        folder: Where to put the files; made if it is not there.
        echo: Told each line of what happens.

    Raises:
        MissingExtra: scikit-learn or matplotlib is not installed.

    """
    # Imported here, so that `python -m traininglog.demo.train` finds a package that is empty yet.
    from traininglog.demo.story import tell

    return tell(folder, echo)
