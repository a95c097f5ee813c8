"""The records of the journal: assignments as bytes, and back.

A number, which nearly every record holds, takes a record of a fixed size, packed by one call::

    head (4), time (8), value (8), value (8), time (8), head (4), tag (4)

`head` has the record's type in its top byte and the number of the key below. This is a key of the
run, or, for a count (an int of the status), a key that was named in this region. Every field is
there twice: comparing is cheaper than a checksum, and finds any flipped bit. Other records are::

    type and 0 (4), size (4), payload, crc32 (4), tag (4)

The payload of a row of numbers is its time (8), all heads (4 each), and all values (8 each). The
heads are the same from row to row, and need not be packed again.

`tag` tells the records of this round from those that an earlier round left at the same place on the
disk, and each record from its neighbours (`order`). Its last byte is never 0, and unused bytes are
0, so a reader finds where the records of a region end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from struct import Struct
from typing import Any, NamedTuple
from zlib import crc32

from traininglog.encoding import HIDDEN, Cell, Encoded, Kind, Stored, decode, encode, from_cell
from traininglog.journal import bulk as many
from traininglog.journal.bulk import CELL, MOST_KEYS, Arrays, Numbers
from traininglog.journal.order import Order

#: Types of records; the first two are also the kinds of their values.
INT, FLOAT = Kind.INT.value, Kind.FLOAT.value
COUNT, ROW, ENTRIES, STATUS, KEY, COUNTER, MARK, BIRTH = range(16, 24)

#: Added to a key's number, these make the head of a record.
FLOAT_HEAD, INT_HEAD, COUNT_HEAD = FLOAT << 24, INT << 24, COUNT << 24

_FLOAT = Struct("<IQddQII")
_INT = Struct("<IQqqQII")
_SIZE = _FLOAT.size
_FIXED = bytes([FLOAT, INT, COUNT])
_NUMBER = Struct("<IQd24x")
_TAG = Struct("<40xI")
_FRAME = Struct("<II")
_PART = Struct("<QIBBI")
_STATUS_PART = Struct("<BBHI")
_KEY = Struct("<I")
_MARK = Struct("<Qd")
_ROW_TIME = Struct("<Q")
_HEAD = Struct("<I")
_DOUBLE = Struct("<d")
_LONG = Struct("<q")

pack_float = _FLOAT.pack
pack_int = _INT.pack


class RowForm(NamedTuple):
    """The layout that records of rows with the same keys and types of values share."""

    pack: Callable[..., bytes]
    heads: bytes
    size: int

    @classmethod
    def of(cls, heads: Sequence[int]) -> RowForm:
        """Return the layout of rows whose numbers have these heads."""
        count = len(heads)
        kinds = "".join("d" if head >> 24 == FLOAT else "q" for head in heads)
        form = Struct(f"<IIQ{4 * count}s{kinds}")
        return cls(form.pack, Struct(f"<{count}I").pack(*heads), form.size - 8)


def pack_row(form: RowForm, time: int, values: Iterable[int | float], tag: int) -> bytes:
    """Pack the numbers of one time as one record.

    Raises `struct.error` for an int that does not fit.
    """
    pack, heads, size = form
    body = pack(ROW << 24, size, time, heads, *values)
    return body + _FRAME.pack(crc32(body, tag), tag)


def pack_entries(entries: Iterable[tuple[int, int, Any]], tag: int) -> bytes:
    """Pack values of any kind, given as (time, number of the key, value), as one record."""
    parts = []
    for time, number, value in entries:
        kind, form, data = _encoded(value)
        parts.append(_PART.pack(time, number, kind, form, len(data)))
        parts.append(data)
    return _framed(ENTRIES, b"".join(parts), tag)


def pack_status(values: Mapping[str, Any], tag: int) -> bytes:
    """Pack values of the status as one record."""
    return _framed(STATUS, _packed_values(values), tag)


def pack_birth(facts: Mapping[str, Any], tag: int) -> bytes:
    """Pack the facts of a run that its store has not heard of yet, as one record."""
    return _framed(BIRTH, _packed_values(facts), tag)


def _packed_values(values: Mapping[str, Any]) -> bytes:
    parts = []
    for key, value in values.items():
        name = key.encode()
        kind, form, data = _encoded(value)
        parts += [_STATUS_PART.pack(kind, form, len(name), len(data)), name, data]
    return b"".join(parts)


def pack_key(number: int, name: str, tag: int) -> bytes:
    """Pack the number of a key in its run."""
    return _framed(KEY, _KEY.pack(number) + name.encode(), tag)


def pack_mark(time: int, wall: float, tag: int) -> bytes:
    """Pack a mark: when the run had got to a time."""
    return _framed(MARK, _MARK.pack(time, wall), tag)


def pack_counter(number: int, name: str, tag: int) -> bytes:
    """Pack the number of a key of the status in this region."""
    return _framed(COUNTER, _KEY.pack(number) + name.encode(), tag)


def _framed(kind: int, payload: bytes, tag: int) -> bytes:
    body = _FRAME.pack(kind << 24, len(payload)) + payload
    return body + _FRAME.pack(crc32(body, tag), tag)


class DamagedRecord(Exception):
    """The bytes at `at` are not a record of this round.

    `torn` says that a kill interrupted the copy of the last record, so that a part of it is
    missing. `cut` is the place of an earlier copy of this record, which has overwritten another.
    """

    def __init__(self, data: bytes, at: int, order: Order) -> None:
        super().__init__(f"no record at byte {at}")
        self.at = at
        self.torn = _is_torn(data[at:].rstrip(b"\0"), order.near())
        self.cut: int | None = None


class Batch:
    """Assignments in the order of their records, in the form that the database takes."""

    def __init__(self) -> None:
        self.numbers = Numbers()
        #: By time and number of the key, other values that no later number replaces.
        self.others: dict[tuple[int, int], Encoded] = {}
        self.names: dict[int, str] = {}  #: the keys that were numbered here
        self.counters: dict[int, str] = {}  #: likewise, keys of the status
        self.status: dict[str, Any] = {}  #: `HIDDEN` where it was deleted
        self.renewed: set[str] = set()  #: keys of the status that were deleted and set again
        self.marks: dict[int, float] = {}  #: by time, when the run had got there
        self.birth: dict[str, Any] | None = None  #: facts of a run its store had not heard of
        self.size = 0  #: the bytes of records that were added
        self.order: Order | None = None  #: of the region, if the batch is read as that grows
        self._rows: dict[int, dict[int, Cell]] = {}
        self._indexed = 0  # the length of the flat numbers that are in the rows
        self._fresh: list[tuple[int, int]] = []  # places of others that may not be in the rows

    @property
    def rows(self) -> dict[int, dict[int, Cell]]:
        """The resulting values by time and then number of the key. Each access updates them."""
        rows, numbers = self._rows, self.numbers.flat()
        start, self._indexed = self._indexed, len(numbers)
        codes, times, values = (numbers[start + at :: 3] for at in range(3))
        for code, time, value in zip(codes, times, values, strict=True):
            rows.setdefault(time, {})[code & MOST_KEYS] = value
        for time, number in self._fresh:
            cell = self.others.get((time, number))
            if cell is not None:
                rows.setdefault(time, {})[number] = cell
        self._fresh.clear()
        return rows

    def values(self, names: Mapping[int, str]) -> dict[int, dict[str, Any]]:
        """Return the values by time and key, `HIDDEN` where one was deleted.

        Args:
            names: The keys of the run, by their numbers.

        """
        return {
            time: {names[number]: from_cell(cell) for number, cell in row.items()}
            for time, row in self.rows.items()
        }

    def times(self) -> tuple[int, int] | None:
        """Return the first and the last time, or None."""
        times = [*(self.numbers.span() or ()), *(time for time, _ in self.others)]
        return (min(times), max(times)) if times else None

    def add(self, data: bytes, order: Order, skip: int = 0) -> None:
        """Add the records of a region, after the first `skip` bytes.

        Raises `DamagedRecord`. The records before the damage are added then, and `size` counts
        their bytes.
        """
        at, end = skip, len(data)
        while at < end:
            if at + 4 <= end and data[at + 3] in _FIXED:
                stop = self._add_fixed(data, at, order)
            else:
                stop = self._add_framed(data, at, order)
            self.size += stop - at
            at = stop

    def extend(self, later: Batch) -> None:
        """Add a batch of later assignments."""
        self.numbers.extend(later.numbers)
        if self.others:
            self._pass_over(later.numbers.flat())
        self.others |= later.others
        self._fresh += later.others
        self.names |= later.names
        self.marks |= later.marks
        self.birth = self.birth or later.birth
        note_status(self.status, self.renewed, later.status)
        self.renewed |= later.renewed

    def _add_numbers(self, numbers: list[Any] | Arrays) -> None:
        self.numbers.add(numbers)
        if self.others:
            self._pass_over(numbers if isinstance(numbers, list) else numbers.flat())

    def _pass_over(self, numbers: list[Any]) -> None:
        """Drop other values that numbers have replaced."""
        for code, time in zip(numbers[::3], numbers[1::3], strict=True):
            self.others.pop((time, code & MOST_KEYS), None)

    def _add_fixed(self, data: bytes, at: int, order: Order) -> int:
        """Add the records of a fixed size that begin at a place; return where they end."""
        types = data[at + 3 :: _SIZE]
        count = min(len(types) - len(types.lstrip(_FIXED)), (len(data) - at) // _SIZE)
        if not count:
            raise DamagedRecord(data, at, order)
        (tag,) = _KEY.unpack_from(data, at + _SIZE - 4)
        if many.worth(count):
            arrays, sound = many.read_fixed(data, at, count, tag, order.step)
            good = sound and order.accept(tag, sound, at, _SIZE)
            if good:
                self._add_arrays(arrays if good == sound else arrays.part(slice(good)))
                return at + good * _SIZE
        block = data[at : at + count * _SIZE]
        if not _is_sound(block, count):
            count = next((n for n in range(count) if not _is_sound(_one(block, n), 1)), 0)
        tags = [tag for (tag,) in _TAG.iter_unpack(block[: count * _SIZE])]
        wanted = range(tag, tag + count * order.step, order.step) if order.step else [tag] * count
        if tags != list(wanted):
            count = next(n for n in range(count) if tags[n] != wanted[n])
        count = count and order.accept(tag, count, at, _SIZE)
        if not count:
            raise self._damaged(data, at, tag, order)
        block = block[: count * _SIZE]
        found = _NUMBER.iter_unpack(block)
        if types.count(FLOAT, 0, count) == count:
            self._add_numbers(list(chain.from_iterable(found)))
            return at + len(block)
        numbers: list[Any] = []
        for number, (head, time, value) in enumerate(found):
            if head >> 24 == FLOAT:
                numbers += (head, time, value)
                continue
            (integer,) = _LONG.unpack_from(block, number * _SIZE + 12)
            if head >> 24 == INT:
                numbers += (head, time, integer)
            else:
                self._note(self.counters[head & MOST_KEYS], integer)
        self._add_numbers(numbers)
        return at + len(block)

    def _damaged(self, data: bytes, at: int, tag: int, order: Order) -> DamagedRecord:
        error = DamagedRecord(data, at, order)
        error.cut = order.first_place(tag)
        return error

    def _add_arrays(self, found: Arrays) -> None:
        counted = found.codes >> 24 == COUNT
        if counted.any():
            last: dict[int, int] = {}  # only the last of each count has any effect
            for head, word in zip(
                found.codes[counted].tolist(), found.words[counted].tolist(), strict=True
            ):
                last.pop(head, None)
                last[head] = word
            for head, word in last.items():
                self._note(self.counters[head & MOST_KEYS], word - 2**64 * (word >> 63))
            found = found.part(~counted)
        self._add_numbers(found)

    def _add_framed(self, data: bytes, at: int, order: Order) -> int:
        """Add the record that begins at a place; return where it ends."""
        if at + 16 > len(data):
            raise DamagedRecord(data, at, order)
        head, size = _FRAME.unpack_from(data, at)
        end = int(at + 8 + size)
        if end + 8 > len(data):
            raise DamagedRecord(data, at, order)
        checksum, tag = _FRAME.unpack_from(data, end)
        if crc32(data[at:end], tag) != checksum:
            raise DamagedRecord(data, at, order)
        kind = head >> 24
        start = at + 8
        if kind == ROW and many.worth((len(data) - at) // (size + 16) * (size // CELL)):
            arrays, count = many.read_rows(data, at, size + 16, tag, order.step)
            good = order.accept(tag, count, at, size + 16)
            if not good:
                raise self._damaged(data, at, tag, order)
            width = len(arrays.codes) // count
            self._add_numbers(arrays if good == count else arrays.part(slice(good * width)))
            return int(at + good * (size + 16))
        if not order.accept(tag, 1, at, size + 16):
            raise self._damaged(data, at, tag, order)
        if kind == ROW:
            self._add_row(data, start, end)
        elif kind == ENTRIES:
            while start < end:
                time, number, code, form, length = _PART.unpack_from(data, start)
                start += _PART.size + length
                cell = _cell(code, form, data[start - length : start])
                if type(cell) is Encoded:
                    self.others[time, number] = cell
                    self._fresh.append((time, number))
                else:
                    self._add_numbers([number + (code << 24), time, cell])
        elif kind == STATUS:
            for key, value in _values(data, start, end):
                self._note(key, value)
        elif kind == BIRTH:
            self.birth = dict(_values(data, start, end))
        elif kind in (KEY, COUNTER):
            (number,) = _KEY.unpack_from(data, start)
            names = self.names if kind == KEY else self.counters
            names[number] = data[start + 4 : end].decode()
        elif kind == MARK and size == _MARK.size:
            self.marks.update([_MARK.unpack_from(data, start)])
        else:
            raise DamagedRecord(data, at, order)
        return end + 8

    def _add_row(self, data: bytes, start: int, end: int) -> None:
        (time,) = _ROW_TIME.unpack_from(data, start)
        numbers: list[Any] = []
        heads, values = start + 8, end - 8 * ((end - start - 8) // CELL)
        found = zip(
            _HEAD.iter_unpack(data[heads:values]),
            _DOUBLE.iter_unpack(data[values:end]),
            strict=True,
        )
        for place, ((code,), (value,)) in enumerate(found):
            if code >> 24 == INT:
                (value,) = _LONG.unpack_from(data, values + 8 * place)  # noqa: PLW2901
            numbers += (code, time, value)
        self._add_numbers(numbers)

    def _note(self, key: str, value: Any) -> None:
        note_status(self.status, self.renewed, {key: value})


def _values(data: bytes, start: int, end: int) -> Iterator[tuple[str, Any]]:
    while start < end:
        code, form, name_size, length = _STATUS_PART.unpack_from(data, start)
        start += _STATUS_PART.size + name_size
        key = data[start - name_size : start].decode()
        start += length
        yield key, decode(code, _from_bytes(form, data[start - length : start]))


def _is_torn(rest: bytes, tags: range) -> bool:
    """Return whether a region ends with bytes that an interrupted copy of a record may leave.

    Bytes are copied in ascending order, except the first few, which a processor may store last.
    `tags` are the tags of the next few records.
    """
    marks = [_KEY.pack(tag) for tag in tags]
    if len(rest) >= 4 and not rest[3]:  # without its head
        found = sum(rest.count(mark) for mark in marks)
        return not found or (found == 1 and rest[-4:] in marks and not _ends_in_record(rest))
    size = _SIZE
    if len(rest) >= 8 and rest[3] not in _FIXED:
        size = 16 + _FRAME.unpack_from(rest)[1]
    return len(rest) < size and not any(mark in rest for mark in marks)


def _ends_in_record(data: bytes) -> bool:
    """Return whether the last bytes are a whole record, wherever that begins."""
    if len(data) >= _SIZE and data[-_SIZE + 3] in _FIXED and _is_sound(data[-_SIZE:], 1):
        return True
    (tag,) = _KEY.unpack(data[-4:])
    end = len(data) - 8
    for at in range(end - 7):
        if _FRAME.unpack_from(data, at)[1] == end - at - 8:
            checksum, _ = _FRAME.unpack_from(data, end)
            if crc32(data[at:end], tag) == checksum:
                return True
    return False


def _one(block: bytes, number: int) -> bytes:
    return block[number * _SIZE : (number + 1) * _SIZE]


# The places of the bytes of a record of the fixed size, and those of their copies.
_ONCE = range(20)
_AGAIN = [*range(36, 40), *range(28, 36), *range(20, 28)]


def _is_sound(block: bytes, count: int) -> bool:
    """Return whether both copies of every field agree in `count` records of the fixed size.

    Compares one byte of all records at a time, which is faster than record by record.
    """
    if len(block) != count * _SIZE:
        return False
    for one, two in zip(_ONCE, _AGAIN, strict=True):
        if block[one::_SIZE] != block[two::_SIZE]:
            return False
    return True


def changed_status(status: Mapping[str, Any], batches: Iterable[Batch]) -> dict[str, Any]:
    """Return a status after the changes of batches, applied one after the other."""
    changed = dict(status)
    for batch in batches:
        for key, value in batch.status.items():
            if value is HIDDEN or key in batch.renewed:
                changed.pop(key, None)
            if value is not HIDDEN:
                changed[key] = value
    return changed


def note_status(status: dict[str, Any], renewed: set[str], values: Mapping[str, Any]) -> None:
    """Add values to the changes of a status, and note keys that were deleted in between."""
    for key, value in values.items():
        if status.pop(key, None) is HIDDEN:
            renewed.add(key)
        status[key] = value


def _encoded(value: Any) -> tuple[int, int, bytes]:
    """Return the kind of a value, the form of its stored bytes, and these bytes."""
    if type(value) is float:  # without `encode`: these bytes hold any NaN
        return FLOAT, 2, _DOUBLE.pack(value)
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
