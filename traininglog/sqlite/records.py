"""The records of a tail journal: assignments as bytes, and back.

A number, which is nearly all there ever is, takes a record of a fixed size, packed by one call::

    head (4), time (8), value (8), value (8), time (8), head (4), tag (4)

`head` has the record's type in its top byte and the number of the key below: a key of the run, or
for a count, which is an int in the status, one that was named in this region. Everything is
there twice: comparing is cheaper than a checksum, and finds any flipped bit. All else is::

    type and 0 (4), size (4), payload, crc32 (4), tag (4)

`tag` tells records of this round from what an earlier round left at the same place on the disk. Its
last byte is never 0, so a region of which every unused byte is 0 ends where its records end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from struct import Struct
from typing import Any
from zlib import crc32

from traininglog.encoding import HIDDEN, Cell, Encoded, Stored, decode, encode

FLOAT, INT, COUNT, ROW, ENTRIES, STATUS, KEY, COUNTER = range(1, 9)

#: What is added to a key's number to make the head of a record.
FLOAT_HEAD, INT_HEAD, COUNT_HEAD = FLOAT << 24, INT << 24, COUNT << 24

#: Keys are numbered from 1 up to here.
MOST_KEYS = 2**24 - 1

_FLOAT = Struct("<IQddQII")
_INT = Struct("<IQqqQII")
_SIZE = _FLOAT.size
_FIXED = (FLOAT, INT, COUNT)
_FRAME = Struct("<II")
_PART = Struct("<QIBBI")
_STATUS_PART = Struct("<BBHI")
_KEY = Struct("<I")
_ROW_TIME = Struct("<Q")
_CELL = Struct("<Id")
_DOUBLE = Struct("<d")
_LONG = Struct("<q")

pack_float = _FLOAT.pack
pack_int = _INT.pack


def pack_row(time: int, flat: list[Any], tag: int) -> bytes:
    """Pack floats of one time, given as head, value, head, value, ...; one record, all or none."""
    form = _ROWS.get(len(flat))
    if form is None:
        form = _ROWS[len(flat)] = Struct(f"<IIQ{'Id' * (len(flat) // 2)}")
    body = form.pack(ROW << 24, form.size - 8, time, *flat)
    return body + _FRAME.pack(crc32(body, tag), tag)


_ROWS: dict[int, Struct] = {}


def pack_entries(entries: Iterable[tuple[int, int, Any]], tag: int) -> bytes:
    """Pack values of any kind, given as (time, number of the key, value): one record."""
    parts = []
    for time, number, value in entries:
        kind, form, data = _encoded(value)
        parts.append(_PART.pack(time, number, kind, form, len(data)))
        parts.append(data)
    return _framed(ENTRIES, b"".join(parts), tag)


def pack_status(values: Mapping[str, Any], tag: int) -> bytes:
    """Pack values of the status: one record."""
    parts = []
    for key, value in values.items():
        name = key.encode()
        kind, form, data = _encoded(value)
        parts += [_STATUS_PART.pack(kind, form, len(name), len(data)), name, data]
    return _framed(STATUS, b"".join(parts), tag)


def pack_key(number: int, name: str, tag: int) -> bytes:
    """Pack what number a key has got in its run."""
    return _framed(KEY, _KEY.pack(number) + name.encode(), tag)


def pack_counter(number: int, name: str, tag: int) -> bytes:
    """Pack what number a key of the status has got in this region."""
    return _framed(COUNTER, _KEY.pack(number) + name.encode(), tag)


def _framed(kind: int, payload: bytes, tag: int) -> bytes:
    body = _FRAME.pack(kind << 24, len(payload)) + payload
    return body + _FRAME.pack(crc32(body, tag), tag)


class DamagedRecord(Exception):
    """The bytes at `at` are not a record of this round.

    `torn` tells of one that a process was just writing as it was killed: it is the last, and not
    all there.
    """

    def __init__(self, data: bytes, at: int, tag: int) -> None:
        super().__init__(f"no record at byte {at}")
        self.at = at
        rest = data[at:].rstrip(b"\0")
        size = _SIZE
        if len(rest) >= 8 and rest[3] not in _FIXED:
            size = 16 + _FRAME.unpack_from(rest)[1]
        self.torn = len(rest) < size and _KEY.pack(tag) not in rest


class Batch:
    """Assignments in the order of their records, the last one to a place winning."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[int, Cell]] = {}  #: time, then number of the key
        self.names: dict[int, str] = {}  #: the keys that were numbered here
        self.counters: dict[int, str] = {}  #: likewise, keys of the status
        self.status: dict[str, Any] = {}  #: `HIDDEN` where it was deleted
        self.renewed: set[str] = set()  #: keys of the status that were deleted and set again
        self.size = 0  #: how many bytes of records have been added

    def add(self, data: bytes, tag: int, skip: int = 0) -> list[tuple[str, Any]]:
        """Add what records hold, after the first `skip` bytes; return what they assign to a status.

        Raises `DamagedRecord`; what is before the damage has been added, and `size` tells how far.
        """
        rows = self.rows
        found: list[tuple[str, Any]] = []
        end = len(data)
        at = skip
        last = -1
        row: dict[int, Cell] = {}
        while at < end:
            kind = data[at + 3] if at + 4 <= end else 0
            if kind in _FIXED:
                stop = at + (end - at) // _SIZE * _SIZE
                form = _FLOAT if kind == FLOAT else _INT
                before = at
                for head, time, value, value2, time2, head2, tag2 in form.iter_unpack(
                    memoryview(data)[at:stop]
                ):
                    if head >> 24 != kind:
                        break  # a record of another type
                    same = head == head2 and time == time2 and tag == tag2
                    # NaN differs from itself, and 0.0 does not differ from -0.0.
                    if not (same and value == value2 and value) and not (
                        same and data[at + 12 : at + 20] == data[at + 20 : at + 28]
                    ):
                        break
                    if kind == COUNT:
                        self._note(self.counters[head & MOST_KEYS], value, found)
                    else:
                        if time != last:
                            row = rows.setdefault(time, {})
                            last = time
                        row[head & MOST_KEYS] = value
                    at += _SIZE
                self.size += at - before
                if at == before:
                    raise DamagedRecord(data, at, tag)
                continue
            stop = self._add_framed(data, at, tag, found)
            self.size += stop - at
            at = stop
            last = -1
        return found

    def _add_framed(self, data: bytes, at: int, tag: int, found: list[tuple[str, Any]]) -> int:
        if at + 16 > len(data):
            raise DamagedRecord(data, at, tag)
        head, size = _FRAME.unpack_from(data, at)
        end = at + 8 + size
        if end + 8 > len(data):
            raise DamagedRecord(data, at, tag)
        checksum, tag2 = _FRAME.unpack_from(data, end)
        if tag2 != tag or crc32(data[at:end], tag) != checksum:
            raise DamagedRecord(data, at, tag)
        kind = head >> 24
        start = at + 8
        if kind == ROW:
            (time,) = _ROW_TIME.unpack_from(data, start)
            row = self.rows.setdefault(time, {})
            for number, value in _CELL.iter_unpack(data[start + 8 : end]):
                row[number & MOST_KEYS] = value
        elif kind == ENTRIES:
            while start < end:
                time, number, code, form, length = _PART.unpack_from(data, start)
                start += _PART.size + length
                cell = _cell(code, form, data[start - length : start])
                self.rows.setdefault(time, {})[number] = cell
        elif kind == STATUS:
            while start < end:
                code, form, name_size, length = _STATUS_PART.unpack_from(data, start)
                start += _STATUS_PART.size + name_size
                key = data[start - name_size : start].decode()
                start += length
                self._note(
                    key, decode(code, _from_bytes(form, data[start - length : start])), found
                )
        elif kind == KEY:
            (number,) = _KEY.unpack_from(data, start)
            self.names[number] = data[start + 4 : end].decode()
        elif kind == COUNTER:
            (number,) = _KEY.unpack_from(data, start)
            self.counters[number] = data[start + 4 : end].decode()
        else:
            raise DamagedRecord(data, at, tag)
        return int(end + 8)

    def _note(self, key: str, value: Any, found: list[tuple[str, Any]]) -> None:
        found.append((key, value))
        note_status(self.status, self.renewed, {key: value})


def note_status(status: dict[str, Any], renewed: set[str], values: Mapping[str, Any]) -> None:
    """Add changes to what is to be written of a status, keeping what was deleted in between."""
    for key, value in values.items():
        if status.pop(key, None) is HIDDEN:
            renewed.add(key)
        status[key] = value


def _encoded(value: Any) -> tuple[int, int, bytes]:
    """Return the kind of a value, the form that its stored bytes have, and these bytes."""
    kind, stored = encode(value)
    if stored is None:
        return kind, 0, b""
    if isinstance(stored, int):
        return kind, 1, _LONG.pack(stored)
    if isinstance(stored, float):
        return kind, 2, _DOUBLE.pack(stored)
    if isinstance(stored, str):
        return kind, 3, stored.encode()
    return kind, 4, stored


def _from_bytes(form: int, data: bytes) -> Stored:
    if form == 0:
        return None
    if form == 1:
        return int(_LONG.unpack(data)[0])
    if form == 2:
        return float(_DOUBLE.unpack(data)[0])
    return data.decode() if form == 3 else data


def _cell(kind: int, form: int, data: bytes) -> Cell:
    stored = _from_bytes(form, data)
    if (kind == 4 and form == 2) or (kind == 3 and form == 1):
        return stored  # type: ignore[return-value]
    return Encoded(kind, stored)
