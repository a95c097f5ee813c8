"""Decoding the cells of SQLite's pages: varints, and records, which hold the columns of a row.

See sqlite.org/fileformat.html, 2.1.
"""

from __future__ import annotations

import struct

from traininglog.encoding import Stored

_DOUBLE = struct.Struct(">d")

# The bytes of an integer, by serial type.
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


class Damage(Exception):
    """Bytes that SQLite cannot have written."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Decode a number of one to nine bytes; return it and the place after it."""
    byte = data[at]
    at += 1
    if byte < 0x80:
        return byte, at
    number = byte & 0x7F
    for _ in range(7):
        byte = data[at]
        at += 1
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, at
    number = number << 8 | data[at]
    return (number - 2**64 if number >= 2**63 else number), at + 1


def leading_values(payload: bytes) -> tuple[Stored, ...]:
    """Return the columns that are whole of a record whose end is missing."""
    stop, at = varint(payload, 0)
    begin, end = at, stop
    heads = b""
    while at < stop:
        kind, at = varint(payload, at)
        size = (kind - 12) // 2 if kind >= 12 else _INTEGER_BYTES.get(kind, 8 * (kind == 7))
        if end + size > len(payload):
            break
        end += size
        heads = payload[begin:at]
    if len(heads) > 126:  # more columns than any table of ours has
        raise Damage
    return values_of(bytes((1 + len(heads),)) + heads + payload[stop:end])


def values_of(payload: bytes) -> tuple[Stored, ...]:
    """Return the columns of a record."""
    stop, at = varint(payload, 0)
    place = stop
    values: list[Stored] = []
    while at < stop:
        kind = payload[at]  # mostly a varint of one byte: the loop is hot
        if kind < 0x80:
            at += 1
        else:
            kind, at = varint(payload, at)
        if kind == 7:
            number = _DOUBLE.unpack_from(payload, place)[0]
            values.append(number if number == number else None)  # noqa: PLR0124 - as SQLite reads NaN
            place += 8
        elif kind in _INTEGER_BYTES:
            size = _INTEGER_BYTES[kind]
            values.append(int.from_bytes(payload[place : place + size], "big", signed=True))
            place += size
        elif kind >= 12:
            size = (kind - 12) // 2
            content = payload[place : place + size]
            values.append(content.decode() if kind & 1 else content)
            place += size
        elif kind == 0:
            values.append(None)
        elif kind in (8, 9):
            values.append(kind - 8)
        else:
            raise Damage
    if at != stop or place != len(payload):
        raise Damage
    return tuple(values)
