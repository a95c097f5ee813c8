"""Values as text: in a form that strict JSON can hold, and as one text per value.

JSON has no NaN, no infinities and no bytes. They become text (``"NaN"``, ``"Infinity"``,
``"-Infinity"``, base64), never null: null is None. `kind` tells a text from one of them: it names
the type, in the words that the SQL view ``log`` also uses.
"""

from __future__ import annotations

import base64
import json
import math
from datetime import datetime
from enum import Enum
from pathlib import PurePath
from uuid import UUID

from traininglog.values import StoredValue, UnknownEnum

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


def jsonable(value: object) -> StoredValue:
    """Return a value in a form that strict JSON can hold."""
    if value is None or (isinstance(value, (bool, int, str)) and not isinstance(value, Enum)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, (UnknownEnum, Enum)):
        owner = value.type if isinstance(value, UnknownEnum) else type(value).__name__
        return f"{owner}.{value.name}"
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, dict):
        return {_name(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    return str(value)


def cell(value: object) -> str:
    """Return a value that is no number as text: the text itself, or JSON."""
    shown = jsonable(value)
    return shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)


def storable(text: str) -> bytes:
    """Return a text as UTF-8, with lone surrogates escaped, which UTF-8 cannot hold."""
    return text.encode("utf-8", "backslashreplace")


def _name(key: object) -> str:
    """Return a key of a stored dict, which need not be text, as a key of a JSON object."""
    shown = jsonable(key)
    return shown if isinstance(shown, str) else json.dumps(shown)
