"""What works as a block only says so where it is called plainly."""

import threading
import warnings

import pytest

from traininglog import TrainingLog, TrainingLogWarning
from traininglog.blocks import block
from traininglog.loop import TrainLoop
from traininglog.monitors import LogMonitor
from traininglog.trials import Chrono, StatAggregator, TrialClient


def plain_calls():
    def loop(name):
        def call():
            with TrainLoop(log=TrainingLog(), max_epoch=1) as running:
                for _ in running.iter_epochs():
                    for _ in running.iter_steps(range(1)):
                        getattr(running, name)("x")

        return call

    def chrono():
        TrialClient("memory:").new_trial(parameters={}).chrono("x")

    return [
        pytest.param("timeit()", loop("timeit"), id="timeit"),
        pytest.param("metric_collector()", loop("metric_collector"), id="metric_collector"),
        pytest.param("session()", lambda: LogMonitor(TrainingLog()).session(1), id="session"),
        pytest.param(r"chrono\('x'\)", chrono, id="chrono"),
    ]


@pytest.mark.parametrize(("name", "call"), plain_calls())
def test_a_block_that_is_called_and_not_entered_warns_where_it_was_called(name, call):
    with pytest.warns(TrainingLogWarning, match="never entered.*write `with") as caught:
        call()
    assert any(name.split("(")[0].rstrip("\\") in str(one.message) for one in caught)
    assert any(one.filename == __file__ for one in caught)


def test_a_block_that_is_entered_or_decorates_does_not_warn():
    @block
    def counted(seen):
        seen.append("in")
        yield 5
        seen.append("out")

    seen = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with counted(seen) as given:
            assert given == 5

        @counted(seen)
        def work():
            seen.append("work")

        work()
        work()
        with TrialClient("memory:").new_trial(parameters={}) as trial, trial.chrono("x"):
            pass
        Chrono()
    assert seen == ["in", "out", *["in", "work", "out"] * 2]


def test_a_block_that_fails_lets_its_exception_go_on():
    @block
    def failing():
        try:
            yield
        except ValueError as error:
            raise KeyError("other") from error

    with pytest.raises(KeyError), failing():
        raise ValueError


def test_one_chrono_measures_the_blocks_of_several_threads_each_from_its_own_start():
    stat = StatAggregator(0)
    chrono = Chrono(stat)
    entered, leave = threading.Event(), threading.Event()

    def long():
        with chrono:
            entered.set()
            leave.wait()

    thread = threading.Thread(target=long)
    thread.start()
    entered.wait()
    for _ in range(100):
        with chrono:
            pass
    count, longest = stat.count, stat.max
    leave.set()
    thread.join()
    assert count == 100
    assert stat.count == 101
    assert stat.max > longest
