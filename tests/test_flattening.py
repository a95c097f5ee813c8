"""`flatten`, and the errors that name it: a nested dict under a key is one value."""

import types

import pytest

import traininglog
from traininglog import InvalidKey, ReadOnlyValue, SQLiteLog, TrainingLog, ValueTypeError, flatten
from traininglog.loop.measures.metrics import number
from traininglog.monitors import LogMonitor
from traininglog.trials import TrialClient

NESTED = {"train": {"loss": 0.5, "norm": {0: 2.0}}, "lr": 0.1, "sizes": [1, 2]}
FLAT = {"train/loss": 0.5, "train/norm/0": 2.0, "lr": 0.1, "sizes": [1, 2]}


def test_nested_dicts_become_one():
    assert flatten(NESTED) == FLAT
    assert list(flatten(NESTED)) == list(FLAT)
    assert flatten(types.MappingProxyType(NESTED)) == FLAT
    assert flatten(NESTED, separator=".")["train.norm.0"] == 2.0
    assert flatten({}) == {}
    assert flatten({"a": {}}) == {}
    assert flatten(flatten(NESTED)) == FLAT
    assert flatten is traininglog.flatten
    assert "flatten" in traininglog.__all__


def test_a_monitor_makes_the_same_keys():
    log = TrainingLog()
    LogMonitor(log).write({"train": NESTED["train"], "lr": 0.1}, 1)
    assert log[1] == {key: FLAT[key] for key in FLAT if key != "sizes"} | {"step": 1.0}


def test_what_was_read_from_a_log_can_be_flattened(tmp_path):
    for log in (TrainingLog(), SQLiteLog(tmp_path / "runs.db")):
        log[1].update(NESTED)
        assert log[1] == NESTED  # a value, as it was assigned
        log[2].update(flatten(log[1]))
        assert log[2] == FLAT
        assert log.best("train/loss") == (2, 0.5)


def test_it_is_not_as_deep_as_python_can_call():
    deep = value = {}
    for _ in range(5000):
        value["a"] = {}
        value = value["a"]
    value["a"] = 1
    assert list(flatten(deep).values()) == [1]


def test_a_dict_may_stand_in_two_places_and_not_in_itself():
    shared = {"x": 1}
    assert flatten({"a": shared, "b": shared}) == {"a/x": 1, "b/x": 1}
    loop = {}
    loop["a"] = {"b": loop}
    with pytest.raises(ValueTypeError, match="'a/b' contains itself"):
        flatten(loop)


@pytest.mark.parametrize("clashing", [{"a/b": 1, "a": {"b": 2}}, {"1": 1, 1: 2}])
def test_two_values_under_one_name_are_refused(clashing):
    with pytest.raises(InvalidKey, match="rename one"):
        flatten(clashing)


@pytest.mark.parametrize("bad", [[("a", 1)], "a", None, 1])
def test_what_is_no_mapping_is_refused(bad):
    with pytest.raises(TypeError, match="takes a mapping"):
        flatten(bad)
    with pytest.raises(TypeError, match="separator"):
        flatten({}, separator=1)


def errors(log):
    """Give what is raised where a key holds dicts, and numbers were expected."""
    for act in (
        lambda: log.best("train"),
        lambda: log.last("train/loss"),
        lambda: log.to_dataframe("train/loss"),
        lambda: log.to_dataframe(index="train/loss"),
        lambda: log[:]["train/loss"],
        lambda: log[1]["train"].update(loss=1),
        lambda: log[1]["train"].__setitem__("loss", 1),
        lambda: number("train", log[1]["train"]),
        lambda: TrialClient("memory:").new_trial(parameters={}).log_metrics(train=log[1]["train"]),
    ):
        with pytest.raises((KeyError, TypeError, ValueError, ReadOnlyValue)) as caught:
            act()
        yield str(caught.value)


def test_errors_about_dicts_name_it_and_no_class_of_ours(tmp_path):
    for log in (TrainingLog(), SQLiteLog(tmp_path / "runs.db")):
        log[1]["train"] = {"loss": 0.5}
        for message in errors(log):
            assert "traininglog.flatten" in message, message
            assert "train/loss" in message
            assert "Frozen" not in message


def test_other_errors_do_not():
    log = TrainingLog()
    log[1].update(a="text", b=[1])
    for act in (lambda: log.best("a"), lambda: log.last("a/b"), lambda: log[1]["b"].append(2)):
        with pytest.raises((KeyError, ReadOnlyValue)) as caught:
            act()
        assert "flatten" not in str(caught.value)
