"""What an editor shows of the public functions: names, choices, and what has to be named."""

import inspect
import re
import typing
from pathlib import Path

import pytest

import traininglog
from traininglog import SQLiteLog, Store, TrainingLog, TrainingLogBase, open_log, open_store
from traininglog.identity import About
from traininglog.rows import RowSlice
from traininglog.trials import Project, Trial, TrialClient, TrialGroup, TrialLogger, TrialStore
from traininglog.trials import fields as trial_fields

CLASSES = [SQLiteLog, Store, TrainingLog, TrainingLogBase, RowSlice, TrialClient, TrialLogger,
           TrialStore]  # fmt: skip
FUNCTIONS = [open_log, open_store]


def public():
    """Give the names and the signatures of all public functions."""
    for function in FUNCTIONS:
        yield function.__name__, inspect.signature(function)
    for kind in CLASSES:
        yield kind.__name__, inspect.signature(kind)
        for name, member in inspect.getmembers(kind, inspect.isfunction):
            if not name.startswith("_") and member.__module__.startswith("traininglog"):
                yield f"{kind.__name__}.{name}", inspect.signature(member)


SIGNATURES = dict(public())


@pytest.mark.parametrize("function", [SQLiteLog, Store, TrialClient, open_log, open_store])
def test_a_store_is_called_so_everywhere(function):
    first = next(iter(inspect.signature(function).parameters.values()))
    assert first.name == "store"
    assert first.kind is first.POSITIONAL_OR_KEYWORD


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_switch_is_named_where_it_is_set(name):
    """But for those of the ancestors' verbs; see docs/ancestors.md."""
    if name.rpartition(".")[2] in ("log_arguments", "get_arguments", "report", "show_eta"):
        return
    if name == "TrialStore.new_trial":
        return
    for parameter in SIGNATURES[name].parameters.values():
        if "bool" in str(parameter.annotation) and parameter.kind is not parameter.VAR_KEYWORD:
            switch = str(parameter.annotation).startswith("bool")
            assert not switch or parameter.kind is parameter.KEYWORD_ONLY, parameter


@pytest.mark.parametrize("name", [name for name in SIGNATURES if "to_" in name or "runs" in name])
def test_options_of_frames_are_named(name):
    for parameter in SIGNATURES[name].parameters.values():
        if parameter.name not in ("self", "keys", "runs", "query"):
            assert parameter.kind is parameter.KEYWORD_ONLY, parameter


@pytest.mark.parametrize("name", SIGNATURES)
def test_no_public_signature_says_any_or_takes_what_it_does_not_name(name):
    """But for what is passed on to a verb, or to a registered store, as it is, or refused."""
    passes_on = {"open_log", "SQLiteLog.update",
                 "TrainingLog.update", "TrainingLogBase.update",
                 "TrialClient.fetch_and_update_trial",
                 "TrialClient.fetch_and_update_group", "TrialStore.fetch_and_update_trial",
                 "TrialStore.fetch_and_update_group"}  # fmt: skip
    for parameter in SIGNATURES[name].parameters.values():
        assert "Any" not in re.split(r"\W+", str(parameter.annotation)), parameter
        if parameter.kind is parameter.VAR_KEYWORD and name not in passes_on:
            kinds = ("Unpack", "Value", "float")  # fields by name; values, numbers by key
            assert str(parameter.annotation).strip("'").startswith(kinds), parameter
    assert "Any" not in re.split(r"\W+", str(SIGNATURES[name].return_annotation))


@pytest.mark.parametrize(
    ("fields", "made", "besides"),
    [(trial_fields.Described, Project, {"self", "name"}),
     (trial_fields.Described, TrialGroup, {"self", "name", "project_id"}),
     (trial_fields.TrialFields, Trial,
      {"self", "parameters", "errors", "metrics", "chronos", "log", "created", "started",
       "finished", "environment", "artifacts"}),
     (trial_fields.Search, TrialStore.fetch_trials, {"self", "query"}),
     (trial_fields.Search, TrialStore.fetch_projects, {"self", "query"}),
     (trial_fields.Search, TrialStore.fetch_groups, {"self", "query"}),
     (traininglog.LogOptions, SQLiteLog.__init__, {"self", "store", "uuid"})],
)  # fmt: skip
def test_what_is_passed_on_has_the_names_of_where_it_goes(fields, made, besides):
    parameters = inspect.signature(made).parameters
    taken = {name for name, each in parameters.items() if each.kind is not each.VAR_KEYWORD}
    taken -= besides
    if "about" in parameters:
        taken |= About.__optional_keys__
    assert {key for kind in fields.__mro__ for key in getattr(kind, "__annotations__", ())
            } | set(fields.__annotations__) >= taken - {"self"}  # fmt: skip
    assert set(fields.__required_keys__ | fields.__optional_keys__) == taken


def test_the_choices_are_those_that_are_checked():
    for name in ("Durability", "OnFull", "Layout", "Mode", "Outcome", "Ending", "State"):
        assert typing.get_args(getattr(traininglog, name)), name


def test_a_run_is_closed_with_an_outcome_that_there_is(tmp_path: Path):
    log = SQLiteLog(tmp_path / "runs.db")
    with pytest.raises(ValueError, match="'finished' or 'failed'"):
        log.close("lost")
    log.close("failed")
    with Store(tmp_path / "runs.db") as store:
        assert store.state(log.uuid) == "failed"
