"""Values as strict JSON, and back: the rules that all forms of values in files share.

JSON has no NaN and no infinities, no bytes, no dates, and no keys but texts. A form writes what
JSON lacks as an object of one key, a *tag*: ``{"$float": "nan"}``. Files are read for ever, so a
tag never changes its meaning, and a form never loses one.

| form | where | adds to the rules here |
|---|---|---|
| value | lists, dicts and enums in SQLite and journals; ``coded`` parts of `state_dict` | tags of \
the types of a log: `traininglog.encoding` |
| cell | ``file:`` documents and their older tails | an object with a kind in place of a tag: \
`traininglog.jsonfile.cells` |
| tree | manifests of checkpoints; ranks | tags of containers and arrays: \
`traininglog.loop.states.trees` |
| record | descriptions of trials in every store | nothing: `escaped`, `unescaped` |
| shown | ``--json``, exports, reports; never read back | nothing: `shown` |
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any

from traininglog.errors import CorruptLog, ValueRangeError
from traininglog.floats import from_text, to_text
from traininglog.values import StoredValue, UnknownEnum

#: Two lone surrogates that JSON would read as one character.
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")

#: An integer of more bits may have more digits than Python's `json` writes or reads.
MAX_INT_BITS = 14_000

Write = Callable[[Any], Any]


def compact(value: object) -> str:
    """Return data of strict JSON as the shortest text, in ASCII."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


# -- what the value form and the tree form share ---------------------------------------------------


def float_to_json(value: float) -> Any:
    """Return a float; NaN to the bit, and infinities, under the tag ``$float``."""
    return value if math.isfinite(value) else {"$float": to_text(value)}


def text_to_json(value: str) -> Any:
    """Return a text; under the tag ``$text`` if JSON would join surrogates in it."""
    if has_pair(value):
        return {"$text": bytes_to_text(value.encode("utf-8", "surrogatepass"))}
    return value


def has_pair(text: str) -> bool:
    """Return whether JSON would read two lone surrogates of a text as one character."""
    return not text.isascii() and _PAIR.search(text) is not None


def joined(text: str) -> str:
    """Return a text with each pair of surrogates as the character that it means."""
    return _PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)


def bytes_to_text(value: bytes) -> str:
    """Return bytes as base64."""
    return base64.b64encode(value).decode("ascii")


def bytes_from_text(text: str) -> bytes:
    """Return the bytes that `bytes_to_text` was given. Raises `ValueError` or `TypeError`."""
    return base64.b64decode(text, validate=True)


def has_plain_keys(value: Iterable[object]) -> bool:
    """Return whether a JSON object can have these keys as they are, and none looks like a tag."""
    return all(
        isinstance(key, str) and key[:1] != "$" and (key.isascii() or not has_pair(key))
        for key in value
    )


def dict_to_json(value: Mapping[Any, Any], write: Write) -> Any:
    """Return a dict as an object, or as a list of pairs under the tag ``$dict``."""
    if has_plain_keys(value):
        return {key: write(item) for key, item in value.items()}
    return {"$dict": [[write(key), write(item)] for key, item in value.items()]}


#: How the tags of these rules are read, but for ``$dict``, whose items the form reads.
READERS: Mapping[str, Callable[[Any], Any]] = {
    "$float": from_text,
    "$text": lambda text: bytes_from_text(text).decode("utf-8", "surrogatepass"),
    "$bytes": bytes_from_text,
}


# -- the record form -------------------------------------------------------------------------------
# It is older than the rules above. Only an object whose one key is "$float" or "$dict" has a tag;
# any other key may begin with "$". Under "$dict" is an object, not a list of pairs.

_RECORD_TAGS = ({"$float"}, {"$dict"})
_RECORD_FLOATS = ("nan", "inf", "-inf")


def escaped(value: StoredValue) -> Any:
    """Return plain data (None, bool, int, float, str, list, dict of str) as strict JSON.

    Every NaN comes back as the usual one. Raises `ValueRangeError` for an integer that JSON cannot
    be read with.
    """
    if type(value) is int and value.bit_length() > MAX_INT_BITS:
        raise ValueRangeError(
            f"an integer of {value.bit_length():,} bits cannot be stored with a trial, only those "
            f"of at most {MAX_INT_BITS:,}: use hex(value)"
        )
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(value)}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    if isinstance(value, dict):
        inner = {key: escaped(item) for key, item in value.items()}
        return {"$dict": inner} if set(inner) in _RECORD_TAGS else inner
    return value


def unescaped(data: StoredValue) -> Any:
    """Return the plain data that `escaped` was given. Raises `CorruptLog` for other data."""
    try:
        return _unescaped(data)
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CorruptLog(
            f"a stored description cannot be read ({error}); restore a copy of the store"
        ) from error


def _unescaped(data: StoredValue) -> Any:
    if isinstance(data, list):
        return [_unescaped(item) for item in data]
    if not isinstance(data, dict):
        return data
    if data.keys() == {"$float"}:
        return float(data["$float"])
    items = data["$dict"] if data.keys() == {"$dict"} else data
    return {key: _unescaped(item) for key, item in items.items()}


def record_items(data: dict[str, Any]) -> Iterable[Any]:
    """Return what an object of a record holds. Raises `ValueError` for an impossible tag."""
    if data.keys() == {"$float"} and data["$float"] not in _RECORD_FLOATS:
        raise ValueError(f"{data['$float']!r:.40} is no number")
    if data.keys() == {"$dict"}:
        # Its content is an object as it is, whatever its keys are.
        if not isinstance(data["$dict"], dict):
            raise ValueError(f"{data['$dict']!r:.40} is no object")
        return data["$dict"].values()
    return data.values()


# -- the shown form --------------------------------------------------------------------------------


def shown(value: object) -> StoredValue:
    """Return a value in a form that strict JSON can hold, for people and their programs.

    NaN and infinities become texts (``"NaN"``, ``"Infinity"``, ``"-Infinity"``), never null: null
    is None. Bytes become base64, arrays lists, datetimes ISO 8601. Nothing reads it back.
    """
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
        return [shown(item) for item in value]
    if isinstance(value, dict):
        return {shown_text(key): shown(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return bytes_to_text(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return shown(value.tolist())
    return str(value)


def shown_text(value: object, *, ascii_only: bool = True) -> str:
    """Return a value as one text: the text itself, or its shown form as JSON."""
    form = shown(value)
    return form if isinstance(form, str) else json.dumps(form, ensure_ascii=ascii_only)


def shown_json(value: object, indent: int | None = None) -> str:
    """Return the shown form of a value as strict JSON in ASCII, safe in every terminal."""
    return json.dumps(shown(value), allow_nan=False, indent=indent)
