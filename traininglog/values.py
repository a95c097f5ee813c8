"""What a log can hold: the checks on times and keys, and the plain form of values.

`plain` is the one gate through which every value enters a log, on every store: it returns the value
that reading will give back (an exact built-in, or a read-only copy of a container), or raises and
names the remedy. Nothing that it returns shares memory with what the caller passed.
"""

from __future__ import annotations

import functools
import sys
from datetime import datetime
from enum import Enum
from numbers import Integral
from pathlib import Path, PurePath
from typing import Any, Never, NoReturn, SupportsIndex
from uuid import UUID

from traininglog.errors import (
    InvalidKey,
    InvalidTime,
    InvalidUUID,
    ReadOnlyValue,
    ValueRangeError,
    ValueTooLarge,
    ValueTypeError,
)

MAX_TIME = 2**63 - 1
MAX_KEY_BYTES = 512
MAX_VALUE_BYTES = 2**20  # the default of the setting max_value_bytes
MAX_DEPTH = 64

_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1


def check_time(time: object) -> int:
    """Return `time` as an exact `int`, or raise `InvalidTime`."""
    if type(time) is int and 0 <= time <= MAX_TIME:  # nearly always; isinstance() asks an ABC
        return time
    if type(time) is bool or not isinstance(time, Integral):
        raise InvalidTime(f"time must be a non-negative integer, not {_describe(time)}")
    number = int(time)
    if number < 0:
        raise InvalidTime(f"time must be a non-negative integer, not {_describe(number)}")
    if number > MAX_TIME:
        raise InvalidTime("time must be a non-negative integer of at most 2**63 - 1")
    return number


def check_key(key: object) -> str:
    """Return `key` as an exact `str`, or raise `InvalidKey`."""
    if not isinstance(key, str):
        raise InvalidKey(f"a key must be a str, not {_describe(key)}; use str(key)")
    return check_text(str.__str__(key))


@functools.lru_cache(maxsize=4096)  # the same few keys come again at every step
def check_text(text: str) -> str:
    """Return a key that is an exact `str`, or raise `InvalidKey`."""
    if not text:
        raise InvalidKey("a key must not be empty")
    if "\0" in text:
        raise InvalidKey("a key must not contain NUL (U+0000)")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidKey(
            "a key must not contain lone surrogates; decode the text properly first"
        ) from None
    if size > MAX_KEY_BYTES:
        raise InvalidKey(
            f"a key may have {MAX_KEY_BYTES} bytes of UTF-8, this one has {size}; "
            "use a shorter one and store the long text as a value"
        )
    return text


def check_uuid(uuid: object) -> UUID:
    """Return the `UUID` that `uuid` is or spells (32 hex digits, dashes and case do not matter)."""
    if isinstance(uuid, UUID):
        return uuid
    if isinstance(uuid, str):
        try:
            return UUID(uuid)
        except ValueError:
            pass
    raise InvalidUUID(
        f"a run is named by a UUID of 32 hex digits, not by {_describe(uuid)}; "
        "a store's find() completes a prefix"
    )


def plain(value: object, limit: int = MAX_VALUE_BYTES) -> Any:
    """Return the form in which `value` is stored and read back.

    `limit` is the size in bytes that one text, bytes, array or container may have.

    Raises `ValueTypeError`, `ValueRangeError` or `ValueTooLarge`.

    >>> plain((1, {"a": [2.5]}))
    [1, {'a': [2.5]}]
    >>> plain({1, 2})
    Traceback (most recent call last):
    traininglog.errors.ValueTypeError: a set cannot be stored: store sorted(value), a list
    """
    exact = type(value)
    if exact is float or exact is bool or value is None:
        return value
    if exact is int and _INT_MIN <= value <= _INT_MAX:  # type: ignore[operator]
        return value
    return _Reader(limit).read(value, 0)


class _Reader:
    """Converts one value; counts what it holds, as a small object may unfold to a huge one."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.left = limit
        self.path: list[int] = []

    def read(self, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, (float, bool)):
            self.spend(8)
            return float.__float__(value) if isinstance(value, float) else value
        if isinstance(value, int):
            return self.integer(value)
        if isinstance(value, str):
            # A character takes four bytes at the most: short texts need no encoding to be measured.
            if len(value) * 4 > self.left:
                self.spend(len(value.encode("utf-8", "surrogatepass")))
            else:
                self.spend(len(value))
            return str.__str__(value)
        if isinstance(value, bytes):
            self.spend(len(value))
            return bytes(memoryview(value))
        if isinstance(value, (list, tuple, dict)):
            return self.container(value, depth)
        if isinstance(value, Enum):
            self.spend(8)
            return value
        if isinstance(value, datetime):
            return self.moment(value)
        if isinstance(value, UUID):
            return UUID(int=value.int)
        if isinstance(value, PurePath):
            self.spend(len(str(value)))
            return Path(value)
        return self.foreign(value, depth)

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise ValueTooLarge(
                f"the value takes more than {self.limit} bytes; save it to a file and store the "
                "path, or raise max_value_bytes"
            )

    def integer(self, value: int) -> int:
        number = int.__int__(value)
        if not _INT_MIN <= number <= _INT_MAX:
            raise ValueRangeError(
                f"an integer must fit 64 bits, this one has {number.bit_length()} and a sign; "
                "store float(value), or hex(value) as text"
            )
        self.spend(8)
        return number

    def container(self, value: Any, depth: int) -> Any:
        if id(value) in self.path:
            raise ValueTypeError(
                f"a {type(value).__name__} that contains itself cannot be stored: store it flat"
            )
        if depth >= MAX_DEPTH:
            raise ValueTooLarge(
                f"containers may be nested {MAX_DEPTH} deep: flatten the value, or store it as text"
            )
        self.spend(8)
        self.path.append(id(value))
        try:
            if not isinstance(value, dict):
                return FrozenList(self.read(item, depth + 1) for item in value)
            return FrozenDict(
                (self.dict_key(key), self.read(item, depth + 1)) for key, item in value.items()
            )
        finally:
            self.path.pop()

    def dict_key(self, key: object) -> Any:
        result = None if isinstance(key, tuple) else self.read(key, MAX_DEPTH)
        if isinstance(result, (str, int, float, bytes)) or key is None:
            return result
        remedy = "use its name" if isinstance(key, Enum) else "use str(key)"
        raise ValueTypeError(f"a {type(key).__name__} cannot be a key inside a value: {remedy}")

    def moment(self, value: datetime) -> datetime:
        self.spend(32)
        try:
            return datetime(
                value.year, value.month, value.day, value.hour, value.minute, value.second,
                value.microsecond, value.tzinfo, fold=value.fold,
            )  # fmt: skip
        except (TypeError, ValueError):  # pandas.NaT is a datetime without a year
            refuse(value)

    def foreign(self, value: Any, depth: int) -> Any:
        """Read what other libraries made: arrays, and anything with ``.item()``."""
        numpy = sys.modules.get("numpy")  # who passes an array has imported it
        if numpy is not None:
            if isinstance(value, numpy.ma.MaskedArray):
                refuse(value)
            if isinstance(value, (numpy.datetime64, numpy.timedelta64)):
                return self.numpy_moment(numpy, value)
            if isinstance(value, numpy.ndarray) and value.dtype.hasobject:
                raise ValueTypeError(
                    "an array of objects cannot be stored: store value.tolist(), "
                    "or an array of a numeric dtype"
                )
            if isinstance(value, numpy.ndarray) and value.size != 1:
                self.spend(value.nbytes)
                return frozen_array(numpy, value)
            if isinstance(value, numpy.longdouble):
                return self.read(float(value), depth)
        if not callable(getattr(type(value), "item", None)):
            refuse(value)
        try:
            scalar = value.item()
        except Exception as error:  # noqa: BLE001 - any library's own exception for "not a scalar"
            refuse(value, error)
        if isinstance(scalar, (tuple, list, dict)) or callable(getattr(type(scalar), "item", None)):
            refuse(value)
        return self.read(scalar, depth)

    def numpy_moment(self, numpy: Any, value: Any) -> datetime:
        if isinstance(value, numpy.timedelta64):
            refuse(value)
        moment = value.astype("datetime64[us]")
        result = moment.item()
        if not isinstance(result, datetime) or moment != value:
            raise ValueTypeError(
                "a datetime64 that is not a date to the microsecond cannot be stored: "
                "store str(value), or value.astype(int)"
            )
        return self.moment(result)


def thaw(value: Any) -> Any:
    """Return a read value with ordinary lists and dicts in place of read-only ones."""
    if isinstance(value, list):
        return [thaw(item) for item in value]
    if isinstance(value, dict):
        return {key: thaw(item) for key, item in value.items()}
    return value


def frozen_array(numpy: Any, value: Any) -> Any:
    """Return a copy of an array, over memory that nobody can make writable again."""
    flat = numpy.frombuffer(numpy.ascontiguousarray(value).tobytes(), dtype=value.dtype)
    return flat.reshape(value.shape)


_REMEDIES = {
    "complex": "store value.real and value.imag under two keys",
    "Decimal": "store float(value), or str(value) to keep every digit",
    "Fraction": "store float(value), or str(value)",
    "set": "store sorted(value), a list",
    "frozenset": "store sorted(value), a list",
    "bytearray": "store bytes(value)",
    "memoryview": "store bytes(value)",
    "range": "store list(value)",
    "date": "store value.isoformat(), or a datetime",
    "time": "store value.isoformat()",
    "timedelta": "store value.total_seconds()",
    "timedelta64": "store a float of seconds: value / numpy.timedelta64(1, 's')",
    "NaTType": "leave the value out, or store None",
    "DataFrame": "store value.to_dict('list'), or save it to a file and store the path",
    "Series": "store value.to_numpy() or value.to_list()",
    "MaskedArray": "store value.filled(...)",
    "Tensor": "store value.detach().cpu().numpy(), or one number per key",
    "Parameter": "store value.detach().cpu().numpy(), or one number per key",
    "function": "store what it returns, or its name",
}


def refuse(value: object, cause: Exception | None = None) -> NoReturn:
    """Raise `ValueTypeError` for a value, naming its type and what to store instead."""
    name = type(value).__name__
    remedy = _REMEDIES.get(name, "store a number, a text, str(value), or a list or dict of such")
    raise ValueTypeError(f"a {name} cannot be stored: {remedy}") from cause


def _describe(value: object) -> str:
    """Show a refused value briefly and safely: `repr` may raise, or flood the message."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an int of {value.bit_length()} bits"
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a stranger's __repr__ must not hide the error being raised
        return f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"a {type(value).__name__}"


def _refuse_change(self: object, *_: object, **__: object) -> Never:
    kind = "list" if isinstance(self, list) else "dict"
    raise ReadOnlyValue(
        f"this {kind} was read from a log and changing it would not change the log: "
        f"assign a new one (log[time][key] = ...), or work on a copy, {kind}(value)"
    )


class FrozenList(list[Any]):
    """A list as read from a log: equal to a list, and not to be changed in place.

    ``value += [...]`` makes a new, ordinary list, so ``log.status[key] += [...]`` works.
    """

    __slots__ = ()

    __setitem__ = __delitem__ = _refuse_change
    append = extend = insert = remove = pop = clear = sort = reverse = _refuse_change

    def __iadd__(self, other: Any) -> list[Any]:  # type: ignore[override,misc]
        return [*self, *other]

    def __imul__(self, count: SupportsIndex) -> list[Any]:  # type: ignore[override]
        return list(self) * count

    def __copy__(self) -> list[Any]:
        return list(self)

    def __reduce__(self) -> Any:
        return list, (list(self),)


class FrozenDict(dict[Any, Any]):
    """A dict as read from a log: equal to a dict, and not to be changed in place."""

    __slots__ = ()

    __setitem__ = __delitem__ = _refuse_change
    update = setdefault = pop = popitem = clear = _refuse_change

    def __ior__(self, other: Any) -> dict[Any, Any]:  # type: ignore[override,misc]
        return dict(self) | dict(other)

    def __copy__(self) -> dict[Any, Any]:
        return dict(self)

    def __reduce__(self) -> Any:
        return dict, (dict(self),)
