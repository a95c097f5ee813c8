"""`TrainingLog`: what a log in memory has besides the contract."""

import gc
import json

import pandas as pd
import pytest

from traininglog import RunNotFound, TrainingLog


def test_a_row_is_a_dict_to_those_who_ask():
    log = TrainingLog()
    log[1].update(a=1, b=[1.5, None])
    log.resume()
    log[2].update(a=2)
    held = log[3]
    assert isinstance(held, dict)
    assert json.dumps(held) == "{}"
    held["a"] = 3
    assert json.dumps(held) == '{"a": 3}'
    assert json.dumps(log[1]) == '{"a": 1, "b": [1.5, null]}'
    assert json.loads(json.dumps(log)) == {
        "1": {"a": 1, "b": [1.5, None]}, "2": {"a": 2}, "3": {"a": 3},
    }  # fmt: skip
    assert {**held} == dict(held) == dict(**held) == {"a": 3}
    frame = pd.DataFrame.from_dict(log, orient="index")
    assert frame["a"].to_dict() == {1: 1, 2: 2, 3: 3}


def test_a_run_lives_as_long_as_somebody_holds_a_log_or_a_row_of_it():
    log = TrainingLog()
    uuid = log.uuid
    log[1]["x"] = 1
    row = log[1]
    del log
    gc.collect()
    row["x"] = 2
    found = dict(TrainingLog(uuid)[1])
    assert found == {"x": 2}
    del row
    gc.collect()
    with pytest.raises(RunNotFound):
        TrainingLog(uuid)
