"""The scheme of a URL, which selects the kind of store."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from traininglog.errors import ConfigurationError, UnknownScheme

#: The schemes of this package's own stores, of logs or of trials.
BUILT_IN = frozenset({"memory", "sqlite", "file"})

# A text that a user may mean as a scheme. One letter is a Windows drive, and a date is no scheme.
_LIKE_A_SCHEME = re.compile(r"[a-z][a-z0-9+._-]+", re.IGNORECASE)


def scheme_of(where: str | Path, known: Collection[str]) -> str:
    """Return the scheme of a URL, or "" for a path.

    A text that looks like a scheme is one, with slashes or without, and whether it is known or not:
    a misspelt scheme must not become a file. The text is a path if nothing comes before its first
    colon, or a single letter, or a character that no scheme may have, like a slash or a space.

    >>> [scheme_of(name, ["sqlite"]) for name in ("sqlite:///runs.db", "socket:host:80", "./run:1")]
    ['sqlite', 'socket', '']
    """
    head, colon, rest = str(where).partition(":")
    if isinstance(where, Path) or not colon or len(head) < 2:
        return ""
    name = head.lower()
    return name if name in known or rest.startswith("//") or _LIKE_A_SCHEME.fullmatch(head) else ""


def unknown_scheme(where: object, what: str, known: Iterable[str]) -> UnknownScheme:
    """Return the error to raise for a URL with an unknown scheme, with a list of the known ones.

    Args:
        where: The URL.
        what: The kind of store that was looked for.
        known: The schemes to use instead.

    """
    head, _, rest = str(where).partition(":")
    text = f"{head.lower()}: is no {what}; known are {', '.join(known)}"
    if rest and not rest.startswith("//"):
        text += f". If a file of that name is meant, name its folder, too: ./{where}"
    return UnknownScheme(text)


def check_registration(scheme: object, factory: object, *arguments: object) -> str:
    """Return a scheme under which a factory can be registered, in lower case.

    Args:
        scheme: The scheme.
        factory: A callable that makes a store, or a log, of a URL.
        arguments: The arguments that it gets, besides options.

    Raises:
        ConfigurationError: The scheme is the package's own.
        TypeError: The factory cannot be called so.
        ValueError: The scheme is not valid.

    """
    name = _check_scheme(scheme)
    if name in BUILT_IN:
        raise ConfigurationError(
            f"{name}: is a store of traininglog's own, which others rely on: register a scheme "
            "with another name"
        )
    if not callable(factory):
        raise TypeError(f"a factory is called with a URL; {factory!r:.80} cannot be called")
    try:
        signature = inspect.signature(factory)
    except ValueError:  # some callables that are written in C have no signature
        return name
    try:
        signature.bind(*arguments)
    except TypeError as error:
        shown = ", ".join(map(repr, arguments))
        raise TypeError(
            f"a factory is called as factory({shown}, **options); {factory!r:.80} cannot be: "
            f"{error}"
        ) from None
    return name


def _check_scheme(scheme: object) -> str:
    if not isinstance(scheme, str) or not (
        scheme.replace("+", "").replace("-", "").replace(".", "").isalnum()
    ):
        raise ValueError(f"a scheme is made of letters, digits, '+', '-' and '.', not {scheme!r}")
    if len(scheme) == 1:
        raise ValueError("a scheme of one letter would be taken for a Windows drive")
    return scheme.lower()
