"""What a run is called and was started with, said when its log is opened."""

import argparse
import dataclasses
import enum
import pickle
import sys
from pathlib import Path
from types import MappingProxyType, ModuleType, SimpleNamespace

import numpy as np
import pytest
from own_store import DictStore

from traininglog import SQLiteLog, Store, TrainingLog, open_log
from traininglog.errors import ValueTooLarge, ValueTypeError
from traininglog.identity import LONGEST_NAME, described
from traininglog.journaled import JournaledLog
from traininglog.values import MAX_VALUE_BYTES


@dataclasses.dataclass
class Optim:
    lr: float = 0.1
    betas: tuple = (0.9, 0.999)


class Size(enum.Enum):
    SMALL = 1


ABOUT = {
    "name": "baseline", "config": {"optim": Optim(), "seed": 3}, "tags": ["paper", "v2"],
    "notes": "as in the paper\nbut shorter", "groups": "ablation",
}  # fmt: skip
STATUS = {
    "name": "baseline", "config": {"optim": {"lr": 0.1, "betas": [0.9, 0.999]}, "seed": 3},
    "tags": {"paper": True, "v2": True}, "notes": "as in the paper\nbut shorter",
    "groups": ["ablation"],
}  # fmt: skip


@pytest.fixture(params=["memory:", "sqlite", "json"])
def opened(request, tmp_path):
    """Return a function that opens a log in a store of each kind."""
    if request.param == "memory:":
        return lambda *uuid, **options: open_log("memory:", *uuid, **options)
    if request.param == "sqlite":
        return lambda *uuid, **options: open_log(tmp_path / "runs.db", *uuid, **options)
    shelf = DictStore(tmp_path / "shelf")
    return lambda *uuid, **options: JournaledLog(shelf, *uuid, **options)


def about(log):
    return {key: log.status[key] for key in STATUS if key in log.status}


def test_it_is_in_the_status_of_the_run(opened):
    with opened(**ABOUT) as log:
        assert about(log) == STATUS
        log[1]["loss"] = 0.5
        assert about(log) == STATUS


def test_a_child_inherits_it_but_not_that_it_was_put_aside(opened):
    with opened(**ABOUT) as log:
        log[1]["loss"] = 0.5
        log.goal("loss", "min")
        log.status["archived"] = True
        state = log.state_dict()
        log.resume()
        assert about(log) == STATUS
        assert log.status["goals"] == {"loss": "min"}
        assert "archived" not in log.status
        log.load_state_dict(state)
        assert about(log) == STATUS
        assert "archived" not in log.status


def test_what_a_script_says_holds_for_the_run_that_it_goes_on_with(opened):
    with opened(**ABOUT) as first:
        first[1]["loss"] = 0.5
        state = first.state_dict()
        with opened(config={"lr": 0.01}, tags="again") as log:
            log.load_state_dict(state)
            assert log.status["config"] == {"lr": 0.01}
            assert log.status["tags"] == {"again": True}
            assert log.status["name"] == "baseline"
            assert log[1]["loss"] == 0.5
        assert about(first) == STATUS, "the run before keeps its own"


def test_for_a_run_that_is_there_it_replaces_what_it_has(opened):
    with opened(**ABOUT) as log:
        log[1]["loss"] = 0.5
        uuid = log.uuid
        log.flush()
        if isinstance(log, TrainingLog):
            again = opened(uuid, name="renamed")
            assert again.status["name"] == "renamed"
            return
    with opened(uuid, name="renamed") as log:
        assert about(log) == STATUS | {"name": "renamed"}
    with opened(uuid, resume=True, notes="a child") as log:
        assert about(log) == STATUS | {"name": "renamed", "notes": "a child"}
    with pytest.raises(ValueError, match="name is written: leave out readonly=True"):
        opened(uuid, readonly=True, name="x")


def test_it_is_what_lists_show(tmp_path):
    path = tmp_path / "runs.db"
    with SQLiteLog(path, **ABOUT) as log:
        log[1]["loss"] = 0.5
        assert pickle.loads(pickle.dumps(log)).status["name"] == "baseline"
    with Store(path) as store:
        (info,) = store.iter_runs(where="'paper' in tags and config.optim.lr == 0.1")
        assert info.groups == ("ablation",)
        assert info.notes == ABOUT["notes"]
        child = store.log(info.uuid, resume=True, tags=["child"])
        assert child.status["tags"] == {"child": True}
        child.close()


# -- configurations ---------------------------------------------------------------------------


def config(value):
    return described({"config": value})["config"]


def test_a_configuration_may_be_of_any_usual_form():
    assert config(Optim()) == {"lr": 0.1, "betas": [0.9, 0.999]}
    assert config(argparse.Namespace(lr=0.1, inner=Optim())) == {
        "lr": 0.1, "inner": {"lr": 0.1, "betas": [0.9, 0.999]},
    }  # fmt: skip
    assert config({"steps": [Optim(1.0, ()), {"lr": 2}], 3: {"b", "a"}}) == {
        "steps": [{"lr": 1.0, "betas": []}, {"lr": 2}], "3": ["a", "b"],
    }  # fmt: skip
    kept = {"path": Path("data"), "size": Size.SMALL, "weights": np.array([1.0]), "none": None}
    found = config(kept)
    assert (found["path"], found["size"], found["none"]) == (Path("data"), Size.SMALL, None)


def test_models_of_other_libraries_are_known_by_what_they_have(monkeypatch):
    class Pydantic:
        model_fields = MappingProxyType({"lr": None, "inner": None})
        lr, inner = 0.1, Optim()

        def model_dump(self):
            raise AssertionError("would lose what the fields are")

    class Attrs:
        __attrs_attrs__ = (SimpleNamespace(name="lr"),)
        lr = 0.2

    class Conf(dict):
        """What OmegaConf's DictConfig is to us: a mapping with interpolations."""

    omegaconf = ModuleType("omegaconf")
    omegaconf.OmegaConf = SimpleNamespace(
        is_config=lambda value: isinstance(value, Conf),
        to_container=lambda value, resolve: {"lr": 0.3, "resolved": resolve},
    )
    assert config(Pydantic()) == {"lr": 0.1, "inner": {"lr": 0.1, "betas": [0.9, 0.999]}}
    assert config(Attrs()) == {"lr": 0.2}
    monkeypatch.setitem(sys.modules, "omegaconf", omegaconf)
    assert config({"model": Conf(lr="${x}")}) == {"model": {"lr": 0.3, "resolved": True}}


@pytest.mark.parametrize("library", ["pydantic", "attrs", "omegaconf"])
def test_the_libraries_themselves_are_understood_where_they_are_installed(library):
    module = pytest.importorskip(library)
    if library == "pydantic":
        made = module.create_model("Config", lr=(float, 0.1))()
    elif library == "attrs":
        made = module.make_class("Config", {"lr": module.field(default=0.1)})()
    else:
        made = module.OmegaConf.create({"lr": 0.1})
    assert config(made) == {"lr": 0.1}


def test_what_cannot_be_stored_is_named_by_its_place():
    with pytest.raises(ValueTypeError, match=r"^config\.optim\.hook cannot be stored: .*function"):
        config({"optim": {"hook": lambda: 1}, "lr": 0.1})
    with pytest.raises(ValueTypeError, match=r"^config\.steps\[1\]\.x cannot be stored"):
        config({"steps": [1, {"x": object()}]})
    circle: dict = {}
    circle["inner"] = circle
    with pytest.raises(ValueTypeError, match="contains itself"):
        config(circle)
    with pytest.raises(ValueTooLarge, match="config"):
        described({"config": {"text": "x" * 1000}}, 100)
    half = "x" * (MAX_VALUE_BYTES + 10)
    with pytest.raises(ValueTooLarge, match=r"^config cannot be stored"):
        described({"config": {"a": half, "b": half}}, MAX_VALUE_BYTES + 1000)
    with pytest.raises(TypeError, match="config is a dict, a dataclass"):
        config(3)


def test_a_configuration_that_cannot_be_stored_leaves_nothing(tmp_path):
    with pytest.raises(ValueTypeError, match=r"config\.hook"):
        SQLiteLog(tmp_path / "runs.db", config={"hook": print})
    assert not (tmp_path / "runs.db").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("x" * (LONGEST_NAME + 1), "may have 1,000"),
        ("a\nb", "cannot be printed"),
        ("\x1b[31m", "cannot be printed"),
        ("0123abcd", "looks like the UUID"),
        ("0" * 32, "looks like the UUID"),
    ],
)
def test_a_name_that_could_not_be_told_or_found_is_refused(name, said):
    with pytest.raises(ValueError, match=said):
        described({"name": name})


def test_options_of_a_wrong_type_are_errors():
    with pytest.raises(TypeError, match="name of a run is a text, not a int"):
        described({"name": 3})
    with pytest.raises(TypeError, match="notes are a text"):
        described({"notes": ["a"]})
    with pytest.raises(TypeError, match="groups are names, and 3 is a int"):
        described({"groups": ["a", 3]})
    with pytest.raises(TypeError, match="groups are names, not a dict"):
        described({"groups": {"a": 1}})
    with pytest.raises(TypeError, match="no option 'nmae'"):
        TrainingLog(nmae="x")
    assert described({"name": None, "tags": None}) == {}
    assert described({"name": "1234567"}) == {"name": "1234567"}, "seven digits are no prefix"


# -- goals ------------------------------------------------------------------------------------


def test_a_goal_says_which_number_is_best(opened):
    with opened() as log:
        log.goal("acc", "max")
        log.goal("loss", "min")
        log.goal("acc", "max")
        assert log.status["goals"] == {"acc": "max", "loss": "min"}
        with pytest.raises(ValueError, match="its 'min' or its 'max', not 'best'"):
            log.goal("acc", "best")


def test_a_train_loop_declares_its_validation_metric(tmp_path):
    from traininglog.loop import TrainLoop

    path = tmp_path / "runs.db"
    with (
        SQLiteLog(path) as log,
        TrainLoop({"w": np.zeros(2)}, log=log, max_epoch=2, valid_metric_name="valid_acc") as loop,
    ):
        for epoch in loop.iter_epochs():
            loop.collect_metrics(valid_acc=0.5 + epoch / 10)
    with Store(path) as store:
        (info,) = store.iter_runs(where="best.valid_acc > 0.65")
        assert info.goals == {"valid_acc": "max"}
