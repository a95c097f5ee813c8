"""The position in the data of an epoch, where a resumed program goes through other passes."""

from traininglog.loop.passes.passes import Passes
from traininglog.loop.states import randomness


def resumed_at(position):
    """Return the passes of an epoch that goes on at a position."""
    passes = Passes({}, resumable=True)
    passes.go_to({"batches": 0, "states": {}} | position, randomness.capture({}))
    return passes


def test_a_pass_that_the_program_has_no_more_is_skipped_in_no_later_epoch():
    passes = resumed_at({"done": 2, "open": False})
    assert passes.skipped([1])  # of two, the program has one
    passes.begin_epoch()
    assert not passes.skipped([1])
    assert list(passes.open([1])) == [1]
    assert not passes.gone_through


def test_where_no_pass_had_begun_none_is_gone_through():
    passes = resumed_at({"done": 0, "open": False})
    assert not passes.skipped([1])
    assert list(passes.open([1])) == [1]
    assert not passes.gone_through
