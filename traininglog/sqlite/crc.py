"""crc32 backwards: what a checksum was begun with, told from what it came to.

``crc32(data, seed)`` is ``crc32(data, 0)``, in which a number has been flipped that depends on the
seed and on how many bytes there are, and on nothing else: the seed, after as many steps over zeros.
Each of these steps is a linear map of 32 bits that has an inverse. A map is kept as what becomes of
each bit, and those for 1, 2, 4, ... steps are made of each other: so any number of them are few.
After Ross Williams, "A Painless Guide to CRC Error Detection Algorithms" (1993), and zlib's
`crc32_combine`, which does the same forwards.
"""

from __future__ import annotations

import functools
from zlib import crc32

_BITS = 32
_ZERO = b"\0"


def seed_of(checksum: int, unseeded: int, length: int) -> int:
    """Return the seed with which some bytes have a checksum.

    Args:
        checksum: The crc32 of the bytes with that seed.
        unseeded: Their crc32 without a seed.
        length: How many bytes they are.

    """
    flipped = checksum ^ unseeded
    for power in range(length.bit_length()):
        if length >> power & 1:
            flipped = _mapped(_back(power), flipped)
    return flipped


def _mapped(columns: tuple[int, ...], bits: int) -> int:
    result = 0
    for column in columns:
        if bits & 1:
            result ^= column
        bits >>= 1
    return result


@functools.cache
def _back(power: int) -> tuple[int, ...]:
    """Return the map that undoes 2**power steps over zeros."""
    if power:
        half = _back(power - 1)
        return tuple(_mapped(half, column) for column in half)
    table = [crc32(_ZERO, byte) ^ crc32(_ZERO) for byte in range(256)]
    by_top = {entry >> 24: byte for byte, entry in enumerate(table)}
    columns = []
    for place in range(_BITS):
        byte = by_top[(1 << place) >> 24]
        columns.append(((1 << place ^ table[byte]) << 8 | byte) & 0xFFFFFFFF)
    return tuple(columns)
