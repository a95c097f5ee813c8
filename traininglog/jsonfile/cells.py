"""Values of a log in JSON: numbers and texts as they are, all else with its kind.

A float that JSON does not have, bytes, arrays and the like are objects with a kind, as
``{"kind": 4, "value": "nan"}``. The kinds are those of `traininglog.encoding`.
"""

from __future__ import annotations

import math
from typing import Any

from traininglog.encoding import Kind, decode, encode
from traininglog.errors import CorruptLog
from traininglog.floats import from_text, to_text
from traininglog.plain_json import bytes_from_text, bytes_to_text
from traininglog.values import StoredRow, StoredValue

_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1


def to_json(value: StoredValue) -> Any:
    """Return a stored value, or HIDDEN, in a form that JSON can hold."""
    kind, stored = encode(value)
    if kind == Kind.FLOAT and not math.isfinite(value):  # older than the tag "$float"
        return {"kind": kind, "value": to_text(value)}
    if isinstance(stored, bytes):
        return {"kind": kind, "base64": bytes_to_text(stored)}
    if kind in (Kind.NONE, Kind.BOOL, Kind.INT, Kind.FLOAT, Kind.TEXT):
        return value
    return {"kind": kind, "value": stored}


def from_json(cell: Any) -> Any:
    """Return the value that `to_json` was given. Raises `CorruptLog` for an impossible cell."""
    kind = type(cell)
    if kind is float:
        if not math.isfinite(cell):  # written as 1e999
            raise CorruptLog("a number is too large for a float")
        return cell
    if kind is int:
        if not _INT_MIN <= cell <= _INT_MAX:
            raise CorruptLog("an integer has more than 64 bits")
        return cell
    if cell is None or kind is bool or kind is str:
        return cell
    if kind is not dict or type(cell.get("kind")) is not int:
        raise CorruptLog(f"a {kind.__name__} without a kind is no value")
    return _decoded(cell)


def hides(cell: object) -> bool:
    """Return whether a cell is a tombstone."""
    return isinstance(cell, dict) and cell.get("kind") == Kind.HIDDEN


def _decoded(cell: StoredRow) -> object:
    number = cell["kind"]
    if "base64" in cell:
        try:
            return decode(number, bytes_from_text(cell["base64"]))
        except (TypeError, ValueError) as error:
            raise CorruptLog(f"a value of kind {number} is no base64: {error}") from error
    stored: StoredValue = cell.get("value")
    if number == Kind.FLOAT:
        try:
            return from_text(stored)
        except (TypeError, ValueError, OverflowError) as error:
            raise CorruptLog(f"{stored!r:.80} is no float") from error
    return decode(number, stored)
