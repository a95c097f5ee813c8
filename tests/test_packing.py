"""Blocks of numbers: every bit comes back, what is damaged is not read, and they are small."""

import contextlib
import math
import struct
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traininglog import CorruptLog
from traininglog.encoding import Kind
from traininglog.packing import (
    Block,
    BlockHead,
    Points,
    joined,
    pack,
    pick,
    points_of,
    room_for,
    run_on,
    unpack,
    unpack_times,
)

FLOATS = st.floats() | st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324])
INTS = st.integers(-(2**63), 2**63 - 1)
NUMBERS = FLOATS | INTS | st.booleans()
KINDS = [FLOATS, st.floats(width=32), INTS, st.integers(-100, 100), st.booleans(), NUMBERS]


@st.composite
def columns(draw):
    """Times, ascending, and as many numbers: of one type, or of several."""
    values = draw(st.lists(draw(st.sampled_from(KINDS)), min_size=1, max_size=60))
    steps = st.integers(1, 2**56) if draw(st.booleans()) else st.just(draw(st.integers(1, 1000)))
    count = len(values)
    times = list(accumulate(draw(st.lists(steps, min_size=count, max_size=count))))
    return times, values


def bits(value):
    return struct.pack("<d", value) if type(value) is float else (type(value), value)


def listed(values):
    return values.tolist() if hasattr(values, "tolist") else values


@given(columns(), st.integers(1, 70))
def test_numbers_come_back_to_the_bit_and_as_what_they_were(column, size):
    times, values = column
    blocks = list(pack(points_of(times, values), size))
    assert all(1 <= block.size <= size for block in blocks)
    found = [unpack(block) for block in blocks]
    assert [time for points in found for time in points.times.tolist()] == times
    back = [value for points in found for value in listed(points.values())]
    assert [bits(value) for value in back] == [bits(value) for value in values]
    assert [bits(points.at(t)) for points in found for t in points.times.tolist()] == [
        bits(value) for value in values
    ]


@given(columns(), st.integers(1, 70), st.integers(0, 2**60), st.integers(0, 2**60))
def test_what_lies_between_two_times_is_read_across_blocks(column, size, low, high):
    times, values = column
    blocks = list(pack(points_of(times, values), size))
    heads = [BlockHead(b.first, b.last, b.step, b.size, b.times, b.kind) for b in blocks]
    room = np.empty(len(times), np.uint64)
    found_times, found = run_on(heads, iter(blocks), low, high, room, {})
    wanted = [(t, bits(v)) for t, v in zip(times, values, strict=True) if low <= t <= high]
    assert list(zip(found_times.tolist(), map(bits, listed(found)), strict=True)) == wanted


@given(columns(), st.integers(1, 70), st.data())
def test_one_number_is_picked_as_if_all_had_been_read(column, size, data):
    for block in pack(points_of(*column), size):
        points = unpack(block)
        near = st.sampled_from(points.times.tolist()) | st.integers(block.first - 2, block.last + 2)
        time = data.draw(near)
        picked, wanted = pick(block, time), points.at(time)
        assert (type(picked), bits(picked)) == (type(wanted), bits(wanted))


@pytest.mark.parametrize("count", [1, 2, 511, 512, 5000])
@pytest.mark.parametrize("scale", [1e-300, 1e-3, 1.0, 1e300])
def test_many_numbers_come_back_too(count, scale):
    rng = np.random.default_rng(count)
    for values in (
        rng.standard_normal(count) * scale,
        1.0 + rng.standard_normal(count) * 1e-9,
        rng.standard_normal(count).astype(np.float32).astype(np.float64),
        np.full(count, scale),
        np.linspace(0, scale, count),
        np.round(rng.random(count), 3),
    ):
        points = points_of(list(range(count)), values.tolist())
        back = np.concatenate([unpack(block).words for block in pack(points)])
        assert (back == values.view(np.uint64)).all()


def test_a_nan_keeps_its_payload():
    words = np.array([0x7FF8000000000000, 0x7FF8DEADBEEF0001, 0xFFF0000000000001], np.uint64)
    points = Points(np.arange(3), np.full(3, Kind.FLOAT, np.uint8), words)
    (block,) = pack(points)
    assert unpack(block).words.tolist() == words.tolist()


def test_of_several_numbers_for_one_time_the_one_given_last_counts():
    first = points_of([1, 3, 5], [1.0, 3.0, 5.0])
    second = points_of([3, 4], [30, 40])
    both = joined([first, second])
    assert dict(zip(both.times.tolist(), both.values(), strict=True)) == {
        1: 1.0, 3: 30, 4: 40, 5: 5.0,
    }  # fmt: skip


def test_times_at_equal_steps_take_no_room():
    (block,) = pack(points_of(list(range(10, 1000, 3)), [1.0] * 330))
    assert (block.first, block.last, block.step, block.times) == (10, 997, 3, None)
    (block,) = pack(points_of([0, 1, 3], [1.0] * 3))
    assert block.step == 0
    assert block.times is not None


def size_of(values):
    return sum(len(b.data) for b in pack(points_of(list(range(len(values))), values))) / len(values)


def test_blocks_are_small():
    rng = np.random.default_rng(0)
    noise = 1.0 + 0.05 * rng.standard_normal(8192)
    assert size_of(noise.tolist()) < 6.55  # of which 6.3 are noise: no codec could save them
    assert size_of(noise.astype(np.float32).astype(np.float64).tolist()) < 3
    assert size_of([0.1] * 8192) < 0.01
    assert size_of(list(range(8192))) < 0.01
    assert size_of([bool(i % 7) for i in range(8192)]) < 0.2


@given(columns(), st.data())
def test_a_flipped_bit_is_found_by_the_checksum(column, data):
    block = next(pack(points_of(*column)))
    field = data.draw(st.sampled_from(Block._fields))
    value = getattr(block, field)
    if value is None:
        return
    if isinstance(value, bytes):
        place = data.draw(st.integers(0, len(value) * 8 - 1))
        changed = bytearray(value)
        changed[place // 8] ^= 1 << place % 8
        other = block._replace(**{field: bytes(changed)})
    else:
        other = block._replace(**{field: value ^ 1 << data.draw(st.integers(0, 40))})
    assert other.checksum() != block.checksum()


@given(columns(), st.data())
def test_what_is_damaged_reads_as_such_or_not_at_all_but_never_crashes(column, data):
    block = next(pack(points_of(*column)))
    raw = bytearray(block.data)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    for damaged in (bytes(raw), bytes(raw[:cut]), block.data + b"\0"):
        with contextlib.suppress(CorruptLog):
            pick(block._replace(data=damaged), data.draw(st.sampled_from(column[0])))
        try:
            found = unpack(block._replace(data=damaged))
        except CorruptLog:
            continue
        assert len(found.words) == block.size


@given(columns(), st.data())
def test_damaged_times_are_never_returned(column, data):
    block = next(pack(points_of(*column)))
    if block.times is None:
        with pytest.raises(CorruptLog):
            unpack_times(block.first, block.last + 1, block.step, block.size, None)
        return
    raw = bytearray(block.times)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CorruptLog):
        unpack_times(block.first, block.last, block.step, block.size, bytes(raw))


def test_a_codec_of_a_later_version_is_refused_with_a_remedy():
    (block,) = pack(points_of([1], [1.0]))
    with pytest.raises(CorruptLog, match="install a newer"):
        unpack(block._replace(codec=9))


@pytest.mark.parametrize("size", [0, -1, 2**40, None, "many", b"", 1.5])
def test_there_is_no_room_for_a_block_of_no_possible_size(size):
    with pytest.raises(CorruptLog, match="size"):
        room_for([BlockHead(0, 1, 1, size, None, 2)])
