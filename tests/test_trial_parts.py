"""The parts of trials: identity, statuses, aggregators, chronos, throttles."""

import json
import math
import pickle
import statistics
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traininglog.plain_json import escaped, unescaped
from traininglog.trials import (
    Chrono,
    CustomStatus,
    EstimatedTime,
    RingAggregator,
    StatAggregator,
    Status,
    TimeSeriesAggregator,
    Trial,
    UnknownStatus,
    ValueAggregator,
    status_of,
    throttle_repeated,
    throttled,
)
from traininglog.trials.measures.aggregators import restored
from traininglog.trials.plain import identity, plain_data

# -- identity -------------------------------------------------------------------------------

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**100), 2**100)
    | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def typed(value):
    """Return a form in which two values are equal only if their types are, too."""
    if isinstance(value, list):
        return ["list", *map(typed, value)]
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    return type(value).__name__, repr(value)


@given(PLAIN, PLAIN)
def test_two_values_have_one_identity_only_if_they_are_the_same(one, other):
    assert (identity(one) == identity(other)) == (typed(one) == typed(other))


@given(st.dictionaries(st.text(max_size=3), PLAIN, min_size=2), st.randoms())
def test_the_order_of_keys_does_not_matter(values, random):
    keys = list(values)
    random.shuffle(keys)
    assert identity({key: values[key] for key in keys}) == identity(values)


def test_what_the_ancestor_took_for_the_same_is_not():
    pairs = [
        ({"a": True}, {"a": 1}), ({"a": 1}, {"a": 1.0}), ({"a": {"b": 1}}, {"a": {"b": 2}}),
        ({"ab": "c"}, {"a": "bc"}), ({"a": -1}, {"a": 1}), ({"a": 2**32}, {"a": 2**64}),
        ({"a": [1, [2]]}, {"a": [[1], 2]}), ({"a": None}, {}), ({"a": "1"}, {"a": 1}),
        ({"a": 10**5000}, {"a": 10**5000 + 1}),
    ]  # fmt: skip
    for one, other in pairs:
        assert Trial(parameters=one).hash != Trial(parameters=other).hash, (one, other)
    assert Trial("t", project_id="p").hash != Trial("t", project_id="q").hash
    assert Trial("t", version="1").hash != Trial("t", version="2").hash
    assert Trial("t", tags={"a": 1}).hash == Trial("t", description="x").hash


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["$float", "$dict", "a"]), inner, max_size=3),
))  # fmt: skip
def test_plain_data_goes_through_strict_json(value):
    text = json.dumps(escaped(plain_data(value)), allow_nan=False)
    assert typed(unescaped(json.loads(text))) == typed(value)


# -- statuses -------------------------------------------------------------------------------


def test_the_names_and_numbers_of_statuses():
    assert {status.name: status.value for status in Status} == {
        "CreatedGroup": 0, "RunningGroup": 100, "Running": 101, "ErrorGroup": 200,
        "Interrupted": 201, "Exception": 202, "Broken": 203, "FinishedGroup": 300,
        "Suspended": 301, "Completed": 302,
    }  # fmt: skip


def test_statuses_that_are_equal_hash_alike():
    one, same, other = CustomStatus("Queued", 50), CustomStatus("Queued", 50), CustomStatus("Q", 51)
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert {one, same, other} == {one, other}
    assert CustomStatus("Completed", 302) == Status.Completed
    assert hash(CustomStatus("Completed", 302)) == hash(Status.Completed)
    assert {Status.Completed: 1}[CustomStatus("Completed", 302)] == 1
    assert one != "Queued"
    assert one < Status.Running < Status.Completed
    assert sorted([Status.Completed, one, Status.Running]) == [
        one,
        Status.Running,
        Status.Completed,
    ]
    assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(AttributeError):
        one.name = "other"


def test_a_status_is_named_in_many_ways():
    for name in ("Running", "running", 101, {"name": "Running", "value": 101}, Status.Running):
        assert status_of(name) is Status.Running
    assert status_of({"name": "Queued", "value": 50}) == CustomStatus("Queued", 50)
    for wrong in ("Finnished", 102, True, None, {"name": "x"}, {"name": "Running", "value": 5}):
        with pytest.raises(UnknownStatus):
            status_of(wrong)
    with pytest.raises(UnknownStatus):
        CustomStatus("Mine", 302)


# -- aggregators ----------------------------------------------------------------------------

NUMBERS = st.lists(st.floats(-1e6, 1e6) | st.integers(-1000, 1000), max_size=30)


@given(NUMBERS, st.integers(0, 5), st.integers(0, 30))
def test_statistics_are_those_of_the_values_that_were_not_skipped(values, skip, cut):
    stat = StatAggregator(skip)
    for value in values[:cut]:
        stat += value
    stat = restored(json.loads(json.dumps(stat.state(), allow_nan=False)))
    for value in values[cut:]:
        stat.append(value)
    kept = values[skip:]
    assert stat.count == len(kept)
    assert json.dumps(stat.to_json(), allow_nan=False)
    if not kept:
        assert (stat.avg, stat.min, stat.max, stat.sd, stat.val) == (None,) * 5
        return
    assert stat.avg == pytest.approx(statistics.fmean(kept), abs=1e-6)
    assert stat.sd == pytest.approx(statistics.pstdev(kept), abs=1e-5)
    assert (stat.min, stat.max, stat.val) == (min(kept), max(kept), kept[-1])
    assert stat.total == pytest.approx(sum(kept), abs=1e-4)


def test_the_variance_of_large_values_that_lie_close_does_not_cancel():
    stat = StatAggregator(0)
    for value in (1e9 + 1, 1e9 + 2, 1e9 + 3):
        stat += value
    assert stat.sd == pytest.approx(math.sqrt(2 / 3))


@given(NUMBERS, st.integers(1, 5))
def test_other_aggregators_keep_what_they_say(values, size):
    ring, series, value = RingAggregator(size), TimeSeriesAggregator(), ValueAggregator()
    for aggregator in (ring, series, value):
        for number in values:
            aggregator.append(number)
        assert restored(aggregator.state()).to_json() == aggregator.to_json()
        assert aggregator.val == (values[-1] if values else None)
    assert ring.to_json() == values[-size:]
    assert series.to_json() == values
    assert series.to_json(short=True) == values[-20:]
    assert value.to_json() == (values[-1] if values else None)


def test_factories_make_a_new_one_each_and_refuse_at_once():
    make = RingAggregator.lazy(3)
    assert make() is not make()
    for wrong in (lambda: RingAggregator.lazy(0), lambda: StatAggregator.lazy(-1)):
        with pytest.raises(ValueError, match="not"):
            wrong()


# -- chronos, estimates ---------------------------------------------------------------------


def test_blocks_within_blocks_of_one_name_are_measured_each():
    timer = Chrono()
    with timer:
        with timer:
            time.sleep(0.01)
        time.sleep(0.01)
    assert timer.aggregator.count == 2
    assert timer.aggregator.min >= 0.01
    assert timer.aggregator.max >= timer.aggregator.min + 0.01


def test_a_block_that_fails_is_measured_and_its_exception_goes_on():
    called, timer = [], Chrono(None, lambda: called.append("start"), lambda: called.append("end"))
    with pytest.raises(KeyError), timer:
        raise KeyError
    assert timer.aggregator.count == 1
    assert called == ["start", "end"]

    def failing():
        raise RuntimeError("end")

    broken = Chrono(end_callback=failing)
    with pytest.raises(RuntimeError, match="end"), broken:
        pass
    assert broken.aggregator.count == 1


@given(st.lists(st.integers(1, 5), min_size=1, max_size=3), st.data())
def test_the_steps_of_nested_loops_are_counted_as_they_are_taken(totals, data):
    timer = StatAggregator(0)
    timer += 60.0
    estimate = EstimatedTime(timer, totals)
    steps = [
        tuple(place // math.prod(totals[depth + 1 :]) % total for depth, total in enumerate(totals))
        for place in range(math.prod(totals))
    ]
    number = data.draw(st.integers(0, len(steps) - 1))
    assert estimate.done(steps[number]) == number + 1
    assert estimate.estimate(steps[number]) == len(steps) - number - 1


def test_estimates_at_the_edges():
    timer = StatAggregator(0)
    assert math.isnan(EstimatedTime(timer, 10).estimate(0))
    assert EstimatedTime(timer, 0).estimate(0) == 0
    timer += 60.0
    assert EstimatedTime(timer, 10, start=1).estimate(1) == 9
    assert EstimatedTime(timer, (5, 10)).estimate((1, 2)) == 37
    estimate = EstimatedTime(timer, 3)
    assert estimate.grow(5)
    assert estimate.totals == [6]
    for wrong in (-1, 1.5, True):
        with pytest.raises(ValueError, match="number of steps"):
            EstimatedTime(timer, wrong)
    with pytest.raises(ValueError, match="2 loops"):
        EstimatedTime(timer, (1, 2)).done(1)


# -- throttles ------------------------------------------------------------------------------


@given(st.integers(1, 5), st.integers(0, 20))
def test_every_nth_call_passes_the_first_one_too(n, calls):
    passed = []
    call = throttled(passed.append, throttle=n)
    for number in range(calls):
        call(number)
    assert passed == list(range(0, calls, n))


def test_throttles_by_time_and_by_arguments():
    passed = []
    call = throttled(lambda: passed.append(1) or len(passed), every=0.05)
    assert (call(), call()) == (1, None)
    time.sleep(0.06)
    assert call() == 2
    assert throttled(len) is len
    each = throttle_repeated(lambda word: word, throttle=2)
    assert [each(word) for word in "aabba"] == ["a", None, "b", None, "a"]
    for wrong in ({"throttle": 0}, {"every": -1}):
        with pytest.raises(ValueError, match="not"):
            throttled(len, **wrong)
