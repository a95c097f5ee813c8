"""The numbers of one key as a block of bytes, and back: what a segment of a log holds.

A block is made for numbers whose lower digits are noise, as those of a training are. Codec 1 takes
every number as a 64-bit word and does, where it helps:

1. floats that are float32 values, as ``loss.item()`` gives them, become 32-bit words;
2. words become the differences between neighbours;
3. the least word is subtracted from all (a "frame of reference");
4. the lowest bytes of all words are put together, then the second lowest, ...: the *planes*. The
   uppermost ones, all zero, are left out; one that is noise is stored as it is, at no cost; the
   others are deflated.

So any reader with an inflate function can undo it: plane by plane back into words, plus the base.
Numbers come back to the bit: -0.0, infinities, denormals and the payload of a NaN. After
"byte shuffle" (Francesc Alted's Blosc) and "frame of reference" (Goldstein, Ramakrishnan and Shaft,
"Compressing Relations and Indexes", ICDE 1998).

A stream of words in bytes, little-endian::

    form (1): 1 if differences + 2 if float32 words     number of planes (1)
    base (8)    the first word, if differences (8)
    for each plane, from the lowest: its size (4), top bit set if it is deflated; 0: all bytes are 0
    the planes

A block of numbers of several kinds has a stream of their kinds before that of the numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from struct import Struct
from struct import error as StructError  # noqa: N812 - the module names it in lower case
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from traininglog.encoding import Kind
from traininglog.errors import CorruptLog

#: How many numbers a block holds at the most. Larger ones are little smaller for each number, and
#: cost more to read one number of.
BLOCK = 8192

#: The codec that this module writes; see above.
CODEC = 1

#: The kinds of values that a block may hold.
KINDS = (Kind.BOOL, Kind.INT, Kind.FLOAT)

#: Stands for the kind of a block that holds several.
MIXED = 0

_HEAD = Struct("<BBQQ")
_SIZE = Struct("<I")
_DIFFERENCES, _SINGLE = 1, 2
_DEFLATED = 1 << 31
_ENTROPY_ROWS = 512  # below, to try is quicker than to estimate
_NOISE = 0.97  # a plane whose entropy is above this part of its size is not worth deflating
_WORDS = 2**64

Times = NDArray[np.int64]
Words = NDArray[np.uint64]
Kinds = NDArray[np.uint8]


class Points(NamedTuple):
    """Numbers of one key at ascending times, each exactly as it was logged."""

    times: Times
    kinds: Kinds  #: of `Kind`, for each number
    words: Words  #: the 64 bits of each float or int; 0 or 1 for a bool

    def values(self) -> Any:
        """Return the numbers: an array of their type, or a list where they are of several."""
        kinds = self.kinds
        if not len(kinds) or (kinds == kinds[0]).all():
            return typed(int(kinds[0]) if len(kinds) else Kind.FLOAT, self.words)
        floats, ints = self.words.view(np.float64).tolist(), self.words.view(np.int64).tolist()
        return [
            real if kind == Kind.FLOAT else whole if kind == Kind.INT else bool(whole)
            for kind, real, whole in zip(kinds.tolist(), floats, ints, strict=True)
        ]

    def at(self, time: int) -> float | int | bool | None:
        """Return the number at a time, or None."""
        place = int(np.searchsorted(self.times, time))
        if place == len(self.times) or self.times[place] != time:
            return None
        value: float | int | bool = typed(
            int(self.kinds[place]), self.words[place : place + 1]
        ).tolist()[0]
        return value

    def between(self, low: int, high: int) -> Points:
        """Return those at ``low <= time <= high``."""
        start = int(np.searchsorted(self.times, low))
        stop = int(np.searchsorted(self.times, high, side="right"))
        return self if stop - start == len(self.times) else self.part(slice(start, stop))

    def part(self, which: Any) -> Points:
        """Return those that an index of NumPy picks."""
        return Points(self.times[which], self.kinds[which], self.words[which])


class Block(NamedTuple):
    """Numbers as bytes, with what one may want to know without looking into them."""

    first: int  #: time
    last: int  #: time
    step: int  #: between times, which are then not stored; 0: they are
    size: int  #: how many numbers
    kind: int  #: of all, or `MIXED`
    codec: int
    times: bytes | None
    data: bytes

    def checksum(self, seed: int = 0) -> int:
        """Return the crc32 of all this, over that of what it belongs to."""
        numbers = f"{self.first} {self.last} {self.step} {self.size} {self.kind} {self.codec} "
        seed = zlib.crc32(numbers.encode(), seed)
        return zlib.crc32(self.data, zlib.crc32(self.times or b"", seed))


def typed(kind: int, words: Words) -> Any:
    """Return words as what they stand for: an array of float64, int64 or bool."""
    if kind == Kind.FLOAT:
        return words.view(np.float64)
    return words.view(np.int64) if kind == Kind.INT else words.astype(np.bool_)


def points_of(times: list[int], values: list[float | int | bool]) -> Points:
    """Return numbers, given as Python has them."""
    count = len(values)
    kinds = np.fromiter((_KIND_OF[type(value)] for value in values), np.uint8, count)
    words = np.empty(count, np.uint64)
    for kind in KINDS:
        chosen = kinds == kind
        if chosen.all():
            words = np.array(values, _DTYPE_OF[kind]).astype(_DTYPE_OF[kind]).view(np.uint64)
            break
        if chosen.any():
            mine = [value for value, yes in zip(values, chosen.tolist(), strict=True) if yes]
            words[chosen] = np.array(mine, _DTYPE_OF[kind]).view(np.uint64)
    return Points(np.array(times, np.int64), kinds, words)


_KIND_OF = {float: Kind.FLOAT, int: Kind.INT, bool: Kind.BOOL}
_DTYPE_OF: dict[Kind, Any] = {Kind.FLOAT: np.float64, Kind.INT: np.int64, Kind.BOOL: np.int64}


def joined(parts: list[Points]) -> Points:
    """Return numbers of one key that may overlap in time, of which the later parts count."""
    if len(parts) == 1:
        times, kinds, words = parts[0]
    else:
        times, kinds, words = (np.concatenate(part) for part in zip(*parts, strict=True))
    if (times[1:] > times[:-1]).all():
        return Points(times, kinds, words)
    order = np.argsort(times, kind="stable")
    times = times[order]
    last = np.append(times[1:] != times[:-1], True)
    order = order[last]
    return Points(times[last], kinds[order], words[order])


def pack(points: Points, size: int = BLOCK) -> Iterator[Block]:
    """Give numbers as blocks of about the same size, each of at most `size`."""
    pieces = -(-len(points.times) // size)
    for piece in range(pieces):
        start, stop = (len(points.times) * at // pieces for at in (piece, piece + 1))
        yield _pack(points.part(slice(start, stop)))


def _pack(points: Points) -> Block:
    times, kinds, words = points
    count, first, last = len(times), int(times[0]), int(times[-1])
    kind = int(kinds[0]) if (kinds == kinds[0]).all() else MIXED
    data = _stream(words, floats=kind == Kind.FLOAT)
    if kind == MIXED:
        data = _stream(kinds.astype(np.uint64)) + data
    step = (last - first) // (count - 1) if count > 1 else 1
    regular = count == 1 or bool((np.diff(times) == step).all())
    packed = None
    if not regular:
        stream = _stream(times.view(np.uint64))
        packed = stream + _SIZE.pack(zlib.crc32(stream))
    return Block(first, last, step if regular else 0, count, kind, CODEC, packed, data)


def unpack_times(first: int, last: int, step: int, count: int, packed: bytes | None) -> Times:
    """Return the times of a block. Raises `CorruptLog` for what cannot be those."""
    try:
        return _unpack_times(first, last, step, count, packed)
    except _UNREADABLE as error:
        raise CorruptLog(f"a segment cannot be read ({error}); see `traininglog check`") from error


def _unpack_times(first: int, last: int, step: int, count: int, packed: bytes | None) -> Times:
    if packed is None:
        if first + step * (count - 1) != last:
            raise ValueError("its times do not fit together")
        return first + step * np.arange(count, dtype=np.int64)
    stream = memoryview(packed)[: -_SIZE.size]
    if zlib.crc32(stream) != _SIZE.unpack(packed[-_SIZE.size :])[0]:
        raise ValueError("its times are damaged")
    times = _words(stream, count)[0].view(np.int64)
    if times[0] != first or times[-1] != last:
        raise ValueError("its times do not fit together")
    return times


_UNREADABLE = (TypeError, ValueError, IndexError, OverflowError, zlib.error, StructError)


def unpack(block: Block) -> Points:
    """Return the numbers of a block. Raises `CorruptLog` for what cannot be one."""
    try:
        return _unpack(block)
    except _UNREADABLE as error:
        raise CorruptLog(f"a segment cannot be read ({error}); see `traininglog check`") from error


def _unpack(block: Block) -> Points:
    if block.codec != CODEC:
        raise ValueError(f"codec {block.codec} is not known: install a newer traininglog")
    count = block.size
    times = _unpack_times(block.first, block.last, block.step, count, block.times)
    rest = memoryview(block.data)
    if block.kind == MIXED:
        numbers, rest = _words(rest, count)
        kinds = numbers.astype(np.uint8)
    else:
        kinds = np.broadcast_to(np.uint8(block.kind), count)
    words, rest = _words(rest, count)
    if len(rest):
        raise ValueError("it is longer than it should be")
    return Points(times, kinds, words)


# -- streams ------------------------------------------------------------------------------------


def _stream(words: Words, *, floats: bool = False) -> bytes:
    form, first = 0, 0
    if floats:
        with np.errstate(over="ignore", invalid="ignore"):
            single = words.view(np.float64).astype(np.float32)
            if np.array_equal(single.astype(np.float64).view(np.uint64), words):
                form |= _SINGLE
                words = single.view(np.uint32).astype(np.uint64)
    base, spread = _range(words)
    if spread and len(words) > 2:
        differences = np.diff(words)  # modulo 2**64
        other_base, other_spread = _range(differences)
        if other_spread < spread >> 6:
            form |= _DIFFERENCES
            base, first = other_base, int(words[0])
            words = np.concatenate([np.array([base], np.uint64), differences])
    planes = (words - np.uint64(base)).view(np.uint8).reshape(-1, 8).T
    used = (int(other_spread if form & _DIFFERENCES else spread).bit_length() + 7) // 8
    sizes, bodies = [], []
    for plane in planes[:used]:
        size, body = _plane(np.ascontiguousarray(plane))
        sizes.append(_SIZE.pack(size))
        bodies.append(body)
    return b"".join([_HEAD.pack(form, used, base, first), *sizes, *bodies])


def _range(words: Words) -> tuple[int, int]:
    """Return the least word, and how far the greatest is above it.

    Words are signed or unsigned, whatever brings them closer together.
    """
    low, high = int(words.min()), int(words.max())
    signed = words.view(np.int64)
    signed_low, signed_high = int(signed.min()), int(signed.max())
    if signed_high - signed_low < high - low:
        return signed_low % _WORDS, signed_high - signed_low
    return low, high - low


def _plane(plane: NDArray[np.uint8]) -> tuple[int, bytes]:
    """Return the size that is noted of a plane, and the bytes that are stored of it."""
    raw = plane.tobytes()
    count = len(raw)
    if count >= _ENTROPY_ROWS:
        shares = np.bincount(plane, minlength=256) / count
        shares = shares[shares > 0]
        if len(shares) == 1 and not raw[0]:
            return 0, b""
        if -(shares * np.log2(shares)).sum() / 8 > _NOISE:
            return count, raw
    elif not any(raw):
        return 0, b""
    deflated = zlib.compress(raw, 1, -zlib.MAX_WBITS)
    if len(deflated) < count:
        return len(deflated) | _DEFLATED, deflated
    return count, raw


def _words(data: memoryview, count: int) -> tuple[Words, memoryview]:
    """Return the words of the stream that data begins with, and what follows it."""
    form, used, base, first = _HEAD.unpack_from(data)
    if used > 8 or form > (_DIFFERENCES | _SINGLE):
        raise ValueError("it has no head")
    at = _HEAD.size + used * _SIZE.size
    width = 4 if form & _SINGLE and used <= 4 else 8
    planes = np.zeros((count, width), np.uint8)
    for place in range(used):
        (size,) = _SIZE.unpack_from(data, _HEAD.size + place * _SIZE.size)
        if not size:
            continue
        body = data[at : at + (size & ~_DEFLATED)]
        at += len(body)
        if size & _DEFLATED:
            found: Any = _inflate(body, count)
        else:
            found = body
        planes[:, place] = np.frombuffer(found, np.uint8, count)
    words: Any = planes.view(np.uint32 if width == 4 else np.uint64).ravel()
    if form & _DIFFERENCES:
        words = words.astype(np.uint64)
        words += np.uint64(base)
        words[0] = first
        words = np.cumsum(words, dtype=np.uint64)
    elif width == 4:
        words += np.uint32(base)
    else:
        words += np.uint64(base)
    if form & _SINGLE:
        words = words.astype(np.uint32, copy=False).view(np.float32)
        with np.errstate(invalid="ignore"):
            words = words.astype(np.float64).view(np.uint64)
    return words, data[at:]


def _inflate(body: memoryview, count: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    found = inflater.decompress(body, count + 1)
    if len(found) != count:
        raise ValueError("a plane has not the size that it should have")
    return found
