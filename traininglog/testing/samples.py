"""Times, keys and values that a log takes, and those that it refuses, with the remedy."""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import math
import pathlib
import struct
import types
import uuid
import zoneinfo
from collections import OrderedDict, deque, namedtuple
from typing import Any

import numpy as np

from traininglog import ValueRangeError, ValueTooLarge, ValueTypeError


class Colour(enum.Enum):
    """An enumeration that is not a number."""

    RED = "red"
    BLUE = (1, 2)


class Level(enum.IntEnum):
    """An enumeration that is an integer."""

    HIGH = 3


class Access(enum.Flag):
    """An enumeration whose members can be combined."""

    READ = 1
    WRITE = 2


class Text(str):
    """A text with a class of its own."""

    __slots__ = ()


Pair = namedtuple("Pair", "x y")


@dataclasses.dataclass
class Settings:
    """A configuration as a dataclass."""

    lr: float = 0.1
    path: pathlib.Path = pathlib.Path("runs")


class Options:
    """A configuration as a plain class."""

    def __init__(self) -> None:
        self.lr = 0.1


class Units(np.ndarray[Any, Any]):
    """An array with a meaning beyond its numbers."""


class Lasting(dt.tzinfo):
    """A custom time zone, without a name that `zoneinfo` knows."""

    def utcoffset(self, _moment: dt.datetime | None) -> dt.timedelta:
        return dt.timedelta(hours=3)

    def dst(self, _moment: dt.datetime | None) -> None:
        return None

    def tzname(self, _moment: dt.datetime | None) -> None:
        return None


class Adrift(dt.tzinfo):
    """A time zone without an offset."""

    def utcoffset(self, _moment: dt.datetime | None) -> None:
        return None

    dst = tzname = utcoffset


PARIS = zoneinfo.ZoneInfo("Europe/Paris")

BAD_TIMES: list[Any] = [
    -1, 1.0, 1.5, math.nan, True, False, "1", None, 2**63, -(2**70), b"1", (1,),
    np.float64(1), np.bool_(True),
]  # fmt: skip

GOOD_TIMES: list[Any] = [0, 1, 2**31, 2**53 + 1, 2**63 - 1, np.int64(7), np.uint8(9), Level.HIGH]

BAD_KEYS: list[Any] = ["", 1, 1.5, None, b"loss", ("a",), "a\0b", "\ud800", "x" * 513, "é" * 257]

HOSTILE_KEYS = [
    '"; DROP TABLE runs;--',
    "'; DELETE FROM entries; --",
    "%s :p ? {x} %(x)s",
    "../../etc/passwd",
    "<script>alert(1)</script>",
    "\u202egnirts",
    "line\nbreak\ttab\rreturn",
    "\x1b[31mred\x1b[0m",
    "[red]markup[/red]",
    "e\u0301",
    "\u00e9",
    "A",
    "a",
    " ",
    "=1+1",
    "$dict",
    "*",
    "loss[0]",
    "x" * 512,
    "é" * 256,
    "time",
    "value",
    "log",
    "None",
]

#: Some NaNs: with a sign, with a payload, with both, and a signaling one.
NANS: list[float] = [
    struct.unpack(">d", bytes.fromhex(bits))[0]
    for bits in ("fff8000000000000", "7ff8000000000001", "fff8deadbeef0001", "7ff0000000000001")
]

#: Values that come back exactly as they are, and of the same type.
EXACT_VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63),
    0.0, -0.0, 1.5, 0.1, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308,
    math.inf, -math.inf, math.nan, *NANS, 1e16, float(2**53),
    "", "text", "é", "\u202e", "a\0b", "\ud800", "lone \udfff end", "1", "1.0", "NaN", "None",
    '{"$float": "nan"}', "'; DROP TABLE runs;--", "x" * 10_000,
    b"", b"bytes", b"\0\xff", bytes(range(256)),
    dt.datetime(2026, 2, 3, 4, 5, 6, 789), dt.datetime(1, 1, 1), dt.datetime.max,
    dt.datetime(2026, 2, 3, tzinfo=dt.UTC),
    dt.datetime(2026, 2, 3, tzinfo=dt.timezone(dt.timedelta(hours=-5, minutes=-30))),
    dt.datetime(2026, 7, 3, tzinfo=PARIS),
    dt.datetime(2026, 10, 25, 2, 30, tzinfo=PARIS),
    dt.datetime(2026, 10, 25, 2, 30, tzinfo=PARIS, fold=1),
    dt.datetime(2026, 7, 3, tzinfo=PARIS, fold=1), dt.datetime(2026, 3, 29, 2, 30, tzinfo=PARIS),
    dt.datetime(2026, 3, 29, 2, 30, tzinfo=PARIS, fold=1),
    dt.datetime(2026, 10, 25, 2, 30, fold=1), dt.datetime(2026, 2, 3, tzinfo=dt.UTC, fold=1),
    uuid.UUID("12345678123456781234567812345678"),
    pathlib.Path("runs/best.pt"), pathlib.Path("/"), pathlib.Path("\udcff"),
    Colour.RED, Colour.BLUE, Access.READ | Access.WRITE,
]  # fmt: skip

#: (the assigned value, the value that is read back)
PLAIN_VALUES: list[tuple[Any, Any]] = [
    ([], []),
    ({}, {}),
    ((1, 2), [1, 2]),
    (Pair(1, [2, (3,)]), [1, [2, [3]]]),
    ([None, True, 1, -0.0, math.inf, "t", b"b"], [None, True, 1, -0.0, math.inf, "t", b"b"]),
    ({"a": {"b": [1.5, {"c": None}]}}, {"a": {"b": [1.5, {"c": None}]}}),
    ({"x": math.nan, "y": -math.inf}, {"x": math.nan, "y": -math.inf}),
    ([*NANS, {"x": NANS[0]}], [*NANS, {"x": NANS[0]}]),
    ({1: "a", 2.5: "b", None: "c", b"k": "d"}, {1: "a", 2.5: "b", None: "c", b"k": "d"}),
    ({"$float": "nan"}, {"$float": "nan"}),
    ({"$dict": [["a", 1]]}, {"$dict": [["a", 1]]}),
    ({"": 0, "a\0": "\ud800"}, {"": 0, "a\0": "\ud800"}),
    (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    ([Colour.RED, uuid.UUID(int=5), pathlib.Path("a"), dt.datetime(2026, 1, 1)],
     [Colour.RED, uuid.UUID(int=5), pathlib.Path("a"), dt.datetime(2026, 1, 1)]),
    (Level.HIGH, 3),
    (Text("sub"), "sub"),
    (np.float64(1.5), 1.5), (np.float32(0.5), 0.5), (np.float16(0.5), 0.5),
    (np.longdouble(0.5), 0.5), (np.float64("nan"), math.nan),
    (np.int8(-3), -3), (np.int64(2**62), 2**62), (np.uint64(7), 7), (np.uint8(255), 255),
    (np.bool_(True), True), (np.str_("s"), "s"), (np.bytes_(b"s"), b"s"),
    (np.datetime64("2026-02-03T04:05:06"), dt.datetime(2026, 2, 3, 4, 5, 6)),
    (np.datetime64("2026-02-03"), dt.datetime(2026, 2, 3)),
    (np.array(2.5), 2.5), (np.array(True), True), (np.array("s"), "s"),
    (np.datetime64("2026-02-03T04:05:06.000007000", "ns"), dt.datetime(2026, 2, 3, 4, 5, 6, 7)),
    (np.array("2026-02-03T04:05:06.000007", "datetime64[ns]"), dt.datetime(2026, 2, 3, 4, 5, 6, 7)),
    (dt.datetime(2026, 2, 3, tzinfo=Lasting()),
     dt.datetime(2026, 2, 3, tzinfo=dt.timezone(dt.timedelta(hours=3)))),
    (dt.datetime(2026, 2, 3, tzinfo=dt.timezone(dt.timedelta(hours=1), "here")),
     dt.datetime(2026, 2, 3, tzinfo=dt.timezone(dt.timedelta(hours=1)))),
    ([np.float32(0.25), np.int16(2)], [0.25, 2]),
    ({np.int64(1): np.array(2)}, {1: 2}),
]  # fmt: skip

#: Arrays that come back as equal, read-only arrays of the same dtype and shape.
ARRAYS = [
    np.array([1.0, math.nan, -0.0]),
    np.array([], dtype="float32"),
    np.arange(6, dtype="int16").reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(10)[::3],
    np.array([True, False]),
    np.array([1 + 2j, 3j]),
    np.array(["a", "bcd"]),
    np.array([b"a", b"bcd"]),
    np.array(["2026-01-01", "NaT"], dtype="datetime64[ns]"),
    np.array([(1, 2.5), (3, 4.5)], dtype=[("n", "i4"), ("x", "f8")]),
    np.zeros((0, 3)),
    np.arange(4, dtype=">i4"),
    np.array([2.5]),
    np.array([[3]]),
    np.array([[["s"]]]),
    np.array(["2026-01-01T00:00:00.123456789"], dtype="datetime64[ns]"),
    np.array([(1, 2.5)], dtype=[("n", "i4"), ("x", "f8")]),
    np.array([(1, (2, 3))], dtype=[("n", "i1"), ("x", "i8", (2,))]),
    np.zeros(3, dtype=np.dtype("i4", metadata={"unit": "m"})),
    np.zeros(1, dtype=np.dtype([("n", np.dtype("i4", metadata={"unit": "m"}))])),
]


def _nested(depth: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


def _own_loop() -> list[Any]:
    loop: list[Any] = [1]
    loop.append({"again": loop})
    return loop


def _unfolding(depth: int) -> list[Any]:
    """Return a small object that unfolds to 10**(depth + 1) numbers."""
    inner: list[Any] = [1] * 10
    for _ in range(depth):
        inner = [inner] * 10
    return inner


#: (the assigned value, the error, a word of the remedy)
REFUSED_VALUES: list[tuple[Any, type[Exception], str]] = [
    (2**63, ValueRangeError, "float"),
    (-(2**63) - 1, ValueRangeError, "float"),
    (10**5000, ValueRangeError, "float"),
    (np.uint64(2**63), ValueRangeError, "float"),
    (_own_loop(), ValueTypeError, "flat"),
    (_nested(100_000), ValueTooLarge, "flatten"),
    (_unfolding(20), ValueTooLarge, "file"),
    ("x" * (2**20 + 1), ValueTooLarge, "file"),
    ("é" * (2**19 + 1), ValueTooLarge, "file"),
    (b"x" * (2**20 + 1), ValueTooLarge, "file"),
    (["x" * 2**19] * 3, ValueTooLarge, "file"),
    (np.zeros(2**18), ValueTooLarge, "file"),
    (1 + 2j, ValueTypeError, "real"),
    (np.complex64(1j), ValueTypeError, "real"),
    (decimal.Decimal("0.1"), ValueTypeError, "float"),
    (fractions.Fraction(1, 3), ValueTypeError, "float"),
    (lambda: 0, ValueTypeError, "returns"),
    (object(), ValueTypeError, "str"),
    (int, ValueTypeError, "str"),
    ({1, 2}, ValueTypeError, "sorted"),
    (bytearray(b"x"), ValueTypeError, "bytes"),
    (range(3), ValueTypeError, "list"),
    ((n for n in range(3)), ValueTypeError, "str"),
    (dt.date(2026, 1, 1), ValueTypeError, "isoformat"),
    (dt.timedelta(1), ValueTypeError, "total_seconds"),
    (np.timedelta64(1, "s"), ValueTypeError, "seconds"),
    (np.datetime64("NaT", "s"), ValueTypeError, "None"),
    (np.datetime64(2**62, "s"), ValueTypeError, "str"),  # it overflows in microseconds
    (np.datetime64(2**40, "Y"), ValueTypeError, "str"),
    (np.array("2026-01-01T00:00:00.123456789", "datetime64[ns]"), ValueTypeError, "str"),
    (np.ma.masked, ValueTypeError, "None"),
    (dt.datetime(2026, 1, 1, tzinfo=Adrift()), ValueTypeError, "tzinfo=None"),
    (pathlib.PureWindowsPath("C:\\data"), ValueTypeError, "str"),
    (np.ma.masked_array([1.0], [True]), ValueTypeError, "filled"),
    (np.ones(1).view(Units), ValueTypeError, "asarray"),
    (np.ones(2).view(Units), ValueTypeError, "asarray"),
    (np.nextafter(np.longdouble(1), 2), ValueTypeError, "float"),
    (
        np.zeros(1, {"names": ["b", "a"], "formats": ["i4", "i4"], "offsets": [4, 0]}),
        ValueTypeError,
        "repack_fields",
    ),
    (np.zeros((), dtype=[("n", "i4")]), ValueTypeError, "dict"),
    (Settings(), ValueTypeError, "asdict"),
    (argparse.Namespace(lr=0.1), ValueTypeError, "vars"),
    (types.SimpleNamespace(lr=0.1), ValueTypeError, "vars"),
    (Options(), ValueTypeError, "vars"),
    (types.MappingProxyType({"lr": 0.1}), ValueTypeError, "dict"),
    (deque([1, 2]), ValueTypeError, "list"),
    ({}.keys(), ValueTypeError, "sorted"),
    ({}.values(), ValueTypeError, "list"),
    (np.datetime64(1, "ns"), ValueTypeError, "str"),
    (np.array([object()] * 2), ValueTypeError, "tolist"),
    (np.array(object(), dtype=object), ValueTypeError, "tolist"),
    (np.ma.masked_array([1.0, 2.0], [True, False]), ValueTypeError, "filled"),
    (np.zeros(2, dtype=[("n", "i4")])[0], ValueTypeError, "dict"),
    ([1, {"deep": {1, 2}}], ValueTypeError, "sorted"),
    ({(1, 2): 3}, ValueTypeError, "str"),
    ({Colour.RED: 3}, ValueTypeError, "name"),
]


def same(one: Any, two: Any) -> bool:
    """Return whether two values are the same: type, sign of zero, NaN, and all their items."""
    if isinstance(one, np.ndarray) or isinstance(two, np.ndarray):
        return bool(
            isinstance(one, np.ndarray) and isinstance(two, np.ndarray)
            and one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()
        )  # fmt: skip
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, dict) and isinstance(two, dict):
        return list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    if type(one) is not type(two):
        return False
    if isinstance(one, float):
        return struct.pack("<d", one) == struct.pack("<d", two)
    if isinstance(one, dt.datetime):
        return bool(
            one == two and one.utcoffset() == two.utcoffset() and one.fold == two.fold
            and getattr(one.tzinfo, "key", None) == getattr(two.tzinfo, "key", None)
        )  # fmt: skip
    return bool(one == two)
