"""The best parameters come back, and nothing is mixed up when such a training is continued."""

from __future__ import annotations

import math

import numpy as np
import pytest

from traininglog import TrainingLog
from traininglog.loop import CheckpointUnusable, TrainLoop

#: What validation gives, epoch by epoch; the best is that of the third.
VALUES = [5.0, 4.0, 2.0, 3.0, 2.5, 2.2, 9.0, 9.0]


class Training:
    """Parameters count their steps, and so does an optimizer, which is not put back."""

    def __init__(self, log, folder=None, values=VALUES, name="valid_loss", **options):
        self.params, self.optimizer, self.lines = np.zeros(2), {"steps": np.zeros(1)}, []
        self.values, self.name = values, name
        options = {"max_epoch": 6, "early_stopping": True} | options
        self.loop = TrainLoop(
            self.params, log=log, checkpoint_dir=folder, valid_metric_name=name,
            checkpoint_save_objects={"optimizer": self.optimizer},
            print_func=self.lines.append, **options,
        )  # fmt: skip

    def run(self, stop=None):
        with self.loop as loop:
            for epoch in loop.iter_epochs():
                for _ in loop.iter_steps("ab"):
                    self.params += 1
                    self.optimizer["steps"] += 1
                loop.collect_metrics({self.name: self.values[epoch - 1]})
                if stop:
                    stop(loop)
        return self


@pytest.fixture
def logs():
    """Keep logs in memory for as long as a test runs."""
    return []


@pytest.fixture
def train(logs, tmp_path):
    def train(stop=None, folder=tmp_path / "checkpoints", **options):
        logs.append(TrainingLog())
        return Training(logs[-1], folder, **options).run(stop)

    return train


def test_the_best_parameters_come_back_and_the_rest_stays(open_log):
    log = open_log()
    done = Training(log).run()
    assert done.params.tolist() == [6, 6]
    assert done.optimizer["steps"] == 12
    assert (done.loop.best_valid_metric, done.loop.params_source) == (2.0, "best")
    assert (log.status["params_source"], log.status["params_step"]) == ("best", 6)
    assert log.status["best"]["step"] == 6


def test_without_early_stopping_the_last_ones_stay(train):
    done = train(early_stopping=False)
    assert done.params.tolist() == [12, 12]
    assert (done.loop.best_valid_metric, done.loop.params_source) == (2.0, "last")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_whatever_ended_the_training(train, error):
    def stop(loop):
        if loop.epoch == 5:
            raise error

    logs, kept = [TrainingLog()], []
    training = Training(logs[0])
    kept.append(training)
    with pytest.raises(error):
        training.run(stop)
    assert training.params.tolist() == [6, 6]
    assert logs[0].status["params_source"] == "best"
    assert training.loop.params_source == "best"


def test_without_any_value_the_last_ones_stay_and_that_is_said(logs):
    logs.append(TrainingLog())
    training = Training(logs[0], name="valid_acc", values=[math.nan] * 8)
    training.run()
    assert training.params.tolist() == [12, 12]
    assert training.lines == [
        "No valid_acc was collected: the parameters are those of the last step."
    ]
    assert training.loop.best_valid_metric is None


@pytest.mark.parametrize(
    ("options", "values", "best", "epochs"),
    [
        ({"patience": 2}, VALUES, 2.0, 5),
        ({"patience": 3}, VALUES, 2.0, 6),
        ({"patience": 2, "min_delta": 1.5}, VALUES, 2.0, 5),
        ({"patience": 1, "min_delta": 1.5}, VALUES, 5.0, 2),
        ({"patience": 1}, [math.nan, 3.0, math.nan, 2.0], None, 1),
        ({"patience": 2}, [math.nan, 3.0, math.nan, math.nan], 3.0, 4),
        ({"patience": 1}, [3.0, 3.0, 1.0], 3.0, 2),
        ({"patience": 1, "mode": "max"}, [3.0, 4.0, 4.0], 4.0, 3),
        ({"patience": 1, "valid_metric_smaller_is_better": False}, [3.0, 4.0, 4.0], 4.0, 3),
        ({"patience": 1, "name": "valid_acc"}, [3.0, 4.0, 4.0], 4.0, 3),
        ({"patience": 1, "name": "accuracy", "mode": "min"}, [3.0, 4.0], 3.0, 2),
        ({"patience": 1, "name": "vacc"}, [3.0, 4.0], 3.0, 2),
    ],
)
def test_patience(train, options, values, best, epochs):
    done = train(values=values, **options)
    assert done.loop.best_valid_metric == best
    assert done.loop.epoch == epochs
    if epochs < 6:
        assert done.loop.stop_reason == "early stopping"


def test_several_best_values_are_kept_over_restarts(tmp_path):
    """Each by its own direction, with the rows that were the best so far."""
    log, values = TrainingLog(), {"loss": [3.0, 2.0, math.nan, 2.5, 1.0], "acc": [5, 7, 6, 8, 8]}
    for epochs in (3, 5):
        with TrainLoop(
            log=log, max_epoch=epochs, checkpoint_dir=tmp_path, track_best=("loss", "acc"),
            print_func=str,
        ) as loop:  # fmt: skip
            for epoch in loop.iter_epochs():
                for _ in loop.iter_steps("a"):
                    pass
                loop.collect_metrics({name: found[epoch - 1] for name, found in values.items()})
    assert (log.status["best_loss"], log.status["best_acc"]) == (1.0, 8.0)
    found = {name: [t for t in log if f"{name}_best_so_far" in log[t]] for name in values}
    assert found == {"loss": [1, 2, 5], "acc": [1, 2, 4]}
    with TrainLoop(
        log=(other := TrainingLog()), max_epoch=2, progress=False, track_best={"loss": "max"}
    ) as loop:
        for epoch in loop.iter_epochs():
            for _ in loop.iter_steps("a"):
                loop.collect_metrics(loss=float(epoch))
    assert other.status["best_loss"] == 2.0
    with pytest.raises(TypeError, match=r"track_best=\['loss'\]"):
        TrainLoop(track_best="loss")


def test_that_patience_is_at_its_end_is_said_with_the_best_value():
    lines = []
    with TrainLoop(
        log=TrainingLog(), max_epoch=9, patience=2, valid_metric_name="v", print_func=lines.append
    ) as loop:
        for epoch in loop.iter_epochs():
            for _ in loop.iter_steps("ab"):
                pass
            loop.collect_metrics(v=abs(epoch - 2) + 0.5)
    assert lines == ["Early stopping: v was no better for 2 validations (best 0.5 at step 4)."]
    assert loop.stop_reason == "early stopping"


def test_a_first_nan_is_never_the_best(train):
    assert train(values=[math.nan, 7.0, 8.0, 9.0, 9.0, 9.0]).loop.best_valid_metric == 7.0


def test_an_infinity_is_worse_than_any_number(train):
    assert train(values=[math.inf, 7.0, 8.0, 9.0, 9.0, 9.0]).loop.best_valid_metric == 7.0


def test_a_stop_may_be_requested_at_any_place(logs):
    for within, epochs, steps, done in ((True, 1, 3, 0), (False, 1, 9, 1)):
        logs.append(TrainingLog())
        with TrainLoop(log=logs[-1], max_epoch=5) as loop:
            for _ in loop.iter_epochs():
                for step, _ in loop.iter_steps(range(9)):
                    if within and step == 3:
                        loop.request_stop("good enough")
                if not within:
                    loop.request_stop("good enough")
        assert (loop.epoch, loop.step, loop.stop_reason) == (epochs, steps, "good enough")
        assert logs[-1].status["epochs_done"] == done
        assert logs[-1].status["stop_reason"] == "good enough"


# -- early stopping and resuming ------------------------------------------------------------


def test_best_value_and_snapshot_are_always_of_the_same_step(train, logs, tmp_path):
    """Killed between a new best and the next checkpoint, the run that goes on finds it again."""

    class Killed(BaseException):
        pass

    def stop(loop):
        if loop.epoch == 3:  # a new best, of which no checkpoint knows yet
            raise Killed

    with pytest.raises(Killed):
        train(stop, checkpoint_epoch_freq=1)
    # The second value is the best that the checkpoint knows; the third comes again.
    again = train(checkpoint_epoch_freq=1)
    assert again.params.tolist() == [6, 6]
    assert again.loop.best_valid_metric == 2.0
    assert logs[-1].lineage()[0].resumed_at == 4


def test_an_ended_training_that_is_started_again_gives_the_same_parameters(train):
    first = train()
    again = train()
    assert again.params.tolist() == first.params.tolist() == [6, 6]
    assert again.optimizer["steps"] == 12
    assert again.loop.params_source == "best"


def test_going_on_restores_a_whole_consistent_state(train, logs):
    """Counters, optimizer and parameters of the last step: not the best ones among them."""
    train()
    seen = []
    more = train(lambda loop: seen.append(loop.params.tolist()), max_epoch=8)
    assert seen == [[14, 14], [16, 16]]
    assert more.optimizer["steps"] == 16
    assert more.params.tolist() == [6, 6]  # still the best
    assert more.lines[0].startswith("Resume training: epoch 6, step 12")
    assert more.lines[1] == (
        "It had ended with the best parameters, those of step 6; it goes on with those of step 12 "
        "(resume_from='best' goes back)."
    )
    assert logs[-1].status["_epoch_ends"] == [2, 4, 6, 8, 10, 12, 14, 16]


def test_going_on_from_the_best_restores_all_of_that_moment(train, logs):
    train()
    seen = []
    more = train(lambda loop: seen.append((loop.epoch, loop.step, loop.params.tolist())),
                 resume_from="best", values=[9.0] * 8, max_epoch=4)  # fmt: skip
    assert seen == [(3, 6, [6, 6]), (4, 8, [8, 8])]
    assert more.optimizer["steps"] == 8
    assert more.loop.best_valid_metric == 2.0
    assert logs[-1].lineage()[0].resumed_at == 6
    assert list(logs[-1]) == [2, 4, 6, 8]


def test_a_training_that_was_stopped_stays_stopped_unless_told(train):
    stopped = train(patience=1)
    assert (stopped.loop.epoch, stopped.loop.stop_reason) == (4, "early stopping")
    again = train(patience=1)
    assert (again.loop.epoch, again.loop.stop_reason) == (4, "early stopping")
    assert again.params.tolist() == [6, 6]
    (line,) = again.lines
    assert line == (
        "This training ended at epoch 4, step 8 (early stopping), and stays ended. To go on, pass "
        "resume_from='last', or resume_from='best' for the moment of the best valid_loss."
    )
    more = train(resume_from="last", patience=2)
    assert (more.loop.epoch, more.optimizer["steps"]) == (6, 12)  # it has patience anew


def test_a_best_value_without_its_parameters_does_not_count(train):
    """Made without early stopping, a checkpoint knows the best value only."""
    train(early_stopping=False)
    more = train(max_epoch=7)
    assert more.loop.best_valid_metric == 9.0
    assert more.params.tolist() == [14, 14]


def test_resuming_from_a_best_that_is_not_there_is_refused(train):
    train(early_stopping=False)
    with pytest.raises(CheckpointUnusable, match=r"no best moment.*resume_from='last'"):
        train(resume_from="best")


def test_another_metric_begins_with_no_best(train):
    train()
    more = train(name="valid_acc", max_epoch=7, values=[0.5] * 8)
    assert more.loop.best_valid_metric == 0.5
    assert more.params.tolist() == [14, 14]


def test_an_older_training_s_best_never_comes_back(train):
    train()
    new = train(restore_checkpoint=False, max_epoch=2, values=[9.0, 8.0])
    assert new.params.tolist() == [4, 4]
    assert new.loop.best_valid_metric == 8.0


def test_snapshots_share_nothing_with_what_is_trained(torch, logs):
    logs.append(TrainingLog())
    model = torch.nn.Linear(1, 1)
    with TrainLoop(model, log=logs[-1], max_epoch=3, early_stopping=True) as loop:
        for epoch in loop.iter_epochs():
            for _ in loop.iter_steps("a"):
                with torch.no_grad():
                    model.weight.fill_(epoch)
            loop.collect_metrics(valid_loss=abs(epoch - 2))
    assert model.weight.item() == 2.0
