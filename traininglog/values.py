"""The values that a log can hold: checks of times and keys, and the plain form of values.

Every value enters a log through `plain`, on every store. It returns the value that reading will
return (an exact built-in, or a read-only copy of a container), or raises and names the remedy. Its
result shares no memory with the argument.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from numbers import Integral
from pathlib import Path, PurePath
from typing import Any, NamedTuple, Never, Protocol, SupportsIndex, TypeAlias
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
from traininglog.moments import plain_datetime, plain_datetime64
from traininglog.refusals import refuse


class Scalar(Protocol):
    """A number of another library: a NumPy scalar, an array or a tensor of one number."""

    def item(self) -> StoredValue:
        """Return the number as a plain Python value."""


#: A value that can be assigned. The assignment checks it again, to the bottom: see `plain`.
Value: TypeAlias = (
    bool | int | float | str | bytes | datetime | UUID | PurePath | Enum | Scalar
    | Sequence[object] | Mapping[Any, object] | None
)  # fmt: skip

#: A value that a log returns: None, a bool, int, float, text, bytes, list, dict, array, datetime,
#: UUID, path or `Enum` member. It is `Any`, because the program knows which of them a key has: a
#: union would make every reader check.
StoredValue: TypeAlias = Any

#: A row, or a status: values by key.
StoredRow: TypeAlias = dict[str, StoredValue]

MAX_TIME = 2**63 - 1
MAX_KEY_BYTES = 512
MAX_VALUE_BYTES = 2**20  # the default of the setting max_value_bytes
MAX_DEPTH = 64

_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1


class UnknownEnum(NamedTuple):
    """A stored `Enum` member whose class is not loaded in this process."""

    type: str
    name: str | None
    value: StoredValue


def check_time(time: object) -> int:
    """Return `time` as an exact `int`, or raise `InvalidTime`."""
    if type(time) is int and 0 <= time <= MAX_TIME:  # nearly always; isinstance() with an ABC costs
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


def plain(value: object, limit: int = MAX_VALUE_BYTES) -> StoredValue:
    """Return the form in which `value` is stored and read back.

    `limit` is the size in bytes that one text, bytes, array or container may have.

    A value is kept exactly, or it is refused: no part of it is dropped silently. The following
    count as the same value: a subclass of a built-in is that built-in, a tuple (also a named one)
    is a list, an array keeps its dtype and shape but one without dimensions is its scalar, a tensor
    of one number is that number, and a datetime keeps its wall clock, offset, `fold` and named
    zone.

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
    """Converts one value, and counts its bytes, as a small object may unfold to a huge one."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.left = limit
        self.path: list[int] = []

    def read(self, value: object, depth: int) -> StoredValue:
        if value is None or isinstance(value, (float, bool)):
            self.spend(8)
            return float.__float__(value) if isinstance(value, float) else value
        if isinstance(value, int):
            return self.integer(value)
        if isinstance(value, str):
            # A character takes at most four bytes, so a short text need not be encoded to measure.
            if len(value) * 4 > self.left:
                self.spend(len(value.encode("utf-8", "surrogatepass")))
            else:
                self.spend(len(value))
            return str.__str__(value)
        if isinstance(value, bytes):
            self.spend(len(value))
            return bytes(memoryview(value))
        if isinstance(value, (Enum, UnknownEnum)):
            self.spend(8)
            return value
        if isinstance(value, (list, tuple, dict)):
            return self.container(value, depth)
        if isinstance(value, datetime):
            self.spend(32)
            return plain_datetime(value)
        if isinstance(value, UUID):
            return UUID(int=value.int)
        if isinstance(value, PurePath):
            return self.file(value)
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

    def container(self, value: Any, depth: int) -> StoredValue:
        if id(value) in self.path:
            raise ValueTypeError(
                f"a {called(value)} that contains itself cannot be stored: store it flat"
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
            found = FrozenDict(
                (self.dict_key(key), self.read(item, depth + 1)) for key, item in value.items()
            )
            if len(found) < len(value):
                raise ValueTypeError(
                    f"a {called(value)} two keys of which are stored as one cannot be "
                    "stored: use texts that differ"
                )
            return found
        finally:
            self.path.pop()

    def dict_key(self, key: object) -> StoredValue:
        result = None if isinstance(key, tuple) else self.read(key, MAX_DEPTH)
        if isinstance(result, (str, int, float, bytes)) or key is None:
            return result
        remedy = "use its name" if isinstance(key, Enum) else "use str(key)"
        raise ValueTypeError(f"a {called(key)} cannot be a key inside a value: {remedy}")

    def file(self, value: PurePath) -> Path:
        """Read a path of this system. Refuse one of another system, and a URL in a path object."""
        text = str(value)
        self.spend(len(text))
        if not isinstance(value, type(PurePath())):
            refuse(value)
        found = Path(text)
        if str(found) != text:
            refuse(value)
        return found

    def foreign(self, value: Any, depth: int) -> StoredValue:
        """Read a value of another library: an array, or anything with ``.item()``."""
        numpy = sys.modules.get("numpy")  # a program that passes an array has imported it
        if numpy is not None:
            if isinstance(value, numpy.ndarray):
                return self.array(numpy, value, depth)
            if isinstance(value, numpy.generic):
                return self.numpy_scalar(numpy, value, depth)
        kind = type(value)
        if not callable(getattr(kind, "item", None)):
            refuse(value)
        # A tensor of one number is that number. A Series of one is refused, as one of two is.
        tensor = hasattr(kind, "__dlpack__") or hasattr(value, "device")
        shape = getattr(value, "shape", None)
        if not tensor and (shape or (shape is None and hasattr(kind, "__len__"))):
            refuse(value)
        if numpy is not None and getattr(getattr(value, "dtype", None), "kind", "") in ("m", "M"):
            return self.read(numpy.asarray(value).reshape(())[()], depth)  # item() may be an int
        try:
            scalar = value.item()
        except Exception as error:  # noqa: BLE001 - any library's own exception for "not a scalar"
            refuse(value, error)
        if isinstance(scalar, (tuple, list, dict)) or callable(getattr(type(scalar), "item", None)):
            refuse(value)
        return self.read(scalar, depth)

    def array(self, numpy: Any, value: Any, depth: int) -> StoredValue:
        """Read an array. One without dimensions becomes its scalar."""
        if isinstance(value, numpy.ma.MaskedArray):
            refuse(value)
        if type(value) not in (numpy.ndarray, numpy.memmap):  # units or labels would be lost
            raise ValueTypeError(
                f"a {type(value).__name__} cannot be stored: store numpy.asarray(value), or "
                "value.tolist()"
            )
        if value.dtype.hasobject:
            raise ValueTypeError(
                "an array of objects cannot be stored: store value.tolist(), "
                "or an array of a numeric dtype"
            )
        if not value.ndim:
            return self.read(value[()], depth)
        self.spend(value.nbytes)
        return frozen_array(numpy, value, storable_dtype(numpy, value.dtype))

    def numpy_scalar(self, numpy: Any, value: Any, depth: int) -> StoredValue:
        if isinstance(value, numpy.timedelta64):
            refuse(value)
        if isinstance(value, numpy.datetime64):
            self.spend(32)
            return plain_datetime64(numpy, value)
        if isinstance(value, numpy.void):
            names = value.dtype.names
            advice = "dict(zip(value.dtype.names, value.item()))" if names else "value.tobytes()"
            raise ValueTypeError(f"a {type(value).__name__} cannot be stored: store {advice}")
        if isinstance(value, numpy.longdouble):
            number = float(value)
            if number == number and number != value:  # noqa: PLR0124 - not NaN
                raise ValueTypeError(
                    f"a {type(value).__name__} of more digits than a float has cannot be stored: "
                    "store float(value), or str(value) to keep every digit"
                )
            return self.read(number, depth)
        scalar = value.item()
        if isinstance(scalar, numpy.generic):
            refuse(value)
        return self.read(scalar, depth)


def called(value: object) -> str:
    """Return the name of a value's type, "list" or "dict" for the read-only ones of a log.

    >>> called(plain({"loss": 0.5}))
    'dict'
    """
    for kind in (FrozenDict, FrozenList):
        if isinstance(value, kind):
            return kind.__bases__[0].__name__
    return type(value).__name__


def thaw(value: StoredValue) -> StoredValue:
    """Return a read value with ordinary lists and dicts in place of read-only ones."""
    if isinstance(value, list):
        return [thaw(item) for item in value]
    if isinstance(value, dict):
        return {key: thaw(item) for key, item in value.items()}
    return value


def frozen_array(numpy: Any, value: Any, dtype: Any) -> StoredValue:
    """Return a copy of an array over memory that cannot be made writable again."""
    flat = numpy.frombuffer(numpy.ascontiguousarray(value).tobytes(), dtype=dtype)
    return flat.reshape(value.shape)


def storable_dtype(numpy: Any, dtype: Any) -> Any:
    """Return a dtype as the .npy format keeps it: without metadata.

    Raises `ValueTypeError` for a dtype that would come back as another one.
    """
    found = _without_metadata(numpy, dtype)
    if dtype.names is not None:
        try:
            descr = numpy.lib.format.dtype_to_descr(found)
            again = numpy.lib.format.descr_to_dtype(descr)
        except ValueError:  # fields that overlap, or that are not in order
            again = None
        if again != found:
            raise ValueTypeError(
                "an array of such a dtype cannot be stored: store "
                "numpy.lib.recfunctions.repack_fields(value)"
            )
    return found


def _without_metadata(numpy: Any, dtype: Any) -> Any:
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return numpy.dtype((_without_metadata(numpy, base), shape))
    if dtype.names is not None:
        fields = [dtype.fields[name] for name in dtype.names]
        layout: dict[str, Any] = {
            "names": list(dtype.names),
            "formats": [_without_metadata(numpy, field[0]) for field in fields],
            "offsets": [field[1] for field in fields],
            "titles": [field[2] if len(field) > 2 else None for field in fields],
            "itemsize": dtype.itemsize,
        }
        return numpy.dtype(layout)
    if dtype.isbuiltin == 2 or dtype.type.__module__ != "numpy":  # bfloat16, for example
        raise ValueTypeError(
            f"an array of {dtype} cannot be stored: store value.astype('float32'), or an array of "
            "another dtype of NumPy's own"
        )
    return numpy.dtype(dtype.str) if dtype.metadata else dtype


def _describe(value: object) -> str:
    """Return a short text for a refused value: its `repr` may raise, or be too long."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an int of {value.bit_length()} bits"
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a broken __repr__ must not hide the error being raised
        return f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"a {type(value).__name__}"


def _refuse_change(self: object, *_: object, **__: object) -> Never:
    kind = called(self)
    own = ""
    if kind == "dict":
        own = "; traininglog.flatten(...) makes keys of their own, like 'train/loss', of a dict"
    raise ReadOnlyValue(
        f"this {kind} was read from a log and changing it would not change the log: "
        f"assign a new one (log[time][key] = ...), or work on a copy, {kind}(value){own}"
    )


class FrozenList(list[StoredValue]):
    """A list as read from a log: equal to a list, but read-only.

    ``value += [...]`` makes a new, ordinary list, so ``log.status[key] += [...]`` works.
    """

    __slots__ = ()

    __setitem__ = __delitem__ = _refuse_change
    append = extend = insert = remove = pop = clear = sort = reverse = _refuse_change

    def __iadd__(self, other: Any) -> list[StoredValue]:  # type: ignore[override,misc]
        return [*self, *other]

    def __imul__(self, count: SupportsIndex) -> list[StoredValue]:  # type: ignore[override]
        return list(self) * count

    def __copy__(self) -> list[StoredValue]:
        return list(self)

    def __reduce__(self) -> tuple[type, tuple[object]]:
        return list, (list(self),)


class FrozenDict(dict[StoredValue, StoredValue]):
    """A dict as read from a log: equal to a dict, but read-only."""

    __slots__ = ()

    __setitem__ = __delitem__ = _refuse_change
    update = setdefault = pop = popitem = clear = _refuse_change

    def __ior__(self, other: Any) -> dict[StoredValue, StoredValue]:  # type: ignore[override,misc]
        return dict(self) | dict(other)

    def __copy__(self) -> dict[StoredValue, StoredValue]:
        return dict(self)

    def __reduce__(self) -> tuple[type, tuple[object]]:
        return dict, (dict(self),)
