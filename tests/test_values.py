"""Values of other libraries: kept exactly, or refused with a remedy that helps."""

import argparse
import dataclasses
import datetime as dt
import enum
import json
import re
import sys
import types
import zoneinfo

import numpy as np
import pandas as pd
import pytest

from traininglog import SQLiteLog, TrainingLog, ValueTypeError
from traininglog.testing.samples import REFUSED_VALUES, Options, Settings, same
from traininglog.trials.plain import plain_data, plain_dict
from traininglog.trials.trial_errors import InvalidParameter
from traininglog.values import plain

PARIS = zoneinfo.ZoneInfo("Europe/Paris")


def stub(module, name, **methods):
    """Return an instance of a class that is known by its module, its name and its methods."""
    kind = type(name, (), methods)
    kind.__module__ = module
    return kind()


def configurations():
    """Give configurations of many libraries, what the error is to name, and what that returns."""
    found = {"lr": 0.1}
    yield Settings(), "dataclasses.asdict(value)"
    yield dataclasses.make_dataclass("Local", [("lr", float)])(0.1), "dataclasses.asdict(value)"
    yield argparse.Namespace(lr=0.1), "vars(value)"
    yield types.SimpleNamespace(lr=0.1), "vars(value)"
    yield types.MappingProxyType(found), "dict(value)"
    yield Options(), "vars(value)"
    yield (
        stub("ml_collections.config_dict", "ConfigDict", to_dict=lambda self: found),
        ("value.to_dict()"),
    )
    yield stub("transformers", "PretrainedConfig", to_dict=lambda self: found), "value.to_dict()"
    yield (
        stub("pydantic.main", "Old", __fields_set__={"lr"}, dict=lambda self: found),
        ("value.dict()"),
    )
    yield stub("pydantic.main", "New", model_dump=lambda self: found), "value.model_dump()"
    for module, make in (("pydantic", _pydantic), ("attrs", _attrs)):
        try:
            __import__(module)
        except ImportError:
            continue
        yield make()


def _pydantic():
    import pydantic

    model = pydantic.create_model("Model", lr=(float, 0.1), when=(dt.datetime, dt.datetime.max))
    return model(), "value.model_dump()"


def _attrs():
    import attrs

    return attrs.make_class("Attrs", {"lr": attrs.field(default=0.1)})(), "attrs.asdict(value)"


@pytest.mark.parametrize(
    ("value", "advice"),
    list(configurations()),
    ids=lambda it: it if isinstance(it, str) else type(it).__name__,
)
def test_what_is_advised_for_a_configuration_can_be_stored(value, advice):
    log = TrainingLog()
    with pytest.raises(ValueTypeError, match=re.escape(advice)):
        log[1]["config"] = value
    with pytest.raises(ValueTypeError, match=re.escape(advice)):
        log.status["config"] = {"nested": [value]}
    assert log == {}
    names = {"value": value, "dataclasses": dataclasses, "attrs": sys.modules.get("attrs")}
    log[1]["config"] = eval(advice, names)
    assert log[1]["config"]["lr"] == 0.1


def test_omegaconf_is_told_by_its_module():
    config = stub("omegaconf.dictconfig", "DictConfig")
    with pytest.raises(ValueTypeError, match=r"OmegaConf\.to_container\(value, resolve=True\)"):
        plain(config)


def test_no_library_is_imported_to_refuse_its_objects():
    before = set(sys.modules)
    for value, error, _ in REFUSED_VALUES:
        with pytest.raises(error):
            plain(value)
    assert not {name.partition(".")[0] for name in set(sys.modules) - before} & {
        "attrs", "attr", "omegaconf", "pydantic", "torch", "msgspec", "ml_collections",
    }  # fmt: skip


@pytest.mark.parametrize("value", [Settings(), argparse.Namespace(lr=0.1), Options(), {1, 2}])
def test_parameters_of_a_trial_are_refused_with_the_same_remedies(value):
    with pytest.raises(ValueTypeError) as caught:
        plain(value)
    remedy = str(caught.value).partition("cannot be stored: ")[2]
    for refuse in (lambda: plain_data(value), lambda: plain_dict(value, "parameters")):
        with pytest.raises(InvalidParameter, match=re.escape(remedy)):
            refuse()


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (pd.Timestamp("2026-01-01T00:00:00.123456789"), "isoformat"),
        (pd.Timestamp("2026-01-01T00:00:00.000000001", tz="Europe/Paris"), "isoformat"),
        (pd.NaT, "None"), (pd.NA, "None"), (np.ma.masked, "None"),
        (pd.Timedelta(1), "total_seconds"), (pd.Period("2026"), "str"),
        (pd.Series([1.5]), "to_numpy"), (pd.Series([1.5, 2.5]), "to_numpy"),
        (pd.Index([1.5]), "to_numpy"), (pd.Index([1.5, 2.5]), "to_numpy"),
        (pd.DataFrame({"a": [1]}), "to_dict"), (pd.array([1]), "to_numpy"),
        (np.rec.array([(1,)], dtype=[("n", "i4")]), "asarray"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_would_be_changed_is_refused(value, remedy):
    for given in (value, [value], {"a": value}):
        with pytest.raises(ValueTypeError, match=remedy):
            plain(given)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (pd.Timestamp("2026-02-03T04:05:06.000007"), dt.datetime(2026, 2, 3, 4, 5, 6, 7)),
        (pd.Timestamp("2026-10-25 02:30+01:00").tz_convert(PARIS),
         dt.datetime(2026, 10, 25, 2, 30, tzinfo=PARIS, fold=1)),
        (pd.Series([1.5]).iloc[0], 1.5), (pd.Series([1.5]).to_numpy(), np.array([1.5])),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_just_a_plain_value_is_taken(tmp_path, value, expected):
    with SQLiteLog(tmp_path / "runs.db") as log:
        log[1]["x"] = value
        assert same(log[1]["x"], expected)
        log.flush()
        assert same(log[1]["x"], expected)


def test_a_tensor_of_one_number_is_that_number_and_one_of_two_is_refused():
    torch = pytest.importorskip("torch")
    for shape in ((), (1,), (1, 1)):
        assert same(plain(torch.full(shape, 1.5, requires_grad=True)), 1.5)
    assert same(plain(torch.tensor(3)), 3)
    assert same(plain(torch.tensor([True])), True)
    for value in (torch.tensor([1.5, 2.5]), torch.nn.Parameter(torch.zeros(2)), torch.zeros(0)):
        with pytest.raises(ValueTypeError, match=r"detach\(\)\.cpu\(\)\.numpy\(\)"):
            plain(value)


def test_datetimes_of_other_time_zones_keep_their_moment_and_offset(tmp_path):
    class Named(dt.tzinfo):
        """As pytz has them: one object for each offset of a zone."""

        zone = "Europe/Paris"

        def __init__(self, hours):
            self.hours = hours

        def utcoffset(self, moment):
            return dt.timedelta(hours=self.hours)

        def dst(self, moment):
            return dt.timedelta(0)

    for hours, expected in ((1, PARIS), (2, PARIS), (5, dt.timezone(dt.timedelta(hours=5)))):
        value = dt.datetime(2026, 10, 25, 2, 30, tzinfo=Named(hours))
        log = SQLiteLog(tmp_path / "runs.db")
        log[1]["x"] = value
        for _ in range(2):
            found = log[1]["x"]
            assert type(found) is dt.datetime
            assert found.utcoffset() == value.utcoffset()
            assert found.replace(tzinfo=None, fold=0) == value.replace(tzinfo=None)
            assert found.tzinfo == expected
            log.flush()
        log.close()


def test_texts_of_datetimes_of_older_versions_are_read():
    from traininglog.encoding import Kind, decode

    for text, expected in (
        ("2026-10-25T02:30:00", dt.datetime(2026, 10, 25, 2, 30)),
        ("2026-10-25T02:30:00+01:00 [Europe/Paris]",
         dt.datetime(2026, 10, 25, 2, 30, tzinfo=PARIS, fold=1)),
        ("2026-10-25T02:30:00+05:00 [No/Where]",
         dt.datetime(2026, 10, 25, 2, 30, tzinfo=dt.timezone(dt.timedelta(hours=5)))),
    ):  # fmt: skip
        assert same(decode(Kind.DATETIME, text), expected)


def test_a_member_of_an_enum_that_is_not_loaded_stays_one(tmp_path):
    """It can be read, put into a checkpoint, copied to another log, and is itself once it is."""

    class Gone(enum.Enum):
        A = (1, "x")

    log = SQLiteLog(tmp_path / "runs.db")
    log[1]["x"] = log.status["x"] = Gone.A
    log.flush()
    unknown = log.status["x"]
    assert unknown.name == "A"
    again = SQLiteLog(tmp_path / "runs.db")
    again.load_state_dict(json.loads(json.dumps(log.state_dict())))
    other = TrainingLog()
    other[1] = log[1]
    for found in (again.status["x"], again[1]["x"], other[1]["x"]):
        assert same(found, unknown)
    log.close()
    again.close()


def test_a_checkpoint_with_a_state_is_loaded_by_torch_s_default(tmp_path):
    torch = pytest.importorskip("torch")
    from traininglog.testing.samples import ARRAYS, EXACT_VALUES, PLAIN_VALUES

    log = SQLiteLog(tmp_path / "runs.db")
    for number, value in enumerate([*EXACT_VALUES, *(v for v, _ in PLAIN_VALUES), *ARRAYS]):
        log.status[f"value {number}"] = value
    expected = log.status.copy()
    torch.save({"model": {"w": torch.zeros(2)}, "log": log.state_dict()}, tmp_path / "ck.pt")
    log.close()
    log = SQLiteLog(tmp_path / "runs.db")
    log.load_state_dict(torch.load(tmp_path / "ck.pt", weights_only=True)["log"])
    for key in expected.keys() - {"resumed_from"}:
        assert same(log.status[key], expected[key]), key
    log.close()


def test_times_in_metrics_are_never_a_count_of_some_unit(tmp_path):
    from traininglog.loop.measures.metrics import number
    from traininglog.monitors.flattening import scalar

    moment = np.datetime64("2026-01-01T00:00:00.123456789")
    span = np.timedelta64(1500, "ns")
    for value in (moment, span, np.array([moment]), np.array([span, span]), np.array(moment)):
        assert scalar(value) is value
        with pytest.raises(TypeError, match="metric 'x'"):
            number("x", value)
    assert plain_data(moment) == "2026-01-01T00:00:00.123456789"
    assert plain_data(np.array([moment])) == ["2026-01-01T00:00:00.123456789"]
    with pytest.raises(InvalidParameter, match="seconds"):
        plain_data(span)
