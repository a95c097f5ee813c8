"""The spool: the folder of the journals of a store that has no file on this machine."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from traininglog.errors import StoreUnwritable


def spool_of(location: str) -> Path:
    """Return the file beside which the journals of a store lie, in the user's state folder.

    The folder is ``~/.local/state/traininglog`` (or under ``$XDG_STATE_HOME``). It is made for this
    user alone. The name of the file, which need not exist, is a digest of `location`.

    Args:
        location: The URL of the store, without credentials.

    Raises:
        StoreUnwritable: The folder cannot be made.

    """
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    folder = base / "traininglog"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnwritable(
            f"{folder} cannot be made ({error.strerror}); it keeps what is assigned until it is in "
            f"{location}. Make it, or name another folder in XDG_STATE_HOME"
        ) from error
    return folder / hashlib.sha256(location.encode()).hexdigest()[:32]
