"""Values: those that a log takes, the form in which they come back, and those that it refuses."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from traininglog import ReadOnlyValue, TrainingLogBase, TrainingLogError, ValueTypeError
from traininglog.testing.conformance.fixtures import LogFixtures, OpenLog
from traininglog.testing.samples import ARRAYS, EXACT_VALUES, PLAIN_VALUES, REFUSED_VALUES, same


def _name(value: object) -> str:
    return type(value).__name__


class ValueConformance(LogFixtures):
    """The values of a log."""

    @pytest.mark.parametrize("value", EXACT_VALUES, ids=lambda value: repr(value)[:40])
    def test_values_come_back_exactly(self, log: TrainingLogBase, value: Any) -> None:
        log[1]["x"] = value
        log.status["x"] = value
        for _ in range(2):
            assert same(log[1]["x"], value)
            assert same(log.status["x"], value)
            assert same(log.to_dict()[1]["x"], value)
            log.flush()

    @pytest.mark.parametrize(
        ("value", "expected"), PLAIN_VALUES, ids=lambda value: repr(value)[:40]
    )
    def test_values_come_back_plain(self, log: TrainingLogBase, value: Any, expected: Any) -> None:
        log[1]["x"] = value
        log.status["x"] = value
        for _ in range(2):
            assert same(log[1]["x"], expected)
            assert same(log.status["x"], expected)
            log.flush()

    @pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
    def test_arrays_come_back_as_arrays(self, log: TrainingLogBase, array: Any) -> None:
        original = array.copy()
        log[1]["x"] = array
        log[1]["nested"] = {"inner": [array]}
        for _ in range(2):
            for found in (log[1]["x"], log[1]["nested"]["inner"][0]):
                assert same(found, original)
                with pytest.raises(ValueError, match=r"read-only|WRITEABLE"):
                    found[...] = array
            log.flush()

    @pytest.mark.parametrize(
        ("value", "error", "remedy"), REFUSED_VALUES, ids=lambda value: _name(value)
    )
    def test_values_it_refuses(
        self, log: TrainingLogBase, value: Any, error: type[Exception], remedy: str
    ) -> None:
        """The assignment raises, names a remedy, and leaves everything as it was."""
        log[1]["x"] = 0.5
        status = log.status.copy()
        acts: list[Callable[[], object]] = [
            lambda: log[1].__setitem__("x", value),
            lambda: log[2].update(good=1, bad=value),
            lambda: log.__setitem__(1, {"good": 1, "bad": value}),
            lambda: log.update({2: {"good": 1}, 3: {"bad": value}}),
            lambda: log.status.update(good=1, bad=value),
        ]
        for act in acts:
            with pytest.raises(error, match=remedy) as caught:
                act()
            assert isinstance(caught.value, TrainingLogError)
            assert len(str(caught.value)) < 300
        assert log == {1: {"x": 0.5}}
        assert log.status == status
        assert log.keys_seen() == ["x"]

    def test_a_library_s_scalar_is_taken_at_the_assignment(self, log: TrainingLogBase) -> None:
        class Tensor:
            def __init__(self, values: list[float]) -> None:
                self.values = values

            def item(self) -> float:
                (value,) = self.values
                return value

        loss = Tensor([0.5])
        log[1]["loss"] = loss
        loss.values[0] = 9.0
        assert same(log[1]["loss"], 0.5)
        with pytest.raises(ValueTypeError, match=r"detach\(\)\.cpu\(\)\.numpy\(\)"):
            log[1]["loss"] = Tensor([1.0, 2.0])
        assert same(log[1]["loss"], 0.5)

    def test_the_limit_on_size_is_an_option(self, open_log: OpenLog) -> None:
        log = open_log(max_value_bytes=100)
        log[1]["x"] = "x" * 100
        for value in ("x" * 101, b"x" * 101, "é" * 51, np.zeros(13), [0.0] * 20):
            with pytest.raises(TrainingLogError, match="100 bytes"):
                log[1]["x"] = value
        assert log[1]["x"] == "x" * 100

    def test_none_nan_and_absent_are_three_things(self, log: TrainingLogBase) -> None:
        log[1]["x"] = None
        log[2]["x"] = math.nan
        log[3]["y"] = 1.0
        for _ in range(2):
            assert log[1]["x"] is None
            assert math.isnan(log[2]["x"])
            assert "x" not in log[3]
            long = log.to_dataframe(layout="long")
            found = [(time, key, repr(value)) for time, key, value in long.itertuples(index=False)]
            assert found == [(1, "x", "None"), (2, "x", "nan"), (3, "y", "1.0")]
            log.flush()

    def test_what_is_read_is_not_a_handle(self, log: TrainingLogBase) -> None:
        given = [1, {"a": [2]}]
        log[1]["x"] = given
        log.status["x"] = given
        given.append(3)
        given[1]["a"].append(4)  # type: ignore[index]
        for _ in range(2):
            for found in (log[1]["x"], log.status["x"], log.to_dict()[1]["x"]):
                assert found == [1, {"a": [2]}]
                assert isinstance(found, list)
                for act in _changes(found):
                    with pytest.raises(ReadOnlyValue, match=r"assign a new one|work on a copy"):
                        act()
                assert list(found) == copy.deepcopy(found) == [1, {"a": [2]}]
                copy.deepcopy(found)[1]["a"].append(5)
                assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301 - our own
            log.flush()
        assert log[1]["x"] == [1, {"a": [2]}]
        log[1]["x"] += [3]
        assert log[1]["x"] == [1, {"a": [2]}, 3]


def _changes(found: Any) -> list[Callable[[], object]]:
    """Return ways to change [1, {"a": [2]}] in place."""
    return [
        lambda: found.append(3),
        lambda: found.extend([3]),
        lambda: found.insert(0, 3),
        lambda: found.__setitem__(0, 3),
        lambda: found.__delitem__(0),
        lambda: found.clear(),
        lambda: found.sort(),
        lambda: found.reverse(),
        lambda: found[1].update(b=1),
        lambda: found[1].__setitem__("a", 1),
        lambda: found[1].setdefault("b", 1),
        lambda: found[1].pop("a"),
        lambda: found[1]["a"].pop(),
    ]
