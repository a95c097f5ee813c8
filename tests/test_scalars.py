"""Every way from an array to a number gives the number that was meant, or none."""

from __future__ import annotations

import datetime
import decimal
import fractions
import math
import warnings

import numpy as np
import pytest

from traininglog import TrainingLog, ValueTypeError
from traininglog.loop import StatisticsCollector, TrainLoop
from traininglog.monitors import LogMonitor
from traininglog.scalars import as_number


class Metres(np.ndarray):
    """An array with a unit, as astropy and unyt have it."""

    unit = "m"

    def to(self, unit):
        return self

    def __float__(self):
        raise TypeError("only dimensionless quantities can be converted")


MASKED = np.ma.masked_array([1.0, 999.0, 3.0], [False, True, False])

NUMBERS = [
    (3, 3.0), (True, 1.0), (2.5, 2.5), (np.float32(2.5), 2.5), (np.array(2), 2.0),
    ([1, 2, 3], 2.0), ([[1, 2], [6]], 3.0), ((), math.nan), (np.array([]), math.nan),
    (np.array([[1, 2], [3, 4]], np.int8), 2.5), (np.array([True, False]), 0.5),
    (np.array([1e308, 1e308]), 1e308), (np.float16([1, 2]), 1.5), (np.longdouble(2.5), 2.5),
    (decimal.Decimal("2.5"), 2.5), (fractions.Fraction(5, 2), 2.5), (memoryview(b"\x01\x03"), 2.0),
    (MASKED, 2.0), (MASKED[1], math.nan), (np.ma.masked, math.nan), (MASKED[1:2], math.nan),
    ([MASKED, 8.0], 4.0), ([1.0, np.ma.masked, 3.0], 2.0), (np.ma.masked_all((2, 2)), math.nan),
    (np.ma.masked_array(5.0, False), 5.0), (np.ma.masked_array(5.0, True), math.nan),
    (np.array([1.0, decimal.Decimal(2)], object), 1.5),
    (np.array([np.inf, 1.0]), np.inf),
]  # fmt: skip

NONE = [
    "1.5", b"1", None, np.str_("1.5"), np.array(["1.5"]), ["1.5"], np.array(["1.5"], object),
    [1.0, None], np.array([1.0, None], object), 1 + 2j, np.complex64(1 + 2j),
    np.array([1 + 2j, 3]), [np.complex64(1j)], np.datetime64("2020-01-01"), np.timedelta64(5, "s"),
    np.array([5, 6], "m8[s]"), [np.timedelta64(5, "s")], datetime.timedelta(seconds=1),
    10**400, [10**400], decimal.Decimal("1e400"), np.longdouble("1e4000"),
    np.array(["1e4000"]).astype(np.longdouble), np.array([(1.0,)], [("x", float)]),
    np.array([1.0, 2.0]).view(Metres), np.array(1.0).view(Metres), {"x": 1}, object(), object,
]  # fmt: skip


@pytest.mark.parametrize(("value", "number"), NUMBERS, ids=lambda value: type(value).__name__)
def test_numbers(value, number):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("error", UserWarning)
        assert as_number(value) == number or (math.isnan(number) and math.isnan(as_number(value)))


def rows(values):
    """Return what a loop writes of a value, and what a monitor does, unless the log refuses it."""
    log, other = TrainingLog(), TrainingLog()
    with TrainLoop(log=log, max_epoch=1, progress=False) as loop:
        for _ in loop.iter_epochs():
            for _ in loop.iter_steps("a"):
                loop.collect_metrics(x=values)
    try:
        LogMonitor(other).write({"x": values}, 1)
    except ValueTypeError:
        assert np.ma.is_masked(values) or values.dtype.hasobject
        assert 1 not in other
        return [log[1]["x"]]
    return [log[1]["x"], other[1]["x"]]


@pytest.mark.parametrize(
    ("value", "number"), [pair for pair in NUMBERS if hasattr(pair[0], "dtype")],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_loop_and_monitor_write_the_number(value, number):
    for found in rows(value):
        assert found == number or (math.isnan(number) and math.isnan(found))


@pytest.mark.parametrize("value", NONE, ids=lambda value: type(value).__name__)
def test_what_is_no_number_is_refused_by_the_name_of_the_metric(value):
    with pytest.raises(TypeError):
        as_number(value)
    log = TrainingLog()
    with TrainLoop(log=log, max_epoch=1, progress=False) as loop:
        for _ in loop.iter_epochs():
            for _ in loop.iter_steps("a"):
                with pytest.raises(TypeError, match="the metric 'accuracy'"):
                    loop.collect_metrics(accuracy=value)
    assert "accuracy" not in log[1]


def test_torch(torch):
    whole = torch.tensor([1.0, 3.0])
    for value, number in (
        (whole, 2.0), (whole.bfloat16(), 2.0), (whole.requires_grad_(), 2.0), (whole > 2, 0.5),
        (torch.tensor([1, 2], dtype=torch.uint8), 1.5), (torch.zeros(0), math.nan),
        (torch.eye(2).to_sparse(), 0.5), ([whole, torch.tensor(5.0)], 3.0),
        (torch.full((2,), 1e308, dtype=torch.float64), 1e308),
    ):  # fmt: skip
        found = as_number(value)
        assert found == number or (math.isnan(number) and math.isnan(found))
    for value in (torch.tensor(1 + 2j), torch.tensor([1 + 2j]), torch.empty(2, device="meta")):
        with pytest.raises(TypeError):
            as_number(value)


def test_pandas():
    pandas = pytest.importorskip("pandas")
    assert as_number(pandas.Series([1, 3])) == 2
    assert math.isnan(as_number(pandas.Series([1.0, None])))
    assert as_number(pandas.DataFrame({"a": [1, 2], "b": [3, 4]})) == 2.5
    for value in (
        pandas.NA, pandas.NaT, pandas.Timedelta("1s"), pandas.Timestamp("2020"),
        pandas.Series(["1"]), pandas.Series(pandas.to_timedelta([1, 2])),
    ):  # fmt: skip
        with pytest.raises(TypeError):
            as_number(value)


def test_a_collector_leaves_out_what_a_mask_hides_and_names_its_metric():
    collector = StatisticsCollector()
    collector.collect(MASKED, weight=[1, 5, 3])
    assert (collector.counter, collector.mean) == (2, 2.5)
    collector.collect(np.ma.masked)
    assert collector.counter == 2
    with pytest.raises(TypeError, match="filled"):
        StatisticsCollector((3,)).collect(MASKED)
    with TrainLoop(log=TrainingLog(), max_epoch=1, progress=False) as loop:
        for _ in loop.iter_epochs():
            with loop.metric_collector("accuracy") as collector:
                for bad in ("1.5", np.array([1j]), None, {"x": 1}):
                    with pytest.raises(TypeError, match="the metric 'accuracy': "):
                        collector.collect(bad)
                with pytest.raises(ValueError, match="the metric 'accuracy': a weight"):
                    collector.collect(1.0, weight=-1)
                collector.collect(1.0)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")
