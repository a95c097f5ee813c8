"""Values of a log in JSON: numbers and texts as themselves, all else with its kind.

A float that JSON does not have, bytes, arrays and the like are ``{"kind": 4, "value": "nan"}``, the
kinds being those of `traininglog.encoding`.
"""

from __future__ import annotations

import base64
import math
from typing import Any

from traininglog.encoding import Kind, decode, encode


def to_json(value: Any) -> Any:
    """Return a stored value, or HIDDEN, as JSON can hold it."""
    kind, stored = encode(value)
    if kind == Kind.FLOAT and not math.isfinite(value):
        return {"kind": kind, "value": repr(value)}
    if isinstance(stored, bytes):
        return {"kind": kind, "base64": base64.b64encode(stored).decode("ascii")}
    if kind in (Kind.NONE, Kind.BOOL, Kind.INT, Kind.FLOAT, Kind.TEXT):
        return value
    return {"kind": kind, "value": stored}


def from_json(cell: Any) -> Any:
    """Return the value of which `to_json` made this."""
    if not isinstance(cell, dict):
        return cell
    kind = cell["kind"]
    if "base64" in cell:
        return decode(kind, base64.b64decode(cell["base64"]))
    if kind == Kind.FLOAT:
        return float(cell["value"])
    return decode(kind, cell["value"])
