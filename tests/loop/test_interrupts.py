"""Signals end a training in good order; what was there before them is put back."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import notebooks
import pytest
from patience import GUARD

from traininglog import Store, TrainingLog
from traininglog.loop import TrainLoop
from traininglog.loop.checkpoint.folder import find
from traininglog.loop.stops import interrupts


@pytest.fixture
def loop(log):
    return TrainLoop(log=log, max_epoch=3, print_func=lambda line: None)


def train(loop, signals):
    """Train; `signals` are functions to call at steps. Return the steps that were taken."""
    taken = []
    with loop:
        for _ in loop.iter_epochs():
            for step, _ in loop.iter_steps(range(4)):
                taken.append(step)
                signals.get(step, int)()
    return taken


def test_the_first_sigint_finishes_the_epoch(loop, log, interrupt):
    assert train(loop, {2: interrupt}) == [1, 2, 3, 4]
    assert loop.stop_reason == "SIGINT"
    assert (log.status["stop_reason"], log.status["epochs_done"]) == ("SIGINT", 1)


def test_the_second_finishes_the_step(loop, log, interrupt):
    assert train(loop, {1: interrupt, 3: interrupt}) == [1, 2, 3]
    assert (log.status["iterations_done"], log.status["epochs_done"]) == (3, 0)


def test_the_third_is_a_keyboard_interrupt(loop, log, interrupt):
    def twice():
        interrupt()
        interrupt()
        raise AssertionError("not reached")

    with pytest.raises(KeyboardInterrupt):
        train(loop, {1: interrupt, 2: twice})
    assert loop.step == 2
    assert "KeyboardInterrupt" in log[2]["got_exception"]


def test_sigterm_finishes_the_step_and_leaves_a_checkpoint_at_once(tmp_path, interrupt):
    log, seen = TrainingLog(), []
    with TrainLoop(log=log, max_epoch=3, checkpoint_dir=tmp_path, print_func=str) as loop:
        for _ in loop.iter_epochs():
            for step, _ in loop.iter_steps(range(4)):
                if step == 2:
                    interrupt(signal.SIGTERM)
                    assert not list(tmp_path.glob("checkpoint-*"))  # the step is not done yet
            seen.append(find(tmp_path).facts["step"])  # already here, before all else
    assert (loop.step, loop.stop_reason, seen) == (2, "SIGTERM", [2])
    assert find(tmp_path).facts["ended"]["reason"] == "SIGTERM"
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-000001-step-2"]


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT], [signal.SIGINT] * 2])
@pytest.mark.parametrize("at", [2, 4, 5])
def test_a_signal_leaves_one_checkpoint_wherever_it_comes(tmp_path, interrupt, signals, at):
    """Two would push one that is wanted out of those that are kept. And it is gone on from."""
    values = {"w": 0.0}

    def train(log, stop):
        params = (lambda: dict(values), values.update)
        with TrainLoop(
            params, log=log, max_epoch=3, checkpoint_dir=tmp_path, print_func=str,
            early_stopping=True,
        ) as loop:  # fmt: skip
            for epoch in loop.iter_epochs():
                for step, _ in loop.iter_steps(range(4)):
                    values["w"] += 1
                    if step == stop:
                        for number in signals:
                            interrupt(number)
                loop.collect_metrics(valid_loss=10 - epoch)
        return loop

    log = TrainingLog()
    first = train(log, at)
    assert first.stop_reason in ("SIGTERM", "SIGINT")
    assert len(list(tmp_path.glob("checkpoint-*"))) == 1
    assert find(tmp_path).facts["ended"]["reason"] == first.stop_reason
    values["w"] = 0.0
    second = train(log, None)
    assert (second.epoch, second.step, values["w"]) == (3, 12, 12)


def test_previous_handlers_are_called_and_put_back(loop, interrupt):
    calls = []
    previous = signal.signal(signal.SIGTERM, lambda *_: calls.append("TERM"))
    try:
        mine = signal.getsignal(signal.SIGTERM)
        before = signal.getsignal(signal.SIGINT)
        assert train(loop, {2: lambda: interrupt(signal.SIGTERM)}) == [1, 2]
        assert calls == ["TERM"]
        assert signal.getsignal(signal.SIGTERM) is mine
        assert signal.getsignal(signal.SIGINT) is before
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_handlers_are_put_back_after_an_exception(loop):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def fail():
        raise OSError("in the body")

    with pytest.raises(OSError, match="in the body"):
        train(loop, {2: fail})
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_that_was_ignored_stays_ignored(loop, interrupt):
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert len(train(loop, {2: interrupt})) == 12
    finally:
        signal.signal(signal.SIGINT, previous)


def test_a_handler_that_the_program_sets_meanwhile_is_left_alone(loop):
    def mine(*_):
        pass

    previous = signal.getsignal(signal.SIGTERM)
    try:
        train(loop, {2: lambda: signal.signal(signal.SIGTERM, mine)})
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_they_are_left_alone_on_request(log, interrupt):
    loop = TrainLoop(log=log, max_epoch=3, handle_signals=False)
    with pytest.raises(KeyboardInterrupt):
        train(loop, {2: interrupt})
    assert loop.step == 2


def test_in_a_thread_nothing_is_installed(loop):
    before, taken = signal.getsignal(signal.SIGINT), []

    def look():
        taken.append(signal.getsignal(signal.SIGINT) is before)

    thread = threading.Thread(target=lambda: taken.extend(train(loop, {2: look})))
    thread.start()
    thread.join()
    assert taken == [True, *range(1, 13)]


def test_nested_loops_both_hear_of_it(open_log, interrupt):
    outer, inner = open_log(), open_log()
    with TrainLoop(log=outer, max_epoch=3, print_func=str) as loop:
        for _ in loop.iter_epochs():
            for _ in loop.iter_steps("ab"):
                if loop.step == 1:
                    nested = TrainLoop(log=inner, max_epoch=3, print_func=str)
                    train(nested, {2: interrupt})
    assert (nested.epoch, loop.epoch) == (1, 1)
    assert (nested.stop_reason, loop.stop_reason) == ("SIGINT", "SIGINT")


def test_what_a_signal_will_do_is_said_where_there_is_no_terminal(log, interrupt):
    lines = []
    train(TrainLoop(log=log, max_epoch=3, print_func=lines.append), {1: interrupt, 2: interrupt})
    assert lines == [
        "Interrupted: ends after this epoch; once more: after this step.",
        "Interrupted: ends after this step; once more: at once.",
    ]


PROGRAM = """
import sys, time
from traininglog.loop import TrainLoop
with TrainLoop(max_epoch=2, checkpoint_dir="c") as loop:
    for epoch in loop.iter_epochs():
        for step, _ in loop.iter_steps(range(10**6)):
            loop.collect_metrics(loss=1.0)
            if step == 3:
                print("here", flush=True)
            time.sleep(0.01)
print(loop.stop_reason, loop.step)
"""


def test_a_process_that_is_asked_to_end_ends_well(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        cwd=tmp_path, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "here\n"
    process.terminate()
    printed, _ = process.communicate(timeout=GUARD)
    assert process.returncode == 0
    reason, step = printed.splitlines()[-1].split()
    assert reason == "SIGTERM"
    assert find(tmp_path / "c").facts["step"] == int(step)
    with Store(tmp_path / "traininglog.db", readonly=True) as store:
        assert list(store.runs(heads=False)["state"]) == ["finished"]
        with store.log(store.latest(), readonly=True) as log:
            assert list(log) == list(range(1, int(step) + 1))
            assert log.status["stop_reason"] == "SIGTERM"


WORKERS = """
import multiprocessing, os, signal, time
from traininglog import TrainingLog
from traininglog.loop import TrainLoop

def work(pipe):
    pipe.send("begun")
    while True:
        pipe.send(pipe.recv() + 1)

fork = multiprocessing.get_context("fork")
with TrainLoop(log=TrainingLog(), max_epoch=3, progress=False) as loop:
    for epoch in loop.iter_epochs():
        ours, theirs = fork.Pipe()
        worker = fork.Process(target=work, args=(theirs,), daemon=True)
        worker.start()
        assert ours.recv() == "begun"
        for step, x in loop.iter_steps(range(4)):
            ours.send(x)
            assert ours.recv() == x + 1
            if step == 2:  # as Ctrl-C at a terminal, to all of the group
                os.kill(worker.pid, signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)
        worker.terminate()
        worker.join()
        assert worker.exitcode == -signal.SIGTERM, worker.exitcode
print(loop.stop_reason, loop.step)
"""


def test_forked_workers_go_on_until_the_training_ends_them():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WORKERS],
        capture_output=True, text=True, timeout=GUARD, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "SIGINT 4"
    assert done.stdout.count("Interrupted") == 1


def test_a_log_of_its_own_knows_that_it_failed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match="no"), TrainLoop(max_epoch=1):
        raise OSError("no")
    with Store(tmp_path / "traininglog.db", readonly=True) as store:
        assert list(store.runs(heads=False)["state"]) == ["failed"]


CELL = """
import os, signal
from traininglog import TrainingLog
from traininglog.loop import TrainLoop
taken = []
with TrainLoop(log=TrainingLog(), max_epoch=3, progress=False) as loop:
    for _ in loop.iter_epochs():
        for step, _ in loop.iter_steps(range(4)):
            if step == 2:
                os.kill(os.getpid(), signal.SIGINT)
            taken.append(step)
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ctrl_c_in_a_notebook_stops_the_cells_after_it(tmp_path, monkeypatch):
    """The training ends in good order first; then "Run all" learns of it."""
    nbclient = pytest.importorskip("nbclient")
    for name in notebooks.FOLDERS:
        monkeypatch.setenv(name, str(tmp_path))
    after = f"open({str(tmp_path / 'after')!r}, 'w').close()"
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="KeyboardInterrupt") as told:
        notebooks.outputs(CELL, after)
    assert "the training ended in good order after step 4" in str(told.value)
    assert not (tmp_path / "after").exists()


def test_outside_of_a_notebook_the_program_goes_on(loop, interrupt):
    assert train(loop, {2: interrupt}) == [1, 2, 3, 4]


def test_what_a_handler_before_ours_raises_is_raised_when_the_loop_has_been_left(log, interrupt):
    """Many programs exit in a handler: the step is done first, and so is all else."""
    done = []

    def leave(*_):
        raise SystemExit(7)

    loop = TrainLoop(log=log, max_epoch=3, print_func=str)
    previous = signal.signal(signal.SIGTERM, leave)
    try:
        with pytest.raises(SystemExit) as ended:
            train(loop, {2: lambda: (interrupt(signal.SIGTERM), done.append("the step"))})
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert ended.value.code == 7
    assert done == ["the step"]
    assert (loop.step, log.status["stop_reason"]) == (2, "SIGTERM")


def test_sighup_ends_the_step(loop, interrupt):
    """The terminal is gone, which ends other programs."""
    assert train(loop, {2: lambda: interrupt(signal.SIGHUP)}) == [1, 2]
    assert loop.stop_reason == "SIGHUP"


def test_a_handler_that_outlives_its_loop_does_as_before(log, interrupt):
    """Another handler, set within the loop, still calls ours when the loop has been left."""
    calls = []
    before = signal.signal(signal.SIGTERM, lambda *_: calls.append("before"))
    try:
        with TrainLoop(log=log, max_epoch=1, print_func=str):
            ours = signal.getsignal(signal.SIGTERM)
            signal.signal(signal.SIGTERM, lambda *given: (calls.append("over"), ours(*given)))
        interrupt(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert calls == ["over", "before"]


def test_data_that_does_not_come_is_not_waited_for_after_a_signal(log, interrupt, monkeypatch):
    """Whoever was to send it may have been ended by the same signal."""
    monkeypatch.setattr(interrupts, "PATIENCE", 0.05)
    never = threading.Event()

    def batches():
        yield from "ab"
        interrupt(signal.SIGTERM)
        never.wait(GUARD)

    seen = []
    with TrainLoop(log=log, max_epoch=3, print_func=str) as loop:
        for _ in loop.iter_epochs():
            for step, _ in loop.iter_steps(batches):
                seen.append(step)
    assert seen == [1, 2]
    assert (loop.step, loop.stop_reason) == (2, "SIGTERM")


def test_data_that_comes_late_after_a_signal_is_a_step_still(log, interrupt):
    def batches():
        yield "a"
        interrupt(signal.SIGTERM)
        yield "b"
        yield "c"

    seen = []
    with TrainLoop(log=log, max_epoch=3, print_func=str) as loop:
        for _ in loop.iter_epochs():
            for step, _ in loop.iter_steps(batches):
                seen.append(step)
    assert seen == [1, 2]


def test_data_that_fails_after_a_signal_ends_the_training_in_good_order(tmp_path, interrupt):
    """A worker that was to send it was ended by the same signal: a checkpoint is left."""

    def batches():
        yield "a"
        interrupt()
        raise EOFError("the worker is gone")

    lines = []
    with TrainLoop(
        log=TrainingLog(), max_epoch=3, checkpoint_dir=tmp_path, print_func=lines.append
    ) as loop:
        for _ in loop.iter_epochs():
            for _ in loop.iter_steps(batches):
                pass
    assert (loop.step, loop.stop_reason) == (1, "SIGINT")
    assert find(tmp_path).facts["step"] == 1
    assert any("SIGINT came, and the data ended: EOFError: the worker is gone" in x for x in lines)


def test_data_that_fails_without_a_signal_fails_the_training(loop):
    def batches():
        yield "a"
        raise EOFError("the file is short")

    def take():
        with loop:
            for _ in loop.iter_epochs():
                for _ in loop.iter_steps(batches):
                    pass

    with pytest.raises(EOFError, match="the file is short"):
        take()


def test_an_error_in_a_step_after_a_signal_says_that_one_came(loop, interrupt):
    """Workers that the step itself asks for something were ended by the same signal, perhaps."""

    def fail():
        interrupt(signal.SIGTERM)
        raise BrokenPipeError("the environment is gone")

    with pytest.raises(BrokenPipeError) as told:
        train(loop, {2: fail})
    assert "SIGTERM had come before" in told.value.__notes__[0]


def test_after_a_loop_workers_are_started_as_before(loop):
    from multiprocessing import util

    before = util.spawnv_passfds
    with loop:
        assert util.spawnv_passfds is not before
    assert util.spawnv_passfds is before
