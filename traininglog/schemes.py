"""The scheme of a URL, which says what kind of store it names."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path


def scheme_of(where: str | Path, known: Collection[str]) -> str:
    """Return the scheme of a URL, or "" for a path. Those that are known need no slashes."""
    head, colon, rest = str(where).partition(":")
    if isinstance(where, Path) or not colon or len(head) < 2:
        return ""
    return head.lower() if rest.startswith("//") or head.lower() in known else ""


def check_scheme(scheme: object) -> str:
    """Return a scheme that can be registered, in lower case, or raise `ValueError`."""
    if not isinstance(scheme, str) or not (
        scheme.replace("+", "").replace("-", "").replace(".", "").isalnum()
    ):
        raise ValueError(f"a scheme is made of letters, digits, '+', '-' and '.', not {scheme!r}")
    if len(scheme) == 1:
        raise ValueError("a scheme of one letter would be taken for a Windows drive")
    return scheme.lower()
