"""Values as strict JSON, and as the text that goes into a cell of a table.

JSON has no NaN, no infinities and no bytes. They become text (``"NaN"``, ``"Infinity"``,
``"-Infinity"``, base64), never null: null is None. Where a text could be mistaken for one of them,
`kind` names the type, in the words that the SQL view ``log`` uses, too.
"""

from __future__ import annotations

import base64
import json
import math
from datetime import datetime
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from traininglog.encoding import UnknownEnum

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


def kind(value: Any) -> str:
    """Return the name of a value's type."""
    return next((name for types, name in _KINDS if isinstance(value, types)), "array")


def jsonable(value: Any) -> Any:
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


def dumps(value: Any, indent: int | None = None) -> str:
    """Return a value as strict JSON in plain ASCII, which no terminal or encoding can garble."""
    return json.dumps(jsonable(value), allow_nan=False, indent=indent)


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    print(dumps(value, indent=2))  # noqa: T201 - output is what a command is for


def cell(value: Any) -> str:
    """Return a value that is no number as text: itself, or its JSON."""
    shown = jsonable(value)
    return shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)


def _name(key: Any) -> str:
    """Return a key of a stored dict, which need not be text, as a key of a JSON object."""
    shown = jsonable(key)
    return shown if isinstance(shown, str) else json.dumps(shown)
