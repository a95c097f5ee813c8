"""Interrupted anywhere and started again, a training ends as if nothing had happened."""

from __future__ import annotations

import json
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traininglog import RunNotFound, SQLiteLog, TrainingLog
from traininglog.loop import (
    CheckpointNotFound,
    CheckpointUnusable,
    Holder,
    NoBatches,
    NotPlain,
    TrainLoop,
)


class Program:
    """A training as a program would be: everything in it is made anew at each start."""

    def __init__(self, data="generator"):
        self.params = {"w": np.zeros(4)}
        self.rng = np.random.default_rng(7)
        self.shuffler = random.Random(5)
        random.seed(1)
        np.random.seed(2)
        self.objects = {"rng": self.rng, "shuffler": self.shuffler}
        self.data = {"generator": self.batches, "stateful": Stateful(), "list": list(range(6))}[
            data
        ]

    def batches(self):
        order = list(range(6))
        self.shuffler.shuffle(order)
        np.random.shuffle(order)
        yield from order

    def step(self, x):
        """Draw from every generator, as dropout would."""
        noise = self.rng.normal(size=4) + random.random() + np.random.rand(4)
        self.params["w"] *= 0.9
        self.params["w"] += noise * (x + 1)
        return float(np.abs(self.params["w"]).mean())

    def run(self, log, folder, stop=None, epochs=4, **options):
        """Train; `stop(loop)` may end it by raising, at the end of a step or an epoch."""
        options = {"checkpoint_epoch_freq": 1, "print_func": lambda line: None} | options
        with TrainLoop(
            self.params, log=log, max_epoch=epochs, checkpoint_dir=folder,
            checkpoint_save_objects=self.objects, **options,
        ) as loop:  # fmt: skip
            for _ in loop.iter_epochs():
                for _, x in loop.iter_steps(self.data):
                    loop.collect_metrics(loss=self.step(x))
                    if stop is not None:
                        stop(loop)
                loop.collect_metrics(valid_loss=float(np.abs(self.params["w"]).sum()))
        return loop


class Stateful:
    """Data that tells its own position, and forbids to be gone through again."""

    def __init__(self):
        self.epoch = self.position = 0
        self.given = []

    def __iter__(self):
        if self.position == 0:
            self.epoch += 1
        while self.position < 6:
            self.position += 1
            self.given.append((self.epoch, self.position))
            yield (self.epoch * 5 + self.position) % 7
        self.position = 0

    def state_dict(self):
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state):
        self.epoch, self.position = state["epoch"], state["position"]


class Killed(BaseException):
    """The process would be dead now."""


def columns(log):
    """Return what a log shows, but for times and where checkpoints are."""
    left_out = ("got_exception", "saved_to")
    return {
        step: {
            key: value for key, value in row.items() if "time" not in key and key not in left_out
        }
        for step, row in log.to_dict().items()
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    found = {}

    def undisturbed(data):
        if data not in found:
            program, log = Program(data), TrainingLog()
            program.run(log, tmp_path_factory.mktemp("whole"))
            found[data] = program.params["w"].tobytes(), columns(log), log.status.copy()
        return found[data]

    return undisturbed


def checkpoint_and_die(saved_at, dead_at):
    """Make a checkpoint after one step, and be killed at the end of a later one."""

    def stop(loop):
        if loop.step == saved_at:
            loop.make_checkpoint()
        if loop.step == dead_at:
            raise Killed

    return stop


@pytest.mark.parametrize("data", ["generator", "stateful", "list"])
@pytest.mark.parametrize("saved_at", [1, 5, 6, 7, 15, 23, 24])
def test_a_checkpoint_in_the_middle_of_an_epoch(open_log, tmp_path, undisturbed, data, saved_at):
    dead_at = min(saved_at + 2, 24)
    with pytest.raises(Killed):
        Program(data).run(open_log(), tmp_path / "c", checkpoint_and_die(saved_at, dead_at))
    program, log = Program(data), open_log()
    program.run(log, tmp_path / "c")
    params, rows, status = undisturbed(data)
    assert program.params["w"].tobytes() == params
    assert columns(log) == rows
    for key in ("iterations_done", "epochs_done", "_epoch_ends", "best"):
        assert log.status[key] == status[key]
    assert len(log.lineage()) == 2


@settings(max_examples=30)
@given(st.data())
def test_killed_any_number_of_times_anywhere(undisturbed, tmp_path_factory, data):
    """With checkpoints at any steps, and deaths at any steps."""
    kind = data.draw(st.sampled_from(["generator", "stateful"]))
    folder = tmp_path_factory.mktemp("any")
    logs = []  # a run in memory lives as long as some log holds it
    for _ in range(data.draw(st.integers(1, 4))):
        saves = data.draw(st.sets(st.integers(1, 24), max_size=5))
        dead_at = data.draw(st.integers(1, 24))

        def stop(loop, saves=saves, dead_at=dead_at):
            if loop.step in saves:
                loop.make_checkpoint()
            if loop.step == dead_at:
                raise Killed

        logs.append(TrainingLog())
        program = Program(kind)
        try:
            program.run(logs[-1], folder, stop, checkpoint_epoch_freq=data.draw(st.integers(1, 5)))
        except Killed:
            continue
        break
    else:
        logs.append(TrainingLog())
        program = Program(kind)
        program.run(logs[-1], folder)
    params, rows, status = undisturbed(kind)
    assert program.params["w"].tobytes() == params
    assert columns(logs[-1]) == rows
    assert logs[-1].status["_epoch_ends"] == status["_epoch_ends"]


def test_what_is_drawn_before_the_data_is_opened_does_not_matter(tmp_path, undisturbed):
    """A resumed program builds its things again, and draws in doing so."""
    first = TrainingLog()
    with pytest.raises(Killed):
        Program().run(first, tmp_path, checkpoint_and_die(9, 10))
    program = Program()
    with TrainLoop(
        program.params, log=TrainingLog(), max_epoch=4, checkpoint_dir=tmp_path,
        checkpoint_save_objects=program.objects, print_func=lambda line: None,
    ) as loop:  # fmt: skip
        np.random.rand(100), random.random(), program.rng.random(), program.shuffler.random()
        for _ in loop.iter_epochs():
            for _, x in loop.iter_steps(program.data):
                program.step(x)
    assert program.params["w"].tobytes() == undisturbed("generator")[0]


def test_stateful_data_is_not_gone_through_again(tmp_path):
    first = TrainingLog()
    with pytest.raises(Killed):
        Program("stateful").run(first, tmp_path, checkpoint_and_die(9, 10))
    program = Program("stateful")
    program.run(TrainingLog(), tmp_path)
    assert program.data.given[0] == (2, 4)


@pytest.mark.parametrize("how", ["killed", "stopped", "max_step"])
@pytest.mark.parametrize("at", [3, 6, 9, 12, 15])
def test_passes_that_were_done_are_passed_over(tmp_path, how, at):
    """With two passes over data in an epoch, whichever of them was interrupted."""
    kept = []

    def train(folder, stop=None, **options):
        program, seen = Program(), []
        kept.append(TrainingLog())
        with TrainLoop(
            program.params, log=kept[-1], max_epoch=2, checkpoint_dir=folder,
            checkpoint_save_objects=program.objects, print_func=lambda line: None, **options,
        ) as loop:  # fmt: skip
            for _ in loop.iter_epochs():
                for name in "ab":
                    for step, x in loop.iter_steps(program.batches):
                        seen.append((name, step))
                        program.step(x)
                        if stop:
                            stop(loop)
        return program.params["w"].tobytes(), seen

    def request(loop):
        if loop.step == at:
            loop.request_stop()

    whole, all_seen = train(tmp_path / "whole")
    if how == "killed":
        with pytest.raises(Killed):
            train(tmp_path / "again", checkpoint_and_die(at, at + 1))
    else:
        limits = {"max_step": at} if how == "max_step" else {"stop": request}
        assert train(tmp_path / "again", **limits)[1] == all_seen[:at]
    params, seen = train(tmp_path / "again", resume_from="last")
    assert params == whole
    assert seen == all_seen[at:]


def test_max_step_in_the_middle_of_an_epoch_and_more_afterwards(open_log, tmp_path, undisturbed):
    program, log = Program(), open_log()
    program.run(log, tmp_path / "c", max_step=9)
    assert log.status["_epoch_ends"] == [6]
    program, log = Program(), open_log()
    program.run(log, tmp_path / "c")
    params, rows, _ = undisturbed("generator")
    assert program.params["w"].tobytes() == params
    found = columns(log)
    assert found[9].pop("valid_loss")  # measured when the first one ended
    assert found == rows


def test_a_longer_training_goes_on_from_the_end_of_a_shorter_one(open_log, tmp_path, undisturbed):
    program, first = Program(), open_log()
    program.run(first, tmp_path / "c", epochs=2)
    random.random(), program.rng.random()  # a look at the results
    program, log = Program(), open_log()
    program.run(log, tmp_path / "c")
    params, rows, _ = undisturbed("generator")
    assert program.params["w"].tobytes() == params
    assert columns(log) == rows


def test_the_row_of_a_step_tells_where_its_checkpoint_is(open_log, tmp_path):
    """Those that are due, those that were asked for, and that of the end; a child sees them all."""
    log = open_log()
    with pytest.raises(Killed):
        Program().run(log, tmp_path / "c", checkpoint_and_die(15, 16))
    told = {step: row["saved_to"] for step, row in log.to_dict().items() if "saved_to" in row}
    assert [(step, Path(path).name) for step, path in told.items()] == [
        (6, "checkpoint-000001-step-6"),
        (12, "checkpoint-000002-step-12"),
        (15, "checkpoint-000003-step-15"),
    ]
    child = open_log()
    Program().run(child, tmp_path / "c", restore_checkpoint=told[12])
    assert child.status["loaded_from"] == told[12]
    steps = [step for step, row in child.to_dict().items() if "saved_to" in row]
    assert steps == [6, 12, 18, 24]
    for step in (18, 24):
        path = Path(child[step]["saved_to"])
        assert path.parent == tmp_path / "c"
        assert path.name.endswith(f"-step-{step}")


def test_of_several_checkpoints_of_a_step_its_row_tells_the_last(tmp_path):
    log, made = TrainingLog(), []
    with TrainLoop(log=log, checkpoint_dir=tmp_path, progress=False, max_epoch=1) as loop:
        for _ in loop.iter_epochs():
            made.extend(loop.make_checkpoint() for _ in loop.iter_steps(range(2)))
            made.append(loop.make_checkpoint())
    (newest,) = (path for path in tmp_path.iterdir() if path.name.startswith("checkpoint-000004"))
    assert log[1]["saved_to"] == str(made[0])
    assert log[2]["saved_to"] == str(newest)  # that of the end of the training


# -- choosing, and refusing -----------------------------------------------------------------


def test_a_checkpoint_may_be_named(tmp_path):
    log = TrainingLog()
    Program().run(log, tmp_path)
    path = next(tmp_path.glob("*-step-12"))
    for place in (path, str(path)):
        program, lines = Program(), []
        loop = program.run(TrainingLog(), None, epochs=2, restore_checkpoint=place,
                           checkpoint_epoch_freq=None, print_func=lines.append)  # fmt: skip
        assert (loop.epoch, loop.step) == (2, 12)
        assert lines == [f"Resume training: epoch 2, step 12, from {path}."]
    with pytest.raises(CheckpointNotFound):
        Program().run(TrainingLog(), tmp_path, restore_checkpoint=tmp_path / "nowhere")


def test_a_new_training_in_an_old_folder_is_a_new_training(tmp_path):
    log = TrainingLog()
    Program().run(log, tmp_path)
    old = set(tmp_path.iterdir())
    loop = Program().run(TrainingLog(), tmp_path, epochs=3, restore_checkpoint=False,
                         checkpoint_max_to_keep=1)  # fmt: skip
    assert loop.step == 18
    assert old < set(tmp_path.iterdir())  # another training's checkpoints are not removed
    assert len(set(tmp_path.iterdir()) - old) == 1


def test_what_was_not_saved_is_refused_by_name(tmp_path):
    log = TrainingLog()
    Program().run(log, tmp_path)
    program = Program()
    program.objects["optimizer"] = {"momentum": np.zeros(4)}
    with pytest.raises(CheckpointUnusable, match="has nothing for optimizer: leave out"):
        program.run(TrainingLog(), tmp_path)
    del program.objects["optimizer"], program.objects["rng"]
    program.run(TrainingLog(), tmp_path)  # fewer is well


def test_another_model_is_refused(tmp_path):
    log = TrainingLog()
    Program().run(log, tmp_path)
    program = Program()
    program.params["w"] = np.zeros(5)
    with pytest.raises(CheckpointUnusable, match=r"params/w has the shape \(5,\)"):
        program.run(TrainingLog(), tmp_path)


def test_a_log_in_another_store_is_refused_with_a_remedy(tmp_path):
    with SQLiteLog(tmp_path / "one.db") as log:
        Program().run(log, tmp_path / "c")
    with (
        SQLiteLog(tmp_path / "two.db") as log,
        pytest.raises(RunNotFound, match=r"one\.db; give the loop a log in that store"),
    ):
        Program().run(log, tmp_path / "c")


def test_an_object_that_is_not_plain_is_told_when_it_is_saved(tmp_path):
    class Odd:
        def state_dict(self):
            return {"rules": range(3)}

        def load_state_dict(self, state):
            self.rules = state["rules"]

    def train(odd, **options):
        logs.append(TrainingLog())
        with TrainLoop(log=logs[-1], max_epoch=1, checkpoint_dir=tmp_path, print_func=str,
                       checkpoint_save_objects={"odd": odd}, **options) as loop:  # fmt: skip
            for _ in loop.iter_epochs():
                for _ in loop.iter_steps("ab"):
                    pass

    logs = []
    with pytest.raises(NotPlain, match="a range at now/objects/odd/rules"):
        train(Odd())
    assert not list(tmp_path.iterdir())
    train(Odd(), serializer=(pickle.dumps, pickle.loads))
    odd = Odd()
    train(odd, serializer=(pickle.dumps, pickle.loads))
    assert odd.rules == range(3)
    with pytest.raises(CheckpointUnusable, match="give the loop the same serializer"):
        train(Odd())


def test_a_manifest_is_plain_json(tmp_path):
    log = TrainingLog()
    Program().run(log, tmp_path)
    path = max(tmp_path.iterdir())
    manifest = json.loads((path / "manifest.json").read_text())
    assert (manifest["epoch"], manifest["step"], manifest["run"]) == (4, 24, log.h_uuid)
    assert manifest["ended"] == {"reason": "max_epoch", "stopped": False, "params_source": "last"}
    with np.load(path / "part-0.npz", allow_pickle=False) as arrays:
        assert len(arrays) == manifest["parts"]["now"]["arrays"]


def test_data_that_has_become_shorter_is_told(tmp_path):
    log, program = TrainingLog(), Program("list")
    with pytest.raises(Killed):
        program.run(log, tmp_path, checkpoint_and_die(5, 5))
    program = Program("list")
    program.data = [1, 2, 3]
    with pytest.raises(NoBatches, match="the data ends before batch 5"):
        program.run(TrainingLog(), tmp_path)


def test_a_tree_that_cannot_be_changed_is_held(tmp_path):
    def train(epochs):
        params = Holder((0.0, {"step": 0}))
        logs.append(TrainingLog())
        with TrainLoop(params, log=logs[-1], max_epoch=epochs, checkpoint_dir=tmp_path,
                       print_func=str) as loop:  # fmt: skip
            for _ in loop.iter_epochs():
                for _ in loop.iter_steps("ab"):
                    value, state = params.value
                    params.value = (value + 0.5, {"step": state["step"] + 1})
        return params.value

    logs = []
    train(2)
    assert train(3) == (3.0, {"step": 6})


def test_data_that_stands_at_its_end_when_an_epoch_begins_begins_anew(tmp_path):
    class AtItsEnd(Stateful):
        """Keeps the position of its end until it is asked for more, as some loaders do."""

        def __iter__(self):
            if self.position >= 6:
                self.position = 0
                return
            while self.position < 6:
                self.position += 1
                yield self.position
            self.position = 6 if self.ends else 0

        ends = True

        def state_dict(self):
            return {"epoch": 0, "position": 6}

    def train(epochs):
        data, log = AtItsEnd(), TrainingLog()
        data.ends = False
        logs.append(log)
        with TrainLoop(log=log, max_epoch=epochs, checkpoint_dir=tmp_path, print_func=str) as loop:
            for _ in loop.iter_epochs():
                for _, x in loop.iter_steps(data):
                    loop.collect_metrics(x=x)
        return loop.step

    logs = []
    assert train(1) == 6
    assert train(2) == 12
    assert [row["x"] for row in logs[-1].values()] == [1, 2, 3, 4, 5, 6] * 2
