"""The stored form of a value: a kind, and something that a database column can hold.

`encode` and `decode` are each other's inverse over everything that `values.plain` returns, to the
bit. They live together, and no other module of the package knows the stored form. They use no
pickle and no eval, and import no module that the data names. Containers are stored as JSON, by the
rules of `traininglog.plain_json`.

A kind is stored beside the value, because SQLite turns NaN into NULL, has no booleans, and would
mix up text, bytes and JSON. PostgreSQL has all of these, but no NUL in text.
"""

from __future__ import annotations

import io
import json
import math
import sys
from datetime import datetime
from enum import Enum, IntEnum
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from uuid import UUID

from traininglog.errors import CorruptLog
from traininglog.floats import NAN, from_text, nan_text
from traininglog.moments import datetime_from_text, datetime_to_text
from traininglog.plain_json import (
    READERS,
    bytes_from_text,
    bytes_to_text,
    compact,
    dict_to_json,
    float_to_json,
    has_pair,
    text_to_json,
)
from traininglog.values import FrozenDict, FrozenList, StoredValue, UnknownEnum, frozen_array


class Kind(IntEnum):
    """The type of a stored value. The numbers are in files: never change or reuse one."""

    HIDDEN = 0  #: a tombstone: an older value of the same time and key must not show through
    NONE = 1
    BOOL = 2
    INT = 3
    FLOAT = 4
    TEXT = 5
    BYTES = 6
    JSON = 7
    ARRAY = 8
    DATETIME = 9
    UUID = 10
    PATH = 11
    ENUM = 12


class _Hidden:
    """The type of `HIDDEN`, the tombstone that marks a deleted value in memory."""

    def __repr__(self) -> str:
        return "HIDDEN"


HIDDEN: Any = _Hidden()

# The most elements of zero bytes that an array may claim.
_MOST_EMPTY = 2**16

Stored = float | int | str | bytes | None


def encode(value: StoredValue) -> tuple[int, Stored]:
    """Return (kind, stored form) of a value that `values.plain` returned, or of `HIDDEN`."""
    if type(value) is float:
        # SQLite has one NaN, which is NULL to it.
        return 4, value if value == value else nan_text(value) or value  # noqa: PLR0124
    if type(value) is int:
        return 3, value
    if value is None:
        return 1, None
    if type(value) is bool:
        return 2, int(value)
    if type(value) is str:
        return 5, _text(value)
    if type(value) is bytes:
        return 6, value
    if value is HIDDEN:
        return 0, None
    if isinstance(value, (list, dict)):
        return 7, compact(_to_json(value))
    if isinstance(value, (Enum, UnknownEnum)):
        return 12, json.dumps(_enum_to_json(value), allow_nan=False)
    if isinstance(value, datetime):
        return 9, datetime_to_text(value)
    if isinstance(value, UUID):
        return 10, str(value)
    if isinstance(value, Path):
        return 11, _text(str(value))
    return 8, _array_to_bytes(value)


def decode(kind: int, stored: object) -> StoredValue:
    """Return the value that was encoded. Raises `CorruptLog` if no value can have this form."""
    if kind == 4 and type(stored) is float:
        return stored
    if kind == 3 and type(stored) is int:
        return stored
    try:
        return _DECODERS[kind](stored)
    except Exception as error:
        raise CorruptLog(
            f"a stored value of kind {kind} cannot be read ({error}); "
            "see `traininglog check` for the state of the file"
        ) from error


class Encoded(NamedTuple):
    """A value that is neither a float nor an int, in its stored form."""

    kind: int
    stored: Stored


#: A value on its way to the database. A number, as nearly all values are, is a cell by itself.
Cell = float | int | Encoded


def from_cell(cell: Cell) -> StoredValue:
    """Return the value of a cell."""
    return decode(*cell) if type(cell) is Encoded else cell


def fits(kind: int, stored: object) -> bool:
    """Return whether `encode` can have made this stored form.

    `decode` reads whatever it can. This check is for data that may be damaged: it requires the
    exact form.
    """
    if kind == Kind.FLOAT:
        if stored is None or type(stored) is float:
            return True
        return type(stored) is str and _is_text_of_nan(stored)
    try:
        value = decode(kind, stored)
    except CorruptLog:
        return False
    if kind in (Kind.BOOL, Kind.INT, Kind.TEXT, Kind.BYTES, Kind.UUID, Kind.PATH):
        return encode(value) == (kind, stored)
    return type(stored) is str or kind not in (Kind.JSON, Kind.DATETIME, Kind.ENUM)


def _is_text_of_nan(stored: str) -> bool:
    try:
        return nan_text(from_text(stored)) == stored
    except ValueError:
        return False


def _float_from(stored: object) -> float:
    if stored is None:
        return NAN
    if isinstance(stored, str) and _is_text_of_nan(stored):
        return from_text(stored)
    number: float = _must_be(float, stored)
    return number


def _text(value: str) -> str | bytes:
    """Return text as text, or as bytes if no database takes it (NUL, lone surrogates)."""
    try:
        encoded = value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
    return encoded if "\0" in value else value


def _from_text(stored: str | bytes) -> str:
    if isinstance(stored, str):
        return stored
    text: bytes = _must_be(bytes, stored)
    return text.decode("utf-8", "surrogatepass")


def _array_to_bytes(value: StoredValue) -> bytes:
    import numpy

    buffer = io.BytesIO()
    numpy.lib.format.write_array(buffer, value, allow_pickle=False)
    return buffer.getvalue()


def _refuse_claims(numpy: ModuleType, stored: bytes) -> None:
    """Raise `ValueError` for an array whose header does not fit the bytes that follow.

    This comes before any memory is allocated for it. Elements of zero bytes are limited as well,
    because they would cost time without end.
    """
    file = io.BytesIO(stored)
    names = numpy.lib.format
    short = names.read_magic(file) == (1, 0)
    # Version 3 differs from 2 in the encoding of the names of fields, which do not matter here.
    read_header = names.read_array_header_1_0 if short else names.read_array_header_2_0
    shape, _, dtype = read_header(file)
    count = math.prod(shape)
    if count < 0 or count * dtype.itemsize != len(stored) - file.tell():
        raise ValueError("its header and its size do not fit together")
    if not dtype.itemsize and count > _MOST_EMPTY:
        raise ValueError(f"{count} elements of no bytes")


def _array_from_bytes(stored: bytes) -> StoredValue:
    import numpy

    _refuse_claims(numpy, stored)
    array = numpy.lib.format.read_array(io.BytesIO(stored), allow_pickle=False)
    _refuse_other_characters(array)
    return frozen_array(numpy, array, array.dtype)


def _refuse_other_characters(array: Any) -> None:
    """Raise for texts of impossible characters: NumPy reads them, but an access to one fails."""
    if array.dtype.fields:
        for name in array.dtype.names:
            _refuse_other_characters(array[name])
    elif array.dtype.kind == "U":
        array.tolist()


def _enum_to_json(value: Enum | UnknownEnum) -> dict[str, Any]:
    if isinstance(value, UnknownEnum):  # recovered or merged without its class
        return {"type": value.type, "name": value.name, "value": _to_json(value.value)}
    kind = type(value)
    try:
        inner = _to_json(value.value)
    except TypeError:  # an Enum may hold anything; its name identifies it
        inner = None
    return {
        "type": f"{kind.__module__}:{kind.__qualname__}",
        "name": getattr(value, "name", None),
        "value": inner,
    }


def _enum_from_json(data: dict[str, Any]) -> Enum | UnknownEnum:
    """Return the member from a module that the program has loaded; never import one for it."""
    module, _, path = data["type"].partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    inner = _from_json(data["value"])
    if isinstance(found, type) and issubclass(found, Enum):
        if data["name"] in found.__members__:
            return found.__members__[data["name"]]
        try:
            return found(inner)  # a combination of flags has no member of its own
        except ValueError:
            pass
    return UnknownEnum(str(data["type"]), data["name"], inner)


def is_plain_json(value: StoredValue) -> bool:
    """Return whether strict JSON can hold a stored value as it is, to the bottom."""
    if value is None or type(value) in (bool, int):
        return True
    if type(value) is str:
        return not has_pair(value)
    if type(value) is float:
        return math.isfinite(value)
    if isinstance(value, list):
        return all(map(is_plain_json, value))
    if isinstance(value, dict):
        return all(type(key) is str and not has_pair(key) for key in value) and all(
            map(is_plain_json, value.values())
        )
    return False


def to_plain_json(value: StoredValue) -> Any:
    """Return a form of a stored value that strict JSON can hold, to the bottom."""
    return json.loads(compact(_to_json(value)))


def from_plain_json(data: object) -> StoredValue:
    """Return the value that `to_plain_json` was given. Raises `CorruptLog` for anything else."""
    try:
        return _from_json(data)
    except Exception as error:
        raise CorruptLog(f"a value cannot be read from its JSON ({error!r:.200})") from error


def _to_json(value: StoredValue) -> Any:
    """Return a value as strict JSON; types that JSON does not have become objects of one key."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return value if value.isascii() else text_to_json(value)
    if isinstance(value, float):
        return float_to_json(value)
    if isinstance(value, list):
        return [_to_json(item) for item in value]
    if isinstance(value, dict):
        return dict_to_json(value, _to_json)
    if isinstance(value, bytes):
        return {"$bytes": bytes_to_text(value)}
    if isinstance(value, (Enum, UnknownEnum)):
        return {"$enum": _enum_to_json(value)}
    if isinstance(value, datetime):
        return {"$datetime": datetime_to_text(value)}
    if isinstance(value, UUID):
        return {"$uuid": str(value)}
    if isinstance(value, Path):
        return {"$path": str(value)}
    if hasattr(value, "dtype"):
        return {"$array": bytes_to_text(_array_to_bytes(value))}
    raise TypeError(type(value).__name__)


def _from_json(data: object) -> StoredValue:
    if isinstance(data, list):
        return FrozenList(_from_json(item) for item in data)
    if not isinstance(data, dict):
        return data
    if len(data) == 1:
        ((tag, inner),) = data.items()
        if tag in _TAGS:
            return _TAGS[tag](inner)
    return FrozenDict(
        {
            key: item if type(item) in _SIMPLE else _from_json(item)
            for key, item in data.items()
        }
    )  # fmt: skip


# Types of JSON whose values stand for themselves.
_SIMPLE = frozenset([str, int, float, bool, type(None)])

_TAGS: dict[str, Any] = {
    **READERS,
    "$dict": lambda pairs: FrozenDict((_from_json(key), _from_json(item)) for key, item in pairs),
    "$enum": _enum_from_json,
    "$datetime": datetime_from_text,
    "$uuid": UUID,
    "$path": Path,
    "$array": lambda text: _array_from_bytes(bytes_from_text(text)),
}


def _must_be(form: type, stored: object) -> StoredValue:
    if not isinstance(stored, form):
        raise TypeError(f"it is stored as {type(stored).__name__}")
    return stored


_DECODERS: dict[int, Any] = {
    Kind.HIDDEN: lambda stored: _must_be(type(None), stored) or HIDDEN,
    Kind.NONE: lambda stored: _must_be(type(None), stored),
    Kind.BOOL: lambda stored: bool(_must_be(int, stored)),
    Kind.INT: lambda stored: _must_be(int, stored),
    Kind.FLOAT: _float_from,
    Kind.TEXT: _from_text,
    Kind.BYTES: lambda stored: _must_be(bytes, stored),
    Kind.JSON: lambda text: _from_json(json.loads(text)),
    Kind.ARRAY: _array_from_bytes,
    Kind.DATETIME: datetime_from_text,
    Kind.UUID: UUID,
    Kind.PATH: lambda stored: Path(_from_text(stored)),
    Kind.ENUM: lambda text: _enum_from_json(json.loads(text)),
}
