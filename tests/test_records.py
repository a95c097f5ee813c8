"""The end of a journal whose process was killed in the midst of a record, and a damaged one."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traininglog.journal.order import STEP, Order
from traininglog.journal.record import (
    FLOAT_HEAD,
    Batch,
    DamagedRecord,
    RowForm,
    pack_entries,
    pack_float,
    pack_key,
    pack_row,
    pack_status,
)

TAG = 0xC1234567  # of the first record
TWO = RowForm.of([FLOAT_HEAD + 1, FLOAT_HEAD + 2])

#: How much a processor stores at once: the first so many bytes may be stored last.
VECTORS = (16, 32, 64)

texts = st.text(st.characters(codec="utf-8"), max_size=3000)

#: Records, each as a function of its tag.
makers = st.one_of(
    st.integers(1, 9).map(
        lambda t: partial(pack_float, FLOAT_HEAD + 1, t, 0.5, 0.5, t, FLOAT_HEAD + 1)
    ),
    st.integers(1, 9).map(lambda t: partial(pack_row, TWO, t, [0.25, 2.0])),
    texts.map(lambda text: partial(pack_entries, [(3, 1, text)])),
    texts.map(lambda text: partial(pack_status, {"note": text})),
    st.just(partial(pack_key, 1, "loss")),
)


def made(makers, counted=True):
    """Return records that follow on each other."""
    return [make(TAG + STEP * counted * number) for number, make in enumerate(makers)]


def read(data, counted=True):
    """Return how far the records of a region can be read, and what is behind."""
    batch = Batch()
    try:
        batch.add(data.rstrip(b"\0"), Order(TAG, counted=counted))
    except DamagedRecord as error:
        return batch.size, "torn" if error.torn else "damaged"
    return batch.size, None


@given(st.lists(makers, min_size=1, max_size=5), st.booleans(), st.data())
def test_a_record_that_was_being_copied_is_torn(makers, counted, data):
    """A copy may leave out the last bytes, and store the first ones last."""
    *before, last = made(makers, counted)
    whole = b"".join(before)
    done = data.draw(st.integers(0, len(last) - 1), label="done")
    held_back = data.draw(st.sampled_from((0, *VECTORS)), label="held back")
    copied = last[:done].ljust(len(last), b"\0")
    copied = bytes(min(held_back, len(last))) + copied[held_back:]
    size, what = read(whole + copied + bytes(100), counted)
    assert size == len(whole)
    assert what in ("torn", None)  # None: nothing of it is there


@pytest.mark.parametrize("vector", VECTORS)
@given(makers=st.lists(makers, min_size=1, max_size=5), counted=st.booleans())
def test_so_is_one_that_lacks_nothing_but_its_beginning(vector, makers, counted):
    *before, last = made(makers, counted)
    whole = b"".join(before)
    size, what = read(whole + bytes(min(vector, len(last))) + last[vector:] + bytes(100), counted)
    assert size == len(whole)
    assert what in ("torn", None)


@given(st.lists(makers, min_size=2, max_size=7), st.booleans(), st.data())
def test_what_has_records_behind_it_is_damaged(makers, counted, data):
    """Those were acknowledged after it, so it was, too."""
    records = made(makers, counted)
    at = data.draw(st.integers(0, len(records) - 2), label="at")
    before, hit, after = records[:at], records[at], records[at + 1 :]
    start = len(b"".join(before))
    zeros = data.draw(st.sampled_from((*VECTORS, len(hit))), label="zeros")
    hole = bytes(min(zeros, len(hit))) + hit[zeros:]
    size, what = read(b"".join([*before, hole, *after]), counted)
    assert size == start
    assert what == "damaged"


@given(st.permutations(range(20)), st.sets(st.integers(0, 19)))
def test_records_of_threads_that_raced_are_all_read(order, unused):
    """In whatever order they got there; and some numbers were never used."""
    order = [number for number in order if number not in unused]
    records = [
        pack_float(FLOAT_HEAD + 1, number, 0.5, 0.5, number, FLOAT_HEAD + 1, TAG + STEP * number)
        for number in order
    ]
    assert read(b"".join(records)) == (44 * len(order), None)


@given(st.lists(makers, min_size=2, max_size=9), st.data())
def test_a_record_twice_is_damage_wherever_it_is_put(makers, data):
    """Over another of its size, or behind the last. What is read is a prefix without it."""
    records = made(makers)
    one = data.draw(st.integers(0, len(records) - 1), label="one")
    same_size = [
        at for at, record in enumerate(records) if len(record) == len(records[one]) and at != one
    ]
    at = data.draw(st.sampled_from([*same_size, len(records)]), label="at")
    damaged = [*records[:at], records[one], *records[at + 1 :]]
    batch = Batch()
    with pytest.raises(DamagedRecord) as caught:
        batch.add(b"".join(damaged), Order(TAG))
    assert not caught.value.torn
    cut = batch.size if caught.value.cut is None else caught.value.cut
    assert cut == len(b"".join(records[:at]))


def test_a_region_may_be_read_from_its_midst():
    """Threads may have raced just there; and nothing is taken for a number that has none."""
    order = Order(TAG, skip=44 * 10)
    numbers = (10, 9, 11, 9, 10, 12, 8, 13)
    taken = [order.accept(TAG + STEP * number, 1, 0, 44) for number in numbers]
    assert taken == [1, 1, 1, 0, 0, 1, 1, 1]
    assert not Order(TAG, skip=44).accept(TAG - STEP, 1, 0, 44)
    assert not Order(TAG, skip=44).accept(TAG + STEP * 10_000, 1, 0, 44)


def test_numbers_far_apart_are_damage_and_take_no_memory():
    order = Order(TAG)
    assert order.accept(TAG + STEP * 4000, 1, 0, 44)
    assert not order.accept(TAG + STEP * 8000, 1, 44, 44)
    assert not order.accept(TAG + STEP * 2**28, 1, 44, 44)
    assert order.accept(TAG + STEP * 4001, 5, 44, 44) == 5


@pytest.mark.parametrize("skip", [0, 44 * 100])
def test_a_flipped_bit_makes_of_a_tag_that_of_no_other_record(skip):
    for number in range(20):
        for bit in range(32):
            order = Order(TAG, skip=skip)
            assert not order.accept((TAG + STEP * number) ^ (1 << bit), 1, 0, 44)
