"""Statistics: exact, mergeable, and what their names say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traininglog.lenses.numbers.statistics import (
    POINTS,
    Running,
    Sketch,
    Values,
    check_points,
    names_of,
    statistic,
)

numbers = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30)
REFERENCE = {
    "mean": np.mean, "std": np.std, "min": np.min, "max": np.max, "median": np.median,
    "Q1": lambda a: np.quantile(a, 0.25), "Q2": np.median, "Q3": lambda a: np.quantile(a, 0.75),
    "IQR": lambda a: np.quantile(a, 0.75) - np.quantile(a, 0.25),
}  # fmt: skip
RUNNING = ("mean", "std", "min", "max")


@given(parts=st.lists(numbers, min_size=1, max_size=5), running=st.booleans())
def test_points_are_numpys_however_the_numbers_come(parts, running):
    """One at a time, in arrays, or merged from others: all the same."""
    everything = np.concatenate(parts)
    one_by_one, in_parts, merged = (statistic(running=running) for _ in range(3))
    for part in parts:
        for number in part:
            one_by_one.add(number)
        in_parts.add(np.array(part))
        other = statistic(running=running)
        other.add(part)
        merged.merge(type(other).from_state(other.state()))
    scale = max(1.0, np.abs(everything).max())
    for seen in (one_by_one, in_parts, merged):
        assert seen.count == everything.size
        for name in RUNNING if running else POINTS:
            assert seen.point(name) == pytest.approx(
                REFERENCE[name](everything), rel=1e-9, abs=1e-6 * scale
            )


def test_welford_does_not_cancel():
    """The variance of small distances about a large mean, where the textbook formula gives 0."""
    seen = Running()
    for number in (1e9, 1e9 + 1, 1e9 + 2):
        seen.add(number)
    assert seen.variance == pytest.approx(2 / 3)


@pytest.mark.parametrize("order", [(1.0, math.nan, 2.0), (math.nan, 1.0), (1.0, math.nan)])
@pytest.mark.parametrize("running", [True, False])
def test_a_nan_is_not_hidden_whatever_its_place(order, running):
    seen = statistic(running=running)
    for number in order:
        seen.add(number)
    assert all(math.isnan(seen.point(name)) for name in RUNNING)


@pytest.mark.parametrize("running", [True, False])
def test_nothing_is_nan_and_an_infinity_stays_one(running):
    seen = statistic(running=running)
    seen.add([])
    assert math.isnan(seen.point("mean"))
    seen.add([1.0, math.inf])
    assert seen.point("max") == seen.point("mean") == math.inf
    assert seen.point("min") == 1.0


def test_a_running_statistic_tells_no_quantile():
    with pytest.raises(ValueError, match="running=False"):
        Running().point("Q1")
    with pytest.raises(ValueError, match="there is no statistic 'Q5'"):
        check_points(["Q5"], running=False)
    with pytest.raises(ValueError, match="there is no range"):
        names_of("mean", ["minmax"], running=True)
    with pytest.raises(ValueError, match="a list of names"):
        names_of("mean", "std", running=True)
    assert names_of("median", ["Q1-Q3"], running=False) == ["median", "Q1", "Q3"]


def test_values_are_those_that_came_when_they_came():
    array = np.array([1.0, 2.0])
    seen = Values()
    seen.add(array)
    array[0] = 100.0
    assert seen.point("max") == 2.0


@given(
    data=st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=600),
    cuts=st.integers(1, 4),
)
def test_a_sketchs_quantiles_lie_within_its_stated_error(data, cuts):
    array = np.array(data)
    whole = Sketch(64)
    for part in np.array_split(array, cuts):
        other = Sketch(64)
        other.add(part)
        whole.merge(Sketch.from_state(other.state()))
    shares = (0.0, 0.1, 0.5, 0.9, 1.0)
    found = whole.quantiles(shares)
    assert whole.count == array.size
    assert found[0] == array.min()
    assert found[-1] == array.max()
    assert found == sorted(found)
    error = 2 * cuts / 128 + 1 / array.size  # of the rank: per compression, and of one value
    ordered = np.sort(array)
    for share, value in zip(shares, found, strict=True):
        below = np.searchsorted(ordered, value, side="left") / array.size
        up_to = np.searchsorted(ordered, value, side="right") / array.size
        assert below - error <= share <= up_to + error


def test_a_sketch_weighs_and_leaves_out_what_is_not_finite():
    sketch = Sketch()
    sketch.add([0.0], weight=3)
    sketch.add([10.0, math.nan, math.inf])
    assert sketch.count == 4
    assert sketch.non_finite == 2
    assert sketch.quantiles([0.5])[0] < 5
    assert all(map(math.isnan, Sketch().quantiles([0.5])))
