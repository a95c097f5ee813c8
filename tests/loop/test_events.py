"""Who is told of what, in which order, and what happens when a handler fails."""

from __future__ import annotations

import pytest

from traininglog.loop import EventKeys, EventSource, Statistics, TrainLoop


def test_handlers_are_called_in_order_and_in_reverse():
    events, heard = EventSource(), []
    for name in "abc":
        events.on("x", lambda value, name=name: heard.append((name, value)))
    events.fire("x", 1)
    events.reverse_fire("x", 2)
    assert heard == [("a", 1), ("b", 1), ("c", 1), ("c", 2), ("b", 2), ("a", 2)]


def test_a_handler_counts_as_often_as_it_was_added():
    events, heard = EventSource(), []
    for _ in range(2):
        events.on("x", heard.append)
    events.off("x", heard.append)
    events.fire("x", 1)
    assert heard == [1]
    events.off("x", heard.append)
    with pytest.raises(ValueError, match="does not handle 'x'"):
        events.off("x", heard.append)


def test_unknown_events_are_refused():
    events = EventSource(["x"])
    for act in (
        lambda: events.on("y", print),
        lambda: events.off("y", print),
        lambda: events.fire("y"),
        lambda: events.reverse_fire("y"),
        lambda: events.clear_event_handlers("y"),
    ):
        with pytest.raises(KeyError, match="there is no event 'y'; there are x"):
            act()
    with pytest.raises(TypeError, match="a handler is called"):
        events.on("x", None)


def test_handlers_may_be_added_and_removed_while_one_is_called():
    events, heard = EventSource(), []

    def first():
        heard.append("first")
        events.off("x", first)
        events.on("x", lambda: heard.append("new"))

    events.on("x", first)
    events.on("x", lambda: heard.append("second"))
    events.fire("x")
    assert heard == ["first", "second"]
    events.fire("x")
    assert heard == ["first", "second", "second", "new"]


def test_all_handlers_are_called_even_if_one_fails():
    events, heard = EventSource(), []

    def fail():
        raise OSError("no")

    events.on("x", fail)
    events.on("x", lambda: heard.append(1))
    with pytest.raises(OSError, match="no"):
        events.fire("x")
    events.on("x", fail)
    with pytest.raises(ExceptionGroup, match="2 of 3 event handlers failed"):
        events.fire("x")
    assert heard == [1, 1]
    events.clear_event_handlers()
    events.fire("x")


def schedule_of(loop):
    """Return the list into which the events of a loop go as they are fired."""
    heard = []
    for key in EventKeys:
        loop.events.on(key, lambda told, *_, key=key: heard.append((key, told.epoch, told.step)))
    return heard


def test_the_whole_schedule_is_fired(log):
    loop = TrainLoop(log=log, max_epoch=2)
    heard = schedule_of(loop)
    with loop:
        for _ in loop.iter_epochs():
            for _ in loop.iter_steps("ab"):
                pass
    outline = [key for key, _, _ in heard if key != "time_metrics_collected"]
    steps = ["before_step", "after_step"] * 2
    epoch = ["before_epoch", *steps, "after_epoch"]
    assert outline == ["enter_loop", *epoch, *epoch, "exit_loop"]
    assert ("before_step", 2, 3) in heard
    assert heard[-1] == ("exit_loop", 2, 4)


def test_after_events_come_in_reverse_order(log):
    loop, heard = TrainLoop(log=log, max_epoch=1), []
    for key in ("after_step", "after_epoch", "exit_loop"):
        for name in "ab":
            loop.events.on(key, lambda _, name=name: heard.append(name))
    with loop:
        for _ in loop.iter_epochs():
            for _ in loop.iter_steps("x"):
                pass
    assert heard == ["b", "a"] * 3


@pytest.mark.parametrize("how", ["break", "raise"])
def test_after_events_are_fired_when_a_body_is_left(log, how):
    loop = TrainLoop(log=log, max_epoch=5)
    heard = schedule_of(loop)

    def train():
        with loop:
            for _ in loop.iter_epochs():
                for step, _ in loop.iter_steps("abc"):
                    if step == 2:
                        if how == "raise":
                            raise OSError("in the body")
                        break
                break

    if how == "raise":
        with pytest.raises(OSError, match="in the body"):
            train()
    else:
        train()
    assert [key for key, _, _ in heard if "time" not in key] == [
        "enter_loop", "before_epoch", "before_step", "after_step", "before_step", "after_step",
        "after_epoch", "exit_loop",
    ]  # fmt: skip


def fail(loop):
    raise OSError("in a handler")


def leave(loop, error=None):
    """Leave a body, by break or by an exception, with handlers that fail."""
    loop.events.on("after_step", fail)
    loop.events.on("exit_loop", fail)
    with loop:
        for _ in loop.iter_epochs():
            for _ in loop.iter_steps("ab"):
                if error is not None:
                    raise error
                break


def test_a_handler_that_fails_when_a_body_is_left_is_not_lost(log):
    with pytest.raises(OSError, match="in a handler"):
        leave(TrainLoop(log=log, max_epoch=2))


def test_a_handler_that_fails_does_not_hide_what_the_body_raised(log):
    with pytest.raises(KeyError, match="in the body") as caught:
        leave(TrainLoop(log=log, max_epoch=2), KeyError("in the body"))
    assert sum("in a handler" in note for note in caught.value.__notes__) == 2


def test_printed_statistics_are_frozen_and_never_empty(log):
    printed, times = [], []
    with TrainLoop(log=log, max_epoch=1, print_func=lambda line: None) as loop:
        loop.events.on("metric_stats_printed", lambda _, found: printed.append(found))
        loop.events.on("time_metric_stats_printed", lambda _, found: times.append(found))
        for _ in loop.iter_epochs():
            for _, x in loop.iter_steps([1.0, 3.0]):
                loop.collect_metrics(loss=x)
            loop.print_logs()
            loop.print_logs()
    assert len(printed) == len(times) == 1
    assert isinstance(printed[0]["loss"], Statistics)
    assert (printed[0]["loss"].mean, printed[0]["loss"].counter) == (2.0, 2)
    assert set(times[0]) == {"step_time", "data_time", "epoch_time"}


def test_times_and_metrics_are_told_apart(log):
    metrics, times = [], []
    with TrainLoop(log=log, max_epoch=1) as loop:
        loop.events.on("metrics_collected", lambda _, found: metrics.append(found))
        loop.events.on("time_metrics_collected", lambda _, found: times.append(found))
        for _ in loop.iter_epochs():
            for _ in loop.iter_steps("x"):
                with loop.timeit("forward"):
                    pass
                loop.collect_metrics({"loss": 1}, acc=np_half())
    assert metrics == [{"loss": 1.0, "acc": 0.5}]
    assert [next(iter(found)) for found in times] == [
        "data_time", "forward", "step_time", "epoch_time"
    ]  # fmt: skip


def np_half():
    import numpy as np

    return np.float32(0.5)
