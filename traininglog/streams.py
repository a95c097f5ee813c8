"""Words of 64 bits as a stream of bytes, and back: codec 1 of `packing`.

What is done to the words of a block, where it helps:

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

A stream in bytes, little-endian::

    form (1): 1 if differences + 2 if float32 words
    how many bytes of a word are used (1), how many of those are noise (1)
    base (8)    the first word, if differences (8)
    for each plane, from the lowest: its size (4), and in the two top bits how it is stored; 1x: as
    it is; 01: in bits, the lowest of all bytes, the second lowest, ...; 00: deflated, or all 0
    the noise: of each word its lowest bytes; and zeros, as many as make the last word whole
    the planes

What reads one raises an error of `UNREADABLE` for what cannot be a stream.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from struct import Struct
from struct import error as StructError  # noqa: N812 - the module names it in lower case

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

#: What reading raises where there is no stream.
UNREADABLE = (TypeError, ValueError, IndexError, OverflowError, zlib.error, StructError)

_HEAD = Struct("<BBBQQ")
_SIZE = Struct("<I")
_DIFFERENCES, _SINGLE = 1, 2
_PLAIN, _BITS = 1 << 31, 1 << 30
_BODY = _BITS - 1
_ENTROPY_ROWS = 512  # below, to try is quicker than to estimate
_WORTH = 0.75  # of its size, deflated, or it is not worth the time that it takes to come back
_WORDS = 2**64


def pack_words(words: Words, *, floats: bool = False) -> bytes:
    """Return words as a stream; with `floats`, they may be float64."""
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


def unpack_words(data: memoryview, out: Words) -> memoryview:
    """Put the words of the stream that data begins with into `out`; return what follows it."""
    form, used, plain, base, first = _head(data)
    count = len(out)
    cells = out.view(np.uint8).reshape(-1, 8)
    at = _HEAD.size + (used - plain) * _SIZE.size
    if plain:  # as words that overlap, less what each has of the next
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
    """Return the word at a place of the stream that data begins with, without most of the others.

    None if it holds differences: then all before it are needed.
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
    """Give the number, the size as it is stored, and the body of each plane, from byte `at` on."""
    for place in range(plain, used):
        (size,) = _SIZE.unpack_from(data, _HEAD.size + (place - plain) * _SIZE.size)
        body = data[at : at + (size & _BODY)]
        yield place, size, body
        at += len(body)


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
    found = zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, count + 1)
    if len(found) != count:
        raise ValueError("a plane has not the size that it should have")
    return found


def _inflated(body: memoryview, place: int) -> int:
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, place + 1)[place]
