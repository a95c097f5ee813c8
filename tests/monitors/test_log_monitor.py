"""What a trainer tells becomes rows of a log, on every store alike."""

import math
import re
from collections import OrderedDict
from enum import StrEnum
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traininglog import (
    ConfigurationError,
    InvalidKey,
    LogClosed,
    TrainingLog,
    ValueTypeError,
    open_log,
)
from traininglog.monitors import BLACKLIST, LogMonitor
from traininglog.monitors.flattening import Flattener, pick, scalar


class Tensor:
    """Has what a tensor on an accelerator has: no `__array__`, no `item()` of several elements."""

    def __init__(self, values, graph=None):
        self.values, self.graph = np.asarray(values), graph
        self.shape = self.values.shape

    def item(self):
        if self.values.size != 1:
            raise RuntimeError("a Tensor with several elements cannot be converted to Scalar")
        return self.values.item()

    def detach(self):
        return Tensor(self.values)

    def cpu(self):
        assert self.graph is None, "detach() first"
        return self

    def is_complex(self):
        return self.values.dtype.kind == "c"

    def double(self):
        return Tensor(self.values.astype("float64"))

    def mean(self):
        return Tensor(self.values.mean() if self.values.size else math.nan)


# -- rows ---------------------------------------------------------------------------------------


def test_every_write_is_a_row_at_the_next_time(log):
    monitor = LogMonitor(log)
    for step in (1, 1.5, 2, 40):
        monitor.write({"loss": 1 / step}, step)
    assert log == {
        1: {"step": 1, "loss": 1.0},
        2: {"step": 1.5, "loss": 1 / 1.5},
        3: {"step": 2, "loss": 0.5},
        4: {"step": 40, "loss": 0.025},
    }


def test_a_log_with_rows_is_gone_on_with(log):
    log[7]["loss"] = 0.5
    monitor = LogMonitor(log)
    monitor.write({"loss": 0.25}, 1)
    assert log == {7: {"loss": 0.5}, 8: {"step": 1, "loss": 0.25}}


def test_a_write_without_data_still_says_its_step(log):
    LogMonitor(log).write({}, 3)
    assert log == {1: {"step": 3}}


def test_nested_dicts_are_flattened(log):
    LogMonitor(log).write(
        {
            "loss": 0.5,
            "model": {"norm": 2.0, "layers": {0: {"grad": 0.1}, 1: {"grad": 0.2}}},
            "nothing": {},
            "frozen": MappingProxyType({"x": 1}),
            "ordered": OrderedDict(y=2),
        },
        1,
    )
    assert log[1] == {
        "step": 1, "loss": 0.5, "model/norm": 2.0, "model/layers/0/grad": 0.1,
        "model/layers/1/grad": 0.2, "frozen/x": 1, "ordered/y": 2,
    }  # fmt: skip


def test_keys_that_are_no_texts_become_texts(log):
    class Phase(StrEnum):
        TRAIN = "train"

    LogMonitor(log).write({3: 1.0, ("a", 1): 2.0, None: 3.0, Phase.TRAIN: 4.0}, 1)
    assert log[1] == {"step": 1, "3": 1.0, "('a', 1)": 2.0, "None": 3.0, "train": 4.0}


@pytest.mark.parametrize(
    "data",
    [
        {"a": {"b": 1.0}, "a/b": 2.0},
        {"a/b": 2.0, "a": {"b": 1.0}},
        {1: 1.0, "1": 2.0},
        {"a": {"b": {"c": 1.0}}, "a/b": {"c": 2.0}},
    ],
)
def test_two_values_under_one_name_are_refused(log, data):
    monitor = LogMonitor(log)
    for _ in range(2):
        with pytest.raises(InvalidKey, match="two values would stand under"):
            monitor.write(data, 1)
    assert len(log) == 0
    monitor.write({"loss": 1.0}, 1)
    assert log == {1: {"step": 1, "loss": 1.0}}


def test_the_step_of_the_write_is_the_step_of_the_row(log):
    LogMonitor(log).write({"step": 17, "loss": 1.0}, 3)
    assert log[1] == {"step": 3, "loss": 1.0}


def test_the_callers_dict_is_not_changed(log):
    data = {"loss": np.float32(1.0), "model": {"norm": 2.0}, "training_inputs": [1]}
    inner, before = data["model"], dict(data)
    LogMonitor(log).write(data, 1)
    assert data == before
    assert data["model"] is inner
    assert inner == {"norm": 2.0}
    assert list(data) == list(before)


def test_other_values_are_what_the_log_makes_of_them(log):
    LogMonitor(log).write({"text": "x", "none": None, "yes": True, "n": 3, "l": [1, 2]}, 1)
    assert log[1] == {"step": 1, "text": "x", "none": None, "yes": True, "n": 3, "l": [1, 2]}
    assert log[1]["yes"] is True
    assert type(log[1]["n"]) is int


def test_a_refused_value_is_named_and_nothing_is_written(log):
    monitor = LogMonitor(log)
    with pytest.raises(ValueTypeError, match="a set cannot be stored") as raised:
        monitor.write({"loss": 1.0, "model": {"seen": {1, 2}}}, 1)
    assert "'model/seen'" in raised.value.__notes__[0]
    monitor.write({"loss": 1.0}, 1)
    assert log == {1: {"step": 1, "loss": 1.0}}


@pytest.mark.parametrize("step", ["1", None, True, [1], 1j])
def test_a_step_that_is_no_number_is_refused(log, step):
    with pytest.raises(TypeError, match="a step is a number"):
        LogMonitor(log).write({}, step)


@pytest.mark.parametrize("step", [-1, -0.5, math.nan, math.inf])
def test_a_step_that_does_not_count_is_refused(log, step):
    with pytest.raises(ValueError, match="a step is a finite number"):
        LogMonitor(log).write({}, step)


def test_a_step_may_be_of_any_library(log):
    monitor = LogMonitor(log)
    for step in (np.int64(1), np.float32(1.5), Tensor(2)):
        monitor.write({}, step)
    assert [row["step"] for row in log.values()] == [1, 1.5, 2]


def test_large_steps_are_exact(log):
    monitor = LogMonitor(log)
    for step in (2**24 + 1, 2**53 + 1, 2**62 + 1):
        monitor.write({}, step)
    assert [row["step"] for row in log.values()] == [2**24 + 1, 2**53 + 1, 2**62 + 1]


@pytest.mark.parametrize("data", [None, 3.0, [("loss", 1.0)], "loss"])
def test_data_that_is_no_mapping_is_refused(log, data):
    with pytest.raises(TypeError, match="data is a mapping from names to values"):
        LogMonitor(log).write(data, 1)


def test_what_is_no_log_is_refused_when_the_monitor_is_made():
    with pytest.raises(TypeError, match=r"not to a str: LogMonitor\(open_log"):
        LogMonitor("runs.db")


def test_a_closed_log_raises(place):
    with open_log(place) as log:
        monitor = LogMonitor(log)
    with pytest.raises(LogClosed):
        monitor.write({"loss": 1.0}, 1)


# -- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array(0.5), 0.5),
        (np.array([[3]]), 3),
        (np.array([1.0, 2.0, 6.0]), 3.0),
        (np.array([[1, 2], [3, 4]]), 2.5),
        (np.array([True, False]), 0.5),
        (np.array([60000, 60000], dtype="float16"), 60000.0),
        (np.array([np.inf, -np.inf]), math.nan),
        (np.array([]), math.nan),
        (Tensor(0.5, graph="held"), 0.5),
        (Tensor([7]), 7),
        (Tensor([1, 2, 6], graph="held"), 3.0),
        (Tensor([]), math.nan),
    ],
)
def test_tensors_and_arrays_become_numbers_at_any_depth(log, value, number):
    LogMonitor(log).write({"x": value, "deep": {"deeper": {"x": value}}}, 1)
    for key in ("x", "deep/deeper/x"):
        found = log[1][key]
        assert type(found) in (float, int, bool)
        assert found == number or (math.isnan(found) and math.isnan(number))


def test_a_torch_tensor_becomes_a_number(log):
    torch = pytest.importorskip("torch")
    weight = torch.tensor([1.0, 2.0, 6.0], requires_grad=True)
    LogMonitor(log).write(
        {
            "loss": (weight * 2).sum(), "each": weight * 2, "ints": torch.tensor([1, 2]),
            "half": torch.tensor([1.0, 2.0], dtype=torch.bfloat16), "one": torch.tensor([[5]]),
        },
        1,
    )  # fmt: skip
    assert log[1] == {"step": 1, "loss": 18.0, "each": 6.0, "ints": 1.5, "half": 1.5, "one": 5}


@pytest.mark.parametrize(
    "value",
    [
        np.array([None, 1], dtype=object),
        np.ma.masked_array([1.0, 2.0], mask=[True, False]),
        Tensor([1 + 2j, 3]),
    ],
)
def test_what_has_no_real_mean_is_refused_by_the_log(value):
    with pytest.raises(ValueTypeError):
        LogMonitor(TrainingLog()).write({"x": value}, 1)


@pytest.mark.parametrize(
    "value", [np.array([1 + 2j, 3]), np.array(["a", "b"]), np.array([1, 2], dtype="datetime64[D]")]
)
def test_an_array_of_other_things_than_numbers_stays_what_it_is(value):
    assert scalar(value) is value


# -- what is left out ---------------------------------------------------------------------------


class Untouchable:
    """Fails whatever is done with it."""

    def __getattr__(self, name):
        pytest.fail(f"{name} of a value was looked at that is left out")


def test_batches_are_left_out_at_any_depth_and_not_looked_at(log):
    monitor = LogMonitor(log)
    for step in (1, 2):
        monitor.write(
            {
                "training_loss": 0.5,
                "training_inputs": Untouchable(),
                "validation_targets": {"x": 1.0, "y": {"z": 2.0}},
                "model": {"head_outputs": Untouchable(), "norm": 1.0},
                "inputs_seen": 64,
            },
            step,
        )
        assert log[step] == {
            "step": step, "training_loss": 0.5, "model/norm": 1.0, "inputs_seen": 64,
        }  # fmt: skip


@pytest.mark.parametrize(
    ("blacklist", "kept"),
    [
        ([], {"loss", "lr", "model/lr", "model/norm", "5"}),
        ("lr", {"loss", "model/norm", "5"}),
        (["^lr$"], {"loss", "model/norm", "5"}),
        (["^model/"], {"loss", "lr", "5"}),
        (["^model$", re.compile("LOSS", re.IGNORECASE)], {"lr", "5"}),
        ([r"^\d+$"], {"loss", "lr", "model/lr", "model/norm"}),
    ],
)
def test_a_pattern_is_searched_for_in_names_and_paths(log, blacklist, kept):
    monitor = LogMonitor(log, blacklist)
    data = {"loss": 1.0, "lr": 0.1, "model": {"lr": 0.2, "norm": 3.0}, 5: 5.0}
    for step in (1, 2):
        monitor.write(data, step)
        assert set(log[step]) == kept | {"step"}


def test_a_pattern_that_is_none_is_refused_when_the_monitor_is_made(log):
    for blacklist in (["("], [3], "["):
        with pytest.raises(ConfigurationError, match="no regular expression"):
            LogMonitor(log, blacklist)


def test_the_default_says_what_batches_are():
    assert all(
        any(re.search(pattern, name) for pattern in BLACKLIST)
        for name in ("training_inputs", "test_outputs", "validation_targets")
    )


# -- sessions -----------------------------------------------------------------------------------


def test_steps_start_anew_in_a_session_and_count_on_in_the_log(log):
    monitor = LogMonitor(log)
    for steps in ([0.5, 1, 1.5], [0.5, 1], [1, 2]):
        with monitor.session(len(steps)):
            for step in steps:
                monitor.write({}, step)
    assert [row["step"] for row in log.values()] == [0.5, 1, 1.5, 2.5, 3, 4, 5]


def test_sessions_without_a_write_leave_no_trace(log):
    monitor = LogMonitor(log)
    monitor.start_session(3)
    monitor.write({}, 3)
    for _ in range(4):
        monitor.start_session(3)
    monitor.write({}, 1)
    assert [row["step"] for row in log.values()] == [3, 4]


def test_who_counts_from_zero_has_no_step_twice(log):
    monitor = LogMonitor(log)
    for _ in range(2):
        with monitor.session(3):
            for step in range(3):
                monitor.write({}, step)
    assert [row["step"] for row in log.values()] == [0, 1, 2, 3, 4, 5]


def test_another_monitor_of_the_log_counts_on(place):
    with open_log(place) as log:
        with (first := LogMonitor(log)).session(2):
            first.write({}, 1)
            first.write({}, 2)
        with (second := LogMonitor(log)).session(1):
            second.write({}, 1)
        assert [row["step"] for row in log.values()] == [1, 2, 3]


def test_rows_of_others_behind_those_of_the_monitor_do_not_matter(log):
    monitor = LogMonitor(log)
    with monitor.session(2):
        monitor.write({}, 1)
        monitor.write({}, 2)
    log[10]["note"] = "said by someone else"
    with monitor.session(1):
        monitor.write({}, 1)
    assert log[11] == {"step": 3}


def test_steps_that_no_monitor_wrote_are_not_counted(log):
    log[1]["step"] = "warm-up"
    with (monitor := LogMonitor(log)).session(1):
        monitor.write({}, 1)
    assert log[2] == {"step": 1}


def test_without_a_session_steps_are_what_they_are_given_as(log):
    log[9]["step"] = 9.0
    LogMonitor(log).write({}, 10)
    assert log[10]["step"] == 10


def test_after_a_resume_it_goes_on_behind_the_resume_point(log):
    monitor = LogMonitor(log)
    with monitor.session(10):
        for step in range(1, 11):
            monitor.write({"loss": 1 / step}, step)
            if step == 6:
                state = log.state_dict()
    log.load_state_dict(state)
    with monitor.session(4):
        for step in range(1, 5):
            monitor.write({"loss": 0.0}, step)
    assert list(log) == list(range(1, 11))
    assert [row["step"] for row in log.values()] == list(range(1, 11))


def test_a_log_resumed_within_a_session_is_followed(log):
    monitor = LogMonitor(log)
    with monitor.session(3):
        for step in range(1, 4):
            monitor.write({}, step)
    with monitor.session(10):
        for step in range(1, 9):
            monitor.write({}, step)
        log.resume(at=5)
        monitor.write({"note": "again"}, 3)
    assert list(log) == [1, 2, 3, 4, 5, 6]
    assert log[6] == {"step": 6, "note": "again"}


# -- properties ---------------------------------------------------------------------------------

KEYS = st.one_of(st.text(min_size=1, max_size=4).filter(lambda key: "/" not in key), st.integers())
TREES = st.recursive(
    st.floats(), lambda inner: st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


def leaves(tree, path=()):
    for key, value in tree.items():
        here = (*path, str(key))
        if isinstance(value, dict):
            yield from leaves(value, here)
        else:
            yield "/".join(here), value


@given(st.dictionaries(KEYS, TREES, max_size=5))
def test_flattening_loses_nothing_and_says_where_two_names_are_one(data):
    flatten = Flattener(())
    expected = list(leaves(data))
    for _ in range(2):  # the second time it knows the names
        if len(dict(expected)) < len(expected):
            with pytest.raises(InvalidKey):
                flatten(data)
        else:
            flat = flatten(data)
            assert list(map(repr, flat.items())) == list(map(repr, expected))


@given(st.lists(st.lists(st.integers(1, 20), max_size=5).map(sorted), max_size=6))
def test_steps_of_all_sessions_ascend(sessions):
    log = TrainingLog()
    monitor = LogMonitor(log)
    for steps in sessions:
        with monitor.session(len(steps)):
            for step in steps:
                monitor.write({}, step / 4)
    found = [row["step"] for row in log.values()]
    assert found == sorted(found)
    done = sum(math.ceil(steps[-1] / 4) for steps in sessions if steps)
    assert math.ceil(found[-1] if found else 0) == done


def test_many_different_keys_take_no_memory_for_ever():
    flatten = Flattener()
    for number in range(20_000):
        assert flatten({f"key_{number}": 1.0, "group": {number: 2.0}, number: {"x": 1.0}})
    assert sum(map(len, flatten._names.values())) + len(flatten._known) < 20_000


def test_a_metric_is_picked_by_key_or_path():
    data = {"a": {"b": {"c": 1.0}, "b/c": 2.0}, "a/x": {"y": np.array([3.0])}, "n": None}
    assert pick(data, "a/b/c") == 2.0  # a key as it stands comes first
    assert pick(data, "a/x/y") == 3.0
    assert pick(data, "n") is None
    assert pick(data, "a/q") is None
