"""Plain data: the allowed values of parameters, tags and metadata.

Parameters identify a trial, so this module guesses nothing about them: it refuses other values at
once. `traininglog.plain_json` has their form in JSON, as the record form.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import date
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from traininglog.plain_json import has_pair, joined
from traininglog.refusals import remedy
from traininglog.trials.trial_errors import InvalidName, InvalidParameter
from traininglog.values import StoredRow, StoredValue, called

MAX_NAME_BYTES = 512
_MAX_DEPTH = 64


def check_name(name: object, what: str) -> str:
    """Return the name of a project, group, trial or file. Raises `InvalidName`."""
    if not isinstance(name, str):
        raise InvalidName(f"the name of a {what} is a text, not a {type(name).__name__}")
    if not name:
        raise InvalidName(f"the name of a {what} must not be empty")
    size = len(name.encode("utf-8", "surrogatepass"))
    if size > MAX_NAME_BYTES:
        raise InvalidName(
            f"the name of a {what} may have {MAX_NAME_BYTES} bytes, this one has {size}: "
            "put the rest into the description"
        )
    if any(letter in name for letter in "/\\") or name in (".", ".."):
        raise InvalidName(f"the name of a {what} must not be a path, as {name[:80]!r} is")
    if not name.isprintable():
        raise InvalidName(f"the name of a {what} must be printable, {name[:80]!r} is not")
    return str.__str__(name)


def plain_dict(values: Mapping[str, StoredValue], what: str) -> StoredRow:
    """Return a mapping as a dict from names to plain data. Raises `InvalidParameter`."""
    if not isinstance(values, Mapping):
        raise InvalidParameter(
            f"expected a mapping of names to {what}, not {values!r:.80}: {remedy(values)}"
        )
    for name in values:
        if not isinstance(name, str):
            raise InvalidParameter(f"names of {what} are texts, not {name!r:.80}: use str(name)")
    return {_text(name): plain_data(value, f"{what} {name!r}") for name, value in values.items()}


def plain_data(value: StoredValue, what: str = "the value", depth: int = 0) -> Any:
    """Return a value as plain data: None, bool, int, float, str, and lists and dicts of these.

    Tuples become lists. Paths, dates and UUIDs become texts, enum members their names. Objects with
    ``.tolist()`` become plain numbers or lists of them. A pair of lone surrogates becomes the
    character that JSON reads it as. Integers may have any size.

    Raises `InvalidParameter` for any other value.
    """
    if value is None or isinstance(value, bool):
        return value
    if depth > _MAX_DEPTH:
        raise InvalidParameter(f"{what} is nested more than {_MAX_DEPTH} deep, or holds itself")
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (list, tuple)):
        return [plain_data(item, what, depth + 1) for item in value]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise InvalidParameter(f"{what} has the key {key!r:.80}: keys are texts in JSON")
        return {_text(key): plain_data(item, what, depth + 1) for key, item in value.items()}
    if isinstance(value, (PurePath, UUID)):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    if getattr(getattr(value, "dtype", None), "kind", "") == "M":
        return value.astype(str).tolist()  # without astype, tolist() may return nanoseconds
    listed = getattr(value, "tolist", None)  # arrays, tensors, and their scalars have it
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if callable(listed) and not isinstance(value, type) and kind != "m":
        return plain_data(listed(), what, depth + 1)
    raise InvalidParameter(f"{what} is a {called(value)}, which is no plain data: {remedy(value)}")


def _text(value: str) -> str:
    text = str.__str__(value)
    return joined(text) if has_pair(text) else text


def identity(*parts: object) -> str:
    """Return the hash of plain data in a canonical form, as 64 hex digits.

    The order of keys does not matter. Everything else does: types (True is not 1, 1 is not 1.0),
    nested values, and the boundaries between texts.

    >>> identity({"a": 1, "b": [2]}) == identity({"b": [2], "a": 1})
    True
    >>> identity(True) == identity(1)
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        for piece in _pieces(part):
            digest.update(piece)
    return digest.hexdigest()


def _pieces(value: StoredValue) -> Iterator[bytes]:
    # Each piece is a letter for the type, the length of the content, and the content. So two
    # different values never have the same bytes.
    if isinstance(value, list):
        yield b"l%d:" % len(value)
        for item in value:
            yield from _pieces(item)
    elif isinstance(value, dict):
        yield b"d%d:" % len(value)
        for key in sorted(value):
            yield from _pieces(key)
            yield from _pieces(value[key])
    elif isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        yield b"s%d:" % len(text)
        yield text
    elif value is None:
        yield b"n"
    elif isinstance(value, bool):
        yield b"t" if value else b"f"
    else:  # hex() of an int has no limit of digits; repr() of a float is exact
        text = (hex(value) if isinstance(value, int) else repr(value)).encode()
        yield b"%c%d:" % (b"i" if isinstance(value, int) else b"r", len(text))
        yield text
