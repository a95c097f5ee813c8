"""The end of a journal whose process was killed in the midst of a record, and a damaged one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traininglog.sqlite.records import (
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

TAG = 0xC1234567
TWO = RowForm.of([FLOAT_HEAD + 1, FLOAT_HEAD + 2])

#: How much a processor stores at once: the first so many bytes may be stored last.
VECTORS = (16, 32, 64)

texts = st.text(st.characters(codec="utf-8"), max_size=3000)
records = st.one_of(
    st.integers(1, 9).map(
        lambda t: pack_float(FLOAT_HEAD + 1, t, 0.5, 0.5, t, FLOAT_HEAD + 1, TAG)
    ),
    st.integers(1, 9).map(lambda t: pack_row(TWO, t, [0.25, 2.0], TAG)),
    texts.map(lambda text: pack_entries([(3, 1, text)], TAG)),
    texts.map(lambda text: pack_status({"note": text}, TAG)),
    st.just(pack_key(1, "loss", TAG)),
)


def read(data):
    """Return how far the records of a region can be read, and what is behind."""
    batch = Batch()
    try:
        batch.add(data.rstrip(b"\0"), TAG)
    except DamagedRecord as error:
        return batch.size, "torn" if error.torn else "damaged"
    return batch.size, None


@given(st.lists(records, max_size=4), records, st.data())
def test_a_record_that_was_being_copied_is_torn(before, last, data):
    """A copy may leave out the last bytes, and store the first ones last."""
    whole = b"".join(before)
    done = data.draw(st.integers(0, len(last) - 1), label="done")
    held_back = data.draw(st.sampled_from((0, *VECTORS)), label="held back")
    copied = last[:done].ljust(len(last), b"\0")
    copied = bytes(min(held_back, len(last))) + copied[held_back:]
    size, what = read(whole + copied + bytes(100))
    assert size == len(whole)
    assert what in ("torn", None)  # None: nothing of it is there


@pytest.mark.parametrize("vector", VECTORS)
@given(before=st.lists(records, max_size=4), last=records)
def test_so_is_one_that_lacks_nothing_but_its_beginning(vector, before, last):
    whole = b"".join(before)
    size, what = read(whole + bytes(min(vector, len(last))) + last[vector:] + bytes(100))
    assert size == len(whole)
    assert what in ("torn", None)


@given(st.lists(records, max_size=3), records, st.lists(records, min_size=1, max_size=3), st.data())
def test_what_has_records_behind_it_is_damaged(before, hit, after, data):
    """Those were acknowledged after it, so it was, too."""
    start = len(b"".join(before))
    zeros = data.draw(st.sampled_from((*VECTORS, len(hit))), label="zeros")
    hole = bytes(min(zeros, len(hit))) + hit[zeros:]
    size, what = read(b"".join([*before, hole, *after]))
    assert size == start
    assert what == "damaged"
