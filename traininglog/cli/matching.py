"""Which keys the names and globs on a command line stand for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from traininglog.cli.mistakes import Mistake


def matches(key: str, patterns: Sequence[str] | None) -> bool:
    """Tell whether a key is meant; without patterns every key is."""
    if not patterns:
        return True
    return any(key == pattern or fnmatchcase(key, pattern) for pattern in patterns)


def is_glob(pattern: str) -> bool:
    """Tell whether a pattern may stand for several keys."""
    return any(character in pattern for character in "*?[")


def require(patterns: Sequence[str] | None, found: Iterable[str]) -> None:
    """Raise `Mistake` for a pattern that no key fits."""
    known = list(dict.fromkeys(found))
    for pattern in patterns or ():
        if not any(matches(key, [pattern]) for key in known):
            shown = ", ".join(map(repr, known[:20])) or "none"
            raise Mistake(f"no key fits {pattern!r}; there are: {shown}")
