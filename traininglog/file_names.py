"""How long the name of a store may be: what lies beside it is called after it."""

from __future__ import annotations

import os
from pathlib import Path

from traininglog.errors import StoreUnwritable

_USUAL = 255  # bytes that a name may have on nearly every file system


def refuse_long(path: Path, added: int) -> None:
    """Raise `StoreUnwritable` if a name with so many more bytes would be none.

    Found out when a store is opened, not when a value has to be kept beside it.
    """
    real = Path(os.path.realpath(path))  # which raises nothing for a link to itself
    try:
        most = os.pathconf(real.parent, "PC_NAME_MAX")
    except (OSError, ValueError):  # there is no such folder, as is said elsewhere
        most = _USUAL
    size = len(os.fsencode(real.name))
    if size + added > most > 0:
        raise StoreUnwritable(
            f"{str(real)!r} has too long a name for a store: {size} bytes, where "
            f"{most - added} leave room for the names of the files beside it, such as the journals "
            "of its runs; rename it, or name another file"
        )
