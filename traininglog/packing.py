"""The numbers of one key as a block of bytes, and back: what a segment of a log holds.

A block is made for numbers whose lower digits are noise, as those of a training are. Codec 1 takes
every number as a 64-bit word and does, where it helps:

1. floats that are float32 values, as ``loss.item()`` gives them, become 32-bit words;
2. words become the differences between neighbours;
3. the least word is subtracted from all (a "frame of reference");
4. the lowest bytes of each, those that are noise, are stored as they are, at no cost;
5. of the others, the lowest bytes of all words are put together, then the second lowest, ...: the
   *planes*. The uppermost ones, all zero, are left out; of one that uses few bits of a byte only
   those are kept; and what is smaller by a quarter if deflated is deflated.

So any reader with an inflate function can undo it: plane by plane back into words, plus the base.
Numbers come back to the bit: -0.0, infinities, denormals and the payload of a NaN. After
"byte shuffle" (Francesc Alted's Blosc) and "frame of reference" (Goldstein, Ramakrishnan and Shaft,
"Compressing Relations and Indexes", ICDE 1998).

A stream of words in bytes, little-endian::

    form (1): 1 if differences + 2 if float32 words
    how many bytes of a word are used (1), how many of those are noise (1)
    base (8)    the first word, if differences (8)
    for each plane, from the lowest: its size (4), and in the two top bits how it is stored; 1x: as
    it is; 01: in bits, the lowest of all bytes, the second lowest, ...; 00: deflated, or all 0
    the noise: of each word its lowest bytes; and zeros, as many as make the last word whole
    the planes

A block of numbers of several kinds has a stream of their kinds before that of the numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from struct import Struct
from struct import error as StructError  # noqa: N812 - the module names it in lower case
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from traininglog.arrays import newest
from traininglog.encoding import Kind
from traininglog.errors import CorruptLog

#: How many numbers a block holds at the most. Larger ones are little smaller for each number, and
#: cost more to read one number of.
BLOCK = 16_384

# More are not read: it would rather be damage, and take all memory there is.
_MOST = 2**24

#: The codec that this module writes; see above.
CODEC = 1

#: The kinds of values that a block may hold.
KINDS = (Kind.BOOL, Kind.INT, Kind.FLOAT)

#: Stands for the kind of a block that holds several.
MIXED = 0

_HEAD = Struct("<BBBQQ")
_SIZE = Struct("<I")
_DIFFERENCES, _SINGLE = 1, 2
_PLAIN, _BITS = 1 << 31, 1 << 30
_BODY = _BITS - 1
_ENTROPY_ROWS = 512  # below, to try is quicker than to estimate
_WORTH = 0.75  # of its size, deflated, or it is not worth the time that it takes to come back
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
        for part in self.parts():
            seed = zlib.crc32(part, seed)
        return seed

    def parts(self) -> tuple[bytes, bytes, bytes]:
        """Return the bytes that the checksum covers, in that order."""
        numbers = f"{self.first} {self.last} {self.step} {self.size} {self.kind} {self.codec} "
        return numbers.encode(), self.times or b"", self.data


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
    whole = Points(times, kinds, words)
    chosen = newest(times)
    return whole if chosen is None else whole.part(chosen)


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
    if not 0 < count <= _MOST:
        raise ValueError(f"it cannot hold {count} numbers")
    if packed is None:
        if first + step * (count - 1) != last:
            raise ValueError("its times do not fit together")
        return first + step * np.arange(count, dtype=np.int64)
    stream = memoryview(packed)[: -_SIZE.size]
    if zlib.crc32(stream) != _SIZE.unpack(packed[-_SIZE.size :])[0]:
        raise ValueError("its times are damaged")
    words = np.empty(count, np.uint64)
    _words(stream, words)
    times = words.view(np.int64)
    if times[0] != first or times[-1] != last:
        raise ValueError("its times do not fit together")
    return times


_UNREADABLE = (TypeError, ValueError, IndexError, OverflowError, zlib.error, StructError)


class Head(NamedTuple):
    """What is known of a block without its numbers."""

    first: int
    last: int
    step: int
    size: int
    times: bytes | None
    kind: int


def room_for(heads: Iterable[Head]) -> Words:
    """Return room for the numbers of some blocks. Raises `CorruptLog` for what cannot be one."""
    sizes = [head.size for head in heads]
    if not all(isinstance(size, int) and 0 < size <= _MOST for size in sizes):
        raise CorruptLog("a segment has no possible size; see `traininglog check`")
    return np.empty(sum(sizes), np.uint64)


def run_on(
    heads: list[Head], blocks: Iterable[Block], low: int, high: int, words: Words,
    shared: dict[Any, Any],
) -> tuple[Any, Any]:  # fmt: skip
    """Return the times and values of consecutive blocks of one key that are within ``low..high``.

    Args:
        heads: Of the blocks.
        blocks: They follow one another in time, and are taken one by one.
        low: The first time to return.
        high: The last time to return.
        words: Room for the numbers, which may then be part of what is returned.
        shared: Takes the arrays of times, for other keys that have the same.

    Raises:
        CorruptLog: One of the blocks cannot be one.

    """
    try:
        return _run_on(heads, blocks, low, high, words, shared)
    except _UNREADABLE as error:
        raise CorruptLog(f"a segment cannot be read ({error}); see `traininglog check`") from error


def _run_on(
    heads: list[Head], blocks: Iterable[Block], low: int, high: int, words: Words,
    shared: dict[Any, Any],
) -> tuple[Any, Any]:  # fmt: skip
    signature = tuple(head[:5] for head in heads)
    if signature not in shared:
        parts = [_unpack_times(*one) for one in signature]
        times = parts[0] if len(parts) == 1 else np.concatenate(parts)
        start = int(np.searchsorted(times, low))
        stop = int(np.searchsorted(times, high, side="right"))
        shared[signature] = times[start:stop], slice(start, stop)
    times, part = shared[signature]
    kind = heads[0].kind
    if kind == MIXED or any(head.kind != kind for head in heads):
        points = [_unpack(block) for block in blocks]
        return times, joined(points).part(part).values()
    at = 0
    for block in blocks:
        if len(_words(_known(block), words[at : at + block.size])):
            raise ValueError("it is longer than it should be")
        at += block.size
    return times, typed(kind, words[part])


def unpack(block: Block) -> Points:
    """Return the numbers of a block. Raises `CorruptLog` for what cannot be one."""
    try:
        return _unpack(block)
    except _UNREADABLE as error:
        raise CorruptLog(f"a segment cannot be read ({error}); see `traininglog check`") from error


def _unpack(block: Block) -> Points:
    rest = _known(block)
    count = block.size
    times = _unpack_times(block.first, block.last, block.step, count, block.times)
    words = np.empty(count, np.uint64)
    if block.kind == MIXED:
        rest = _words(rest, words)
        kinds = words.astype(np.uint8)
    else:
        kinds = np.full(count, block.kind, np.uint8)
    if len(_words(rest, words)):
        raise ValueError("it is longer than it should be")
    return Points(times, kinds, words)


def _known(block: Block) -> memoryview:
    if block.codec != CODEC:
        raise ValueError(f"codec {block.codec} is not known: install a newer traininglog")
    return memoryview(block.data)


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
            base, spread, first = other_base, other_spread, int(words[0])
            words = np.concatenate([np.array([base], np.uint64), differences])
    cells = (words - np.uint64(base)).view(np.uint8).reshape(-1, 8)
    used = (spread.bit_length() + 7) // 8
    packed: list[tuple[int, bytes]] = []
    for place in range(used):
        noise = bool(packed) and packed[0][0] == _PLAIN  # or it repeats itself, as a cycle does
        packed.append(_plane(np.ascontiguousarray(cells[:, place]), noise=noise))
    plain = next((place for place, (how, _) in enumerate(packed) if how != _PLAIN), used)
    bodies = [cells[:, :plain].tobytes(), bytes(8 - plain)] if plain else []
    sizes = []
    for how, body in packed[plain:]:
        sizes.append(_SIZE.pack(len(body) | how))
        bodies.append(body)
    return b"".join([_HEAD.pack(form, used, plain, base, first), *sizes, *bodies])


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


def _plane(plane: NDArray[np.uint8], *, noise: bool) -> tuple[int, bytes]:
    """Return how a plane is stored, and as what; by its entropy alone, if there is noise below."""
    raw = plane.tobytes()
    width = int(plane.max()).bit_length()
    if not width:
        return 0, b""
    how, body = _PLAIN, raw
    if width < 8:
        bits = plane >> np.arange(width, dtype=np.uint8)[:, np.newaxis] & 1
        how, body = _BITS, np.packbits(bits, axis=1, bitorder="little").tobytes()
    if noise and len(raw) >= _ENTROPY_ROWS:
        shares = np.bincount(plane) / len(raw)
        shares = shares[shares > 0]
        if -(shares * np.log2(shares)).sum() / 8 * len(raw) > _WORTH * len(body):
            return how, body
    deflated = zlib.compress(raw, 1, -zlib.MAX_WBITS)
    return (0, deflated) if len(deflated) < _WORTH * len(body) else (how, body)


def _words(data: memoryview, out: Words) -> memoryview:
    """Put the words of the stream that data begins with into `out`; return what follows it."""
    form, used, plain, base, first = _HEAD.unpack_from(data)
    if not plain <= used <= 8 or form > (_DIFFERENCES | _SINGLE):
        raise ValueError("it has no head")
    count = len(out)
    cells = out.view(np.uint8).reshape(-1, 8)
    at = _HEAD.size + (used - plain) * _SIZE.size
    if plain:  # as words that overlap, less what each has of the next
        out[:] = np.ndarray(count, "<u8", data, at, (plain,))
        out &= np.uint64(_WORDS - 1 >> 8 * (8 - plain))
        at += plain * count + 8 - plain
    else:
        out[:] = 0
    for place in range(plain, used):
        (size,) = _SIZE.unpack_from(data, _HEAD.size + (place - plain) * _SIZE.size)
        body = data[at : at + (size & _BODY)]
        at += len(body)
        if size & _BITS:
            cells[:, place] = _bytes(body, count)
        elif size:
            found = body if size & _PLAIN else _inflate(body, count)
            cells[:, place] = np.frombuffer(found, np.uint8, count)
    if form & _DIFFERENCES:
        out += np.uint64(base)
        out[0] = first
        np.cumsum(out, out=out)
    elif base:
        out += np.uint64(base)
    if form & _SINGLE:
        with np.errstate(invalid="ignore"):
            out.view(np.float64)[:] = out.astype(np.uint32).view(np.float32)
    return data[at:]


def _bytes(body: memoryview, count: int) -> NDArray[np.uint8]:
    """Return the bytes of which there are bits: the lowest of all, the second lowest, ..."""
    packed = np.frombuffer(body, np.uint8).reshape(-1, -(-count // 8))
    bits: NDArray[np.uint8]
    found: NDArray[np.uint8]
    found, *higher = np.unpackbits(packed, axis=1, count=count, bitorder="little")
    for place, bits in enumerate(higher, 1):
        found |= np.left_shift(bits, place, out=bits)
    return found


def _inflate(body: memoryview, count: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    found = inflater.decompress(body, count + 1)
    if len(found) != count:
        raise ValueError("a plane has not the size that it should have")
    return found
