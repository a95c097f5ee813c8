"""Matching keys with the names and globs on a command line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase

from traininglog.cli.mistakes import Mistake
from traininglog.near_names import instead
from traininglog.selection import is_glob


def matcher(patterns: Sequence[str] | None) -> Callable[[str], bool]:
    """Return a function that returns whether a key matches; without patterns every key does."""
    if not patterns:
        return lambda _: True
    names = frozenset(patterns)  # a key may itself look like a glob
    globs = [pattern for pattern in names if is_glob(pattern)]
    return lambda key: key in names or any(fnmatchcase(key, pattern) for pattern in globs)


def require(patterns: Sequence[str] | None, found: Iterable[str]) -> None:
    """Raise `Mistake` for a pattern that matches no key."""
    known = dict.fromkeys(found)
    for pattern in patterns or ():
        if pattern in known:
            continue
        if not is_glob(pattern) or not any(fnmatchcase(key, pattern) for key in known):
            raise Mistake(f"no key fits {pattern!r}; {instead(pattern, known)}")
