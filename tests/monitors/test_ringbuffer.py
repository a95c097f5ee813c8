"""The ring holds the last values, and tells whether the metric still moves."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traininglog.monitors import RingbufferMonitor


def filled(values, steps=None, **options):
    ring = RingbufferMonitor(**{"capacity": max(2, len(values)), "key": "loss"} | options)
    for step, value in zip(steps or range(1, len(values) + 1), values, strict=True):
        ring.write({"loss": value}, step)
    return ring


def test_it_holds_the_last_values():
    ring = filled([1.0, 2.0, 3.0, 4.0], capacity=3)
    assert ring.values == [2.0, 3.0, 4.0]
    assert ring.steps == [2, 3, 4]
    assert ring.mean() == 3.0


def test_before_the_first_value_there_is_no_number():
    ring = RingbufferMonitor()
    assert math.isnan(ring.mean())
    assert math.isnan(ring.std())
    assert ring.movement_index is None


def test_there_is_no_index_until_it_is_full():
    ring = filled([1.0, 2.0, 3.0], capacity=4)
    assert ring.movement_index is None
    ring.write({"loss": 4.0}, 4)
    assert ring.movement_index is not None


def test_the_index_is_the_distance_of_the_halves_over_twice_their_scatter():
    # means 2 and 7, deviations 1 and 2
    assert filled([1.0, 3.0, 5.0, 9.0]).movement_index == pytest.approx(5 / (2 * math.sqrt(2)))


def test_the_halves_are_those_of_the_steps():
    """Not of the values: three of these four were measured in the last tenth."""
    ring = filled([1.0, 3.0, 5.0, 9.0], steps=[1, 2, 3, 4])
    assert ring.movement_index == pytest.approx(5 / (2 * math.sqrt(2)))
    ring = filled([1.0, 3.0, 5.0, 7.0, 9.0], steps=[1, 2, 98, 99, 100])
    scatter = math.sqrt(1.0 * statistics.pstdev([5, 7, 9]))
    assert ring.movement_index == pytest.approx(5 / (2 * scatter))


@pytest.mark.parametrize("start", [2**24, 2**53, 2**60])
def test_large_steps_are_told_apart(start):
    values = [1.0, 3.0, 5.0, 7.0, 19.0]
    gaps = [1, 2, 3, 99, 100]
    ring = filled(values, steps=[start + gap for gap in gaps])
    assert ring.steps == [start + gap for gap in gaps]
    assert ring.movement_index == filled(values, steps=gaps).movement_index


def test_without_scatter_the_index_is_still_a_number():
    assert filled([2.0, 2.0, 2.0, 2.0]).movement_index == 0.0
    assert filled([0.1] * 6).movement_index == 0.0
    moved = filled([1.0, 1.0, 2.0, 2.0]).movement_index
    assert moved > 1e12
    assert math.isfinite(moved)
    half = filled([1.0, 1.0, 2.0, 4.0]).movement_index
    assert 1e6 < half < moved
    assert filled([0.0, 0.0, 0.0, 0.0]).movement_index == 0.0


def test_steps_that_do_not_ascend_are_cut_in_the_middle():
    assert filled([1.0, 3.0, 5.0, 9.0], steps=[3, 3, 3, 3]).movement_index == pytest.approx(
        5 / (2 * math.sqrt(2))
    )


def test_sessions_are_counted_on():
    ring = RingbufferMonitor(key="loss")
    for _ in range(3):
        with ring.session(2):
            ring.write({"loss": 1.0}, 1)
            ring.write({"accuracy": 1.0}, 2)  # counts, and is not held
    assert ring.steps == [1, 3, 5]
    assert ring.values == [1.0, 1.0, 1.0]


def test_a_nested_metric_and_a_tensor_are_found():
    import numpy as np

    ring = RingbufferMonitor(key="model/loss")
    ring.write({"model": {"loss": np.array([1.0, 3.0])}}, 1)
    ring.write({"model/loss": np.float32(4.0)}, 2)
    assert ring.values == [2.0, 4.0]


def test_what_is_no_number_is_refused():
    with pytest.raises(TypeError, match="'loss' is to be a number, not a str"):
        filled(["high"])


@pytest.mark.parametrize("capacity", [1, 0, -3, 2.5, True, None])
def test_a_ring_of_less_than_two_is_refused(capacity):
    with pytest.raises(ValueError, match="capacity is an int of at least 2"):
        RingbufferMonitor(capacity)


def test_numbers_at_the_edge():
    assert filled([1e9, 1e9 + 1]).std() == 0.5
    assert filled([1.7e308] * 4).mean() == pytest.approx(1.7e308)
    assert filled([1e200, -1e200]).std() == pytest.approx(1e200)
    assert math.isnan(filled([1.0, math.nan]).mean())
    assert math.isnan(filled([1.0, math.nan]).std())
    assert math.isnan(filled([math.inf, -math.inf]).mean())
    assert math.isnan(filled([1.0, math.nan, 1.0, 2.0]).movement_index)
    ring = filled([math.nan, 1.0, 2.0, 3.0, 4.0], capacity=4)
    assert ring.mean() == 2.5  # a NaN is gone when it has left the ring


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50), st.integers(2, 20))
def test_mean_and_deviation_are_those_of_what_is_held(values, capacity):
    ring = filled(values, capacity=capacity)
    held = values[-capacity:]
    assert ring.mean() == pytest.approx(statistics.fmean(held), abs=1e-9)
    assert ring.std() == pytest.approx(statistics.pstdev(held), abs=1e-6)
    index = ring.movement_index
    assert index is None if len(values) < capacity else index >= 0 and math.isfinite(index)
