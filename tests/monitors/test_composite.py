"""Monitors add up, and one that fails leaves the others and the training alone."""

import copy
import pickle

import pytest

from traininglog import LogClosed, TrainingLogWarning, ValueTypeError, open_log
from traininglog.monitors import (
    CompositeMonitor,
    LogMonitor,
    Monitor,
    RingbufferMonitor,
    StdoutMonitor,
    StopTraining,
)


class Recorder(Monitor):
    """Remembers in a list, shared or not, what it was told."""

    def __init__(self, name, calls=None):
        super().__init__(name)
        self.calls = [] if calls is None else calls

    def start_session(self, num_steps, **kwargs):
        self.calls.append((self.name, "start", num_steps, kwargs))

    def write(self, data, step, **kwargs):
        self.calls.append((self.name, "write", dict(data), step, kwargs))

    def end_session(self, **kwargs):
        self.calls.append((self.name, "end", kwargs))


class Failing(Recorder):
    """Fails at whatever it is told."""

    def __init__(self, name, error, at=("write",), calls=None):
        super().__init__(name, calls)
        self.error, self.at = error, at

    def start_session(self, num_steps, **kwargs):
        super().start_session(num_steps, **kwargs)
        self.fail("start")

    def write(self, data, step, **kwargs):
        super().write(data, step, **kwargs)
        self.fail("write")

    def end_session(self, **kwargs):
        super().end_session(**kwargs)
        self.fail("end")

    def fail(self, what):
        if what in self.at:
            raise self.error


class OnlyWrites(Monitor):
    def write(self, data, step, **kwargs):
        pass


# -- one ----------------------------------------------------------------------------------------


def test_a_monitor_must_write_and_need_do_no_more():
    monitor = OnlyWrites("x")
    monitor.start_session(10, anything="else")
    monitor.end_session(anything="else")
    with pytest.raises(TypeError, match="abstract"):
        Monitor("x")


def test_a_session_is_started_and_ended():
    monitor = Recorder("a")
    with monitor.session(3, epoch=1) as same:
        assert same is monitor
        monitor.write({"loss": 1.0}, 1)
    assert [call[1] for call in monitor.calls] == ["start", "write", "end"]
    assert monitor.calls[0] == ("a", "start", 3, {"epoch": 1})


@pytest.mark.parametrize(
    "error", [RuntimeError("out of memory"), KeyboardInterrupt(), SystemExit()]
)
def test_a_session_ends_whatever_happens(error):
    monitor = Recorder("a")
    with pytest.raises(type(error)) as raised, monitor.session(3):
        raise error
    assert raised.value is error
    assert monitor.calls[-1][1] == "end"


def test_a_session_ends_when_the_loop_is_left_or_the_generator_abandoned():
    def steps(monitor):
        with monitor.session(3):
            yield from range(1, 4)

    monitor = Recorder("a")
    for _ in steps(monitor):
        break
    assert monitor.calls[-1][1] == "end"


def test_what_was_raised_in_a_session_is_not_hidden_by_a_failure_to_end_it():
    monitor = Failing("a", OSError("no end"), at=["end"])
    with pytest.raises(ValueError, match="the first") as raised, monitor.session(3):
        raise ValueError("the first")
    assert "no end" in raised.value.__notes__[0]
    with pytest.raises(OSError, match="no end"), monitor.session(3):
        pass


def test_a_session_that_could_not_be_started_is_ended():
    """In a composite, others may have started theirs."""
    calls = []
    broken = Failing("b", ValueError("no"), at=["start"], calls=calls)
    monitor = CompositeMonitor([Recorder("a", calls), broken], strict=True)
    with pytest.raises(ValueError, match="no"), monitor.session(3):
        pytest.fail("the block does not run")
    assert ("a", "end", {}) in calls


# -- several ------------------------------------------------------------------------------------


def test_each_is_told_everything_in_order():
    calls = []
    monitor = Recorder("b", calls) + Recorder("a", calls)
    with monitor.session(1, note="x"):
        monitor.write({"loss": 1.0}, 0.5, inputs=3)
    assert calls == [
        ("b", "start", 1, {"note": "x"}),
        ("a", "start", 1, {"note": "x"}),
        ("b", "write", {"loss": 1.0}, 0.5, {"inputs": 3}),
        ("a", "write", {"loss": 1.0}, 0.5, {"inputs": 3}),
        ("b", "end", {}),
        ("a", "end", {}),
    ]


def test_each_is_reachable_by_its_name():
    a, b = Recorder("a"), RingbufferMonitor()
    monitor = a + b
    assert monitor.a is a
    assert monitor.ringbuffer_monitor is b
    assert {"a", "ringbuffer_monitor"} <= set(dir(monitor))
    with pytest.raises(AttributeError, match="named 'c'; there are: a, ringbuffer_monitor"):
        _ = monitor.c


def test_composites_are_taken_apart_and_left_as_they_were():
    a, b, c, d = map(Recorder, "abcd")
    left, right = a + b, c + d
    both = left + right
    assert both.monitors == [a, b, c, d]
    assert left.monitors == [a, b]
    assert (both + Recorder("e")).monitors[:4] == [a, b, c, d]


def test_sum_adds_monitors_up():
    a, b, c = map(Recorder, "abc")
    assert sum([a, b, c]).monitors == [a, b, c]
    assert sum([a]) is a


def test_only_monitors_add_up():
    with pytest.raises(TypeError):
        Recorder("a") + 1
    with pytest.raises(TypeError):
        1 + Recorder("a")
    with pytest.raises(TypeError, match="not of a str"):
        CompositeMonitor(["a"])


def test_a_name_that_is_taken_is_refused():
    with pytest.raises(ValueError, match="two monitors are named 'a'"):
        Recorder("a") + Recorder("a")
    same = Recorder("a")
    with pytest.raises(ValueError, match="two monitors are named 'a'"):
        CompositeMonitor([same, same])


@pytest.mark.parametrize("name", [None, "", 3])
def test_a_monitor_without_a_name_is_refused(name):
    with pytest.raises(ValueError, match="a Recorder without a name cannot be part"):
        Recorder("a") + Recorder(name)


@pytest.mark.parametrize("name", ["write", "monitors", "name", "strict", "session", "_children"])
def test_a_name_that_hides_an_attribute_is_refused(name):
    with pytest.raises(ValueError, match=f"{name!r} would not be reachable"):
        Recorder("a") + Recorder(name)


def test_a_composite_can_be_copied_and_pickled():
    monitor = RingbufferMonitor(name="a") + RingbufferMonitor(name="b")
    for other in (copy.deepcopy(monitor), pickle.loads(pickle.dumps(monitor))):
        other.write({"training_loss": 1.0}, 1)
        assert other.b.mean() == 1.0
    assert monitor.b.values == []


# -- failures -----------------------------------------------------------------------------------


def test_a_failure_is_told_once_with_its_traceback_and_stops_nothing():
    before, after = Recorder("before"), Recorder("after")
    monitor = before + Failing("broken", ZeroDivisionError("by zero")) + after
    with pytest.warns(TrainingLogWarning) as told:
        monitor.write({"loss": 1.0}, 1)
    for step in range(2, 6):
        monitor.write({"loss": 1.0}, step)  # a warning would be an error here
    (warning,) = told
    text = str(warning.message)
    assert text.startswith("the monitor 'broken' failed in write(); the training goes on")
    assert "Traceback (most recent call last)" in text
    assert "test_composite.py" in text
    assert text.endswith("ZeroDivisionError: by zero\n")
    assert len(before.calls) == len(after.calls) == 5
    assert monitor.failures == {"broken": 5}


def test_each_that_fails_is_told_of():
    monitor = Failing("a", OSError("one")) + Failing("b", OSError("two"))
    with pytest.warns(TrainingLogWarning) as told:
        monitor.write({}, 1)
    monitor.write({}, 2)
    assert [str(warning.message).split("'")[1] for warning in told] == ["a", "b"]


def test_a_failure_to_start_or_end_stops_nothing_either():
    calls = []
    broken = Failing("broken", OSError("gone"), at=["start", "write", "end"], calls=calls)
    monitor = broken + Recorder("after", calls)
    with pytest.warns(TrainingLogWarning, match=r"failed in start_session\(\)"), monitor.session(1):
        monitor.write({}, 1)
    assert [call[1] for call in calls if call[0] == "after"] == ["start", "write", "end"]
    assert monitor.failures == {"broken": 3}


def test_strict_raises_at_once():
    after = Recorder("after")
    error = ZeroDivisionError("by zero")
    monitor = CompositeMonitor([Failing("broken", error), after], strict=True)
    with pytest.raises(ZeroDivisionError) as raised:
        monitor.write({}, 1)
    assert raised.value is error
    assert after.calls == []


def test_strict_still_ends_every_session():
    after = Recorder("after")
    broken = Failing("broken", OSError("gone"), at=["end"])
    monitor = CompositeMonitor([broken, after], strict=True)
    with pytest.raises(OSError, match="gone"):
        monitor.end_session()
    assert after.calls == [("after", "end", {})]


def test_what_is_added_to_a_strict_composite_is_strict():
    monitor = CompositeMonitor([Recorder("a")], strict=True) + Failing("b", OSError("gone"))
    with pytest.raises(OSError, match="gone"):
        monitor.write({}, 1)


def test_an_interrupt_is_no_failure_of_a_monitor():
    with pytest.raises(KeyboardInterrupt):
        (Failing("a", KeyboardInterrupt()) + Recorder("b")).write({}, 1)


def test_a_log_that_cannot_be_written_is_raised_after_the_siblings_had_their_turn(place):
    log = open_log(place)
    after = Recorder("after")
    monitor = LogMonitor(log) + after
    monitor.write({"loss": 1.0}, 1)
    log.close()
    for step in (2, 3):
        with pytest.raises(LogClosed):
            monitor.write({"loss": 1.0}, step)
    assert len(after.calls) == 3
    assert monitor.failures == {}


def test_a_value_that_the_log_does_not_take_is_raised(log):
    with pytest.raises(ValueTypeError, match="a set cannot be stored"):
        (LogMonitor(log) + Recorder("after")).write({"loss": {1.0}}, 1)
    assert len(log) == 0


def test_whatever_a_log_monitor_raises_is_raised(log):
    with pytest.raises(TypeError, match="data is a mapping from names to values, not a list"):
        (Recorder("a") + LogMonitor(log)).write([1.0], 1)


def test_a_monitor_may_stop_the_training():
    after = Recorder("after")
    error = StopTraining("enough")
    with pytest.raises(StopTraining) as raised:
        (Failing("broken", error) + after).write({}, 1)
    assert raised.value is error
    assert len(after.calls) == 1


def test_a_broken_log_counts_more_than_a_wish_to_stop(log):
    log.close()
    with pytest.raises(LogClosed) as raised:
        CompositeMonitor([Failing("a", StopTraining("enough")), Broken(log)]).write({}, 1)
    assert "enough" in raised.value.__notes__[0]


class Broken(Monitor):
    """Writes to a log that is closed."""

    def __init__(self, log):
        super().__init__("broken")
        self.broken = log

    def write(self, data, step, **kwargs):
        self.broken[1]["loss"] = 1.0


def test_a_warning_made_an_error_does_not_hide_that_the_log_is_broken(log):
    """This suite runs with warnings as errors."""
    log.close()
    with pytest.raises(LogClosed) as raised:
        (StdoutMonitor(["loss"]) + Broken(log)).write({}, 1)
    assert "start_session(num_steps) comes before write()" in raised.value.__notes__[0]
