"""The names of the types of values, in the words that the SQL view ``log`` also uses.

Where a value is shown as text, its name tells the float NaN from the text "NaN".
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from pathlib import PurePath
from uuid import UUID

from traininglog.values import UnknownEnum

_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (type(None), "none"),
    (bool, "bool"),
    (int, "int"),
    (float, "float"),
    (str, "text"),
    (bytes, "bytes"),
    ((Enum, UnknownEnum), "enum"),
    ((list, dict), "json"),
    (datetime, "datetime"),
    (UUID, "uuid"),
    (PurePath, "path"),
)

#: Every name that `kind` returns.
KINDS = (*(name for _, name in _KINDS), "array")


def kind(value: object) -> str:
    """Return the name of a value's type."""
    return next((name for types, name in _KINDS if isinstance(value, types)), KINDS[-1])
