"""What a loop counts, collects, prints and writes, on every log."""

from __future__ import annotations

import math
import re
import sys
import warnings

import numpy as np
import pytest
from event_files import scalars

from traininglog import (
    MissingExtra,
    TrainingLog,
    TrainingLogError,
    TrainingLogWarning,
    open_log,
)
from traininglog.loop import LoopMisuse, MetricFormatter, NoBatches, TrainLoop
from traininglog.values import thaw


@pytest.fixture
def lines():
    return []


@pytest.fixture
def make(log, lines):
    """Give a function that makes a loop which prints into `lines`."""
    return lambda params=None, **options: TrainLoop(
        params, **({"log": log, "print_func": lines.append} | options)
    )


def train(loop, data=(1.0, 3.0)):
    with loop:
        for epoch in loop.iter_epochs():
            for _, x in loop.iter_steps(data):
                loop.collect_metrics(loss=x * epoch)
            loop.collect_metrics(valid_loss=1 / epoch)


# -- the log --------------------------------------------------------------------------------


def test_everything_lands_in_the_log(make, log):
    train(make(max_epoch=2))
    assert [log[step]["loss"] for step in log] == [1.0, 3.0, 2.0, 6.0]
    assert "epoch" not in log[1]
    row = log[4].copy()
    assert row.pop("epoch_time") == row.pop("epoch/epoch_time") > 0
    for name in ("step_time", "data_time"):
        assert row.pop(f"epoch/{name}") > 0
        assert row.pop(f"epoch/{name}_std") >= 0
    assert row == {
        "loss": 6.0, "valid_loss": 0.5, "epoch": 2,
        "epoch/loss": 4.0, "epoch/loss_std": 2.0, "epoch/valid_loss": 0.5,
    }  # fmt: skip
    status = log.status.copy()
    assert status["_epoch_ends"] == [2, 4]
    assert (status["iterations_done"], status["epochs_done"]) == (4, 2)
    assert status["stop_reason"] == "max_epoch"
    assert thaw(status["best"]) == {"metric": "valid_loss", "value": 0.5, "step": 4, "epoch": 2}
    assert log.last_epoch_row["epoch"] == 2
    frame = log.to_dataframe(keys="epoch/*", index="epoch")
    assert frame["epoch/loss"].to_list() == [2.0, 4.0]


def test_counters_are_those_of_the_moment(make, log):
    loop, seen = make(max_epoch=2), []
    assert (loop.epoch, loop.step, loop.within_epoch, loop.within_step) == (0, 0, False, False)
    with loop:
        for epoch in loop.iter_epochs():
            assert (loop.within_epoch, loop.within_step, loop.step_data) == (True, False, None)
            for step, x in loop.iter_steps("ab"):
                assert loop.within_step
                seen.append((epoch, loop.epoch, step, loop.step, x, loop.step_data))
                assert log.status["iterations_done"] == step - 1
            assert log.status["iterations_done"] == loop.step
            assert not loop.within_step
    assert seen == [
        (1, 1, 1, 1, "a", "a"), (1, 1, 2, 2, "b", "b"), (2, 2, 3, 3, "a", "a"),
        (2, 2, 4, 4, "b", "b"),
    ]  # fmt: skip
    assert not loop.within_epoch


def test_a_metric_is_in_the_log_at_once(make, log):
    with make(max_epoch=1) as loop:
        for _ in loop.iter_epochs():
            for step, _ in loop.iter_steps("a"):
                loop.collect_metrics(loss=0.5)
                assert log[step] == {"loss": 0.5}


def test_a_log_that_has_iterations_is_counted_on(make, open_log):
    log = open_log()
    train(make(log=log, max_epoch=2))
    log.resume()
    train(make(log=log, max_epoch=3))
    assert list(log) == [1, 2, 3, 4, 5, 6]
    assert log.status["_epoch_ends"] == [2, 4, 6]
    assert log[6]["epoch"] == 3


def test_the_default_log_is_the_configured_store_and_is_closed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with TrainLoop(max_epoch=1, print_func=print) as loop:
        for _ in loop.iter_epochs():
            for _ in loop.iter_steps("a"):
                loop.collect_metrics(loss=0.5)
    assert loop.log.closed
    with open_log(tmp_path / "traininglog.db", loop.log.uuid) as log:
        assert log[1]["loss"] == 0.5


def test_a_log_that_was_handed_in_stays_open(make, log):
    train(make(max_epoch=1))
    assert not log.closed


def fail_at(number, error, loop):
    with loop:
        for _ in loop.iter_epochs():
            for step, _ in loop.iter_steps("abc"):
                loop.collect_metrics(loss=1.0)
                if step == number:
                    raise error


def test_an_exception_is_recorded_and_raised_unchanged(make, log):
    error, loop = ZeroDivisionError("in the body"), make(max_epoch=2)
    with pytest.raises(ZeroDivisionError) as caught:
        fail_at(2, error, loop)
    assert caught.value is error
    assert "in the body" in log[2]["got_exception"]
    assert "test_loop.py" in log[2]["got_exception"]
    status = log.status
    assert (status["stop_reason"], loop.stop_reason) == ("exception", "exception")
    # The step that raised is not done, nor is its epoch.
    assert (status["iterations_done"], status["epochs_done"], status["_epoch_ends"]) == (1, 0, [])


def test_an_endless_traceback_fits_into_the_log(make, log):
    with pytest.raises(RuntimeError, match="xxx"):
        fail_at(1, RuntimeError("x" * 10**7 + "\ud800"), make(max_epoch=1))
    assert 1000 < len(log[1]["got_exception"]) < 100_000


def test_break_counts_the_step_and_the_epoch(make, log):
    with make(max_epoch=5) as loop:
        for epoch in loop.iter_epochs():
            for step, _ in loop.iter_steps("abcdef"):
                loop.collect_metrics(loss=1.0)
                if step % 3 == 2:
                    break
            if epoch == 2:
                break
    status = log.status
    assert (status["iterations_done"], status["epochs_done"]) == (5, 2)
    assert status["_epoch_ends"] == [2, 5]
    assert log[5]["epoch/loss"] == 1.0
    assert loop.stop_reason == "break"


# -- limits ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "ends", "reason"),
    [
        ({"max_epoch": 2}, [3, 6], "max_epoch"),
        ({"max_epoch": 9, "max_step": 6}, [3, 6], "max_step"),
        ({"max_epoch": 2, "max_step": 99}, [3, 6], "max_epoch"),
        ({"max_step": 5}, [3], "max_step"),  # the second epoch was not finished
        ({"max_epoch": 0}, [], "max_epoch"),
        ({"max_step": 0}, [], "max_step"),
        ({"max_epoch": np.int64(1), "max_step": np.array(7)}, [3], "max_epoch"),
    ],
)
def test_the_first_limit_that_is_reached_ends_it(make, log, limits, ends, reason):
    loop = make(**limits)
    train(loop, [1.0, 2.0, 3.0])
    assert loop.stop_reason == reason
    assert log.status["_epoch_ends"] == ends
    assert loop.step == max(len(log), 0)


def test_limits_may_be_changed_on_the_way(make):
    with make(max_epoch=1) as loop:
        for epoch in loop.iter_epochs():
            for _ in loop.iter_steps("a"):
                pass
            if epoch == 1:
                loop.max_epoch = 3
            if epoch == 2:
                loop.max_epoch, loop.max_step = None, 3
    assert (loop.epoch, loop.step, loop.stop_reason) == (3, 3, "max_step")


@pytest.mark.parametrize(
    ("limit", "error"), [(-1, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_limits_it_refuses(make, limit, error):
    for name in ("max_epoch", "max_step"):
        with pytest.raises(error, match=name):
            make(**{name: limit})


def test_steps_without_data(make):
    with make(max_step=5) as loop:
        assert [step for _ in loop.iter_epochs() for step in loop.iter_steps()] == [1, 2, 3, 4, 5]
    assert loop.epoch == 1


def test_a_function_may_make_the_data(make):
    with make(max_epoch=2) as loop:
        found = [x for _ in loop.iter_epochs() for _, x in loop.iter_steps(lambda: iter("ab"))]
    assert found == list("abab")


# -- misuse ---------------------------------------------------------------------------------


def test_an_iterator_that_was_used_up_is_told(make):
    with pytest.raises(NoBatches, match=r"an earlier epoch has used up.*lambda"):
        train(make(max_step=100), iter([1.0, 2.0]))


def test_a_stream_may_go_on_over_epochs(make):
    with make(max_epoch=2) as loop:
        stream, found = iter(range(4)), []
        for _ in loop.iter_epochs():
            for _, x in loop.iter_steps(stream):
                found.append(x)
                if x == 1:
                    break
    assert found == [0, 1, 2, 3]


@pytest.mark.parametrize("limits", [{"max_epoch": 3}, {"max_step": 3}])
def test_data_without_batches_is_told(make, limits):
    with pytest.raises(NoBatches, match="the data has no batches"):
        train(make(**limits), [])


def test_an_epoch_without_steps_has_a_row_of_its_own(make, log, lines):
    """An evaluation loop, or one `fit` of another library an epoch."""
    progress = []
    with make(max_epoch=4, valid_metric_name="x") as loop:
        for epoch in loop.iter_epochs():
            progress.append(loop.get_progress())
            with loop.metric_collector("x") as collector:
                collector.collect(1 / epoch)
                collector.collect(2 / epoch, weight=3)
            loop.collect_metrics(y=epoch)
            loop.print_logs()
            progress.append(loop.get_progress())
    assert progress == pytest.approx([0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1])
    assert [(log[t]["epoch"], log[t]["y"]) for t in log] == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert [log[t]["epoch/x"] for t in log] == pytest.approx([1.75, 1.75 / 2, 1.75 / 3, 1.75 / 4])
    assert log.status["epochs_done"] == 4
    assert log.status["_epoch_ends"] == list(log) == [0, 1, 2, 3]
    assert log.status["iterations_done"] == loop.step == 3
    assert log.status["best"]["step"] == 3
    assert log.last_epoch_row["y"] == 4


def test_epochs_with_steps_and_without_take_turns(make, log):
    with make(max_epoch=4) as loop:
        for epoch in loop.iter_epochs():
            loop.collect_metrics(before=epoch)
            if epoch % 2:
                for _, x in loop.iter_steps([1.0, 2.0]):
                    loop.collect_metrics(loss=x)
            loop.collect_metrics(after=epoch)
    assert log.status["_epoch_ends"] == [2, 3, 5, 6]
    assert [log[t]["after"] for t in (2, 3, 5, 6)] == [1, 2, 3, 4]
    # What is known before an epoch's first step is not put into the row of the epoch before.
    assert [(t, log[t]["before"]) for t in log if "before" in log[t]] == [
        (0, 1), (3, 2), (4, 3), (6, 4),
    ]  # fmt: skip


def test_an_epoch_without_steps_ends_at_a_limit_of_steps(make):
    with make(max_step=3) as loop:
        assert list(loop.iter_epochs()) == [1, 2, 3, 4]
    assert (loop.step, loop.stop_reason) == (3, "max_step")


def test_epochs_without_steps_are_gone_on_with(make, open_log, tmp_path):
    """After the end of an epoch, and from the middle of one."""
    options = {"checkpoint_dir": tmp_path, "params": {"w": np.zeros(1)}}
    for last in (1, 3):
        with make(log=open_log(), max_epoch=last, **options) as loop:
            for epoch in loop.iter_epochs():
                loop.params["w"] += 1
                loop.collect_metrics(y=epoch)

    def killed():
        with make(log=open_log(), max_epoch=5, **options) as loop:
            for epoch in loop.iter_epochs():
                loop.params["w"] += 1
                loop.collect_metrics(y=epoch)
                loop.make_checkpoint()
                raise KeyError

    with pytest.raises(KeyError):
        killed()
    log = open_log()
    with make(log=log, max_epoch=5, **options) as loop:
        assert loop.epoch == 4
        for epoch in loop.iter_epochs():
            if epoch > 4:
                loop.params["w"] += 1
            loop.collect_metrics(y=epoch)
    assert loop.params["w"] == 5
    assert [(t, log[t]["epoch"], log[t]["y"]) for t in log] == [(t, t + 1, t + 1) for t in range(5)]


def test_waiting_for_data_is_timed(make, log, lines, monkeypatch):
    """Its time is that of waiting only, and that of a step does not have it."""
    now = [0.0]
    for module in ("schedule", "passes.waiting_for_data"):
        monkeypatch.setattr(f"traininglog.loop.{module}.perf_counter", lambda: now[0])

    def slow():
        now[0] += 5
        for x in (1.0, 2.0, 3.0):
            now[0] += 1
            yield x

    def slow_to_open():
        now[0] += 30
        return [1.0]

    with make(max_epoch=2) as loop:
        for epoch in loop.iter_epochs():
            for _, x in loop.iter_steps(slow if epoch == 1 else slow_to_open):
                now[0] += 100
                loop.collect_metrics(loss=x)
                loop.print_logs()
    assert (log[3]["epoch/data_time"], log[3]["epoch/step_time"]) == (pytest.approx(8 / 3), 100)
    assert (log[4]["epoch/data_time"], log[4]["epoch/step_time"]) == (30, 100)
    assert lines[0].endswith("step time: 1m 40s; data time: 6s; loss: 1")
    with make(log=TrainingLog(), max_step=1) as loop:  # without data there is none to wait for
        for _ in loop.iter_epochs():
            for _ in loop.iter_steps():
                pass
        assert "epoch/data_time" not in loop.log[1]


def test_a_validation_metric_collected_per_batch_is_told_once(make, log):
    """Each value would count for patience, and the luckiest batch as the best."""

    def validate(loop):
        with loop:
            for _ in loop.iter_epochs():
                for _ in loop.iter_steps("ab"):
                    pass
                for loss in (3.0, 1.0, 2.0):
                    loop.collect_metrics(valid_loss=loss)

    with pytest.warns(TrainingLogWarning, match=r"collected more than once at step 2") as told:
        validate(make(max_epoch=3))
    assert len(told) == 1
    assert "loop.metric_collector('valid_loss')" in str(told[0].message)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with make(log=TrainingLog(), max_epoch=3, valid_metric_name="loss") as loop:
            for _ in loop.iter_epochs():
                loop.collect_metrics(loss=2.0)
                for _ in loop.iter_steps("ab"):
                    loop.collect_metrics(loss=1.0)


def test_what_is_asked_out_of_turn(make, lines):
    loop = make(max_epoch=1)
    outside = [
        loop.collect_metrics, loop.print_logs, loop.make_checkpoint, loop.iter_steps,
        lambda: loop.println("x", with_tag=True), lambda: loop.add_summary({}),
        lambda: loop.timeit("x").__enter__(), lambda: loop.metric_collector("x").__enter__(),
    ]  # fmt: skip
    for act in [*outside, loop.iter_epochs, loop.request_stop, loop.print_training_summary]:
        with pytest.raises(LoopMisuse, match="needs an open loop"):
            act()
    with pytest.raises(LoopMisuse, match="no log before it is entered"):
        _ = loop.log
    with loop:
        for act in outside:
            with pytest.raises(LoopMisuse, match="needs an open epoch"):
                act()
        with pytest.raises(LoopMisuse, match="can be entered once"):
            loop.__enter__()
        for _ in loop.iter_epochs():
            with pytest.raises(LoopMisuse, match="no end: pass data, or set max_step"):
                loop.iter_steps()
            with pytest.raises(LoopMisuse, match="epochs cannot be nested"):
                loop.iter_epochs()
            with pytest.raises(LoopMisuse, match="no place for checkpoints"):
                loop.make_checkpoint()
            with pytest.raises(LoopMisuse, match="there is no summary writer"):
                loop.add_summary({"x": 1})
            for _ in loop.iter_steps("a"):
                with pytest.raises(LoopMisuse, match="steps cannot be nested"):
                    loop.iter_steps("a")
    for act in [*outside, loop.iter_epochs]:
        with pytest.raises(LoopMisuse, match="needs an open loop"):
            act()
    assert issubclass(LoopMisuse, TrainingLogError)
    assert issubclass(LoopMisuse, RuntimeError)


def test_a_step_loop_that_was_left_but_kept_is_closed_with_its_epoch(make, log):
    with make(max_epoch=2) as loop:
        for _ in loop.iter_epochs():
            steps = loop.iter_steps("abc")
            for _ in steps:
                break
            with pytest.raises(LoopMisuse, match="must be closed"):
                loop.iter_steps("abc")
    assert log.status["_epoch_ends"] == [1, 2]


def test_loops_may_be_nested_with_a_log_each(make, open_log):
    outer, inner_log = open_log(), open_log()
    with make(log=outer, max_epoch=1) as loop:
        for _ in loop.iter_epochs():
            for _ in loop.iter_steps("ab"):
                with pytest.raises(LoopMisuse, match="a log of its own"), make(log=outer):
                    pass
                train(make(log=inner_log, max_epoch=inner_log.status["epochs_done"] + 1))
    assert (len(inner_log), outer.status["iterations_done"]) == (4, 2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"checkpoint_epoch_freq": 0, "checkpoint_dir": "x"}, ValueError, "at least 1"),
        ({"checkpoint_epoch_freq": 1}, ValueError, "needs a checkpoint_dir"),
        ({"resume_from": "first"}, ValueError, "'last' or 'best'"),
        ({"log": {}}, TypeError, "log is a TrainingLogBase, not a dict"),
        ({"early_stopping": True}, ValueError, "pass params"),
        ({"mode": "least"}, ValueError, "mode must be"),
        ({"mode": "max", "valid_metric_smaller_is_better": True}, ValueError, "disagree"),
        ({"patience": 0}, ValueError, "at least 1"),
        ({"min_delta": -1.0}, ValueError, "must not be negative"),
        ({"min_delta": math.nan}, ValueError, "must not be negative"),
        ({"summary_writer": object()}, TypeError, "add_scalar"),
        ({"checkpoint_save_objects": {"x": 1.5}}, TypeError, "state cannot be taken"),
        ({"checkpoint_save_objects": {1: []}}, TypeError, "under a name"),
    ],
)
def test_arguments_it_refuses(make, options, error, message):
    with pytest.raises(error, match=message):
        make(**options)


# -- metrics --------------------------------------------------------------------------------


def collected(make, log, *arguments, **more):
    with make(max_epoch=1) as loop:
        for _ in loop.iter_epochs():
            for _ in loop.iter_steps("a"):
                loop.collect_metrics(*arguments, **more)
    return {key: value for key, value in log[1].items() if "epoch" not in key}


def test_what_a_metric_may_be(make, log, torch):
    found = collected(
        make, log, {"a": 1, "b": True, "loss": 5},
        loss=torch.tensor(0.5, requires_grad=True), batch=torch.tensor([1.0, 2.0]).bfloat16(),
        array=np.array([1, 2]), scalar=np.float32(0.25), items=[1, 3], zero=np.array(2.5),
    )  # fmt: skip
    assert found == {
        "a": 1.0, "b": 1.0, "loss": 0.5, "batch": 1.5, "array": 1.5, "scalar": 0.25, "items": 2.0,
        "zero": 2.5,
    }  # fmt: skip
    assert {type(value) for value in found.values()} == {float}


@pytest.mark.parametrize("bad", ["text", None, object(), {"a": 1}, ["a"], np.array(["a", "b"])])
def test_what_is_no_number_is_refused_by_name_and_nothing_is_written(make, log, bad):
    with pytest.raises(TypeError, match="the metric 'acc'"):
        collected(make, log, loss=1.0, acc=bad)
    assert set(log[1]) == {"got_exception"}
    with pytest.raises(TypeError, match="a mapping from names to numbers, not a list"):
        collected(make, log, [1])


def test_nan_is_written_counted_and_not_spread(make, log, lines):
    with make(max_epoch=1) as loop:
        for _ in loop.iter_epochs():
            for _, x in loop.iter_steps([1.0, math.nan, 3.0]):
                loop.collect_metrics(loss=x)
            loop.print_logs()
    assert math.isnan(log[2]["loss"])
    assert (log[3]["epoch/loss"], log[3]["epoch/loss_nan"]) == (2.0, 1)
    assert "loss: 2 (±1) [1 NaN, 0 inf]" in lines[0]


def test_timeit_and_metric_collector(make, log):
    with make(max_epoch=1) as loop:
        for _ in loop.iter_epochs():
            for _ in loop.iter_steps("a"):
                pass
            with loop.timeit("valid_time"), loop.metric_collector("valid_acc") as collector:
                collector.collect(1.0, weight=3)
                collector.collect([0.0])
            with loop.metric_collector("nothing"):
                pass
            for manager in (loop.timeit("failed_time"), loop.metric_collector("failed")):
                with pytest.raises(OSError, match="no"), manager:
                    raise OSError("no")
    assert log[1]["valid_acc"] == 0.75
    assert 0 < log[1]["valid_time"] < 5
    assert not {"nothing", "failed", "failed_time"} & set(log[1])


# -- printing -------------------------------------------------------------------------------


def test_print_logs_sums_up_since_the_last_time(make, lines):
    with make(max_epoch=2, show_eta=False) as loop:
        for _ in loop.iter_epochs():
            for step, x in loop.iter_steps([1.0, 3.0, 5.0, 7.0]):
                loop.collect_metrics(train_loss=x)
                if step % 2 == 0:
                    loop.print_logs()
            loop.collect_metrics(valid_loss=8.0 - loop.epoch)
            loop.print_logs()
    without_times = [re.sub(r"\w+ time: [^;]*; ", "", line) for line in lines]
    assert without_times[:3] == [
        "[Epoch 1/2, Step 2] train loss: 2 (±1)",
        "[Epoch 1/2, Step 4] train loss: 6 (±1)",
        "[Epoch 1/2, Step 4] train loss: 4 (±2.23607); valid loss: 7 (*)",
    ]
    assert without_times[5].endswith("valid loss: 6 (*)")
    assert re.search(r"^\[Epoch 1/2, Step 4\] epoch time: \S+s; step time: \S+s \(±", lines[2])


def test_tags_say_what_there_is_to_say(make, lines):
    for limits, tag in [
        ({"max_epoch": 3}, "[Epoch 1/3, Step 1] x"),
        ({"max_epoch": 1}, "[Step 1] x"),
        ({"max_epoch": 2, "max_step": 7}, "[Epoch 1/2, Step 1/7] x"),
        ({"max_step": 7}, "[Epoch 1, Step 1/7] x"),
    ]:
        with make(log=TrainingLog(), show_eta=False, **limits) as loop:
            for _ in loop.iter_epochs():
                for _ in loop.iter_steps("a"):
                    loop.println("x", with_tag=True)
                    loop.println("y")
                break
        assert lines[-2:] == [tag, "y"]


def test_a_formatter_of_one_s_own(make, lines):
    class Percent(MetricFormatter):
        def format_metric(self, name, value):
            return f"{value:.0%}" if name == "acc" else super().format_metric(name, value)

    with make(max_epoch=1, metric_formatter=Percent()) as loop:
        for _ in loop.iter_epochs():
            for _ in loop.iter_steps("a"):
                loop.collect_metrics(acc=0.5)
                loop.print_logs()
    assert "acc: 50%" in lines[0]


@pytest.mark.parametrize("name", ["time", "epoch_time", "load/timer", "a-time"])
def test_metrics_that_are_times(name):
    assert MetricFormatter().format_metric(name, 60.0) == "1m"


@pytest.mark.parametrize("name", ["lifetime", "uptime", "time_constant", "timers"])
def test_metrics_that_only_sound_like_times(name):
    assert MetricFormatter().format_metric(name, 60.0) == "60"


def test_the_training_summary(make, lines, torch):
    model = torch.nn.Sequential(torch.nn.Linear(1000, 10), torch.nn.Linear(10, 1))
    with make({"net": model, "scale": np.zeros(())}, var_groups=["net/0"]) as loop:
        loop.print_training_summary()
    text = "\n".join(lines)
    assert "Execution environment" in text
    assert f"torch {torch.__version__}" in text
    assert loop.log.h_uuid in text
    assert text.endswith(
        "Parameters (10,022 in total)\n"
        "  net/0 (10,010)\n"
        "    net/0.weight  10x1000  10,000\n"
        "    net/0.bias    10           10\n"
        "  Other (12)\n"
        "    net/1.weight  1x10         10\n"
        "    net/1.bias    1             1\n"
        "    scale         ()            1"
    )


# -- summaries ------------------------------------------------------------------------------


class Writer:
    def __init__(self):
        self.written = []

    def add_scalar(self, tag, value, step):
        self.written.append((tag, value, step))


def test_summaries_have_a_prefix_frequencies_and_exceptions(make):
    writer = Writer()
    loop = make(
        max_epoch=1, summary_writer=writer, summary_metric_prefix="m/",
        summary_commit_freqs={"loss": 3}, summary_skip_pattern="skipped|.*time",
    )  # fmt: skip
    added = []
    loop.events.on("summary_added", lambda _, found: added.append(found))
    with loop:
        for _ in loop.iter_epochs():
            for step, _ in loop.iter_steps(range(5)):
                loop.collect_metrics(loss=step, skipped=1, skipped_not=step)
            loop.add_summary({"own/tag": np.array([1.0, 3.0])})
    assert writer.written == [
        ("m/loss", 1.0, 1), ("m/skipped_not", 1.0, 1), ("m/skipped_not", 2.0, 2),
        ("m/skipped_not", 3.0, 3), ("m/loss", 4.0, 4), ("m/skipped_not", 4.0, 4),
        ("m/skipped_not", 5.0, 5), ("own/tag", 2.0, 5),
    ]  # fmt: skip
    assert added == [{"own/tag": 2.0}]
    assert loop.summary_writer is writer


def test_summaries_go_to_event_files_of_their_own(make, tmp_path):
    pytest.importorskip("tensorboardX")
    loop = make(log=TrainingLog(), max_epoch=2, summary_dir=tmp_path / "events")
    train(loop)
    found = scalars(tmp_path / "events")
    assert found
    assert {step for _, _, step in found} == set(range(1, loop.step + 1))
    assert all(tag.startswith("metrics/") for tag, _, _ in found)


def test_a_summary_writer_counts_before_a_folder(make, tmp_path):
    writer = Writer()
    train(make(max_epoch=1, summary_writer=writer, summary_dir=tmp_path / "events"))
    assert writer.written
    assert not (tmp_path / "events").exists()


def test_a_missing_tensorboardx_is_named(make, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingExtra, match=r'pip install "traininglog\[tensorboard\]"'):
        make(summary_dir=tmp_path)


TIMES = {"metrics/step_time", "metrics/data_time", "metrics/epoch_time"}


def test_times_go_to_the_writer_only_if_asked_for(make):
    for pattern, expected in ((None, TIMES), (..., set())):
        writer = Writer()
        options = {} if pattern is ... else {"summary_skip_pattern": pattern}
        with make(log=TrainingLog(), max_epoch=1, summary_writer=writer, **options) as loop:
            for _ in loop.iter_epochs():
                for _ in loop.iter_steps("a"):
                    pass
        assert {tag for tag, _, _ in writer.written} == expected


def test_a_writer_that_fails_is_told_once_and_stops_nothing(make, log):
    class Broken:
        def add_scalar(self, tag, value, step):
            raise OSError("disk full")

    with pytest.warns(TrainingLogWarning, match="disk full") as warned:
        train(make(max_epoch=3, summary_writer=Broken()))
    assert len(warned) == 1
    assert log.status["epochs_done"] == 3
