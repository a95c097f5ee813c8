"""`register`: what is built in stays, and what is no factory is refused."""

import functools

import pytest

from traininglog import ConfigurationError, TrainingLog, open_log, stores
from traininglog.memory.trials import MemoryTrials
from traininglog.trials import TrialClient


@pytest.fixture(params=["logs", "trials"])
def registry(request, monkeypatch, tmp_path):
    """Return a registry, which is as it was afterwards."""
    monkeypatch.chdir(tmp_path)
    found = stores.LOGS if request.param == "logs" else stores.RECORDS
    monkeypatch.setattr(found, "factories", dict(found.factories))
    return found


def opened(registry, where):
    return open_log(where) if registry is stores.LOGS else TrialClient(where)


def log_or_records(registry):
    return TrainingLog() if registry is stores.LOGS else MemoryTrials()


@pytest.mark.parametrize("scheme", ["memory", "sqlite", "file", "SQLite", "MEMORY", "File"])
def test_what_is_built_in_is_not_replaced(registry, scheme):
    """Neither what this registry has, nor what the other one has: it may have it one day."""
    before = dict(registry.factories)
    with pytest.raises(ConfigurationError, match=f"^{scheme.lower()}: is a store of traininglog's"):
        registry.register(scheme, lambda *_, **__: None)
    assert before == registry.factories
    opened(registry, "memory:").close()


@pytest.mark.parametrize(
    "factory",
    [None, 1, "module:factory", "", [], {}, MemoryTrials(), object(), lambda: None, lambda **_: 1],
)
def test_what_is_no_factory_is_refused(registry, factory):
    with pytest.raises(TypeError, match="a factory is called"):
        registry.register("mine", factory)
    assert "mine" not in registry.factories


@pytest.mark.parametrize("made", [None, 1, "x", object, dict, MemoryTrials, TrainingLog])
def test_what_makes_something_else_is_said_when_it_is_opened(registry, made):
    if made is type(log_or_records(registry)):
        made = object()
    registry.register("mine", lambda *_, **__: made)
    with pytest.raises(ConfigurationError, match="registered for mine: made a"):
        opened(registry, "mine://x")


def test_a_factory_that_forgets_to_return_is_said(registry):
    def factory(where, uuid=None, **options):
        log_or_records(registry)

    registry.register("mine", factory)
    with pytest.raises(ConfigurationError, match="made a NoneType"):
        opened(registry, "mine:x")


def test_all_that_can_be_called_so_is_a_factory_and_may_be_replaced_by_its_owner(registry):
    class Factory:
        def __call__(self, where, *uuid, **options):
            return log_or_records(registry)

        def method(self, where, uuid=None, **options):
            return log_or_records(registry)

        @classmethod
        def of(cls, *arguments, **options):
            return log_or_records(registry)

    def with_more(first, where, uuid=None):
        return log_or_records(registry)

    for factory in (Factory(), Factory().method, Factory.of, functools.partial(with_more, 1)):
        registry.register("mine", factory)
        opened(registry, "mine://x").close()


class Plugin:
    """An entry point of an installed package."""

    value = "thirdparty:make"

    def __init__(self, name, load):
        self.name, self.load = name, load


def failing():
    raise ImportError("no module named thirdparty")


@pytest.mark.parametrize("load", [failing, lambda: None, lambda: 5, lambda: lambda: None])
def test_a_package_that_brings_no_factory_is_named(monkeypatch, load):
    monkeypatch.setattr(stores, "entry_points", lambda **_: [Plugin("third", load)])
    with pytest.raises(ConfigurationError, match=r"^thirdparty:make, which .*no factory of logs: "):
        open_log("third://x")
    trials = stores.Registry("store for trials", "trials", ("scheme://place",), "a.group", {})
    with pytest.raises(ConfigurationError, match=r"^thirdparty:make, .*no factory of trials: "):
        trials.find("third://x")


@pytest.mark.parametrize("scheme", ["memory", "sqlite", "file"])
def test_a_package_does_not_replace_what_is_built_in(monkeypatch, tmp_path, scheme):
    monkeypatch.chdir(tmp_path)
    mine = Plugin(scheme, lambda: lambda *_, **__: pytest.fail("it was called"))
    monkeypatch.setattr(stores, "entry_points", lambda **_: [mine])
    where = {"memory": "memory:", "sqlite": "sqlite:///x.db", "file": "file:x.json"}[scheme]
    if scheme == "file":
        with pytest.raises(ValueError, match="file: is no store"):
            open_log(where)
    else:
        open_log(where).close()
