"""Words of 64 bits as a stream of bytes, and back: codec 1 of `packing`.

The codec takes these steps with the words of a block, each where it helps:

1. It turns floats that are float32 values, as ``loss.item()`` returns them, into 32-bit words.
2. It replaces the words by the differences between neighbours.
3. It subtracts the least word from all (a "frame of reference").
4. It stores the lowest bytes of each word, if they are noise, as they are, at no cost.
5. It groups the other bytes into *planes*: the lowest bytes of all words, then the second lowest,
   and so on. It leaves out the uppermost planes if they are all zero. Of a plane that uses few bits
   of a byte it keeps only these. It deflates a plane that this makes smaller by a quarter.

So any reader with an inflate function can undo it: plane by plane back into words, plus the base.
Numbers come back to the bit: -0.0, infinities, denormals and the payload of a NaN. After
"byte shuffle" (Francesc Alted's Blosc) and "frame of reference" (Goldstein, Ramakrishnan and Shaft,
"Compressing Relations and Indexes", ICDE 1998).

A stream in bytes, little-endian::

    form (1): 1 if differences + 2 if float32 words
    number of used bytes of a word (1), number of those that are noise (1)
    base (8)    the first word, if differences (8)
    for each plane, from the lowest: its size (4), with its encoding in the two top bits; 1x: plain;
    01: in bits, the lowest of all bytes, the second lowest, ...; 00: deflated, or all 0
    the noise: of each word its lowest bytes; and as many zeros as make the last word whole
    the planes

The functions that read raise an error of `UNREADABLE` for bytes that cannot be a stream.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from struct import Struct
from struct import error as StructError  # noqa: N812 - the module names it in lower case

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

#: The errors of reading bytes that are no stream.
UNREADABLE = (TypeError, ValueError, IndexError, OverflowError, zlib.error, StructError)

_HEAD = Struct("<BBBQQ")
_SIZE = Struct("<I")
_DIFFERENCES, _SINGLE = 1, 2
_PLAIN, _BITS = 1 << 31, 1 << 30
_BODY = _BITS - 1
_ENTROPY_ROWS = 512  # below, trying the compression is faster than estimating the entropy
_WORTH = 0.75  # a plane is deflated if that makes it smaller than this share: inflating takes time
_WORDS = 2**64


def pack_words(words: Words, *, floats: bool = False) -> bytes:
    """Return words as a stream. With `floats`, they are float64, and may become float32."""
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
        noise = bool(packed) and packed[0][0] == _PLAIN  # else the words may repeat, as in a cycle
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

    It reads words as signed or unsigned, whichever makes the range smaller.
    """
    low, high = int(words.min()), int(words.max())
    signed = words.view(np.int64)
    signed_low, signed_high = int(signed.min()), int(signed.max())
    if signed_high - signed_low < high - low:
        return signed_low % _WORDS, signed_high - signed_low
    return low, high - low


def _plane(plane: NDArray[np.uint8], *, noise: bool) -> tuple[int, bytes]:
    """Choose an encoding for one byte plane and return (encoding, bytes).

    Above a noise plane, the entropy alone may rule out the trial compression.
    """
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


def unpack_words(data: memoryview, out: Words) -> memoryview:
    """Read the stream at the beginning of data into `out`, and return the rest of data."""
    form, used, plain, base, first = _head(data)
    count = len(out)
    cells = out.view(np.uint8).reshape(-1, 8)
    at = _HEAD.size + (used - plain) * _SIZE.size
    if plain:  # read as overlapping words, then mask out the bytes of the next one
        out[:] = np.ndarray(count, "<u8", data, at, (plain,))
        out &= np.uint64(_WORDS - 1 >> 8 * (8 - plain))
        at += plain * count + 8 - plain
    else:
        out[:] = 0
    for place, size, body in _planes(data, plain, used, at):
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


def pick_word(data: memoryview, count: int, place: int) -> int | None:
    """Return one word of the stream at the beginning of data, without reading most of the others.

    Returns None for a stream of differences: then all words before it are needed.
    """
    form, used, plain, base, _ = _head(data)
    if form & _DIFFERENCES:
        return None
    at = _HEAD.size + (used - plain) * _SIZE.size
    word = int.from_bytes(data[at + place * plain : at + (place + 1) * plain], "little")
    at += plain * count + 8 - plain if plain else 0
    for plane, size, body in _planes(data, plain, used, at):
        if size & _BITS:
            row = -(-count // 8)
            bits = body[place // 8 :: row]
            byte = sum((part >> place % 8 & 1) << bit for bit, part in enumerate(bits))
        elif size & _PLAIN:
            byte = body[place]
        else:
            byte = _inflated(body, place) if size else 0
        word |= byte << 8 * plane
    word = (word + base) % _WORDS
    if form & _SINGLE:
        single = np.array([word], np.uint64).astype(np.uint32).view(np.float32)
        with np.errstate(invalid="ignore"):
            word = int(single.astype(np.float64).view(np.uint64)[0])
    return word


def _head(data: memoryview) -> tuple[int, int, int, int, int]:
    form, used, plain, base, first = _HEAD.unpack_from(data)
    if not plain <= used <= 8 or form > (_DIFFERENCES | _SINGLE):
        raise ValueError("it has no head")
    return form, used, plain, base, first


def _planes(
    data: memoryview, plain: int, used: int, at: int
) -> Iterator[tuple[int, int, memoryview]]:
    """Yield the number, the stored size and the body of each plane, from byte `at` on."""
    for place in range(plain, used):
        (size,) = _SIZE.unpack_from(data, _HEAD.size + (place - plain) * _SIZE.size)
        body = data[at : at + (size & _BODY)]
        yield place, size, body
        at += len(body)


def _bytes(body: memoryview, count: int) -> NDArray[np.uint8]:
    """Return the bytes of a plane that is stored in bits: the lowest of all, the second, ..."""
    packed = np.frombuffer(body, np.uint8).reshape(-1, -(-count // 8))
    bits: NDArray[np.uint8]
    found: NDArray[np.uint8]
    found, *higher = np.unpackbits(packed, axis=1, count=count, bitorder="little")
    for place, bits in enumerate(higher, 1):
        found |= np.left_shift(bits, place, out=bits)
    return found


def _inflate(body: memoryview, count: int) -> bytes:
    found = zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, count + 1)
    if len(found) != count:
        raise ValueError("a plane has not the size that it should have")
    return found


def _inflated(body: memoryview, place: int) -> int:
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, place + 1)[place]
