"""What to say of a name that nothing has: which ones are near it, or else which there are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: How many names are listed where none is near.
_MOST = 20


def near(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Return the known names that a name may be meant for, the nearest first.

    >>> near("los", ["loss", "accuracy"])
    ['loss']
    >>> near("val_acc", ["val/acc", "epoch"])
    ['val/acc']
    """
    there = list(known)
    lower = {each.lower(): each for each in reversed(there)}
    found = difflib.get_close_matches(name.lower(), lower, most)
    ends = [each for each in there if each.endswith((f"/{name}", f".{name}"))]
    return list(dict.fromkeys([*(lower[each] for each in found), *ends]))[:most]


def instead(name: str, known: Iterable[str]) -> str:
    """Return what an error says after the name: near ones, or else those that there are.

    >>> instead("los", ["loss", "accuracy"])
    "did you mean 'loss'?"
    >>> instead("x", ["loss", "accuracy"])
    "there are: 'loss', 'accuracy'"
    >>> instead("x", [])
    'there are none yet'
    """
    there = list(known)
    meant = near(name, there)
    if meant:
        return f"did you mean {' or '.join(map(repr, meant))}?"
    if not there:
        return "there are none yet"
    more = f", and {len(there) - _MOST:,} more" if len(there) > _MOST else ""
    return f"there are: {', '.join(map(repr, there[:_MOST]))}{more}"
