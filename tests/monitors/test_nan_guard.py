"""The first NaN of a metric is recorded, and acted upon."""

import math

import numpy as np
import pytest

from traininglog import ConfigurationError, TrainingLogWarning, open_log
from traininglog.monitors import DataframeMonitor, LogMonitor, NanGuard, NotFinite, StopTraining


def test_the_first_of_each_metric_is_recorded_in_the_status(log):
    found = []
    guard = NanGuard(found.append, log)
    guard.write({"loss": 0.5, "norm": 1.0, "n": 3}, 1)
    guard.write({"loss": 0.25, "norm": math.inf}, 2)
    guard.write({"loss": math.nan, "norm": 1.0}, 3)
    guard.write({"loss": math.inf, "norm": math.nan}, 4)
    status = log.status["not_finite"]
    assert status["norm"] == {"step": 2, "value": math.inf, "last_finite": 1.0}
    assert status["loss"]["step"] == 3
    assert math.isnan(status["loss"]["value"])
    assert status["loss"]["last_finite"] == 0.25
    assert [(new.key, new.step) for new in found] == [("norm", 2), ("loss", 3)]
    assert guard.found["norm"] == NotFinite("norm", 2, math.inf, 1.0)


def test_without_a_finite_value_before_there_is_none(log):
    NanGuard(lambda found: None, log).write({"loss": -math.inf}, 0.5)
    assert log.status["not_finite"] == {
        "loss": {"step": 0.5, "value": -math.inf, "last_finite": None}
    }


def test_nothing_is_recorded_while_all_is_well(log):
    guard = NanGuard("stop", log)
    for step in range(1, 4):
        guard.write({"loss": 1e308, "text": "nan", "none": None, "yes": True}, step)
    assert "not_finite" not in log.status
    assert guard.found == {}


def test_nested_tensors_are_looked_into_and_batches_are_not(log):
    guard = NanGuard(lambda found: None, log)
    guard.write(
        {
            "model": {"grad": np.array([1.0, math.nan])},
            "training_inputs": np.array([math.nan]),
            "half": np.float16(math.inf),
        },
        1,
    )
    assert set(log.status["not_finite"]) == {"model/grad", "half"}


def test_a_warning_is_given_once():
    guard = NanGuard()
    guard.write({"loss": 0.5}, 1)
    with pytest.warns(TrainingLogWarning) as told:
        guard.write({"loss": math.nan, "norm": math.inf}, 2)
    guard.write({"loss": math.nan, "norm": math.inf}, 3)  # a warning would be an error here
    (warning,) = told
    assert str(warning.message) == "'loss' is nan at step 2, after 0.5; 'norm' is inf at step 2"


def test_many_at_once_do_not_flood():
    with pytest.warns(TrainingLogWarning, match="and 95 more$"):
        NanGuard().write({f"m{number}": math.nan for number in range(100)}, 1)


def test_it_can_stop_the_training_once_the_row_is_in_the_log(log):
    monitor = NanGuard("stop") + LogMonitor(log)

    def train():
        with monitor.session(3):
            for step, loss in enumerate([0.5, math.nan, 0.25], 1):
                monitor.write({"loss": loss}, step)

    with pytest.raises(StopTraining, match="'loss' is nan at step 2"):
        train()
    assert len(log) == 2
    assert math.isnan(log[2]["loss"])
    assert log.status["not_finite"]["loss"]["step"] == 2


def test_beside_a_log_monitor_it_records_in_its_log(log):
    with open_log("memory:") as other:
        guard = NanGuard(lambda found: None)
        monitor = DataframeMonitor() + guard + LogMonitor(log)
        assert guard.log is log
        (LogMonitor(other, name="other") + monitor).write({"loss": math.nan}, 1)
        assert "loss" in log.status["not_finite"]
        assert "not_finite" not in other.status


def test_the_step_is_that_of_the_row(log):
    """Over all sessions, and over runs that the log was resumed from."""
    for loss in (0.5, math.nan):
        monitor = LogMonitor(log) + NanGuard(lambda found: None)
        with monitor.session(3):
            for step in range(1, 4):
                monitor.write({"loss": loss}, step)
    assert log.status["not_finite"]["loss"]["step"] == 4
    assert math.isnan(log[4]["loss"])
    assert log[4]["step"] == 4


def test_the_first_record_stays(log):
    for value in (math.nan, math.inf):
        NanGuard(lambda found: None, log).write({"loss": value}, 1)
    assert math.isnan(log.status["not_finite"]["loss"]["value"])


def test_a_record_past_the_resume_point_is_dropped(log):
    def train(losses):
        monitor = LogMonitor(log) + NanGuard(lambda found: None)
        with monitor.session(len(losses)):
            for step, row in enumerate(losses, 1):
                monitor.write(row, step)

    train([{"early": math.nan}, {"loss": 0.5}, {"loss": math.nan}])
    assert set(log.status["not_finite"]) == {"early", "loss"}
    log.resume(at=2)
    train([{"loss": 0.25}])
    assert set(log.status["not_finite"]) == {"early"}
    train([{"loss": math.inf}])
    assert log.status["not_finite"]["loss"] == {
        "step": 4, "value": math.inf, "last_finite": None,
    }  # fmt: skip


def test_a_guard_that_goes_on_after_a_resume_acts_again(log):
    found = []
    monitor = LogMonitor(log) + NanGuard(found.append)
    for losses in ([0.5, math.nan], [math.nan]):
        with monitor.session(2):
            for step, loss in enumerate(losses, 1):
                monitor.write({"loss": loss}, step)
        log.resume(at=1)
    assert [new.step for new in found] == [2, 2]


def test_a_log_to_which_nobody_writes_steps_keeps_its_records(log):
    guard = NanGuard(lambda found: None, log)
    for _ in range(2):
        with guard.session(3):
            log[1]["loss"] = math.nan
            guard.write({"loss": math.nan}, 3)
    assert log.status["not_finite"]["loss"]["step"] == 3
    guard.write({"norm": math.inf}, 1)
    assert log.status["not_finite"]["norm"]["step"] == 4


def test_an_action_that_is_none_is_refused_when_the_guard_is_made():
    with pytest.raises(ConfigurationError, match="'warn', 'stop' or a callable, not 'raise'"):
        NanGuard("raise")
    with pytest.raises(TypeError, match="records in a log, not in a str"):
        NanGuard("warn", "runs.db")
