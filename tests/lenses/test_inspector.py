"""The inspector of named arrays: NumPy programs use the same lenses."""

import math
import warnings

import numpy as np
import pytest

from traininglog import SQLiteLog, TrainingLog
from traininglog.errors import InvalidKey, InvalidState, InvalidTime, LogClosed
from traininglog.lenses import (
    AbstractVisualizer,
    FirstNonFinite,
    Histogram,
    Inspector,
    Lens,
    LossMetrics,
    NonFiniteFound,
    OutputActivation,
    OutputGradientGeometry,
    OutputNorm,
    ParameterCondition,
    ParameterGradientActivation,
    ParameterGradientGeometry,
    ParameterNorm,
    ParameterUpdateGeometry,
    TagAttributes,
    UpdateRatio,
    replay,
    tags_of,
)
from traininglog.lenses.tags.attributes import parts_of


class Recorder(AbstractVisualizer):
    """Keeps what it is told."""

    def __init__(self):
        self.tags, self.told, self.ended = {}, [], []

    def register_tag(self, tag, attributes):
        self.tags[tag] = attributes.to_dict()

    def plot(self, time, tag, numbers):
        assert tag in self.tags
        self.told.append((time, tag, {layer: dict(points) for layer, points in numbers.items()}))

    def end_tick(self, time):
        self.ended.append(time)


def test_every_lens_tells_of_named_arrays_what_it_says(log):
    """Each against its definition, on arrays that can be worked out by hand."""
    weight, bias = np.array([[3.0, 0.0], [0.0, 4.0]]), np.array([0.0, 0.0])
    lenses = [
        LossMetrics(), OutputNorm(), OutputActivation(), OutputGradientGeometry(),
        ParameterNorm(), ParameterGradientGeometry(), ParameterGradientActivation(),
        ParameterUpdateGeometry(), UpdateRatio(), ParameterCondition(), Histogram(),
    ]  # fmt: skip
    inspector = Inspector(lenses, log)
    inspector.observe("parameter", "dense", {"weight": weight, "bias": bias})
    inspector.observe("output", "dense", np.array([[3.0, 4.0], [0.0, 0.0]]))
    inspector.observe("output_gradient", "dense", np.array([[1.0, 0.0]]))
    inspector.observe("output_gradient", "dense", np.array([[0.0, 2.0], [0.0, 0.0]]))
    inspector.observe("parameter_gradient", "dense", {"weight": np.array([[0.0, 0.0], [0.0, 2.0]])})
    inspector.observe("update", "dense", {"weight": weight / -10, "bias": bias})
    inspector.push_loss(2.0, train=True)
    inspector.push_loss(4.0, train=True)
    inspector.push_metric("accuracy", 0.5)
    inspector.tick(7)
    row = log[7]
    assert row["loss/train/mean"] == 3.0
    assert row["loss/train/std"] == 1.0
    assert "loss/validation/mean" not in row
    assert row["metrics/accuracy/mean"] == 0.5
    assert row["output norm/dense/mean"] == 2.5
    assert row["output norm shares/dense/share"] == 1.0
    assert row["activation/dense/mean"] == 0.5
    assert row["death/dense/mean"] == 0.0
    assert row["output gradient norm/dense/min"] == 1.0
    assert row["output gradient norm/dense/max"] == 2.0
    assert row["output gradient correlation/dense/mean"] == 0.0
    assert row["weight norm/dense/mean"] == 5.0
    assert row["bias norm/dense/mean"] == 0.0
    assert row["weight gradient norm/dense/mean"] == 2.0
    assert row["weight gradient activation/dense/mean"] == 0.25
    assert row["weight gradient death/dense/mean"] == 0.5
    assert row["weight update norm/dense/mean"] == pytest.approx(0.5)
    assert row["update ratio/dense/mean"] == pytest.approx(0.1)
    assert row["weight condition/dense/mean"] == pytest.approx(4 / 3)
    assert row["parameter distribution/dense/q00"] == 0.0
    assert row["parameter distribution/dense/q100"] == 4.0
    assert len(log) == 1


def test_half_precision_and_what_numpy_can_convert():
    log = TrainingLog()
    inspector = Inspector([OutputNorm()], log)

    class Foreign:  # as JAX's arrays are
        def __array__(self, dtype=None, copy=None):
            return np.array([[3.0, 4.0]], dtype=np.float32)

    inspector.observe("output", "half", np.full((1, 4), 300.0, dtype=np.float16))
    inspector.observe("output", "foreign", Foreign())
    inspector.observe("output", "whole", np.arange(4))
    inspector.observe("output", "empty", np.empty((0, 3)))
    inspector.tick()
    assert log[1]["output norm/half/mean"] == 600.0
    assert log[1]["output norm/foreign/mean"] == 5.0
    assert not [key for key in log.keys_seen() if "whole" in key or "empty" in key]


@pytest.mark.parametrize("shape", [(80, 80), (80, 130), (130, 80), (80, 9, 9), (900, 9, 9)])
def test_a_large_weights_condition_is_estimated_from_below(shape):
    """Also where the weight is wide: then it has vectors that it makes zero."""
    chance = np.random.default_rng(0)
    rows, columns = shape[0], math.prod(shape[1:])
    left, _ = np.linalg.qr(chance.standard_normal((rows, rows)))
    right, _ = np.linalg.qr(chance.standard_normal((columns, columns)))
    values = np.zeros((rows, columns))
    np.fill_diagonal(values, np.geomspace(50, 1, min(rows, columns)))
    weight = (left @ values @ right).reshape(shape)
    found = {}
    for most in (81, 20):
        log = TrainingLog()
        inspector = Inspector([ParameterCondition(exact_up_to=most)], log)
        inspector.observe("parameter", "dense", weight)
        inspector.tick()
        found[most] = log[1]["weight condition/dense/mean"]
    assert found[81] == pytest.approx(50)
    assert 0.5 * 50 < found[20] <= 50 * (1 + 1e-9)


@pytest.mark.parametrize("weight", [np.zeros((2, 2)), np.full((2, 2), np.nan), np.eye(3)[:, :2]])
def test_a_condition_of_what_has_none_stops_nothing(weight):
    log = TrainingLog()
    inspector = Inspector([ParameterCondition(), ParameterCondition("other", exact_up_to=1)], log)
    inspector.observe("parameter", "dense", {"weight": weight, "other": weight})
    inspector.tick()
    assert "weight condition/dense/mean" in log[1]


def test_quantiles_are_true_ones_where_values_are_kept():
    log = TrainingLog()
    inspector = Inspector(
        [LossMetrics(running=False, loss_line="median", loss_ranges=["Q1-Q3", "min-max"])], log
    )
    for loss in (1.0, 2.0, 3.0, 10.0):
        inspector.push_loss(loss)
    inspector.tick()
    names = ("median", "Q1", "Q3", "min", "max")
    told = [log[1][f"loss/train/{name}"] for name in names]
    assert told == [2.5, 1.75, 4.75, 1.0, 10.0]


def test_a_correlation_needs_two_and_none_spans_an_inactive_stretch():
    log = TrainingLog()
    inspector = Inspector(
        [ParameterGradientGeometry("weight")], log, is_active=lambda number: number != 2
    )
    for gradient in ([1.0, 0.0], [1.0, 0.0]):
        inspector.observe("parameter_gradient", "dense", np.array(gradient))
        inspector.tick()  # the second is not active
    inspector.observe("parameter_gradient", "dense", np.array([1.0, 0.0]))
    inspector.tick()
    inspector.observe("parameter_gradient", "dense", np.array([-2.0, 0.0]))
    inspector.tick()
    told = log[:].to_dataframe()
    assert list(told.index) == [1, 3, 4]
    assert told["weight gradient correlation/dense/mean"].dropna().to_dict() == {4: -1.0}


def test_only_every_third_stretch_and_nothing_leaks_into_it():
    log = TrainingLog()
    inspector = Inspector([LossMetrics(), OutputNorm()], log, every=3)
    for number in range(1, 7):
        inspector.push_loss(float(number))
        inspector.observe("output", "a", np.full((1, 1), float(number)))
        inspector.tick()
    assert log[:]["loss/train/mean"].to_dict() == {3: 3.0, 6: 6.0}
    assert log[:]["output norm/a/mean"].to_dict() == {3: 3.0, 6: 6.0}


def test_a_stale_loss_is_not_told_again():
    log = TrainingLog()
    inspector = Inspector([LossMetrics()], log)
    inspector.push_loss(1.0, train=False)
    inspector.tick()
    inspector.push_loss(2.0, train=True)
    inspector.tick()
    assert "loss/validation/mean" not in log[2]
    inspector.tick()
    assert 3 not in log


# -- times --------------------------------------------------------------------------------------


def test_the_time_of_a_tick_is_the_one_that_ends():
    log = TrainingLog()
    inspector = Inspector([LossMetrics()], log)
    for time in (10, None, 30):
        inspector.push_loss(float(time or 0))
        inspector.tick(time)
    assert log[:]["loss/train/mean"].to_dict() == {10: 10.0, 11: 0.0, 30: 30.0}
    with pytest.raises(InvalidTime):
        inspector.tick(-1)


@pytest.mark.parametrize("as_context", [False, True])
def test_a_loop_ticks_also_when_it_is_broken(as_context):
    log = TrainingLog()
    inspector = Inspector([LossMetrics()], log)

    def go(loop):
        for time in loop:
            inspector.push_loss(float(time))
            if time == 12:
                break

    if as_context:
        with inspector.range(10, 20) as loop:
            go(loop)
    else:
        go(inspector.range(10, 20))
    assert list(log) == [10, 11, 12]
    go(inspector.iter([5, 6]))
    assert list(log) == [10, 11, 12, 13, 14]


@pytest.mark.parametrize("as_context", [False, True])
def test_a_loop_ticks_also_when_an_exception_leaves_it(as_context):
    log = TrainingLog()
    inspector = Inspector([LossMetrics()], log)

    def go(loop):
        for time in loop:
            inspector.push_loss(float(time))
            if time == 3:
                raise RuntimeError("body")

    def enter():
        with inspector.range(1, 10) as loop:
            go(loop)

    with pytest.raises(RuntimeError, match="body"):
        enter() if as_context else go(inspector.range(1, 10))
    assert list(log) == [1, 2, 3]


def test_a_loop_that_is_held_after_its_end_does_not_tick_late():
    log = TrainingLog()
    inspector = Inspector([LossMetrics()], log)
    held = iter(inspector.range(1, 10))
    next(held)
    inspector.push_loss(3.0)
    inspector.tick(2)
    del held
    assert list(log) == [2]
    held = iter(inspector.range(1, 10))
    next(held)
    inspector.push_loss(3.0)
    log.close()
    del held  # nothing can be written any more, and nothing is tried


def test_times_go_on_where_the_log_ended_also_after_a_resume(log):
    inspector = Inspector([LossMetrics()], log)
    for _ in inspector.range(1, 6):
        inspector.push_loss(1.0)
    log[100]["other"] = 1.0
    again = Inspector([LossMetrics()], log)
    again.push_loss(1.0)
    again.tick()
    assert 6 in log
    log.resume(at=3)
    resumed = Inspector([LossMetrics()], log)
    resumed.push_loss(2.0)
    resumed.tick()
    assert log[:]["loss/train/mean"].to_dict() == {1: 1.0, 2: 1.0, 3: 1.0, 4: 2.0}


def test_detaching_does_not_set_the_time_back():
    log = TrainingLog()
    inspector = Inspector([OutputNorm()], log)
    inspector.observe("output", "a", np.ones((1, 1)))
    inspector.tick()
    inspector.detach()
    inspector.observe("output", "b", np.ones((1, 1)))
    inspector.tick()
    assert set(log[2]) >= {"output norm/b/mean"}
    assert "output norm/a/mean" not in log[2]


# -- the log and replay -------------------------------------------------------------------------


def observed(inspector, times):
    for time in times:
        inspector.observe("output", "second/odd [x]", np.full((2, 3), 1.0 + time))
        inspector.observe("output", "first", np.full((2, 3), math.nan if time == 2 else 2.0))
        inspector.push_loss(1 / time)
        inspector.push_metric("f1", 0.5)
        inspector.tick(time)


def test_the_log_alone_tells_what_a_visualizer_was_told_live(tmp_path):
    live = Recorder()
    with SQLiteLog(tmp_path / "runs.db") as log:
        uuid = log.uuid
        observed(Inspector([LossMetrics(), OutputNorm()], log, visualizer=live), (1, 2, 5))
        log[3]["unrelated"] = "text"
    later = Recorder()
    with SQLiteLog(tmp_path / "runs.db", uuid=uuid, readonly=True) as log:
        replay(log, later)
    assert later.tags == live.tags
    assert repr(later.told) == repr(live.told)  # NaN included
    assert later.ended == live.ended == [1, 2, 5]
    assert later.tags["output norm"]["layers"] == ["second/odd [x]", "first"]
    assert list(later.told[-1][2]) == ["second/odd [x]", "first"]


def test_a_resumed_run_is_replayed_whole(log):
    observed(Inspector([LossMetrics(), OutputNorm()], log), (1, 2, 3, 4))
    log.resume(at=2)
    inspector = Inspector([LossMetrics()], log)
    inspector.push_loss(9.0)
    inspector.tick()
    told = Recorder()
    replay(log, told)
    assert told.ended == [1, 2, 3]
    losses = {time: n["train"]["mean"] for time, tag, n in told.told if tag == "loss"}
    assert losses == {1: 1.0, 2: 0.5, 3: 9.0}
    assert told.tags["output norm"]["layers"] == ["second/odd [x]", "first"]


def test_some_tags_and_times_can_be_replayed(log):
    observed(Inspector([LossMetrics(), OutputNorm()], log), (1, 2, 3))
    told = Recorder()
    replay(log, told, tags=["loss"], start=2, stop=3)
    assert [(time, tag) for time, tag, _ in told.told] == [(2, "loss")]
    with pytest.raises(KeyError, match="no tag 'lose'; it has: 'loss'"):
        replay(log, told, tags="lose")
    with pytest.raises(InvalidState, match="no lens wrote"):
        replay(TrainingLog(), told)


def test_attributes_travel_through_the_status(log):
    inspector = Inspector([OutputNorm(log_scale=True), OutputGradientGeometry()], log)
    inspector.observe("output", "a", np.ones((1, 1)))
    inspector.tick()
    tags = tags_of(log)
    assert tags["output norm"].log_scale
    assert tags["output norm"].ranges == ["std", "min-max"]
    assert tags["output norm shares"].kind == "relation"
    assert tags["output norm shares"].big
    assert tags["output gradient correlation"].limits == (-1, 1)
    stored = dict(log.status["lenses"]["output norm"]) | {"of a newer version": 1}
    assert TagAttributes.from_dict(stored) == tags["output norm"]


def test_a_visualizer_that_comes_later_gets_to_know_the_tags():
    inspector = Inspector([LossMetrics()])
    inspector.push_loss(1.0)
    inspector.tick()
    late = Recorder()
    inspector.show_with(late)
    inspector.push_loss(2.0)
    inspector.tick()
    assert late.told == [(2, "loss", {"train": {"mean": 2.0, "std": 0.0}})]


def test_only_the_master_writes():
    log = TrainingLog()
    told = Recorder()
    inspector = Inspector([LossMetrics()], log, rank=1, visualizer=told)
    inspector.push_loss(1.0)
    inspector.tick()
    assert len(log) == 0
    assert not told.told
    assert "lenses" not in log.status


# -- a lens of one's own ------------------------------------------------------------------------


class Overflow(Lens):
    """The share of outputs beyond a limit."""

    def __init__(self, limit):
        super().__init__()
        self.limit = limit
        self.beyond = self.chart("overflow", kind="probability", ranges=["min-max"])

    def register_leaf_module(self, module, name, state):
        self.beyond.expect(name)
        self.gather(state.forward(module, name, self.look))

    def look(self, layer, output, training):
        self.beyond.put(layer, (abs(output) > self.limit).mean())


def test_a_new_lens_is_a_few_lines():
    log = TrainingLog()
    inspector = Inspector([Overflow(2.0)], log)
    inspector.observe("output", "a", np.array([1.0, 3.0]))
    inspector.observe("output", "a", np.array([3.0, 3.0]))
    inspector.tick()
    assert log[1] == {
        "overflow/a/mean": 0.75, "overflow/a/min": 0.5, "overflow/a/max": 1.0,
    }  # fmt: skip


def test_what_a_lens_cannot_take_is_passed_over_and_counted_and_the_rest_goes_on():
    """One failure of one layer is told once, and no reason not to look at it again."""

    class Failing(Overflow):
        def look(self, layer, output, training):
            if output.sum() < 0:
                raise ZeroDivisionError("oh")
            super().look(layer, output, training)

    log = TrainingLog()
    inspector = Inspector([Failing(1.0), OutputNorm()], log)
    with pytest.warns(match=r"Failing could not take layer 'a'.*\(ZeroDivisionError: oh\)"):
        inspector.observe("output", "a", -np.ones((1, 1)))
    inspector.observe("output", "a", -np.ones((1, 1)))
    inspector.observe("output", "b", np.full((1, 1), 3.0))
    inspector.tick()
    assert log[1]["output norm/a/mean"] == 1.0
    assert log[1]["overflow/b/mean"] == 1.0
    assert inspector.passed_over == {"Failing: a": 2}
    inspector.observe("output", "a", np.full((1, 1), 3.0))
    inspector.tick()
    assert log[2]["overflow/a/mean"] == 1.0


def test_a_pushed_number_that_a_lens_cannot_take_is_counted_under_its_name():
    """As the layers of its chart are called, not under what kind of number it is."""

    class Failing(Overflow):
        def register_foreign_preprocessor(self, preprocessor, state):
            preprocessor.listen(self._pushed)

        def _pushed(self, kind, name, number):
            raise ZeroDivisionError("oh")

    inspector = Inspector([Failing(1.0)], TrainingLog())
    with pytest.warns(match=r"Failing could not take layer 'train'"):
        inspector.push_loss(1.0)
    inspector.push_loss(2.0)
    inspector.push_metric("accuracy", 0.5)
    assert inspector.passed_over == {"Failing: train": 2, "Failing: accuracy": 1}


#: What an inspector calls of a lens, and of a visualizer.
CALLED = (
    "register_foreign_preprocessor", "register_leaf_module", "introduce_tags", "finalize_epoch",
    "visualize", "reset_epoch", "skip_stretch", "detach_from_module",
)  # fmt: skip
SHOWN = ("register_tag", "plot", "end_tick", "end")


@pytest.mark.parametrize("where", [*CALLED, *SHOWN])
def test_no_lens_and_no_visualizer_ends_a_training_wherever_it_fails(where, log):
    """Each call that an inspector makes raises in turn: it is told, and all else is written."""

    def fails(*arguments, **named):
        raise ZeroDivisionError("oh")

    of = Overflow if where in CALLED else Recorder
    failing = type("Failing", (of,), {where: fails})
    lens = failing(1.0) if of is Overflow else Overflow(1.0)
    visualizer = failing() if of is Recorder else Recorder()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        inspector = Inspector(
            [lens, OutputNorm()], log, visualizer=visualizer, is_active=lambda n: n != 3
        )
        for _ in inspector.range(1, 4):
            inspector.observe("output", "a", np.ones((1, 1)))
        counted = inspector.passed_over
        inspector.detach()
    assert any("ZeroDivisionError: oh" in str(one.message) for one in told)
    assert counted or where == "detach_from_module"
    for time in (1, 2):
        assert log[time]["output norm/a/mean"] == 1.0


def test_a_number_that_the_log_refuses_is_left_out_of_its_row(log):
    class Text(Overflow):
        def finalize_epoch(self):
            self.beyond.numbers = {"a": {"mean": object()}, "b": {"mean": 1.0}}

    inspector = Inspector([Text(1.0), LossMetrics()], log)
    inspector.push_loss(2.0)
    with pytest.warns(match="the log could not take layer 'overflow/a/mean'"):
        inspector.tick()
    assert log[1] == {"overflow/b/mean": 1.0, "loss/train/mean": 2.0, "loss/train/std": 0.0}


def test_a_log_that_is_closed_is_no_by_product():
    log = TrainingLog()
    inspector = Inspector([LossMetrics()], log)
    inspector.push_loss(2.0)
    log.close()
    with pytest.raises(LogClosed):
        inspector.tick()


def test_names_that_no_layer_and_no_metric_has_are_told_once():
    lenses = [OutputNorm(include=["fcc"]), LossMetrics(["acc"]), ParameterNorm(exclude=["gone"])]
    inspector = Inspector(lenses, TrainingLog())
    inspector.push_metric("accuracy", 1.0)
    inspector.observe("output", "fc", np.ones((1, 1)))
    with pytest.warns(match="waits for 'acc', and what is pushed is 'accuracy'"):
        inspector.tick()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(4):
            inspector.push_metric("accuracy", 1.0)
            inspector.observe("output", "fc", np.ones((1, 1)))
            inspector.tick()
    messages = [str(one.message) for one in told]
    assert len(messages) == 2
    assert "OutputNorm(include=...) names what this network has not: 'fcc'" in messages[0]
    assert "ParameterNorm(exclude=...) names what this network has not: 'gone'" in messages[1]


# -- the first NaN ------------------------------------------------------------------------------


def test_the_first_nan_is_in_the_status(log):
    lens = FirstNonFinite()
    inspector = Inspector([lens], log)
    inspector.observe("output", "a", np.array([1.0, -3.0]))
    inspector.tick()
    inspector.observe("output", "a", np.array([1.0]))
    inspector.observe("output", "b", np.array([np.inf, 1.0]))
    inspector.observe("output", "c", np.array([np.nan]))
    inspector.tick()
    found = log.status["first_non_finite"]
    assert (found["layer"], found["kind"], found["value"]) == ("b", "output", "inf")
    assert found["after_time"] == 1
    assert found["last_finite"] is None
    assert lens.found == found


def test_what_is_finite_is_not_told_however_large():
    log = TrainingLog()
    lens = FirstNonFinite()
    inspector = Inspector([lens], log)
    inspector.observe("output", "a", np.full(3, -np.finfo(np.float64).max))
    inspector.tick()
    assert lens.found is None
    inspector.observe("output", "a", np.array([np.inf]))
    inspector.tick()
    assert log.status["first_non_finite"]["last_finite"]["norm"] == np.finfo(np.float64).max


def test_a_nan_loss_is_told_at_once_and_may_stop():
    log = TrainingLog()
    inspector = Inspector([FirstNonFinite(stop=True)], log)
    inspector.push_loss(2.0)
    with pytest.raises(NonFiniteFound, match="nan in loss of 'train'"):
        inspector.push_loss(math.nan)
    assert log.status["first_non_finite"]["last_finite"] == {"norm": 2.0, "step": 0}


# -- mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.ones(2), np.empty(0), [[1.0, 2.0]]])
def test_a_loss_is_one_number(value):
    inspector = Inspector([LossMetrics()])
    with pytest.raises((ValueError, TypeError), match="a loss is"):
        inspector.push_loss(value)
    with pytest.raises((ValueError, TypeError), match="a metric is"):
        inspector.push_metric("m", value)


@pytest.mark.parametrize("value", ["1.0", b"1", None])
def test_a_loss_is_a_number(value):
    with pytest.raises(TypeError, match="a loss is a number, not a"):
        Inspector([LossMetrics()]).push_loss(value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Inspector([]), "lenses is a list of lenses"),
        (lambda: Inspector(["loss"]), "lenses is a list of lenses"),
        (lambda: Inspector([LossMetrics()], every=0), "every must be 1 or more"),
        (lambda: Inspector([LossMetrics()], visualizer="plotly"), "no visualizer 'plotly'"),
        (lambda: LossMetrics("accuracy"), r"metrics=\['accuracy'\]"),
        (lambda: OutputNorm(line="median"), "running=False"),
        (lambda: OutputNorm(ranges="std"), r"ranges=\['std'\]"),
        (lambda: Histogram("bias"), "no histogram of 'bias'"),
        (lambda: TagAttributes(kind="pie"), "no kind 'pie'"),
        (lambda: TagAttributes(limits=(1, 2, 3)), "limits are a pair"),
        (lambda: Overflow(1).chart("a/b"), "without '/'"),
    ],
)
def test_a_mistake_is_told_where_it_is_made(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bad_observations_are_refused():
    inspector = Inspector([OutputNorm()])
    with pytest.raises(ValueError, match="no kind 'outputs'"):
        inspector.observe("outputs", "a", np.ones(1))
    with pytest.raises(InvalidKey):
        inspector.observe("output", "a" * 600, np.ones(1))


def test_limits_may_come_in_any_order_and_names_are_no_letters():
    assert TagAttributes(limits=(1, -1)).limits == (-1, 1)
    assert ParameterNorm("weight").parameters == ["weight"]


@pytest.mark.parametrize("key", ["loss", "a/b", "/a/b", "a//"])
def test_a_key_of_fewer_parts_is_no_lenses(key):
    assert parts_of(key) is None
