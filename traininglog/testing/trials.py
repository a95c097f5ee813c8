"""The contract of stores for trials, as tests that every one must pass."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from typing import Any

import pytest

from traininglog.errors import RunBusy, RunNotFound, TrainingLogError
from traininglog.trials import (
    CustomStatus,
    GroupNotFound,
    InvalidMetric,
    InvalidQuery,
    Project,
    ProjectNotFound,
    RingAggregator,
    StatAggregator,
    Status,
    Trial,
    TrialClient,
    TrialGroup,
    TrialNotFound,
    TrialStore,
    UnknownAttribute,
    UnknownStatus,
)
from traininglog.trials.search.verbs import TrialUpdate

OpenStore = Callable[[], TrialStore]


class TrialConformance:
    """The conformance suite of stores for trials. A subclass defines the fixture `open_store`."""

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """Return a callable that opens the same store anew at each call."""
        raise NotImplementedError("override the fixture open_store")

    @pytest.fixture
    def store(self, open_store: OpenStore) -> TrialStore:
        """Return a store with the project ``p``."""
        store = open_store()
        store.new_project(Project("p"))
        return store

    def trials(self, store: TrialStore, count: int) -> list[Trial]:
        """Add some trials."""
        added = [
            store.new_trial(Trial("t", parameters={"n": n}, project_id="p")) for n in range(count)
        ]
        return [trial for trial in added if trial is not None]

    # -- projects and groups ----------------------------------------------------------------

    def test_a_project_is_made_once_and_found_by_its_name(self, open_store: OpenStore) -> None:
        store = open_store()
        assert store.get_project("p") is None
        made = store.new_project(Project("p", "first", {"a": 1}, {"b": [2.5, None]}))
        again = store.new_project(Project("p", "second"))
        assert made == again
        found = open_store().get_project("p")
        assert found is not None
        assert (found.description, found.tags, found.metadata) == (
            "first", {"a": 1}, {"b": [2.5, None]},
        )  # fmt: skip
        assert store.fetch_projects({"tags.a": 1}) == [made]
        assert store.fetch_projects({"tags.a": 2}) == []

    def test_groups_of_two_projects_may_have_one_name(self, store: TrialStore) -> None:
        store.new_project(Project("q"))
        one = store.new_trial_group(TrialGroup("g", "p"))
        other = store.new_trial_group(TrialGroup("g", "q"))
        assert one != other
        assert store.fetch_groups({"name": "g"}) == [one, other]
        assert store.fetch_groups({"project_id": "q"}) == [other]
        with pytest.raises(ProjectNotFound):
            store.new_trial_group(TrialGroup("g", "unknown"))

    def test_metadata_of_a_group_is_added_to(self, store: TrialStore) -> None:
        group = store.new_trial_group(TrialGroup("g", "p", metadata={"a": 1}))
        store.set_group_metadata(group, b=2)
        changed = store.fetch_and_update_group({"name": "g"}, "set_group_metadata", a=3)
        assert changed is not None
        assert changed.metadata == {"a": 3, "b": 2}
        assert store.fetch_and_update_group({"name": "h"}, "set_group_metadata", a=3) is None

    # -- trials -----------------------------------------------------------------------------

    def test_a_trial_comes_back_as_it_was(self, open_store: OpenStore, store: TrialStore) -> None:
        parameters = {"lr": 0.1, "big": -(2**70), "nested": {"a": [1, True, None, "x"]}, "no": None}
        group = store.new_trial_group(TrialGroup("g", "p"))
        trial = Trial(
            "name", "what it is", {"t": 1}, {"m": {"deep": [math.inf]}}, parameters, "v1", "p",
            group.uid,
        )  # fmt: skip
        store.new_trial(trial)
        found = open_store().trial(trial.uid)
        assert found == trial
        assert found.parameters == parameters
        assert type(found.parameters["nested"]["a"][1]) is bool
        assert (found.name, found.description, found.tags) == ("name", "what it is", {"t": 1})
        assert found.metadata == {"m": {"deep": [math.inf]}}
        assert (found.project_id, found.group_id, found.version) == ("p", group.uid, "v1")
        assert (found.revision, found.status, found.errors) == (0, Status.CreatedGroup, [])
        assert (found.metrics, found.chronos) == ({}, {})

    def test_what_is_fetched_is_a_copy(self, store: TrialStore) -> None:
        (trial,) = self.trials(store, 1)
        found = store.trial(trial.uid)
        found.parameters["n"] = "changed"
        found.tags["t"] = 1
        assert store.trial(trial.uid).parameters == {"n": 0}
        assert store.trial(trial.uid).tags == {}

    def test_a_trial_that_exists_is_refused_or_becomes_a_revision(self, store: TrialStore) -> None:
        trial = Trial("t", parameters={"a": 1}, project_id="p")
        first = store.new_trial(trial)
        assert store.new_trial(trial) is None
        second = store.new_trial(trial, auto_increment=True)
        third = store.new_trial(trial, auto_increment=True)
        assert first is not None
        assert second is not None
        assert third is not None
        assert [one.revision for one in (first, second, third)] == [0, 1, 2]
        assert len({first.uid, second.uid, third.uid}) == 3
        assert store.get_trial(second) == [first, second, third]
        assert store.get_trial(Trial("other", project_id="p")) == []

    def test_a_trial_without_a_project_is_an_orphan_that_is_found(self, store: TrialStore) -> None:
        trial = store.new_trial(Trial("t", parameters={"a": 1}))
        assert trial is not None
        assert store.get_project("orphan") is not None
        assert store.fetch_trials({"project_id": "orphan"}) == [trial]

    def test_what_is_not_there_is_said(self, store: TrialStore) -> None:
        with pytest.raises(TrialNotFound):
            store.trial("f" * 64 + "_0")
        with pytest.raises(TrialNotFound):
            store.set_trial_status("f" * 64 + "_0", Status.Running)
        with pytest.raises(ProjectNotFound):
            store.new_trial(Trial("t", project_id="unknown"))
        with pytest.raises(GroupNotFound):
            store.new_trial(Trial("t", project_id="p", group_id="unknown"))
        with pytest.raises(RunNotFound):
            store.records.open_log("0" * 32)
        assert store.fetch_trials() == []

    def test_tags_metadata_and_statuses_are_changed(
        self, open_store: OpenStore, store: TrialStore
    ) -> None:
        (trial,) = self.trials(store, 1)
        store.add_trial_tags(trial, a=1)
        store.add_trial_tags(trial, b=2, a=3)
        store.log_trial_metadata(trial, gpu="V100")
        store.set_trial_status(trial, CustomStatus("Queued", 50))
        found = open_store().trial(trial.uid)
        assert found.tags == {"a": 3, "b": 2}
        assert found.metadata == {"gpu": "V100"}
        assert found.status == CustomStatus("Queued", 50)
        store.set_trial_status(trial, "exception", error="out of luck")
        found = open_store().trial(trial.uid)
        assert found.status is Status.Exception
        assert found.errors == ["out of luck"]
        with pytest.raises(UnknownStatus):
            store.set_trial_status(trial, "Finnished")

    def test_a_trial_is_put_into_groups_and_taken_out(
        self, open_store: OpenStore, store: TrialStore
    ) -> None:
        """A trial may be in several groups; a query for any of them finds it."""
        one, other, alone = self.trials(store, 3)
        g, h, empty = (store.new_trial_group(TrialGroup(name, "p")) for name in "ghe")
        store.add_group_trial(g, one)
        store.add_group_trial(h.uid, one.uid)
        store.add_group_trial(g, one)
        store.add_group_trial(h, other)
        again = open_store()
        assert again.trial(one.uid).groups == [g.uid, h.uid]
        assert again.trial(one.uid).group_id == g.uid
        queries: tuple[tuple[Any, list[Trial]], ...] = (
            (g.uid, [one]), (h.uid, [one, other]), (empty.uid, []), (None, [alone]),
            ({"$in": [g.uid, h.uid]}, [one, other]), ({"$in": [g.uid, None]}, [one, alone]),
            ({"$in": []}, []), ({"$ne": g.uid}, [other, alone]),
            ({"$nin": [g.uid, None]}, [other]), ({"$not": {"$eq": h.uid}}, [alone]),
            ([h.uid, g.uid], [one]), ([h.uid], [other]), ([], [alone]),
            ({"$ne": None}, [one, other]),
        )  # fmt: skip
        for path in ("group_id", "groups"):
            for wanted, found in queries:
                assert again.fetch_trials({path: wanted}) == found, (path, wanted)
                assert again.fetch_trials({"$and": [{path: wanted}]}) == found, (path, wanted)
        assert again.fetch_trials({"group_id": g.uid, "parameters.n": 1}) == []
        store.remove_group_trial(g, one)
        store.remove_group_trial(empty, one)
        assert open_store().trial(one.uid).groups == [h.uid]
        assert again.fetch_trials({"group_id": g.uid}) == []
        with pytest.raises(GroupNotFound):
            store.add_group_trial("unknown", one)
        with pytest.raises(GroupNotFound):
            store.new_trial(Trial("t", project_id="p", groups=[g, "unknown"]))
        made = store.new_trial(Trial("several", project_id="p", groups=[g, h]))
        assert made is not None
        assert made.groups == [g.uid, h.uid]

    def test_projects_and_groups_know_what_belongs_to_them(
        self, open_store: OpenStore, store: TrialStore
    ) -> None:
        project = store.new_project(Project("q"))
        assert (project.groups, project.trials, Project("q").trials) == ([], [], [])
        group = store.new_trial_group(TrialGroup("g", "q"))
        store.new_trial_group(TrialGroup("g", "p"))
        self.trials(store, 1)
        trial = store.new_trial(Trial("t", project_id="q", group_id=group.uid))
        other = store.new_trial(Trial("u", project_id="q"))
        for found in (
            project,
            store.fetch_projects({"name": "q"})[0],
            open_store().get_project("q"),
        ):
            assert found is not None
            assert (found.groups, found.trials) == ([group], [trial, other])
        for one in (group, store.fetch_groups({"project_id": "q"})[0], project.groups[0]):
            assert one.trials == [trial]

    def test_trials_and_groups_inherit_the_tags_of_their_project(self, store: TrialStore) -> None:
        store.new_project(Project("q", tags={"team": "x", "kind": "of the project"}))
        group = store.new_trial_group(TrialGroup("g", "q"))
        plain = store.new_trial(Trial("a", project_id="q", tags={"own": 2}))
        own = store.new_trial(Trial("b", project_id="q", tags={"kind": "its own", "own": 1}))
        self.trials(store, 1)
        assert store.fetch_trials({"tags.team": "x"}) == [plain, own]
        assert store.fetch_trials({"tags.kind": "of the project"}) == [plain]
        assert store.fetch_trials({"tags.kind": "its own"}) == [own]
        assert store.fetch_trials({"tags.own": {"$exists": True}}, sort="tags.own") == [own, plain]
        assert store.fetch_trials(sort="-tags.kind")[:2] == [plain, own]
        assert store.fetch_groups({"tags.team": "x"}) == [group]
        taken = store.fetch_and_update_trial({"tags.team": "x"}, "add_trial_tags", more=1)
        assert taken is not None
        assert store.trial(taken.uid).tags == {"own": 2, "more": 1}  # without inherited tags

    # -- metrics ----------------------------------------------------------------------------

    def test_metrics_are_there_after_the_end_and_before(
        self, open_store: OpenStore, store: TrialStore
    ) -> None:
        (trial,) = self.trials(store, 1)
        for step in (10, 2, 5):
            store.log_trial_metrics(trial, step=step, loss=step / 2)
        store.log_trial_metrics(trial, step=5, loss=7.0, n=3)
        store.log_trial_metrics(trial, accuracy=0.5)
        store.log_trial_metrics(trial, accuracy=math.nan)
        assert store.trial(trial.uid).metrics["loss"] == {2: 1.0, 5: 7.0, 10: 5.0}
        assert store.trial(trial.uid).status is Status.Running
        store.log_trial_finish(trial)
        found = open_store().trial(trial.uid)
        assert found.status is Status.Completed
        assert found.metrics["loss"] == {2: 1.0, 5: 7.0, 10: 5.0}
        assert found.metrics["n"] == {5: 3}
        assert all(type(step) is int for step in found.metrics["loss"])
        first, second = found.metrics["accuracy"]
        assert first == 0.5
        assert math.isnan(second)

    def test_aggregators_go_on_where_they_were(
        self, open_store: OpenStore, store: TrialStore
    ) -> None:
        (trial,) = self.trials(store, 1)
        for value in (100.0, 1.0, 3.0):
            store.log_trial_metrics(trial, aggregator=StatAggregator.lazy(1), time=value)
            store.log_trial_metrics(trial, aggregator=RingAggregator.lazy(2), last=value)
        store.log_trial_finish(trial)
        again = open_store()
        again.log_trial_metrics(trial, aggregator=StatAggregator.lazy(1), time=5.0)
        again.log_trial_metrics(trial, last=0.1)
        again.log_trial_finish(trial)
        metrics = open_store().trial(trial.uid).metrics
        assert (metrics["time"]["count"], metrics["time"]["avg"]) == (3, 3.0)
        assert (metrics["time"]["min"], metrics["time"]["max"]) == (1.0, 5.0)
        assert metrics["last"] == [3.0, 0.1]

    def test_a_refused_metric_leaves_nothing(self, store: TrialStore) -> None:
        (trial,) = self.trials(store, 1)
        store.log_trial_metrics(trial, step=1, loss=1.0)
        store.log_trial_metrics(trial, accuracy=1.0)
        for step, metrics in (
            (2, {"loss": 2.0, "other": "text"}),
            (2, {"loss": None}),
            (2, {"accuracy": 2.0, "other": 1.0}),
            (None, {"loss": 2.0, "other": 1.0}),
            (None, {"other": [1.0]}),
        ):
            with pytest.raises(InvalidMetric):
                store.log_trial_metrics(trial, step=step, **metrics)
        for wrong in (1.5, "1", True, -1):
            with pytest.raises(TrainingLogError):
                store.log_trial_metrics(trial, step=wrong, loss=2.0)  # type: ignore[arg-type]
        assert store.trial(trial.uid).metrics == {"loss": {1: 1.0}, "accuracy": [1.0]}

    def test_blocks_are_measured(self, store: TrialStore) -> None:
        (trial,) = self.trials(store, 1)
        store.log_trial_chrono_start(trial, "outer")
        for _ in range(2):
            store.log_trial_chrono_start(trial, "inner")
            store.log_trial_chrono_finish(trial, "inner")
        store.log_trial_chrono_finish(trial, "outer")
        store.log_trial_finish(trial)
        chronos = store.trial(trial.uid).chronos
        assert chronos["inner"]["count"] == 2
        assert chronos["outer"]["count"] == 1
        assert chronos["outer"]["max"] >= chronos["inner"]["max"]
        assert chronos["inner"]["unit"] == "s"

    def test_a_trial_goes_on_in_a_run_of_its_own(
        self, open_store: OpenStore, store: TrialStore
    ) -> None:
        (trial,) = self.trials(store, 1)
        for step in range(10):
            store.log_trial_metrics(trial, step=step, loss=float(step))
        first = store.log_trial_start(trial).log.uuid
        store.log_trial_finish(trial)
        again = open_store()
        again.resume(trial, at=5)
        for step in range(6, 8):
            again.log_trial_metrics(trial, step=step, loss=step * 10.0)
        log = again.log_trial_start(trial).log
        runs = [run for run, _ in log.lineage()]
        assert runs[-1] == first
        assert runs[0] != first
        again.log_trial_finish(trial)
        assert open_store().trial(trial.uid).metrics["loss"] == {
            0: 0.0, 1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0, 5: 5.0, 6: 60.0, 7: 70.0,
        }  # fmt: skip

    def test_a_trial_that_runs_is_not_resumed(
        self, open_store: OpenStore, store: TrialStore
    ) -> None:
        """Nor by another object of the process: it would lose what the trial logs from then on."""
        (trial,) = self.trials(store, 1)
        store.log_trial_metrics(trial, step=1, loss=1.0)
        for other in (open_store(), store):
            with pytest.raises(RunBusy, match="end it first"):
                other.resume(trial)
        store.log_trial_metrics(trial, step=2, loss=2.0)
        store.log_trial_finish(trial)
        again = open_store()
        again.resume(trial, at=1)
        again.log_trial_metrics(trial, step=2, loss=3.0)
        again.log_trial_finish(trial)
        assert open_store().trial(trial.uid).metrics["loss"] == {1: 1.0, 2: 3.0}

    def test_the_environment_is_kept_once(self, store: TrialStore) -> None:
        one, other = self.trials(store, 2)
        assert store.environment(one) == {}
        for trial in (one, other, one):
            store.keep_environment(trial, {"python": "3", "packages": {"a": "1"}})
        assert store.environment(one) == {"python": "3", "packages": {"a": "1"}}
        assert store.trial(one.uid).environment == store.trial(other.uid).environment
        assert len(list(store.records.select("environment", {}))) == 1

    def test_last_and_best_values_are_listed(self, store: TrialStore) -> None:
        for trial in self.trials(store, 3):
            for step in range(1, 4):
                store.log_trial_metrics(trial, step=step, loss=abs(step - 2.0), n=step)
            store.log_trial_finish(trial)
        self.trials(store, 4)  # only the last of these is new, and it has no log
        found = store.ends(store.fetch_trials(), {"loss": "min", "n": "max"})
        assert found == [{"loss": (1.0, 0.0), "n": (3, 3)}] * 3 + [{}]

    # -- queries ----------------------------------------------------------------------------

    QUERIES: tuple[tuple[Any, list[int]], ...] = (
        (None, [0, 1, 2, 3]),
        ({}, [0, 1, 2, 3]),
        ({"parameters.n": 1}, [1]),
        ({"parameters.n": {"$eq": 1}}, [1]),
        ({"parameters.n": {"$ne": 1}}, [0, 2, 3]),
        ({"parameters.n": {"$in": [0, 3, 9]}}, [0, 3]),
        ({"parameters.n": {"$in": []}}, []),
        ({"parameters.n": {"$nin": [0, 3]}}, [1, 2]),
        ({"parameters.n": {"$lt": 1}}, [0]),
        ({"parameters.n": {"$lte": 1}}, [0, 1]),
        ({"parameters.n": {"$gt": 2}}, [3]),
        ({"parameters.n": {"$gte": 2.0}}, [2, 3]),
        ({"parameters.missing": {"$lt": 1}}, []),
        ({"parameters.missing": None}, [0, 1, 2, 3]),
        ({"tags.odd": {"$exists": True}}, [1, 3]),
        ({"tags.odd": {"$exists": False}}, [0, 2]),
        ({"tags.odd": 1}, []),  # True is not 1
        ({"tags.odd": True}, [1, 3]),
        ({"parameters.n": {"$not": {"$lt": 2}}}, [2, 3]),
        ({"$not": {"parameters.n": {"$lt": 2}}}, [2, 3]),
        ({"$or": [{"parameters.n": 0}, {"tags.odd": True}]}, [0, 1, 3]),
        ({"$and": [{"tags.odd": True}, {"parameters.n": {"$gt": 1}}]}, [3]),
        ([("parameters.n", {"$gt": 0}), ("parameters.n", {"$lt": 3})], [1, 2]),
        ({"status": "Running"}, [2]),
        ({"status": Status.Running}, [2]),
        ({"status": {"$in": ["running", Status.Suspended]}}, [2]),
        ({"status": {"$ne": Status.Running}}, [0, 1, 3]),
        ({"status": {"$gte": Status.Running}}, [2]),
        ({"project_id": "p", "name": "t", "status": "CreatedGroup"}, [0, 1, 3]),
        ({"project_id": "other"}, []),
        ({"group_id": None}, [0, 1, 2, 3]),
    )

    def test_queries(self, store: TrialStore) -> None:
        trials = self.trials(store, 4)
        for trial in (trials[1], trials[3]):
            store.add_trial_tags(trial, odd=True)
        store.set_trial_status(trials[2], Status.Running)
        for query, expected in self.QUERIES:
            found = [trial.parameters["n"] for trial in store.fetch_trials(query)]
            assert found == expected, query
        found = store.fetch_trials({"parameters.n": {"$gt": 0}}, sort="-parameters.n", limit=2)
        assert [trial.parameters["n"] for trial in found] == [3, 2]
        assert store.fetch_trials(limit=0) == []

    def test_wrong_queries_are_refused(self, store: TrialStore) -> None:
        self.trials(store, 1)
        wrong: tuple[Any, ...] = (
            {"colour": 1},
            {"parameters.n": {"$gt": 0, "$lt": 3}},
            {"parameters.n": {"$above": 0}},
            {"parameters.n": {"$lt": None}},
            {"parameters.n": {"$in": "abc"}},
            {"parameters.n": {"$exists": "yes"}},
            {"$nor": []},
            {"$or": {"parameters.n": 0}},
            {"status": "Finnished"},
            {"status": {"$in": ["Finnished"]}},
            "parameters.n",
            {1: 2},
        )
        for query in wrong:
            with pytest.raises((InvalidQuery, UnknownStatus)):
                store.fetch_trials(query)
        with pytest.raises(InvalidQuery):
            store.fetch_trials(sort="colour")
        with pytest.raises(InvalidQuery):
            store.fetch_trials(limit=-1)
        with pytest.raises(InvalidQuery):
            store.fetch_projects({"parameters.n": 1})

    # -- concurrent changes -----------------------------------------------------------------

    def test_the_first_that_matches_is_changed(self, store: TrialStore) -> None:
        trials = self.trials(store, 2)
        for trial in trials:
            taken = store.fetch_and_update_trial(
                {"status": Status.CreatedGroup}, "set_trial_status", Status.Running
            )
            assert taken == trial
            assert taken is not None
            assert taken.status is Status.Running
        assert (
            store.fetch_and_update_trial(
                {"status": Status.CreatedGroup}, "set_trial_status", Status.Running
            )
            is None
        )
        wrong: Any
        for wrong in ("close", "fetch_trials", "new_trial", "add_group_tags", "_changed"):
            with pytest.raises(UnknownAttribute, match=r"add_trial_tags.*log_trial_metrics"):
                store.fetch_and_update_trial({}, wrong)
        for wrong in ("close", "fetch_trials", "new_trial", "commit", "_changed"):
            with pytest.raises(UnknownAttribute):
                store.fetch_and_update_group({}, wrong)

    def test_every_verb_about_a_trial_may_update_the_first_that_matches(
        self, open_store: OpenStore, store: TrialStore
    ) -> None:
        (trial,) = self.trials(store, 1)
        group = store.new_trial_group(TrialGroup("g", "p"))
        query = {"project_id": "p"}

        def update(attribute: TrialUpdate, *args: Any, **kwargs: Any) -> Trial:
            found = store.fetch_and_update_trial(query, attribute, *args, **kwargs)
            assert found == trial
            assert found is not None
            return found

        assert update("add_trial_tags", a=1).tags == {"a": 1}
        assert update("log_trial_metadata", b=2).metadata == {"b": 2}
        assert update("add_group_trial", group).groups == [group.uid]
        assert update("remove_group_trial", group.uid).groups == []
        assert update("log_trial_arguments", n=0).parameters == {"n": 0}
        assert update("add_project_trial", "p").project_id == "p"
        update("keep_environment", {"python": "3"})
        assert store.environment(trial) == {"python": "3"}
        assert update("log_trial_start").status is Status.Running
        assert update("log_trial_metrics", 1, loss=0.5).metrics == {"loss": {1: 0.5}}
        update("log_trial_metrics", accuracy=1.0)
        update("log_trial_chrono_start", "block")
        assert update("log_trial_chrono_finish", name="block").chronos["block"]["count"] == 1
        assert update("log_trial_finish", None, ValueError("x")).status is Status.Exception
        found = open_store().trial(trial.uid)
        assert [error["message"] for error in found.errors] == ["x"]
        assert found.metrics == {"loss": {1: 0.5}, "accuracy": [1.0]}
        assert update("set_trial_status", "Suspended").status is Status.Suspended
        first = store.trial(trial.uid).log
        assert update("log_trial_metrics", 2, loss=0.25).metrics["loss"] == {1: 0.5, 2: 0.25}
        assert store.trial(trial.uid).log != first  # the trial goes on in a new run
        assert update("log_trial_finish").status is Status.Completed
        with pytest.raises(TypeError):
            store.fetch_and_update_trial(query, "log_trial_chrono_start")
        assert store.fetch_and_update_trial({"name": "u"}, "log_trial_start") is None
        for _ in range(2):
            changed = store.fetch_and_update_group({"name": "g"}, "add_group_trial", trial)
            assert changed is not None
            assert changed.trials == [trial]
        changed = store.fetch_and_update_group({"name": "g"}, "add_group_tags", a=1)
        assert changed is not None
        assert changed.tags == {"a": 1}
        store.fetch_and_update_group({"name": "g"}, "remove_group_trial", trial)
        assert group.trials == []

    def test_each_that_starts_the_first_that_waits_gets_another(self, store: TrialStore) -> None:
        trials = self.trials(store, 3)
        waiting = {"status": Status.CreatedGroup}
        for trial in trials:
            taken = store.fetch_and_update_trial(waiting, "log_trial_metrics", 1, loss=0.5)
            assert taken == trial
        assert store.fetch_and_update_trial(waiting, "log_trial_start") is None
        store.close()

    def test_what_is_described_makes_the_round_trip_through_json(
        self, open_store: OpenStore, store: TrialStore
    ) -> None:
        project = store.new_project(Project("q", "what", {"a": math.inf}, {"m": [1]}))
        group = store.new_trial_group(TrialGroup("g", "q", "what", {"a": 1}, {"m": None}))
        trial = Trial("t", "what", {"a": 1}, {"$float": 1}, {"lr": math.nan}, "v", "q", group.uid)
        store.new_trial(trial)
        for value in (0.5, 1.5):
            store.log_trial_metrics(trial, step=int(value * 2), loss=value)
            store.log_trial_metrics(trial, accuracy=value)
            store.log_trial_metrics(trial, aggregator=StatAggregator.lazy(0), stat=value)
        store.log_trial_metrics(trial, accuracy=math.nan)
        store.log_trial_chrono_start(trial, "block")
        store.log_trial_chrono_finish(trial, "block")
        store.log_trial_finish(trial, exc_val=ValueError("out of luck"))
        found = open_store().trial(trial.uid)

        def through(one: Any) -> Any:
            return type(one).from_json(json.loads(json.dumps(one.to_json(), allow_nan=False)))

        for one in (project, group, found, trial, Trial("bare"), Trial()):
            again = through(one)
            assert again == one
            assert repr(through(again).to_json()) == repr(again.to_json()) == repr(one.to_json())
        again = through(found)
        assert repr(again.metrics) == repr(found.metrics)
        assert again.metrics["loss"] == {1: 0.5, 3: 1.5}
        assert (again.status, again.errors) == (Status.Exception, found.errors)
        assert (again.started, again.finished, again.runtime) == (
            found.started, found.finished, found.runtime,
        )  # fmt: skip
        # Another store takes it with all its contents.
        other = TrialClient("memory:").store
        other.new_project(through(project))
        other.new_trial_group(through(group))
        there = other.new_trial(again)
        assert there is not None
        assert repr(there.metrics) == repr(found.metrics)
        assert there.chronos["block"] == found.chronos["block"]
        assert (there.status, there.errors, there.groups) == (
            Status.Exception, found.errors, [group.uid],
        )  # fmt: skip

    def test_a_call_that_is_repeated_is_answered_as_before(self, store: TrialStore) -> None:
        """The answer of the first call may have been lost."""
        (trial,) = self.trials(store, 1)
        record = store.records.get("trial", trial.uid)
        assert record is not None
        assert store.records.insert("trial", record)
        edit = record["edit"]
        changed = record | {"edit": edit + 1, "token": "new", "name": "changed"}
        assert store.records.replace("trial", changed, edit)
        assert store.records.replace("trial", changed, edit)
        assert not store.records.replace("trial", changed | {"token": "late"}, edit)
        assert not store.records.insert("trial", changed | {"token": "other"})
        assert not store.records.replace("trial", changed | {"uid": "unknown"}, edit)

    def test_threads_lose_no_change(self, open_store: OpenStore, store: TrialStore) -> None:
        (trial,) = self.trials(store, 1)
        stores = [open_store() for _ in range(4)]
        failures: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for place in range(5):
                    stores[number].add_trial_tags(trial, **{f"{number}.{place}": place})
            except BaseException as error:  # noqa: BLE001 - it is checked below
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(store.trial(trial.uid).tags) == 20

    # -- a client ---------------------------------------------------------------------------

    def test_a_client_runs_a_trial_and_finds_it(self, open_store: OpenStore) -> None:
        client = TrialClient(open_store())
        client.set_project(name="paper")
        client.set_group(name="idea")
        trial = client.new_trial(name="first", version="1")
        namespace = trial.log_arguments({"lr": 0.1}, momentum=0.9)
        assert (namespace.lr, namespace.momentum) == (0.1, 0.9)
        with trial:
            with trial.chrono("epoch"):
                trial.log_metrics(step=1, loss=0.5)
            trial.log_metadata(gpu="V100")
        (found,) = TrialClient(open_store()).fetch_trials({"parameters.lr": 0.1})
        assert found.uid == trial.uid
        assert found.status is Status.Completed
        assert found.metrics == {"loss": {1: 0.5}}
        assert found.chronos["epoch"]["count"] == 1
        assert found.chronos["runtime"] > 0
        assert found.runtime == found.chronos["runtime"]
        assert open_store().environment(found)["python"]

    def test_an_exception_goes_on_as_it_is_and_is_kept(self, open_store: OpenStore) -> None:
        client = TrialClient(open_store())
        error = ValueError("out of luck")
        with (  # noqa: PT012 - the error is raised within a block
            pytest.raises(ValueError, match="out of luck") as caught,
            client.new_trial(parameters={}) as trial,
        ):
            trial.log_metrics(step=1, loss=0.5)
            raise error
        assert caught.value is error
        found = open_store().trial(trial.uid)
        assert found.status is Status.Exception
        (kept,) = found.errors
        assert (kept["type"], kept["message"]) == ("ValueError", "out of luck")
        assert "raise error" in kept["traceback"]
        assert found.metrics == {"loss": {1: 0.5}}
        assert found.chronos["runtime"] > 0
