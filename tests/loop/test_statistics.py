"""Means and deviations without loss of digits, and what is no finite number."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from traininglog.loop import StatisticsCollector
from traininglog.loop.measures.statistics import summed_up

NUMBERS = st.floats(-1e12, 1e12)
WEIGHTS = st.floats(0, 1e6).filter(lambda weight: weight == 0 or weight > 1e-3)


def exact(pairs):
    """Return mean and variance of (value, weight) in exact arithmetic."""
    total = sum(Fraction(weight) for _, weight in pairs)
    mean = sum(Fraction(value) * Fraction(weight) for value, weight in pairs) / total
    var = sum((Fraction(value) - mean) ** 2 * Fraction(weight) for value, weight in pairs) / total
    return float(mean), float(var)


def close(found, expected, scale):
    return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9 * scale)


def test_large_numbers_that_differ_by_little():
    collector = StatisticsCollector()
    for value in (1e9, 1e9 + 1):
        collector.collect(value)
    assert (collector.mean, collector.var, collector.stddev) == (1e9 + 0.5, 0.25, 0.5)


@given(st.lists(st.tuples(NUMBERS, WEIGHTS), min_size=1), st.data())
def test_it_agrees_with_exact_arithmetic_however_values_are_grouped(pairs, data):
    collector, left = StatisticsCollector(), list(pairs)
    while left:
        size = data.draw(st.integers(1, len(left)))
        chunk, left = left[:size], left[size:]
        if size == 1:
            collector.collect(*chunk[0])
        else:
            values, weights = zip(*chunk, strict=True)
            collector.collect(np.array(values), np.array(weights))
    assert collector.counter == len(pairs)
    if not any(weight for _, weight in pairs):
        assert math.isnan(collector.mean)
        assert collector.has_value
        return
    mean, var = exact(pairs)
    scale = max(abs(value) for value, _ in pairs)
    assert close(collector.mean, mean, scale)
    assert close(collector.var, var, scale**2 * 1e-6)
    assert close(collector.square, var + mean**2, scale**2)


@given(st.lists(NUMBERS | st.sampled_from([math.nan, math.inf, -math.inf]), min_size=1))
def test_what_is_not_finite_is_counted_and_not_spread(values):
    one_by_one, at_once, as_list = (StatisticsCollector() for _ in range(3))
    for value in values:
        one_by_one.collect(value)
    at_once.collect(np.array(values))
    as_list.merge(summed_up(values))
    finite = [value for value in values if math.isfinite(value)]
    for collector in (one_by_one, at_once, as_list):
        assert collector.counter == len(values)
        assert collector.nan_counter == sum(map(math.isnan, values))
        assert collector.inf_counter == sum(map(math.isinf, values))
        assert collector.weight_sum == len(finite)
        if finite:
            scale = max(map(abs, finite))
            assert close(collector.mean, float(sum(map(Fraction, finite)) / len(finite)), scale)
        else:
            assert math.isnan(collector.mean)


def test_numbers_near_the_greatest_float():
    collector = StatisticsCollector()
    collector.merge(summed_up([1.7e308] * 4))
    assert math.isclose(collector.mean, 1.7e308)
    assert not math.isnan(collector.var)


@given(hnp.arrays(float, (7, 2, 3), elements=st.floats(-1e3, 1e3)))
def test_a_collector_with_a_shape_does_each_place_on_its_own(values):
    collector = StatisticsCollector(shape=(2, 3))
    collector.collect(values[0])
    collector.collect(values[1:], weight=np.arange(6))
    weights = np.array([1, *range(6)], dtype=float)
    mean = np.average(values, axis=0, weights=weights)
    assert np.allclose(collector.mean, mean)
    assert np.allclose(collector.var, np.average((values - mean) ** 2, axis=0, weights=weights))
    assert collector.counter == 7
    assert collector.mean.shape == (2, 3)


def test_a_nan_in_one_place_leaves_the_others_alone():
    collector = StatisticsCollector(shape=(2,))
    collector.collect([[1.0, math.nan], [3.0, 5.0]])
    assert collector.mean.tolist() == [2.0, 5.0]
    assert (collector.counter, collector.nan_counter) == (2, 1)


def test_what_it_refuses():
    collector = StatisticsCollector(shape=(2,))
    with pytest.raises(ValueError, match=r"values of shape \(3,\) do not end in \(2,\)"):
        collector.collect([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="weights of shape"):
        collector.collect([[1.0, 2.0]], weight=[1.0, 2.0])
    for weight in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="a weight is a finite number and not negative"):
            StatisticsCollector().collect(1.0, weight)
        with pytest.raises(ValueError, match="a weight is a finite number and not negative"):
            StatisticsCollector().collect([1.0, 2.0], [1.0, weight])
    assert not collector.has_value


def test_an_empty_batch_is_nothing_and_reset_forgets():
    collector = StatisticsCollector()
    collector.collect([])
    assert not collector.has_value
    collector.collect([1.0, 2.0])
    collector.reset()
    assert (collector.counter, collector.weight_sum) == (0, 0)
    assert math.isnan(collector.mean)


def test_frozen_statistics_stay_as_they_are():
    collector = StatisticsCollector()
    collector.collect(1.0)
    frozen = collector.frozen()
    collector.collect(3.0)
    assert (frozen.mean, frozen.counter, collector.mean) == (1.0, 1, 2.0)
    with pytest.raises(FrozenInstanceError):
        frozen.mean = 2.0


def test_a_collector_goes_on_from_its_state():
    first, second = StatisticsCollector(), StatisticsCollector()
    first.collect([1.0, math.nan, 2.0])
    second.set_state(first.get_state())
    for collector in (first, second):
        collector.collect(10.0)
    assert first.frozen() == second.frozen()
