"""Moments: datetimes of any library as plain ones, and plain ones as text and back.

A datetime comes back with the wall clock, the offset, the time zone and the `fold` that it had. One
with more than that, like nanoseconds, is refused.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Any

from traininglog.errors import ValueTypeError
from traininglog.refusals import refuse

_FOLD = "fold=1"

#: How many of a unit make a microsecond, for the units that NumPy returns as a plain int.
_PARTS = {"ns": 10**3, "ps": 10**6, "fs": 10**9, "as": 10**12}


def plain_datetime(value: datetime) -> datetime:
    """Return a datetime of any class as one of the standard library's own class.

    Its time zone is a `ZoneInfo` if it has a name that `zoneinfo` knows, else a fixed offset.

    Raises `ValueTypeError` if the result would not be the same moment.
    """
    try:
        plain = datetime(
            value.year, value.month, value.day, value.hour, value.minute, value.second,
            value.microsecond, fold=value.fold,
        )  # fmt: skip
    except (TypeError, ValueError):  # pandas.NaT is a datetime without a year
        refuse(value)
    if getattr(value, "nanosecond", 0):
        raise ValueTypeError(
            f"a {type(value).__name__} with nanoseconds cannot be stored, as a datetime has "
            "microseconds: store value.isoformat(), a text"
        )
    zone = value.tzinfo
    if zone is None:
        return plain
    offset = value.utcoffset()
    if offset is None:
        raise ValueTypeError(
            "a datetime whose time zone has no offset cannot be stored: "
            "store value.replace(tzinfo=None)"
        )
    if type(zone) is timezone:
        return plain.replace(tzinfo=timezone(offset))
    named = _zone(getattr(zone, "key", None) or getattr(zone, "zone", None))
    if named is not None:
        for fold in (value.fold, 1 - value.fold):
            found = plain.replace(tzinfo=named, fold=fold)
            if found.utcoffset() == offset:
                return found
    return plain.replace(tzinfo=timezone(offset), fold=0)


def plain_datetime64(numpy: Any, value: Any) -> datetime:
    """Return a `numpy.datetime64` as a datetime. Raises `ValueTypeError` if it is not exact."""
    found = value.item()
    if found is None:
        raise ValueTypeError("a datetime64 that is NaT cannot be stored: leave it out, or store "
                             "None, or str(value)")  # fmt: skip
    unit, count = numpy.datetime_data(value.dtype)
    if isinstance(found, int) and unit in _PARTS:
        whole, rest = divmod(found * count, _PARTS[unit])
        if not rest:
            try:
                return datetime(1970, 1, 1) + timedelta(microseconds=whole)
            except OverflowError:
                pass
    elif isinstance(found, datetime):
        return found
    elif isinstance(found, date):
        return datetime(found.year, found.month, found.day)
    raise ValueTypeError(
        "a datetime64 that is not a date to the microsecond cannot be stored: "
        "store str(value), or value.astype(int)"
    )


def datetime_to_text(value: datetime) -> str:
    """Return the text of a plain datetime, followed by the name of its time zone, if it has one."""
    zone = getattr(value.tzinfo, "key", None)
    text = f"{value.isoformat()} [{zone}]" if zone else value.isoformat()
    if datetime_from_text(text).fold == value.fold:
        return text
    # An older version, which knows no zone of this name, then uses the offset alone.
    return f"{value.isoformat()} [{zone}; {_FOLD}]" if zone else f"{value.isoformat()} [{_FOLD}]"


def datetime_from_text(text: str) -> datetime:
    """Return the datetime that `datetime_to_text` was given."""
    stamp, _, behind = text.partition(" [")
    fixed = datetime.fromisoformat(stamp)
    zone, _, fold = behind.removesuffix("]").rpartition("; ")
    if fold == _FOLD:
        fixed = fixed.replace(fold=1)
    else:
        zone = fold
    named = _zone(zone)
    if named is None:  # this machine does not know the zone: the offset is still right
        return fixed
    there = fixed.replace(tzinfo=named)
    return there if there.utcoffset() == fixed.utcoffset() else there.replace(fold=1)


def _zone(name: object) -> tzinfo | None:
    if not isinstance(name, str) or not name:
        return None
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None
