"""What a shell offers after Tab: runs by name or start of a UUID, and keys, from the store.

A store that cannot be read offers nothing. Nothing here raises, as the user is in the middle
of a line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_MOST = 200  # how many words are offered, the latest ones
_SHORTEST = 8


def runs(ctx: Any, incomplete: str) -> list[str]:
    """Return the names of runs, and the starts of UUIDs, that begin with a text."""

    def read(store: Any) -> list[str]:
        named = store.names()
        words = [name for name in named.values() if name and name.isprintable()]
        return [*reversed(words), *(uuid.hex[:_SHORTEST] for uuid in reversed(named))]

    return _offered(ctx, incomplete, read)


def keys(ctx: Any, incomplete: str) -> list[str]:
    """Return the keys of the store that begin with a text."""
    return _offered(ctx, incomplete, lambda store: store.keys_seen())


def _offered(ctx: Any, incomplete: str, read: Callable[[Any], list[str]]) -> list[str]:
    try:
        from traininglog.stores import open_store

        with open_store(ctx.params.get("store"), readonly=True) as store:
            words = read(store)
    except Exception:  # noqa: BLE001 - whatever is wrong, the line that is being typed goes on
        return []
    fitting = (word for word in words if word.startswith(incomplete) and word.isprintable())
    return list(dict.fromkeys(fitting))[:_MOST]
