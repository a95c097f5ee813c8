"""The numbers of one key as a block of bytes, and back: the content of a segment of a log.

A block suits numbers whose lower digits are noise, as those of a training are. Codec 1 takes every
number as a 64-bit word, and the words of a block are a stream (`streams`). A block of numbers of
several kinds has a stream of their kinds before that of the numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from traininglog.arrays import newest
from traininglog.encoding import Kind
from traininglog.errors import CorruptLog
from traininglog.streams import UNREADABLE, Words, pack_words, pick_word, unpack_words
from traininglog.values import MAX_TIME

#: The most numbers of a block. A larger one takes hardly fewer bytes a number, and reading a single
#: number of it costs more.
BLOCK = 16_384

#: The codec that this module writes; see above.
CODEC = 1

#: The kinds of values that a block may hold.
KINDS = (Kind.BOOL, Kind.INT, Kind.FLOAT)

#: The kind of a block that holds several kinds.
MIXED = 0

_CHECK = 4  # bytes of the checksum of stored times

Times = NDArray[np.int64]
Kinds = NDArray[np.uint8]


class Points(NamedTuple):
    """Numbers of one key at ascending times, exactly as they were logged."""

    times: Times
    kinds: Kinds  #: of `Kind`, for each number
    words: Words  #: the 64 bits of each float or int; 0 or 1 for a bool

    def values(self) -> Any:
        """Return the numbers: an array of their type, or a list if they have several types."""
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
        """Return the points at ``low <= time <= high``."""
        start = int(np.searchsorted(self.times, low))
        stop = int(np.searchsorted(self.times, high, side="right"))
        return self if stop - start == len(self.times) else self.part(slice(start, stop))

    def part(self, which: Any) -> Points:
        """Return the points that a NumPy index picks."""
        return Points(self.times[which], self.kinds[which], self.words[which])


class Block(NamedTuple):
    """Numbers as bytes, with a header that can be read without unpacking them."""

    first: int  #: the first time
    last: int  #: the last time
    step: int  #: between times, which are then not stored; 0: times are stored
    size: int  #: how many numbers
    kind: int  #: the kind of all numbers, or `MIXED`
    codec: int
    times: bytes | None
    data: bytes

    def checksum(self, seed: int = 0) -> int:
        """Return the crc32 of all parts, seeded with that of the run and key it belongs to."""
        for part in self.parts():
            seed = zlib.crc32(part, seed)
        return seed

    def parts(self) -> tuple[bytes, bytes, bytes]:
        """Return the bytes that the checksum covers, in that order."""
        numbers = f"{self.first} {self.last} {self.step} {self.size} {self.kind} {self.codec} "
        return numbers.encode(), self.times or b"", self.data


def typed(kind: int, words: Words) -> Any:
    """Return words as an array of their kind: float64, int64 or bool."""
    if kind == Kind.FLOAT:
        return words.view(np.float64)
    return words.view(np.int64) if kind == Kind.INT else words.astype(np.bool_)


def points_of(times: list[int], values: list[float | int | bool]) -> Points:
    """Return numbers of Python as points."""
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
    """Join points of one key that may overlap in time; where they do, the later part counts."""
    if len(parts) == 1:
        times, kinds, words = parts[0]
    else:
        times, kinds, words = (np.concatenate(part) for part in zip(*parts, strict=True))
    whole = Points(times, kinds, words)
    chosen = newest(times)
    return whole if chosen is None else whole.part(chosen)


def pack(points: Points, size: int = BLOCK) -> Iterator[Block]:
    """Yield points as blocks of about the same size, each of at most `size` numbers."""
    pieces = -(-len(points.times) // size)
    for piece in range(pieces):
        start, stop = (len(points.times) * at // pieces for at in (piece, piece + 1))
        yield _pack(points.part(slice(start, stop)))


def _pack(points: Points) -> Block:
    times, kinds, words = points
    count, first, last = len(times), int(times[0]), int(times[-1])
    kind = int(kinds[0]) if (kinds == kinds[0]).all() else MIXED
    data = pack_words(words, floats=kind == Kind.FLOAT)
    if kind == MIXED:
        data = pack_words(kinds.astype(np.uint64)) + data
    step = (last - first) // (count - 1) if count > 1 else 1
    regular = count == 1 or bool((np.diff(times) == step).all())
    packed = None
    if not regular:
        stream = pack_words(times.view(np.uint64))
        packed = stream + zlib.crc32(stream).to_bytes(_CHECK, "little")
    return Block(first, last, step if regular else 0, count, kind, CODEC, packed, data)


def _require_possible(first: Any, last: Any, step: Any, count: Any) -> None:
    """Raise `ValueError` for an impossible block header, before any memory is allocated for it.

    A few bytes may claim any number of equal numbers. No version has ever packed more than `BLOCK`
    numbers into a block, and the times of a block are all different.
    """
    if not all(type(number) is int for number in (first, last, step, count)):
        raise ValueError("what it says of itself is no number")
    if not 0 < count <= BLOCK:
        raise ValueError(f"it cannot hold {count} numbers")
    if not (0 <= first <= last <= MAX_TIME and step >= 0 and count <= last - first + 1):
        raise ValueError("its times do not fit together")


def unpack_times(first: int, last: int, step: int, count: int, packed: bytes | None) -> Times:
    """Return the times of a block. Raises `CorruptLog` if they are impossible or damaged."""
    try:
        return _unpack_times(first, last, step, count, packed)
    except UNREADABLE as error:
        raise CorruptLog(f"a segment cannot be read ({error}); see `traininglog check`") from error


def _unpack_times(first: int, last: int, step: int, count: int, packed: bytes | None) -> Times:
    _require_possible(first, last, step, count)
    if packed is None:
        if first + step * (count - 1) != last:
            raise ValueError("its times do not fit together")
        return first + step * np.arange(count, dtype=np.int64)
    stream = memoryview(packed)[:-_CHECK]
    if zlib.crc32(stream) != int.from_bytes(packed[-_CHECK:], "little"):
        raise ValueError("its times are damaged")
    words = np.empty(count, np.uint64)
    unpack_words(stream, words)
    times = words.view(np.int64)
    if times[0] != first or times[-1] != last or not (times[1:] > times[:-1]).all():
        raise ValueError("its times do not fit together")
    return times


class BlockHead(NamedTuple):
    """The header of a block, without its numbers."""

    first: int
    last: int
    step: int
    size: int
    times: bytes | None
    kind: int


def room_for(heads: Iterable[BlockHead]) -> Words:
    """Return an array for the numbers of some blocks. Raises `CorruptLog` for a bad header."""
    total = 0
    for head in heads:
        try:
            _require_possible(head.first, head.last, head.step, head.size)
        except ValueError as error:
            raise CorruptLog(
                f"a segment has no possible size ({error}); see `traininglog check`"
            ) from error
        total += head.size
    return np.empty(total, np.uint64)


def run_on(
    heads: list[BlockHead], blocks: Iterable[Block], low: int, high: int, words: Words,
    shared: dict[Any, Any],
) -> tuple[Any, Any]:  # fmt: skip
    """Return the times and values of consecutive blocks of one key within ``low..high``.

    Args:
        heads: The headers of the blocks.
        blocks: The blocks, ascending in time. They are consumed one by one.
        low: The first time to return.
        high: The last time to return.
        words: An array for the numbers, see `room_for`. The returned values may share its memory.
        shared: A cache of the arrays of times, for other keys that have the same times.

    Raises:
        CorruptLog: One of the blocks is impossible.

    """
    try:
        return _run_on(heads, blocks, low, high, words, shared)
    except UNREADABLE as error:
        raise CorruptLog(f"a segment cannot be read ({error}); see `traininglog check`") from error


def _run_on(
    heads: list[BlockHead], blocks: Iterable[Block], low: int, high: int, words: Words,
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
        if len(unpack_words(_known(block), words[at : at + block.size])):
            raise ValueError("it is longer than it should be")
        at += block.size
    return times, typed(kind, words[part])


def unpack(block: Block) -> Points:
    """Return the numbers of a block. Raises `CorruptLog` if it is impossible."""
    try:
        return _unpack(block)
    except UNREADABLE as error:
        raise CorruptLog(f"a segment cannot be read ({error}); see `traininglog check`") from error


def _unpack(block: Block) -> Points:
    rest = _known(block)
    count = block.size
    times = _unpack_times(block.first, block.last, block.step, count, block.times)
    words = np.empty(count, np.uint64)
    if block.kind == MIXED:
        rest = unpack_words(rest, words)
        kinds = words.astype(np.uint8)
        if not np.isin(kinds, KINDS).all():
            raise ValueError("it holds what is no number")
    else:
        kinds = np.full(count, block.kind, np.uint8)
    if len(unpack_words(rest, words)):
        raise ValueError("it is longer than it should be")
    return Points(times, kinds, words)


def pick(block: Block, time: int) -> float | int | bool | None:
    """Return the number at a time, or None: `unpack(block).at(time)`, mostly without the others.

    Raises `CorruptLog` if the block is impossible.
    """
    try:
        return _pick(block, time)
    except UNREADABLE as error:
        raise CorruptLog(f"a segment cannot be read ({error}); see `traininglog check`") from error


def _pick(block: Block, time: int) -> float | int | bool | None:
    data = _known(block)
    if block.kind == MIXED or not block.step:
        return _unpack(block).at(time)
    place, between = divmod(time - block.first, block.step)
    if between or not 0 <= place < block.size:
        return None
    word = pick_word(data, block.size, place)
    if word is None:
        return _unpack(block).at(time)
    value: float | int | bool = typed(block.kind, np.array([word], np.uint64)).tolist()[0]
    return value


def _known(block: Block) -> memoryview:
    if block.codec != CODEC:
        raise ValueError(f"codec {block.codec} is not known: install a newer traininglog")
    if block.kind != MIXED and block.kind not in KINDS:
        raise ValueError(f"a segment of kind {block.kind} is not known")
    _require_possible(block.first, block.last, block.step, block.size)
    return memoryview(block.data)
